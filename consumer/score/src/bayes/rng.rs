//! Random draws that depend only on the company's seed and on the indices of the variable and the particle.
//!
//! A draw has 31 bits. Its high 16 bits come from a generator that makes 32 of them in one step, and in nearly every case they decide which
//! state the draw falls on. If they don't, because they equal the high bits of a threshold, the low 15 bits are drawn from a separate
//! generator. So draws cost what 16 bits cost, and have a resolution of 31 bits.
//!
//! The high bits come from eight streams of `xoshiro256++` (Blackman & Vigna 2021, "Scrambled linear pseudorandom number generators", ACM
//! TOMS), one for each 64-bit element of a register of 512 bits. As its authors recommend, the streams are seeded by `SplitMix64` (Steele,
//! Lea & Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA). The low bits are words of `SplitMix64` itself. Neither
//! generator is fit for cryptography.

/// Streams side by side.
pub(super) const STREAMS: usize = 8;

/// Draws made in one step: four by each stream.
pub(super) const STEP: usize = 4 * STREAMS;

/// Bits of a whole draw.
pub(super) const FULL_DRAW_BITS: u32 = 16 + LOW_BITS;

/// Bits of a draw below its high 16.
const LOW_BITS: u32 = 15;

/// The odd integer nearest to 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Generates the high bits of the draws of one block, in the order of the network's variables and of the particles.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Rng {
    /// The four words of each stream's state: the first word of all streams, then the second, and so on.
    pub(super) state: [[u64; STREAMS]; 4],
}

impl Rng {
    /// The generator for the block that begins with particle `first` of the company with this seed.
    pub(super) fn new(seed: u64, first: u32) -> Self {
        let key = word(seed, u64::from(first));
        let mut index = 0;
        let mut state = [[0; STREAMS]; 4];
        for stream in 0..STREAMS {
            for words in &mut state {
                words[stream] = word(key, index);
                index += 1;
            }
        }
        Self { state }
    }

    /// The high bits of the next 32 draws. Draw `i` has the 16 bits of stream `i / 4` from bit `i % 4 x 16` on.
    pub(super) fn step(&mut self) -> [u16; STEP] {
        let mut words = [0; STREAMS];
        let [s0, s1, s2, s3] = &mut self.state;
        for stream in 0..STREAMS {
            words[stream] = s0[stream].wrapping_add(s3[stream]).rotate_left(23).wrapping_add(s0[stream]);
            let shifted = s1[stream] << 17;
            s2[stream] ^= s0[stream];
            s3[stream] ^= s1[stream];
            s1[stream] ^= s2[stream];
            s0[stream] ^= s3[stream];
            s2[stream] ^= shifted;
            s3[stream] = s3[stream].rotate_left(45);
        }
        let mut draws = [0; STEP];
        for (draws, word) in draws.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *draws = quarters(word);
        }
        draws
    }
}

/// The four 16-bit parts of a word, from the lowest.
fn quarters(word: u64) -> [u16; 4] {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [[a, b], [c, d], [e, f], [g, h]].map(u16::from_le_bytes)
}

/// The draw with these high bits for a variable and a particle of a company: from 0 to 2^31 - 1.
pub(super) fn full_draw(high: u16, seed: u64, variable: usize, particle: u32) -> i32 {
    // The inverted seed gives other words than those that seed the streams.
    let low = word(word(!seed, variable as u64), u64::from(particle)) >> (64 - LOW_BITS);
    i32::from(high) << LOW_BITS | low as i32
}

/// The high bits of a threshold, to compare with those of draws. The threshold -1, which every draw exceeds, has none: it gets 0, so that a
/// draw whose high bits are 0 is decided by [`full_draw`].
pub(super) fn threshold_high_bits(threshold: i32) -> u16 {
    u16::try_from(threshold.max(0) >> LOW_BITS).unwrap_or(u16::MAX)
}

/// The word at `index` (from 0) of the sequence of `SplitMix64` that starts from `key`.
fn word(key: u64, index: u64) -> u64 {
    mix(key.wrapping_add(index.wrapping_add(1).wrapping_mul(GAMMA)))
}

/// The finaliser of `SplitMix64`: variant 13 of Stafford's 64-bit mixers.
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
        assert_eq!([0, 1, 2].map(|index| word(1_234_567, index)), published);
    }

    #[test]
    fn each_lane_is_the_published_generator() {
        // The reference implementation's first words from the state 1, 2, 3, 4.
        let published: [u64; 4] = [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386];
        let mut rng = Rng { state: [[1; STREAMS], [2; STREAMS], [3; STREAMS], [4; STREAMS]] };
        for word in published {
            let step = rng.step();
            for stream in step.as_chunks::<4>().0 {
                assert_eq!(*stream, [0, 16, 32, 48].map(|bit| u16::try_from(word >> bit & 0xffff).unwrap()));
            }
        }
    }

    #[test]
    fn a_draw_is_beyond_a_limit_where_its_upper_bits_say_so() {
        for threshold in [-1, 0, 1, (1 << LOW_BITS) - 1, 1 << LOW_BITS, 12_345_678, i32::MAX] {
            for draw_high in [
                0,
                1,
                threshold_high_bits(threshold).saturating_sub(1),
                threshold_high_bits(threshold).saturating_add(1),
                u16::MAX,
            ] {
                if draw_high != threshold_high_bits(threshold) {
                    assert_eq!(
                        full_draw(draw_high, 1, 2, 3) > threshold,
                        draw_high > threshold_high_bits(threshold),
                        "{draw_high} {threshold}"
                    );
                }
            }
        }
    }

    #[test]
    fn draws_of_blocks_and_seeds_differ_and_spread_over_the_whole_range() {
        let mut all = Vec::new();
        for (seed, block) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut rng = Rng::new(seed, block);
            let highs: Vec<u16> = (0..4096 / STEP).flat_map(|_| rng.step()).collect();
            let wholes: Vec<i32> = highs.iter().zip(0..).map(|(&high, particle)| full_draw(high, seed, 0, particle)).collect();
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
