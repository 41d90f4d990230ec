//! Shows why companies failed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use rollcall_shared::message::Job;
use serde::Serialize;
use utoipa::ToSchema;

use super::parameters::parse_job;
use crate::failures::{self, Cause, Example};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;

/// The failures of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Failures {
    job: String,
    /// By cause, the most frequent first.
    causes: Vec<CauseView>,
}

/// Failures for one cause.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CauseView {
    pub(crate) cause: String,
    /// Companies that failed for it.
    pub(crate) count: u64,
    /// A few of them.
    pub(crate) examples: Vec<ExampleView>,
}

/// A company that failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExampleView {
    /// Its row, from 0.
    pub(crate) index: u32,
    pub(crate) company_id: String,
    pub(crate) attempt: u32,
    /// What its scorer said.
    pub(crate) message: String,
}

/// Show why companies of a job failed: by cause, with examples.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/failures", tag = "jobs", params(("job" = String, Path, description = "The job's name")),
    responses(
        (status = 200, description = "The failures so far", body = Failures),
        (status = "4XX", description = "There is no such job", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The broker or the aggregator cannot answer now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_failures(
    State(gateway): State<Arc<Gateway>>,
    Path(job): Path<String>,
) -> Result<Json<Failures>, Problem> {
    let job = parse_job(&job)?;
    let causes = find_failures(&gateway, &job).await?;
    Ok(Json(Failures { job: job.to_string(), causes }))
}

/// The failures of a job by cause. It reads the ledger until it has examples of each.
pub(crate) async fn find_failures(gateway: &Gateway, job: &Job) -> Result<Vec<CauseView>, Problem> {
    let _slot = gateway.download_slot().await?;
    let causes = failures::find(job, &gateway.broker).await?;
    let example = |Example { index, company_id, attempt, message }| ExampleView { index, company_id, attempt, message };
    let view = |Cause { cause, count, examples }: Cause| CauseView {
        cause,
        count,
        examples: examples.into_iter().map(example).collect(),
    };
    Ok(causes.into_iter().map(view).collect())
}
