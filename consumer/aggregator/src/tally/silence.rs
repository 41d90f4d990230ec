//! Notices when the ledger goes on and its reader hears nothing of it.
//!
//! RabbitMQ 3.10 was seen to leave a reader without a word when retention deleted the segment that it was reading.

use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerConnection, BrokerError};
use rollcall_shared::topology::Topology;

use super::records::last_offset;

/// How long nothing comes before it is looked at why.
const SUSPICIOUS: Duration = Duration::from_secs(5);

/// How long the broker has to say where the ledger ends.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Since when nothing has come.
#[derive(Debug)]
pub(super) struct Silence {
    since: Instant,
    next_offset: u64,
    /// Whether there was more to read when it was last looked at.
    behind: bool,
}

impl Silence {
    /// Begins to listen.
    pub(super) fn new() -> Silence {
        Silence { since: Instant::now(), next_offset: 0, behind: false }
    }

    /// Looks whether the reader, which is to read `next_offset` next, should have heard more.
    ///
    /// # Errors
    /// [`BrokerError::Lost`] where it should: twice in a row there was more, and none of it came.
    pub(super) async fn look(
        &mut self,
        next_offset: u64,
        reading: &BrokerConnection,
        topology: &Topology,
    ) -> Result<(), BrokerError> {
        if next_offset != self.next_offset {
            *self = Silence { next_offset, ..Silence::new() };
        }
        if self.since.elapsed() < SUSPICIOUS {
            return Ok(());
        }
        let channel = reading.channel().await?;
        let end = tokio::time::timeout(ANSWER_WITHIN, last_offset(&channel, topology)).await;
        channel.close(200, "".into()).await?;
        let behind = matches!(end, Ok(Ok(end)) if end >= next_offset);
        if behind && self.behind {
            return Err(BrokerError::Lost(format!("the ledger goes on after offset {next_offset}, and none of it came")));
        }
        *self = Silence { behind, next_offset, ..Silence::new() };
        Ok(())
    }
}
