//! Enqueues a file as a job: opens it in the ledger, publishes one work message for each company, and seals it with the total.

pub(crate) mod claim;
pub(crate) mod content_hash;
mod continuation;
mod dry_run;
pub(crate) mod job_publisher;
pub(crate) mod progress;
pub(crate) mod rows;

pub use dry_run::dry_run;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use indicatif::HumanCount;
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Done, Job, Model, Opened, Opening, Timestamp};
use rollcall_shared::terminal::to_stderr;
use serde_json::json;
use tokio::time::timeout;

use crate::broker_session::BrokerAccess;
use crate::cli::{EnqueueArgs, Output};
use crate::companies::{BadInput, Companies, Detected, Progress};
use crate::error::ProducerError;
use crate::fleet::nobody_scores;
use crate::location::Location;
use crate::output::print;
use crate::watch;
use content_hash::content_hash;
use job_publisher::{JobPublisher, Scope};
use progress::EnqueueProgress;
use rows::Rows;

/// When the job has ended early, the publisher gets this long to report that it was the cause.
const PUBLISHER_REPORTS_WITHIN: Duration = Duration::from_secs(1);

/// A job that can be enqueued: its first rows are read and checked, and nothing is published.
pub(crate) struct Prepared {
    pub(crate) opened: Opened,
    scope: Scope,
    rows: Rows,
    file: Location,
    stays_open_if_unreadable: bool,
}

/// Enqueues the file; with `--wait`, follows the job to its end.
///
/// # Errors
/// [`ProducerError::BadInput`] if one of the first rows is bad: nothing is enqueued then. [`ProducerError::Aborted`] if a row further
/// down is: the job is cancelled then.
pub(crate) async fn enqueue(
    args: EnqueueArgs,
    broker: BrokerAccess,
    output: Output,
    shutdown: &Shutdown,
) -> Result<(), ProducerError> {
    let prepared = tokio::select! {
        prepared = prepare(&args, &broker) => prepared?,
        () = shutdown.requested() => return Err(ProducerError::Interrupted("interrupted; nothing was enqueued".to_owned())),
    };
    if args.wait {
        return watch::conclude(&enqueue_and_follow(prepared, &broker, shutdown).await?, output);
    }
    prepared.print_beginning();
    let (job, model) = (prepared.opened.job.clone(), prepared.opened.model.clone());
    let (total, progress) = prepared.publish(&broker, shutdown).await?;
    print_remarks(&job, &progress);
    warn_if_nobody_scores(&job, &model, &broker).await;
    print(output, &json!({ "job": job, "model": model, "total": total, "blank_rows": progress.blank_rows() }), || {
        let enqueued = format!("job {job}: enqueued {} companies for model {model}", HumanCount(total));
        format!("{enqueued}\nfollow it with `producer watch {job}`")
    })
}

/// Enqueues the job, and follows it to its end, however it ends.
///
/// # Errors
/// As [`enqueue`].
pub(crate) async fn enqueue_and_follow(
    prepared: Prepared,
    broker: &BrokerAccess,
    shutdown: &Shutdown,
) -> Result<Done, ProducerError> {
    prepared.print_beginning();
    let Prepared { opened, scope, rows, .. } = prepared;
    let (job, opening) = (opened.job.clone(), opened.opening);
    let (enqueued, progress) = (Arc::new(AtomicU64::new(0)), Arc::clone(&rows.first_look().progress));
    let publishing = JobPublisher::new(opened, scope, rows, Arc::clone(&enqueued)).publish_all(broker, shutdown);
    let enqueue = EnqueueProgress { opening, companies: enqueued, file: Arc::clone(&progress) };
    let following = watch::follow(&job, broker.args(), shutdown, Some(enqueue));
    let done = publish_and_follow(publishing, following).await?;
    print_remarks(&job, &progress);
    Ok(done)
}

/// Reads the first rows, and the position of a continued job; publishes nothing. Needs no broker for a job without a name.
///
/// # Errors
/// As [`enqueue`].
pub(crate) async fn prepare(args: &EnqueueArgs, broker: &BrokerAccess) -> Result<Prepared, ProducerError> {
    let content_hash = content_hash(&args.file).await?;
    let continued = match &args.continue_job {
        Some(job) => Some(continuation::position(job, args, content_hash.as_deref(), broker).await?),
        None => None,
    };
    let (from, reading) = match &continued {
        Some((opened, position)) => (*position, continuation::reading(opened, args)?),
        None => (0, args.reading.reading()),
    };
    let file = args.file.clone().pinned(content_hash.clone());
    let rows = Rows::open(file, reading, move |index| u64::from(index) >= from).await?;
    let (opened, scope) = match continued {
        Some((opened, position)) => (opened, Scope::From(position)),
        None => new_job(args, args.file.to_string(), content_hash, &rows, broker).await?,
    };
    Ok(Prepared { opened, scope, rows, file: args.file.clone(), stays_open_if_unreadable: false })
}

/// Reads the first of the companies that `open` opens, which come from `source`; publishes nothing.
///
/// # Errors
/// As [`enqueue`].
pub(crate) async fn prepare_companies(
    args: &EnqueueArgs,
    source: String,
    open: impl FnOnce() -> Result<Companies, BadInput> + Send + 'static,
    broker: &BrokerAccess,
) -> Result<Prepared, ProducerError> {
    let rows = Rows::read(open, |_| true).await?;
    let (opened, scope) = new_job(args, source, None, &rows, broker).await?;
    Ok(Prepared { opened, scope, rows, file: args.file.clone(), stays_open_if_unreadable: false })
}

