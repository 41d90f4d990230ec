//! How the consumers of a model stand: each is asked, and what waits is read from the queues.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use rollcall_shared::broker::{BrokerError, Link, publish_unconfirmed};
use rollcall_shared::message::{ConsumerStatus, Message, Model, read_json};
use rollcall_shared::topology::{Backlog, Topology};
use serde::Serialize;

use crate::status::thousands;

/// A consumer that has not answered by then is stopped, cut off, or has no time.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

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
    /// What all that have answered score in a second when none of their threads waits; `None` where none has scored a company yet.
    companies_per_second: Option<f64>,
}

impl FleetStatus {
    /// Asks all consumers of `model`.
    pub(crate) async fn ask(link: &Link, topology: &Topology, model: &Model) -> Result<FleetStatus, BrokerError> {
        let channel = link.channel().await?;
        topology.declare(&channel).await?;
        topology.declare_model(&channel, model).await?;
        let backlog = topology.backlog(&channel, model).await?;
        let answers = answers(&channel, topology, model, backlog.consumers).await?;
        Ok(FleetStatus::of(backlog, &answers))
    }

    fn of(backlog: Backlog, answers: &[ConsumerStatus]) -> FleetStatus {
        let answered = u32::try_from(answers.len()).unwrap_or(u32::MAX);
        let measured = answers.iter().filter_map(ConsumerStatus::companies_per_second).reduce(|sum, rate| sum + rate);
        FleetStatus {
            // One that has just started may answer before it is counted, and one that is leaving is no longer counted.
            consumers: backlog.consumers.max(answered),
            answered,
            held: answers.iter().map(|status| status.held).sum(),
            waiting: backlog.waiting(),
            companies_per_second: measured,
        }
    }

    /// One line for people.
    pub(crate) fn in_words(&self, model: &Model) -> String {
        let FleetStatus { consumers, answered, held, waiting, companies_per_second } = self;
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
        format!("model {model}: consumers {consumers}, {held}, waiting {waiting}{speed}")
    }
}

/// What the consumers say of themselves, until as many have answered as there are, or it takes too long.
async fn answers(
    channel: &Channel,
    topology: &Topology,
    model: &Model,
    consumers: u32,
) -> Result<Vec<ConsumerStatus>, BrokerError> {
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut replies = channel.basic_consume("amq.rabbitmq.reply-to".into(), "".into(), options, FieldTable::default()).await?;
    let properties = BasicProperties::default().with_reply_to("amq.rabbitmq.reply-to".into());
    let request = Message { exchange: topology.consumers(), routing_key: model.to_string(), properties, body: b"{}".to_vec() };
    publish_unconfirmed(channel, request).await?;
    let (mut answers, consumers) = (Vec::new(), usize::try_from(consumers).unwrap_or(usize::MAX));
    let all = async {
        // A broker that is too busy to count its consumers says that there is none.
        while answers.len() < consumers.max(1) {
            let reply = replies.next().await;
            let reply = reply.ok_or_else(|| BrokerError::Lost("the broker cancelled the consumer of answers".to_owned()))??;
            match read_json(&reply.data) {
                Ok(status) => answers.push(status),
                Err(error) => tracing::debug!(error, "an answer that is none of ours"),
            }
        }
        Ok(())
    };
    tokio::time::timeout(ANSWER_WITHIN, all).await.unwrap_or(Ok(())).map(|()| answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(consumers: u32, answers: &[ConsumerStatus]) -> String {
        let backlog = Backlog { normal: 1_000, express: 1, suspects: 0, consumers };
        FleetStatus::of(backlog, answers).in_words(&"m".parse().unwrap())
    }

    #[test]
    fn a_line_says_who_holds_what_and_who_does_not_answer() {
        assert_eq!(words(0, &[]), "model m: no consumer; 1,001 companies wait until one is started");
        let status = |seconds_per_company| ConsumerStatus { threads: 2, held: 8, hold_target: 8, seconds_per_company };
        assert_eq!(words(1, &[status(None)]), "model m: consumers 1, held 8, waiting 1,001");
        assert_eq!(
            words(3, &[status(Some(0.5)), status(Some(0.25))]),
            "model m: consumers 3, held 16 (not counting 1 without an answer), waiting 1,001; 12.0 companies/s when all threads are busy"
        );
    }
}
