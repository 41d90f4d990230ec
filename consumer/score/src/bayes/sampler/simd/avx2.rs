//! The loops for x86-64 with AVX2, whose registers of 256 bits hold 16 draws or 32 states.

#![expect(unsafe_code, reason = "whether the processor has these instructions is known only when the program runs")]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;
use std::array::from_fn;

use super::scalar;
use crate::bayes::rng::{Rng, STEP, STREAMS};
use crate::bayes::sampler::block::{BLOCK, BreakTie, ByteColumn, RowColumn, ThresholdColumn, WEIGHT_BYTES, WeightColumns};

/// Rows of a threshold whose low or high bytes fit into half a register; the other half repeats them.
const ROWS_PER_REGISTER: usize = 16;

/// The most thresholds of a variable that are sampled with vector instructions. More are rare.
const MAX_THRESHOLDS: usize = 12;

/// In [`sum_pass`], each element of a register adds up two bytes a step. The sum of a block must fit into its 16 bits.
const _: () = assert!(BLOCK / STEP * 2 * u8::MAX as usize <= u16::MAX as usize);

/// States whose weights are summed up in one pass, so that their sums stay in registers.
const STATES_PER_PASS: usize = 2;

/// Proof that the processor has the instructions that the functions here use. Only [`detect`] creates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Supported(());

/// `None` if the processor lacks one of the instructions.
pub(super) fn detect() -> Option<Supported> {
    (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")).then_some(Supported(()))
}

pub(super) fn index_rows(_: Supported, rows: &mut ByteColumn, first: Option<&ByteColumn>, bits: u32, last: &ByteColumn) {
    // SAFETY: a `Supported` exists only if the processor has all features that the called function enables.
    unsafe { index_rows_vectorised(rows, first, bits, last) }
}

/// The compiler auto-vectorises the scalar loop here, since AVX2 is enabled.
#[target_feature(enable = "avx2")]
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
        match rows {
            _ if thresholds.len() > MAX_THRESHOLDS => scalar::sample_states(rng, thresholds, rows, states, break_tie),
            None => sample_alike(rng, thresholds, states, break_tie),
            Some(RowColumn { of_particles, count }) => match count.div_ceil(ROWS_PER_REGISTER) {
                1 => sample_by_row::<1>(rng, thresholds, of_particles, states, break_tie),
                2 => sample_by_row::<2>(rng, thresholds, of_particles, states, break_tie),
                _ => sample_by_row::<4>(rng, thresholds, of_particles, states, break_tie),
            },
        }
    }
}

/// Samples states of particles that all have the same thresholds.
#[target_feature(enable = "avx2")]
fn sample_alike(rng: &mut Rng, thresholds: &[ThresholdColumn], states: &mut [u8], break_tie: &mut BreakTie<'_>) {
    let mut highs = [_mm256_setzero_si256(); MAX_THRESHOLDS];
    for (high, threshold) in highs.iter_mut().zip(thresholds) {
        *high = to_signed(_mm256_set1_epi16(threshold.high[0].cast_signed()));
    }
    let mut registers = RngRegisters::load(rng);
    for (step, states) in states.as_chunks_mut::<STEP>().0.iter_mut().enumerate() {
        let mut choice = Choice::new(registers.step());
        for &high in &highs[..thresholds.len()] {
            choice.compare([high; 2]);
        }
        choice.finish(step, states, break_tie);
    }
    registers.store(rng);
}

/// Samples states of particles whose thresholds depend on their row, of `TABLES` times [`ROWS_PER_REGISTER`] rows.
#[target_feature(enable = "avx2")]
fn sample_by_row<const TABLES: usize>(
    rng: &mut Rng,
    thresholds: &[ThresholdColumn],
    rows: &[u8],
    states: &mut [u8],
    break_tie: &mut BreakTie<'_>,
) {
    let mut highs = [[Table::empty(); TABLES]; MAX_THRESHOLDS];
    for (tables, threshold) in highs.iter_mut().zip(thresholds) {
        *tables = from_fn(|table| Table::of(&threshold.high.as_chunks::<ROWS_PER_REGISTER>().0[table]));
    }
    let mut registers = RngRegisters::load(rng);
    let (rows, _) = rows.as_chunks::<STEP>();
    for (step, (rows, states)) in rows.iter().zip(states.as_chunks_mut::<STEP>().0).enumerate() {
        let indices = table_indices::<TABLES>(load(rows));
        let mut choice = Choice::new(registers.step());
        for tables in &highs[..thresholds.len()] {
            choice.compare(look_up(tables, &indices));
        }
        choice.finish(step, states, break_tie);
    }
    registers.store(rng);
}

/// The high bits of a threshold in [`ROWS_PER_REGISTER`] rows, split into low and high bytes for byte shuffles.
#[derive(Clone, Copy)]
struct Table {
    low: __m256i,
    high: __m256i,
}

