//! An upload: its bytes come from a client, pass a thread that reads rows of them, and are enqueued as they come.
//!
//! The job outlives the request: if the client goes away, the thread meets the end of the bytes before the end of the upload, and the job is
//! cancelled with that reason. If the gateway goes away, another one cancels it.

mod body;
mod sniff;

use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use rollcall_shared::message::{Job, JobStatus, Model, State};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use body::{BodyReader, pump};
pub(super) use body::{SLOWEST_BYTES, SLOWEST_WITHIN, UploadFault};
use sniff::with_format;

use super::config::{JobOptions, with_option_names};
use super::gateway::Gateway;
use super::http::problem::Problem;
use crate::blocking::on_a_thread_of_its_own;
use crate::companies::{Companies, Progress};
use crate::enqueue;
use crate::error::ProducerError;
use crate::location::Location;

/// How long an upload waits for others to end.
const SLOT_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// What is to be enqueued of an upload.
pub(super) struct Upload {
    pub(super) model: Model,
    /// The job's name, if the client has chosen one.
    pub(super) job: Option<Job>,
    /// The name of the file, if the client says it: its extension may tell the format.
    pub(super) file_name: Option<String>,
    /// Who sends it.
    pub(super) sender: String,
    pub(super) options: JobOptions,
}

/// What became of an upload.
#[derive(Debug, Clone)]
pub(super) struct Enqueued {
    pub(super) job: Job,
    pub(super) total: u64,
    pub(super) state: State,
    /// How the file was read, in words.
    pub(super) detected: Option<String>,
    /// What was read differently from how it is written, and which rows were skipped.
    pub(super) remarks: Vec<String>,
}

impl Upload {
    fn source_name(&self) -> String {
        format!("{} by {}", self.file_name(), self.sender)
    }

    /// The last part of the name that the client says.
    fn file_name(&self) -> String {
        let name = self.file_name.as_deref().and_then(|name| name.rsplit(['/', '\\']).next());
        name.filter(|name| !name.is_empty()).unwrap_or("upload").to_owned()
    }

    fn check_place(&self, gateway: &Gateway) -> Result<(), Problem> {
        if let Some(to) = self.options.results_to.as_ref().filter(|to| !gateway.export_places.allow(to.within())) {
            let found = to.within();
            let detail = format!(
                "expected results_to to begin as the gateway's configuration allows, found {found:?}; leave it out, or add it to [exports] allow"
            );
            return Err(Problem::new(StatusCode::FORBIDDEN, "place_not_allowed", detail));
        }
        Ok(())
    }

    /// Enqueues the body of a request.
    pub(super) async fn enqueue(self, gateway: &Arc<Gateway>, body: Body) -> Result<Enqueued, Problem> {
        self.check_place(gateway)?;
        let slot = slot(gateway).await?;
        gateway.metrics.uploads.inc();
        let counted = scopeguard::guard(gateway.metrics.uploads.clone(), |uploads| uploads.dec());
        let (to, reader) = BodyReader::channel();
        let own = Arc::clone(gateway);
        let sender = self.sender.clone();
        // A client that goes away does not stop it half-way, and frees no slot.
        let enqueuing = on_a_thread_of_its_own(async move || {
            let _held = (slot, counted);
            publish(self, reader, own).await
        });
        let limits = gateway.config.http.clone();
        let (sent, enqueued) = tokio::join!(pump(body, to, limits, gateway), enqueuing);
        match (sent, enqueued) {
            (_, Err(crashed)) => Err(crashed.into()),
            (_, Ok(Ok(enqueued))) => {
                let (job, companies, remarks) = (&enqueued.job, enqueued.total, &enqueued.remarks);
                tracing::info!(event = "uploaded", %job, companies, ?remarks, by = sender, "an upload is enqueued");
                refuse_ended(enqueued, gateway).await
            }
            // What is wrong with the upload as such says more than what is wrong with the rows that it cut short.
            (Err(fault), Ok(Err((_, job)))) => Err(of_job(fault.into(), job)),
            (Ok(()), Ok(Err((error, job)))) => Err(of_job(error.into(), job)),
        }
    }
}

/// Waits for one of the slots of uploads.
async fn slot(gateway: &Gateway) -> Result<OwnedSemaphorePermit, Problem> {
    match timeout(SLOT_WITHIN, Arc::clone(&gateway.upload_slots).acquire_owned()).await {
        Ok(Ok(slot)) => Ok(slot),
        _ => {
            let detail = "expected fewer uploads at a time, found all slots taken; send it again later, or raise [http] uploads";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_uploads", detail).retry_after(30))
        }
    }
}

