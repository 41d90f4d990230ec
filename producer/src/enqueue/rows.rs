//! The file's companies, read on a thread of their own and handed over in batches.

use std::path::PathBuf;
use std::sync::Arc;

use rollcall_shared::broker::COALESCE;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::companies::{BadInput, Companies, Company, Detected, Progress, ReadOptions};
use crate::run::Failure;

/// Companies looked at before the job is opened: a file that is wrong is mostly wrong at its beginning.
const LOOK_AHEAD_COMPANIES: usize = 1_000;

/// The look-ahead ends early where records are large, so that memory stays flat.
const LOOK_AHEAD_BYTES: usize = 8 << 20;

/// Batches read ahead of publishing.
const BATCHES_AHEAD: usize = 8;

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
    ) -> Result<Rows, BadInput> {
        let (to, batches) = channel(BATCHES_AHEAD);
        let (looked, first_look) = oneshot::channel();
        std::thread::spawn(move || {
            let opened = Companies::open(&file, &options).and_then(|mut companies| Ok((look_ahead(&mut companies)?, companies)));
            match opened {
                Ok(((first, is_small), companies)) => {
                    let (detected, progress) = (Some(companies.detected()), companies.progress());
                    if looked.send(Ok(Seen { is_small, detected, progress })).is_ok() {
                        let all = first.into_iter().map(Ok).chain(companies);
                        let unwanted = |row: &Result<Company, BadInput>| row.as_ref().is_ok_and(|company| !wanted(company.index));
                        read(all.filter(|row| !unwanted(row)), &to);
                    }
                }
                Err(bad) => drop(looked.send(Err(bad))),
            }
        });
        // A thread that crashed here has sent nothing; the rows say so when they are asked for.
        first_look.await.unwrap_or_else(|_| Ok(Seen::default())).map(|seen| Rows { batches, seen })
    }

    /// Rows that come from elsewhere than a file: what is sent comes next.
    pub(crate) fn sent() -> (Sender<Next>, Rows) {
        let (to, batches) = channel(BATCHES_AHEAD);
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
fn read(companies: impl Iterator<Item = Result<Company, BadInput>>, to: &Sender<Next>) {
    let mut batch = Vec::with_capacity(COALESCE);
    let mut last = Next::End;
    for company in companies {
        match company {
            Ok(company) => batch.push(company),
            Err(bad) => {
                last = Next::Bad(bad);
                break;
            }
        }
        if batch.len() == COALESCE {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(COALESCE));
            if to.blocking_send(Next::Companies(full)).is_err() {
                return;
            }
        }
    }
    if to.blocking_send(Next::Companies(batch)).is_ok() {
        drop(to.blocking_send(last));
    }
}
