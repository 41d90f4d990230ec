//! `producer score`: one file, from its rows to its results, on one machine.
//!
//! It checks the file and the scorer. Then it starts what a fleet consists of, each a process that ends with this one, however this one ends:
//! a broker if `AMQP_URL` names none, an aggregator, and a fleet of consumers. Then it enqueues the file, follows the job, and writes the results.

mod companion;
mod private_broker;

use std::path::Path;
use std::time::Duration;

use indicatif::HumanCount;
use rollcall_shared::broker::{BrokerArgs, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Done, Model, Opened, State};
use rollcall_shared::terminal::{escape_controls, to_stderr};
use serde_json::json;

use crate::aggregator_client::AggregatorClient;
use crate::cli::{EnqueueArgs, Output, PriorityChoice, ResultsArgs, ScoreArgs};
use crate::destination::{self, is_standard_output};
use crate::enqueue::Prepared;
use crate::error::ProducerError;
use crate::output::{print, print_on_stderr};
use crate::status::done_in_words;
use crate::{enqueue, job_control, results};
use companion::{AGGREGATOR, CONSUMERS, Companion};
use private_broker::PrivateBroker;

/// The model, where no other process uses the broker.
const MODEL: &str = "score";

/// Work of a second is enough for another consumer: this machine has nothing else to do.
const TARGET: &str = "1s";

/// Consumers are kept until the job is done.
const IDLE: &str = "1day";

/// How long an interrupted command tries to cancel its job on a broker that is not its own.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// An aggregator leads within a second of its start.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Scores the file and writes the results.
///
/// # Errors
/// [`ProducerError::JobNotSucceeded`] if companies failed, after the results are written; otherwise as `enqueue` and `results`, or
/// [`ProducerError::CompanionEnded`] if a process that it has started ends by itself, [`ProducerError::Usage`] for its flags or its scorer.
pub async fn score(args: ScoreArgs, broker: BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), ProducerError> {
    // What can be told before anything is started is told at once.
    results::layout_of(&args.to, args.results_format, "--results-format")?;
    check_folder_of(&args.to)?;
    let is_own_broker = broker.amqp_url.is_none();
    if !is_own_broker && args.model.is_none() {
        return Err(ProducerError::Usage(
            "expected --model beside AMQP_URL, found none; name a model that no other scorer uses on that broker: consumers of one model share its work".to_owned(),
        ));
    }
    let model = args.model.clone().map_or_else(|| MODEL.parse(), Ok);
    let model = model.map_err(|error| ProducerError::System(error.to_string()))?;
    let fleet = fleet_flags(&args, &model);
    let prepared = async {
        let check = [&fleet[..], &["--check-only".to_owned()]].concat();
        Companion::start(CONSUMERS, &check, &broker)?.succeeded().await?;
        let prepared = enqueue::prepare(&enqueue_args(&args, model), &broker).await?;
        let private = if is_own_broker { Some(PrivateBroker::start().await?) } else { None };
        Ok::<_, ProducerError>((prepared, private))
    };
    let (prepared, private) = tokio::select! {
        prepared = prepared => prepared?,
        () = shutdown.requested() => return Err(interrupted()),
    };
    let url = private.as_ref().map(|private| private.url().to_owned());
    let broker = BrokerArgs { amqp_url: url.or_else(|| broker.amqp_url.clone()), ..broker };
    let scored = on_broker(&args, prepared, &fleet, &broker, is_own_broker, shutdown).await;
    if let Some(private) = private {
        private.stop().await;
    }
    let (done, rows) = scored?;
    conclude(&args, &done, rows, output)
}

fn fleet_flags(args: &ScoreArgs, model: &Model) -> Vec<String> {
    let mut flags = ["fleet", "--min=1", "--target", TARGET, "--idle", IDLE].map(str::to_owned).to_vec();
    flags.extend([format!("--model={model}"), format!("--scorer={}", args.scorer)]);
    flags.extend(args.max.map(|max| format!("--max={max}")));
    flags.extend(args.consumer_flags.iter().cloned());
    flags
}

fn enqueue_args(args: &ScoreArgs, model: Model) -> EnqueueArgs {
    EnqueueArgs {
        file: args.file.clone(),
        model: Some(model),
        job: None,
        wait: true,
        dry_run: false,
        continue_job: None,
        priority: PriorityChoice::Auto,
        reading: args.reading.clone(),
        failures: args.failures.clone(),
    }
}

