//! The weights of a block's particles, as integers, so that their sums are exact and the same in any order.
//!
//! The largest likelihood of a block gets a weight of 32 bits, and the others are rounded down to its lowest bit. So the weight of a particle
//! is too small by less than 2^-31 of the largest, and a probability is off by less than 1,024 times that, which is 0.0000005: as much as
//! rounding the output to six decimals.

use super::block::{BLOCK, WeightColumns};

/// Bits of the largest weight.
const BITS: i32 = 32;

/// The weights of a block's particles.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    pub(super) columns: Box<WeightColumns>,
    /// Whether each particle has the weight 1. `columns` is then unused.
    pub(super) equal: bool,
    /// The sum of all weights.
    pub(crate) total: u64,
    /// A weight of 1 stands for a likelihood of 2 to this power.
    pub(crate) exponent: i32,
}

impl Weights {
    pub(super) fn new() -> Self {
        Self { columns: Box::new(WeightColumns::new()), equal: true, total: 0, exponent: 0 }
    }

    /// Gives each of `len` particles the weight 1.
    pub(super) fn set_equal(&mut self, len: usize) {
        (self.equal, self.total, self.exponent) = (true, len as u64, 0);
    }

    /// Weights particles by their likelihoods, of which at least one is above 0. The likelihoods have been multiplied by 2 to the power
    /// `scaled`.
    pub(super) fn set(&mut self, likelihoods: &[f64], scaled: i32) {
        let largest = likelihoods.iter().fold(0.0, |largest: f64, likelihood| largest.max(*likelihood));
        let lowest_bit = exponent(largest) + 1 - BITS;
        let scale = power_of_two(-lowest_bit);
        let mut total = 0;
        for (particle, likelihood) in (0..BLOCK).zip(likelihoods.iter().chain(std::iter::repeat(&0.0))) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^32, less one")]
            let weight = (likelihood * scale) as u32;
            total += u64::from(weight);
            self.columns.set(particle, weight);
        }
        (self.equal, self.total, self.exponent) = (false, total, lowest_bit - scaled);
    }

    /// The likelihood of a particle, as far as its weight has it.
    #[cfg(test)]
    pub(crate) fn likelihood(&self, particle: usize) -> f64 {
        let weight = if self.equal { 1 } else { self.columns.get(particle) };
        f64::from(weight) * power_of_two(self.exponent)
    }
}

/// The exponent of the largest power of two that is at most `number`, which is above 0 and not subnormal.
fn exponent(number: f64) -> i32 {
    (number.to_bits() >> 52) as i32 - 1023
}

/// 2 to this power; 0 if that is too small for a normal number.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    u64::try_from(exponent + 1023).map_or(0.0, |exponent| f64::from_bits(exponent << 52))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_in_proportion_to_the_likelihoods_and_the_largest_has_32_bits() {
        let mut weights = Weights::new();
        weights.set(&[0.75, 0.375, 0.0, 0.75 / 4_294_967_296.0], 256);
        let all: Vec<u32> = (0..5).map(|particle| weights.columns.get(particle)).collect();
        assert_eq!(all, [3 << 30, 3 << 29, 0, 0, 0]);
        assert_eq!((weights.total, weights.exponent), (9 << 29, -32 - 256));
    }

    #[test]
    fn a_power_of_two_that_is_too_small_is_0() {
        assert_eq!([0, -1, 3, -5_000].map(power_of_two), [1.0, 0.5, 8.0, 0.0]);
    }
}
