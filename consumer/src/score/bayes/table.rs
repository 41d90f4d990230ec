//! One variable's probability table while its entries come in: each distribution once, complete, and with sum 1.

use super::bif::{Entry, ProbabilityBlock};
use super::fault::Fault;
use super::quote::{quote, quote_all};

/// How far from 1 a distribution may sum before it counts as wrong: a thousandth, for files rounded to three decimals,
/// and a little for the rounding of the sum itself. In the bnlearn repository 0.0000003 is the most.
const MAX_SUM_ERROR: f64 = 1.000_001e-3;

/// A table while its entries come in.
pub(super) struct Table<'b> {
    block: &'b ProbabilityBlock<'b>,
    states: usize,
    probabilities: Vec<f64>,
    filled: Vec<bool>,
    default: Option<Vec<f64>>,
}

impl<'b> Table<'b> {
    pub(super) fn new(block: &'b ProbabilityBlock<'b>, states: usize, configurations: usize) -> Self {
        let probabilities = vec![0.0; states * configurations];
        Self { block, states, probabilities, filled: vec![false; configurations], default: None }
    }

    pub(super) fn fill_row(&mut self, row: usize, entry: &Entry<'_>) -> Result<(), Fault> {
        let distribution = self.distribution(&entry.probabilities, entry.line)?;
        self.fill(row, &distribution, entry.line)
    }

    /// The order of BIF 0.15: of the child and its parents, in the order of the block's head, the last changes fastest.
    /// So the child, which comes first, changes slowest.
    pub(super) fn fill_all(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
        self.check_count(self.probabilities.len(), entry.probabilities.len(), entry.line)?;
        let rows = self.filled.len();
        for row in 0..rows {
            let column: Vec<f64> = entry.probabilities.iter().skip(row).step_by(rows).copied().collect();
            let distribution = self.distribution(&column, entry.line)?;
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
                let (name, parents) = (quote(self.block.child), configuration(row));
                let place = if parents.is_empty() { String::new() } else { format!(" for ({})", quote_all(&parents)) };
                return Err(Fault::new(
                    self.block.line,
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

    /// Checks a distribution and scales it to a sum of 1.
    fn distribution(&self, probabilities: &[f64], line: usize) -> Result<Vec<f64>, Fault> {
        self.check_count(self.states, probabilities.len(), line)?;
        let sum: f64 = probabilities.iter().sum();
        if (sum - 1.0).abs() > MAX_SUM_ERROR {
            let name = quote(self.block.child);
            let message = format!("expected probabilities of variable {name} with sum 1, found sum {sum:.6}; correct them");
            return Err(Fault::new(line, message));
        }
        Ok(probabilities.iter().map(|probability| probability / sum).collect())
    }

    fn check_count(&self, expected: usize, found: usize, line: usize) -> Result<(), Fault> {
        if expected == found {
            return Ok(());
        }
        let name = quote(self.block.child);
        Err(Fault::new(line, format!("expected {expected} probabilities of variable {name}, found {found}; correct the entry")))
    }

    fn given_twice(&self, line: usize) -> Fault {
        Fault::new(line, format!("a distribution of variable {} is given twice; remove one", quote(self.block.child)))
    }
}
