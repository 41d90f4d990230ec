//! A block of particles: likelihood weighting proper (Fung & Chang 1990, "Weighing and integrating evidence for
//! stochastic simulation in Bayesian networks"; Koller & Friedman 2009, "Probabilistic Graphical Models", section 12.2).
//!
//! Parents first, each unobserved variable is drawn given its parents, and each observed one multiplies the particle's
//! likelihood by the probability of what was observed. All particles of a block take each step together, in loops over arrays
//! of one variable's states. What the particles say of the variables is summed up by [`super::posterior`].

use super::deadline::{Deadline, Late};
use super::draws::{Draws, STEP, whole};
use super::evidence::Evidence;
use super::given::{Free, Given};
use super::lanes::{BLOCK, Lanes, Limit, Rows, States};
use super::network::{Network, Variable};
use super::weights::Weights;

/// 2^256. Where the largest likelihood of a block falls below its inverse, all are multiplied by it, so that the factors of
/// hundreds of observed variables can't underflow. A power of two changes no digit.
const RESCALE: f64 = f64::from_bits((1023 + 256) << 52);
const RESCALE_EXPONENT: i32 = 256;

/// Up to [`BLOCK`] particles of one company.
#[derive(Debug, Clone)]
pub(super) struct Particles {
    lanes: Lanes,
    len: usize,
    /// For each variable, the states of all particles. An observed variable's are not kept up.
    states: Vec<States>,
    likelihoods: Vec<f64>,
    /// How often all likelihoods were multiplied by [`RESCALE`].
    rescales: i32,
    weights: Weights,
    given: Given,
    limits: Vec<Limit>,
    /// For each particle, the row of the variable in hand in what its observed parents leave of its table.
    rows_left: States,
    /// The same, in its whole table.
    rows: Vec<u32>,
}

impl Particles {
    pub(super) fn new(network: &Network, lanes: Lanes) -> Self {
        Self {
            lanes,
            len: 0,
            states: vec![States::new(); network.variables.len()],
            likelihoods: vec![1.0; BLOCK],
            rescales: 0,
            weights: Weights::new(),
            given: Given::new(),
            limits: vec![Limit::new(); usize::from(u8::MAX)],
            rows_left: States::new(),
            rows: vec![0; BLOCK],
        }
    }

    /// Draws and weighs the `len` particles (at most [`BLOCK`]) from number `first` on, a multiple of [`BLOCK`].
    /// False where none has any weight; then their states mean nothing.
    ///
    /// # Errors
    /// [`Late`] where the time is up before all variables are done; then, too, their states mean nothing.
    pub(super) fn sample(
        &mut self,
        network: &Network,
        evidence: &Evidence,
        seed: u64,
        first: u32,
        len: usize,
        deadline: &mut Deadline,
    ) -> Result<bool, Late> {
        let mut draws = Draws::new(seed, first);
        (self.len, self.rescales) = (len, 0);
        let mut weighed = false;
        for &place in &network.order {
            let variable = &network.variables[place];
            deadline.spend(len * (1 + variable.parents.len()))?;
            self.given.find(variable, evidence);
            match evidence.state(place) {
                None => {
                    let whole = |particle, upper| whole(upper, seed, place, first.wrapping_add(particle));
                    self.draw(variable, place, &mut draws, whole);
                }
                // The factor is the same for every particle and cancels out; that it is not 0 is checked before.
                Some(_) if self.given.free.is_empty() => {}
                Some(state) => {
                    if !std::mem::replace(&mut weighed, true) {
                        self.likelihoods.fill(1.0);
                    }
                    if !self.weigh(variable, state) {
                        return Ok(false);
                    }
                }
            }
        }
        if weighed {
            self.weights.set(&self.likelihoods[..len], self.rescales * RESCALE_EXPONENT);
        } else {
            self.weights.set_equal(len);
        }
        Ok(true)
    }

    /// The weights of all particles.
    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The states of all particles, for an unobserved variable.
    #[cfg(test)]
    pub(super) fn states(&self, variable: usize) -> &[u8] {
        &self.states[variable][..self.len]
    }

