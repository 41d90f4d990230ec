//! The loops for x86-64 with AVX-512, whose registers of 512 bits hold 32 draws or 64 states.

#![expect(unsafe_code, reason = "whether the processor has these instructions is known only when the program runs")]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;
use std::array::from_fn;

use super::scalar;
use crate::bayes::rng::{Rng, STEP, STREAMS};
use crate::bayes::sampler::block::{BreakTie, ByteColumn, MAX_ROWS, RowColumn, ThresholdColumn, WEIGHT_BYTES, WeightColumns};

/// Particles whose states one register holds.
const GROUP: usize = 64;

/// Rows of a threshold that one register holds.
const ROWS_PER_REGISTER: usize = 32;

/// States whose weights are summed up in one pass, so that their sums stay in registers.
const STATES_PER_PASS: usize = 4;

/// Proof that the processor has the instructions that the functions here use. Only [`detect`] creates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Supported(());

/// `None` if the processor lacks one of the instructions.
pub(super) fn detect() -> Option<Supported> {
    let all = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("popcnt");
    all.then_some(Supported(()))
}

/// The whole table has at most [`MAX_ROWS`] rows.
pub(super) fn gather(_: Supported, high_bits: &[u16], rows: &[u32; MAX_ROWS], count: usize, threshold: &mut ThresholdColumn) {
    // SAFETY: a `Supported` exists only if the processor has all features that the called function enables.
    unsafe { gather_by_registers(high_bits, rows, count, threshold) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn gather_by_registers(high_bits: &[u16], rows: &[u32; MAX_ROWS], count: usize, threshold: &mut ThresholdColumn) {
    let (low, high) = high_bits.split_at(high_bits.len().min(ROWS_PER_REGISTER));
    let table = [load_some_words(low), load_some_words(high)];
    let (rows, _) = rows.as_chunks::<ROWS_PER_REGISTER>();
    let (picked, _) = threshold.high.as_chunks_mut::<ROWS_PER_REGISTER>();
    for (rows, picked) in rows.iter().zip(picked).take(count.div_ceil(ROWS_PER_REGISTER)) {
        let (halves, _) = rows.as_chunks::<16>();
        let row = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(narrow(&halves[0])), narrow(&halves[1]));
        *picked = words(_mm512_permutex2var_epi16(table[0], row, table[1]));
    }
}

pub(super) fn index_rows(_: Supported, rows: &mut ByteColumn, first: Option<&ByteColumn>, bits: u32, last: &ByteColumn) {
    // SAFETY: a `Supported` exists only if the processor has all features that the called function enables.
    unsafe { index_rows_vectorised(rows, first, bits, last) }
}

/// The compiler auto-vectorises the scalar loop here, since AVX-512 is enabled.
#[target_feature(enable = "avx512f,avx512bw")]
fn index_rows_vectorised(rows: &mut ByteColumn, first: Option<&ByteColumn>, bits: u32, last: &ByteColumn) {
    scalar::index_rows(rows, first, bits, last);
}

pub(super) fn sample_states(
    _: Supported,
    rng: &mut Rng,
    thresholds: &[ThresholdColumn],
    rows: Option<RowColumn<'_>>,
    states: &mut [u8],
    break_tie: &mut BreakTie<'_>,
) {
    // SAFETY: a `Supported` exists only if the processor has all features that the called function enables.
    unsafe {
        match thresholds.len() {
            1 => sample_by_row::<1>(rng, thresholds, rows, states, break_tie),
            2 => sample_by_row::<2>(rng, thresholds, rows, states, break_tie),
            3 => sample_by_row::<3>(rng, thresholds, rows, states, break_tie),
            4 => sample_by_row::<4>(rng, thresholds, rows, states, break_tie),
            5 => sample_by_row::<5>(rng, thresholds, rows, states, break_tie),
            6 => sample_by_row::<6>(rng, thresholds, rows, states, break_tie),
            7 => sample_by_row::<7>(rng, thresholds, rows, states, break_tie),
            8 => sample_by_row::<8>(rng, thresholds, rows, states, break_tie),
            9 => sample_by_row::<9>(rng, thresholds, rows, states, break_tie),
            10 => sample_by_row::<10>(rng, thresholds, rows, states, break_tie),
            // Rare, and more thresholds than fit into registers.
            _ => scalar::sample_states(rng, thresholds, rows, states, break_tie),
        }
    }
}

/// Samples states by `THRESHOLDS` thresholds, choosing how to look up those of each particle's row.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn sample_by_row<const THRESHOLDS: usize>(
    rng: &mut Rng,
    thresholds: &[ThresholdColumn],
    rows: Option<RowColumn<'_>>,
    states: &mut [u8],
    break_tie: &mut BreakTie<'_>,
) {
    let table: [[__m512i; 2]; THRESHOLDS] = from_fn(|threshold| {
        let (halves, _) = thresholds[threshold].high.as_chunks::<ROWS_PER_REGISTER>();
        [load_words(&halves[0]), load_words(&halves[1])]
    });
    let (states, _) = states.as_chunks_mut::<STEP>();
    let mut registers = RngRegisters::load(rng);
    match rows {
        None => {
            let same: [__m512i; THRESHOLDS] = from_fn(|threshold| _mm512_set1_epi16(thresholds[threshold].high[0].cast_signed()));
            for (step, states) in states.iter_mut().enumerate() {
                sample_step(&mut registers, &same, step, states, break_tie);
            }
        }
        Some(RowColumn { of_particles, count }) if count <= ROWS_PER_REGISTER => {
            for (step, (rows, states)) in of_particles.as_chunks::<STEP>().0.iter().zip(states).enumerate() {
                let row = _mm512_cvtepu8_epi16(load_half(rows));
                let high: [__m512i; THRESHOLDS] = from_fn(|threshold| _mm512_permutexvar_epi16(row, table[threshold][0]));
                sample_step(&mut registers, &high, step, states, break_tie);
            }
        }
        Some(RowColumn { of_particles, .. }) => {
            for (step, (rows, states)) in of_particles.as_chunks::<STEP>().0.iter().zip(states).enumerate() {
                let row = _mm512_cvtepu8_epi16(load_half(rows));
                let high: [__m512i; THRESHOLDS] =
                    from_fn(|threshold| _mm512_permutex2var_epi16(table[threshold][0], row, table[threshold][1]));
                sample_step(&mut registers, &high, step, states, break_tie);
            }
        }
    }
    registers.store(rng);
}

