//! Turns the blocks of a network file into definitions: every name resolved, every table complete and normalised.
//!
//! It looks at one variable at a time. Whether the network as a whole has an order is checked by [`super::network`].

use std::collections::{HashMap, HashSet};

use super::bif::{Document, Entry, Place, ProbabilityBlock, VariableBlock};
use super::fault::Fault;
use super::quote::{quote, quote_all};
use super::table::Table;

/// The most states of a variable: a particle's state is kept in one byte.
const MAX_STATES: usize = 255;
/// The most probabilities in all tables together. The largest network of the bnlearn repository has half a million;
/// a few parents too many multiply to billions, and a `default` entry would reserve them all.
const MAX_PROBABILITIES: usize = 1 << 24;

/// A variable, its parents and its distribution given each configuration of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) states: Vec<String>,
    /// Places among the definitions, as the file lists the parents.
    pub(super) parents: Vec<usize>,
    /// One distribution over `states` after another, each summing to 1. The last parent's state changes fastest from
    /// one to the next.
    pub(super) probabilities: Vec<f64>,
    /// The line of the probability block.
    pub(super) line: usize,
}

/// Checks and completes a document: one definition per variable, in the order of the variable blocks.
///
/// # Errors
/// A line and what is wrong there: an unknown or repeated name, a repeated or missing distribution, a wrong number of
/// probabilities, a distribution that does not sum to 1, or a table beyond the limits.
pub(super) fn define(document: &Document<'_>) -> Result<Vec<Definition>, Fault> {
    let variables = Variables::new(&document.variables)?;
    let blocks = variables.blocks(&document.probabilities)?;
    let mut room = MAX_PROBABILITIES;
    let define = |(child, block)| variables.define(child, block, &mut room);
    blocks.into_iter().enumerate().map(define).collect()
}

/// The declared variables, and where to find each by name.
struct Variables<'a> {
    declared: &'a [VariableBlock<'a>],
    places: HashMap<&'a str, usize>,
}

