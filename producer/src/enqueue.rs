//! Enqueues a file as a job: opens it in the ledger, publishes one work message a company, and seals it with its total.

pub(crate) mod claim;
mod dry_run;
mod resume;
pub(crate) mod rows;
pub(crate) mod session;

pub use dry_run::dry_run;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rollcall_shared::broker::{BrokerArgs, connect, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Done, Job, Opened, Opening, Timestamp};
use rollcall_shared::terminal::to_stderr;
use serde_json::json;
use tokio::time::timeout;
use xxhash_rust::xxh3::Xxh3;

use crate::ask::{AskError, Asker};
use crate::blocking::on_a_thread;
use crate::cli::{EnqueueArgs, Output};
use crate::companies::{Progress, is_of_the_system};
use crate::run::Failure;
use crate::status::{print, thousands};
use crate::watch;
use rows::Rows;
use session::{Ending, Enqueuing, Part};

/// How long an interrupted producer tries to tell the ledger that its job is cancelled.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an enqueuing whose job has been cut short has to say that it was its own doing.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Enqueues the file; with `--wait`, follows the job to its end.
///
/// # Errors
/// [`Failure`]. Where it is bad input, the first rows were looked at before anything was enqueued; a fault further down
/// cancels the job, and says so.
pub async fn enqueue(args: EnqueueArgs, broker: BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), Failure> {
    let (opened, part, rows) = tokio::select! {
        prepared = prepare(&args, &broker) => prepared?,
        () = shutdown.requested() => return Err(Failure::Interrupted("interrupted; nothing was enqueued".to_owned())),
    };
    let (job, model, opening) = (opened.job.clone(), opened.model.clone(), opened.opening);
    let (enqueued, progress) = (Arc::new(AtomicU64::new(0)), Arc::clone(&rows.seen().progress));
    if let Some(detected) = &rows.seen().detected {
        to_stderr(format_args!("job {job}: {} is {detected}", args.file.display()));
    }
    let enqueuing = Enqueuing::new(opened, part, rows, Arc::clone(&enqueued));
    let enqueuing = publish(enqueuing, &broker, shutdown);
    if args.wait {
        let source = watch::Enqueued { opening, companies: enqueued, progress: Arc::clone(&progress) };
        let following = watch::follow(&job, &broker, shutdown, Some(source));
        let done = both(enqueuing, following).await?;
        remark(&job, &progress);
        return watch::conclude(&done, output);
    }
    let total = enqueuing.await?;
    remark(&job, &progress);
    print(output, &json!({ "job": job, "model": model, "total": total, "blank_rows": progress.blank_rows() }), || {
        let enqueued = format!("job {job}: enqueued {} companies for model {model}", thousands(total));
        format!("{enqueued}\nfollow it with `producer watch {job}`")
    })
}

/// Says what of a file was taken otherwise than it stands in it.
fn remark(job: &Job, progress: &Progress) {
    for remark in progress.remarks() {
        to_stderr(format_args!("job {job}: {remark}"));
    }
}

/// Looks at the first rows, and at where the job stands; publishes nothing.
async fn prepare(args: &EnqueueArgs, broker: &BrokerArgs) -> Result<(Opened, Part, Rows), Failure> {
    let content_hash = content_hash(&args.file).await?;
    let resumed = match &args.resume {
        Some(job) => Some(resume::position(job, args, content_hash.as_deref(), broker).await?),
        None => None,
    };
    let (from, reading) = match &resumed {
        Some((opened, position)) => (*position, resume::reading(opened, args)?),
        None => (0, args.reading()),
    };
    let rows = Rows::open(args.file.clone(), reading, move |index| u64::from(index) >= from).await?;
    let (opened, part) = match resumed {
        Some((opened, position)) => (opened, Part::From(position)),
        None => {
            let opened = open(args, content_hash, rows.seen().is_small, broker).await?;
            (opened, Part::Whole { name_is_given: args.job.is_some() })
        }
    };
    Ok((opened, part, rows))
}