/// The states of one step's draws, given each particle's thresholds.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn sample_step<const THRESHOLDS: usize>(
    registers: &mut RngRegisters,
    high: &[__m512i; THRESHOLDS],
    step: usize,
    states: &mut [u8; STEP],
    break_tie: &mut BreakTie<'_>,
) {
    let draws = registers.step();
    let one = _mm256_set1_epi8(1);
    let mut state = _mm256_setzero_si256();
    let mut decided = u32::MAX;
    for &high in high {
        let above = _mm512_cmpgt_epu16_mask(draws, high);
        state = _mm256_mask_add_epi8(state, above, state, one);
        decided = _mm512_mask_cmpneq_epu16_mask(decided, draws, high);
    }
    store_half(states, state);
    if decided != u32::MAX {
        break_ties(!decided, draws, step, states, break_tie);
    }
}

/// Sets the states of the draws that have the same high bits as a threshold, as the bits of `ties` say. One step in a few hundred has such a
/// draw.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn break_ties(mut ties: u32, draws: __m512i, step: usize, states: &mut [u8; STEP], break_tie: &mut BreakTie<'_>) {
    let draws = words(draws);
    while ties != 0 {
        let i = ties.trailing_zeros() as usize;
        states[i] = break_tie(step * STEP + i, draws[i]);
        ties &= ties - 1;
    }
}

/// The state of [`Rng`] in registers.
struct RngRegisters([__m512i; 4]);

impl RngRegisters {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(rng: &Rng) -> Self {
        Self(from_fn(|word| load_streams(&rng.state[word])))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(self, rng: &mut Rng) {
        rng.state = self.0.map(|word| stream_words(word));
    }