/// The job may have been cancelled while the rest of its file came: none of that is scored.
async fn refuse_ended(enqueued: Enqueued, gateway: &Gateway) -> Result<Enqueued, Problem> {
    // The upload has given back its own channel: this one takes none from those who ask meanwhile.
    let asked = async {
        let mut session = gateway.uploads.session("rollcall gateway: an uploaded job").await?;
        let found = session.aggregator().await?.find_job(&enqueued.job).await;
        session.close().await;
        found
    };
    match asked.await {
        Ok(Some(JobStatus { job, state: state @ (State::Cancelled | State::Expired), reason, .. })) => {
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            let detail = format!(
                "expected the job to wait for all of its file, found that it ended as {state}{reason}; send the file again, and with another Idempotency-Key if it has one"
            );
            Err(Problem::new(StatusCode::CONFLICT, "job_ended", detail).of_job(&job))
        }
        // The leader may not have read yet that all of it is enqueued.
        Ok(Some(status)) if status.state != State::Unsealed => Ok(Enqueued { state: status.state, ..enqueued }),
        // All of it is on the broker, whoever is away.
        Ok(_) | Err(_) => Ok(enqueued),
    }
}

fn of_job(problem: Problem, job: Option<Job>) -> Problem {
    match job {
        Some(job) => problem.of_job(&job),
        None => problem,
    }
}

/// Enqueues what the reader reads; of an error, says which job was made before it.
async fn publish(upload: Upload, reader: BodyReader, gateway: Arc<Gateway>) -> Result<Enqueued, (ProducerError, Option<Job>)> {
    let before = |error| (error, None);
    let mut args = upload.options.enqueue_args(Location::Standard, Some(upload.model.clone()), upload.job.clone());
    let name = upload.source_name();
    let file_name = upload.file_name();
    let (reader, format) = with_format(reader, &file_name, args.reading.format).await.map_err(before)?;
    args.reading.format = Some(format);
    let (options, max_unpacked) = (args.reading.reading(), gateway.config.http.max_unpacked);
    let open = move || Companies::from_reader(&file_name, reader, None, max_unpacked, &options);
    let mut prepared = enqueue::prepare_companies(&args, name, open, &gateway.uploads).await.map_err(before)?;
    prepared.opened.settings.received_by = Some(gateway.id.to_string());
    let (job, detected) = (prepared.opened.job.clone(), prepared.detected().map(ToString::to_string));
    match prepared.publish(&gateway.uploads, &gateway.grace_over).await {
        Ok((total, progress)) => Ok(Enqueued { job, total, state: State::Running, detected, remarks: progress.remarks() }),
        Err(error) => Err((error, Some(job))),
    }
}

/// What a check of an upload has found; nothing is enqueued.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Checked {
    /// Companies that would be enqueued.
    pub(crate) companies: u64,
    /// The columns that are read; empty for JSON Lines.
    pub(crate) columns: Vec<String>,
    /// How the file is read, in words.
    pub(crate) detected: String,
    /// How many rows are bad.
    pub(crate) bad_row_count: u64,
    /// The first of them, each with its place, what was expected, what was found, and what to do.
    pub(crate) bad_rows: Vec<String>,
    /// What was read differently from how it is written, and which rows are skipped.
    pub(crate) remarks: Vec<String>,
}

/// Bad rows that are listed; a person mends a file after the first few.
const LISTED: usize = 100;

impl Upload {
    /// Reads and checks the whole body of a request, and enqueues nothing.
    pub(super) async fn check(self, gateway: &Arc<Gateway>, body: Body) -> Result<Checked, Problem> {
        self.check_place(gateway)?;
        let slot = slot(gateway).await?;
        let (to, reader) = BodyReader::channel();
        let checking = async {
            let name = self.file_name();
            let mut options = self.options.enqueue_args(Location::Standard, None, None).reading.reading();
            let (reader, format) = with_format(reader, &name, options.format).await?;
            options.format = Some(format);
            let max_unpacked = gateway.config.http.max_unpacked;
            crate::blocking::on_a_thread(move || {
                let _slot = slot;
                check(Companies::from_reader(&name, reader, None, max_unpacked, &options)?)
            })
            .await?
        };
        let (sent, checked) = tokio::join!(pump(body, to, gateway.config.http.clone(), gateway), checking);
        match (sent, checked) {
            (_, Ok(checked)) => Ok(checked),
            (Err(fault), Err(_)) => Err(fault.into()),
            (Ok(()), Err(error)) => Err(error.into()),
        }
    }
}

fn check(mut companies: Companies) -> Result<Checked, ProducerError> {
    let (detected, progress): (_, Arc<Progress>) = (companies.detected(), companies.progress());
    let (mut good, mut bad_row_count, mut bad_rows) = (0, 0, Vec::new());
    for company in &mut companies {
        match company {
            Ok(_) => good += 1,
            Err(error) if error.is_of_the_environment() => return Err(error.into()),
            Err(error) => {
                bad_row_count += 1;
                if bad_rows.len() < LISTED {
                    bad_rows.push(with_option_names(&error.to_string()));
                }
            }
        }
    }
    Ok(Checked {
        companies: good,
        columns: detected.columns.clone(),
        detected: detected.to_string(),
        bad_row_count,
        bad_rows,
        remarks: progress.remarks(),
    })
}
