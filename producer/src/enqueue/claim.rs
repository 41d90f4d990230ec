//! Which producer a job's name belongs to. If two producers choose the same name, the one whose `opened` event comes first in the ledger
//! has it; the other must find out before its companies are taken for companies of that job.

use std::time::{Duration, Instant};

use indicatif::HumanCount;
use rollcall_shared::broker::BrokerError;
use rollcall_shared::message::{Job, JobStatus, Opened, Opening, State};

use crate::broker_session::BrokerSession;
use crate::error::ProducerError;

/// How often to check while no aggregator has answered.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Whether the job's name belongs to this producer.
pub(super) enum Claim {
    Ours,
    /// No aggregator has answered yet.
    Unknown {
        checked_at: Option<Instant>,
    },
    /// Another producer opened a job of this name first.
    Taken(State),
}

/// How long a check may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// One query: companies are waiting to be published.
    Once,
    /// Until the aggregator has read an opening of the job, for some seconds: the next step cannot be undone.
    UntilRead,
}

impl Claim {
    /// The claim before any check: a name that a person gave may be taken, a generated one is unique.
    pub(super) fn new(name_is_given: bool) -> Claim {
        if name_is_given { Claim::Unknown { checked_at: None } } else { Claim::Ours }
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Claim::Unknown { .. })
    }

    pub(super) fn was_never_checked(&self) -> bool {
        matches!(self, Claim::Unknown { checked_at: None })
    }

    /// Whether it is time for another check.
    pub(super) fn is_due(&self) -> bool {
        matches!(self, Claim::Unknown { checked_at } if checked_at.is_none_or(|at| at.elapsed() >= CHECK_EVERY))
    }

    /// Asks the aggregator which opening of the job came first.
    pub(super) async fn check(opened: &Opened, patience: Patience, broker: &mut BrokerSession) -> Result<Claim, BrokerError> {
        let aggregator = broker.aggregator().await?;
        let unknown = || Claim::Unknown { checked_at: Some(Instant::now()) };
        if !aggregator.is_aggregator_up().await? {
            return Ok(unknown());
        }
        let status = match patience {
            Patience::Once => aggregator.find_job(&opened.job).await,
            Patience::UntilRead => aggregator.wait_until(&opened.job, "be opened", |_| true).await.map(Some),
        };
        match status {
            Ok(Some(status)) if status.opening == opened.opening => Ok(Claim::Ours),
            Ok(Some(status)) => Ok(Claim::Taken(status.state)),
            Err(ProducerError::Broker(error)) => Err(error),
            Ok(None) | Err(_) => Ok(unknown()),
        }
    }
}

/// The error if another producer has the name, after `enqueued` companies.
pub(crate) fn name_taken(job: &Job, state: State, enqueued: u64) -> ProducerError {
    let left = match enqueued {
        0 => "nothing was enqueued".to_owned(),
        enqueued => format!("none of the {} companies that were enqueued here is counted", HumanCount(enqueued)),
    };
    let taken = format!("which another producer opened first and which is {state}; {left}");
    ProducerError::JobNameTaken { job: job.clone(), taken }
}

/// Refuses to follow a job that another producer opened.
pub(crate) fn refuse_other_opening(status: &JobStatus, opening: Option<Opening>, enqueued: u64) -> Result<(), ProducerError> {
    if status.opening == opening { Ok(()) } else { Err(name_taken(&status.job, status.state, enqueued)) }
}
