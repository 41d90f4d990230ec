//! The file's companies, read on a thread of their own and handed over in batches.

use std::path::Path;

use rollcall_shared::broker::COALESCE;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::companies::{BadInput, Companies, Company, ReadOptions};

/// Companies looked at before the job is opened: a file that is wrong is mostly wrong at its beginning.
const LOOK_AHEAD_COMPANIES: usize = 1_000;

/// The look-ahead ends early where records are large, so that memory stays flat.
const LOOK_AHEAD_BYTES: usize = 8 << 20;

/// Batches read ahead of publishing.
const BATCHES_AHEAD: usize = 8;

/// Batches of companies as they are read.
pub(super) struct Rows {
    batches: Receiver<Result<Vec<Company>, BadInput>>,
}

impl Rows {
    /// Opens the file and looks at its first companies; the rest is read as it is asked for.
    pub(super) fn open(file: &Path, options: &ReadOptions) -> Result<Rows, BadInput> {
        let mut companies = Companies::open(file, options)?;
        let first = look_ahead(&mut companies)?;
        let (to, batches) = channel(BATCHES_AHEAD);
        std::thread::spawn(move || read(first.into_iter().map(Ok).chain(companies), &to));
        Ok(Rows { batches })
    }

    /// The next batch; nothing at the end of the file. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<Company>, BadInput>> {
        self.batches.recv().await
    }
}

fn look_ahead(companies: &mut Companies) -> Result<Vec<Company>, BadInput> {
    let mut first = Vec::new();
    let mut bytes = 0;
    while first.len() < LOOK_AHEAD_COMPANIES && bytes < LOOK_AHEAD_BYTES {
        let Some(company) = companies.next() else { break };
        let company = company?;
        bytes += company.record.len();
        first.push(company);
    }
    Ok(first)
}

fn read(companies: impl Iterator<Item = Result<Company, BadInput>>, to: &Sender<Result<Vec<Company>, BadInput>>) {
    let mut batch = Vec::with_capacity(COALESCE);
    for company in companies {
        match company {
            Ok(company) => batch.push(company),
            Err(bad) => {
                // Nobody listening means that the job has ended without this.
                if to.blocking_send(Ok(batch)).is_ok() {
                    drop(to.blocking_send(Err(bad)));
                }
                return;
            }
        }
        if batch.len() == COALESCE && to.blocking_send(Ok(std::mem::replace(&mut batch, Vec::with_capacity(COALESCE)))).is_err() {
            return;
        }
    }
    drop(to.blocking_send(Ok(batch)));
}
