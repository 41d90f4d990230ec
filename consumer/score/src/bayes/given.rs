//! What the observed parents of a variable leave of its table: the rows in which they are in their observed states, numbered
//! anew by the states of the other parents. In that number each of those has, in their order, as many bits as its states need.

use super::evidence::Evidence;
use super::lanes::{Lanes, Limit, ROWS};
use super::network::Variable;

/// The parents of the variable in hand, and the rows they leave.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// What the observed parents add to the number of a row in the whole table.
    pub(super) fixed: u32,
    pub(super) free: Vec<Free>,
    bits: u32,
    /// Where each row that is left stands in the whole table. A number that no states have stands for some row all the same.
    rows: [u32; ROWS],
}

/// An unobserved parent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Free {
    pub(super) variable: usize,
    /// What each of its states adds to the number of a row in the whole table.
    pub(super) stride: u32,
    last_state: u8,
    pub(super) bits: u32,
}

impl Given {
    pub(super) fn new() -> Self {
        Self { fixed: 0, free: Vec::new(), bits: 0, rows: [0; ROWS] }
    }

    /// Takes a variable in hand.
    pub(super) fn find(&mut self, variable: &Variable, evidence: &Evidence) {
        (self.fixed, self.bits) = (0, 0);
        self.free.clear();
        for parent in &variable.parents {
            if let Some(state) = evidence.state(parent.variable) {
                self.fixed += parent.share(state);
                continue;
            }
            let bits = u8::BITS - parent.last_state.leading_zeros();
            self.bits += bits;
            self.free.push(Free { variable: parent.variable, stride: parent.share(1), last_state: parent.last_state, bits });
        }
    }

    /// How many rows are left, where a [`Limit`] has room for them.
    pub(super) fn rows_left(&self) -> Option<usize> {
        1_usize.checked_shl(self.bits).filter(|rows| *rows <= ROWS)
    }

    /// The row of what is left that has this number, in the whole table.
    pub(super) fn whole_row(&self, number: u8) -> u32 {
        self.rows[usize::from(number)]
    }

    /// Puts what is left together: for each limit, its upper bits in each row.
    pub(super) fn fill(&mut self, variable: &Variable, limits: &mut [Limit], lanes: Lanes) {
        let count = self.find_rows();
        for (limit, uppers) in limits.iter_mut().zip(variable.uppers()) {
            lanes.pick(uppers, &self.rows, count, limit);
        }
    }

    fn find_rows(&mut self) -> usize {
        let mut count = 1;
        self.rows[0] = self.fixed;
        for Free { stride, last_state, bits, .. } in &self.free {
            // From the last, so that none is overwritten before it is read.
            for number in (0..count).rev() {
                let (first, last) = (self.rows[number], self.rows[number] + stride * u32::from(*last_state));
                let mut row = first;
                for row_of_state in &mut self.rows[number << bits..][..1 << bits] {
                    *row_of_state = row;
                    row = (row + stride).min(last);
                }
            }
            count <<= bits;
        }
        count
    }
}
