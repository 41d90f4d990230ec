//! The loops for x86-64 with registers of 256 bits: 32 draws in two registers, or 32 states in one, at a time.

#![expect(unsafe_code, reason = "whether the processor has these instructions is known only when the program runs")]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;
use std::array::from_fn;

use super::super::draws::{Draws, LANES, STEP};
use super::{BLOCK, Limit, PLANES, Planes, Rows, States, Undecided, plain};

/// Rows of a limit of which one register holds the upper or the lower bytes, in each of its halves.
const ROWS_A_REGISTER: usize = 16;

/// Limits that there is room for. More are rare.
const MOST_LIMITS: usize = 12;

/// The sums of a block, of two bytes a step, fit into 16 bits.
const _: () = assert!(BLOCK / STEP * 2 * u8::MAX as usize <= u16::MAX as usize);

/// States that are summed up in one pass: their sums stay in registers.
const STATES_A_PASS: usize = 2;

/// Says that this machine has what the functions here need: there is none where it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Present(());

/// Asks the processor.
pub(super) fn present() -> Option<Present> {
    (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")).then_some(Present(()))
}

pub(super) fn number(_: Present, rows: &mut States, first: Option<&States>, bits: u32, last: &States) {
    // SAFETY: there is a `Present`.
    unsafe { number_wide(rows, first, bits, last) }
}

/// The compiler makes the most of it, once it may.
#[target_feature(enable = "avx2")]
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
        match rows {
            _ if limits.len() > MOST_LIMITS => plain::choose(draws, limits, rows, states, undecided),
            None => choose_alike(draws, limits, states, undecided),
            Some(Rows { of_each, count }) => match count.div_ceil(ROWS_A_REGISTER) {
                1 => choose_by::<1>(draws, limits, of_each, states, undecided),
                2 => choose_by::<2>(draws, limits, of_each, states, undecided),
                _ => choose_by::<4>(draws, limits, of_each, states, undecided),
            },
        }
    }
}

/// Of particles that all have the same limits.
#[target_feature(enable = "avx2")]
fn choose_alike(draws: &mut Draws, limits: &[Limit], states: &mut [u8], undecided: &mut Undecided<'_>) {
    let mut uppers = [_mm256_setzero_si256(); MOST_LIMITS];
    for (upper, limit) in uppers.iter_mut().zip(limits) {
        *upper = for_signed(_mm256_set1_epi16(limit.upper[0].cast_signed()));
    }
    let mut generator = Generator::load(draws);
    for (step, states) in states.as_chunks_mut::<STEP>().0.iter_mut().enumerate() {
        let mut choice = Choice::new(generator.step());
        for &upper in &uppers[..limits.len()] {
            choice.compare([upper; 2]);
        }
        choice.finish(step, states, undecided);
    }
    generator.store(draws);
}

/// Of particles whose limits are those of their row, which is looked up in `TABLES` registers' worth of rows.
#[target_feature(enable = "avx2")]
fn choose_by<const TABLES: usize>(
    draws: &mut Draws,
    limits: &[Limit],
    rows: &[u8],
    states: &mut [u8],
    undecided: &mut Undecided<'_>,
) {
    let mut uppers = [[Table::empty(); TABLES]; MOST_LIMITS];
    for (tables, limit) in uppers.iter_mut().zip(limits) {
        *tables = from_fn(|table| Table::of(&limit.upper.as_chunks::<ROWS_A_REGISTER>().0[table]));
    }
    let mut generator = Generator::load(draws);
    let (rows, _) = rows.as_chunks::<STEP>();
    for (step, (rows, states)) in rows.iter().zip(states.as_chunks_mut::<STEP>().0).enumerate() {
        let places = places::<TABLES>(load(rows));
        let mut choice = Choice::new(generator.step());
        for tables in &uppers[..limits.len()] {
            choice.compare(look_up(tables, &places));
        }
        choice.finish(step, states, undecided);
    }
    generator.store(draws);
}

/// A limit's upper bits in some rows: their lower and their upper bytes.
#[derive(Clone, Copy)]
struct Table {
    lower: __m256i,
    upper: __m256i,
}

