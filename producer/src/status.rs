//! Shows how jobs stand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, connect};
use rollcall_shared::message::{CauseCount, Done, Job, JobStatus, Model, Stall, State};
use rollcall_shared::terminal::{escape_controls, escape_json, escape_lines, flush_stderr};
use rollcall_shared::topology::Topology;
use serde::Serialize;

use crate::ask::Asker;
use crate::cli::Output;
use crate::fleet::FleetStatus;
use crate::run::Failure;

/// How jobs stand is told even where the queues of a model do not answer.
const FLEET_WITHIN: Duration = Duration::from_secs(5);

/// How a job stands, and, while it has not ended, the consumers of its model.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    job: JobStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<FleetStatus>,
}

/// Shows one job, or every job.
///
/// # Errors
/// [`Failure`].
pub async fn show(job: Option<Job>, broker: &BrokerArgs, output: Output) -> Result<(), Failure> {
    let link = connect(broker, "rollcall producer: status").await?;
    let topology = broker.topology();
    let mut asker = Asker::open(&link, &topology).await?;
    let jobs = match &job {
        Some(job) => vec![asker.known(job).await?],
        None => asker.jobs().await?,
    };
    let fleets = fleets(&jobs, &link, &topology).await;
    link.close().await;
    let line = |(model, fleet): (&Model, &Result<FleetStatus, BrokerError>)| match fleet {
        Ok(fleet) => fleet.in_words(model),
        Err(error) => escape_controls(&format!("model {model}: consumers unknown: {error}")).into_owned(),
    };
    let lines = || fleets.iter().map(line).collect::<Vec<_>>();
    let fleet_of = |job: &JobStatus| {
        let model = job.model.as_ref().filter(|_| !job.state.is_final())?;
        fleets.get(model)?.as_ref().ok().cloned()
    };
    let mut shown: Vec<Shown> = jobs.into_iter().map(|job| Shown { fleet: fleet_of(&job), job }).collect();
    if job.is_none() {
        return print(output, &shown, || [vec![list(&shown)], lines()].concat().join("\n"));
    }
    let Some(shown) = shown.pop() else { return Ok(()) };
    print(output, &shown, || {
        let words = shown.job.clone().into_done().map_or_else(|| in_words(&shown.job), |done| done_in_words(&done));
        [vec![words], lines().into_iter().map(|line| format!("  {line}")).collect()].concat().join("\n")
    })
}

/// The consumers of each model with a job that has not ended.
async fn fleets(
    jobs: &[JobStatus],
    link: &BrokerConnection,
    topology: &Topology,
) -> BTreeMap<Model, Result<FleetStatus, BrokerError>> {
    let models: BTreeSet<&Model> = jobs.iter().filter(|job| !job.state.is_final()).filter_map(|job| job.model.as_ref()).collect();
    let mut fleets = BTreeMap::new();
    for model in models {
        let asked = tokio::time::timeout(FLEET_WITHIN, FleetStatus::ask(link, topology, model)).await;
        let late = |_| Err(BrokerError::Lost(format!("no answer from its queues within {} s", FLEET_WITHIN.as_secs())));
        fleets.insert(model.clone(), asked.unwrap_or_else(late));
    }
    fleets
}

/// Prints a document on stdout: as JSON, or as `text` for people. What of it comes from outside is escaped; where it may have line
/// breaks, the text has it escaped already.
pub(crate) fn print(output: Output, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
    let text = match output {
        Output::Text => escape_lines(text().split('\n')),
        Output::Json => {
            let document = serde_json::to_string_pretty(document).map_err(|error| Failure::Other(error.to_string()))?;
            escape_json(&document).into_owned()
        }
    };
    // Where both are one terminal, what was said before stands before.
    flush_stderr();
    match writeln!(std::io::stdout(), "{text}") {
        // Whoever reads has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Write { file: "standard output".to_owned(), error }),
        Ok(()) => Ok(()),
    }
}

