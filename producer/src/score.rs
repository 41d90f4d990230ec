//! `producer score`: one file, from its rows to its results, on one machine.
//!
//! It checks the file and the scorer. Then it starts what a fleet consists of, each a process that ends with this one, however this one ends:
//! a broker if `AMQP_URL` names none, an aggregator, and a fleet of consumers. Then it enqueues the file, follows the job, and writes the results.

mod child_process;
mod private_broker;

use std::cell::Cell;
use std::time::Duration;

use indicatif::HumanCount;
use rollcall_shared::broker::{BrokerArgs, connect, wait_for_broker};
use rollcall_shared::duration::parse_positive;
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Done, Model, Opened, State};
use rollcall_shared::terminal::{escape_controls, to_stderr};
use serde_json::json;

use crate::aggregator_client::AggregatorClient;
use crate::broker_session::BrokerAccess;
use crate::cli::{EnqueueArgs, Output, PriorityChoice, ScoreArgs};
use crate::destination::{self, is_standard_output};
use crate::enqueue::Prepared;
use crate::error::ProducerError;
use crate::fleet::is_consumed;
use crate::output::{print, print_on_stderr};
use crate::results::WriteOptions;
use crate::status::done_in_words;
use crate::{enqueue, job_control, results};
use child_process::{AGGREGATOR, CONSUMERS, ChildProcess};
use private_broker::PrivateBroker;

/// The model, where no other process uses the broker.
const MODEL: &str = "score";

/// Work of a second is enough for another consumer: this machine has nothing else to do.
const TARGET: &str = "1s";

/// Consumers are kept until the job is done.
const IDLE: &str = "1day";

/// A broker of its own that is lost does not come back: nothing starts it again. An overloaded machine may drop its connections for a moment.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// With a broker of its own, a command that is stopped throws all scores away. Consumers need a moment to end their scorers.
const OWN_GRACE: Duration = Duration::from_secs(2);

/// What consumers have by themselves.
const GRACE: Duration = Duration::from_secs(30);

/// How long an interrupted command tries to cancel its job on a broker that is not its own.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// An aggregator leads within a second of its start.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Scores the file and writes the results.
///
/// # Errors
/// [`ProducerError::JobNotSucceeded`] if companies failed, after the results are written; otherwise as `enqueue` and `results`, or
/// [`ProducerError::ChildProcessEnded`] if a process that it has started ends by itself, [`ProducerError::Usage`] for its flags or its scorer.
pub async fn score(args: ScoreArgs, broker: BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), ProducerError> {
    // What can be told before anything is started is told at once.
    let layout = results::layout_of(&args.to, args.results_format, "--results-format")?;
    destination::refuse_the_input(&args.to, &args.file)?;
    let is_own_broker = broker.amqp_url.is_none();
    let model = model(&args, is_own_broker)?;
    let fleet = fleet_flags(&args, &model);
    let grace = grace(&args.consumer_flags, std::env::var("ROLLCALL_GRACE").ok(), is_own_broker)?;
    let prepared = async {
        destination::check(&args.to, layout).await?;
        let check = [&fleet[..], &["--check-only".to_owned()]].concat();
        ChildProcess::start(CONSUMERS, &check, &broker, grace)?.succeeded().await?;
        let prepared = enqueue::prepare(&enqueue_args(&args, model.clone()), &BrokerAccess::Direct(broker.clone())).await?;
        if is_own_broker {
            return Ok((prepared, Some(PrivateBroker::start().await?)));
        }
        wait_for_broker(&broker, shutdown).await?;
        // The wait ends with a request to stop, too.
        if shutdown.is_requested() {
            return Err(interrupted());
        }
        refuse_shared_model(&model, &broker).await?;
        Ok((prepared, None))
    };
    let (prepared, private) = tokio::select! {
        prepared = prepared => prepared?,
        () = shutdown.requested() => return Err(interrupted()),
    };
    let broker = match &private {
        Some(private) => BrokerArgs {
            amqp_url: Some(private.url().to_owned()),
            max_downtime: broker.max_downtime.or(Some(LOST_AFTER)),
            ..broker
        },
        None => broker,
    };
    let scored = on_broker(&args, prepared, &fleet, grace, &broker, is_own_broker, shutdown).await;
    if let Some(private) = private {
        private.stop().await;
    }
    let (done, rows) = scored?;
    conclude(&args, &done, rows, output)
}

fn model(args: &ScoreArgs, is_own_broker: bool) -> Result<Model, ProducerError> {
    match &args.model {
        Some(model) => Ok(model.clone()),
        None if is_own_broker => MODEL.parse().map_err(|error| ProducerError::System(format!("{MODEL}: {error}"))),
        None => Err(ProducerError::Usage(
            "expected --model beside AMQP_URL, found none; name a model that no other scorer uses on that broker: consumers of one model share its work".to_owned(),
        )),
    }
}

