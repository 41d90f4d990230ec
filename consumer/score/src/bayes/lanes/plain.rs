//! The loops on any machine.

use super::super::draws::{Draws, STEP};
use super::{Limit, Planes, ROWS, Rows, States, Undecided};

pub(super) fn pick(uppers: &[u16], rows: &[u32; ROWS], count: usize, limit: &mut Limit) {
    for (upper, &row) in limit.upper.iter_mut().zip(&rows[..count]) {
        *upper = uppers[row as usize];
    }
}

#[inline(always)]
pub(super) fn number(rows: &mut States, first: Option<&States>, bits: u32, last: &States) {
    match first {
        Some(first) => {
            let pairs = first.iter().zip(last.iter());
            rows.iter_mut().zip(pairs).for_each(|(row, (first, last))| *row = first << bits | last);
        }
        None => rows.iter_mut().zip(last.iter()).for_each(|(row, last)| *row = *row << bits | last),
    }
}

pub(super) fn choose(
    draws: &mut Draws,
    limits: &[Limit],
    rows: Option<Rows<'_>>,
    states: &mut [u8],
    undecided: &mut Undecided<'_>,
) {
    for (step, states) in states.as_chunks_mut::<STEP>().0.iter_mut().enumerate() {
        let draws = draws.step();
        let first = step * STEP;
        // As wide as the draws, so that the compiler takes several at once.
        let (mut beyond, mut near) = ([0_u16; STEP], [0_u16; STEP]);
        for Limit { upper } in limits {
            let upper = match rows {
                None => [upper[0]; STEP],
                Some(Rows { of_each, .. }) => of_rows(upper, &of_each.as_chunks::<STEP>().0[step]),
            };
            for lane in 0..STEP {
                beyond[lane] += u16::from(draws[lane] > upper[lane]);
                near[lane] |= u16::from(draws[lane] == upper[lane]);
            }
        }
        for lane in 0..STEP {
            [states[lane], _] = beyond[lane].to_le_bytes();
        }
        if near.iter().fold(0, |any, near| any | near) != 0 {
            for lane in (0..STEP).filter(|&lane| near[lane] != 0) {
                states[lane] = undecided(first + lane, draws[lane]);
            }
        }
    }
}

#[inline(always)]
fn of_rows(upper: &[u16; ROWS], rows: &[u8; STEP]) -> [u16; STEP] {
    rows.map(|row| upper[usize::from(row) % ROWS])
}

pub(super) fn count(states: &States, len: usize, counts: &mut [u64]) {
    for (state, count) in (0..=u8::MAX).zip(counts) {
        // Sums of so few fit a byte, which the compiler then counts many of at once.
        let groups = states[..len].chunks(255);
        *count = groups.map(|group| u64::from(group.iter().map(|&other| u8::from(other == state)).sum::<u8>())).sum();
    }
}

pub(super) fn weigh(states: &States, weights: &Planes, sums: &mut [u64]) {
    // One place for each value of a byte, so that the loop needs no bounds checks.
    let mut all = [0; 256];
    for (particle, &state) in states.iter().enumerate() {
        all[usize::from(state)] += u64::from(weights.get(particle));
    }
    sums.copy_from_slice(&all[..sums.len()]);
}
