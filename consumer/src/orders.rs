//! Listens to the orders about jobs: what was said before this consumer began, and what is said from then on.

use lapin::message::Delivery;
use rollcall_shared::broker::{BrokerConnection, BrokerError, Publisher, StreamReader};
use rollcall_shared::message::{ControlMessage, Job, is_marker, marker, new_marker_id, read_json};
use rollcall_shared::topology::Topology;

use crate::admit::Standing;

/// The subscription to the control log.
pub(crate) struct OrderLog(StreamReader);

impl OrderLog {
    /// Says `first` to every consumer, subscribes, and reads what was said up to now.
    pub(crate) async fn open(
        link: &BrokerConnection,
        topology: &Topology,
        first: &[ControlMessage],
    ) -> Result<(OrderLog, Standing), BrokerError> {
        let id = new_marker_id();
        let marker = marker(&id, topology.control_log());
        link.on_own_channel(async |channel| {
            let mut publisher = Publisher::on(link, channel.clone()).await?;
            for control in first {
                publisher.publish(vec![((), control.message(topology.control())?)]).await?;
            }
            publisher.publish_now((), marker).await
        })
        .await?;
        let mut log = StreamReader::open(link, topology.control_log(), 0).await?;
        let mut standing = Standing::default();
        log.until_marker(&id, |said| drop(take_in(said, &mut standing))).await?;
        log.acknowledge().await?;
        Ok((OrderLog(log), standing))
    }

    /// Waits for the next message. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Delivery, BrokerError> {
        self.0.next().await
    }

    /// Takes in a message, and says which job it was an order about.
    pub(crate) async fn take_in(&mut self, said: &Delivery, standing: &mut Standing) -> Result<Option<Job>, BrokerError> {
        let job = take_in(said, standing);
        self.0.acknowledge().await?;
        Ok(job)
    }
}

fn take_in(said: &Delivery, standing: &mut Standing) -> Option<Job> {
    if is_marker(&said.properties) {
        return None;
    }
    match read_json::<ControlMessage>(&said.data) {
        Ok(control) => {
            let job = control.job.clone();
            standing.hear(control);
            Some(job)
        }
        Err(error) => {
            tracing::warn!(%error, "a message on the control exchange is no order; it is ignored");
            None
        }
    }
}