impl Table {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn empty() -> Self {
        Self { low: _mm256_setzero_si256(), high: _mm256_setzero_si256() }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn of(rows: &[u16; ROWS_PER_REGISTER]) -> Self {
        let words = to_signed(load_words(rows));
        let low = _mm256_and_si256(words, _mm256_set1_epi16(0xff));
        Self { low: both_halves(low), high: both_halves(_mm256_srli_epi16::<8>(words)) }
    }
}

/// Packs 16 words, all below 256, into bytes, and repeats these in both halves.
#[inline]
#[target_feature(enable = "avx2")]
fn both_halves(words: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b_10_00_10_00>(_mm256_packus_epi16(words, words))
}

/// The index of each particle's row within each table. If the row is in another table, the highest bit is set, for which a shuffle gives 0.
/// The particles are in the order that [`look_up`] needs for its unpacking: quarters 0, 2, 1 and 3.
#[inline]
#[target_feature(enable = "avx2")]
fn table_indices<const TABLES: usize>(rows: __m256i) -> [__m256i; TABLES] {
    let rows = swap_middle_quarters(rows);
    // The index of a row in its own table is below 16, and adding 112 keeps it below 128. In any other table it is from 16 to 63, and adding
    // 112 sets the highest bit.
    let to_highest_bit = _mm256_set1_epi8(112);
    from_fn(|table| {
        let first_row = _mm256_set1_epi8([0, 16, 32, 48][table]);
        _mm256_add_epi8(_mm256_xor_si256(rows, first_row), to_highest_bit)
    })
}

/// The high bits of a threshold in each particle's row.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up<const TABLES: usize>(tables: &[Table; TABLES], indices: &[__m256i; TABLES]) -> [__m256i; 2] {
    let (mut low, mut high) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for (table, &index) in tables.iter().zip(indices) {
        low = _mm256_or_si256(low, _mm256_shuffle_epi8(table.low, index));
        high = _mm256_or_si256(high, _mm256_shuffle_epi8(table.high, index));
    }
    [_mm256_unpacklo_epi8(low, high), _mm256_unpackhi_epi8(low, high)]
}

/// The states of one step's draws, counting the thresholds compared so far.
struct Choice {
    draws: [__m256i; 2],
    states: [__m256i; 2],
    ties: [__m256i; 2],
}

