//! Cancels, pauses and resumes a job.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use rollcall_shared::message::{Job, JobStatus};

use super::parameters::parse_job;
use super::view::JobView;
use crate::error::ProducerError;
use crate::job_control;
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;
use crate::serve::http::tokens::Principal;

/// What is done to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Cancel,
    Pause,
    Resume,
}

impl Action {
    /// Does it, and returns the job's status afterwards.
    pub(crate) async fn apply(self, job: &Job, principal: &Principal, gateway: &Gateway) -> Result<JobStatus, ProducerError> {
        let status = match self {
            Action::Cancel => job_control::end(job, &format!("{} cancelled it", principal.name), &gateway.queries).await,
            Action::Pause => job_control::set_aside(job, &gateway.queries).await,
            Action::Resume => job_control::go_on(job, &gateway.queries).await,
        }?;
        tracing::info!(event = "job_controlled", %job, action = ?self, by = principal.name, "a job was controlled by a request");
        Ok(status)
    }
}

/// End a job: its companies that wait are not scored.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/cancel", tag = "control", params(("job" = String, Path, description = "The job's name")),
    responses(
        (status = 200, description = "The job, ended", body = JobView),
        (status = "4XX", description = "There is no such job, or it has ended", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The broker or the aggregator cannot answer now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel_job(
    State(gateway): State<Arc<Gateway>>,
    Extension(principal): Extension<Principal>,
    Path(job): Path<String>,
) -> Result<Json<JobView>, Problem> {
    act(Action::Cancel, &job, &principal, &gateway).await
}

/// Set a job's companies aside until it is resumed.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/pause", tag = "control", params(("job" = String, Path, description = "The job's name")),
    responses(
        (status = 200, description = "The job, paused", body = JobView),
        (status = "4XX", description = "There is no such job, or it has ended", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The broker or the aggregator cannot answer now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn pause_job(
    State(gateway): State<Arc<Gateway>>,
    Extension(principal): Extension<Principal>,
    Path(job): Path<String>,
) -> Result<Json<JobView>, Problem> {
    act(Action::Pause, &job, &principal, &gateway).await
}

/// Resume a paused job.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/resume", tag = "control", params(("job" = String, Path, description = "The job's name")),
    responses(
        (status = 200, description = "The job, which goes on", body = JobView),
        (status = "4XX", description = "There is no such job, or it has ended", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The broker or the aggregator cannot answer now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resume_job(
    State(gateway): State<Arc<Gateway>>,
    Extension(principal): Extension<Principal>,
    Path(job): Path<String>,
) -> Result<Json<JobView>, Problem> {
    act(Action::Resume, &job, &principal, &gateway).await
}

async fn act(action: Action, job: &str, principal: &Principal, gateway: &Gateway) -> Result<Json<JobView>, Problem> {
    Ok(Json(action.apply(&parse_job(job)?, principal, gateway).await?.into()))
}
