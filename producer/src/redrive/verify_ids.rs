//! Verifies that a file has the companies of the job. Rows are known by their numbers: in a file with another order, each company would
//! be scored in place of another.

use std::collections::HashMap;

use rollcall_shared::broker::BrokerConnection;
use rollcall_shared::message::{JobStatus, ResultBody};
use rollcall_shared::topology::Topology;

use crate::blocking::on_a_thread;
use crate::companies::{Companies, ReadOptions};
use crate::error::ProducerError;
use crate::location::Location;
use crate::results::replay::{Replay, Replayed};

/// How many companies are compared: those with the job's first results. In a file with another order, nearly all differ.
const COMPARED: usize = 1_000;

/// Compares the ids of `file` with those in the job's first results.
///
/// # Errors
/// [`ProducerError::Usage`] if a row has another company's id.
pub(super) async fn verify(
    file: Location,
    options: ReadOptions,
    status: &JobStatus,
    link: &BrokerConnection,
    topology: &Topology,
) -> Result<(), ProducerError> {
    let mut replay = Replay::open(link, topology, status).await?;
    let mut ids = HashMap::new();
    // Without this bound, a job of few companies would read on through the records of other jobs.
    let most = usize::try_from(status.succeeded + status.failed).map_or(COMPARED, |counted| counted.min(COMPARED));
    while ids.len() < most {
        let Some(replayed) = replay.next().await? else { break };
        let Replayed::Result(counted, body) = replayed else { continue };
        ids.insert(counted.index.0, ResultBody::read(&counted, &body).company_id);
    }
    on_a_thread(move || compare(&file, &options, ids)).await?
}

fn compare(file: &Location, options: &ReadOptions, mut ids: HashMap<u32, String>) -> Result<(), ProducerError> {
    // A result that cannot be read has no id.
    ids.retain(|_, id| !id.is_empty());
    let mut companies = Companies::open(file, options)?;
    while !ids.is_empty() {
        let Some(company) = companies.next().transpose()? else { break };
        let found = company.company_id;
        if let Some(expected) = ids.remove(&company.index).filter(|expected| *expected != found) {
            return Err(ProducerError::Usage(format!(
                "{file}, row {}: expected company {expected:?}, which the job has there, found {found:?}; give the job's file, with its rows in the same order",
                u64::from(company.index) + 1
            )));
        }
    }
    Ok(())
}