impl Prepared {
    /// Prints where a continued job goes on, and how the file's format was detected.
    fn print_beginning(&self) {
        if let Scope::From(position) = self.scope {
            let enqueued = HumanCount(position);
            to_stderr(format_args!("job {}: going on after the {enqueued} companies that are enqueued", self.opened.job));
        }
        if let Some(detected) = self.detected() {
            to_stderr(format_args!("job {}: {} is {detected}", self.opened.job, self.file));
        }
    }

    /// How the file is read; `None` if the companies come from no file.
    pub(crate) fn detected(&self) -> Option<&Detected> {
        self.rows.first_look().detected.as_ref()
    }

    /// Leaves the job open if its file cannot be read on for a reason that is not the file's.
    pub(crate) fn keep_open_if_unreadable(self) -> Prepared {
        Prepared { stays_open_if_unreadable: true, ..self }
    }

    /// Publishes all of the job; returns the number of its companies, and how the file was read.
    ///
    /// # Errors
    /// As [`enqueue`].
    pub(crate) async fn publish(self, broker: &BrokerAccess, shutdown: &Shutdown) -> Result<(u64, Arc<Progress>), ProducerError> {
        let Prepared { opened, scope, rows, stays_open_if_unreadable, .. } = self;
        let progress = Arc::clone(&rows.first_look().progress);
        let publisher = JobPublisher::new(opened, scope, rows, Arc::default());
        let publisher = if stays_open_if_unreadable { publisher.stay_open_if_unreadable() } else { publisher };
        let total = publisher.publish_all(broker, shutdown).await?;
        Ok((total, progress))
    }
}

/// The `opened` event of a new job whose companies come from `source`.
async fn new_job(
    args: &EnqueueArgs,
    source: String,
    content_hash: Option<String>,
    rows: &Rows,
    broker: &BrokerAccess,
) -> Result<(Opened, Scope), ProducerError> {
    if let Some(job) = &args.job {
        refuse_taken_name(job, broker).await?;
    }
    let model = args.model.clone().ok_or_else(|| ProducerError::Usage("expected --model, found none".to_owned()))?;
    let job = args.job.clone().unwrap_or_else(Job::unique);
    let mut settings = args.settings(content_hash, rows.first_look().is_small)?;
    settings.results_to = args.results_to.as_ref().map(|to| to.of_job(&job, &model, &source)).transpose()?;
    let opened = Opened { job, opening: Some(Opening::unique()), model, source, opened_at: Some(Timestamp::now()), settings };
    Ok((opened, Scope::Whole { name_is_given: args.job.is_some() }))
}

/// A job's name is its identity: the aggregator would not count companies of a second file under the same name.
async fn refuse_taken_name(job: &Job, broker: &BrokerAccess) -> Result<(), ProducerError> {
    let mut session = broker.session("rollcall producer: is the job's name free").await?;
    let aggregator = session.aggregator().await?;
    let found =
        if aggregator.is_aggregator_up().await? { aggregator.find_job(job).await } else { Err(ProducerError::NoAggregator) };
    session.close().await;
    match found {
        Ok(None) => Ok(()),
        Ok(Some(status)) => Err(ProducerError::JobNameTaken { job: job.clone(), taken: format!("which is {}", status.state) }),
        Err(ProducerError::NoAggregator) => {
            tracing::warn!(event = "job_name_unverified", %job, "no aggregator says whether a job of this name exists; taking it to be new");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Publishes and follows at the same time. If publishing fails, stops following; if the job has ended early, stops publishing.
async fn publish_and_follow(
    publishing: impl Future<Output = Result<u64, ProducerError>>,
    following: impl Future<Output = Result<Done, ProducerError>>,
) -> Result<Done, ProducerError> {
    let (mut publishing, mut following) = (pin!(publishing), pin!(following));
    let ended = tokio::select! {
        published = &mut publishing => {
            published?;
            return following.await;
        }
        ended = &mut following => ended,
    };
    let ended_early =
        ended.as_ref().map_or_else(|error| matches!(error, ProducerError::JobGone(_)), |done| done.reason.is_some());
    if ended_early {
        // The publisher may be the one who has cancelled the job; then its error says why.
        if let Ok(published) = timeout(PUBLISHER_REPORTS_WITHIN, publishing).await {
            published?;
        }
    } else {
        publishing.await?;
    }
    ended
}

/// Prints which values and rows of the file were read differently from how they are written.
fn print_remarks(job: &Job, progress: &Progress) {
    for remark in progress.remarks() {
        to_stderr(format_args!("job {job}: {remark}"));
    }
}

/// Says so if no consumer takes work of the model, since nobody waits for the job and would be told. All of it is enqueued, so no failure
/// here is one of the command.
pub(crate) async fn warn_if_nobody_scores(job: &Job, model: &Model, broker: &BrokerAccess) {
    if let Some(remark) = nobody_scores(model, broker).await {
        to_stderr(format_args!("job {job}: {remark}"));
    }
}
