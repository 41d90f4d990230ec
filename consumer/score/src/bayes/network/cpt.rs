//! Builds a variable's conditional probability table (CPT) from the entries of its block: each distribution once, and none missing.

use super::document::Entry;
use crate::bayes::quote::{quote, quote_all};
use crate::error::ParseError;

/// How far from 1 the sum of a distribution may be. A distribution of thirds with two decimals (0.33, 0.33, 0.33) is 0.01 off; the rest
/// is for the rounding of the sum itself.
const MAX_SUM_ERROR: f64 = 0.010_000_1;
/// How far from 1 the sum may be without being normalised. A distribution over twenty states with six digits, as aGrUM writes it, is that
/// much off. Sampling needs no better sum, since it divides by the sum.
const MAX_UNNORMALISED_SUM_ERROR: f64 = 1e-5;

/// Which distributions of a network were normalised, that is scaled to a sum of 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Normalised {
    pub(crate) distributions: usize,
    /// The line of the first one.
    pub(crate) first_line: usize,
    /// The largest difference of a sum from 1.
    pub(crate) largest_error: f64,
}

impl Normalised {
    fn note(&mut self, error: f64, line: usize) {
        if self.distributions == 0 || line < self.first_line {
            self.first_line = line;
        }
        self.distributions += 1;
        self.largest_error = self.largest_error.max(error);
    }
}

/// A table to which entries are added.
pub(super) struct CptBuilder<'b> {
    child: &'b str,
    /// The line of the block.
    line: usize,
    states: usize,
    probabilities: Vec<f64>,
    filled: Vec<bool>,
    default: Option<Vec<f64>>,
    normalised: &'b mut Normalised,
}

impl<'b> CptBuilder<'b> {
    pub(super) fn new(child: &'b str, line: usize, states: usize, configurations: usize, normalised: &'b mut Normalised) -> Self {
        let probabilities = vec![0.0; states * configurations];
        Self { child, line, states, probabilities, filled: vec![false; configurations], default: None, normalised }
    }

    pub(super) fn fill_row(&mut self, row: usize, entry: &Entry<'_>) -> Result<(), ParseError> {
        let distribution = self.distribution(&entry.probabilities, entry.line)?;
        self.fill(row, &distribution, entry.line)
    }

    pub(super) fn fill_by_state(&mut self, entry: &Entry<'_>) -> Result<(), ParseError> {
        self.check_count(self.probabilities.len(), entry.probabilities.len(), entry.line)?;
        let rows = self.filled.len();
        for row in 0..rows {
            let column: Vec<f64> = entry.probabilities.iter().skip(row).step_by(rows).copied().collect();
            let distribution = self.distribution(&column, entry.line)?;
            self.fill(row, &distribution, entry.line)?;
        }
        Ok(())
    }

    pub(super) fn fill_by_configuration(&mut self, entry: &Entry<'_>) -> Result<(), ParseError> {
        self.check_count(self.probabilities.len(), entry.probabilities.len(), entry.line)?;
        for (row, probabilities) in entry.probabilities.chunks_exact(self.states).enumerate() {
            let distribution = self.distribution(probabilities, entry.line)?;
            self.fill(row, &distribution, entry.line)?;
        }
        Ok(())
    }

    pub(super) fn set_default(&mut self, entry: &Entry<'_>) -> Result<(), ParseError> {
        let distribution = self.distribution(&entry.probabilities, entry.line)?;
        match self.default.replace(distribution) {
            Some(_) => Err(self.given_twice(entry.line)),
            None => Ok(()),
        }
    }

