//! The data of a block of particles: arrays with an element for each particle, or for each row of a reduced table, laid out for vector
//! registers.

use std::ops::{Deref, DerefMut};

/// Particles of a block. A variable then takes a kilobyte, so that a block of a few hundred variables fits into the processor's cache.
pub(crate) const BLOCK: usize = 1024;

/// The most rows of a reduced table that is sampled with vector instructions.
pub(super) const MAX_ROWS: usize = 64;

/// The bytes of a weight.
pub(super) const WEIGHT_BYTES: usize = 4;

/// A byte for each particle: its state, or its row in a reduced table.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct ByteColumn([u8; BLOCK]);

impl ByteColumn {
    pub(super) fn new() -> Self {
        Self([0; BLOCK])
    }
}

impl Deref for ByteColumn {
    type Target = [u8; BLOCK];
    fn deref(&self) -> &[u8; BLOCK] {
        &self.0
    }
}

impl DerefMut for ByteColumn {
    fn deref_mut(&mut self) -> &mut [u8; BLOCK] {
        &mut self.0
    }
}

/// A weight for each particle: the lowest bytes of all weights, then the second, and so on, since dot-product instructions take bytes.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct WeightColumns(pub(super) [[u8; BLOCK]; WEIGHT_BYTES]);

impl WeightColumns {
    pub(super) fn new() -> Self {
        Self([[0; BLOCK]; WEIGHT_BYTES])
    }

    pub(super) fn set(&mut self, particle: usize, weight: u32) {
        for (column, byte) in self.0.iter_mut().zip(weight.to_le_bytes()) {
            column[particle] = byte;
        }
    }

    pub(super) fn get(&self, particle: usize) -> u32 {
        u32::from_le_bytes([0, 1, 2, 3].map(|column: usize| self.0[column][particle]))
    }
}

/// The high bits of one threshold in each row of a reduced table.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct ThresholdColumn {
    pub(super) high: [u16; MAX_ROWS],
}

impl ThresholdColumn {
    pub(super) fn new() -> Self {
        Self { high: [0; MAX_ROWS] }
    }
}

/// The row of each particle in a reduced table.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowColumn<'a> {
    pub(super) of_particles: &'a [u8],
    /// How many rows the table has, at most [`MAX_ROWS`].
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "the scalar loops do not need it"))]
    pub(super) count: usize,
}

/// Gives the state of a particle if the high bits of its draw don't decide it, because they equal those of a threshold. Takes the index of
/// the particle in its block, and the high bits.
pub(super) type BreakTie<'a> = dyn FnMut(usize, u16) -> u8 + 'a;
