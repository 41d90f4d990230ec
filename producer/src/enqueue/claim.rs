//! Whose a job's name is. Of two producers that chose the same, the one whose opening comes first in the ledger has it, and the
//! other must know before its companies are taken for part of a job that is not theirs.

use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerConnection, BrokerError};
use rollcall_shared::message::{Job, JobStatus, Opened, Opening, State};
use rollcall_shared::topology::Topology;

use crate::ask::{AskError, Asker};
use crate::run::Failure;
use crate::status::thousands;

/// While it is not known whose the name is, it is asked this often.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Whether the name is this producer's.
pub(super) enum Claim {
    /// It is.
    Ours,
    /// No aggregator has answered yet; when it was last asked.
    Unknown(Option<Instant>),
    /// Another producer's opening came first, and its job stands so.
    Taken(State),
}

/// How long to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Companies are waiting to be published meanwhile.
    Once,
    /// What comes next cannot be taken back.
    UntilRead,
}

impl Claim {
    /// What a producer begins with: a name that a person gave may be another's too, and a unique one is not.
    pub(super) fn to(is_given: bool) -> Claim {
        if is_given { Claim::Unknown(None) } else { Claim::Ours }
    }

    /// Whether it is time to ask.
    pub(super) fn is_due(&self) -> bool {
        matches!(self, Claim::Unknown(asked) if asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY))
    }

    /// Whether it is still to be asked.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Claim::Unknown(_))
    }

    /// Asks the aggregator, if one answers, which opening of the job came first: once, or as `patience` says until it has read
    /// one, for some seconds.
    pub(super) async fn ask(
        opened: &Opened,
        patience: Patience,
        link: &BrokerConnection,
        topology: &Topology,
    ) -> Result<Claim, BrokerError> {
        let mut asker = Asker::open(link, topology).await?;
        let unknown = || Claim::Unknown(Some(Instant::now()));
        if !asker.somebody_answers().await? {
            return Ok(unknown());
        }
        let status = match patience {
            Patience::Once => asker.job(&opened.job).await.map_err(Failure::from),
            Patience::UntilRead => asker.until(&opened.job, "be opened", |_| true).await.map(Some),
        };
        match status {
            Ok(Some(status)) if status.opening == opened.opening => Ok(Claim::Ours),
            Ok(Some(status)) => Ok(Claim::Taken(status.state)),
            Err(Failure::Ask(AskError::Broker(error))) => Err(error),
            Ok(None) | Err(_) => Ok(unknown()),
        }
    }
}

/// What is told where the name is another's, after so many companies were `enqueued`.
pub(crate) fn taken(job: &Job, state: State, enqueued: u64) -> Failure {
    let left = match enqueued {
        0 => "nothing was enqueued".to_owned(),
        enqueued => format!("none of the {} companies that were enqueued here is counted", thousands(enqueued)),
    };
    Failure::Usage(format!(
        "expected a new name for --job, found {job}, which another producer opened first and which is {state}; {left}; choose another, or leave --job out"
    ))
}

/// Refuses to follow a job that another producer opened.
pub(crate) fn refuse_other(status: &JobStatus, opening: Option<Opening>, enqueued: u64) -> Result<(), Failure> {
    if status.opening == opening { Ok(()) } else { Err(taken(&status.job, status.state, enqueued)) }
}
