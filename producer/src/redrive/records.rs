//! Where the records of the companies come from: a file, or the job's failed results in the ledger.

use std::fs;
use std::path::{Path, PathBuf};

use roaring::RoaringBitmap;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, connect};
use rollcall_shared::message::{Indices, JobStatus, Outcome, Reading, ResultBody};

use super::same_companies;
use crate::blocking::on_a_thread;
use crate::cli::{MAX_RECORD_BYTES, RedriveArgs};
use crate::companies::{BadInput, Companies, Company, ReadOptions};
use crate::enqueue::rows::{Next, Rows, hand_over};
use crate::read_ahead::{Batch, Sender};
use crate::results::replay::{Replay, Replayed};
use crate::run::Failure;
use crate::status::thousands;

/// A source of records that has all that are wanted.
pub(super) enum Records {
    /// The rows of a file.
    File { file: PathBuf, options: ReadOptions },
    /// The failed results of the job.
    Ledger { status: Box<JobStatus>, broker: BrokerArgs },
}

/// What is not said now holds as it was said when the job was opened.
fn read_options(args: &RedriveArgs, opened: &Reading) -> ReadOptions {
    ReadOptions {
        format: args.format.or(opened.format),
        delimiter: args.delimiter.or(opened.delimiter),
        columns: if args.columns.is_empty() { opened.columns.clone() } else { args.columns.clone() },
        id_column: args.id_column.clone().or_else(|| opened.id_column.clone()),
        // The job took the file once; what it refused then does not matter now.
        allow_duplicate_ids: true,
        max_record_bytes: u32::try_from(MAX_RECORD_BYTES).unwrap_or(u32::MAX),
    }
}

/// How many rows the file has; nothing where none is given.
///
/// # Errors
/// [`Failure`] for the first bad row: nothing is enqueued from such a file.
pub(super) async fn count_rows(args: &RedriveArgs, opened: &Reading) -> Result<Option<u64>, Failure> {
    let Some(file) = args.file.clone() else { return Ok(None) };
    refuse_read_once(&file)?;
    let options = read_options(args, opened);
    let rows = on_a_thread(move || count(&file, &options)).await??;
    Ok(Some(rows))
}

fn refuse_read_once(file: &Path) -> Result<(), Failure> {
    let pipe = fs::metadata(file).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    if !pipe && file.as_os_str() != "-" {
        return Ok(());
    }
    let found = if pipe { file.display().to_string() } else { "standard input".to_owned() };
    Err(Failure::Usage(format!("expected a file that can be read twice, found {found}; give the file itself")))
}

fn count(file: &Path, options: &ReadOptions) -> Result<u64, BadInput> {
    let mut rows = 0;
    for company in Companies::open(file, options)? {
        company?;
        rows += 1;
    }
    Ok(rows)
}

impl Records {
    /// Looks whether every one of `selected` has a record, and a file is of the job's companies.
    ///
    /// # Errors
    /// [`Failure::Usage`] where it is not so.
    pub(super) async fn find(
        args: &RedriveArgs,
        selected: &RoaringBitmap,
        status: &JobStatus,
        link: &BrokerConnection,
        broker: &BrokerArgs,
    ) -> Result<Records, Failure> {
        if let Some(file) = args.file.clone() {
            let options = read_options(args, &status.settings.reading);
            same_companies::check(file.clone(), options.clone(), status, link, &broker.topology()).await?;
            return Ok(Records::File { file, options });
        }
        let mut without = selected.clone();
        let mut replay = Replay::open(link, &broker.topology(), status).await?;
        while !without.is_empty() {
            let Some(company) = next_failed(&mut replay, &without).await? else { break };
            without.remove(company.index);
        }
        if without.is_empty() {
            return Ok(Records::Ledger { status: Box::new(status.clone()), broker: broker.clone() });
        }
        let some = Indices(without.iter().take(10).collect());
        Err(Failure::Usage(format!(
            "expected a record in the ledger of each of {} companies, found none of {} (such as {some}): they did not fail, their record was too large to come with their failure, or the ledger's retention has dropped it; give the job's file with --file",
            thousands(selected.len()),
            thousands(without.len())
        )))
    }

    /// The companies of `selected` with their records.
    pub(super) async fn rows(self, selected: RoaringBitmap) -> Result<Rows, Failure> {
        match self {
            Records::File { file, options } => Rows::open(file, options, move |index| selected.contains(index)).await,
            Records::Ledger { status, broker } => {
                let (to, rows) = Rows::sent();
                tokio::spawn(async move {
                    if let Err(error) = replay(&status, &broker, selected, &to).await {
                        // Nobody listens where the end was an interruption.
                        drop(to.send(Next::Failed(error), 0).await);
                    }
                });
                Ok(rows)
            }
        }
    }
}

/// Sends each of `wanted`, with the record of its first failed result: all copies of a company have the same.
async fn replay(status: &JobStatus, broker: &BrokerArgs, mut wanted: RoaringBitmap, to: &Sender<Next>) -> Result<(), Failure> {
    let link = connect(broker, &format!("rollcall producer: records of {}", status.job)).await?;
    let mut replay = Replay::open(&link, &broker.topology(), status).await?;
    let mut batch = Batch::new();
    while !wanted.is_empty() {
        let Some(company) = next_failed(&mut replay, &wanted).await? else { break };
        wanted.remove(company.index);
        let bytes = company.record.len();
        batch.add(company, bytes);
        if (batch.is_full() || wanted.is_empty()) && hand_over(&mut batch, to).await.is_err() {
            return Ok(());
        }
    }
    drop(to.send(Next::End, 0).await);
    link.close().await;
    Ok(())
}

async fn next_failed(replay: &mut Replay, wanted: &RoaringBitmap) -> Result<Option<Company>, Failure> {
    while let Some(replayed) = replay.next().await? {
        let Replayed::Result(counted, body) = replayed else { continue };
        if counted.outcome != Outcome::Failed || !wanted.contains(counted.index.0) {
            continue;
        }
        let result = ResultBody::read(&counted, &body);
        if let Some(record) = result.record {
            let record = as_it_was(record.get());
            return Ok(Some(Company { index: result.index, company_id: result.company_id, record }));
        }
    }
    Ok(None)
}

/// A record that was no JSON comes as text.
fn as_it_was(record: &str) -> Vec<u8> {
    serde_json::from_str::<String>(record).map_or_else(|_| record.as_bytes().to_vec(), String::into_bytes)
}