fn list(jobs: &[Shown]) -> String {
    if jobs.is_empty() {
        return "no jobs yet; `producer enqueue FILE --model M` makes one".to_owned();
    }
    let row = |job: &str, model: &str, state: &str, total: &str, succeeded: &str, failed: &str, opened: &str| {
        format!("{job:<38} {model:<16} {state:<10} {total:>10} {succeeded:>10} {failed:>8}  {opened}")
    };
    let mut lines = vec![row("job", "model", "state", "total", "succeeded", "failed", "opened")];
    lines.extend(jobs.iter().map(|Shown { job: status, .. }| {
        row(
            status.job.as_str(),
            status.model.as_ref().map_or("?", |model| model.as_str()),
            &status.state.to_string(),
            &status.total.map_or_else(|| "?".to_owned(), thousands),
            &thousands(status.succeeded),
            &thousands(status.failed),
            &status.opened_at.map_or_else(|| "?".to_owned(), |opened_at| opened_at.to_string()),
        )
    }));
    escape_lines(lines)
}

/// How a job that has not ended stands, in a few lines for people.
fn in_words(status: &JobStatus) -> String {
    let total = status.total.map_or_else(|| "a number not yet known".to_owned(), thousands);
    let mut lines = vec![
        format!("job {} is {}, with {total} companies", status.job, status.state),
        format!("  {} succeeded, {} failed so far", thousands(status.succeeded), thousands(status.failed)),
    ];
    if let (Some(seconds), Some(rate)) = (status.duration_seconds, status.companies_per_second) {
        lines.push(format!("  {seconds:.1} s since it was opened, {rate:.0} companies/s"));
    }
    lines.extend(status.causes.iter().map(cause_in_words));
    if status.state == State::Unsealed {
        lines.push(unsealed_in_words(status));
    }
    if status.state == State::Running && status.redrives > 0 {
        let (job, redrives) = (&status.job, status.redrives);
        lines.push(format!(
            "  redrive {redrives} is under way; if its producer is gone, `producer redrive {job} --missing` enqueues the rest (with --file, where it was given)"
        ));
    }
    lines.extend(stalled_in_words(status).map(|stalled| format!("  {stalled}")));
    if status.state == State::Paused {
        lines.push(format!("  it is paused: `producer resume {}` goes on with it", status.job));
    }
    escape_lines(lines)
}

/// What is lost of a job, and how to mend it, in a line for people.
pub(crate) fn stalled_in_words(status: &JobStatus) -> Option<String> {
    let Stall { since, companies } = status.stalled.as_ref()?;
    let job = &status.job;
    let redrive = format!("`producer redrive {job} --missing --file FILE`");
    // Which are missing is known when the file's end is.
    let first = if status.sealed.is_some() || status.redrives > 0 {
        String::new()
    } else {
        format!("when its producer is done, or `producer enqueue --resume {job} FILE` in its place, ")
    };
    Some(format!(
        "stalled since {since}: {} companies have no outcome, and nothing of the job waits, is held or is due: they got lost on the broker; {first}{redrive} enqueues them again",
        thousands(*companies)
    ))
}

fn unsealed_in_words(status: &JobStatus) -> String {
    let JobStatus { job, enqueued, duration_seconds, .. } = status;
    let age = duration_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let age = age.map(|age| humantime::format_duration(Duration::from_secs(age.as_secs())).to_string());
    let age = age.unwrap_or_else(|| "longer than this aggregator has counted".to_owned());
    let far = thousands(*enqueued);
    format!(
        "  unsealed for {age}: its producer has told of {far} companies so far, and not of the file's end; if it is gone, go on with `producer enqueue --resume {job} FILE`, or `producer cancel {job}`"
    )
}

/// How a job ended, in a few lines for people.
pub(crate) fn done_in_words(done: &Done) -> String {
    let Done { job, state, duration_seconds, companies_per_second, .. } = done;
    let time = match (duration_seconds, companies_per_second) {
        (Some(seconds), Some(rate)) => format!(" in {seconds:.1} s, {rate:.0}/s"),
        _ => String::new(),
    };
    let mut lines = vec![
        format!("job {job} {state}: {} companies{time}", thousands(done.total)),
        format!(
            "  {} succeeded, {} failed, {} cancelled; {} retries, {} duplicates",
            thousands(done.succeeded),
            thousands(done.failed),
            thousands(done.cancelled),
            thousands(done.retries),
            thousands(done.duplicates)
        ),
    ];
    lines.extend(done.causes.iter().map(cause_in_words));
    lines.extend(done.reason.iter().map(|reason| format!("  reason: {reason}")));
    escape_lines(lines)
}

fn cause_in_words(cause: &CauseCount) -> String {
    format!("  {:>10} failed: {}", thousands(cause.count), cause.cause)
}

/// A count with a comma between thousands.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 46_965, 1_234_567].map(thousands), ["0", "999", "1,000", "46,965", "1,234,567"]);
    }
}
