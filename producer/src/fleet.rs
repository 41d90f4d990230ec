//! How the consumers of a model stand: each is asked, and what waits is read from the queues.

use rollcall_shared::broker::{BrokerConnection, BrokerError, query_consumers};
use rollcall_shared::message::{ConsumerStatus, Model};
use rollcall_shared::topology::{Backlog, Topology};
use serde::Serialize;

use crate::status::thousands;

/// The consumers of a model, and what waits for them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FleetStatus {
    /// Consumers that are subscribed to the model's queues.
    consumers: u32,
    /// Of those, how many have said what they hold.
    answered: u32,
    /// Companies that these hold.
    held: u64,
    /// Companies that wait on the broker, whatever their priority; those between two attempts are not among them.
    waiting: u32,
    /// Of those that have answered, how many score nothing because their scorer does not work.
    broken: u32,
    /// Why one of them does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// What all that have answered score in a second when none of their threads waits; `None` where none has scored a company yet.
    companies_per_second: Option<f64>,
    /// Results that a subscriber's queue refused lately.
    #[serde(skip_serializing_if = "is_zero")]
    results_refused: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl FleetStatus {
    /// Asks all consumers of `model`.
    pub(crate) async fn ask(link: &BrokerConnection, topology: &Topology, model: &Model) -> Result<FleetStatus, BrokerError> {
        let channel = link.channel().await?;
        topology.declare(&channel).await?;
        topology.declare_model(&channel, model).await?;
        let backlog = topology.backlog(&channel, model).await?;
        // A broker that is too busy to count its consumers says that there is none.
        let expected = usize::try_from(backlog.consumers).map_or(usize::MAX, |consumers| consumers.max(1));
        let answers = query_consumers(&channel, topology, model, Some(expected)).await?;
        Ok(FleetStatus::of(backlog, &answers))
    }

    fn of(backlog: Backlog, answers: &[ConsumerStatus]) -> FleetStatus {
        let answered = u32::try_from(answers.len()).unwrap_or(u32::MAX);
        let measured = answers.iter().filter_map(ConsumerStatus::companies_per_second).reduce(|sum, rate| sum + rate);
        let faults: Vec<&String> = answers.iter().filter_map(|status| status.fault.as_ref()).collect();
        FleetStatus {
            broken: u32::try_from(faults.len()).unwrap_or(u32::MAX),
            fault: faults.first().map(|fault| bounded(fault)),
            // One that has just started may answer before it is counted, and one that is leaving is no longer counted.
            consumers: backlog.consumers.max(answered),
            answered,
            held: answers.iter().map(|status| status.held).sum(),
            waiting: backlog.waiting(),
            companies_per_second: measured,
            results_refused: answers.iter().map(|status| status.results_refused).sum(),
        }
    }

    /// Whether anybody takes work.
    pub(crate) fn has_consumers(&self) -> bool {
        self.consumers > 0
    }

    /// Why not all of its consumers score; nothing where they do.
    pub(crate) fn fault_in_words(&self, model: &Model) -> Option<String> {
        let FleetStatus { consumers, broken, fault, .. } = self;
        let fault = fault.as_ref()?;
        Some(match broken {
            broken if broken < consumers => format!("{broken} of {consumers} consumers of model {model} cannot score: {fault}"),
            _ => format!("no consumer of model {model} can score: {fault}"),
        })
    }

    /// One line for people.
    pub(crate) fn in_words(&self, model: &Model) -> String {
        let FleetStatus { consumers, answered, held, waiting, companies_per_second, results_refused, .. } = self;
        let waiting = thousands((*waiting).into());
        if *consumers == 0 {
            return format!("model {model}: no consumer; {waiting} companies wait until one is started");
        }
        let (silent, held) = (consumers.saturating_sub(*answered), thousands(*held));
        let held = match silent {
            0 => format!("held {held}"),
            _ => format!("held {held} (not counting {silent} without an answer)"),
        };
        let speed =
            companies_per_second.map_or_else(String::new, |rate| format!("; {rate:.1} companies/s when all threads are busy"));
        let refused = match results_refused {
            0 => String::new(),
            refused => format!(
                "; a subscriber's queue refuses results ({} of them so far) and misses them: find it with `rabbitmqctl list_queues name messages arguments policy`",
                thousands(*refused)
            ),
        };
        let fault = self.fault_in_words(model).map_or_else(String::new, |fault| format!("; {fault}"));
        format!("model {model}: consumers {consumers}, {held}, waiting {waiting}{speed}{refused}{fault}")
    }
}

/// What a consumer says of its scorer may be long, and is from outside.
pub(crate) fn bounded(fault: &str) -> String {
    const LONGEST: usize = 1_000;
    fault.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(consumers: u32, answers: &[ConsumerStatus]) -> String {
        let backlog = Backlog { normal: 1_000, express: 1, quarantined: 0, consumers };
        FleetStatus::of(backlog, answers).in_words(&"m".parse().unwrap())
    }

    #[test]
    fn a_line_says_who_holds_what_and_who_does_not_answer() {
        assert_eq!(words(0, &[]), "model m: no consumer; 1,001 companies wait until one is started");
        let status = |seconds_per_company| {
            let (threads, held, hold_target, results_refused, taken) = (2, 8, 8, 0, 8);
            ConsumerStatus { threads, held, hold_target, results_refused, seconds_per_company, fault: None, taken, retry: None }
        };
        assert_eq!(words(1, &[status(None)]), "model m: consumers 1, held 8, waiting 1,001");
        assert_eq!(
            words(3, &[status(Some(0.5)), status(Some(0.25))]),
            "model m: consumers 3, held 16 (not counting 1 without an answer), waiting 1,001; 12.0 companies/s when all threads are busy"
        );
    }
    #[test]
    fn a_line_says_whose_scorer_does_not_work_and_why() {
        let well = ConsumerStatus {
            threads: 1,
            held: 1,
            hold_target: 1,
            results_refused: 0,
            seconds_per_company: None,
            fault: None,
            taken: 0,
            retry: None,
        };
        let broken = ConsumerStatus { fault: Some("it died".repeat(1_000)), ..well.clone() };
        let (some, all) = (words(2, &[well, broken.clone()]), words(1, &[broken]));
        assert!(some.contains("waiting 1,001; 1 of 2 consumers of model m cannot score: it died"), "{some}");
        assert!(all.contains("waiting 1,001; no consumer of model m can score: it died") && all.len() < 1_200, "{all}");
    }
}