    /// The same draws as [`Rng::step`].
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

pub(super) fn histogram(_: Supported, states: &ByteColumn, len: usize, counts: &mut [u64]) {
    // SAFETY: a `Supported` exists only if the processor has all features that the called function enables.
    unsafe { count_by_masks(states, len, counts) }
}

#[target_feature(enable = "avx512f,avx512bw,popcnt")]
fn count_by_masks(states: &ByteColumn, len: usize, counts: &mut [u64]) {
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

pub(super) fn weighted_histogram(_: Supported, states: &ByteColumn, weights: &WeightColumns, sums: &mut [u64]) {
    for (first, sums) in (0..=u8::MAX).step_by(STATES_PER_PASS).zip(sums.chunks_mut(STATES_PER_PASS)) {
        // SAFETY: a `Supported` exists only if the processor has all features that the called function enables.
        let all = unsafe { sum_pass(states, weights, first) };
        sums.copy_from_slice(&all[..sums.len()]);
    }
}

/// The sums of the weights of the particles in each state from `first` on.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sum_pass(states: &ByteColumn, weights: &WeightColumns, first: u8) -> [u64; STATES_PER_PASS] {
    let wanted: [__m512i; STATES_PER_PASS] = [0, 1, 2, 3].map(|state| _mm512_set1_epi8(first.wrapping_add(state).cast_signed()));
    let mut sums = [[_mm512_setzero_si512(); WEIGHT_BYTES]; STATES_PER_PASS];
    for (group, states) in states.as_chunks::<GROUP>().0.iter().enumerate() {
        let states = load_bytes(states);
        let bytes: [__m512i; WEIGHT_BYTES] = from_fn(|column| load_bytes(&weights.0[column].as_chunks::<GROUP>().0[group]));
        for (sums, wanted) in sums.iter_mut().zip(wanted) {
            let ones = _mm512_maskz_set1_epi8(_mm512_cmpeq_epi8_mask(states, wanted), 1);
            for (sum, bytes) in sums.iter_mut().zip(bytes) {
                *sum = _mm512_dpbusd_epi32(*sum, bytes, ones);
            }
        }
    }
    // The sum of a block's bytes fits into 32 bits by far.
    sums.map(|columns| {
        let bytes = columns.map(|sum| u64::from(_mm512_reduce_add_epi32(sum).cast_unsigned()));
        (0..WEIGHT_BYTES).map(|column| bytes[column] << (8 * column)).sum()
    })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_bytes(bytes: &[u8; GROUP]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read, and the instruction requires no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_words(words: &[u16; ROWS_PER_REGISTER]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read, and the instruction requires no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_some_words(words: &[u16]) -> __m512i {
    let there = if words.len() < ROWS_PER_REGISTER { (1 << words.len()) - 1 } else { u32::MAX };
    // SAFETY: only words in the mask are read, which has no more bits than the slice has words. The instruction requires no alignment.
    unsafe { _mm512_maskz_loadu_epi16(there, words.as_ptr().cast()) }
}

/// Converts rows to 16 bits each; they are below [`MAX_ROWS`].
#[inline]
#[target_feature(enable = "avx512f")]
fn narrow(rows: &[u32; 16]) -> __m256i {
    // SAFETY: the array has the 64 bytes that are read, and the instruction requires no alignment.
    _mm512_cvtepi32_epi16(unsafe { _mm512_loadu_si512(rows.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_streams(words: &[u64; STREAMS]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read, and the instruction requires no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_half(bytes: &[u8; STEP]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read, and the instruction requires no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_half(bytes: &mut [u8; STEP], register: __m256i) {
    // SAFETY: the array has room for the 32 bytes that are written, and the instruction requires no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), register) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn words(register: __m512i) -> [u16; STEP] {
    let mut words = [0_u16; STEP];
    // SAFETY: the array has room for the 64 bytes that are written, and the instruction requires no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), register) };
    words
}

#[inline]
#[target_feature(enable = "avx512f")]
fn stream_words(register: __m512i) -> [u64; STREAMS] {
    let mut words = [0_u64; STREAMS];
    // SAFETY: the array has room for the 64 bytes that are written, and the instruction requires no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), register) };
    words
}
