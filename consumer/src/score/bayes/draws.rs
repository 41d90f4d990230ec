//! Random draws that depend on nothing but their place: seed, variable and particle.
//!
//! The generator is `SplitMix64` (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA).
//! Its n-th word is `mix(key + n x GAMMA)`, so any word can be had without those before it, and particles can be drawn
//! in any order or many at once. Each variable has a sequence of its own, under a key mixed from the company's seed.
//! It is no generator for secrets.

/// The odd integer nearest to 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The draws of one variable for all particles of one company.
pub(super) struct Draws {
    key: u64,
}

impl Draws {
    pub(super) fn new(seed: u64, variable: usize) -> Self {
        Self { key: word(seed, variable as u64) }
    }

    /// Fills `draws` for the particles from `first` on, uniform over `0..2^31`. `first` is even: two particles share a
    /// word, 31 bits each.
    pub(super) fn fill(&self, first: u32, draws: &mut [i32]) {
        let (pairs, rest) = draws.as_chunks_mut::<2>();
        let mut place = u64::from(first / 2);
        for pair in pairs {
            *pair = halves(word(self.key, place));
            place += 1;
        }
        if let [last] = rest {
            [*last, _] = halves(word(self.key, place));
        }
    }
}

/// Two draws of 31 bits.
fn halves(word: u64) -> [i32; 2] {
    [(word >> 33) as i32, (word << 32 >> 33) as i32]
}

/// The word at `place` (from 0) of the sequence that starts from `key`.
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
    fn a_draw_depends_on_its_place_and_not_on_how_it_is_reached() {
        let draws = Draws::new(7, 3);
        let (mut whole, mut part) = ([0; 101], [0; 41]);
        draws.fill(0, &mut whole);
        draws.fill(60, &mut part);
        assert_eq!(whole[60..], part);
    }

    #[test]
    fn draws_of_variables_and_seeds_differ_and_spread_over_the_whole_range() {
        let mut all = Vec::new();
        for (seed, variable) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut draws = [0; 4096];
            Draws::new(seed, variable).fill(0, &mut draws);
            let mean = draws.iter().map(|&draw| f64::from(draw)).sum::<f64>() / 4096.0 / 2f64.powi(31);
            // The standard error of the mean of 4,096 uniform draws is 1 / sqrt(12 x 4,096) = 0.0045.
            assert!((mean - 0.5).abs() < 4.0 * 0.0045 && draws.iter().all(|&draw| draw >= 0), "{mean}");
            all.push(draws);
        }
        assert!((0..4).all(|a| (0..a).all(|b| all[a].iter().zip(&all[b]).filter(|(x, y)| x == y).count() == 0)));
    }
}
