//! A variable with its table, in the form in which it is sampled: probabilities as integer thresholds, so that every machine draws the
//! same states.

use rollcall_shared::decimal;

use super::resolve::Definition;
use crate::bayes::rng::{self, FULL_DRAW_BITS};

/// A variable and its conditional probability table. The table has a row for each configuration of the parents' states, numbered in mixed
/// radix: see [`Parent::row_offset`].
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) states: Vec<String>,
    /// For each state, its plain form if it is a number.
    numbers: Vec<Option<String>>,
    pub(crate) parents: Vec<Parent>,
    /// For each row, the probability of each state.
    pub(crate) likelihoods: Box<[f64]>,
    /// For each row and each state but the last, the largest draw that falls on this state or one before it; -1 if no draw does. The state
    /// of a draw is the number of thresholds below it.
    thresholds: Box<[i32]>,
    /// The high bits of the thresholds, as [`rng::threshold_high_bits`] has them: those of the first threshold in all rows, then those of
    /// the second, and so on.
    high_bits: Box<[u16]>,
}

/// A parent of a variable.
#[derive(Debug)]
pub(crate) struct Parent {
    /// Its index among the network's variables.
    pub(crate) variable: usize,
    pub(crate) last_state: u8,
    stride: u32,
}

impl Parent {
    /// What a state of this parent adds to the number of a row. A row's number is the sum over all parents.
    pub(crate) fn row_offset(&self, state: u8) -> u32 {
        self.stride * u32::from(state)
    }
}

impl Variable {
    /// `state_counts` has the number of states of each variable of the network.
    pub(super) fn new(definition: Definition, state_counts: &[usize]) -> Self {
        let mut parents = Vec::new();
        let mut stride = 1;
        for &variable in definition.parents.iter().rev() {
            let last_state = u8::try_from(state_counts[variable] - 1).unwrap_or(u8::MAX);
            parents.push(Parent { variable, last_state, stride });
            // Never saturates: `resolve` has limited the size of the table.
            stride = stride.saturating_mul(u32::try_from(state_counts[variable]).unwrap_or(u32::MAX));
        }
        parents.reverse();
        let Definition { name, states, probabilities, .. } = definition;
        let thresholds: Box<[i32]> = probabilities.chunks_exact(states.len()).flat_map(thresholds).collect();
        let of_state = |state| {
            let rows = thresholds.iter().skip(state).step_by(states.len() - 1);
            rows.map(|&threshold| rng::threshold_high_bits(threshold))
        };
        let high_bits = (0..states.len() - 1).flat_map(of_state).collect();
        let numbers = states.iter().map(|state| decimal::canonical(state)).collect();
        Self { name, states, numbers, parents, likelihoods: probabilities.into(), thresholds, high_bits }
    }

    /// The index of the last state; at most 254.
    pub(crate) fn last_state(&self) -> u8 {
        u8::try_from(self.states.len() - 1).unwrap_or(u8::MAX)
    }

    /// For each threshold, its high bits in each row.
    pub(crate) fn high_bits(&self) -> impl Iterator<Item = &[u16]> {
        let rows = self.likelihoods.len() / self.states.len();
        self.high_bits.chunks_exact(rows)
    }

    /// The thresholds in a row.
    pub(crate) fn thresholds(&self, row: u32) -> &[i32] {
        let count = self.states.len() - 1;
        &self.thresholds[row as usize * count..][..count]
    }

    /// The state on which a draw falls in a row. `high` is the draw's high bits; `full_draw` is called only if they don't decide.
    pub(crate) fn choose(&self, row: u32, high: u16, full_draw: impl FnOnce() -> i32) -> u8 {
        let thresholds = self.thresholds(row);
        if thresholds.iter().any(|&threshold| rng::threshold_high_bits(threshold) == high) {
            let draw = full_draw();
            thresholds.iter().map(|&threshold| u8::from(draw > threshold)).sum()
        } else {
            thresholds.iter().map(|&threshold| u8::from(high > rng::threshold_high_bits(threshold))).sum()
        }
    }

    /// The index of the state of this name.
    pub(crate) fn state(&self, name: &str) -> Option<u8> {
        let index = self.states.iter().position(|state| state == name)?;
        u8::try_from(index).ok()
    }

    /// The index of the state that is the same number or the same boolean as `text`; `None` if there are several.
    pub(crate) fn equal_state(&self, text: &str) -> Option<u8> {
        let is_boolean = ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word));
        let number = decimal::canonical(text);
        let is_equal = |index: &usize| match &number {
            Some(number) => self.numbers[*index].as_ref() == Some(number),
            None => is_boolean && self.states[*index].eq_ignore_ascii_case(text),
        };
        let mut equal = (0..self.states.len()).filter(is_equal);
        let index = equal.next().filter(|_| equal.next().is_none())?;
        u8::try_from(index).ok()
    }

    /// The probability of `state` in a row.
    pub(crate) fn likelihood(&self, row: u32, state: u8) -> f64 {
        self.likelihoods[row as usize * self.states.len() + usize::from(state)]
    }
}

/// The thresholds of one distribution. A state of probability 0 has the threshold of the state before it, so no draw falls on it.
fn thresholds(distribution: &[f64]) -> Vec<i32> {
    /// How many values a draw can take.
    const DRAWS: f64 = (1_u64 << FULL_DRAW_BITS) as f64;
    let total: f64 = distribution.iter().sum();
    let mut cumulative = 0.0;
    let (_, all_but_last) = distribution.split_last().unwrap_or((&0.0, &[]));
    let threshold = |probability: &f64| {
        cumulative += probability;
        // `total` is the same sum in the same order, so that the quotient is exactly 1 if only zeros follow.
        let below = (cumulative / total * DRAWS).round();
        #[expect(clippy::cast_possible_truncation, reason = "from 0 to 2^31, less one")]
        let threshold = (below - 1.0) as i32;
        threshold
    };
    all_but_last.iter().map(threshold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_never_falls_on_a_state_of_probability_0() {
        assert_eq!(thresholds(&[0.0, 0.5, 0.0, 0.5, 0.0]), [-1, (1 << 30) - 1, (1 << 30) - 1, i32::MAX]);
        assert_eq!(thresholds(&[0.1, 0.2, 0.7, 0.0])[2], i32::MAX);
        assert!(thresholds(&[1.0]).is_empty());
    }
}
