//! Sums up what weighted particles say: how probable each state of each unobserved variable is.
//!
//! All sums are taken in one fixed order, so that every machine finds the same digits.

use super::evidence::Evidence;
use super::network::Network;
use super::particles::{Particles, RESCALE};

/// Sums that a state's weights are spread over: an addition need not wait for the one before it.
const LANES: usize = 4;

/// The weight on each state, and on all particles.
#[derive(Debug, Clone)]
pub(super) struct Posterior {
    /// For each variable, where its states begin in `weights`; and the end.
    starts: Vec<usize>,
    weights: Vec<f64>,
    total: f64,
    /// As in [`Particles::weights`], for all sums here.
    rescales: u32,
}

impl Posterior {
    pub(super) fn new(network: &Network) -> Self {
        let ends = network.variables.iter().scan(0, |end, variable| {
            *end += variable.states.len();
            Some(*end)
        });
        let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
        let states = starts.last().copied().unwrap_or(0);
        Self { starts, weights: vec![0.0; states], total: 0.0, rescales: 0 }
    }

    /// Forgets all particles.
    pub(super) fn clear(&mut self) {
        self.weights.fill(0.0);
        self.total = 0.0;
        self.rescales = 0;
    }

    /// Adds a block in which some particle has weight.
    pub(super) fn add(&mut self, evidence: &Evidence, particles: &Particles) {
        let scale = self.meet_scale(particles.rescales());
        self.total += scale * particles.weights().iter().sum::<f64>();
        for variable in (0..self.starts.len() - 1).filter(|&variable| evidence.state(variable).is_none()) {
            let weights = &mut self.weights[self.starts[variable]..self.starts[variable + 1]];
            add_states(particles.states(variable), particles.weights(), scale, weights);
        }
    }

    /// Whether any particle had weight.
    pub(super) fn has_weight(&self) -> bool {
        self.total > 0.0
    }

    /// For each state of an unobserved variable, its probability, from 0 to 1. Only where there is weight.
    pub(super) fn probabilities(&self, variable: usize) -> impl Iterator<Item = f64> + '_ {
        let weights = &self.weights[self.starts[variable]..self.starts[variable + 1]];
        weights.iter().map(|weight| weight / self.total)
    }

    /// Brings these sums to the scale of the larger weights, their own or a block's; returns the factor for the block.
    fn meet_scale(&mut self, rescales: u32) -> f64 {
        if !self.has_weight() {
            self.rescales = rescales;
        }
        let own = shrink(self.rescales.saturating_sub(rescales));
        if own < 1.0 {
            self.weights.iter_mut().for_each(|weight| *weight *= own);
            self.total *= own;
            self.rescales = rescales;
        }
        shrink(rescales - self.rescales)
    }
}

/// The factor that undoes so many rescales; 0 where nothing would be left.
fn shrink(rescales: u32) -> f64 {
    (0..rescales.min(8)).fold(1.0, |factor, _| factor / RESCALE)
}

/// Adds each particle's weight to the sum of its state.
fn add_states(states: &[u8], weights: &[f64], scale: f64, sums: &mut [f64]) {
    // One place for each value of a byte, so that the loop needs no bounds checks.
    let mut lanes = [[0.0; LANES]; 256];
    let (state_groups, last_states) = states.as_chunks::<LANES>();
    let (weight_groups, last_weights) = weights.as_chunks::<LANES>();
    for (states, weights) in state_groups.iter().zip(weight_groups) {
        for lane in 0..LANES {
            lanes[usize::from(states[lane])][lane] += weights[lane];
        }
    }
    for (&state, weight) in last_states.iter().zip(last_weights) {
        lanes[usize::from(state)][0] += weight;
    }
    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
        *sum += scale * lanes.iter().sum::<f64>();
    }
}
