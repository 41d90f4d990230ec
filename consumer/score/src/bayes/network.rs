//! A Bayesian network made ready for sampling: variables in an order in which parents come first, flat tables, and
//! probabilities as integer limits, so that every machine draws the same states.
//!
//! It holds no evidence and draws nothing; a network is read once and shared by all threads.

use std::collections::HashMap;

use rollcall_shared::decimal;

use super::define::{self, Definition};
use super::fault::Fault;
use super::quote::quote;
use super::table::Scaled;
use super::{bif, draws, xmlbif};

/// How many values a draw can take: draws are uniform over `0..2^31` (see [`super::draws`]).
const DRAWS: f64 = 2_147_483_648.0;
/// The most variables of a cycle that a message names.
const SHOWN_CYCLE: usize = 12;

/// A network without cycles.
#[derive(Debug)]
pub(super) struct Network {
    /// In the order of the file.
    pub(super) variables: Vec<Variable>,
    /// Places of all variables, every one after its parents.
    pub(super) order: Vec<usize>,
    /// What reading it changed.
    pub(super) scaled: Scaled,
    places: HashMap<String, usize>,
}

/// A variable with its table. Configurations of the parents are numbered in mixed radix, see [`Parent::share`].
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) states: Vec<String>,
    /// The plain form of each state that is a number.
    numbers: Vec<Option<String>>,
    pub(super) parents: Vec<Parent>,
    /// For each configuration, the probability of each state.
    pub(super) likelihoods: Box<[f64]>,
    /// For each configuration and each state but the last, the largest draw that still falls on this state or one
    /// before it; -1 where none does. The state of a draw is the number of limits below it.
    limits: Box<[i32]>,
    /// Their upper bits, as of a draw: those of the first limit in all configurations, of the second, and so on.
    uppers: Box<[u16]>,
}

/// A parent and its part in the number of a configuration.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) variable: usize,
    pub(super) last_state: u8,
    stride: u32,
}

impl Parent {
    /// What a state of this parent adds to the number of a configuration.
    pub(super) fn share(&self, state: u8) -> u32 {
        self.stride * u32::from(state)
    }
}

impl Network {
    /// Reads a network in the Bayesian Interchange Format or XMLBIF, whichever the text is.
    ///
    /// # Errors
    /// The first fault and its line: no UTF-8, no valid network, or a cycle.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            Fault::new(line, "expected UTF-8 text, found other bytes; save the file as UTF-8")
        })?;
        // Some editors on Windows put a byte order mark first.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (definitions, scaled) = if xmlbif::is_xml(text) {
            define::define(&xmlbif::Network::parse(text)?.document())?
        } else {
            define::define(&bif::parse(text)?)?
        };
        let order = order(&definitions)?;
        let places = definitions.iter().enumerate().map(|(place, variable)| (variable.name.clone(), place)).collect();
        let state_counts: Vec<usize> = definitions.iter().map(|variable| variable.states.len()).collect();
        let variables = definitions.into_iter().map(|definition| Variable::new(definition, &state_counts)).collect();
        Ok(Self { variables, order, scaled, places })
    }

    /// The place of the variable of this name.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }
}

/// All variables, each after its parents (Kahn 1962, "Topological sorting of large networks").
fn order(definitions: &[Definition]) -> Result<Vec<usize>, Fault> {
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

/// Names a cycle, given a variable that waits for a parent for ever. So does one of its parents, and one of that
/// parent's, and so on: the walk must come back to where it was.
fn cycle(definitions: &[Definition], missing: &[usize], blocked: usize) -> Fault {
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
    Fault::new(definitions[walk[start]].line, message)
}

impl Variable {
    fn new(definition: Definition, state_counts: &[usize]) -> Self {
        let mut parents = Vec::new();
        let mut stride = 1;
        for &variable in definition.parents.iter().rev() {
            let last_state = u8::try_from(state_counts[variable] - 1).unwrap_or(u8::MAX);
            parents.push(Parent { variable, last_state, stride });
            stride = stride.saturating_mul(count(state_counts[variable]));
        }
        parents.reverse();
        let Definition { name, states, probabilities, .. } = definition;
        let limits: Box<[i32]> = probabilities.chunks_exact(states.len()).flat_map(limits).collect();
        let of_state = |state| limits.iter().skip(state).step_by(states.len() - 1).map(|&limit| draws::upper(limit));
        let uppers = (0..states.len() - 1).flat_map(of_state).collect();
        let numbers = states.iter().map(|state| decimal::canonical(state)).collect();
        Self { name, states, numbers, parents, likelihoods: probabilities.into(), limits, uppers }
    }

    /// The last state; there are at most 255.
    pub(super) fn last_state(&self) -> u8 {
        u8::try_from(self.states.len() - 1).unwrap_or(u8::MAX)
    }

    /// For each limit, its upper bits in each configuration.
    pub(super) fn uppers(&self) -> impl Iterator<Item = &[u16]> {
        let configurations = self.likelihoods.len() / self.states.len();
        self.uppers.chunks_exact(configurations)
    }

    /// The limits in a configuration.
    pub(super) fn limits(&self, row: u32) -> &[i32] {
        let count = self.states.len() - 1;
        &self.limits[row as usize * count..][..count]
    }

    /// The state on which a draw with these upper bits falls in a configuration. Where they do not tell, the `whole` draw does.
    pub(super) fn choose(&self, row: u32, upper: u16, whole: impl FnOnce() -> i32) -> u8 {
        let limits = self.limits(row);
        if limits.iter().any(|&limit| draws::upper(limit) == upper) {
            let whole = whole();
            limits.iter().map(|&limit| u8::from(whole > limit)).sum()
        } else {
            limits.iter().map(|&limit| u8::from(upper > draws::upper(limit))).sum()
        }
    }

    /// The place of the state of this name.
    pub(super) fn state(&self, name: &str) -> Option<u8> {
        let place = self.states.iter().position(|state| state == name)?;
        u8::try_from(place).ok()
    }

    /// The place of the one state that is the same number or the same boolean as `text`.
    pub(super) fn equal_state(&self, text: &str) -> Option<u8> {
        let is_boolean = ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word));
        let number = decimal::canonical(text);
        let is_equal = |place: &usize| match &number {
            Some(number) => self.numbers[*place].as_ref() == Some(number),
            None => is_boolean && self.states[*place].eq_ignore_ascii_case(text),
        };
        let mut equal = (0..self.states.len()).filter(is_equal);
        let place = equal.next().filter(|_| equal.next().is_none())?;
        u8::try_from(place).ok()
    }

    /// The probability of `state` where the parents are in configuration `row`.
    pub(super) fn likelihood(&self, row: u32, state: u8) -> f64 {
        self.likelihoods[row as usize * self.states.len() + usize::from(state)]
    }
}

