//! The state of a model's consumers: each is queried, and the number of waiting companies is read from the queues.

use std::time::Duration;

use indicatif::HumanCount;
use lapin::Channel;
use rollcall_shared::broker::{BrokerConnection, BrokerError, query_consumers};
use rollcall_shared::message::{ConsumerStatus, Model, ScaleSignal};
use rollcall_shared::topology::Topology;
use rollcall_shared::topology::backlog::Backlog;
use serde::Serialize;
use tokio::time::timeout;

use crate::broker_session::BrokerAccess;

/// The consumers of a model, and the companies that wait for them. The field names are keys of `fleet` in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FleetStatus {
    /// Consumers that are subscribed to the model's queues.
    pub(crate) consumers: u32,
    /// How many of them have answered.
    pub(crate) answered: u32,
    /// Companies that these have taken and not yet answered for.
    pub(crate) held: u64,
    /// Companies in the model's queues, of any priority, of jobs that are neither paused nor ended: as many as there may be, where others
    /// are in the queues too. Companies that wait for their next attempt are not among them.
    pub(crate) waiting: u64,
    /// Companies without an outcome of the model's paused jobs, in whichever queue they are.
    pub(crate) paused: u64,
    /// Companies whose next attempt is not due yet, as far as that is known.
    pub(crate) due_later: u64,
    /// Messages in the model's queues: those that wait, and those of paused and ended jobs that no consumer has met yet. The broker does
    /// not tell them apart.
    queued: u64,
    /// How many of those that have answered score nothing because their scorer does not work.
    broken: u32,
    /// Why the scorer of one of them does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// What all that have answered score in a second when all their threads are busy; `None` if none has scored a company yet.
    pub(crate) companies_per_second: Option<f64>,
    /// Results that a subscriber's queue has refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) results_refused: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl FleetStatus {
    /// Queries all consumers of `model`.
    pub(crate) async fn query(link: &BrokerConnection, topology: &Topology, model: &Model) -> Result<FleetStatus, BrokerError> {
        let channel = link.channel().await?;
        topology.declare(&channel).await?;
        topology.declare_model(&channel, model).await?;
        let backlog = topology.backlog(&channel, model).await?;
        // A broker that is too busy to count its consumers reports none.
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
            fault: faults.first().map(|fault| shortened(fault)),
            // The broker may not count yet a consumer that has just started, and no longer one that is stopping.
            consumers: backlog.consumers.max(answered),
            answered,
            held: answers.iter().map(|status| status.held).sum(),
            waiting: backlog.waiting().into(),
            paused: 0,
            due_later: 0,
            queued: backlog.waiting().into(),
            companies_per_second: measured,
            results_refused: answers.iter().map(|status| status.results_refused).sum(),
        }
    }

    /// So many consumers that hold and score nothing.
    #[cfg(test)]
    pub(crate) fn example(consumers: u32) -> FleetStatus {
        FleetStatus::of(Backlog { normal: 0, express: 0, quarantined: 0, consumers }, &[])
    }

    /// With what the leader knows of the model's jobs: no more companies wait than have no outcome.
    pub(crate) fn with_work_left(self, left: &ScaleSignal) -> FleetStatus {
        FleetStatus { waiting: self.queued.min(left.unfinished), paused: left.paused, due_later: left.due_later, ..self }
    }

    /// Whether any consumer takes work.
    pub(crate) fn has_consumers(&self) -> bool {
        self.consumers > 0
    }

    /// Whether none of the consumers can score.
    pub(crate) fn all_are_broken(&self) -> bool {
        self.fault.is_some() && self.broken >= self.consumers
    }

    /// Why not all of the consumers score; `None` if they do.
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
        let FleetStatus { consumers, answered, held, paused, due_later, companies_per_second, results_refused, .. } = self;
        let waiting = HumanCount(self.waiting);
        let some = |count: u64, what: &str| if count > 0 { format!(", {what} {}", HumanCount(count)) } else { String::new() };
        let paused = some(*paused, "paused") + &some(*due_later, "due for another attempt later");
        let others = self.others_in_words();
        if *consumers == 0 && self.waiting == 0 {
            return format!("model {model}: no consumer, and none is needed now{paused}{others}");
        }
        if *consumers == 0 {
            return format!("model {model}: no consumer, waiting {waiting} until one is started{paused}{others}");
        }
        let (silent, held) = (consumers.saturating_sub(*answered), HumanCount(*held));
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
                HumanCount(*refused)
            ),
        };
        let fault = self.fault_in_words(model).map_or_else(String::new, |fault| format!("; {fault}"));
        format!("model {model}: consumers {consumers}, {held}, waiting {waiting}{paused}{speed}{others}{refused}{fault}")
    }

    /// What is in the queues beside the companies that wait. A company that was enqueued in the last second may not be counted yet.
    fn others_in_words(&self) -> String {
        match self.queued.saturating_sub(self.waiting) {
            0 => String::new(),
            others => format!(
                "; {} more in its queues: of paused jobs, or of ended ones, which consumers drop, or not yet counted",
                HumanCount(others)
            ),
        }
    }
}

