//! The declared variables of a network file: what names and states refer to.

use std::collections::{HashMap, HashSet};

use super::document::{Entry, Place, ProbabilityBlock, VariableBlock};
use super::fault::Fault;
use super::list::List;
use super::quote::{quote, quote_all};

/// The most states of a variable: a particle's state is kept in one byte.
const MAX_STATES: usize = 255;

/// The declared variables, and where to find each by name.
pub(super) struct Variables<'a> {
    pub(super) declared: &'a [VariableBlock<'a>],
    places: HashMap<&'a str, usize>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(declared: &'a [VariableBlock<'a>]) -> Result<Self, Fault> {
        if declared.is_empty() {
            return Err(Fault::new(1, "expected at least one variable, found none; add variable and probability blocks"));
        }
        let mut places = HashMap::new();
        for (place, variable) in declared.iter().enumerate() {
            check_variable(variable)?;
            if let Some(first) = places.insert(variable.name, place) {
                let (name, first) = (quote(variable.name), declared[first].line);
                return Err(Fault::new(
                    variable.line,
                    format!("variable {name} is declared twice, first on line {first}; remove one"),
                ));
            }
        }
        Ok(Self { declared, places })
    }

    /// The places of a block's child and of its parents.
    ///
    /// A head without commas may have two readings in which all names are declared: `( c | a b )` where there are `a`, `b` and `a b`.
    /// Then the block's entries decide, by how many states and probabilities they give. Where no reading fits all of them, one that fits
    /// the most is taken, and the entry that does not fit it is found at fault.
    pub(super) fn family(&self, block: &ProbabilityBlock<'_>) -> Result<(usize, Vec<usize>), Fault> {
        let mut readings: Vec<Vec<&str>> = Vec::new();
        for names in block.family.readings() {
            if !readings.contains(&names) {
                readings.push(names);
            }
        }
        let resolved = readings.iter().filter_map(|names| Some((names, self.places(names, block.line).ok()?)));
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
                let is_declared = |names: &&Vec<&str>| names.iter().all(|&name| self.places.contains_key(name));
                let likeliest = readings.iter().find(is_declared).or(readings.first());
                self.places(likeliest.map_or(&[][..], Vec::as_slice), block.line)
            }
            _ => {
                let found = shown.join(" or ");
                let message = format!("expected variables that can be told apart, found {found}; put each name in quotes");
                Err(Fault::new(block.line, message))
            }
        }
    }

    /// The places of a child and its parents by their names.
    fn places(&self, names: &[&str], line: usize) -> Result<(usize, Vec<usize>), Fault> {
        let places = names.iter().map(|name| self.place(name, line)).collect::<Result<Vec<_>, _>>()?;
        let mut seen = HashSet::new();
        let repeated = places.iter().skip(1).find(|&parent| !seen.insert(parent));
        match (&places[..], repeated) {
            (&[child, ..], Some(&parent)) => {
                let (child, parent) = (quote(self.declared[child].name), quote(self.declared[parent].name));
                Err(Fault::new(line, format!("variable {child} has parent {parent} twice; remove one")))
            }
            (&[child, ref parents @ ..], None) => Ok((child, parents.to_vec())),
            ([], _) => Err(Fault::new(line, "expected the name of a variable, found none; add it")),
        }
    }

    /// Whether an entry names states of these parents, and has as many probabilities as the family asks for.
    fn fits(&self, (child, parents): &(usize, Vec<usize>), entry: &Entry<'_>) -> bool {
        let VariableBlock { name, states, .. } = &self.declared[*child];
        let counts = parents.iter().map(|&parent| self.declared[parent].states.len());
        let whole = counts.fold(states.len(), usize::saturating_mul);
        match &entry.place {
            Place::Row(row) => entry.probabilities.len() == states.len() && self.row(row, parents, entry, name).is_ok(),
            Place::Default => entry.probabilities.len() == states.len(),
            Place::ByState | Place::ByConfiguration => entry.probabilities.len() == whole,
        }
    }

    /// The place among all configurations of the one that `states` names.
    pub(super) fn row(&self, states: &List<'_>, parents: &[usize], entry: &Entry<'_>, child: &str) -> Result<usize, Fault> {
        let names = states.readings().find(|names| names.len() == parents.len()).ok_or_else(|| {
            let (expected, name) = (parents.len(), quote(child));
            let found = states.readings().next().map_or(0, |names| names.len());
            let message =
                format!("expected a state for each of the {expected} parents of variable {name}, found {found}; correct the row");
            Fault::new(entry.line, message)
        })?;
        let mut row = 0;
        for (state, &parent) in names.into_iter().zip(parents) {
            let parent = &self.declared[parent];
            let place = parent.states.iter().position(|&known| known == state).ok_or_else(|| {
                let (name, known, state) = (quote(parent.name), quote_all(&parent.states), quote(state));
                Fault::new(entry.line, format!("expected a state of {name} ({known}), found {state}; correct the row"))
            })?;
            row = row * parent.states.len() + place;
        }
        Ok(row)
    }

    /// The names of the states of a configuration: the inverse of [`Self::row`].
    pub(super) fn configuration(&self, mut row: usize, parents: &[usize]) -> Vec<&'a str> {
        let mut names = Vec::new();
        for &parent in parents.iter().rev() {
            let states = &self.declared[parent].states;
            names.push(states[row % states.len()]);
            row /= states.len();
        }
        names.reverse();
        names
    }

    fn place(&self, name: &str, line: usize) -> Result<usize, Fault> {
        let place = self.places.get(name).copied();
        place.ok_or_else(|| {
            Fault::new(line, format!("expected a declared variable, found {}; declare or correct it", quote(name)))
        })
    }
}

fn check_variable(variable: &VariableBlock<'_>) -> Result<(), Fault> {
    let (name, found) = (quote(variable.name), variable.states.len());
    if variable.name.is_empty() {
        return Err(Fault::new(variable.line, "expected a variable's name, found none; give it one"));
    }
    if found == 0 || variable.states.contains(&"") {
        let message = format!("expected a name for each state of variable {name}, found none; give every state one");
        return Err(Fault::new(variable.line, message));
    }
    if found > MAX_STATES {
        let message = format!("expected at most {MAX_STATES} states of variable {name}, found {found}; merge some");
        return Err(Fault::new(variable.line, message));
    }
    let mut seen = HashSet::new();
    match variable.states.iter().find(|&state| !seen.insert(state)) {
        Some(state) => Err(Fault::new(variable.line, format!("variable {name} has state {} twice; remove one", quote(state)))),
        None => Ok(()),
    }
}
