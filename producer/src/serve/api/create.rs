//! Makes a job of an upload.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rollcall_shared::message::{Job, JobStatus, State as JobState};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::parameters::{UploadParameters, UploadQuery, pairs};
use crate::aggregator_client::AggregatorClient;
use crate::error::ProducerError;
use crate::fleet::nobody_scores;
use crate::serve::derived_name::derived_name;
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;
use crate::serve::http::tokens::Principal;
use crate::serve::upload::{Checked, Enqueued, Upload};

/// For the description of the API: the header of requests that may be repeated.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it is only described")]
struct UploadHeaders {
    /// A text of the sender's.
    #[param(rename = "Idempotency-Key", required = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: String,
}

/// A job that was made of an upload.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Created {
    /// Its name.
    job: String,
    /// Its state.
    state: String,
    /// How many companies were enqueued.
    total: Option<u64>,
    /// Whether it was made before, by a request with the same `Idempotency-Key`: the file of this one was not read.
    repeated: bool,
    /// How the file was read, in words; null if it was not read.
    detected: Option<String>,
    /// What was read differently from how it is written, which rows were skipped, and whether nobody scores the model.
    remarks: Vec<String>,
}

/// Enqueue the body of the request as a job: CSV, JSON Lines or Parquet, each also gzip or zstd. The answer comes once all of it is enqueued.
///
/// With an `Idempotency-Key`, requests of the same sender for the same model with the same key make one job: one that is repeated after a lost
/// answer gets that job. If an upload broke off, its job is cancelled, and the next request with the key makes another one.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs",
    params(UploadQuery, UploadHeaders),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The file"),
    responses(
        (status = 202, description = "It is enqueued, or was before with this key", body = Created, headers(("Location" = String, description = "The job"))),
        (status = 200, description = "With `dry_run`: what was found", body = Checked),
        (status = "4XX", description = "The upload is refused; of a job that was already made, the answer has its name, and the job is cancelled", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The gateway, the broker or the aggregator cannot do it now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create_job(
    State(gateway): State<Arc<Gateway>>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    create(&gateway, principal, query.as_deref(), &headers, body).await
}

/// The same as POST, as `curl -T FILE` sends it.
#[utoipa::path(
    put, path = "/v1/jobs", tag = "jobs",
    params(UploadQuery, UploadHeaders),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The file"),
    responses(
        (status = 202, description = "It is enqueued, or was before with this key", body = Created, headers(("Location" = String, description = "The job"))),
        (status = 200, description = "With `dry_run`: what was found", body = Checked),
        (status = "4XX", description = "The upload is refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The gateway, the broker or the aggregator cannot do it now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put_job(
    State(gateway): State<Arc<Gateway>>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    create(&gateway, principal, query.as_deref(), &headers, body).await
}

async fn create(
    gateway: &Arc<Gateway>,
    principal: Principal,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    refuse_form(headers)?;
    let UploadParameters { model, job, file_name, dry_run, options } = UploadParameters::read(pairs(query))?;
    let job = match idempotency_key(headers)? {
        Some(key) if !dry_run => {
            if job.is_some() {
                let detail = "expected job or an Idempotency-Key, found both; leave one out";
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_options", detail));
            }
            // Another sender's same key is another one.
            let name = derived_name("key", &[&principal.name, model.as_str(), key]);
            let name = name.ok_or_else(|| Problem::bad_request("expected a key that makes a name"))?;
            match Claimed::by(name.as_str(), gateway).await? {
                Claimed::Free(job) => Some(job),
                Claimed::Made(status) => return Ok(made_before(&status)),
            }
        }
        _ => job,
    };
    let upload = Upload { model: model.clone(), job, file_name, sender: principal.name, options };
    if dry_run {
        return Ok(Json(upload.check(gateway, body).await?).into_response());
    }
    let Enqueued { job, total, state, detected, mut remarks } = upload.enqueue(gateway, body).await?;
    remarks.extend(nobody_scores(&model, &gateway.uploads).await);
    let (job, state) = (job.to_string(), state.to_string());
    Ok(Created { job, state, total: Some(total), repeated: false, detected, remarks }.into_response())
}

fn made_before(status: &JobStatus) -> Response {
    let (job, state) = (status.job.to_string(), status.state.to_string());
    Created { job, state, total: status.total, repeated: true, detected: None, remarks: Vec::new() }.into_response()
}

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, [(header::LOCATION, format!("/v1/jobs/{}", self.job))], Json(self)).into_response()
    }
}

