//! A record of the ledger, as far as counting is concerned, and what became of it.

use rollcall_shared::message::{Job, JobEvent, ResultHeaders};

/// One record of the ledger.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "it is read, applied and dropped one at a time")]
pub enum Record {
    /// The outcome of one company.
    Result(ResultHeaders),
    /// An event about a job as a whole.
    Event(JobEvent),
    /// A marker, or a message that is not Rollcall's: it is not counted.
    Other,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It is about no job, or had been applied before.
    Nothing,
    /// It was applied to this job.
    To(Job),
    /// It is about this job and is not counted.
    Ignored(Job, Ignored),
}

impl Applied {
    pub(super) fn from(applied: Result<(), Ignored>, job: Job) -> Applied {
        match applied {
            Ok(()) => Applied::To(job),
            Err(ignored) => Applied::Ignored(job, ignored),
        }
    }
}

/// Why a record is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// Two producers chose the same name, and the other one opened the job first.
    #[error("a record of another opening of this name: two producers were given the same --job")]
    OtherOpening,
    /// The job's opening has not been read. If it follows soon, the record is counted then.
    #[error("a record of a job that has not been opened")]
    NotOpened,
    /// The record contradicts what is counted of its job.
    #[error("a record that contradicts what is counted of its job")]
    Contradiction,
}

impl Ignored {
    /// A stable code, for logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Ignored::OtherOpening => "other_opening",
            Ignored::NotOpened => "not_opened",
            Ignored::Contradiction => "contradiction",
        }
    }
}
