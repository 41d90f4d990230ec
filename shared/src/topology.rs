//! The exchanges and queues: their names; `declare` has how each is declared, and `backlog` what waits in those of a model.

pub mod backlog;
mod declare;

use std::time::Duration;

use uuid::Uuid;

use crate::message::{Job, Model, Priority, delay_word};

/// Deliveries of one company before its queue moves it to the dead queue. Consumers count too, and by default give it up earlier. Set
/// explicitly since the defaults differ: RabbitMQ 4.x drops the message after 20 deliveries, 3.10 never does.
pub const DELIVERY_LIMIT: u16 = 20;

/// A company that is about to be given up waits so long in a retry queue, and is then triaged once more: longer than a living consumer is
/// disconnected (its longest pause between two attempts to connect is ten seconds), so that its report of a lost connection comes first.
pub const RECHECK_AFTER: Duration = Duration::from_secs(12);

/// The names of one fleet on the broker. Several fleets with different prefixes can share a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    prefix: String,
}

impl Topology {
    /// The names that begin with `prefix`.
    pub fn new(prefix: &str) -> Topology {
        Topology { prefix: prefix.to_owned() }
    }

    /// Direct exchange: work, routed by model.
    pub fn work(&self) -> String {
        format!("{}.work", self.prefix)
    }

    /// Quorum queue: a model's companies of that priority that wait.
    pub fn work_queue(&self, model: &Model, priority: Priority) -> String {
        format!("{}.work.{}", self.prefix, Topology::work_key(model, priority))
    }

    /// The routing key to the queue of a model's companies of that priority.
    pub fn work_key(model: &Model, priority: Priority) -> String {
        match priority {
            Priority::Normal => model.to_string(),
            Priority::High => format!("{model}.express"),
        }
    }

    /// Quorum queue: a model's companies whose consumers died twice, to be scored one at a time.
    pub fn quarantine_queue(&self, model: &Model) -> String {
        format!("{}.quarantine.{model}", self.prefix)
    }

    /// Quorum queue, one fixed TTL: a model's companies of that priority waiting for their next attempt.
    pub fn retry_queue(&self, model: &Model, priority: Priority, delay: Duration) -> String {
        format!("{}.retry.{}.{}", self.prefix, Topology::work_key(model, priority), delay_word(delay))
    }

    /// Quorum queue: the companies of a paused job.
    pub fn paused_queue(&self, job: &Job) -> String {
        format!("{}.paused.{job}", self.prefix)
    }

    /// Fanout exchange: control messages to every consumer.
    pub fn control(&self) -> String {
        format!("{}.control", self.prefix)
    }

    /// Stream: the control messages so far, for consumers that start later.
    pub fn control_log(&self) -> String {
        format!("{}.control.log", self.prefix)
    }

    /// Direct exchange: requests for the status of every consumer of a model; the routing key is the model.
    pub fn consumers(&self) -> String {
        format!("{}.consumers", self.prefix)
    }

    /// The routing key on [`Topology::consumers`] with which a consumer of `model` publishes why it ends.
    pub fn consumer_faults_key(model: &Model) -> String {
        format!("{model}.fault")
    }

    /// Quorum queue: a model's dead letters.
    pub fn dead_queue(&self, model: &Model) -> String {
        format!("{}.dead.{model}", self.prefix)
    }

    /// Topic exchange: results, `<model>.<job>.<outcome>`.
    pub fn results(&self) -> String {
        format!("{}.results", self.prefix)
    }

    /// Topic exchange: job events, `job.<job>.<name>`.
    pub fn events(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// Stream: every result and every recorded job event, in one order.
    pub fn ledger(&self) -> String {
        format!("{}.ledger", self.prefix)
    }

    /// Quorum queue with a single active consumer: the checkpoint, whose consumer is the leader.
    pub fn checkpoint(&self) -> String {
        format!("{}.checkpoint", self.prefix)
    }

    /// Quorum queue: queries to the leader.
    pub fn queries(&self) -> String {
        format!("{}.queries", self.prefix)
    }

    /// Stream: all events of the last time, `progress` and those of gateways too, for whoever follows a job through a gateway.
    pub fn event_log(&self) -> String {
        format!("{}.events.log", self.prefix)
    }

    /// Quorum queue with a single active consumer: a token, whose consumer is the gateway that leads.
    pub fn gateway_leader(&self) -> String {
        format!("{}.gateway.leader", self.prefix)
    }

    /// Quorum queue with a single active consumer: notifications of uploads to object storage.
    pub fn notifications(&self) -> String {
        format!("{}.gateway.notifications", self.prefix)
    }

    /// Quorum queue: done events of jobs whose results are to be written.
    pub fn exports(&self) -> String {
        format!("{}.gateway.exports", self.prefix)
    }

    /// Quorum queue: done events that are to be sent to the webhook of that name.
    pub fn webhook(&self, name: &str) -> String {
        format!("{}.gateway.webhook.{name}", self.prefix)
    }

    /// Quorum queue: messages of which a gateway can make nothing, or that it has given up.
    pub fn gateway_dead(&self) -> String {
        format!("{}.gateway.dead", self.prefix)
    }

    /// Exclusive queue of the gateway with this id: it is there as long as the gateway is connected.
    pub fn gateway_presence(&self, id: Uuid) -> String {
        format!("{}.gateway.presence.{id}", self.prefix)
    }
}
