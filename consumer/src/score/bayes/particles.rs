//! A block of particles: likelihood weighting proper (Fung & Chang 1990, "Weighing and integrating evidence for
//! stochastic simulation in Bayesian networks"; Koller & Friedman 2009, "Probabilistic Graphical Models", section 12.2).
//!
//! Parents first, each unobserved variable is drawn given its parents, and each observed one multiplies the particle's
//! weight by the probability of what was observed. All particles of a block take each step together, in plain loops
//! over arrays of one variable's states. What the particles say of the variables is summed up by [`super::posterior`].

use super::deadline::{Deadline, Late};
use super::draws::Draws;
use super::evidence::Evidence;
use super::network::{Network, Variable};

/// Particles in a block. Few, so that a network of some hundred variables stays in the processor's second-level cache;
/// even, so that no word of the generator is torn between blocks.
pub(super) const BLOCK: usize = 512;

/// 2^256. Where the largest weight of a block falls below its inverse, all are multiplied by it, so that the factors of
/// hundreds of observed variables can't underflow. A power of two changes no digit of a weight.
pub(super) const RESCALE: f64 = f64::from_bits((1023 + 256) << 52);

/// Up to [`BLOCK`] particles of one company.
#[derive(Debug, Clone)]
pub(super) struct Particles {
    len: usize,
    /// For each variable, the states of all particles. An observed variable's are not kept up.
    states: Vec<u8>,
    weights: Vec<f64>,
    rescales: u32,
    /// For each particle, the configuration of the parents of the variable in hand.
    rows: Vec<u32>,
    /// For each particle, the draw for the variable in hand.
    draws: Vec<i32>,
}

