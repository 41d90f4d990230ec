//! The event log: all events of the last time, in a stream that any gateway can read from any place. An event's offset in it is its id for
//! clients, so that one that lost its connection goes on behind the last event that it has, at whichever gateway.

pub(crate) mod tail;

use lapin::message::Delivery;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, StreamOffset, StreamReader, connect};
use rollcall_shared::message::{Job, Timestamp, is_marker, marker, new_marker_id, offset};
use rollcall_shared::topology::Topology;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::broker_session::BrokerAccess;

/// Events are looked for from so long before a job was opened by the clock of its producer, which may be behind the broker's.
const CLOCKS_DIFFER_BY_SECONDS: u64 = 300;

/// An event of the log.
#[derive(Debug, Clone)]
pub(crate) struct LoggedEvent {
    /// Its offset in the log.
    pub(crate) id: u64,
    /// The name of a job event, or the rest of the routing key of another one.
    pub(crate) name: String,
    /// The CloudEvents document.
    pub(crate) body: Vec<u8>,
}

impl LoggedEvent {
    /// The event's document; `None` if it is no JSON. Anybody with the right to publish may have made it.
    pub(crate) fn document(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Which events to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Those of a job.
    Job(Job),
    /// Those of gateways of this name.
    Gateway(&'static str),
}

impl Topic {
    /// The name of the event if it is of this topic.
    fn name<'a>(&self, routing_key: &'a str) -> Option<&'a str> {
        match self {
            Topic::Job(job) => routing_key.strip_prefix("job.")?.strip_prefix(job.as_str())?.strip_prefix('.'),
            Topic::Gateway(name) => routing_key.strip_prefix("gateway.").filter(|found| found == name),
        }
    }
}

/// Reads the event log, on a connection of its own.
pub(crate) struct EventLog {
    broker: BrokerArgs,
    connection: Mutex<Option<BrokerConnection>>,
}

impl EventLog {
    pub(crate) fn new(broker: &BrokerArgs) -> EventLog {
        EventLog { broker: broker.clone(), connection: Mutex::new(None) }
    }

    /// Follows a topic from `from` on.
    ///
    /// # Errors
    /// If the broker cannot be reached or refuses.
    pub(crate) async fn follow(&self, topic: Topic, from: StreamOffset) -> Result<EventFollower, BrokerError> {
        let connection = self.connection().await?;
        let reader = StreamReader::open_at(&connection, self.topology().event_log(), from).await?;
        let at_least = if let StreamOffset::At(offset) = from { offset } else { 0 };
        Ok(EventFollower { reader: Some(reader), topic, at_least })
    }

    /// The events of a topic up to now, of which the log has those of the last time.
    ///
    /// # Errors
    /// If the broker cannot be reached or refuses.
    pub(crate) async fn history(
        &self,
        topic: Topic,
        from: StreamOffset,
        broker: &BrokerAccess,
    ) -> Result<Vec<LoggedEvent>, BrokerError> {
        Ok(self.history_then_follow(topic, from, broker).await?.0)
    }

    /// The same, and those that come behind them.
    ///
    /// # Errors
    /// As [`EventLog::history`].
    pub(crate) async fn history_then_follow(
        &self,
        topic: Topic,
        from: StreamOffset,
        broker: &BrokerAccess,
    ) -> Result<(Vec<LoggedEvent>, EventFollower), BrokerError> {
        // Before the marker is published: where the broker's clock is behind, it begins at the end.
        let mut follower = self.follow(topic, from).await?;
        let id = new_marker_id();
        let session = broker.session("rollcall gateway: events up to now").await?;
        let mut publisher = rollcall_shared::broker::Publisher::on(session.link(), session.channel().await?).await?;
        publisher.publish_now((), marker(&id, self.topology().event_log())).await?;
        session.close().await;
        let mut events = Vec::new();
        follower.until_marker(&id, |event| events.push(event)).await?;
        Ok((events, follower))
    }

    async fn connection(&self) -> Result<BrokerConnection, BrokerError> {
        let mut connection = self.connection.lock().await;
        match &*connection {
            Some(open) if open.is_connected() => Ok(open.clone()),
            _ => Ok(connection.insert(connect(&self.broker, "rollcall gateway: events").await?).clone()),
        }
    }

    fn topology(&self) -> Topology {
        self.broker.topology()
    }
}

/// Where the events of a job that was opened then begin.
pub(crate) fn since(opened_at: Option<Timestamp>) -> StreamOffset {
    match opened_at.and_then(|at| Timestamp::UNIX_EPOCH.until(at)) {
        Some(since) => StreamOffset::Since(since.as_secs().saturating_sub(CLOCKS_DIFFER_BY_SECONDS)),
        None => StreamOffset::At(0),
    }
}

/// The events of one topic as they come. Its channel is closed when it is dropped.
pub(crate) struct EventFollower {
    /// `None` once it is dropped.
    reader: Option<StreamReader>,
    topic: Topic,
    at_least: u64,
}

impl EventFollower {
    /// The next event. Cancel-safe.
    ///
    /// # Errors
    /// If the connection is lost.
    pub(crate) async fn next(&mut self) -> Result<LoggedEvent, BrokerError> {
        let Some(reader) = &mut self.reader else { return std::future::pending().await };
        loop {
            reader.ask_for_more().await?;
            let delivery = reader.next().await?;
            if let Some(event) = read(&self.topic, self.at_least, delivery) {
                return Ok(event);
            }
        }
    }

    async fn until_marker(&mut self, id: &str, mut apply: impl FnMut(LoggedEvent)) -> Result<(), BrokerError> {
        let (topic, at_least) = (&self.topic, self.at_least);
        let Some(reader) = &mut self.reader else { return Ok(()) };
        reader
            .until_marker(id, |batch| {
                batch.into_iter().filter_map(|delivery| read(topic, at_least, delivery)).for_each(&mut apply);
            })
            .await
    }
}

/// The event in a record, if it is of this topic.
fn read(topic: &Topic, at_least: u64, delivery: Delivery) -> Option<LoggedEvent> {
    let id = offset(&delivery.properties).filter(|&id| id >= at_least)?;
    if is_marker(&delivery.properties) {
        return None;
    }
    let name = topic.name(delivery.routing_key.as_str())?.to_owned();
    Some(LoggedEvent { id, name, body: delivery.data })
}

impl Drop for EventFollower {
    fn drop(&mut self) {
        if let (Some(reader), Ok(runtime)) = (self.reader.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { reader.close().await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_belongs_to_the_job_of_its_whole_name() {
        let job = Topic::Job("a-1".parse().unwrap());
        assert_eq!(job.name("job.a-1.done"), Some("done"));
        assert_eq!(job.name("job.a-12.done"), None);
        assert_eq!(job.name("gateway.refused"), None);
        let refused = Topic::Gateway("refused");
        assert_eq!(refused.name("gateway.refused"), Some("refused"));
        assert_eq!((refused.name("gateway.tick_skipped"), refused.name("job.gateway.refused")), (None, None));
    }
}
