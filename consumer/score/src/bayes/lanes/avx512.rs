//! The loops for x86-64 with registers of 512 bits: 32 draws, or 64 states, at a time.

#![expect(unsafe_code, reason = "whether the processor has these instructions is known only when the program runs")]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;
use std::array::from_fn;

use super::super::draws::{Draws, LANES, STEP};
use super::{Limit, PLANES, Planes, ROWS, Rows, States, Undecided, plain};

/// Particles that are counted or weighed together.
const GROUP: usize = 64;

/// Rows of a limit that one register holds.
const ROWS_A_REGISTER: usize = 32;

/// States that are summed up in one pass: their sums stay in registers.
const STATES_A_PASS: usize = 4;

/// Says that this machine has what the functions here need: there is none where it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Present(());

/// Asks the processor.
pub(super) fn present() -> Option<Present> {
    let all = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("popcnt");
    all.then_some(Present(()))
}

/// Of at most [`ROWS`] rows in all.
pub(super) fn pick(_: Present, uppers: &[u16], rows: &[u32; ROWS], count: usize, limit: &mut Limit) {
    // SAFETY: there is a `Present`.
    unsafe { pick_by_registers(uppers, rows, count, limit) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn pick_by_registers(uppers: &[u16], rows: &[u32; ROWS], count: usize, limit: &mut Limit) {
    let (low, high) = uppers.split_at(uppers.len().min(ROWS_A_REGISTER));
    let table = [load_some_words(low), load_some_words(high)];
    let (rows, _) = rows.as_chunks::<ROWS_A_REGISTER>();
    let (picked, _) = limit.upper.as_chunks_mut::<ROWS_A_REGISTER>();
    for (rows, picked) in rows.iter().zip(picked).take(count.div_ceil(ROWS_A_REGISTER)) {
        let (halves, _) = rows.as_chunks::<16>();
        let row = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(narrow(&halves[0])), narrow(&halves[1]));
        *picked = words(_mm512_permutex2var_epi16(table[0], row, table[1]));
    }
}

pub(super) fn number(_: Present, rows: &mut States, first: Option<&States>, bits: u32, last: &States) {
    // SAFETY: there is a `Present`.
    unsafe { number_wide(rows, first, bits, last) }
}

/// The compiler makes the most of it, once it may.
#[target_feature(enable = "avx512f,avx512bw")]
fn number_wide(rows: &mut States, first: Option<&States>, bits: u32, last: &States) {
    plain::number(rows, first, bits, last);
}

pub(super) fn choose(
    _: Present,
    draws: &mut Draws,
    limits: &[Limit],
    rows: Option<Rows<'_>>,
    states: &mut [u8],
    undecided: &mut Undecided<'_>,
) {
    // SAFETY: there is a `Present`.
    unsafe {
        match limits.len() {
            1 => choose_by::<1>(draws, limits, rows, states, undecided),
            2 => choose_by::<2>(draws, limits, rows, states, undecided),
            3 => choose_by::<3>(draws, limits, rows, states, undecided),
            4 => choose_by::<4>(draws, limits, rows, states, undecided),
            5 => choose_by::<5>(draws, limits, rows, states, undecided),
            6 => choose_by::<6>(draws, limits, rows, states, undecided),
            7 => choose_by::<7>(draws, limits, rows, states, undecided),
            8 => choose_by::<8>(draws, limits, rows, states, undecided),
            9 => choose_by::<9>(draws, limits, rows, states, undecided),
            10 => choose_by::<10>(draws, limits, rows, states, undecided),
            // Rare, and more than the registers hold.
            _ => plain::choose(draws, limits, rows, states, undecided),
        }
    }
}

/// Picks the way in which the limits of each particle's row are found.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn choose_by<const LIMITS: usize>(
    draws: &mut Draws,
    limits: &[Limit],
    rows: Option<Rows<'_>>,
    states: &mut [u8],
    undecided: &mut Undecided<'_>,
) {
    let table: [[__m512i; 2]; LIMITS] = from_fn(|limit| {
        let (halves, _) = limits[limit].upper.as_chunks::<ROWS_A_REGISTER>();
        [load_words(&halves[0]), load_words(&halves[1])]
    });
    let (states, _) = states.as_chunks_mut::<STEP>();
    let mut generator = Generator::load(draws);
    match rows {
        None => {
            let same: [__m512i; LIMITS] = from_fn(|limit| _mm512_set1_epi16(limits[limit].upper[0].cast_signed()));
            for (step, states) in states.iter_mut().enumerate() {
                choose_step(&mut generator, &same, step, states, undecided);
            }
        }
        Some(Rows { of_each, count }) if count <= ROWS_A_REGISTER => {
            for (step, (rows, states)) in of_each.as_chunks::<STEP>().0.iter().zip(states).enumerate() {
                let row = _mm512_cvtepu8_epi16(load_half(rows));
                let upper: [__m512i; LIMITS] = from_fn(|limit| _mm512_permutexvar_epi16(row, table[limit][0]));
                choose_step(&mut generator, &upper, step, states, undecided);
            }
        }
        Some(Rows { of_each, .. }) => {
            for (step, (rows, states)) in of_each.as_chunks::<STEP>().0.iter().zip(states).enumerate() {
                let row = _mm512_cvtepu8_epi16(load_half(rows));
                let upper: [__m512i; LIMITS] = from_fn(|limit| _mm512_permutex2var_epi16(table[limit][0], row, table[limit][1]));
                choose_step(&mut generator, &upper, step, states, undecided);
            }
        }
    }
    generator.store(draws);
}

