//! Reads a file's companies on a thread of its own, and hands them over in batches.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::blocking::start_thread;
use crate::companies::{BadInput, Companies, Company, Detected, Progress, ReadOptions};
use crate::error::ProducerError;
use crate::location::Location;
use crate::read_ahead::{Batch, Gone, Receiver, Sender, read_ahead};

/// Companies that are read before the job is opened: a bad file is mostly bad from its first rows.
const FIRST_LOOK_COMPANIES: usize = 1_000;

/// The first look ends early if records are large, so that memory stays flat.
const FIRST_LOOK_BYTES: usize = 8 << 20;

/// The next part of a file.
pub(crate) enum Next {
    /// Companies, in the order of their rows.
    Companies(Vec<Company>),
    /// A bad row, or a fault that ends the file.
    Bad(BadInput),
    /// A source that is no file cannot be read on.
    Failed(ProducerError),
    /// The end of the file, after every row.
    End,
    /// The reading thread has crashed before the end of the file.
    Crashed,
}

/// A file's companies, in batches as they are read.
pub(crate) struct Rows {
    batches: Receiver<Next>,
    first_look: FirstLook,
}

/// What the first companies of a file show.
#[derive(Default)]
pub(crate) struct FirstLook {
    /// Whether the file ends within the first look.
    pub(crate) is_small: bool,
    /// The detected format; `None` if the companies come from no file.
    pub(crate) detected: Option<Detected>,
    /// How far the file has been read.
    pub(crate) progress: Arc<Progress>,
}

impl Rows {
    /// Opens the file and reads its first companies; the rest is read as it is asked for. The thread may block on a slow pipe; it ends
    /// with the process.
    ///
    /// Every row is checked; only companies whose index is `wanted` are handed over.
    pub(crate) async fn open(
        file: Location,
        options: ReadOptions,
        wanted: impl Fn(u32) -> bool + Send + 'static,
    ) -> Result<Rows, ProducerError> {
        Rows::read(move || Companies::open(file, &options), wanted).await
    }

    /// The same for companies that `open` takes from elsewhere, such as an upload, on the thread that reads them.
    pub(crate) async fn read(
        open: impl FnOnce() -> Result<Companies, BadInput> + Send + 'static,
        wanted: impl Fn(u32) -> bool + Send + 'static,
    ) -> Result<Rows, ProducerError> {
        let (to, batches) = read_ahead();
        let (looked, first_looked) = oneshot::channel();
        let runtime = Handle::current();
        start_thread(move || {
            let opened = open().and_then(|mut companies| Ok((look_at(&mut companies)?, companies)));
            match opened {
                Ok(((first, is_small), companies)) => {
                    let (detected, progress) = (Some(companies.detected()), companies.progress());
                    if looked.send(Ok(FirstLook { is_small, detected, progress })).is_ok() {
                        let all = first.into_iter().map(Ok).chain(companies);
                        let unwanted = |row: &Result<Company, BadInput>| row.as_ref().is_ok_and(|company| !wanted(company.index));
                        hand_over_all(all.filter(|row| !unwanted(row)), &to, &runtime);
                    }
                }
                Err(bad) => drop(looked.send(Err(bad))),
            }
        })?;
        // A thread that has crashed here has sent nothing; then `next` returns `Next::Crashed`.
        let first_look = first_looked.await.unwrap_or_else(|_| Ok(FirstLook::default()))?;
        Ok(Rows { batches, first_look })
    }

    /// Rows that come from elsewhere than a file, and the sender that gives them.
    pub(crate) fn channel() -> (Sender<Next>, Rows) {
        let (to, batches) = read_ahead();
        (to, Rows { batches, first_look: FirstLook::default() })
    }

    pub(crate) fn first_look(&self) -> &FirstLook {
        &self.first_look
    }

    /// Waits for the next part. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Next {
        self.batches.recv().await.unwrap_or(Next::Crashed)
    }
}

/// Reads the first companies; says whether they are all.
fn look_at(companies: &mut Companies) -> Result<(Vec<Company>, bool), BadInput> {
    let mut first = Vec::new();
    let mut bytes = 0;
    while first.len() < FIRST_LOOK_COMPANIES && bytes < FIRST_LOOK_BYTES {
        let Some(company) = companies.next() else { return Ok((first, true)) };
        let company = company?;
        bytes += company.record.len();
        first.push(company);
    }
    Ok((first, false))
}

/// Hands over what is read, until the end, or until the receiver is gone because the job has ended.
fn hand_over_all(companies: impl Iterator<Item = Result<Company, BadInput>>, to: &Sender<Next>, runtime: &Handle) {
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
        if batch.is_full() && runtime.block_on(hand_over(&mut batch, to)).is_err() {
            return;
        }
    }
    if runtime.block_on(hand_over(&mut batch, to)).is_ok() {
        drop(runtime.block_on(to.send(last, 0)));
    }
}

/// Hands over the companies of a batch.
///
/// # Errors
/// If the receiver is gone.
pub(crate) async fn hand_over(batch: &mut Batch<Company>, to: &Sender<Next>) -> Result<(), Gone> {
    let (companies, bytes) = batch.take();
    to.send(Next::Companies(companies), bytes).await
}
