//! Lists jobs, and shows one.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use rollcall_shared::message::{Job, JobStatus, JobsPage, Model, State as JobState};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::parameters::{pairs, parse_job, read};
use super::view::JobView;
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;

/// Which jobs to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Those in this state.
    #[param(value_type = Option<String>, pattern = "^(unsealed|running|paused|succeeded|failed|cancelled|expired)$")]
    pub(crate) state: Option<JobState>,
    /// Those of this model.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    pub(crate) model: Option<Model>,
    /// At most so many: 1 to 200, 50 by default.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u32>,
    /// `next` of the page before.
    #[param(minimum = 0)]
    pub(crate) after: Option<i64>,
}

/// Jobs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobList {
    pub(crate) jobs: Vec<JobView>,
    /// `after` for the next page; null if there are no more.
    pub(crate) next: Option<u64>,
}

/// The longest page, and the usual one.
const LONGEST_PAGE: u32 = 200;
const PAGE: u32 = 50;

/// List jobs, the newest first.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", params(ListQuery),
    responses(
        (status = 200, description = "The jobs", body = JobList),
        (status = "4XX", description = "The request is wrong", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The broker or the aggregator cannot answer now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_jobs(State(gateway): State<Arc<Gateway>>, RawQuery(query): RawQuery) -> Result<Json<JobList>, Problem> {
    let query: ListQuery = read(&pairs(query.as_deref()))?;
    let (jobs, next) = list_jobs(&gateway, query).await?;
    Ok(Json(JobList { jobs: jobs.into_iter().map(JobView::from).collect(), next }))
}

/// The jobs that a query selects, and where the next page begins.
pub(crate) async fn list_jobs(gateway: &Gateway, query: ListQuery) -> Result<(Vec<JobStatus>, Option<u64>), Problem> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!("expected a limit from 1 to {LONGEST_PAGE}, found {limit}")));
    }
    let ListQuery { state, model, after, .. } = query;
    let before = after.map(u64::try_from).transpose();
    let before =
        before.map_err(|_| Problem::bad_request("expected after to be next of the page before, found a negative number"))?;
    let page = JobsPage { state, model, name_prefix: String::new(), before, limit };
    let mut session = gateway.queries.session("rollcall gateway: jobs").await?;
    let found = session.aggregator().await?.page(page).await;
    session.close().await;
    Ok(found?)
}

/// Show a job.
#[utoipa::path(
    get, path = "/v1/jobs/{job}", tag = "jobs", params(("job" = String, Path, description = "The job's name")),
    responses(
        (status = 200, description = "The job", body = JobView),
        (status = "4XX", description = "There is no such job", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The broker or the aggregator cannot answer now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_job(State(gateway): State<Arc<Gateway>>, Path(job): Path<String>) -> Result<Json<JobView>, Problem> {
    Ok(Json(find_job(&gateway, &parse_job(&job)?).await?.into()))
}

/// The status of a job.
pub(crate) async fn find_job(gateway: &Gateway, job: &Job) -> Result<JobStatus, Problem> {
    let mut session = gateway.queries.session("rollcall gateway: a job").await?;
    let found = session.aggregator().await?.job(job).await;
    session.close().await;
    Ok(found?)
}
