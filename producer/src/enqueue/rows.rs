//! The file's companies, read on a thread of their own and handed over in batches.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::blocking::start_thread;
use crate::companies::{BadInput, Companies, Company, Detected, Progress, ReadOptions};
use crate::read_ahead::{Batch, Gone, Receiver, Sender, read_ahead};
use crate::run::Failure;

/// Companies looked at before the job is opened: a file that is wrong is mostly wrong at its beginning.
const LOOK_AHEAD_COMPANIES: usize = 1_000;

/// The look-ahead ends early where records are large, so that memory stays flat.
const LOOK_AHEAD_BYTES: usize = 8 << 20;

/// What reading a file gives next.
pub(crate) enum Next {
    /// Companies, in the order of their rows.
    Companies(Vec<Company>),
    /// A row that cannot be taken, or the rest of the file.
    Bad(BadInput),
    /// What the companies come from, which is no file, cannot be read on.
    Failed(Failure),
    /// The end of the file: every row has been given.
    End,
    /// Nothing more, and yet not the end: the reading thread has crashed.
    Crashed,
}

/// Batches of companies as they are read.
pub(crate) struct Rows {
    batches: Receiver<Next>,
    seen: Seen,
}

/// What a first look at a file has shown.
#[derive(Default)]
pub(crate) struct Seen {
    /// Whether the file ends within the companies that were looked at before anything was enqueued.
    pub(crate) is_small: bool,
    /// What the file is taken for; nothing where the companies come from no file.
    pub(crate) detected: Option<Detected>,
    /// How far it has been read.
    pub(crate) progress: Arc<Progress>,
}

impl Rows {
    /// Opens the file and looks at its first companies; the rest is read as it is asked for. A thread of its own waits for
    /// what may be a slow pipe; it ends with the process.
    ///
    /// Every row is checked, and those that `wanted` names are given.
    pub(crate) async fn open(
        file: PathBuf,
        options: ReadOptions,
        wanted: impl Fn(u32) -> bool + Send + 'static,
    ) -> Result<Rows, Failure> {
        let (to, batches) = read_ahead();
        let (looked, first_look) = oneshot::channel();
        let runtime = Handle::current();
        start_thread(move || {
            let opened = Companies::open(&file, &options).and_then(|mut companies| Ok((look_ahead(&mut companies)?, companies)));
            match opened {
                Ok(((first, is_small), companies)) => {
                    let (detected, progress) = (Some(companies.detected()), companies.progress());
                    if looked.send(Ok(Seen { is_small, detected, progress })).is_ok() {
                        let all = first.into_iter().map(Ok).chain(companies);
                        let unwanted = |row: &Result<Company, BadInput>| row.as_ref().is_ok_and(|company| !wanted(company.index));
                        runtime.block_on(read(all.filter(|row| !unwanted(row)), &to));
                    }
                }
                Err(bad) => drop(looked.send(Err(bad))),
            }
        })?;
        // A thread that crashed here has sent nothing; the rows say so when they are asked for.
        let seen = first_look.await.unwrap_or_else(|_| Ok(Seen::default()))?;
        Ok(Rows { batches, seen })
    }

    /// Rows that come from elsewhere than a file: what is sent comes next.
    pub(crate) fn sent() -> (Sender<Next>, Rows) {
        let (to, batches) = read_ahead();
        (to, Rows { batches, seen: Seen::default() })
    }

    /// What the first look has shown.
    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// What comes next. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Next {
        self.batches.recv().await.unwrap_or(Next::Crashed)
    }
}

/// The first companies, and whether there are no others.
fn look_ahead(companies: &mut Companies) -> Result<(Vec<Company>, bool), BadInput> {
    let mut first = Vec::new();
    let mut bytes = 0;
    while first.len() < LOOK_AHEAD_COMPANIES && bytes < LOOK_AHEAD_BYTES {
        let Some(company) = companies.next() else { return Ok((first, true)) };
        let company = company?;
        bytes += company.record.len();
        first.push(company);
    }
    Ok((first, false))
}

/// Hands over what is read, until the end or until nobody listens: then the job has ended without this.
async fn read(companies: impl Iterator<Item = Result<Company, BadInput>>, to: &Sender<Next>) {
    let mut batch = Batch::new();
    let mut last = Next::End;
    for company in companies {
        match company {
            Ok(company) => {
                let bytes = company.record.len();
                batch.add(company, bytes);
            }
            Err(bad) => {
                last = Next::Bad(bad);
                break;
            }
        }
        if batch.is_full() && hand_over(&mut batch, to).await.is_err() {
            return;
        }
    }
    if hand_over(&mut batch, to).await.is_ok() {
        drop(to.send(last, 0).await);
    }
}

/// Hands over the companies of a batch.
///
/// # Errors
/// Where nobody listens.
pub(crate) async fn hand_over(batch: &mut Batch<Company>, to: &Sender<Next>) -> Result<(), Gone> {
    let (companies, bytes) = batch.take();
    to.send(Next::Companies(companies), bytes).await
}