/// What opens a new job.
async fn open(args: &EnqueueArgs, content_hash: Option<String>, is_small: bool, broker: &BrokerArgs) -> Result<Opened, Failure> {
    if let Some(job) = &args.job {
        refuse_taken(job, broker).await?;
    }
    let model = args.model.clone().ok_or_else(|| Failure::Usage("expected --model, found none".to_owned()))?;
    Ok(Opened {
        job: args.job.clone().unwrap_or_else(Job::unique),
        opening: Some(Opening::unique()),
        model,
        source: args.file.display().to_string(),
        opened_at: Timestamp::now(),
        settings: args.settings(content_hash, is_small).map_err(Failure::Usage)?,
    })
}

/// What the bytes of a file hash to, by which it is known again; nothing where they can be read only once.
async fn content_hash(path: &Path) -> Result<Option<String>, Failure> {
    // A pipe is not even opened: its writer would think that its reader has come and gone. What cannot be read at all is told
    // where its rows are read.
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let file = path.to_owned();
    match on_a_thread(move || hash(&file)).await? {
        Ok(hash) => Ok(Some(hash)),
        Err(error) => {
            let fault = format!("cannot read {}: {error}", path.display());
            Err(if is_of_the_system(&error) { Failure::Other(fault) } else { Failure::Usage(fault) })
        }
    }
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(format!("xxh3:{:032x}", hash.digest128())),
            Ok(read) => hash.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Publishes the whole job, through as many connections as it takes; returns its total.
pub(crate) async fn publish(mut enqueuing: Enqueuing, broker: &BrokerArgs, shutdown: &Shutdown) -> Result<u64, Failure> {
    supervise(broker, shutdown, PATIENCE, || {}, async || enqueuing.session(broker, shutdown).await).await?;
    let (job, enqueued, left) = (enqueuing.job().clone(), enqueuing.enqueued(), enqueuing.left());
    match enqueuing.ending() {
        Some(Ending::Sealed) => Ok(enqueued),
        Some(Ending::BadInput(bad)) => Err(Failure::Aborted { bad: Box::new(bad), left }),
        Some(Ending::Failed(failure)) => Err(failure),
        Some(Ending::Taken(state)) => Err(claim::taken(&job, state, enqueued)),
        Some(Ending::Crashed) => Err(Failure::Other(format!("reading the file crashed ({left})"))),
        Some(Ending::Interrupted) => Err(Failure::Interrupted(format!("interrupted ({left})"))),
        None => Err(Failure::Interrupted(format!("interrupted, and the broker does not answer ({left})"))),
    }
}

/// Enqueues and follows at the same time. A job that could not be enqueued is not waited for, and one that has been cut short
/// gets no more companies.
async fn both(
    enqueuing: impl Future<Output = Result<u64, Failure>>,
    following: impl Future<Output = Result<Done, Failure>>,
) -> Result<Done, Failure> {
    let (mut enqueuing, mut following) = (pin!(enqueuing), pin!(following));
    let mut ended = None;
    loop {
        tokio::select! {
            enqueued = &mut enqueuing => {
                enqueued?;
                break;
            }
            followed = &mut following, if ended.is_none() => {
                let cut_short = followed.as_ref().map_or_else(|error| matches!(error, Failure::Gone(_)), |done| done.reason.is_some());
                ended = Some(followed);
                if cut_short {
                    // It may be the enqueuing that has cut it short, and is about to say why.
                    if let Ok(enqueued) = timeout(LAST_WORDS, &mut enqueuing).await {
                        enqueued?;
                    }
                    break;
                }
            }
        };
    }
    match ended {
        Some(ended) => ended,
        None => following.await,
    }
}

/// A job's name is its identity: nothing of a second file under it would be counted.
async fn refuse_taken(job: &Job, broker: &BrokerArgs) -> Result<(), Failure> {
    let link = connect(broker, "rollcall producer: is the job's name free").await?;
    let mut asker = Asker::open(&link, &broker.topology()).await?;
    let answer = if asker.somebody_answers().await? { asker.job(job).await } else { Err(AskError::NoAnswer) };
    match answer {
        Ok(None) => Ok(()),
        Ok(Some(status)) => Err(Failure::Usage(format!(
            "expected a new name for --job, found {job}, which is {}; choose another, or leave --job out",
            status.state
        ))),
        Err(AskError::NoAnswer) => {
            tracing::warn!(%job, "no aggregator says whether a job of this name exists; taking it to be new");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
