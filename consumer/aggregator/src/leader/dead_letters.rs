//! Dead letters: companies that the broker or a consumer has given up. Each becomes a failed result, so that its job can end. Its cause
//! follows from what the broker says: if an operator's policy removed the company from a queue, no consumer crashed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use rollcall_shared::broker::{BrokerConnection, BrokerError};
use rollcall_shared::message::{
    Death, DeathReason, Message, Model, Priority, ResultMessage, ScoredCompany, Timestamp, Work, deaths, read_dead_letter,
};
use rollcall_shared::topology::Topology;

use super::subscriptions::Subscriptions;

/// Usually they are few. A policy can make them many, and then their results are published together. Each may be 16 MB.
const PREFETCH: u16 = 16;

/// Dead letters of one model and cause are logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// How an operator finds the policies of a queue.
const POLICIES: &str = "`rabbitmqctl list_policies` and `rabbitmqctl list_operator_policies` show the policies, and `rabbitmqctl list_queues name policy` which of the former holds for each queue";

/// The subscriptions to the dead-letter queues of every model that has an unfinished job.
pub(super) struct DeadLetters {
    subscriptions: Subscriptions<Model>,
    unlogged: BTreeMap<(Model, &'static str), Unlogged>,
}

/// Dead letters of one model and cause that were not logged yet.
#[derive(Default)]
struct Unlogged {
    companies: u64,
    /// Of the last one.
    message: String,
    logged_at: Option<Instant>,
}

/// A message from a dead-letter queue.
pub(super) struct DeadLetter {
    model: Model,
    delivery: Delivery,
}

/// What a dead letter becomes.
pub(super) struct Failure {
    /// The cause of its failed result; [`Failure::DROPPED`] if there is none.
    pub(super) cause: &'static str,
    /// The failed result; `None` if the message does not say which company it is.
    pub(super) result: Option<Message>,
    message: String,
}

impl DeadLetters {
    pub(super) fn new() -> DeadLetters {
        DeadLetters { subscriptions: Subscriptions::new(PREFETCH), unlogged: BTreeMap::new() }
    }

    /// Subscribes to the dead-letter queue of each model that has no subscription yet.
    pub(super) async fn subscribe(
        &mut self,
        connection: &BrokerConnection,
        topology: &Topology,
        models: impl Iterator<Item = &Model>,
    ) -> Result<(), BrokerError> {
        for model in models.filter(|model| !self.subscriptions.has(model)).cloned().collect::<Vec<_>>() {
            let declare = async |channel: &_| topology.declare_model(channel, &model).await;
            self.subscriptions.add(connection, &model, &topology.dead_queue(&model), declare).await?;
        }
        Ok(())
    }

    /// Waits for dead letters. Cancel-safe.
    pub(super) async fn next(&mut self) -> Vec<DeadLetter> {
        let arrived = self.subscriptions.next(PREFETCH.into()).await;
        arrived.into_iter().map(|(model, delivery)| DeadLetter { model, delivery }).collect()
    }

    /// Notes a dead letter for the log.
    pub(super) fn note(&mut self, letter: &DeadLetter, failure: &Failure) {
        let unlogged = self.unlogged.entry((letter.model.clone(), failure.cause)).or_default();
        unlogged.companies += 1;
        unlogged.message.clone_from(&failure.message);
    }

    /// Logs the dead letters since the last log line of their model and cause, if that was long enough ago.
    pub(super) fn log(&mut self, now: Instant) {
        for ((model, cause), unlogged) in &mut self.unlogged {
            let is_due = unlogged.logged_at.is_none_or(|logged_at| now.duration_since(logged_at) >= LOG_EVERY);
            if unlogged.companies > 0 && is_due {
                let (companies, message) = (unlogged.companies, &unlogged.message);
                tracing::warn!(event = "dead_letters", %model, cause, companies, "companies were given up; the last one: {message}");
                (unlogged.companies, unlogged.logged_at) = (0, Some(now));
            }
        }
    }
}

impl DeadLetter {
    /// What it becomes. Takes its body, and so must be called once.
    pub(super) fn failure(&mut self, topology: &Topology) -> Failure {
        let deaths = deaths(&self.delivery.properties);
        match read_dead_letter(&self.delivery.properties, std::mem::take(&mut self.delivery.data)) {
            Ok((work, malformed)) => {
                let death = last_death(&deaths, &work, &self.model, topology);
                let (cause, message) = match malformed {
                    Some(malformed) if death.is_none_or(|death| death.reason == DeathReason::Rejected) => {
                        ("malformed_work", format!("it cannot be scored: {malformed}"))
                    }
                    _ => cause(death, &work),
                };
                let result = failed(&work, &self.model, topology, cause, &message);
                Failure { cause, result, message }
            }
            Err(error) => Failure {
                cause: Failure::DROPPED,
                result: None,
                message: format!("it is not a work message, and is dropped: {error}"),
            },
        }
    }