/// The results of a long job must not be lost for a missing folder.
fn check_folder_of(path: &Path) -> Result<(), ProducerError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let found = match folder {
        _ if path.is_dir() => format!("the folder {}; name a file in it", path.display()),
        Some(folder) if !folder.is_dir() => format!("{} in a folder that is not there; make the folder", path.display()),
        _ => return Ok(()),
    };
    Err(ProducerError::Usage(format!("expected --to with a file that can be written, found {found}")))
}

fn interrupted() -> ProducerError {
    ProducerError::Interrupted("interrupted; no file was written".to_owned())
}

async fn on_broker(
    args: &ScoreArgs,
    prepared: Prepared,
    fleet: &[String],
    broker: &BrokerArgs,
    is_own_broker: bool,
    shutdown: &Shutdown,
) -> Result<(Done, u64), ProducerError> {
    let mut aggregator = Companion::start(AGGREGATOR, &[], broker)?;
    let mut consumers = Companion::start(CONSUMERS, fleet, broker)?;
    let Opened { job, model, .. } = prepared.opened.clone();
    tracing::info!(event = "started_fleet", %model, scorer = args.scorer, "started an aggregator and consumers for this command alone");
    let scored = tokio::select! {
        scored = enqueue_and_fetch(prepared, args, broker, shutdown) => scored,
        error = aggregator.ended() => Err(error),
        error = consumers.ended() => Err(error),
    };
    if scored.is_err() && !is_own_broker {
        // Nobody would score the rest. An error says that there is no such job, or that it has ended.
        let cancelled = job_control::end(&job, "the command that was to score it has ended", broker);
        if let Ok(Ok(_)) = tokio::time::timeout(CANCEL_WITHIN, cancelled).await {
            to_stderr(format_args!("job {job} is cancelled"));
        }
    }
    tokio::join!(aggregator.stop(), consumers.stop());
    scored
}

async fn enqueue_and_fetch(
    prepared: Prepared,
    args: &ScoreArgs,
    broker: &BrokerArgs,
    shutdown: &Shutdown,
) -> Result<(Done, u64), ProducerError> {
    tokio::select! {
        led = wait_for_leader(broker) => led?,
        () = shutdown.requested() => return Err(interrupted()),
    }
    let done = match enqueue::enqueue_and_follow(prepared, broker, shutdown).await {
        Err(ProducerError::Interrupted(_)) => return Err(interrupted()),
        done => done?,
    };
    tracing::info!(event = "writing_results", job = %done.job, state = %done.state, "the job is done; writing its results");
    let (job, to) = (done.job.clone(), Some(args.to.clone()));
    let fetch = ResultsArgs { job, to, format: args.results_format, partial: false, show: 1 };
    let written = tokio::select! {
        written = results::write_to(&args.to, &fetch, broker) => written?,
        () = shutdown.requested() => return Err(interrupted()),
    };
    Ok((done, written.map_or(0, |(_, rows)| rows)))
}

/// Waits until an aggregator counts: nothing is enqueued that nobody would count.
async fn wait_for_leader(broker: &BrokerArgs) -> Result<(), ProducerError> {
    let link = connect(broker, "rollcall producer: score").await?;
    let aggregator = AggregatorClient::open(&link, &broker.topology()).await?;
    while !aggregator.is_aggregator_up().await? {
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
    link.close().await;
    Ok(())
}

fn conclude(args: &ScoreArgs, done: &Done, rows: u64, output: Output) -> Result<(), ProducerError> {
    let name = destination::name(&args.to);
    let document = json!({ "done": done, "rows": rows, "file": name });
    let text = || format!("{}\n{}: {} results", done_in_words(done), escape_controls(&name), HumanCount(rows));
    match (is_standard_output(&args.to), output) {
        (false, _) => print(output, &document, text)?,
        // Standard output has the rows alone.
        (true, Output::Text) => text().lines().for_each(to_stderr),
        (true, Output::Json) => print_on_stderr(&document),
    }
    if done.state == State::Succeeded { Ok(()) } else { Err(ProducerError::JobNotSucceeded(done.state)) }
}
