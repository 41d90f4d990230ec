//! Whether the ledger is the one that the checkpoint is of: somebody may have deleted it, and the next process declared it anew.

use std::time::Duration;

use rollcall_shared::broker::{BrokerConnection, BrokerError, StreamOffset};
use rollcall_shared::message::Job;
use rollcall_shared::topology::Topology;

use super::Tally;
use super::records::{Read, last_offset, next_of, subscribe};
use crate::ledger::Ledger;

/// How long the broker has to find a record that is there.
const FOUND_WITHIN: Duration = Duration::from_secs(30);

/// Whether the ledger is the one in which a record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    /// The record is there.
    Yes,
    /// Another is in its place, or none.
    No,
    /// Retention has dropped what was in its place.
    Unknown,
}

impl Tally<'_> {
    /// A ledger that ends before the checkpoint, or has another record where the last one was read, is another ledger: it is
    /// counted from its beginning.
    pub(super) async fn start_over_if_replaced(&mut self) -> Result<(), BrokerError> {
        // Where a marker has just been put, the last records come after every checkpoint.
        let end = last_offset(&self.reading.channel().await?, &self.topology).await?;
        let checkpoint = self.ledger.next_offset();
        let found = match self.ledger.last_record() {
            _ if end < checkpoint => Same::No,
            Some(identity) if checkpoint > 0 => has_record(self.reading, &self.topology, checkpoint - 1, identity).await?,
            _ => Same::Yes,
        };
        match found {
            Same::Yes => return Ok(()),
            Same::Unknown => {
                tracing::warn!(
                    checkpoint,
                    "expected the ledger's record before the checkpoint, found that retention has dropped it; whether the ledger was replaced cannot be told, and it is taken to be the same"
                );
                return Ok(());
            }
            Same::No => {}
        }
        tracing::error!(
            event = "ledger_replaced",
            ledger_end = end,
            checkpoint,
            "expected the ledger that the checkpoint is of, found another: it was deleted and declared anew; counting it from its beginning"
        );
        let told: Vec<Job> = self.ledger.jobs().filter(|(_, count)| count.had_orders()).map(|(job, _)| job.clone()).collect();
        self.orders.lift(&mut self.publisher, &told).await?;
        self.ledger = Ledger::default();
        self.checkpoint().await
    }
}

/// Whether the ledger has the record of that `identity` at `offset`; its end must be beyond that.
async fn has_record(link: &BrokerConnection, topology: &Topology, offset: u64, identity: u64) -> Result<Same, BrokerError> {
    let at = first_from(link, topology, offset).await?;
    if at.offset == offset {
        return Ok(if at.identity == identity { Same::Yes } else { Same::No });
    }
    let first = first_from(link, topology, 0).await?;
    Ok(if first.offset > offset { Same::Unknown } else { Same::No })
}

/// The first record at `offset` or after it. The broker may begin somewhat before.
async fn first_from(link: &BrokerConnection, topology: &Topology, offset: u64) -> Result<Read, BrokerError> {
    let channel = link.channel().await?;
    let mut records = subscribe(&channel, topology, StreamOffset::At(offset)).await?;
    let found = loop {
        let read = tokio::time::timeout(FOUND_WITHIN, next_of(&mut records)).await;
        let late =
            |_| BrokerError::Lost(format!("expected the ledger's record at offset {offset}, found none for {FOUND_WITHIN:?}"));
        let read = read.map_err(late)??;
        if read.offset >= offset {
            break read;
        }
        records.acknowledge_up_to(read.tag).await?;
    };
    channel.close(200, "".into()).await?;
    Ok(found)
}
