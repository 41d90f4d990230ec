//! One variable's probability table while its entries come in: each distribution once, complete, and with sum 1.

use super::document::Entry;
use super::fault::Fault;
use super::quote::{quote, quote_all};

/// How far from 1 a distribution may sum before it counts as wrong: what two decimals lose in thirds (0.33, 0.33, 0.33), and
/// a little for the rounding of the sum itself.
const MAX_SUM_ERROR: f64 = 0.010_000_1;
/// How far from 1 a distribution may sum and still stand as the file has it: what six digits, which aGrUM writes, lose in
/// twenty states. Sampling does not need more, for it divides by the sum.
const MAX_UNSCALED_SUM_ERROR: f64 = 1e-5;

/// What was changed in a network's tables: the distributions that were scaled to a sum of 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Scaled {
    pub(super) distributions: usize,
    /// The line of the first of them.
    pub(super) first_line: usize,
    /// How far from 1 the worst of them summed.
    pub(super) largest_error: f64,
}

impl Scaled {
    fn note(&mut self, error: f64, line: usize) {
        if self.distributions == 0 || line < self.first_line {
            self.first_line = line;
        }
        self.distributions += 1;
        self.largest_error = self.largest_error.max(error);
    }
}

/// A table while its entries come in.
pub(super) struct Table<'b> {
    child: &'b str,
    /// The line of the block.
    line: usize,
    states: usize,
    probabilities: Vec<f64>,
    filled: Vec<bool>,
    default: Option<Vec<f64>>,
    scaled: &'b mut Scaled,
}

impl<'b> Table<'b> {
    pub(super) fn new(child: &'b str, line: usize, states: usize, configurations: usize, scaled: &'b mut Scaled) -> Self {
        let probabilities = vec![0.0; states * configurations];
        Self { child, line, states, probabilities, filled: vec![false; configurations], default: None, scaled }
    }

    pub(super) fn fill_row(&mut self, row: usize, entry: &Entry<'_>) -> Result<(), Fault> {
        let distribution = self.distribution(&entry.probabilities, entry.line)?;
        self.fill(row, &distribution, entry.line)
    }

    pub(super) fn fill_by_state(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
        self.check_count(self.probabilities.len(), entry.probabilities.len(), entry.line)?;
        let rows = self.filled.len();
        for row in 0..rows {
            let column: Vec<f64> = entry.probabilities.iter().skip(row).step_by(rows).copied().collect();
            let distribution = self.distribution(&column, entry.line)?;
            self.fill(row, &distribution, entry.line)?;
        }
        Ok(())
    }

    pub(super) fn fill_by_configuration(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
        self.check_count(self.probabilities.len(), entry.probabilities.len(), entry.line)?;
        for (row, probabilities) in entry.probabilities.chunks_exact(self.states).enumerate() {
            let distribution = self.distribution(probabilities, entry.line)?;
            self.fill(row, &distribution, entry.line)?;
        }
        Ok(())
    }

    pub(super) fn set_default(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
        let distribution = self.distribution(&entry.probabilities, entry.line)?;
        match self.default.replace(distribution) {
            Some(_) => Err(self.given_twice(entry.line)),
            None => Ok(()),
        }
    }