impl<'a> Variables<'a> {
    fn new(declared: &'a [VariableBlock<'a>]) -> Result<Self, Fault> {
        if declared.is_empty() {
            return Err(Fault::new(1, "expected at least one variable, found none; add variable and probability blocks"));
        }
        let mut places = HashMap::new();
        for (place, variable) in declared.iter().enumerate() {
            check_states(variable)?;
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

    /// The one probability block of each variable.
    fn blocks<'b>(&self, blocks: &'b [ProbabilityBlock<'b>]) -> Result<Vec<&'b ProbabilityBlock<'b>>, Fault> {
        let mut found = vec![None; self.declared.len()];
        for block in blocks {
            let child = self.place(block.child, block.line)?;
            if let Some(first) = found[child].replace(block) {
                let (name, first) = (quote(block.child), first.line);
                return Err(Fault::new(
                    block.line,
                    format!("variable {name} has two probability blocks, the first on line {first}; remove one"),
                ));
            }
        }
        let missing = |variable: &VariableBlock<'_>| {
            let name = quote(variable.name);
            Fault::new(
                variable.line,
                format!("expected a probability block for variable {name}, found none; add 'probability ( … ) {{ … }}'"),
            )
        };
        found.into_iter().zip(self.declared).map(|(block, variable)| block.ok_or_else(|| missing(variable))).collect()
    }

    fn define(&self, child: usize, block: &ProbabilityBlock<'_>, room: &mut usize) -> Result<Definition, Fault> {
        let parents = self.parents(block)?;
        let states = &self.declared[child].states;
        let configurations = self.configurations(&parents, states.len(), block, room)?;
        let mut table = Table::new(block, states.len(), configurations);
        for entry in &block.entries {
            match &entry.place {
                Place::Row(states) => table.fill_row(self.row(states, &parents, entry, block)?, entry)?,
                Place::Table => table.fill_all(entry)?,
                Place::Default => table.set_default(entry)?,
            }
        }
        let probabilities = table.complete(|row| self.configuration(row, &parents))?;
        Ok(Definition {
            name: block.child.to_owned(),
            states: states.iter().map(|&state| state.to_owned()).collect(),
            parents,
            probabilities,
            line: block.line,
        })
    }

    fn parents(&self, block: &ProbabilityBlock<'_>) -> Result<Vec<usize>, Fault> {
        let mut seen = HashSet::new();
        for &name in &block.parents {
            if !seen.insert(name) {
                let message = format!("variable {} has parent {} twice; remove one", quote(block.child), quote(name));
                return Err(Fault::new(block.line, message));
            }
        }
        block.parents.iter().map(|name| self.place(name, block.line)).collect()
    }

    /// How many configurations the parents have; takes the table's probabilities out of the room that is left.
    fn configurations(
        &self,
        parents: &[usize],
        states: usize,
        block: &ProbabilityBlock<'_>,
        room: &mut usize,
    ) -> Result<usize, Fault> {
        let counts = parents.iter().map(|&parent| self.declared[parent].states.len());
        let configurations = counts.fold(1, usize::saturating_mul);
        let left = room.checked_sub(configurations.saturating_mul(states)).ok_or_else(|| {
            let name = quote(block.child);
            let message = format!(
                "expected at most {MAX_PROBABILITIES} probabilities in the network, exceeded at variable {name}; \
                 give it fewer parents or states"
            );
            Fault::new(block.line, message)
        })?;
        *room = left;
        Ok(configurations)
    }

    /// The place among all configurations of the one that `states` names.
    fn row(&self, states: &[&str], parents: &[usize], entry: &Entry<'_>, block: &ProbabilityBlock<'_>) -> Result<usize, Fault> {
        if states.len() != parents.len() {
            let (expected, found, name) = (parents.len(), states.len(), quote(block.child));
            let message =
                format!("expected a state for each of the {expected} parents of variable {name}, found {found}; correct the row");
            return Err(Fault::new(entry.line, message));
        }
        let mut row = 0;
        for (&state, &parent) in states.iter().zip(parents) {
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
    fn configuration(&self, mut row: usize, parents: &[usize]) -> Vec<&'a str> {
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

fn check_states(variable: &VariableBlock<'_>) -> Result<(), Fault> {
    let (name, found) = (quote(variable.name), variable.states.len());
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

#[cfg(test)]
mod tests {
    use super::super::bif::parse;
    use super::*;

    const HEAD: &str = "network n {} variable a { type discrete [ 2 ] { x, y }; }
        variable b { type discrete [ 3 ] { 1, 2, 3 }; }
        probability ( a ) { table 0.25, 0.75; }";

    fn defined(blocks: &str) -> Result<Vec<Definition>, Fault> {
        define(&parse(&format!("{HEAD}\n{blocks}")).unwrap())
    }

    fn fault(blocks: &str) -> (usize, String) {
        let fault = defined(blocks).unwrap_err();
        (fault.line, fault.message)
    }

    #[test]
    fn rows_a_table_and_a_default_say_the_same() {
        let rows = defined("probability ( b | a ) { (y) 0, 0.5, 0.5; (x) 0.5, 0.25, 0.25; }").unwrap();
        assert_eq!(rows[1].probabilities, [0.5, 0.25, 0.25, 0.0, 0.5, 0.5]);
        // P(b=1|x), P(b=1|y), P(b=2|x), P(b=2|y), P(b=3|x), P(b=3|y)
        let table = defined("probability ( b | a ) { table 0.5, 0, 0.25, 0.5, 0.25, 0.5; }").unwrap();
        let default = defined("probability ( b | a ) { default 0.5, 0.25, 0.25; (y) 0, 0.5, 0.5; }").unwrap();
        assert_eq!((&rows, &rows), (&table, &default));
    }

    #[test]
    fn distributions_rounded_to_three_decimals_are_scaled_to_1() {
        let definitions = defined("probability ( b ) { table 0.333, 0.333, 0.333; }").unwrap();
        assert!(definitions[1].probabilities.iter().all(|probability| (probability - 1.0 / 3.0).abs() < 1e-15));
        let (line, message) = fault("probability ( b ) {\n table 0.332, 0.333, 0.333; }");
        assert_eq!((line, message.contains("with sum 1, found sum 0.998000")), (5, true));
    }

    #[test]
    fn a_name_that_is_unknown_or_repeated_is_named() {
        let b = "probability ( b ) { table 1, 0, 0; }";
        let cases = [
            ("probability ( c ) { table 1; }".to_owned(), "a declared variable, found 'c'"),
            ("probability ( b | c ) { default 1, 0, 0; }".to_owned(), "a declared variable, found 'c'"),
            ("probability ( b | a ) { (z) 1, 0, 0; }".to_owned(), "a state of 'a' ('x', 'y'), found 'z'"),
            ("probability ( b | a, a ) { default 1, 0, 0; }".to_owned(), "variable 'b' has parent 'a' twice"),
            (format!("{b} {b}"), "variable 'b' has two probability blocks, the first on line 4"),
            (format!("variable a {{ type discrete [ 1 ] {{ x }}; }} {b}"), "variable 'a' is declared twice, first on line 1"),
            (format!("variable c {{ type discrete [ 2 ] {{ x, x }}; }} {b}"), "variable 'c' has state 'x' twice"),
        ];
        for (text, message) in cases {
            let found = fault(&text);
            assert!(found.0 == 4 && found.1.contains(message), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_missing_distribution_is_named_with_its_parents() {
        let (line, message) = fault("probability ( b | a ) { (x) 1, 0, 0; }");
        assert_eq!((line, message.contains("a distribution of variable 'b' for ('y'), found none")), (4, true));
        assert!(fault("probability ( b ) { }").1.contains("a distribution of variable 'b', found none"));
        let (line, message) = fault("");
        assert_eq!((line, message.contains("a probability block for variable 'b', found none")), (2, true));
    }

    #[test]
    fn an_entry_holds_each_distribution_once_and_whole() {
        let cases = [
            ("(x) 1, 0; default 1, 0, 0;", "expected 3 probabilities of variable 'b', found 2"),
            ("table 1, 0, 0;", "expected 6 probabilities of variable 'b', found 3"),
            ("(x, y) 1, 0, 0;", "each of the 1 parents of variable 'b', found 2"),
            ("(x) 1, 0, 0; (x) 1, 0, 0;", "given twice"),
            ("(x) 1, 0, 0; table 1, 1, 0, 0, 0, 0;", "given twice"),
            ("default 1, 0, 0; default 1, 0, 0;", "given twice"),
        ];
        for (entries, message) in cases {
            let found = fault(&format!("probability ( b | a ) {{ {entries} }}"));
            assert!(found.1.contains(message), "{entries}: {found:?}");
        }
    }

    #[test]
    fn tables_beyond_the_limits_are_refused_before_memory_is_taken() {
        let states: Vec<String> = (0..256).map(|state| state.to_string()).collect();
        let (_, message) = fault(&format!("variable c {{ type discrete [ 256 ] {{ {} }}; }}", states.join(", ")));
        assert!(message.contains("at most 255 states of variable 'c', found 256"), "{message}");

        let names: Vec<String> = (0..64).map(|place| format!("p{place}")).collect();
        let variables = names.iter().map(|name| format!("variable {name} {{ type discrete [ 2 ] {{ 0, 1 }}; }}"));
        let roots = names.iter().map(|name| format!("probability ( {name} ) {{ table 0.5, 0.5; }}"));
        let child = format!("probability ( b | {} ) {{ default 1, 0, 0; }}", names.join(", "));
        let blocks: Vec<String> = variables.chain(roots).chain([child]).collect();
        let (_, message) = fault(&blocks.concat());
        assert!(message.contains("at most 16777216 probabilities") && message.contains("variable 'b'"), "{message}");
    }

    #[test]
    fn a_network_without_variables_is_refused() {
        let fault = define(&parse("network n {}").unwrap()).unwrap_err();
        assert!(fault.message.contains("at least one variable"));
    }
}