impl Table {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn empty() -> Self {
        Self { lower: _mm256_setzero_si256(), upper: _mm256_setzero_si256() }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn of(rows: &[u16; ROWS_A_REGISTER]) -> Self {
        let words = for_signed(load_words(rows));
        let lower = _mm256_and_si256(words, _mm256_set1_epi16(0xff));
        Self { lower: both_halves(lower), upper: both_halves(_mm256_srli_epi16::<8>(words)) }
    }
}

/// The bytes of 16 words that are all below 256, in each half.
#[inline]
#[target_feature(enable = "avx2")]
fn both_halves(words: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b_10_00_10_00>(_mm256_packus_epi16(words, words))
}

/// Where each particle's row stands in each table; with the highest bit set, by which a look-up gives 0, where it is in another.
/// In the order in which [`look_up`] puts words together: quarters 0, 2, 1 and 3.
#[inline]
#[target_feature(enable = "avx2")]
fn places<const TABLES: usize>(rows: __m256i) -> [__m256i; TABLES] {
    let rows = in_quarters(rows);
    // What is left of a row in the table is below 16, and stays below 128.
    let beyond = _mm256_set1_epi8(112);
    from_fn(|table| {
        let first_row = _mm256_set1_epi8([0, 16, 32, 48][table]);
        _mm256_add_epi8(_mm256_xor_si256(rows, first_row), beyond)
    })
}

/// The upper bits of a limit in each particle's row.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up<const TABLES: usize>(tables: &[Table; TABLES], places: &[__m256i; TABLES]) -> [__m256i; 2] {
    let (mut lower, mut upper) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for (table, &place) in tables.iter().zip(places) {
        lower = _mm256_or_si256(lower, _mm256_shuffle_epi8(table.lower, place));
        upper = _mm256_or_si256(upper, _mm256_shuffle_epi8(table.upper, place));
    }
    [_mm256_unpacklo_epi8(lower, upper), _mm256_unpackhi_epi8(lower, upper)]
}

/// The states of one step's draws, as far as limits have been compared.
struct Choice {
    draws: [__m256i; 2],
    states: [__m256i; 2],
    near: [__m256i; 2],
}

