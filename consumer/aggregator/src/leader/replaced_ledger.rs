//! Checks that the ledger is the one that the checkpoint was made from: it may have been deleted, and the next process declared a new
//! one.

use std::time::Duration;

use rollcall_shared::broker::{BrokerConnection, BrokerError, StreamOffset};
use rollcall_shared::message::Job;
use rollcall_shared::topology::Topology;

use super::Leader;
use super::records::{LedgerRecord, last_offset, next_record, subscribe};
use crate::jobs::Jobs;

/// How long the broker has to deliver a record that is there.
const FOUND_WITHIN: Duration = Duration::from_secs(30);

/// Whether the ledger is the one in which a record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SameLedger {
    /// The record is there.
    Yes,
    /// Another record is at its offset, or none.
    No,
    /// Retention has dropped the record at its offset.
    Unknown,
}

impl Leader<'_> {
    /// Counts the ledger from its beginning if it is another one than that of the checkpoint: if it ends before the checkpoint, or has another
    /// record where the last one was read. A marker must have been put into the ledger, so that its end is behind every checkpoint of it.
    pub(super) async fn start_over_if_ledger_was_replaced(&mut self) -> Result<(), BrokerError> {
        let end = last_offset(&self.reading.channel().await?, &self.topology).await?;
        let checkpoint = self.jobs.next_offset();
        let same = match self.jobs.last_record() {
            _ if end < checkpoint => SameLedger::No,
            Some(identity) if checkpoint > 0 => has_record(self.reading, &self.topology, checkpoint - 1, identity).await?,
            _ => SameLedger::Yes,
        };
        match same {
            SameLedger::Yes => return Ok(()),
            SameLedger::Unknown => {
                tracing::warn!(
                    event = "ledger_not_recognized",
                    checkpoint,
                    "expected the ledger's record before the checkpoint, found that retention has dropped it; the ledger is taken to be the one of the checkpoint"
                );
                return Ok(());
            }
            SameLedger::No => {}
        }
        tracing::error!(
            event = "ledger_replaced",
            ledger_end = end,
            checkpoint,
            "expected the ledger of the checkpoint, found another: it was deleted and declared anew; counting it from its beginning"
        );
        let controlled = self.jobs.all().filter(|(_, state)| state.had_control_messages());
        let controlled: Vec<Job> = controlled.map(|(job, _)| job.clone()).collect();
        self.control_messages.withdraw(&mut self.publisher, &controlled).await?;
        self.jobs = Jobs::default();
        self.save_checkpoint().await
    }
}

/// Whether the ledger has the record of this `identity` at `offset`, which must be before its end.
async fn has_record(
    connection: &BrokerConnection,
    topology: &Topology,
    offset: u64,
    identity: u64,
) -> Result<SameLedger, BrokerError> {
    let at = first_from(connection, topology, offset).await?;
    if at.offset == offset {
        return Ok(if at.identity == identity { SameLedger::Yes } else { SameLedger::No });
    }
    let first = first_from(connection, topology, 0).await?;
    Ok(if first.offset > offset { SameLedger::Unknown } else { SameLedger::No })
}

/// The first record at `offset` or after it: the broker may begin somewhat before.
async fn first_from(connection: &BrokerConnection, topology: &Topology, offset: u64) -> Result<LedgerRecord, BrokerError> {
    let channel = connection.channel().await?;
    let mut records = subscribe(&channel, topology, StreamOffset::At(offset)).await?;
    let found = loop {
        let record = tokio::time::timeout(FOUND_WITHIN, next_record(&mut records)).await;
        let late =
            |_| BrokerError::Lost(format!("expected the ledger's record at offset {offset}, found none for {FOUND_WITHIN:?}"));
        let record = record.map_err(late)??;
        if record.offset >= offset {
            break record;
        }
        records.acknowledge_up_to(record.delivery_tag).await?;
    };
    channel.close(200, "".into()).await?;
    Ok(found)
}
