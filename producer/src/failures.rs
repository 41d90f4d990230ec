//! Shows why companies failed: the number of failures by cause, with examples.

use std::collections::BTreeMap;

use indicatif::HumanCount;
use rollcall_shared::broker::{BrokerArgs, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{CauseCount, Job, JobStatus, Outcome, ResultBody};
use rollcall_shared::terminal::escape_lines;
use serde::Serialize;

use crate::aggregator_client::AggregatorClient;
use crate::cli::Output;
use crate::error::ProducerError;
use crate::output::print;
use crate::results::latest_round::LatestRound;
use crate::results::replay::{Replay, Replayed};

/// How many examples of each cause are shown.
const EXAMPLES: usize = 3;

/// The cause under which the aggregator counts failures of a job with too many causes.
const OTHER_CAUSES: &str = "other";

/// Failures for one cause.
#[derive(Serialize)]
pub(crate) struct Cause {
    pub(crate) cause: String,
    pub(crate) count: u64,
    pub(crate) examples: Vec<Example>,
}

/// A company that failed.
#[derive(Serialize)]
pub(crate) struct Example {
    pub(crate) index: u32,
    pub(crate) company_id: String,
    pub(crate) attempt: u32,
    pub(crate) message: String,
}

type Examples = BTreeMap<String, Vec<Example>>;

/// Shows the failures of a job, so far or at its end.
///
/// # Errors
/// If there is no such job, or the aggregator or the broker fails.
pub async fn show(job: &Job, broker: &BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), ProducerError> {
    let causes = tokio::select! {
        found = find(job, broker) => found?,
        () = shutdown.requested() => return Err(ProducerError::Interrupted("interrupted".to_owned())),
    };
    print(output, &causes, || in_words(job, &causes))
}

/// The failures of a job by cause, the most frequent first, with examples.
///
/// # Errors
/// As [`show`].
pub(crate) async fn find(job: &Job, broker: &BrokerArgs) -> Result<Vec<Cause>, ProducerError> {
    let link = connect(broker, &format!("rollcall producer: failures of {job}")).await?;
    let topology = broker.topology();
    let mut aggregator = AggregatorClient::open(&link, &topology).await?;
    let status = aggregator.job(job).await?;
    let latest = LatestRound::of(&link, &topology, &mut aggregator, &status).await?;
    let mut examples = examples(Replay::open(&link, &topology, &status).await?, latest, &status).await?;
    link.close().await;
    let cause = |CauseCount { cause, count }| Cause { examples: examples.remove(&cause).unwrap_or_default(), cause, count };
    Ok(status.causes.into_iter().map(cause).collect())
}

async fn examples(mut replay: Replay, mut latest: LatestRound, status: &JobStatus) -> Result<Examples, ProducerError> {
    let mut examples: Examples = status.causes.iter().map(|cause| (cause.cause.clone(), Vec::new())).collect();
    let mut wanted: u64 = status.causes.iter().map(|cause| cause.count.min(EXAMPLES as u64)).sum();
    while wanted > 0 {
        let Some(replayed) = replay.next().await? else { break };
        let Replayed::Result(counted, body) = replayed else { continue };
        if !latest.counts(&counted) || counted.outcome != Outcome::Failed {
            continue;
        }
        let Some(of_cause) = counted_as(&mut examples, &counted.cause).filter(|of_cause| of_cause.len() < EXAMPLES) else {
            continue;
        };
        let result = ResultBody::read(&counted, &body);
        of_cause.push(Example {
            index: result.index,
            company_id: result.company_id,
            attempt: result.attempt,
            message: result.error.map(|error| error.message).unwrap_or_default(),
        });
        wanted -= 1;
    }
    Ok(examples)
}

/// The examples to which a failure for `cause` belongs. A scorer may name any number of causes, and a job counts only some.
fn counted_as<'a>(examples: &'a mut Examples, cause: &str) -> Option<&'a mut Vec<Example>> {
    let cause = if examples.contains_key(cause) { cause } else { OTHER_CAUSES };
    examples.get_mut(cause)
}

fn in_words(job: &Job, causes: &[Cause]) -> String {
    if causes.is_empty() {
        return format!("no company of job {job} has failed");
    }
    let mut lines = Vec::new();
    for Cause { cause, count, examples } in causes {
        lines.push(format!("{:>10} failed: {cause}", HumanCount(*count).to_string()));
        let example = |Example { index, company_id, attempt, message }: &Example| {
            format!("             {company_id} (index {index}, attempt {attempt}): {message}")
        };
        lines.extend(examples.iter().map(example));
    }
    lines.push(format!("`producer redrive {job} --cause CAUSE` enqueues those of one cause again"));
    escape_lines(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_of_a_cause_that_is_not_counted_by_itself_is_one_of_the_others() {
        let mut examples: Examples = ["busy", OTHER_CAUSES].map(|cause| (cause.to_owned(), Vec::new())).into();
        let example = |index| Example { index, company_id: String::new(), attempt: 1, message: String::new() };
        for (index, cause) in [(0, "busy"), (1, "the 101st"), (2, "the 102nd")] {
            counted_as(&mut examples, cause).unwrap().push(example(index));
        }
        let counts: Vec<(&str, usize)> = examples.iter().map(|(cause, of_cause)| (cause.as_str(), of_cause.len())).collect();
        assert_eq!(counts, [("busy", 1), (OTHER_CAUSES, 2)]);
        examples.remove(OTHER_CAUSES);
        assert!(counted_as(&mut examples, "the 101st").is_none(), "of a job that has no others");
    }
}
