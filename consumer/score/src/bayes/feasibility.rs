//! Distinguishes impossible evidence from evidence that is only improbable, without computing a probability.

use super::deadline::{Deadline, DeadlineExceeded};
use super::evidence::Evidence;
use super::network::Network;

/// Assignments that [`is_feasible`] tries before it gives up, which takes well under a second.
const MAX_STEPS: u32 = 1_000_000;

/// The index of an observed variable whose parents are all observed too, and whose state has probability 0 given theirs.
pub(super) fn contradiction(network: &Network, evidence: &Evidence) -> Option<usize> {
    let ruled_out = |&index: &usize| {
        let variable = &network.variables[index];
        let row = variable.parents.iter().map(|parent| Some(parent.row_offset(evidence.state(parent.variable)?)));
        let likelihood = evidence.state(index).zip(row.sum::<Option<u32>>()).map(|(state, row)| variable.likelihood(row, state));
        likelihood == Some(0.0)
    };
    (0..network.variables.len()).find(ruled_out)
}

/// Whether any assignment of positive probability agrees with the evidence; `None` if a million steps find no answer.
///
/// This is a depth-first search over the observed variables and their ancestors, parents first, that backtracks as soon as a state has
/// probability 0 given its parents. Other variables are irrelevant: whatever states their parents have, one of their states is possible.
///
/// # Errors
/// [`DeadlineExceeded`].
pub(super) fn is_feasible(
    network: &Network,
    evidence: &Evidence,
    deadline: &mut Deadline,
) -> Result<Option<bool>, DeadlineExceeded> {
    let order = ancestors_by_evidence(network, evidence, deadline)?;
    let mut states = vec![0_u8; network.variables.len()];
    // For each variable of the order, the first state that has not been tried.
    let mut untried = vec![0_usize; order.len() + 1];
    let mut depth = 0;
    for _ in 0..MAX_STEPS {
        let Some(&index) = order.get(depth) else {
            return Ok(Some(true));
        };
        let variable = &network.variables[index];
        deadline.spend(variable.parents.len() + variable.states.len())?;
        match next_state(network, evidence, index, untried[depth], &states) {
            Some(state) => {
                states[index] = state;
                untried[depth] = usize::from(state) + 1;
                depth += 1;
                untried[depth] = 0;
            }
            None if depth == 0 => return Ok(Some(false)),
            None => depth -= 1,
        }
    }
    Ok(None)
}

/// The observed variables and their ancestors, each after its parents, and each observed variable as early as possible, so that the search
/// backtracks early.
fn ancestors_by_evidence(
    network: &Network,
    evidence: &Evidence,
    deadline: &mut Deadline,
) -> Result<Vec<usize>, DeadlineExceeded> {
    let mut order = Vec::new();
    let mut listed = vec![false; network.variables.len()];
    for (position, &observed) in network.order.iter().enumerate().filter(|(_, index)| evidence.state(**index).is_some()) {
        deadline.spend(network.variables.len())?;
        let mut wanted = vec![false; network.variables.len()];
        wanted[observed] = true;
        for &index in network.order[..=position].iter().rev().filter(|&&index| !listed[index]) {
            if wanted[index] {
                network.variables[index].parents.iter().for_each(|parent| wanted[parent.variable] = true);
            }
        }
        for &index in &network.order[..=position] {
            if wanted[index] && !std::mem::replace(&mut listed[index], true) {
                order.push(index);
            }
        }
    }
    Ok(order)
}

/// The first state from `from` on that agrees with the evidence and has positive probability given the parents.
fn next_state(network: &Network, evidence: &Evidence, index: usize, from: usize, states: &[u8]) -> Option<u8> {
    let variable = &network.variables[index];
    let row = variable.parents.iter().map(|parent| parent.row_offset(states[parent.variable])).sum();
    let allowed = |&state: &u8| evidence.state(index).is_none_or(|observed| observed == state);
    let candidates = (from..variable.states.len()).filter_map(|state| u8::try_from(state).ok());
    candidates.filter(allowed).find(|&state| variable.likelihood(row, state) > 0.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// `bits` coins, and a variable with all of them as parents, which is 1 if all coins are.
    fn all_ones(bits: usize, coin: &str) -> String {
        let coins = (0..bits).map(|bit| {
            format!("variable c{bit} {{ type discrete [ 2 ] {{ 0, 1 }}; }} probability ( c{bit} ) {{ table {coin}; }}\n")
        });
        let names: Vec<String> = (0..bits).map(|bit| format!("c{bit}")).collect();
        let (names, ones) = (names.join(", "), vec!["1"; bits].join(", "));
        let all = format!(
            "variable all {{ type discrete [ 2 ] {{ 0, 1 }}; }} probability ( all | {names} ) {{ ({ones}) 0, 1; default 1, 0; }}"
        );
        format!("network n {{}}\n{}{all}", coins.collect::<String>())
    }

    fn judge(network: &str, record: &str) -> (Option<usize>, Option<bool>) {
        let network = Network::parse(network.as_bytes()).unwrap();
        let mut evidence = Evidence::default();
        evidence.read(&network, record.as_bytes()).unwrap();
        let mut deadline = Deadline::after(Duration::MAX);
        (contradiction(&network, &evidence), is_feasible(&network, &evidence, &mut deadline).unwrap())
    }

    #[test]
    fn the_only_assignment_left_is_found() {
        assert_eq!(judge(&all_ones(10, "0.5, 0.5"), r#"{"all": 1}"#), (None, Some(true)));
        assert_eq!(judge(&all_ones(10, "0.5, 0.5"), "{}"), (None, Some(true)));
    }

    #[test]
    fn evidence_without_any_assignment_is_impossible() {
        assert_eq!(judge(&all_ones(10, "1, 0"), r#"{"all": 1}"#), (None, Some(false)));
        assert_eq!(judge(&all_ones(10, "0.5, 0.5"), r#"{"all": 1, "c7": 0}"#), (None, Some(false)));
    }

    #[test]
    fn a_search_that_takes_too_long_does_not_tell() {
        assert_eq!(judge(&all_ones(20, "0.5, 0.5"), r#"{"all": 1}"#), (None, None));
    }

    #[test]
    fn a_search_whose_time_is_up_ends() {
        let network = Network::parse(all_ones(20, "0.5, 0.5").as_bytes()).unwrap();
        let mut evidence = Evidence::default();
        evidence.read(&network, br#"{"all": 1}"#).unwrap();
        assert!(is_feasible(&network, &evidence, &mut Deadline::after(Duration::ZERO)).is_err());
    }

    #[test]
    fn a_state_that_the_observed_parents_rule_out_needs_no_search() {
        assert_eq!(judge(&all_ones(2, "0.5, 0.5"), r#"{"all": 0, "c0": 1, "c1": 1}"#), (Some(2), Some(false)));
        assert_eq!(judge(&all_ones(2, "0.5, 0.5"), r#"{"all": 1, "c0": 1, "c1": 1}"#), (None, Some(true)));
    }
}
