//! Finds the records of the companies: in a file, or in the job's failed results in the ledger.

use std::fs;

use indicatif::HumanCount;
use roaring::RoaringBitmap;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, connect};
use rollcall_shared::message::{Indices, JobStatus, Outcome, Reading, ResultBody};

use super::verify_ids::verify;
use crate::blocking::on_a_thread;
use crate::cli::{MAX_RECORD_BYTES, RedriveArgs};
use crate::companies::{BadInput, Companies, Company, ReadOptions};
use crate::enqueue::rows::{Next, Rows, hand_over};
use crate::error::ProducerError;
use crate::location::Location;
use crate::read_ahead::{Batch, Sender};
use crate::results::replay::{Replay, Replayed};

/// A source that has the record of every selected company.
pub(super) enum Records {
    /// The rows of a file.
    File { file: Location, options: ReadOptions },
    /// The job's failed results.
    Ledger { status: Box<JobStatus>, broker: BrokerArgs },
}

/// How to read the file: as `args` say, and otherwise as when the job was opened.
fn read_options(args: &RedriveArgs, opened: &Reading) -> ReadOptions {
    ReadOptions {
        format: args.format.or(opened.format),
        delimiter: args.delimiter.or(opened.delimiter),
        columns: if args.columns.is_empty() { opened.columns.clone() } else { args.columns.clone() },
        id_column: args.id_column.clone().or_else(|| opened.id_column.clone()),
        // The file passed the checks of `enqueue` when the job was opened.
        allow_duplicate_ids: true,
        max_record_bytes: u32::try_from(MAX_RECORD_BYTES).unwrap_or(u32::MAX),
    }
}

/// How many rows the file has; `None` if no file is given.
///
/// # Errors
/// [`ProducerError::BadInput`] for the first bad row: nothing is enqueued from such a file.
pub(super) async fn count_rows(args: &RedriveArgs, opened: &Reading) -> Result<Option<u64>, ProducerError> {
    let Some(file) = args.file.clone() else { return Ok(None) };
    refuse_read_once(&file)?;
    let options = read_options(args, opened);
    let rows = on_a_thread(move || count(&file, &options)).await??;
    Ok(Some(rows))
}

fn refuse_read_once(file: &Location) -> Result<(), ProducerError> {
    let is_read_once = match file {
        Location::Standard => true,
        Location::Path(path) => fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()),
        Location::Url(_) => false,
    };
    if !is_read_once {
        return Ok(());
    }
    let found = file.input_name();
    Err(ProducerError::Usage(format!("expected a file that can be read twice, found {found}; give the file itself")))
}

fn count(file: &Location, options: &ReadOptions) -> Result<u64, BadInput> {
    let mut rows = 0;
    for company in Companies::open(file, options)? {
        company?;
        rows += 1;
    }
    Ok(rows)
}

impl Records {
    /// Verifies that every one of `selected` has a record, and that a file has the job's companies.
    ///
    /// # Errors
    /// [`ProducerError::Usage`] if not.
    pub(super) async fn find(
        args: &RedriveArgs,
        selected: &RoaringBitmap,
        status: &JobStatus,
        link: &BrokerConnection,
        broker: &BrokerArgs,
    ) -> Result<Records, ProducerError> {
        if let Some(file) = args.file.clone() {
            let options = read_options(args, &status.settings.reading);
            verify(file.clone(), options.clone(), status, link, &broker.topology()).await?;
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
        Err(ProducerError::Usage(format!(
            "expected a record in the ledger of each of {} companies, found none of {} (such as {some}): they did not fail, their record was too large to come with their failure, or the ledger's retention has dropped it; give the job's file with --file",
            HumanCount(selected.len()),
            HumanCount(without.len())
        )))
    }

    /// The companies of `selected` with their records.
    pub(super) async fn rows(self, selected: RoaringBitmap) -> Result<Rows, ProducerError> {
        match self {
            Records::File { file, options } => Rows::open(file, options, move |index| selected.contains(index)).await,
            Records::Ledger { status, broker } => {
                let (to, rows) = Rows::channel();
                tokio::spawn(async move {
                    if let Err(error) = replay(&status, &broker, selected, &to).await {
                        // The receiver is gone if the redrive was interrupted.
                        drop(to.send(Next::Failed(error), 0).await);
                    }
                });
                Ok(rows)
            }
        }
    }
}

/// Sends each of `wanted` with the record of its first failed result: all results of a company have the same record.
async fn replay(
    status: &JobStatus,
    broker: &BrokerArgs,
    mut wanted: RoaringBitmap,
    to: &Sender<Next>,
) -> Result<(), ProducerError> {
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

async fn next_failed(replay: &mut Replay, wanted: &RoaringBitmap) -> Result<Option<Company>, ProducerError> {
    while let Some(replayed) = replay.next().await? {
        let Replayed::Result(counted, body) = replayed else { continue };
        if counted.outcome != Outcome::Failed || !wanted.contains(counted.index.0) {
            continue;
        }
        let result = ResultBody::read(&counted, &body);
        if let Some(record) = result.record {
            let record = original_bytes(record.get());
            return Ok(Some(Company { index: result.index, company_id: result.company_id, record }));
        }
    }
    Ok(None)
}

/// The record's original bytes: a record that was no JSON comes as a JSON string.
fn original_bytes(record: &str) -> Vec<u8> {
    serde_json::from_str::<String>(record).map_or_else(|_| record.as_bytes().to_vec(), String::into_bytes)
}
