//! Enqueues companies of a job once more.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use rollcall_shared::message::{Indices, Job, JobStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::jobs::find_job;
use super::parameters::parse_job;
use crate::blocking::on_a_thread_of_its_own;
use crate::cli::RedriveArgs;
use crate::error::ProducerError;
use crate::fleet::nobody_scores;
use crate::location::Location;
use crate::redrive::{EnqueuedAgain, enqueue_again};
use crate::serve::config::{explained, with_option_names};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;
use crate::serve::http::small_body::SmallBody;
use crate::serve::http::tokens::Principal;

/// Which companies to enqueue once more; all that failed if nothing is given.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RedriveRequest {
    /// Those that failed for one of these causes.
    pub(crate) causes: Vec<String>,
    /// Those at these indices, whatever their outcome, such as `3` or `3,17-20`.
    #[schema(pattern = "^[0-9]{1,9}(-[0-9]{1,9})?(,[0-9]{1,9}(-[0-9]{1,9})?)*$")]
    pub(crate) index: Option<String>,
    /// Those without an outcome. Their records are read from the job's file, which must be one that the gateway can read: an object.
    pub(crate) missing: bool,
}

/// Companies that were enqueued once more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedriveDone {
    job: String,
    /// How many.
    companies: u64,
    /// How often the job has been redriven now.
    redrives: u32,
    /// Whether nobody scores the model.
    remarks: Vec<String>,
}

/// Enqueue some companies of a job once more. The answer comes once all of them are enqueued.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/redrive", tag = "control", params(("job" = String, Path, description = "The job's name")),
    request_body(content = RedriveRequest, description = "Which companies"),
    responses(
        (status = 202, description = "They are enqueued", body = RedriveDone),
        (status = "4XX", description = "There is no such job, or nothing to redrive, or no record of a company", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The broker or the aggregator cannot answer now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn redrive_job(
    State(gateway): State<Arc<Gateway>>,
    Extension(principal): Extension<Principal>,
    Path(job): Path<String>,
    SmallBody(body): SmallBody,
) -> Result<(StatusCode, Json<RedriveDone>), Problem> {
    let job = parse_job(&job)?;
    if body.is_empty() {
        return Err(Problem::bad_request("expected which companies to redrive, found nothing; send {} for all that failed"));
    }
    let request: RedriveRequest =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(explained(&error.to_string())))?;
    let EnqueuedAgain { model, companies, round } = redrive_now(&gateway, &principal, &job, request).await?;
    let remarks = nobody_scores(&model, &gateway.queries).await.into_iter().collect();
    Ok((StatusCode::ACCEPTED, Json(RedriveDone { job: job.to_string(), companies, redrives: round, remarks })))
}

/// Enqueues them, also if whoever asks goes away meanwhile.
pub(crate) async fn redrive_now(
    gateway: &Arc<Gateway>,
    principal: &Principal,
    job: &Job,
    request: RedriveRequest,
) -> Result<EnqueuedAgain, Problem> {
    let index: Option<Indices> = request
        .index
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_options", format!("index: {error}")))?;
    let slot = gateway.download_slot().await?;
    let mut args = RedriveArgs::of(job.clone());
    (args.cause, args.index, args.missing) = (request.causes, index, request.missing);
    if request.missing {
        args.file = object_of(&find_job(gateway, job).await?);
    }
    let gateway = Arc::clone(gateway);
    let redriving = on_a_thread_of_its_own(async move || {
        let _slot = slot;
        enqueue_again(&args, &gateway.broker, &gateway.grace_over).await
    });
    let enqueued = redriving.await?.map_err(|error| match error {
        // The request is well-formed: it does not fit the job.
        ProducerError::Usage(reason) => Problem::new(StatusCode::CONFLICT, "usage", with_option_names(&reason)),
        error => error.into(),
    })?;
    let companies = enqueued.companies;
    tracing::info!(event = "job_redriven", %job, companies, by = principal.name, "companies of a job were enqueued once more by a request");
    Ok(enqueued)
}

/// The object that a job was enqueued from, as it was then: a path may be one of another machine. An upload is not kept, and has no hash: its
/// source is what the client called it, which may look like a URL.
pub(crate) fn object_of(status: &JobStatus) -> Option<Location> {
    let hash = status.settings.content_hash.clone()?;
    let source: Location = status.source.as_ref()?.parse().ok()?;
    matches!(source, Location::Url(_)).then(|| source.pinned(Some(hash)))
}