/// The states of one step's draws, given each particle's limits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn choose_step<const LIMITS: usize>(
    generator: &mut Generator,
    upper: &[__m512i; LIMITS],
    step: usize,
    states: &mut [u8; STEP],
    undecided: &mut Undecided<'_>,
) {
    let draws = generator.step();
    let one = _mm256_set1_epi8(1);
    let mut state = _mm256_setzero_si256();
    let mut decided = u32::MAX;
    for &upper in upper {
        let beyond = _mm512_cmpgt_epu16_mask(draws, upper);
        state = _mm256_mask_add_epi8(state, beyond, state, one);
        decided = _mm512_mask_cmpneq_epu16_mask(decided, draws, upper);
    }
    store_half(states, state);
    if decided != u32::MAX {
        decide(!decided, draws, step, states, undecided);
    }
}

/// Finds the states of the draws that share their upper bits with a limit. One step in a few hundred has any.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn decide(mut near: u32, draws: __m512i, step: usize, states: &mut [u8; STEP], undecided: &mut Undecided<'_>) {
    let draws = words(draws);
    while near != 0 {
        let lane = near.trailing_zeros() as usize;
        states[lane] = undecided(step * STEP + lane, draws[lane]);
        near &= near - 1;
    }
}

/// The state of [`Draws`] in registers.
struct Generator([__m512i; 4]);

impl Generator {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(draws: &Draws) -> Self {
        Self(from_fn(|word| load_lanes(&draws.state[word])))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(self, draws: &mut Draws) {
        draws.state = self.0.map(|word| lanes(word));
    }

    /// As [`Draws::step`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn step(&mut self) -> __m512i {
        let [s0, s1, s2, s3] = &mut self.0;
        let draws = _mm512_add_epi64(_mm512_rol_epi64::<23>(_mm512_add_epi64(*s0, *s3)), *s0);
        let shifted = _mm512_slli_epi64::<17>(*s1);
        *s2 = _mm512_xor_si512(*s2, *s0);
        *s3 = _mm512_xor_si512(*s3, *s1);
        *s1 = _mm512_xor_si512(*s1, *s2);
        *s0 = _mm512_xor_si512(*s0, *s3);
        *s2 = _mm512_xor_si512(*s2, shifted);
        *s3 = _mm512_rol_epi64::<45>(*s3);
        draws
    }
}

pub(super) fn count(_: Present, states: &States, len: usize, counts: &mut [u64]) {
    // SAFETY: there is a `Present`.
    unsafe { count_by_masks(states, len, counts) }
}

