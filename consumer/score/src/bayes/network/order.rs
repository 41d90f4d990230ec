//! Sorts variables so that parents come first.

use std::collections::HashMap;

use super::resolve::Definition;
use crate::bayes::quote::quote;
use crate::error::ParseError;

/// The most variables of a cycle that a message names.
const SHOWN_CYCLE: usize = 12;

/// The indices of all variables, each after its parents (Kahn 1962, "Topological sorting of large networks").
///
/// # Errors
/// If there is a cycle; the error names its variables.
pub(super) fn order(definitions: &[Definition]) -> Result<Vec<usize>, ParseError> {
    let mut children = vec![Vec::new(); definitions.len()];
    for (child, definition) in definitions.iter().enumerate() {
        definition.parents.iter().for_each(|&parent| children[parent].push(child));
    }
    let mut missing: Vec<usize> = definitions.iter().map(|definition| definition.parents.len()).collect();
    let mut order: Vec<usize> = (0..definitions.len()).filter(|&variable| missing[variable] == 0).collect();
    let mut done = 0;
    while let Some(&parent) = order.get(done) {
        done += 1;
        for &child in &children[parent] {
            missing[child] -= 1;
            if missing[child] == 0 {
                order.push(child);
            }
        }
    }
    match (0..definitions.len()).find(|&variable| missing[variable] > 0) {
        Some(blocked) => Err(cycle(definitions, &missing, blocked)),
        None => Ok(order),
    }
}

/// The error that names a cycle, given a variable that is on a cycle or a descendant of one. It has a parent of the same kind, and that
/// parent too, so a walk along such parents returns to a variable that it has visited.
fn cycle(definitions: &[Definition], missing: &[usize], blocked: usize) -> ParseError {
    let mut walk: Vec<usize> = Vec::new();
    let mut seen_at = HashMap::new();
    let mut next = Some(blocked);
    let mut start = 0;
    while let Some(variable) = next {
        if let Some(first) = seen_at.insert(variable, walk.len()) {
            start = first;
            break;
        }
        walk.push(variable);
        next = definitions[variable].parents.iter().copied().find(|&parent| missing[parent] > 0);
    }
    let cycle: Vec<usize> = walk[start..].iter().rev().copied().collect();
    let mut names: Vec<String> = cycle.iter().take(SHOWN_CYCLE).map(|&variable| quote(&definitions[variable].name)).collect();
    names.extend((cycle.len() > SHOWN_CYCLE).then(|| "…".to_owned()));
    names.extend(names.first().cloned());
    let message = format!("expected a network without cycles, found {}; remove one of these parents", names.join(" -> "));
    ParseError::new(definitions[walk[start]].line, message)
}
