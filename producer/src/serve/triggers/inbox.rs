//! Watches a folder: a file that is put into `MODEL/` in it is enqueued once it is whole, and then moved to `MODEL/done/`, or to
//! `MODEL/failed/` with the reason beside it.

mod candidates;
mod filing;

use std::collections::HashSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use rollcall_shared::message::{Job, Model};
use tokio::sync::mpsc;

use self::candidates::{Candidate, Candidates, Identity};
use self::filing::{file_as_done, file_as_failed};
use super::triggered_job::{Made, end, make};
use crate::blocking::on_a_thread;
use crate::enqueue::content_hash::content_hash;
use crate::error::ProducerError;
use crate::location::Location;
use crate::serve::config::Inbox;
use crate::serve::derived_name::derived_name;
use crate::serve::gateway::Gateway;
use crate::serve::refusals::Refusal;

/// Files that are enqueued at a time; others wait. Each takes a channel, and the memory of an upload.
const AT_A_TIME: usize = 4;

/// Renamed files that are noted before the folder is looked into.
const RENAMED_AT_ONCE: usize = 10_000;

/// How often to look into the folder without being told to: the system may lose what it has to tell, and tells nothing of a network's folder.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Watches the inbox, if there is one.
pub(super) async fn watch(gateway: &Arc<Gateway>) -> Infallible {
    let Some(inbox) = &gateway.config.inbox else { return std::future::pending().await };
    let (told, mut renamed) = mpsc::unbounded_channel();
    // Without one, the folder is looked into all the same.
    let _watcher = watcher(&inbox.path, told);
    let mut candidates = Candidates::default();
    let mut paths = Vec::new();
    let mut taken = HashSet::new();
    let mut at_work = FuturesUnordered::new();
    loop {
        let (path, settle, mut own) = (inbox.path.clone(), inbox.settle, std::mem::take(&mut candidates));
        // A folder on the network may not answer.
        let looked = on_a_thread(move || {
            let found = own.look(&path, settle);
            (own, found)
        });
        let found = match looked.await {
            Ok((own, found)) => {
                candidates = own;
                found.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match found {
            Ok(ready) => {
                for candidate in ready {
                    if at_work.len() < AT_A_TIME && taken.insert(candidate.path.clone()) {
                        at_work.push(take(candidate, inbox, gateway));
                    }
                }
            }
            Err(error) => {
                tracing::warn!(event = "inbox_unreadable", path = %inbox.path.display(), %error, "cannot look into the inbox; trying again");
            }
        }
        tokio::select! {
            1.. = renamed.recv_many(&mut paths, RENAMED_AT_ONCE) => paths.drain(..).for_each(|path| candidates.note_renamed(path)),
            Some(path) = at_work.next() => {
                taken.remove(&path);
                candidates.forget(&path);
            }
            () = tokio::time::sleep(LOOK_EVERY.min(inbox.settle)) => {}
        }
    }
}

/// Sends the paths of files that are renamed into the folder: these are whole.
fn watcher(path: &Path, told: mpsc::UnboundedSender<PathBuf>) -> Option<RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| {
        if let Ok(notify::Event { kind: EventKind::Modify(ModifyKind::Name(RenameMode::To)), paths, .. }) = event {
            // Nobody listens once this gateway no longer leads.
            paths.into_iter().for_each(|path| drop(told.send(path)));
        }
    };
    let watching = notify::recommended_watcher(tell).and_then(|mut watcher| {
        watcher.watch(path, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    watching
        .inspect_err(|error| tracing::warn!(event = "inbox_not_watched", path = %path.display(), %error, "the inbox is looked into at times only"))
        .ok()
}

/// Enqueues a file and files it; returns its path.
async fn take(candidate: Candidate, inbox: &Inbox, gateway: &Arc<Gateway>) -> PathBuf {
    if let Err(error) = try_to_take(&candidate, inbox, gateway).await {
        tracing::warn!(event = "inbox_waits", path = %candidate.path.display(), %error, "a file of the inbox stays where it is for now");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    candidate.path
}

async fn try_to_take(candidate: &Candidate, inbox: &Inbox, gateway: &Arc<Gateway>) -> Result<(), ProducerError> {
    let subject = candidate.path.strip_prefix(&inbox.path).unwrap_or(&candidate.path).display().to_string();
    let refuse = async |reason: String| -> Result<(), ProducerError> {
        file_as_failed(&candidate.path, &inbox.path, &reason)?;
        Ok(Refusal { trigger: "inbox", subject: &subject, reason: &reason }.publish(gateway).await?)
    };
    let model: Model = match candidate.model() {
        Ok(model) => model,
        Err(reason) => return refuse(reason).await,
    };
    let file = Location::Path(candidate.path.clone());
    let hash = match content_hash(&file).await {
        Ok(hash) => hash.unwrap_or_default(),
        // It cannot be read; the attempt to enqueue it says why.
        Err(ProducerError::Usage(_)) => String::new(),
        Err(error) => return Err(error),
    };
    let identity = candidate.identity.to_string();
    let Some(job) = derived_name(&subject, &[&subject, &identity, &hash]) else {
        return refuse("expected a file with a name".to_owned()).await;
    };
    let args = inbox.options.enqueue_args(file, Some(model), Some(job.clone()));
    let made = make(&args, gateway).await;
    match Identity::of(&candidate.path) {
        Some(now) if now != candidate.identity => return end_job_of_changed_file(&job, &candidate.path, gateway).await,
        // Another gateway, which leads by now, has moved it; or somebody has taken it away before it was read.
        None if matches!(made, Made::Sealed { .. }) => return Ok(()),
        _ => {}
    }
    match made {
        Made::Sealed { job, total } => {
            gateway.metrics.triggered.with_label_values(&["inbox"]).inc();
            tracing::info!(event = "triggered", trigger = "inbox", %job, file = subject, "a job is enqueued");
            file_as_done(&candidate.path, &job, total)
        }
        Made::Refused(reason) => refuse(reason).await,
    }
}

/// Ends a job whose file was not whole after all. The file stays, and makes another job once it is.
async fn end_job_of_changed_file(job: &Job, path: &Path, gateway: &Gateway) -> Result<(), ProducerError> {
    tracing::warn!(event = "file_changed", %job, path = %path.display(), "a file was changed while it was enqueued; its job is cancelled");
    end(job, "its file was changed while it was enqueued", gateway).await
}