impl Choice {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(draws: [__m256i; 2]) -> Self {
        let none = [_mm256_setzero_si256(); 2];
        Self { draws: [for_signed(draws[0]), for_signed(draws[1])], states: none, near: none }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn compare(&mut self, upper: [__m256i; 2]) {
        for half in 0..2 {
            let (draws, upper) = (self.draws[half], upper[half]);
            self.states[half] = _mm256_sub_epi16(self.states[half], _mm256_cmpgt_epi16(draws, upper));
            self.near[half] = _mm256_or_si256(self.near[half], _mm256_cmpeq_epi16(draws, upper));
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn finish(self, step: usize, states: &mut [u8; STEP], undecided: &mut Undecided<'_>) {
        store(states, in_quarters(_mm256_packus_epi16(self.states[0], self.states[1])));
        let near = _mm256_or_si256(self.near[0], self.near[1]);
        if _mm256_testz_si256(near, near) == 0 {
            self.decide(step, states, undecided);
        }
    }

    /// Finds the states of the draws that share their upper bits with a limit. One step in a few hundred has any.
    #[cold]
    #[inline(never)]
    #[target_feature(enable = "avx2")]
    fn decide(self, step: usize, states: &mut [u8; STEP], undecided: &mut Undecided<'_>) {
        let lanes = (0..STEP).zip(states);
        let draws = self.draws.map(|draws| words(for_signed(draws)));
        let near = self.near.map(|near| words(near));
        for ((lane, state), (&draw, _)) in
            lanes.zip(draws.as_flattened().iter().zip(near.as_flattened())).filter(|(_, (_, near))| **near != 0)
        {
            *state = undecided(step * STEP + lane, draw);
        }
    }
}

/// From numbers without a sign to such as compare alike with one, and back: there are only comparisons with one.
#[inline]
#[target_feature(enable = "avx2")]
fn for_signed(words: __m256i) -> __m256i {
    _mm256_xor_si256(words, _mm256_set1_epi16(i16::MIN))
}

/// Puts the two quarters in the middle in each other's place: what packs and unpacks does so in each half by itself.
#[inline]
#[target_feature(enable = "avx2")]
fn in_quarters(register: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b_11_01_10_00>(register)
}

/// The state of [`Draws`] in registers: of each word, lanes 0 to 3, and 4 to 7.
struct Generator([[__m256i; 4]; 2]);

impl Generator {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(draws: &Draws) -> Self {
        let halves = |word: usize| draws.state[word].as_chunks::<{ LANES / 2 }>().0;
        Self(from_fn(|half| from_fn(|word| load_lanes(&halves(word)[half]))))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(self, draws: &mut Draws) {
        for (half, words) in self.0.into_iter().enumerate() {
            for (word, register) in words.into_iter().enumerate() {
                store_lanes(&mut draws.state[word].as_chunks_mut::<{ LANES / 2 }>().0[half], register);
            }
        }
    }

    /// As [`Draws::step`].
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

/// `LEFT` and `RIGHT` are 64 together.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate_left<const LEFT: i32, const RIGHT: i32>(lanes: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_slli_epi64::<LEFT>(lanes), _mm256_srli_epi64::<RIGHT>(lanes))
}

pub(super) fn count(_: Present, states: &States, len: usize, counts: &mut [u64]) {
    // SAFETY: there is a `Present`.
    unsafe { count_by_masks(states, len, counts) }
}

#[target_feature(enable = "avx2,popcnt")]
fn count_by_masks(states: &States, len: usize, counts: &mut [u64]) {
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

pub(super) fn weigh(_: Present, states: &States, weights: &Planes, sums: &mut [u64]) {
    for (first, sums) in (0..=u8::MAX).step_by(STATES_A_PASS).zip(sums.chunks_mut(STATES_A_PASS)) {
        // SAFETY: there is a `Present`.
        let all = unsafe { weigh_pass(states, weights, first) };
        sums.copy_from_slice(&all[..sums.len()]);
    }
}

/// The sums of the states from `first` on.
#[target_feature(enable = "avx2")]
fn weigh_pass(states: &States, weights: &Planes, first: u8) -> [u64; STATES_A_PASS] {
    let wanted: [__m256i; STATES_A_PASS] = [0, 1].map(|state| _mm256_set1_epi8(first.wrapping_add(state).cast_signed()));
    let mut sums = [[_mm256_setzero_si256(); PLANES]; STATES_A_PASS];
    for (group, states) in states.as_chunks::<STEP>().0.iter().enumerate() {
        let states = load(states);
        let bytes: [__m256i; PLANES] = from_fn(|plane| load(&weights.0[plane].as_chunks::<STEP>().0[group]));
        for (sums, wanted) in sums.iter_mut().zip(wanted) {
            let minus_ones = _mm256_cmpeq_epi8(states, wanted);
            for (sum, bytes) in sums.iter_mut().zip(bytes) {
                *sum = _mm256_sub_epi16(*sum, _mm256_maddubs_epi16(bytes, minus_ones));
            }
        }
    }
    sums.map(|planes| {
        let bytes = planes.map(|sum| words(sum).into_iter().map(u64::from).sum::<u64>());
        (0..PLANES).map(|plane| bytes[plane] << (8 * plane)).sum()
    })
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; STEP]) -> __m256i {
    // SAFETY: so many bytes are there; none of these asks for alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_words(words: &[u16; ROWS_A_REGISTER]) -> __m256i {
    // SAFETY: as above.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_lanes(lanes: &[u64; LANES / 2]) -> __m256i {
    // SAFETY: as above.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8; STEP], register: __m256i) {
    // SAFETY: as above.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), register) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_lanes(lanes: &mut [u64; LANES / 2], register: __m256i) {
    // SAFETY: as above.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), register) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn words(register: __m256i) -> [u16; STEP / 2] {
    let mut words = [0_u16; STEP / 2];
    // SAFETY: as above.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), register) };
    words
}
