//! Reads the control log: the control messages up to now, and each one that follows.

use lapin::message::Delivery;
use rollcall_shared::broker::{BrokerConnection, BrokerError, Publisher, StreamReader};
use rollcall_shared::message::{ControlMessage, Job, is_marker, marker, new_marker_id, read_json};
use rollcall_shared::topology::Topology;

use super::job_directives::JobDirectives;

/// The subscription to the control log.
pub(crate) struct ControlLog(StreamReader);

impl ControlLog {
    /// Sends `first` to every consumer, subscribes, and reads the log up to now.
    pub(crate) async fn open(
        connection: &BrokerConnection,
        topology: &Topology,
        first: &[ControlMessage],
    ) -> Result<(ControlLog, JobDirectives), BrokerError> {
        let id = new_marker_id();
        let marker = marker(&id, topology.control_log());
        connection
            .on_own_channel(async |channel| {
                let mut publisher = Publisher::on(connection, channel.clone()).await?;
                for control in first {
                    publisher.publish(vec![((), control.message(topology.control()).map_err(BrokerError::NotJson)?)]).await?;
                }
                publisher.publish_now((), marker).await
            })
            .await?;
        let mut log = StreamReader::open(connection, topology.control_log(), 0).await?;
        let mut directives = JobDirectives::default();
        let apply = |messages: Vec<Delivery>| {
            for message in &messages {
                apply_message(message, &mut directives);
            }
        };
        log.until_marker(&id, apply).await?;
        log.acknowledge().await?;
        Ok((ControlLog(log), directives))
    }

    /// Waits for the next message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Delivery, BrokerError> {
        self.0.next().await
    }

    /// Applies a message to the directives, and lets the broker send more. Returns the job that it is about; `None` for a marker or a
    /// malformed message.
    pub(crate) async fn apply(
        &mut self,
        delivery: &Delivery,
        directives: &mut JobDirectives,
    ) -> Result<Option<Job>, BrokerError> {
        let job = apply_message(delivery, directives);
        self.0.ask_for_more().await?;
        self.0.acknowledge().await?;
        Ok(job)
    }
}

/// Returns the job that the message is about; `None` for a marker or a malformed message.
fn apply_message(delivery: &Delivery, directives: &mut JobDirectives) -> Option<Job> {
    if is_marker(&delivery.properties) {
        return None;
    }
    match read_json::<ControlMessage>(&delivery.data) {
        Ok(control) => {
            let job = control.job.clone();
            directives.apply(control);
            Some(job)
        }
        Err(error) => {
            tracing::warn!(event = "malformed_control", %error, "malformed control message; ignored");
            None
        }
    }
}