/// Another scorer of the model would score some of the companies.
async fn refuse_shared_model(model: &Model, broker: &BrokerArgs) -> Result<(), ProducerError> {
    let link = connect(broker, "rollcall producer: is the model free").await?;
    let topology = broker.topology();
    let channel = link.channel().await?;
    topology.declare(&channel).await?;
    topology.declare_model(&channel, model).await?;
    let is_consumed = is_consumed(&channel, &topology, model).await?;
    link.close().await;
    if !is_consumed {
        return Ok(());
    }
    Err(ProducerError::Usage(format!(
        "expected a --model that nothing else scores, found consumers of model {model} on this broker, which would score some of the companies; name another"
    )))
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
        results_to: None,
        reading: args.reading.clone(),
        failures: args.failures.clone(),
    }
}

/// How long consumers go on with what they are scoring when this command stops them: by their flags or the `variable`, if there is one.
fn grace(consumer_flags: &[String], variable: Option<String>, is_own_broker: bool) -> Result<Duration, ProducerError> {
    let flag = (0..consumer_flags.len()).rev().find_map(|at| match consumer_flags[at].strip_prefix("--grace")? {
        "" => consumer_flags.get(at + 1).cloned(),
        value => value.strip_prefix('=').map(str::to_owned),
    });
    match flag.or(variable).filter(|grace| !grace.is_empty()) {
        Some(grace) => parse_positive(&grace)
            .map_err(|error| ProducerError::Usage(format!("expected a grace of consumers, found {grace:?}: {error}"))),
        None if is_own_broker => Ok(OWN_GRACE),
        None => Ok(GRACE),
    }
}

fn interrupted() -> ProducerError {
    ProducerError::Interrupted("interrupted; no file was written".to_owned())
}

async fn on_broker(
    args: &ScoreArgs,
    prepared: Prepared,
    fleet: &[String],
    grace: Duration,
    broker: &BrokerArgs,
    is_own_broker: bool,
    shutdown: &Shutdown,
) -> Result<(Done, u64), ProducerError> {
    let mut aggregator = ChildProcess::start(AGGREGATOR, &[], broker, grace)?;
    let mut consumers = ChildProcess::start(CONSUMERS, fleet, broker, grace)?;
    let Opened { job, model, .. } = prepared.opened.clone();
    tracing::info!(event = "started_fleet", %model, scorer = args.scorer, "started an aggregator and consumers for this command alone");
    let is_enqueued = Cell::new(false);
    let scored = tokio::select! {
        scored = enqueue_and_fetch(prepared, args, broker, &is_enqueued, shutdown) => scored,
        error = aggregator.ended() => Err(error),
        error = consumers.ended() => Err(error),
    };
    if scored.is_err() && is_enqueued.get() && !is_own_broker {
        // Nobody would score the rest.
        let access = BrokerAccess::Direct(broker.clone());
        let cancelled = job_control::end(&job, "the command that was to score it has ended", &access);
        match tokio::time::timeout(CANCEL_WITHIN, cancelled).await {
            Ok(Ok(_)) => to_stderr(format_args!("job {job} is cancelled")),
            // It has ended, or was not opened.
            Ok(Err(ProducerError::JobState(_) | ProducerError::NoSuchJob(_))) => {}
            Ok(Err(_)) | Err(_) => to_stderr(format_args!("job {job} may go on: `producer cancel {job}` ends it")),
        }
    }
    tokio::join!(aggregator.stop(), consumers.stop());
    scored
}

async fn enqueue_and_fetch(
    prepared: Prepared,
    args: &ScoreArgs,
    broker: &BrokerArgs,
    is_enqueued: &Cell<bool>,
    shutdown: &Shutdown,
) -> Result<(Done, u64), ProducerError> {
    tokio::select! {
        led = wait_for_leader(broker) => led?,
        () = shutdown.requested() => return Err(interrupted()),
    }
    is_enqueued.set(true);
    let done = match enqueue::enqueue_and_follow(prepared, &BrokerAccess::Direct(broker.clone()), shutdown).await {
        Err(ProducerError::Interrupted(_)) => return Err(interrupted()),
        done => done?,
    };
    tracing::info!(event = "writing_results", job = %done.job, state = %done.state, "the job is done; writing its results");
    let name = format!("rollcall producer: results of {}", done.job);
    let link = tokio::select! {
        link = connect(broker, &name) => link?,
        () = shutdown.requested() => return Err(interrupted()),
    };
    let options = WriteOptions { format: args.results_format, partial: false };
    let written = results::write_to(&args.to, &done.job, options, &link, &broker.topology(), shutdown).await?;
    link.close().await;
    Ok((done, written.map_or(0, |written| written.rows)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grace_of_consumers_is_that_of_their_flags_or_of_the_environment_and_short_where_scores_are_thrown_away() {
        let grace = |flags: &[&str], variable: Option<&str>, is_own_broker| {
            let flags: Vec<String> = flags.iter().copied().map(str::to_owned).collect();
            grace(&flags, variable.map(str::to_owned), is_own_broker).map(|grace| grace.as_secs()).ok()
        };
        assert_eq!([grace(&[], None, true), grace(&[], Some(""), false)], [Some(2), Some(30)]);
        assert_eq!(grace(&["--batch", "3"], Some("7s"), true), Some(7));
        assert_eq!(grace(&["--grace", "5m"], Some("7s"), true), Some(300));
        assert_eq!(grace(&["--batch=3", "--grace=5m", "--hold", "1s"], None, true), Some(300));
        assert_eq!(grace(&["--grace", "soon"], None, true), None);
    }
}
