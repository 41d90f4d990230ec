//! What a network file says, in whichever format it is written: names as they stand there, not yet looked up.
//!
//! [`super::bif`] and [`super::xmlbif`] read files into it, [`super::define`] makes sense of it.

use super::list::List;

/// A network file: its blocks in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Document<'a> {
    pub(super) variables: Vec<VariableBlock<'a>>,
    pub(super) probabilities: Vec<ProbabilityBlock<'a>>,
}

/// A variable and its states.
#[derive(Debug)]
pub(super) struct VariableBlock<'a> {
    pub(super) name: &'a str,
    pub(super) states: Vec<&'a str>,
    pub(super) line: usize,
}

/// The distribution of a variable, which is the first of the family, given its parents, which are the others.
#[derive(Debug)]
pub(super) struct ProbabilityBlock<'a> {
    pub(super) family: List<'a>,
    pub(super) entries: Vec<Entry<'a>>,
    pub(super) line: usize,
}

/// Some of the probabilities of a block.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) place: Place<'a>,
    pub(super) probabilities: Vec<f64>,
    pub(super) line: usize,
}

/// What the probabilities of an entry are for.
#[derive(Debug)]
pub(super) enum Place<'a> {
    /// The child's distribution where the parents are in these states.
    Row(List<'a>),
    /// All distributions at once: first the probabilities of the child's first state, for each configuration of its
    /// parents, then those of its second. The last parent's state changes fastest.
    ByState,
    /// All distributions at once, one after another. The last parent's state changes fastest from one to the next.
    ByConfiguration,
    /// The child's distribution wherever no row gives one.
    Default,
}

/// How far beyond 0 or 1 a probability may be. Writers that normalise in single precision are off by a tenth of that.
const ROUNDING: f64 = 1e-6;

/// Reads a probability. One that rounding took beyond 0 or 1, such as 1.0000000000000002, is taken for 0 or 1.
pub(super) fn probability(word: &str) -> Option<f64> {
    let value: f64 = word.parse().ok()?;
    (-ROUNDING..=1.0 + ROUNDING).contains(&value).then(|| value.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_that_rounding_took_beyond_0_or_1_is_0_or_1() {
        for (word, value) in [("1.0000000000000002", 1.0), ("1.0000001", 1.0), ("-1e-17", 0.0), ("-5.96e-8", 0.0), (".5", 0.5)] {
            assert_eq!(probability(word), Some(value), "{word}");
        }
    }

    #[test]
    fn a_probability_is_a_finite_number_from_0_to_1() {
        for word in ["1.5", "1.00001", "-0.1", "-1e-5", "nan", "inf", "1e999", "one", "0,5", ""] {
            assert_eq!(probability(word), None, "{word}");
        }
    }
}