/// Whether any consumer of `model` is subscribed to its queues, which must have been declared. `channel` must be used for nothing else.
pub(crate) async fn is_consumed(channel: &Channel, topology: &Topology, model: &Model) -> Result<bool, BrokerError> {
    // A broker that is too busy to count its consumers reports none.
    let is_counted = topology.backlog(channel, model).await?.consumers > 0;
    Ok(is_counted || !query_consumers(channel, topology, model, Some(1)).await?.is_empty())
}

/// How long to wait for the broker to say whether a model has consumers.
const CONSUMERS_KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// What to tell whoever enqueues work of a model that no consumer takes; `None` if one does, or if that is not known in time. Its queues must
/// have been declared.
pub(crate) async fn nobody_scores(model: &Model, broker: &BrokerAccess) -> Option<String> {
    let asked = async {
        let (session, topology) = (broker.session("rollcall producer: is anybody consuming").await?, broker.topology());
        let found = session.link().on_own_channel(async |channel| is_consumed(channel, &topology, model).await).await?;
        session.close().await;
        Ok::<_, BrokerError>(found)
    };
    let known = timeout(CONSUMERS_KNOWN_WITHIN, asked).await;
    if !matches!(known, Ok(Ok(_))) {
        tracing::debug!(?known, "whether anybody scores the job is not known in time");
    }
    matches!(known, Ok(Ok(false))).then(|| {
        format!(
            "no consumer takes work of model {model}: its companies wait until an autoscaler starts one, or you do, with `consumer --model {model} --scorer SCORER` or `consumer fleet --model {model} --scorer SCORER`"
        )
    })
}

/// The first 1,000 characters of a fault: a consumer may report a fault of any length.
pub(crate) fn shortened(fault: &str) -> String {
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
        assert_eq!(words(0, &[]), "model m: no consumer, waiting 1,001 until one is started");
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
    fn companies_of_paused_and_ended_jobs_do_not_count_as_waiting() {
        let backlog = Backlog { normal: 1_000, express: 1, quarantined: 0, consumers: 0 };
        let model: Model = "m".parse().unwrap();
        let words = |unfinished, paused| {
            let left = ScaleSignal { paused, ..ScaleSignal::new(model.clone(), unfinished, None) };
            FleetStatus::of(backlog, &[]).with_work_left(&left).in_words(&model)
        };
        assert_eq!(
            words(1, 400),
            "model m: no consumer, waiting 1 until one is started, paused 400; 1,000 more in its queues: of paused jobs, or of ended ones, which consumers drop, or not yet counted"
        );
        assert_eq!(words(0, 4).split(';').next(), Some("model m: no consumer, and none is needed now, paused 4"));
        assert_eq!(
            words(5_000, 0),
            "model m: no consumer, waiting 1,001 until one is started",
            "the rest is held, or waits for an attempt"
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
