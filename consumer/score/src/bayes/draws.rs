//! Random draws that depend on nothing but the company, its evidence and their place among its particles and variables.
//!
//! A draw has 31 bits. Its upper 16 come from a generator that makes 32 of them at a time, and in nearly every case they say
//! which state it falls on. Where they do not, because a limit has the same upper 16 bits, the lower 15 are asked for, and
//! come from a generator of their own. So draws cost what 16 bits cost, and are as fine as 31.
//!
//! The upper bits come from eight generators `xoshiro256++` side by side (Blackman & Vigna 2021, "Scrambled linear
//! pseudorandom number generators", ACM TOMS), one for each 64-bit lane of a register of 512 bits, seeded as their authors
//! say, by `SplitMix64` (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA). The lower bits
//! are words of `SplitMix64` itself. These are no generators for secrets.

/// Generators side by side.
pub(super) const LANES: usize = 8;

/// Draws made in one step: four a lane.
pub(super) const STEP: usize = 4 * LANES;

/// Bits of a draw below its upper ones.
const LOWER_BITS: u32 = 15;

/// The odd integer nearest to 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The upper bits of the draws of one block, in the order of the network's variables and of the particles.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Draws {
    /// The four words of each lane's state: the first of all lanes, the second, and so on.
    pub(super) state: [[u64; LANES]; 4],
}

impl Draws {
    /// Those of the block of a company that begins with particle number `first`.
    pub(super) fn new(seed: u64, first: u32) -> Self {
        let key = word(seed, u64::from(first));
        let mut place = 0;
        let mut state = [[0; LANES]; 4];
        for lane in 0..LANES {
            for words in &mut state {
                words[lane] = word(key, place);
                place += 1;
            }
        }
        Self { state }
    }

    /// The next 32 draws' upper bits: of draw `i`, the 16 bits of lane `i / 4` from bit `i % 4 x 16` on.
    pub(super) fn step(&mut self) -> [u16; STEP] {
        let mut words = [0; LANES];
        let [s0, s1, s2, s3] = &mut self.state;
        for lane in 0..LANES {
            words[lane] = s0[lane].wrapping_add(s3[lane]).rotate_left(23).wrapping_add(s0[lane]);
            let shifted = s1[lane] << 17;
            s2[lane] ^= s0[lane];
            s3[lane] ^= s1[lane];
            s1[lane] ^= s2[lane];
            s0[lane] ^= s3[lane];
            s2[lane] ^= shifted;
            s3[lane] = s3[lane].rotate_left(45);
        }
        let mut draws = [0; STEP];
        for (draws, word) in draws.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *draws = quarters(word);
        }
        draws
    }
}

/// A word's 64 bits, from the lowest.
fn quarters(word: u64) -> [u16; 4] {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [[a, b], [c, d], [e, f], [g, h]].map(u16::from_le_bytes)
}

/// The draw with these upper bits, for one variable and one particle of a company: from 0 to 2^31, less one.
pub(super) fn whole(upper: u16, seed: u64, variable: usize, particle: u32) -> i32 {
    // Not the words that key the blocks: those are the first of the company's sequence, these the first of the variable's.
    let lower = word(word(!seed, variable as u64), u64::from(particle)) >> (64 - LOWER_BITS);
    i32::from(upper) << LOWER_BITS | lower as i32
}

/// The upper bits of a limit, as of a draw. The limit -1, that every draw is beyond, is the one that has fewer bits: with
/// those of 0 it leaves to [`whole`] the few draws whose upper bits are 0.
pub(super) fn upper(limit: i32) -> u16 {
    u16::try_from(limit.max(0) >> LOWER_BITS).unwrap_or(u16::MAX)
}

/// The word at `place` (from 0) of the sequence of `SplitMix64` that starts from `key`.
fn word(key: u64, place: u64) -> u64 {
    mix(key.wrapping_add(place.wrapping_add(1).wrapping_mul(GAMMA)))
}

/// The finaliser of `SplitMix64`: "variant 13" of Stafford's mixers of 64 bits.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_published_generator() {
        // The reference implementation's first words for seed 1234567.
        let published = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([0, 1, 2].map(|place| word(1_234_567, place)), published);
    }

    #[test]
    fn each_lane_is_the_published_generator() {
        // The reference implementation's first words from the state 1, 2, 3, 4.
        let published: [u64; 4] = [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386];
        let mut draws = Draws { state: [[1; LANES], [2; LANES], [3; LANES], [4; LANES]] };
        for word in published {
            let step = draws.step();
            for lane in step.as_chunks::<4>().0 {
                assert_eq!(*lane, [0, 16, 32, 48].map(|bit| u16::try_from(word >> bit & 0xffff).unwrap()));
            }
        }
    }

    #[test]
    fn a_draw_is_beyond_a_limit_where_its_upper_bits_say_so() {
        for limit in [-1, 0, 1, (1 << LOWER_BITS) - 1, 1 << LOWER_BITS, 12_345_678, i32::MAX] {
            for draw_upper in [0, 1, upper(limit).saturating_sub(1), upper(limit).saturating_add(1), u16::MAX] {
                if draw_upper != upper(limit) {
                    assert_eq!(whole(draw_upper, 1, 2, 3) > limit, draw_upper > upper(limit), "{draw_upper} {limit}");
                }
            }
        }
    }

    #[test]
    fn draws_of_blocks_and_seeds_differ_and_spread_over_the_whole_range() {
        let mut all = Vec::new();
        for (seed, block) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut draws = Draws::new(seed, block);
            let uppers: Vec<u16> = (0..4096 / STEP).flat_map(|_| draws.step()).collect();
            let wholes: Vec<i32> = uppers.iter().zip(0..).map(|(&upper, particle)| whole(upper, seed, 0, particle)).collect();
            let mean = wholes.iter().map(|&draw| f64::from(draw)).sum::<f64>() / 4096.0 / 2f64.powi(31);
            let lower = wholes.iter().map(|&draw| f64::from(draw & 0x7fff)).sum::<f64>() / 4096.0 / 2f64.powi(15);
            // The standard error of the mean of 4,096 uniform draws is 1 / sqrt(12 x 4,096) = 0.0045.
            assert!((mean - 0.5).abs() < 4.0 * 0.0045 && wholes.iter().all(|&draw| draw >= 0), "{mean}");
            assert!((lower - 0.5).abs() < 4.0 * 0.0045, "{lower}");
            all.push(wholes);
        }
        assert!((0..4).all(|a| (0..a).all(|b| all[a].iter().zip(&all[b]).filter(|(x, y)| x == y).count() == 0)));
    }
}