/// Nothing saturates: a table's size is bounded before it comes here.
fn count(states: usize) -> u32 {
    u32::try_from(states).unwrap_or(u32::MAX)
}

/// The limits of one distribution. A state of probability 0 has the limit of the state before it: no draw falls on it.
fn limits(distribution: &[f64]) -> Vec<i32> {
    let total: f64 = distribution.iter().sum();
    let mut cumulative = 0.0;
    let (_, all_but_last) = distribution.split_last().unwrap_or((&0.0, &[]));
    let limit = |probability: &f64| {
        cumulative += probability;
        // Ends in zeros add nothing to the sum, so that it reaches exactly 1 before them.
        let below = (cumulative / total * DRAWS).round();
        #[expect(clippy::cast_possible_truncation, reason = "from 0 to 2^31, less one")]
        let limit = (below - 1.0) as i32;
        limit
    };
    all_but_last.iter().map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASIA: &str = include_str!("asia.bif");

    #[test]
    fn parents_come_first_in_the_order() {
        let network = Network::parse(ASIA.as_bytes()).unwrap();
        let at = |variable| network.order.iter().position(|&place| place == variable).unwrap();
        for (child, variable) in network.variables.iter().enumerate() {
            assert!(variable.parents.iter().all(|parent| at(parent.variable) < at(child)), "{}", variable.name);
        }
        assert_eq!(network.order.len(), 8);
    }

    #[test]
    fn a_likelihood_is_found_by_the_shares_of_the_parents() {
        let network = Network::parse(ASIA.as_bytes()).unwrap();
        let dysp = &network.variables[network.place("dysp").unwrap()];
        // bronc = no, either = yes
        let row = dysp.parents[0].share(1) + dysp.parents[1].share(0);
        assert_eq!(dysp.likelihood(row, 0), 0.7);
    }

    #[test]
    fn a_draw_never_falls_on_a_state_of_probability_0() {
        assert_eq!(limits(&[0.0, 0.5, 0.0, 0.5, 0.0]), [-1, (1 << 30) - 1, (1 << 30) - 1, i32::MAX]);
        assert_eq!(limits(&[0.1, 0.2, 0.7, 0.0])[2], i32::MAX);
        assert!(limits(&[1.0]).is_empty());
    }

    #[test]
    fn a_cycle_is_named_and_nothing_else() {
        let edges = [("a", ""), ("b", "| a, d"), ("c", "| b"), ("d", "| c"), ("e", "| d")];
        let variables = edges.map(|(name, _)| format!("variable {name} {{ type discrete [ 1 ] {{ x }}; }}\n"));
        let tables = edges.map(|(name, parents)| format!("probability ( {name} {parents} ) {{ default 1; }}\n"));
        let text = format!("network n {{}}\n{}{}", variables.concat(), tables.concat());
        let fault = Network::parse(text.as_bytes()).unwrap_err();
        assert!(fault.message.contains("found 'c' -> 'd' -> 'b' -> 'c'; "), "{fault:?}");
        assert_eq!(fault.line, 8);
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused_with_their_line() {
        let fault = Network::parse(b"network n {}\n// caf\xe9\n").unwrap_err();
        assert_eq!((fault.line, fault.message.contains("UTF-8")), (2, true));
    }
}
