//! Draws and weights a block of particles: likelihood weighting (Fung & Chang 1990, "Weighing and integrating evidence for stochastic
//! simulation in Bayesian networks"; Koller & Friedman 2009, "Probabilistic Graphical Models", section 12.2).
//!
//! Variables are visited parents first. An unobserved variable is drawn given its parents; an observed one multiplies the particle's
//! likelihood by the probability of the observed state. All particles of a block take each step together, in loops over the states of one
//! variable.

pub(super) mod block;
mod reduced_cpt;
pub(super) mod simd;
pub(super) mod weights;

use self::block::{BLOCK, ByteColumn, RowColumn, ThresholdColumn};
use self::reduced_cpt::{ReducedCpt, UnobservedParent};
use self::simd::SimdLevel;
use self::weights::Weights;
use super::deadline::{Deadline, DeadlineExceeded};
use super::evidence::Evidence;
use super::network::Network;
use super::network::variable::Variable;
use super::rng::{Rng, STEP, full_draw};

/// 2^256. If the largest likelihood of a block falls below its inverse, all are multiplied by it, so that the product of the probabilities
/// of hundreds of observed variables cannot underflow. Multiplication by a power of two is exact.
const RESCALE: f64 = f64::from_bits((1023 + 256) << 52);
const RESCALE_EXPONENT: i32 = 256;

/// A block of up to [`BLOCK`] particles of one company, and the memory to draw it with.
#[derive(Debug, Clone)]
pub(super) struct Sampler {
    simd: SimdLevel,
    len: usize,
    /// For each variable, the states of all particles. Those of observed variables are stale.
    states: Vec<ByteColumn>,
    likelihoods: Vec<f64>,
    /// How often all likelihoods were multiplied by [`RESCALE`].
    rescales: i32,
    weights: Weights,
    // The rest is of the variable that is sampled.
    cpt: ReducedCpt,
    thresholds: Vec<ThresholdColumn>,
    /// Each particle's row in the reduced table.
    reduced_rows: ByteColumn,
    /// Each particle's row in the whole table.
    rows: Vec<u32>,
}

impl Sampler {
    pub(super) fn new(network: &Network, simd: SimdLevel) -> Self {
        Self {
            simd,
            len: 0,
            states: vec![ByteColumn::new(); network.variables.len()],
            likelihoods: vec![1.0; BLOCK],
            rescales: 0,
            weights: Weights::new(),
            cpt: ReducedCpt::new(),
            thresholds: vec![ThresholdColumn::new(); usize::from(u8::MAX)],
            reduced_rows: ByteColumn::new(),
            rows: vec![0; BLOCK],
        }
    }

    /// Draws and weights `len` particles (at most [`BLOCK`]) from particle `first` on, which is a multiple of [`BLOCK`]. Returns whether
    /// any has weight; if not, the states are meaningless.
    ///
    /// # Errors
    /// [`DeadlineExceeded`]; the states are then meaningless too.
    pub(super) fn sample(
        &mut self,
        network: &Network,
        evidence: &Evidence,
        seed: u64,
        first: u32,
        len: usize,
        deadline: &mut Deadline,
    ) -> Result<bool, DeadlineExceeded> {
        let mut rng = Rng::new(seed, first);
        (self.len, self.rescales) = (len, 0);
        let mut weighted = false;
        for &index in &network.order {
            let variable = &network.variables[index];
            deadline.spend(len * (1 + variable.parents.len()))?;
            self.cpt.reduce(variable, evidence);
            match evidence.state(index) {
                None => {
                    let full_draw = |particle, high| full_draw(high, seed, index, first.wrapping_add(particle));
                    self.draw(variable, index, &mut rng, full_draw);
                }
                // The factor is the same for every particle and cancels out. It is not 0: `feasibility::contradiction` has checked that.
                Some(_) if self.cpt.unobserved.is_empty() => {}
                Some(state) => {
                    if !std::mem::replace(&mut weighted, true) {
                        self.likelihoods.fill(1.0);
                    }
                    if !self.weight(variable, state) {
                        return Ok(false);
                    }
                }
            }
        }
        if weighted {
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
    pub(super) fn state_weights(&self, variable: usize, sums: &mut [u64]) {
        let states = &self.states[variable];
        if self.weights.equal {
            self.simd.histogram(states, self.len, sums);
        } else {
            self.simd.weighted_histogram(states, &self.weights.columns, sums);
        }
    }

    /// Draws the states of a variable. `full_draw` makes a whole draw from a particle and the draw's high bits.
    fn draw(&mut self, variable: &Variable, index: usize, rng: &mut Rng, full_draw: impl Fn(u32, u16) -> i32) {
        if variable.last_state() == 0 {
            self.states[index].fill(0);
        } else if let Some(rows) = self.cpt.row_count() {
            self.draw_from_reduced(variable, index, rows, rng, full_draw);
        } else {
            self.find_rows();
            let states = &mut self.states[index][..self.len];
            let mut particles = (0..).zip(states.iter_mut().zip(&self.rows));
            for _ in 0..self.len.div_ceil(STEP) {
                for (high, (particle, (state, &row))) in rng.step().into_iter().zip(&mut particles) {
                    *state = variable.choose(row, high, || full_draw(particle, high));
                }
            }
        }
    }

    /// As [`Self::draw`], for a reduced table of so few rows that vector instructions can look them up.
    fn draw_from_reduced(
        &mut self,
        variable: &Variable,
        index: usize,
        row_count: usize,
        rng: &mut Rng,
        full_draw: impl Fn(u32, u16) -> i32,
    ) {
        let thresholds = &mut self.thresholds[..usize::from(variable.last_state())];
        self.cpt.fill(variable, thresholds, self.simd);
        let len = self.len.next_multiple_of(STEP);
        let (states, of_particles) = match self.cpt.unobserved[..] {
            [] => (&mut self.states[index], None),
            // With a single parent, its states are the rows.
            [UnobservedParent { variable: parent, .. }] => match self.states.get_disjoint_mut([index, parent]) {
                Ok([states, rows]) => (states, Some(&*rows)),
                Err(_) => unreachable!("a variable is not its own parent"),
            },
            [first, second, ref others @ ..] => {
                self.simd.index_rows(
                    &mut self.reduced_rows,
                    Some(&self.states[first.variable]),
                    second.bits,
                    &self.states[second.variable],
                );
                for other in others {
                    self.simd.index_rows(&mut self.reduced_rows, None, other.bits, &self.states[other.variable]);
                }
                (&mut self.states[index], Some(&self.reduced_rows))
            }
        };
        let rows = of_particles.map(|rows| RowColumn { of_particles: &rows[..len], count: row_count });
        let mut break_tie = |particle: usize, high| match u32::try_from(particle) {
            Ok(number) if particle < self.len => {
                let row = self.cpt.full_row(rows.map_or(0, |rows| rows.of_particles[particle]));
                variable.choose(row, high, || full_draw(number, high))
            }
            _ => 0,
        };
        self.simd.sample_states(rng, thresholds, rows, &mut states[..len], &mut break_tie);
    }

    /// Finds each particle's row in the whole table.
    fn find_rows(&mut self) {
        let rows = &mut self.rows[..self.len];
        rows.fill(self.cpt.base_row);
        for parent in &self.cpt.unobserved {
            let states = &self.states[parent.variable][..self.len];
            rows.iter_mut().zip(states).for_each(|(row, &state)| *row += parent.stride * u32::from(state));
        }
    }

    /// Multiplies each particle's likelihood by the probability of the observed `state`. Returns whether any is still above 0.
    fn weight(&mut self, variable: &Variable, state: u8) -> bool {
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
