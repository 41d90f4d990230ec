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
                    publisher.publish(vec![((), control.message(topology.control())?)]).await?;
                }
                publisher.publish_now((), marker).await
            })
            .await?;
        let mut log = StreamReader::open(connection, topology.control_log(), 0).await?;
        let mut directives = JobDirectives::default();
        log.until_marker(&id, |delivery| drop(apply(delivery, &mut directives))).await?;
        log.acknowledge().await?;
        Ok((ControlLog(log), directives))
    }

    /// Waits for the next message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Delivery, BrokerError> {
        self.0.next().await
    }

    /// Applies a message to the directives, and returns the job that it is about; `None` for a marker or a malformed message.
    pub(crate) async fn apply(
        &mut self,
        delivery: &Delivery,
        directives: &mut JobDirectives,
    ) -> Result<Option<Job>, BrokerError> {
        let job = apply(delivery, directives);
        self.0.acknowledge().await?;
        Ok(job)
    }
}

fn apply(delivery: &Delivery, directives: &mut JobDirectives) -> Option<Job> {
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
