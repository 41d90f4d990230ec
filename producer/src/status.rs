//! Shows how jobs stand.

use rollcall_shared::broker::{BrokerArgs, connect};
use rollcall_shared::message::{CauseCount, Done, Job, JobStatus};
use serde::Serialize;

use crate::ask::Asker;
use crate::cli::Output;
use crate::run::Failure;

/// Shows one job, or every job.
///
/// # Errors
/// [`Failure`].
pub async fn show(job: Option<Job>, broker: &BrokerArgs, output: Output) -> Result<(), Failure> {
    let link = connect(broker, "rollcall producer: status").await?;
    let mut asker = Asker::open(&link, &broker.topology()).await?;
    match job {
        Some(job) => {
            let status = asker.job(&job).await?.ok_or_else(|| Failure::NoSuchJob(job.to_string()))?;
            let words = status.clone().into_done().map_or_else(|| in_words(&status), |done| done_in_words(&done));
            print(output, &status, || println!("{words}"))?;
        }
        None => {
            let jobs = asker.jobs().await?;
            print(output, &jobs, || list(&jobs))?;
        }
    }
    link.close().await;
    Ok(())
}

/// Prints a document as JSON, or lets `text` print it for people.
pub(crate) fn print(output: Output, document: &impl Serialize, text: impl FnOnce()) -> Result<(), Failure> {
    match output {
        Output::Text => text(),
        Output::Json => {
            let json = serde_json::to_string_pretty(document).map_err(|error| Failure::Other(error.to_string()))?;
            println!("{json}");
        }
    }
    Ok(())
}

fn list(jobs: &[JobStatus]) {
    if jobs.is_empty() {
        println!("no jobs yet; `producer enqueue FILE --model M` makes one");
        return;
    }
    println!("{:<38} {:<16} {:<10} {:>10} {:>10} {:>8}  opened", "job", "model", "state", "total", "succeeded", "failed");
    for status in jobs {
        let total = status.total.map_or_else(|| "?".to_owned(), thousands);
        let model = status.model.as_ref().map_or("?", |model| model.as_str());
        println!(
            "{:<38} {model:<16} {:<10} {total:>10} {:>10} {:>8}  {}",
            status.job.as_str(),
            status.state.to_string(),
            thousands(status.succeeded),
            thousands(status.failed),
            status.opened_at.as_deref().unwrap_or("?"),
        );
    }
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
    lines.join("\n")
}

/// How a job ended, in a few lines for people.
pub(crate) fn done_in_words(done: &Done) -> String {
    let Done { job, state, duration_seconds, companies_per_second, .. } = done;
    let mut lines = vec![
        format!("job {job} {state}: {} companies in {duration_seconds:.1} s, {companies_per_second:.0}/s", thousands(done.total)),
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
    lines.join("\n")
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
