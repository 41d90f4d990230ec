//! Dead letters: companies that the broker or a consumer has given up. Each becomes a failed result, so that its job can end, with the
//! cause that the broker tells: what an operator's policy does to a company is not taken for the death of its consumers.

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

/// Mostly there are few of them; a policy can make them many, and they are answered for together. Each may have sixteen megabytes.
const PREFETCH: u16 = 16;

/// What goes on is told of again after so long.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How an operator finds what a queue is told to do.
const POLICIES: &str = "`rabbitmqctl list_policies` and `rabbitmqctl list_operator_policies` show the policies, and `rabbitmqctl list_queues name policy` which of the former holds for each queue";

/// The subscriptions to the dead queues of every model that has a job under way.
pub(super) struct DeadLetters {
    subscriptions: Subscriptions<Model>,
    told: BTreeMap<(Model, &'static str), Told>,
}

/// What there is to tell of one model's dead letters of one cause.
#[derive(Default)]
struct Told {
    companies: u64,
    message: String,
    at: Option<Instant>,
}

/// A message from a dead queue.
pub(super) struct DeadLetter {
    model: Model,
    delivery: Delivery,
}

/// What becomes of a dead letter.
pub(super) struct Answer {
    /// What its failed result is counted by; [`Answer::DROPPED`] where there is none.
    pub(super) cause: &'static str,
    /// The failed result; nothing where nobody can tell which company it is.
    pub(super) result: Option<Message>,
    message: String,
}

impl DeadLetters {
    pub(super) fn new() -> DeadLetters {
        DeadLetters { subscriptions: Subscriptions::new(PREFETCH), told: BTreeMap::new() }
    }

    /// Subscribes to the dead queue of each model that has none yet.
    pub(super) async fn subscribe(
        &mut self,
        link: &BrokerConnection,
        topology: &Topology,
        models: impl Iterator<Item = &Model>,
    ) -> Result<(), BrokerError> {
        for model in models.filter(|model| !self.subscriptions.has(model)).cloned().collect::<Vec<_>>() {
            let declare = async |channel: &_| topology.declare_model(channel, &model).await;
            self.subscriptions.add(link, &model, &topology.dead_queue(&model), declare).await?;
        }
        Ok(())
    }

    /// Waits for the next ones. Safe to cancel.
    pub(super) async fn next(&mut self) -> Vec<DeadLetter> {
        let arrived = self.subscriptions.next(PREFETCH.into()).await;
        arrived.into_iter().map(|(model, delivery)| DeadLetter { model, delivery }).collect()
    }

    /// Notes what there is to tell.
    pub(super) fn note(&mut self, letter: &DeadLetter, answer: &Answer) {
        let told = self.told.entry((letter.model.clone(), answer.cause)).or_default();
        told.companies += 1;
        told.message.clone_from(&answer.message);
    }

    /// Tells of what has come since it was told last: of each model and cause now, and then from time to time.
    pub(super) fn tell(&mut self, now: Instant) {
        for ((model, cause), told) in &mut self.told {
            let is_due = told.at.is_none_or(|at| now.duration_since(at) >= TELL_EVERY);
            if told.companies > 0 && is_due {
                let (companies, message) = (told.companies, &told.message);
                tracing::warn!(event = "dead_letters", %model, cause, companies, "companies were given up; of the last: {message}");
                (told.companies, told.at) = (0, Some(now));
            }
        }
    }
}

impl DeadLetter {
    /// What becomes of it.
    pub(super) fn answer(&mut self, topology: &Topology) -> Answer {
        let deaths = deaths(&self.delivery.properties);
        match read_dead_letter(&self.delivery.properties, std::mem::take(&mut self.delivery.data)) {
            Ok((work, malformed)) => {
                let death = latest(&deaths, &work, &self.model, topology);
                let (cause, message) = match malformed {
                    Some(malformed) if death.is_none_or(|death| death.reason == DeathReason::Rejected) => {
                        ("malformed_work", format!("it cannot be scored: {malformed}"))
                    }
                    _ => cause(death, &work),
                };
                let result = failed(&work, &self.model, topology, cause, &message);
                Answer { cause, result, message }
            }
            Err(error) => Answer {
                cause: Answer::DROPPED,
                result: None,
                message: format!("it is no work message, and is dropped: {error}"),
            },
        }
    }

    /// Takes it out of the queue. Where that does not work, its channel is gone, and it comes again.
    pub(super) async fn acknowledge(&self) {
        if let Err(error) = self.delivery.ack(BasicAckOptions::default()).await {
            tracing::debug!(%error, "a dead letter is not acknowledged");
        }
    }
}

impl Answer {
    pub(super) const DROPPED: &str = "dropped";
}

/// Which queue made it a dead letter, and why. A queue of another kind that it has passed, such as that of its retry, did not.
fn latest<'d>(deaths: &'d [Death], work: &Work, model: &Model, topology: &Topology) -> Option<&'d Death> {
    let own = [
        topology.work_queue(model, Priority::Normal),
        topology.work_queue(model, Priority::High),
        topology.quarantine_queue(model),
        topology.paused_queue(&work.job),
    ];
    deaths.iter().find(|death| own.contains(&death.queue))
}

/// A cause to count by, and a line for people. What no queue has let go of, a consumer has put there.
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
    let result = ResultMessage { work, model, scored: &scored, scored_at: Timestamp::now(), duration_ms: 0.0 };
    tracing::debug!(job = %work.job, index = %work.index, cause, "a company was given up; it is failed");
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
        cause(latest(&deaths, &work, &model, &topology), &work).0
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
