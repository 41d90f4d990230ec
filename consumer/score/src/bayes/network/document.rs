//! The content of a network file, the same for both formats. Names are not resolved yet.
//!
//! [`super::bif`] and [`super::xmlbif`] parse files into it, and [`super::resolve`] resolves its names.

use super::name_list::NameList;

/// The blocks of a network file, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Document<'a> {
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

/// The distribution of a variable given its parents. The first name of the family is the variable, the others are its parents.
#[derive(Debug)]
pub(super) struct ProbabilityBlock<'a> {
    pub(super) family: NameList<'a>,
    pub(super) entries: Vec<Entry<'a>>,
    pub(super) line: usize,
}

/// Some of the probabilities of a block.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) kind: EntryKind<'a>,
    pub(super) probabilities: Vec<f64>,
    pub(super) line: usize,
}

/// Which part of the table the probabilities of an entry are.
#[derive(Debug)]
pub(super) enum EntryKind<'a> {
    /// The child's distribution if the parents are in these states.
    Row(NameList<'a>),
    /// The whole table, by the child's states: the probabilities of its first state for each configuration of the parents, then those
    /// of its second. The last parent's state changes fastest.
    ByState,
    /// The whole table, one distribution after another. The last parent's state changes fastest from one to the next.
    ByConfiguration,
    /// The child's distribution for all configurations that have no row of their own.
    Default,
}

/// How far below 0 or above 1 a probability may be. Programs that normalise in single precision are off by a tenth of that.
const ROUNDING: f64 = 1e-6;

/// Parses a probability. A value that rounding moved below 0 or above 1, such as 1.0000000000000002, becomes 0 or 1.
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