/// A form would be read as a table.
fn refuse_form(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default().to_ascii_lowercase());
    if kind.is_none_or(|kind| !kind.starts_with("multipart/")) {
        return Ok(());
    }
    let detail = "expected the file as the body, as `curl -T FILE` sends it, found a form; send the file itself, and all else in the URL, such as ?model=NAME";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_a_file", detail))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    key.map(Some).ok_or_else(|| Problem::bad_request("expected an Idempotency-Key of 1 to 255 ASCII characters, found another"))
}

/// What a key stands for.
enum Claimed {
    /// A name that is free.
    Free(Job),
    /// A job that was made before.
    Made(Box<JobStatus>),
}

/// The aggregator has read by then that an upload has come to its end.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// The status of a job, if there is one; of one that is being enqueued, only if that goes on: the aggregator takes a moment to read that it is not.
async fn known(aggregator: &mut AggregatorClient, job: &Job) -> Result<Option<JobStatus>, ProducerError> {
    let found = aggregator.find_job(job).await?;
    if !found.as_ref().is_some_and(is_unsealed) {
        return Ok(found);
    }
    let sealed = aggregator.wait_until(job, "be enqueued", |status| !is_unsealed(status));
    match timeout(READ_WITHIN, sealed).await {
        Ok(Ok(status)) => Ok(Some(status)),
        Ok(Err(ProducerError::JobState(_))) | Err(_) => Ok(found),
        Ok(Err(error)) => Err(error),
    }
}

/// Whether its file is not wholly enqueued, whether it is paused or not.
fn is_unsealed(status: &JobStatus) -> bool {
    status.sealed.is_none() && !status.state.is_final()
}

/// Uploads that may break off under one key.
const TRIES: u32 = 20;

impl Claimed {
    async fn by(base: &str, gateway: &Gateway) -> Result<Claimed, Problem> {
        let mut session = gateway.queries.session("rollcall gateway: idempotency").await?;
        for attempt in 1..=TRIES {
            let name = if attempt == 1 { base.to_owned() } else { format!("{base}-{attempt}") };
            let job: Job = name.parse().map_err(|error| Problem::bad_request(format!("{error}")))?;
            let found = known(session.aggregator().await?, &job).await?;
            let claimed = match found {
                None => Claimed::Free(job),
                // Its upload broke off, or was refused.
                Some(status) if status.state == JobState::Cancelled && status.sealed.is_none() => continue,
                Some(status) if is_unsealed(&status) => {
                    let detail = format!(
                        "expected a new key, found one whose upload is under way as job {job}; send it again later: if that upload broke off, its job is cancelled within half a minute"
                    );
                    return Err(Problem::new(StatusCode::CONFLICT, "upload_in_progress", detail).of_job(&job).retry_after(5));
                }
                Some(JobStatus { state: state @ (JobState::Cancelled | JobState::Expired), reason, .. }) => {
                    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                    let detail = format!(
                        "expected a new key, found one whose job {job} has ended as {state}{reason}; to have the file scored, send it with another Idempotency-Key"
                    );
                    return Err(Problem::new(StatusCode::CONFLICT, "job_ended", detail).of_job(&job));
                }
                Some(status) => Claimed::Made(Box::new(status)),
            };
            session.close().await;
            return Ok(claimed);
        }
        Err(Problem::new(
            StatusCode::CONFLICT,
            "key_used_up",
            format!("{TRIES} uploads with this key have failed; use another key"),
        ))
    }
}