impl Choice {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(draws: [__m256i; 2]) -> Self {
        let none = [_mm256_setzero_si256(); 2];
        Self { draws: [to_signed(draws[0]), to_signed(draws[1])], states: none, ties: none }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn compare(&mut self, high: [__m256i; 2]) {
        for half in 0..2 {
            let (draws, high) = (self.draws[half], high[half]);
            self.states[half] = _mm256_sub_epi16(self.states[half], _mm256_cmpgt_epi16(draws, high));
            self.ties[half] = _mm256_or_si256(self.ties[half], _mm256_cmpeq_epi16(draws, high));
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn finish(self, step: usize, states: &mut [u8; STEP], break_tie: &mut BreakTie<'_>) {
        store(states, swap_middle_quarters(_mm256_packus_epi16(self.states[0], self.states[1])));
        let ties = _mm256_or_si256(self.ties[0], self.ties[1]);
        if _mm256_testz_si256(ties, ties) == 0 {
            self.break_ties(step, states, break_tie);
        }
    }

    /// Sets the states of the draws that have the same high bits as a threshold. One step in a few hundred has such a draw.
    #[cold]
    #[inline(never)]
    #[target_feature(enable = "avx2")]
    fn break_ties(self, step: usize, states: &mut [u8; STEP], break_tie: &mut BreakTie<'_>) {
        let states = (0..STEP).zip(states);
        let draws = self.draws.map(|draws| words(to_signed(draws)));
        let ties = self.ties.map(|ties| words(ties));
        for ((i, state), (&draw, _)) in
            states.zip(draws.as_flattened().iter().zip(ties.as_flattened())).filter(|(_, (_, tie))| **tie != 0)
        {
            *state = break_tie(step * STEP + i, draw);
        }
    }
}

/// Maps unsigned to signed words of the same order, and back: AVX2 only compares signed words.
#[inline]
#[target_feature(enable = "avx2")]
fn to_signed(words: __m256i) -> __m256i {
    _mm256_xor_si256(words, _mm256_set1_epi16(i16::MIN))
}

/// Swaps the two middle quarters, since packing and unpacking instructions work on each half separately.
#[inline]
#[target_feature(enable = "avx2")]
fn swap_middle_quarters(register: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b_11_01_10_00>(register)
}

/// The state of [`Rng`] in registers: each word of streams 0 to 3, then of streams 4 to 7.
struct RngRegisters([[__m256i; 4]; 2]);

impl RngRegisters {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(rng: &Rng) -> Self {
        let halves = |word: usize| rng.state[word].as_chunks::<{ STREAMS / 2 }>().0;
        Self(from_fn(|half| from_fn(|word| load_streams(&halves(word)[half]))))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(self, rng: &mut Rng) {
        for (half, words) in self.0.into_iter().enumerate() {
            for (word, register) in words.into_iter().enumerate() {
                store_streams(&mut rng.state[word].as_chunks_mut::<{ STREAMS / 2 }>().0[half], register);
            }
        }
    }

    /// The same draws as [`Rng::step`].
    #[inline]
    #[target_feature(enable = "avx2")]
    fn step(&mut self) -> [__m256i; 2] {
        let [first, last] = &mut self.0;
        [step(first), step(last)]
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn step([s0, s1, s2, s3]: &mut [__m256i; 4]) -> __m256i {
    let draws = _mm256_add_epi64(rotate_left::<23, 41>(_mm256_add_epi64(*s0, *s3)), *s0);
    let shifted = _mm256_slli_epi64::<17>(*s1);
    *s2 = _mm256_xor_si256(*s2, *s0);
    *s3 = _mm256_xor_si256(*s3, *s1);
    *s1 = _mm256_xor_si256(*s1, *s2);
    *s0 = _mm256_xor_si256(*s0, *s3);
    *s2 = _mm256_xor_si256(*s2, shifted);
    *s3 = rotate_left::<45, 19>(*s3);
    draws
}

/// Rotates 64-bit words. `LEFT + RIGHT` is 64.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate_left<const LEFT: i32, const RIGHT: i32>(words: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_slli_epi64::<LEFT>(words), _mm256_srli_epi64::<RIGHT>(words))
}

pub(super) fn histogram(_: Supported, states: &ByteColumn, len: usize, counts: &mut [u64]) {
    // SAFETY: a `Supported` exists only if the processor has all features that the called function enables.
    unsafe { count_by_masks(states, len, counts) }
}

#[target_feature(enable = "avx2,popcnt")]
fn count_by_masks(states: &ByteColumn, len: usize, counts: &mut [u64]) {
    let (groups, _) = states.as_chunks::<STEP>();
    let (whole, rest) = (len / STEP, len % STEP);
    let [first, others @ ..] = counts else { return };
    for (state, count) in (1..=u8::MAX).zip(&mut *others) {
        let state = _mm256_set1_epi8(state.cast_signed());
        let are_in = |group: &[u8; STEP]| _mm256_movemask_epi8(_mm256_cmpeq_epi8(load(group), state)).cast_unsigned();
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
#[target_feature(enable = "avx2")]
fn sum_pass(states: &ByteColumn, weights: &WeightColumns, first: u8) -> [u64; STATES_PER_PASS] {
    let wanted: [__m256i; STATES_PER_PASS] = [0, 1].map(|state| _mm256_set1_epi8(first.wrapping_add(state).cast_signed()));
    let mut sums = [[_mm256_setzero_si256(); WEIGHT_BYTES]; STATES_PER_PASS];
    for (group, states) in states.as_chunks::<STEP>().0.iter().enumerate() {
        let states = load(states);
        let bytes: [__m256i; WEIGHT_BYTES] = from_fn(|column| load(&weights.0[column].as_chunks::<STEP>().0[group]));
        for (sums, wanted) in sums.iter_mut().zip(wanted) {
            let minus_ones = _mm256_cmpeq_epi8(states, wanted);
            for (sum, bytes) in sums.iter_mut().zip(bytes) {
                *sum = _mm256_sub_epi16(*sum, _mm256_maddubs_epi16(bytes, minus_ones));
            }
        }
    }
    sums.map(|columns| {
        let bytes = columns.map(|sum| words(sum).into_iter().map(u64::from).sum::<u64>());
        (0..WEIGHT_BYTES).map(|column| bytes[column] << (8 * column)).sum()
    })
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; STEP]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read, and the instruction requires no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_words(words: &[u16; ROWS_PER_REGISTER]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read, and the instruction requires no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_streams(words: &[u64; STREAMS / 2]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read, and the instruction requires no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8; STEP], register: __m256i) {
    // SAFETY: the array has room for the 32 bytes that are written, and the instruction requires no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), register) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_streams(words: &mut [u64; STREAMS / 2], register: __m256i) {
    // SAFETY: the array has room for the 32 bytes that are written, and the instruction requires no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), register) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn words(register: __m256i) -> [u16; STEP / 2] {
    let mut words = [0_u16; STEP / 2];
    // SAFETY: the array has room for the 32 bytes that are written, and the instruction requires no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), register) };
    words
}
