//! The loops that nearly all of a company's time goes into, over the particles of a block side by side: numbering
//! the rows of a table by the parents' states, choosing the states of a variable by draws, counting them, and adding up their
//! weights.
//!
//! Each is here three times: in plain loops, and for processors with registers of 256 and of 512 bits, of which the one that
//! runs is chosen at start. All give the very same answers: draws, limits, states and weights are integers, and nothing is
//! rounded here.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod plain;

use std::ops::{Deref, DerefMut};

use super::draws::{Draws, STEP};

/// Particles in a block: for each variable a kilobyte, so that a network of some hundred stays near the processor.
pub(super) const BLOCK: usize = 1024;

/// Rows that a [`Limit`] has room for.
pub(super) const ROWS: usize = 64;

/// The bytes of a weight.
const PLANES: usize = 4;

/// Which loops to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lanes {
    /// On any machine.
    Plain,
    /// On x86-64 with AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Present),
    /// On x86-64 with AVX-512: its foundation, bytes and words, shorter registers, and the dot
    /// products of bytes ("VNNI").
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Present),
}

/// Of one limit of a variable, the upper bits in each row of its table.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Limit {
    pub(super) upper: [u16; ROWS],
}

impl Limit {
    pub(super) fn new() -> Self {
        Self { upper: [0; ROWS] }
    }
}

/// The row of each particle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) of_each: &'a [u8],
    /// How many rows there are, at most [`ROWS`].
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "the plain loops need not know"))]
    pub(super) count: usize,
}

/// A byte for each particle of a block: its state, or its row.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct States([u8; BLOCK]);

impl States {
    pub(super) fn new() -> Self {
        Self([0; BLOCK])
    }
}

impl Deref for States {
    type Target = [u8; BLOCK];
    fn deref(&self) -> &[u8; BLOCK] {
        &self.0
    }
}

impl DerefMut for States {
    fn deref_mut(&mut self) -> &mut [u8; BLOCK] {
        &mut self.0
    }
}

/// A weight for each particle of a block: the lowest bytes of all, the second, and so on, since dot products take bytes.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Planes([[u8; BLOCK]; PLANES]);

impl Planes {
    pub(super) fn new() -> Self {
        Self([[0; BLOCK]; PLANES])
    }

    pub(super) fn set(&mut self, particle: usize, weight: u32) {
        for (plane, byte) in self.0.iter_mut().zip(weight.to_le_bytes()) {
            plane[particle] = byte;
        }
    }

    pub(super) fn get(&self, particle: usize) -> u32 {
        u32::from_le_bytes([0, 1, 2, 3].map(|plane: usize| self.0[plane][particle]))
    }
}

/// Told which particle of the block a draw is for and its upper bits, gives the state where these do not decide.
pub(super) type Undecided<'a> = dyn FnMut(usize, u16) -> u8 + 'a;

impl Lanes {
    /// The fastest that this machine can run.
    pub(super) fn fastest() -> Self {
        Self::of_this_machine().next().unwrap_or(Self::Plain)
    }

    /// All that this machine can run, the fastest first.
    pub(super) fn of_this_machine() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let wide = [avx512::present().map(Self::Avx512), avx2::present().map(Self::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let wide: [Option<Self>; 0] = [];
        wide.into_iter().flatten().chain([Self::Plain])
    }

    /// Gives each particle the state on which its draw falls: the number of limits that are below the draw, in the
    /// particle's row, or in row 0 where there are no `rows`. The particles are a multiple of [`STEP`].
    pub(super) fn choose(
        self,
        draws: &mut Draws,
        limits: &[Limit],
        rows: Option<Rows<'_>>,
        states: &mut [u8],
        undecided: &mut Undecided<'_>,
    ) {
        debug_assert!(states.len().is_multiple_of(STEP) && rows.is_none_or(|rows| rows.of_each.len() == states.len()));
        match self {
            Self::Plain => plain::choose(draws, limits, rows, states, undecided),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(present) => avx2::choose(present, draws, limits, rows, states, undecided),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(present) => avx512::choose(present, draws, limits, rows, states, undecided),
        }
    }

    /// Picks the first `count` of these rows out of a limit's upper bits in all rows.
    pub(super) fn pick(self, uppers: &[u16], rows: &[u32; ROWS], count: usize, limit: &mut Limit) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(present) if uppers.len() <= ROWS => avx512::pick(present, uppers, rows, count, limit),
            _ => plain::pick(uppers, rows, count, limit),
        }
    }

    /// Numbers rows by the states of two parents, or of those whose states are in `rows` and one more: `bits` are those of the
    /// last.
    pub(super) fn number(self, rows: &mut States, first: Option<&States>, bits: u32, last: &States) {
        match self {
            Self::Plain => plain::number(rows, first, bits, last),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(present) => avx2::number(present, rows, first, bits, last),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(present) => avx512::number(present, rows, first, bits, last),
        }
    }

    /// How many of the first `len` particles are in each state.
    pub(super) fn count(self, states: &States, len: usize, counts: &mut [u64]) {
        match self {
            Self::Plain => plain::count(states, len, counts),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(present) => avx2::count(present, states, len, counts),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(present) => avx512::count(present, states, len, counts),
        }
    }

    /// The sum of the weights of the particles in each state.
    pub(super) fn weigh(self, states: &States, weights: &Planes, sums: &mut [u64]) {
        match self {
            Self::Plain => plain::weigh(states, weights, sums),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(present) => avx2::weigh(present, states, weights, sums),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(present) => avx512::weigh(present, states, weights, sums),
        }
    }
}
