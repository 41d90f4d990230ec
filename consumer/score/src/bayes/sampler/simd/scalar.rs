//! The loops without vector instructions. They are also the reference for the other versions in tests.

use crate::bayes::rng::{Rng, STEP};
use crate::bayes::sampler::block::{BreakTie, ByteColumn, MAX_ROWS, RowColumn, ThresholdColumn, WeightColumns};

pub(super) fn gather(high_bits: &[u16], rows: &[u32; MAX_ROWS], count: usize, threshold: &mut ThresholdColumn) {
    for (high, &row) in threshold.high.iter_mut().zip(&rows[..count]) {
        *high = high_bits[row as usize];
    }
}

#[inline(always)]
pub(super) fn index_rows(rows: &mut ByteColumn, first: Option<&ByteColumn>, bits: u32, last: &ByteColumn) {
    match first {
        Some(first) => {
            let pairs = first.iter().zip(last.iter());
            rows.iter_mut().zip(pairs).for_each(|(row, (first, last))| *row = first << bits | last);
        }
        None => rows.iter_mut().zip(last.iter()).for_each(|(row, last)| *row = *row << bits | last),
    }
}

pub(super) fn sample_states(
    rng: &mut Rng,
    thresholds: &[ThresholdColumn],
    rows: Option<RowColumn<'_>>,
    states: &mut [u8],
    break_tie: &mut BreakTie<'_>,
) {
    for (step, states) in states.as_chunks_mut::<STEP>().0.iter_mut().enumerate() {
        let draws = rng.step();
        let first = step * STEP;
        // 16 bits each, like the draws, so that the compiler can vectorise the loop.
        let (mut above, mut ties) = ([0_u16; STEP], [0_u16; STEP]);
        for ThresholdColumn { high } in thresholds {
            let high = match rows {
                None => [high[0]; STEP],
                Some(RowColumn { of_particles, .. }) => in_rows(high, &of_particles.as_chunks::<STEP>().0[step]),
            };
            for i in 0..STEP {
                above[i] += u16::from(draws[i] > high[i]);
                ties[i] |= u16::from(draws[i] == high[i]);
            }
        }
        for i in 0..STEP {
            [states[i], _] = above[i].to_le_bytes();
        }
        if ties.iter().fold(0, |any, tie| any | tie) != 0 {
            for i in (0..STEP).filter(|&i| ties[i] != 0) {
                states[i] = break_tie(first + i, draws[i]);
            }
        }
    }
}

#[inline(always)]
fn in_rows(high: &[u16; MAX_ROWS], rows: &[u8; STEP]) -> [u16; STEP] {
    rows.map(|row| high[usize::from(row) % MAX_ROWS])
}

pub(super) fn histogram(states: &ByteColumn, len: usize, counts: &mut [u64]) {
    for (state, count) in (0..=u8::MAX).zip(counts) {
        // The count of a chunk fits a byte, so that the compiler can vectorise the sum.
        let chunks = states[..len].chunks(255);
        *count = chunks.map(|chunk| u64::from(chunk.iter().map(|&other| u8::from(other == state)).sum::<u8>())).sum();
    }
}

pub(super) fn weighted_histogram(states: &ByteColumn, weights: &WeightColumns, sums: &mut [u64]) {
    // An element for each value of a byte, so that the loop needs no bounds checks.
    let mut all = [0; 256];
    for (particle, &state) in states.iter().enumerate() {
        all[usize::from(state)] += u64::from(weights.get(particle));
    }
    sums.copy_from_slice(&all[..sums.len()]);
}
