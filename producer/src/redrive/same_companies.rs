//! Whether a file has the companies of the job. Its rows are known by their numbers: of a file in another order, each would be
//! scored in another's place.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rollcall_shared::broker::BrokerConnection;
use rollcall_shared::message::{JobStatus, ResultBody};
use rollcall_shared::topology::Topology;

use crate::blocking::on_a_thread;
use crate::companies::{Companies, ReadOptions};
use crate::results::replay::{Replay, Replayed};
use crate::run::Failure;

/// Companies compared: those with the job's first results. A file in another order differs in nearly all of them.
const COMPARED: usize = 1_000;

/// Compares the ids of `file` with those in the job's first results.
///
/// # Errors
/// [`Failure::Usage`] where a row has another company's.
pub(super) async fn check(
    file: PathBuf,
    options: ReadOptions,
    status: &JobStatus,
    link: &BrokerConnection,
    topology: &Topology,
) -> Result<(), Failure> {
    let mut replay = Replay::open(link, topology, status).await?;
    let mut ids = HashMap::new();
    // Behind the last of few may be a long ledger of other jobs.
    let most = usize::try_from(status.succeeded + status.failed).map_or(COMPARED, |counted| counted.min(COMPARED));
    while ids.len() < most {
        let Some(replayed) = replay.next().await? else { break };
        let Replayed::Result(counted, body) = replayed else { continue };
        ids.insert(counted.index.0, ResultBody::read(&counted, &body).company_id);
    }
    on_a_thread(move || compare(&file, &options, ids)).await?
}

fn compare(file: &Path, options: &ReadOptions, mut ids: HashMap<u32, String>) -> Result<(), Failure> {
    // Of a result that cannot be read, nobody knows whose it was.
    ids.retain(|_, id| !id.is_empty());
    let mut companies = Companies::open(file, options)?;
    while !ids.is_empty() {
        let Some(company) = companies.next().transpose()? else { break };
        let found = company.company_id;
        if let Some(expected) = ids.remove(&company.index).filter(|expected| *expected != found) {
            return Err(Failure::Usage(format!(
                "{}, row {}: expected company {expected:?}, which the job has there, found {found:?}; give the job's file, with its rows in the same order",
                file.display(),
                u64::from(company.index) + 1
            )));
        }
    }
    Ok(())
}
