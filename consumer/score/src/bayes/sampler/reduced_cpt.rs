//! The part of a variable's table that remains given its observed parents: the rows in which these have their observed states.
//!
//! The rows are numbered anew by the states of the unobserved parents. In such a number each of them has, in their order, as many bits as
//! its states need.

use super::block::{MAX_ROWS, ThresholdColumn};
use super::simd::SimdLevel;
use crate::bayes::evidence::Evidence;
use crate::bayes::network::variable::Variable;

/// The reduced table of the variable that is sampled.
#[derive(Debug, Clone)]
pub(super) struct ReducedCpt {
    /// The sum of the row offsets of the observed parents.
    pub(super) base_row: u32,
    pub(super) unobserved: Vec<UnobservedParent>,
    /// The bits of a reduced row's number.
    bits: u32,
    /// For each reduced row, its row in the whole table. A number that no combination of states has stands for an arbitrary row.
    full_rows: [u32; MAX_ROWS],
}

#[derive(Debug, Clone, Copy)]
pub(super) struct UnobservedParent {
    /// Its index among the network's variables.
    pub(super) variable: usize,
    /// What each of its states adds to the number of a row in the whole table.
    pub(super) stride: u32,
    last_state: u8,
    /// Its bits in the number of a reduced row.
    pub(super) bits: u32,
}

impl ReducedCpt {
    pub(super) fn new() -> Self {
        Self { base_row: 0, unobserved: Vec::new(), bits: 0, full_rows: [0; MAX_ROWS] }
    }

    /// Splits the parents of a variable into observed and unobserved ones.
    pub(super) fn reduce(&mut self, variable: &Variable, evidence: &Evidence) {
        (self.base_row, self.bits) = (0, 0);
        self.unobserved.clear();
        for parent in &variable.parents {
            if let Some(state) = evidence.state(parent.variable) {
                self.base_row += parent.row_offset(state);
                continue;
            }
            let bits = u8::BITS - parent.last_state.leading_zeros();
            self.bits += bits;
            self.unobserved.push(UnobservedParent {
                variable: parent.variable,
                stride: parent.row_offset(1),
                last_state: parent.last_state,
                bits,
            });
        }
    }

    /// The number of reduced rows; `None` if there are more than [`MAX_ROWS`].
    pub(super) fn row_count(&self) -> Option<usize> {
        1_usize.checked_shl(self.bits).filter(|rows| *rows <= MAX_ROWS)
    }

    /// The row in the whole table of a reduced row.
    pub(super) fn full_row(&self, reduced: u8) -> u32 {
        self.full_rows[usize::from(reduced)]
    }

    /// Fills each of `thresholds` with its high bits in each reduced row. Only if there is a [`Self::row_count`].
    pub(super) fn fill(&mut self, variable: &Variable, thresholds: &mut [ThresholdColumn], simd: SimdLevel) {
        let count = self.number_rows();
        for (threshold, high_bits) in thresholds.iter_mut().zip(variable.high_bits()) {
            simd.gather(high_bits, &self.full_rows, count, threshold);
        }
    }

    /// Fills `full_rows`, and returns their number.
    fn number_rows(&mut self) -> usize {
        let mut count = 1;
        self.full_rows[0] = self.base_row;
        for UnobservedParent { stride, last_state, bits, .. } in &self.unobserved {
            // From the last row down, so that none is overwritten before it is read.
            for number in (0..count).rev() {
                let (first, last) = (self.full_rows[number], self.full_rows[number] + stride * u32::from(*last_state));
                let mut row = first;
                for row_of_state in &mut self.full_rows[number << bits..][..1 << bits] {
                    *row_of_state = row;
                    row = (row + stride).min(last);
                }
            }
            count <<= bits;
        }
        count
    }
}