#[target_feature(enable = "avx512f,avx512bw,popcnt")]
fn count_by_masks(states: &States, len: usize, counts: &mut [u64]) {
    let (groups, _) = states.as_chunks::<GROUP>();
    let (whole, rest) = (len / GROUP, len % GROUP);
    let [first, others @ ..] = counts else { return };
    for (state, count) in (1..=u8::MAX).zip(&mut *others) {
        let state = _mm512_set1_epi8(state.cast_signed());
        let are_in = |group: &[u8; GROUP]| _mm512_cmpeq_epi8_mask(load_bytes(group), state);
        *count = groups[..whole].iter().map(|group| u64::from(are_in(group).count_ones())).sum();
        if rest > 0 {
            *count += u64::from((are_in(&groups[whole]) & ((1 << rest) - 1)).count_ones());
        }
    }
    *first = len as u64 - others.iter().sum::<u64>();
}

pub(super) fn weigh(_: Present, states: &States, weights: &Planes, sums: &mut [u64]) {
    for (first, sums) in (0..=u8::MAX).step_by(STATES_A_PASS).zip(sums.chunks_mut(STATES_A_PASS)) {
        // SAFETY: there is a `Present`.
        let all = unsafe { weigh_pass(states, weights, first) };
        sums.copy_from_slice(&all[..sums.len()]);
    }
}

/// The sums of the states from `first` on.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn weigh_pass(states: &States, weights: &Planes, first: u8) -> [u64; STATES_A_PASS] {
    let wanted: [__m512i; STATES_A_PASS] = [0, 1, 2, 3].map(|state| _mm512_set1_epi8(first.wrapping_add(state).cast_signed()));
    let mut sums = [[_mm512_setzero_si512(); PLANES]; STATES_A_PASS];
    for (group, states) in states.as_chunks::<GROUP>().0.iter().enumerate() {
        let states = load_bytes(states);
        let bytes: [__m512i; PLANES] = from_fn(|plane| load_bytes(&weights.0[plane].as_chunks::<GROUP>().0[group]));
        for (sums, wanted) in sums.iter_mut().zip(wanted) {
            let ones = _mm512_maskz_set1_epi8(_mm512_cmpeq_epi8_mask(states, wanted), 1);
            for (sum, bytes) in sums.iter_mut().zip(bytes) {
                *sum = _mm512_dpbusd_epi32(*sum, bytes, ones);
            }
        }
    }
    // Of a block no sum of bytes comes near the end of its 32 bits.
    sums.map(|planes| {
        let bytes = planes.map(|sum| u64::from(_mm512_reduce_add_epi32(sum).cast_unsigned()));
        (0..PLANES).map(|plane| bytes[plane] << (8 * plane)).sum()
    })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_bytes(bytes: &[u8; GROUP]) -> __m512i {
    // SAFETY: so many bytes are there; none of these asks for alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_words(words: &[u16; ROWS_A_REGISTER]) -> __m512i {
    // SAFETY: as above.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_some_words(words: &[u16]) -> __m512i {
    let there = if words.len() < ROWS_A_REGISTER { (1 << words.len()) - 1 } else { u32::MAX };
    // SAFETY: as above; what the mask leaves out is not read.
    unsafe { _mm512_maskz_loadu_epi16(there, words.as_ptr().cast()) }
}

/// Sixteen rows in 16 bits each, of which they need no more.
#[inline]
#[target_feature(enable = "avx512f")]
fn narrow(rows: &[u32; 16]) -> __m256i {
    // SAFETY: as above.
    _mm512_cvtepi32_epi16(unsafe { _mm512_loadu_si512(rows.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_lanes(lanes: &[u64; LANES]) -> __m512i {
    // SAFETY: as above.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_half(bytes: &[u8; STEP]) -> __m256i {
    // SAFETY: as above.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_half(bytes: &mut [u8; STEP], register: __m256i) {
    // SAFETY: as above.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), register) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn words(register: __m512i) -> [u16; STEP] {
    let mut words = [0_u16; STEP];
    // SAFETY: as above.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), register) };
    words
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lanes(register: __m512i) -> [u64; LANES] {
    let mut lanes = [0_u64; LANES];
    // SAFETY: as above.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), register) };
    lanes
}