impl Particles {
    pub(super) fn new(network: &Network) -> Self {
        Self {
            len: 0,
            states: vec![0; network.variables.len() * BLOCK],
            weights: vec![0.0; BLOCK],
            rescales: 0,
            rows: vec![0; BLOCK],
            draws: vec![0; BLOCK],
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
        self.len = len;
        self.rescales = 0;
        self.weights[..len].fill(1.0);
        for &place in &network.order {
            let variable = &network.variables[place];
            deadline.spend(len * (1 + variable.parents.len()))?;
            let row = self.find_rows(variable, evidence);
            match (evidence.state(place), row) {
                (None, _) => {
                    Draws::new(seed, place).fill(first, &mut self.draws[..len]);
                    self.choose(place, variable, row);
                }
                // The factor is the same for every particle and cancels out; that it is not 0 is checked before.
                (Some(_), Row::Same(_)) => {}
                (Some(state), Row::Each) => {
                    if !self.weigh(variable, state) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// The states of all particles, for an unobserved variable.
    pub(super) fn states(&self, variable: usize) -> &[u8] {
        &self.states[variable * BLOCK..][..self.len]
    }

    /// The weights of all particles. The true ones are smaller by [`Self::rescales`] times the factor [`RESCALE`].
    pub(super) fn weights(&self) -> &[f64] {
        &self.weights[..self.len]
    }

    /// See [`Self::weights`].
    pub(super) fn rescales(&self) -> u32 {
        self.rescales
    }

    /// Finds each particle's configuration of the parents, in `rows` where they differ.
    fn find_rows(&mut self, variable: &Variable, evidence: &Evidence) -> Row {
        let observed = |variable| evidence.state(variable);
        let fixed = variable.parents.iter().filter_map(|parent| Some(parent.share(observed(parent.variable)?)));
        let mut found = Row::Same(fixed.sum());
        let rows = &mut self.rows[..self.len];
        for parent in variable.parents.iter().filter(|parent| observed(parent.variable).is_none()) {
            let states = &self.states[parent.variable * BLOCK..][..self.len];
            let shares = states.iter().map(|&state| parent.share(state));
            if let Row::Same(fixed) = found {
                rows.iter_mut().zip(shares).for_each(|(row, share)| *row = fixed + share);
                found = Row::Each;
            } else {
                rows.iter_mut().zip(shares).for_each(|(row, share)| *row += share);
            }
        }
        found
    }

    /// Turns the draws into states of a variable.
    fn choose(&mut self, place: usize, variable: &Variable, row: Row) {
        let states = &mut self.states[place * BLOCK..][..self.len];
        let (draws, rows) = (&self.draws[..self.len], &self.rows[..self.len]);
        let limits = &variable.limits;
        match (variable.states.len() - 1, row) {
            (0, _) => states.fill(0),
            (count, Row::Same(row)) => choose_by(&limits[row as usize * count..][..count], draws, states),
            (1, Row::Each) => choose_each::<1>(limits, rows, draws, states),
            (2, Row::Each) => choose_each::<2>(limits, rows, draws, states),
            (3, Row::Each) => choose_each::<3>(limits, rows, draws, states),
            (4, Row::Each) => choose_each::<4>(limits, rows, draws, states),
            (count, Row::Each) => choose_each_of_many(count, limits, rows, draws, states),
        }
    }

    /// Multiplies each weight by the likelihood of `state`. False where all weights are 0 now.
    fn weigh(&mut self, variable: &Variable, state: u8) -> bool {
        let weights = &mut self.weights[..self.len];
        let mut largest = 0.0;
        for (weight, &row) in weights.iter_mut().zip(&self.rows) {
            *weight *= variable.likelihood(row, state);
            largest = if *weight > largest { *weight } else { largest };
        }
        while largest > 0.0 && largest < 1.0 / RESCALE {
            weights.iter_mut().for_each(|weight| *weight *= RESCALE);
            largest *= RESCALE;
            self.rescales += 1;
        }
        largest > 0.0
    }
}

/// Where the configuration of a variable's parents stands.
#[derive(Clone, Copy)]
enum Row {
    /// All parents are observed: this one holds for every particle.
    Same(u32),
    /// In `rows`, for each particle.
    Each,
}

/// The states of the draws under one distribution.
fn choose_by(limits: &[i32], draws: &[i32], states: &mut [u8]) {
    states.fill(0);
    for &limit in limits {
        states.iter_mut().zip(draws).for_each(|(state, &draw)| *state += u8::from(draw > limit));
    }
}

/// The states of the draws, each under the distribution of its own row, of `LIMITS` + 1 states.
fn choose_each<const LIMITS: usize>(limits: &[i32], rows: &[u32], draws: &[i32], states: &mut [u8]) {
    let (limits, _) = limits.as_chunks::<LIMITS>();
    for ((state, &row), &draw) in states.iter_mut().zip(rows).zip(draws) {
        *state = limits[row as usize].iter().map(|&limit| u8::from(draw > limit)).sum();
    }
}

/// As [`choose_each`], of any number of states.
fn choose_each_of_many(count: usize, limits: &[i32], rows: &[u32], draws: &[i32], states: &mut [u8]) {
    for ((state, &row), &draw) in states.iter_mut().zip(rows).zip(draws) {
        let limits = &limits[row as usize * count..][..count];
        *state = limits.iter().map(|&limit| u8::from(draw > limit)).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_on_a_limit_still_falls_on_the_state_before_it() {
        let (limits, draws) = ([-1, 5, 5, i32::MAX], [0, 5, 6, i32::MAX]);
        let expected = [1, 1, 3, 3];
        let mut states = [9; 4];
        choose_by(&limits, &draws, &mut states);
        assert_eq!(states, expected);
        // The same distribution as the second row of a table.
        let (limits, rows) = ([[0; 4], limits].concat(), [1; 4]);
        choose_each::<4>(&limits, &rows, &draws, &mut states);
        assert_eq!(states, expected);
        choose_each_of_many(4, &limits, &rows, &draws, &mut states);
        assert_eq!(states, expected);
    }
}
