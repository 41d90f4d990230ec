//! Shows the status of jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use futures_util::future::join_all;
use indicatif::HumanCount;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, connect};
use rollcall_shared::message::{CauseCount, Done, Job, JobStatus, Model, Stall, State};
use rollcall_shared::terminal::{escape_controls, escape_lines};
use rollcall_shared::topology::Topology;
use serde::Serialize;

use crate::aggregator_client::AggregatorClient;
use crate::cli::Output;
use crate::error::ProducerError;
use crate::fleet::FleetStatus;
use crate::output::print;

/// If a model's queues and consumers do not answer in this time, the jobs are shown without them.
const FLEET_WITHIN: Duration = Duration::from_secs(5);

/// The status of a job, and of its model's consumers unless it has ended.
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
/// If there is no such job, or the aggregator or the broker fails.
pub async fn show(job: Option<Job>, broker: &BrokerArgs, output: Output) -> Result<(), ProducerError> {
    let link = connect(broker, "rollcall producer: status").await?;
    let topology = broker.topology();
    let mut aggregator = AggregatorClient::open(&link, &topology).await?;
    let jobs = match &job {
        Some(job) => vec![aggregator.job(job).await?],
        None => aggregator.jobs().await?,
    };
    let fleets = fleets_of(&jobs, &mut aggregator, &link, &topology).await;
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
        return print(output, &shown, || [vec![table(&shown)], lines()].concat().join("\n"));
    }
    let Some(shown) = shown.pop() else { return Ok(()) };
    print(output, &shown, || {
        let words = shown.job.clone().into_done().map_or_else(|| in_words(&shown.job), |done| done_in_words(&done));
        [vec![words], lines().into_iter().map(|line| format!("  {line}")).collect()].concat().join("\n")
    })
}

/// The consumers of each model with a job that has not ended.
pub(crate) async fn fleets_of(
    jobs: &[JobStatus],
    aggregator: &mut AggregatorClient,
    link: &BrokerConnection,
    topology: &Topology,
) -> BTreeMap<Model, Result<FleetStatus, BrokerError>> {
    let models: BTreeSet<&Model> = jobs.iter().filter(|job| !job.state.is_final()).filter_map(|job| job.model.as_ref()).collect();
    if models.is_empty() {
        return BTreeMap::new();
    }
    // What waits is then shown as the queues have it.
    let work_left = aggregator.work_left().await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the leader does not say how much work is left");
        Vec::new()
    });
    let fleets = models.into_iter().map(async |model| {
        let queried = tokio::time::timeout(FLEET_WITHIN, FleetStatus::query(link, topology, model)).await;
        let late = |_| Err(BrokerError::Lost(format!("no answer from its queues within {} s", FLEET_WITHIN.as_secs())));
        let left = work_left.iter().find(|left| left.model == *model);
        let fleet = queried.unwrap_or_else(late).map(|fleet| match left {
            Some(left) => fleet.with_work_left(left),
            None => fleet,
        });
        (model.clone(), fleet)
    });
    // A consumer that does not answer is waited for, but not once for each model.
    join_all(fleets).await.into_iter().collect()
}

/// The columns of the table with numbers.
const NUMBERS: Range<usize> = 3..6;

/// A table of jobs: a header, and one line for each.
fn table(jobs: &[Shown]) -> String {
    if jobs.is_empty() {
        return "no jobs yet; `producer enqueue FILE --model M` makes one".to_owned();
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["job", "model", "state", "total", "succeeded", "failed", "opened"]);
    table.add_rows(jobs.iter().map(|Shown { job: status, .. }| {
        [
            status.job.to_string(),
            status.model.as_ref().map_or_else(|| "?".to_owned(), Model::to_string),
            status.state.to_string(),
            status.total.map_or_else(|| "?".to_owned(), |total| HumanCount(total).to_string()),
            HumanCount(status.succeeded).to_string(),
            HumanCount(status.failed).to_string(),
            status.opened_at.map_or_else(|| "?".to_owned(), |opened_at| opened_at.to_string()),
        ]
    }));
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        column.set_cell_alignment(if NUMBERS.contains(&at) { CellAlignment::Right } else { CellAlignment::Left });
    }
    table.trim_fmt()
}

