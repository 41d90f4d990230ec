//! A Bayesian network, read from a file and prepared for sampling. It is read once and shared by all threads. It holds no evidence.
//!
//! The path of a file: [`mod@file`] reads its bytes, [`bif`] or [`xmlbif`] parses them into a [`document`], [`resolve`] resolves names and
//! completes tables, [`order`] sorts the variables, and [`variable`] converts tables to thresholds for draws.

pub(super) mod file;

pub(super) mod bif;
mod document;
mod lexer;
mod name_list;
pub(super) mod xmlbif;

pub(super) mod cpt;
mod declarations;
pub(super) mod resolve;

mod order;
pub(super) mod variable;

use std::collections::HashMap;

use self::cpt::Normalised;
use self::variable::Variable;
use self::xmlbif::XmlNetwork;
use crate::error::ParseError;

/// A network without cycles.
#[derive(Debug)]
pub(super) struct Network {
    /// In the order of the file.
    pub(super) variables: Vec<Variable>,
    /// Indices of all variables, each after its parents.
    pub(super) order: Vec<usize>,
    /// Which distributions had to be normalised.
    pub(super) normalised: Normalised,
    indices: HashMap<String, usize>,
}

impl Network {
    /// Parses a network in BIF or XMLBIF.
    ///
    /// # Errors
    /// If the text is not UTF-8 or holds no valid network, or the network has a cycle.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            ParseError::new(line, "expected UTF-8 text, found other bytes; save the file as UTF-8")
        })?;
        // Some editors on Windows write a byte order mark first.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (definitions, normalised) = if xmlbif::is_xml(text) {
            resolve::resolve(&XmlNetwork::parse(text)?.document())?
        } else {
            resolve::resolve(&bif::parse(text)?)?
        };
        let order = order::order(&definitions)?;
        let indices = definitions.iter().enumerate().map(|(index, variable)| (variable.name.clone(), index)).collect();
        let state_counts: Vec<usize> = definitions.iter().map(|variable| variable.states.len()).collect();
        let variables = definitions.into_iter().map(|definition| Variable::new(definition, &state_counts)).collect();
        Ok(Self { variables, order, normalised, indices })
    }

    /// The index of the variable of this name.
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.indices.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASIA: &str = include_str!("asia.bif");

    #[test]
    fn parents_come_first_in_the_order() {
        let network = Network::parse(ASIA.as_bytes()).unwrap();
        let at = |variable| network.order.iter().position(|&index| index == variable).unwrap();
        for (child, variable) in network.variables.iter().enumerate() {
            assert!(variable.parents.iter().all(|parent| at(parent.variable) < at(child)), "{}", variable.name);
        }
        assert_eq!(network.order.len(), 8);
    }

    #[test]
    fn a_likelihood_is_found_by_the_shares_of_the_parents() {
        let network = Network::parse(ASIA.as_bytes()).unwrap();
        let dysp = &network.variables[network.index_of("dysp").unwrap()];
        // bronc = no, either = yes
        let row = dysp.parents[0].row_offset(1) + dysp.parents[1].row_offset(0);
        assert_eq!(dysp.likelihood(row, 0), 0.7);
    }

    #[test]
    fn a_cycle_is_named_and_nothing_else() {
        let edges = [("a", ""), ("b", "| a, d"), ("c", "| b"), ("d", "| c"), ("e", "| d")];
        let variables = edges.map(|(name, _)| format!("variable {name} {{ type discrete [ 1 ] {{ x }}; }}\n"));
        let tables = edges.map(|(name, parents)| format!("probability ( {name} {parents} ) {{ default 1; }}\n"));
        let text = format!("network n {{}}\n{}{}", variables.concat(), tables.concat());
        let error = Network::parse(text.as_bytes()).unwrap_err();
        assert!(error.message.contains("found 'c' -> 'd' -> 'b' -> 'c'; "), "{error:?}");
        assert_eq!(error.line, 8);
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused_with_their_line() {
        let error = Network::parse(b"network n {}\n// caf\xe9\n").unwrap_err();
        assert_eq!((error.line, error.message.contains("UTF-8")), (2, true));
    }
}