    /// For each state of an unobserved variable, the sum of the weights of the particles in it.
    pub(super) fn sum_up(&self, variable: usize, sums: &mut [u64]) {
        let states = &self.states[variable];
        if self.weights.equal {
            self.lanes.count(states, self.len, sums);
        } else {
            self.lanes.weigh(states, &self.weights.planes, sums);
        }
    }

    /// Draws the states of a variable. `whole` makes the whole of a draw from a particle and the upper bits.
    fn draw(&mut self, variable: &Variable, place: usize, draws: &mut Draws, whole: impl Fn(u32, u16) -> i32) {
        if variable.last_state() == 0 {
            self.states[place].fill(0);
        } else if let Some(rows) = self.given.rows_left() {
            self.draw_by_rows_left(variable, place, rows, draws, whole);
        } else {
            self.find_rows();
            let states = &mut self.states[place][..self.len];
            let mut particles = (0..).zip(states.iter_mut().zip(&self.rows));
            for _ in 0..self.len.div_ceil(STEP) {
                for (upper, (particle, (state, &row))) in draws.step().into_iter().zip(&mut particles) {
                    *state = variable.choose(row, upper, || whole(particle, upper));
                }
            }
        }
    }

    fn draw_by_rows_left(
        &mut self,
        variable: &Variable,
        place: usize,
        rows_left: usize,
        draws: &mut Draws,
        whole: impl Fn(u32, u16) -> i32,
    ) {
        let limits = &mut self.limits[..usize::from(variable.last_state())];
        self.given.fill(variable, limits, self.lanes);
        let len = self.len.next_multiple_of(STEP);
        let (states, rows_of_each) = match self.given.free[..] {
            [] => (&mut self.states[place], None),
            // Of a single parent, the states are the rows.
            [Free { variable: parent, .. }] => match self.states.get_disjoint_mut([place, parent]) {
                Ok([states, rows]) => (states, Some(&*rows)),
                Err(_) => unreachable!("a variable is no parent of its own"),
            },
            [first, second, ref others @ ..] => {
                self.lanes.number(
                    &mut self.rows_left,
                    Some(&self.states[first.variable]),
                    second.bits,
                    &self.states[second.variable],
                );
                for other in others {
                    self.lanes.number(&mut self.rows_left, None, other.bits, &self.states[other.variable]);
                }
                (&mut self.states[place], Some(&self.rows_left))
            }
        };
        let rows = rows_of_each.map(|rows| Rows { of_each: &rows[..len], count: rows_left });
        let mut undecided = |particle: usize, upper| match u32::try_from(particle) {
            Ok(number) if particle < self.len => {
                let row = self.given.whole_row(rows.map_or(0, |rows| rows.of_each[particle]));
                variable.choose(row, upper, || whole(number, upper))
            }
            _ => 0,
        };
        self.lanes.choose(draws, limits, rows, &mut states[..len], &mut undecided);
    }

    /// Finds each particle's row in the whole table, for a variable with unobserved parents.
    fn find_rows(&mut self) {
        let rows = &mut self.rows[..self.len];
        rows.fill(self.given.fixed);
        for free in &self.given.free {
            let states = &self.states[free.variable][..self.len];
            rows.iter_mut().zip(states).for_each(|(row, &state)| *row += free.stride * u32::from(state));
        }
    }

    /// Multiplies each likelihood by that of `state`. False where all are 0 now.
    fn weigh(&mut self, variable: &Variable, state: u8) -> bool {
        self.find_rows();
        let likelihoods = &mut self.likelihoods[..self.len];
        let mut largest = 0.0;
        for (likelihood, &row) in likelihoods.iter_mut().zip(&self.rows) {
            *likelihood *= variable.likelihood(row, state);
            largest = if *likelihood > largest { *likelihood } else { largest };
        }
        while largest > 0.0 && largest < 1.0 / RESCALE {
            likelihoods.iter_mut().for_each(|likelihood| *likelihood *= RESCALE);
            largest *= RESCALE;
            self.rescales += 1;
        }
        largest > 0.0
    }
}