    /// The finished table. `configuration` gives the states of the parents in a row, for the error message about a missing row.
    pub(super) fn complete<'a>(mut self, configuration: impl Fn(usize) -> Vec<&'a str>) -> Result<Vec<f64>, ParseError> {
        let rows = self.probabilities.chunks_exact_mut(self.states).zip(&self.filled);
        for (row, (distribution, _)) in rows.enumerate().filter(|(_, (_, filled))| !**filled) {
            let Some(default) = &self.default else {
                let (name, parents) = (quote(self.child), configuration(row));
                let place = if parents.is_empty() { String::new() } else { format!(" for ({})", quote_all(&parents)) };
                return Err(ParseError::new(
                    self.line,
                    format!("expected a distribution of variable {name}{place}, found none; add it"),
                ));
            };
            distribution.copy_from_slice(default);
        }
        Ok(self.probabilities)
    }

    fn fill(&mut self, row: usize, distribution: &[f64], line: usize) -> Result<(), ParseError> {
        if std::mem::replace(&mut self.filled[row], true) {
            return Err(self.given_twice(line));
        }
        self.probabilities[row * self.states..][..self.states].copy_from_slice(distribution);
        Ok(())
    }

    /// Checks a distribution, and normalises it if its sum is too far from 1.
    fn distribution(&mut self, probabilities: &[f64], line: usize) -> Result<Vec<f64>, ParseError> {
        self.check_count(self.states, probabilities.len(), line)?;
        let sum: f64 = probabilities.iter().sum();
        let error = (sum - 1.0).abs();
        if error > MAX_SUM_ERROR {
            let name = quote(self.child);
            let message = format!("expected probabilities of variable {name} with sum 1, found sum {sum:.6}; correct them");
            return Err(ParseError::new(line, message));
        }
        if error <= MAX_UNNORMALISED_SUM_ERROR {
            return Ok(probabilities.to_vec());
        }
        self.normalised.note(error, line);
        Ok(probabilities.iter().map(|probability| probability / sum).collect())
    }

    fn check_count(&self, expected: usize, found: usize, line: usize) -> Result<(), ParseError> {
        if expected == found {
            return Ok(());
        }
        let name = quote(self.child);
        Err(ParseError::new(
            line,
            format!("expected {expected} probabilities of variable {name}, found {found}; correct the entry"),
        ))
    }

    fn given_twice(&self, line: usize) -> ParseError {
        ParseError::new(line, format!("a distribution of variable {} is given twice; remove one", quote(self.child)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::EntryKind;
    use super::*;

    /// The table of a variable with three states and no parents, given on line 7, and whether it was normalised.
    fn table(probabilities: &[f64]) -> Result<(Vec<f64>, Normalised), ParseError> {
        let mut normalised = Normalised::default();
        let mut cpt = CptBuilder::new("x", 5, 3, 1, &mut normalised);
        cpt.fill_by_state(&Entry { kind: EntryKind::ByState, probabilities: probabilities.to_vec(), line: 7 })?;
        Ok((cpt.complete(|_| Vec::new())?, normalised))
    }

    #[test]
    fn a_distribution_that_sums_to_nearly_1_stays_as_the_file_has_it() {
        for probabilities in [[0.1, 0.2, 0.7], [0.333_333, 0.333_333, 0.333_333], [1.0, 0.0, 9e-6]] {
            assert_eq!(table(&probabilities).unwrap(), (probabilities.to_vec(), Normalised::default()));
        }
    }

    #[test]
    fn a_distribution_rounded_to_two_decimals_is_scaled_to_1_and_noted() {
        for probabilities in [[0.33, 0.33, 0.33], [0.334, 0.333, 0.333_02], [0.5, 0.5, 0.01]] {
            let (scaled, noted) = table(&probabilities).unwrap();
            assert!((scaled.iter().sum::<f64>() - 1.0).abs() < 1e-15, "{scaled:?}");
            let sum_error = (probabilities.iter().sum::<f64>() - 1.0).abs();
            assert_eq!(noted, Normalised { distributions: 1, first_line: 7, largest_error: sum_error });
        }
    }

    #[test]
    fn a_distribution_further_from_1_is_refused() {
        let error = table(&[0.32, 0.33, 0.33]).unwrap_err();
        assert!(error.line == 7 && error.message.contains("with sum 1, found sum 0.980000"), "{error:?}");
        assert!(table(&[0.0, 0.0, 0.0]).is_err());
    }

    #[test]
    fn what_was_scaled_is_told_by_its_first_line_its_number_and_its_largest_error() {
        let mut scaled = Normalised::default();
        [(0.002, 9), (0.005, 4), (0.001, 6)].into_iter().for_each(|(error, line)| scaled.note(error, line));
        assert_eq!(scaled, Normalised { distributions: 3, first_line: 4, largest_error: 0.005 });
    }
}
