//! Sums up weighted particles: how probable is each state of each unobserved variable?
//!
//! Within a block the sums are exact integers. Blocks are added in a fixed order, so that every machine gets the same digits.

use super::evidence::Evidence;
use super::network::Network;
use super::sampler::Sampler;
use super::sampler::weights::power_of_two;

/// The weight of each state, and of all particles.
#[derive(Debug, Clone)]
pub(super) struct Posterior {
    /// For each variable, where its states begin in `weights`; and the end.
    starts: Vec<usize>,
    weights: Vec<f64>,
    total: f64,
    /// The scale of all sums here, as [`super::sampler::weights::Weights::exponent`].
    exponent: i32,
    /// The sums of one variable and one block.
    sums: [u64; 256],
}

impl Posterior {
    pub(super) fn new(network: &Network) -> Self {
        let ends = network.variables.iter().scan(0, |end, variable| {
            *end += variable.states.len();
            Some(*end)
        });
        let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
        let states = starts.last().copied().unwrap_or(0);
        Self { starts, weights: vec![0.0; states], total: 0.0, exponent: 0, sums: [0; 256] }
    }

    /// Removes all particles.
    pub(super) fn clear(&mut self) {
        self.weights.fill(0.0);
        self.total = 0.0;
    }

    /// Adds the sampler's block, of which at least one particle must have weight.
    pub(super) fn add(&mut self, evidence: &Evidence, sampler: &Sampler) {
        let weights = sampler.weights();
        let scale = self.rescale(weights.exponent);
        self.total += scale * weights.total as f64;
        for variable in (0..self.starts.len() - 1).filter(|&variable| evidence.state(variable).is_none()) {
            let sums_so_far = &mut self.weights[self.starts[variable]..self.starts[variable + 1]];
            let sums = &mut self.sums[..sums_so_far.len()];
            sampler.state_weights(variable, sums);
            sums_so_far.iter_mut().zip(sums).for_each(|(so_far, sum)| *so_far += scale * *sum as f64);
        }
    }

    /// Whether any particle had weight.
    pub(super) fn has_weight(&self) -> bool {
        self.total > 0.0
    }

    /// The probability of each state of an unobserved variable, from 0 to 1. Meaningless if there is no weight.
    pub(super) fn probabilities(&self, variable: usize) -> impl Iterator<Item = f64> + '_ {
        let weights = &self.weights[self.starts[variable]..self.starts[variable + 1]];
        weights.iter().map(|weight| weight / self.total)
    }

    /// Scales these sums to the larger of their own exponent and a block's. Returns the factor for the block.
    fn rescale(&mut self, exponent: i32) -> f64 {
        if !self.has_weight() {
            self.exponent = exponent;
        }
        if exponent > self.exponent {
            let own = power_of_two(self.exponent - exponent);
            self.weights.iter_mut().for_each(|weight| *weight *= own);
            self.total *= own;
            self.exponent = exponent;
        }
        power_of_two(exponent - self.exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_different_scale_meet_at_the_larger() {
        let (small, large, vanishing) = (-300, -260, -5_000);
        let mut posterior = Posterior { starts: vec![0, 2], weights: vec![0.0; 2], total: 0.0, exponent: 0, sums: [0; 256] };
        assert_eq!(posterior.rescale(small), 1.0);
        (posterior.weights, posterior.total) = (vec![3.0, 1.0], 4.0);
        assert_eq!(posterior.rescale(large), 1.0);
        let scale = 2_f64.powi(-40);
        assert_eq!((posterior.weights.as_slice(), posterior.total), ([3.0 * scale, scale].as_slice(), 4.0 * scale));
        assert_eq!(posterior.rescale(small), scale);
        assert_eq!(posterior.rescale(vanishing), 0.0);
    }
}