    /// The finished table. `configuration` names the states of a row's parents, for the message about a missing one.
    pub(super) fn complete<'a>(mut self, configuration: impl Fn(usize) -> Vec<&'a str>) -> Result<Vec<f64>, Fault> {
        let rows = self.probabilities.chunks_exact_mut(self.states).zip(&self.filled);
        for (row, (distribution, _)) in rows.enumerate().filter(|(_, (_, filled))| !**filled) {
            let Some(default) = &self.default else {
                let (name, parents) = (quote(self.child), configuration(row));
                let place = if parents.is_empty() { String::new() } else { format!(" for ({})", quote_all(&parents)) };
                return Err(Fault::new(
                    self.line,
                    format!("expected a distribution of variable {name}{place}, found none; add it"),
                ));
            };
            distribution.copy_from_slice(default);
        }
        Ok(self.probabilities)
    }

    fn fill(&mut self, row: usize, distribution: &[f64], line: usize) -> Result<(), Fault> {
        if std::mem::replace(&mut self.filled[row], true) {
            return Err(self.given_twice(line));
        }
        self.probabilities[row * self.states..][..self.states].copy_from_slice(distribution);
        Ok(())
    }

    /// Checks a distribution, and scales it to a sum of 1 where it is too far from that.
    fn distribution(&mut self, probabilities: &[f64], line: usize) -> Result<Vec<f64>, Fault> {
        self.check_count(self.states, probabilities.len(), line)?;
        let sum: f64 = probabilities.iter().sum();
        let error = (sum - 1.0).abs();
        if error > MAX_SUM_ERROR {
            let name = quote(self.child);
            let message = format!("expected probabilities of variable {name} with sum 1, found sum {sum:.6}; correct them");
            return Err(Fault::new(line, message));
        }
        if error <= MAX_UNSCALED_SUM_ERROR {
            return Ok(probabilities.to_vec());
        }
        self.scaled.note(error, line);
        Ok(probabilities.iter().map(|probability| probability / sum).collect())
    }

    fn check_count(&self, expected: usize, found: usize, line: usize) -> Result<(), Fault> {
        if expected == found {
            return Ok(());
        }
        let name = quote(self.child);
        Err(Fault::new(line, format!("expected {expected} probabilities of variable {name}, found {found}; correct the entry")))
    }

    fn given_twice(&self, line: usize) -> Fault {
        Fault::new(line, format!("a distribution of variable {} is given twice; remove one", quote(self.child)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Place;
    use super::*;

    /// The table of three states that a file gives on line 7, and what was changed.
    fn table(probabilities: &[f64]) -> Result<(Vec<f64>, Scaled), Fault> {
        let mut scaled = Scaled::default();
        let mut table = Table::new("x", 5, 3, 1, &mut scaled);
        table.fill_by_state(&Entry { place: Place::ByState, probabilities: probabilities.to_vec(), line: 7 })?;
        Ok((table.complete(|_| Vec::new())?, scaled))
    }

    #[test]
    fn a_distribution_that_sums_to_nearly_1_stays_as_the_file_has_it() {
        for probabilities in [[0.1, 0.2, 0.7], [0.333_333, 0.333_333, 0.333_333], [1.0, 0.0, 9e-6]] {
            assert_eq!(table(&probabilities).unwrap(), (probabilities.to_vec(), Scaled::default()));
        }
    }

    #[test]
    fn a_distribution_rounded_to_two_decimals_is_scaled_to_1_and_noted() {
        for probabilities in [[0.33, 0.33, 0.33], [0.334, 0.333, 0.333_02], [0.5, 0.5, 0.01]] {
            let (scaled, noted) = table(&probabilities).unwrap();
            assert!((scaled.iter().sum::<f64>() - 1.0).abs() < 1e-15, "{scaled:?}");
            let error = (probabilities.iter().sum::<f64>() - 1.0).abs();
            assert_eq!(noted, Scaled { distributions: 1, first_line: 7, largest_error: error });
        }
    }

    #[test]
    fn a_distribution_further_from_1_is_refused() {
        let fault = table(&[0.32, 0.33, 0.33]).unwrap_err();
        assert!(fault.line == 7 && fault.message.contains("with sum 1, found sum 0.980000"), "{fault:?}");
        assert!(table(&[0.0, 0.0, 0.0]).is_err());
    }

    #[test]
    fn what_was_scaled_is_told_by_its_first_line_its_number_and_its_largest_error() {
        let mut scaled = Scaled::default();
        [(0.002, 9), (0.005, 4), (0.001, 6)].into_iter().for_each(|(error, line)| scaled.note(error, line));
        assert_eq!(scaled, Scaled { distributions: 3, first_line: 4, largest_error: 0.005 });
    }
}