/// A few lines about a job that has not ended.
fn in_words(status: &JobStatus) -> String {
    let total = status.total.map_or_else(|| "a number not yet known".to_owned(), |total| HumanCount(total).to_string());
    let mut lines = vec![
        format!("job {} is {}, with {total} companies", status.job, status.state),
        format!("  {} succeeded, {} failed so far", HumanCount(status.succeeded), HumanCount(status.failed)),
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
        let left = status.total.map(|total| total.saturating_sub(status.succeeded + status.failed));
        let left = left.map_or_else(String::new, |left| format!(", with {} companies left", HumanCount(left)));
        lines.push(format!("  it is paused{left}: `producer resume {}` resumes it", status.job));
    }
    escape_lines(lines)
}

/// One line that says how many companies of a stalled job are lost, and how to enqueue them again; `None` if the job is not stalled.
pub(crate) fn stalled_in_words(status: &JobStatus) -> Option<String> {
    let Stall { since, companies } = status.stalled.as_ref()?;
    let job = &status.job;
    let redrive = format!("`producer redrive {job} --missing --file FILE`");
    // Which companies are missing is known only once the file's end is.
    let first = if status.sealed.is_some() || status.redrives > 0 {
        String::new()
    } else {
        format!("when its producer is done, or `producer enqueue --continue {job} FILE` in its place, ")
    };
    Some(format!(
        "stalled since {since}: {} companies have no outcome, and nothing of the job waits, is held or is due: they got lost on the broker; {first}{redrive} enqueues them again",
        HumanCount(*companies)
    ))
}

fn unsealed_in_words(status: &JobStatus) -> String {
    let JobStatus { job, enqueued, duration_seconds, .. } = status;
    let age = duration_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let age = age.map(|age| humantime::format_duration(Duration::from_secs(age.as_secs())).to_string());
    let age = age.unwrap_or_else(|| "longer than this aggregator has counted".to_owned());
    let enqueued = HumanCount(*enqueued);
    format!(
        "  unsealed for {age}: its producer has reported {enqueued} companies so far, and not the file's end; if it is gone, go on with `producer enqueue --continue {job} FILE`, or `producer cancel {job}`"
    )
}

/// A few lines about how a job ended.
pub(crate) fn done_in_words(done: &Done) -> String {
    let Done { job, state, duration_seconds, companies_per_second, .. } = done;
    let time = match (duration_seconds, companies_per_second) {
        (Some(seconds), Some(rate)) => format!(" in {seconds:.1} s, {rate:.0}/s"),
        _ => String::new(),
    };
    let mut lines = vec![
        format!("job {job} {state}: {} companies{time}", HumanCount(done.total)),
        format!(
            "  {} succeeded, {} failed, {} cancelled; {} retries, {} duplicates",
            HumanCount(done.succeeded),
            HumanCount(done.failed),
            HumanCount(done.cancelled),
            HumanCount(done.retries),
            HumanCount(done.duplicates)
        ),
    ];
    lines.extend(done.causes.iter().map(cause_in_words));
    lines.extend(done.reason.iter().map(|reason| format!("  reason: {reason}")));
    escape_lines(lines)
}

fn cause_in_words(cause: &CauseCount) -> String {
    format!("  {:>10} failed: {}", HumanCount(cause.count).to_string(), cause.cause)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(job: &str, total: &Value) -> Shown {
        let job = json!({
            "job": job, "model": "m", "state": "running", "total": total, "sealed": total, "succeeded": 1_500, "failed": 2,
            "cancelled": 0, "duplicates": 0, "retries": 0, "opened_at": "2026-11-29T12:00:00Z", "done_at": null,
            "duration_seconds": null, "companies_per_second": null, "causes": [], "source": "c.csv", "enqueued": 0,
            "first_offset": 0, "next_offset": 0,
        });
        Shown { job: serde_json::from_value(job).unwrap(), fleet: None }
    }

    #[test]
    fn the_table_of_jobs_has_a_line_each_with_numbers_to_the_right() {
        let long = "a-name-that-is-longer-than-the-36-characters-of-a-uuid";
        let table = table(&[shown("j", &json!(1_234_567)), shown(long, &Value::Null)]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(
            lines[0].starts_with("job  ") && lines[1].starts_with("j  ") && lines[2].starts_with(&format!("{long}  m  ")),
            "{table}"
        );
        let ends = |line: &str, word: &str| line.find(word).unwrap() + word.len();
        assert_eq!(ends(lines[1], "1,234,567"), ends(lines[2], "?"), "{table}");
        assert_eq!(ends(lines[0], "succeeded"), ends(lines[1], "1,500"), "{table}");
    }
}
