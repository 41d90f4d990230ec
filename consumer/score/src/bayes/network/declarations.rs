//! The variables that a network file declares, and the resolution of names and states to their indices.

use std::collections::{HashMap, HashSet};

use super::document::{Entry, EntryKind, ProbabilityBlock, VariableBlock};
use super::name_list::NameList;
use crate::bayes::quote::{quote, quote_all};
use crate::error::ParseError;

/// The most states of a variable: a particle's state is one byte.
const MAX_STATES: usize = 255;

/// The declared variables, in the order of the file.
pub(super) struct Declarations<'a> {
    pub(super) variables: &'a [VariableBlock<'a>],
    indices: HashMap<&'a str, usize>,
}

impl<'a> Declarations<'a> {
    /// Checks each variable, and that their names differ.
    pub(super) fn new(variables: &'a [VariableBlock<'a>]) -> Result<Self, ParseError> {
        if variables.is_empty() {
            return Err(ParseError::new(1, "expected at least one variable, found none; add variable and probability blocks"));
        }
        let mut indices = HashMap::new();
        for (index, variable) in variables.iter().enumerate() {
            check_variable(variable)?;
            if let Some(first) = indices.insert(variable.name, index) {
                let (name, first) = (quote(variable.name), variables[first].line);
                return Err(ParseError::new(
                    variable.line,
                    format!("variable {name} is declared twice, first on line {first}; remove one"),
                ));
            }
        }
        Ok(Self { variables, indices })
    }

    /// The indices of a block's child and of its parents.
    ///
    /// A head without commas may have two readings in which all names are declared: `( c | a b )` if there are `a`, `b` and `a b`.
    /// Then the number of states and probabilities in the block's entries decides. If no reading fits all entries, this returns one that
    /// fits the most of them, and resolving the others reports the error.
    pub(super) fn family(&self, block: &ProbabilityBlock<'_>) -> Result<(usize, Vec<usize>), ParseError> {
        let mut readings: Vec<Vec<&str>> = Vec::new();
        for names in block.family.readings() {
            if !readings.contains(&names) {
                readings.push(names);
            }
        }
        let resolved = readings.iter().filter_map(|names| Some((names, self.indices_of(names, block.line).ok()?)));
        let mut resolved: Vec<_> = resolved.collect();
        let shown: Vec<_> = resolved.iter().map(|(names, _)| format!("({})", quote_all(names))).collect();
        if resolved.len() > 1 {
            resolved.retain(|(_, (child, parents))| !parents.contains(child));
            let fitting = |family| block.entries.iter().filter(|entry| self.fits(family, entry)).count();
            let fitting: Vec<usize> = resolved.iter().map(|(_, family)| fitting(family)).collect();
            let most = fitting.iter().copied().max().unwrap_or(0);
            let mut fits_most = fitting.into_iter().map(|count| count == most);
            resolved.retain(|_| fits_most.next().unwrap_or(false));
            if most < block.entries.len() || block.entries.is_empty() {
                resolved.truncate(1);
            }
        }
        match (resolved.pop(), shown.is_empty()) {
            (Some((_, family)), _) if resolved.is_empty() => Ok(family),
            (None, true) => {
                let is_declared = |names: &&Vec<&str>| names.iter().all(|&name| self.indices.contains_key(name));
                let likeliest = readings.iter().find(is_declared).or(readings.first());
                self.indices_of(likeliest.map_or(&[][..], Vec::as_slice), block.line)
            }
            _ => {
                let found = shown.join(" or ");
                let message = format!("expected variables that can be told apart, found {found}; put each name in quotes");
                Err(ParseError::new(block.line, message))
            }
        }
    }

    /// The indices of a child and its parents by their names.
    fn indices_of(&self, names: &[&str], line: usize) -> Result<(usize, Vec<usize>), ParseError> {
        let indices = names.iter().map(|name| self.index_of(name, line)).collect::<Result<Vec<_>, _>>()?;
        let mut seen = HashSet::new();
        let repeated = indices.iter().skip(1).find(|&parent| !seen.insert(parent));
        match (&indices[..], repeated) {
            (&[child, ..], Some(&parent)) => {
                let (child, parent) = (quote(self.variables[child].name), quote(self.variables[parent].name));
                Err(ParseError::new(line, format!("variable {child} has parent {parent} twice; remove one")))
            }
            (&[child, ref parents @ ..], None) => Ok((child, parents.to_vec())),
            ([], _) => Err(ParseError::new(line, "expected the name of a variable, found none; add it")),
        }
    }

    /// Whether an entry names states of these parents, and has as many probabilities as this family needs.
    fn fits(&self, (child, parents): &(usize, Vec<usize>), entry: &Entry<'_>) -> bool {
        let VariableBlock { name, states, .. } = &self.variables[*child];
        let counts = parents.iter().map(|&parent| self.variables[parent].states.len());
        let whole = counts.fold(states.len(), usize::saturating_mul);
        match &entry.kind {
            EntryKind::Row(row) => entry.probabilities.len() == states.len() && self.row(row, parents, entry, name).is_ok(),
            EntryKind::Default => entry.probabilities.len() == states.len(),
            EntryKind::ByState | EntryKind::ByConfiguration => entry.probabilities.len() == whole,
        }
    }

    /// The row of the table for the configuration that `states` names. Rows are numbered in mixed radix, the last parent fastest.
    pub(super) fn row(
        &self,
        states: &NameList<'_>,
        parents: &[usize],
        entry: &Entry<'_>,
        child: &str,
    ) -> Result<usize, ParseError> {
        let names = states.readings().find(|names| names.len() == parents.len()).ok_or_else(|| {
            let (expected, name) = (parents.len(), quote(child));
            let found = states.readings().next().map_or(0, |names| names.len());
            let message =
                format!("expected a state for each of the {expected} parents of variable {name}, found {found}; correct the row");
            ParseError::new(entry.line, message)
        })?;
        let mut row = 0;
        for (state, &parent) in names.into_iter().zip(parents) {
            let parent = &self.variables[parent];
            let index = parent.states.iter().position(|&known| known == state).ok_or_else(|| {
                let (name, known, state) = (quote(parent.name), quote_all(&parent.states), quote(state));
                ParseError::new(entry.line, format!("expected a state of {name} ({known}), found {state}; correct the row"))
            })?;
            row = row * parent.states.len() + index;
        }
        Ok(row)
    }

    /// The names of the states in a row's configuration: the inverse of [`Self::row`].
    pub(super) fn configuration(&self, mut row: usize, parents: &[usize]) -> Vec<&'a str> {
        let mut names = Vec::new();
        for &parent in parents.iter().rev() {
            let states = &self.variables[parent].states;
            names.push(states[row % states.len()]);
            row /= states.len();
        }
        names.reverse();
        names
    }

    fn index_of(&self, name: &str, line: usize) -> Result<usize, ParseError> {
        let index = self.indices.get(name).copied();
        index.ok_or_else(|| {
            ParseError::new(line, format!("expected a declared variable, found {}; declare or correct it", quote(name)))
        })
    }
}

fn check_variable(variable: &VariableBlock<'_>) -> Result<(), ParseError> {
    let (name, found) = (quote(variable.name), variable.states.len());
    if variable.name.is_empty() {
        return Err(ParseError::new(variable.line, "expected a variable's name, found none; give it one"));
    }
    if found == 0 || variable.states.contains(&"") {
        let message = format!("expected a name for each state of variable {name}, found none; give every state one");
        return Err(ParseError::new(variable.line, message));
    }
    if found > MAX_STATES {
        let message = format!("expected at most {MAX_STATES} states of variable {name}, found {found}; merge some");
        return Err(ParseError::new(variable.line, message));
    }
    let mut seen = HashSet::new();
    match variable.states.iter().find(|&state| !seen.insert(state)) {
        Some(state) => {
            Err(ParseError::new(variable.line, format!("variable {name} has state {} twice; remove one", quote(state))))
        }
        None => Ok(()),
    }
}