    /// Removes it from the queue. If that fails, its channel is closed, and it is delivered again.
    pub(super) async fn acknowledge(&self) {
        if let Err(error) = self.delivery.ack(BasicAckOptions::default()).await {
            tracing::debug!(%error, "cannot acknowledge a dead letter; it is delivered again");
        }
    }
}

impl Failure {
    pub(super) const DROPPED: &str = "dropped";
}

/// The last queue of work or of paused companies that it left as a dead letter, and why. It may also have left others, such as a retry
/// queue, which only passed it on.
fn last_death<'d>(deaths: &'d [Death], work: &Work, model: &Model, topology: &Topology) -> Option<&'d Death> {
    let own = [
        topology.work_queue(model, Priority::Normal),
        topology.work_queue(model, Priority::High),
        topology.quarantine_queue(model),
        topology.paused_queue(&work.job),
    ];
    deaths.iter().find(|death| own.contains(&death.queue))
}

/// The cause, and a message for people. If no queue gave it up, a consumer did.
fn cause(death: Option<&Death>, work: &Work) -> (&'static str, String) {
    let Some(Death { queue, reason }) = death else { return crashed() };
    let redrive = |cause: &str| format!("once that is mended, `producer redrive {} --cause {cause}` enqueues it again", work.job);
    match reason {
        DeathReason::Rejected => crashed(),
        DeathReason::Expired => {
            let cause = "expired_in_queue";
            let what = format!("it expired in queue {queue}, where it waited: a policy limits how long messages live there");
            (cause, format!("{what}; {POLICIES}; {}", redrive(cause)))
        }
        DeathReason::MaxLength => {
            let cause = "queue_full";
            let what = format!("queue {queue} was full and let go of it: a policy limits how long the queue may be");
            (cause, format!("{what}; {POLICIES}; {}", redrive(cause)))
        }
        DeathReason::DeliveryLimit => {
            let cause = "delivery_limit";
            let what = format!(
                "queue {queue} gave it up after as many deliveries as it allows, 20 unless a policy says fewer: consumers were killed or died while they held it"
            );
            (cause, format!("{what}; {POLICIES}; {}", redrive(cause)))
        }
    }
}

fn crashed() -> (&'static str, String) {
    let message = "it was delivered too often without an answer: consumers died of it, or while they held it; look at its record and at their logs";
    ("consumer_crashed", message.to_owned())
}

fn failed(work: &Work, model: &Model, topology: &Topology, cause: &str, message: &str) -> Option<Message> {
    let scored = ScoredCompany::Error { cause: cause.to_owned(), message: message.to_owned() };
    let result = ResultMessage { work, model, scored: &scored, scored_at: Timestamp::now(), duration: None };
    tracing::debug!(job = %work.job, index = %work.index, cause, "a company was given up; publishing a failed result");
    Some(Message {
        exchange: topology.results(),
        routing_key: result.routing_key(),
        properties: result.properties(),
        body: result.body().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use rollcall_shared::message::{Index, Priority};

    use super::*;

    fn latest_of(deaths: &[(&str, DeathReason)]) -> &'static str {
        let (topology, model) = (Topology::new("p"), "m".parse().unwrap());
        let deaths: Vec<Death> = deaths.iter().map(|&(queue, reason)| Death { queue: queue.to_owned(), reason }).collect();
        let work = Work {
            job: "j".parse().unwrap(),
            index: Index(0),
            company_id: String::new(),
            attempt: 1,
            round: 0,
            opening: None,
            priority: Priority::Normal,
            deliveries: 0,
            deliveries_alone: 0,
            retry: None,
            traceparent: String::new(),
            record: Vec::new(),
        };
        cause(last_death(&deaths, &work, &model, &topology), &work).0
    }

    #[test]
    fn the_cause_is_what_the_latest_queue_of_work_says_and_no_queue_that_merely_passed_it_on() {
        use DeathReason::{DeliveryLimit, Expired, MaxLength, Rejected};
        assert_eq!(latest_of(&[("p.work.m", Expired)]), "expired_in_queue");
        assert_eq!(latest_of(&[("p.work.m.express", MaxLength)]), "queue_full");
        assert_eq!(latest_of(&[("p.quarantine.m", DeliveryLimit), ("p.work.m", Expired)]), "delivery_limit");
        assert_eq!(latest_of(&[("p.paused.j", Expired)]), "expired_in_queue");
        assert_eq!(latest_of(&[("p.work.m", Rejected), ("p.retry.m.1s", Expired)]), "consumer_crashed");
        assert_eq!(latest_of(&[("p.retry.m.1s", Expired)]), "consumer_crashed", "a retry is no reason");
        assert_eq!(latest_of(&[("q.work.m", Expired), ("p.paused.k", Expired)]), "consumer_crashed", "another's queues");
        assert_eq!(latest_of(&[]), "consumer_crashed");
    }
}
