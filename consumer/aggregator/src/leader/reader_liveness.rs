//! Checks that the reader of the ledger gets its records. RabbitMQ 3.10 was seen to send a reader nothing more, and no error, after
//! retention deleted the segment that it was reading.

use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerConnection, BrokerError};
use rollcall_shared::topology::Topology;

use super::records::last_offset;

/// How long no record comes before the end of the ledger is looked up.
const QUIET: Duration = Duration::from_secs(5);

/// How long the broker has to say where the ledger ends.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Since when the reader has got no record.
#[derive(Debug)]
pub(super) struct ReaderLiveness {
    quiet_since: Instant,
    next_offset: u64,
    /// Whether the last check found that the ledger had more records.
    was_behind: bool,
}

impl ReaderLiveness {
    pub(super) fn new() -> ReaderLiveness {
        ReaderLiveness { quiet_since: Instant::now(), next_offset: 0, was_behind: false }
    }

    /// Checks whether the ledger has more records than the reader, whose next one is at `next_offset`, has got.
    ///
    /// # Errors
    /// [`BrokerError::Lost`] if it has, twice in a row, and the reader got none of them.
    pub(super) async fn check(
        &mut self,
        next_offset: u64,
        reading: &BrokerConnection,
        topology: &Topology,
    ) -> Result<(), BrokerError> {
        if next_offset != self.next_offset {
            *self = ReaderLiveness { next_offset, ..ReaderLiveness::new() };
        }
        if self.quiet_since.elapsed() < QUIET {
            return Ok(());
        }
        let channel = reading.channel().await?;
        let end = tokio::time::timeout(ANSWER_WITHIN, last_offset(&channel, topology)).await;
        channel.close(200, "".into()).await?;
        let is_behind = matches!(end, Ok(Ok(end)) if end >= next_offset);
        if is_behind && self.was_behind {
            return Err(BrokerError::Lost(format!("the ledger has records after offset {next_offset}, and its reader got none")));
        }
        *self = ReaderLiveness { was_behind: is_behind, next_offset, ..ReaderLiveness::new() };
        Ok(())
    }
}
