//! The loops over the particles of a block, which take nearly all of a company's time: indexing the rows of a table by the parents' states,
//! sampling the states of a variable, and (weighted) histograms of them.
//!
//! Each loop exists in three versions: scalar, and for x86-64 processors with vector registers of 256 and of 512 bits. The version is chosen
//! once at start. All versions give exactly the same results, since draws, thresholds, states and weights are integers.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use super::block::{BreakTie, ByteColumn, MAX_ROWS, RowColumn, ThresholdColumn, WeightColumns};
use crate::bayes::rng::{Rng, STEP};

/// Which version of the loops runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SimdLevel {
    /// On any machine.
    Scalar,
    /// On x86-64 with AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Supported),
    /// On x86-64 with AVX-512: the subsets F, BW, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Supported),
}

impl SimdLevel {
    /// The fastest version that this machine can run.
    pub(crate) fn fastest() -> Self {
        Self::available().next().unwrap_or(Self::Scalar)
    }

    /// All versions that this machine can run, the fastest first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vectorised = [avx512::detect().map(Self::Avx512), avx2::detect().map(Self::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let vectorised: [Option<Self>; 0] = [];
        vectorised.into_iter().flatten().chain([Self::Scalar])
    }

    /// Draws each particle's state: the number of thresholds below the draw, in the particle's row, or in row 0 if there are no `rows`. The
    /// number of particles is a multiple of [`STEP`].
    pub(super) fn sample_states(
        self,
        rng: &mut Rng,
        thresholds: &[ThresholdColumn],
        rows: Option<RowColumn<'_>>,
        states: &mut [u8],
        break_tie: &mut BreakTie<'_>,
    ) {
        debug_assert!(states.len().is_multiple_of(STEP) && rows.is_none_or(|rows| rows.of_particles.len() == states.len()));
        match self {
            Self::Scalar => scalar::sample_states(rng, thresholds, rows, states, break_tie),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(supported) => avx2::sample_states(supported, rng, thresholds, rows, states, break_tie),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(supported) => avx512::sample_states(supported, rng, thresholds, rows, states, break_tie),
        }
    }

    /// Copies a threshold's high bits in the first `count` of `rows` out of its high bits in all rows.
    pub(super) fn gather(self, high_bits: &[u16], rows: &[u32; MAX_ROWS], count: usize, threshold: &mut ThresholdColumn) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(supported) if high_bits.len() <= MAX_ROWS => {
                avx512::gather(supported, high_bits, rows, count, threshold);
            }
            _ => scalar::gather(high_bits, rows, count, threshold),
        }
    }

    /// Sets each particle's row to `first << bits | last`; with `rows` itself in the place of `first` if that is `None`.
    pub(super) fn index_rows(self, rows: &mut ByteColumn, first: Option<&ByteColumn>, bits: u32, last: &ByteColumn) {
        match self {
            Self::Scalar => scalar::index_rows(rows, first, bits, last),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(supported) => avx2::index_rows(supported, rows, first, bits, last),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(supported) => avx512::index_rows(supported, rows, first, bits, last),
        }
    }

    /// How many of the first `len` particles are in each state.
    pub(super) fn histogram(self, states: &ByteColumn, len: usize, counts: &mut [u64]) {
        match self {
            Self::Scalar => scalar::histogram(states, len, counts),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(supported) => avx2::histogram(supported, states, len, counts),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(supported) => avx512::histogram(supported, states, len, counts),
        }
    }

    /// The sum of the weights of the particles in each state.
    pub(super) fn weighted_histogram(self, states: &ByteColumn, weights: &WeightColumns, sums: &mut [u64]) {
        match self {
            Self::Scalar => scalar::weighted_histogram(states, weights, sums),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(supported) => avx2::weighted_histogram(supported, states, weights, sums),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(supported) => avx512::weighted_histogram(supported, states, weights, sums),
        }
    }
}
