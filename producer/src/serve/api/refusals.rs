//! Shows what triggers have refused, and what was given up.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rollcall_shared::broker::StreamOffset;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::events::event_document;
use crate::serve::event_log::{LoggedEvent, Topic};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;

/// What is listed at most.
const LISTED: usize = 100;

/// What triggers have refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusalList {
    /// The latest first.
    pub(crate) refusals: Vec<RefusalView>,
}

/// Something that could not become a job, or could not be delivered.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RefusalView {
    /// When, RFC 3339.
    pub(crate) at: String,
    /// `inbox`, `notifications`, `schedule`, `webhook` or `export`.
    pub(crate) trigger: String,
    /// What: a file, an object, a schedule's time, a job.
    pub(crate) subject: String,
    /// Why, for people.
    pub(crate) reason: String,
}

/// List what triggers have refused, and what webhooks and exports have given up, the latest first, as far as the broker keeps it.
#[utoipa::path(
    get, path = "/v1/refusals", tag = "gateway",
    responses(
        (status = 200, description = "The refusals", body = RefusalList),
        (status = "5XX", description = "The broker cannot answer now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_refusals(State(gateway): State<Arc<Gateway>>) -> Result<Json<RefusalList>, Problem> {
    Ok(Json(RefusalList { refusals: list_refusals(&gateway).await? }))
}

/// The latest refusals.
pub(crate) async fn list_refusals(gateway: &Gateway) -> Result<Vec<RefusalView>, Problem> {
    let _slot = gateway.download_slot().await?;
    let events = gateway.event_log.history(Topic::Refusals, StreamOffset::At(0), &gateway.queries).await?;
    Ok(events.iter().rev().filter_map(refusal).take(LISTED).collect())
}

/// The refusal that an event tells; `None` if it is no JSON.
pub(crate) fn refusal(event: &LoggedEvent) -> Option<RefusalView> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let document = event_document(event)?;
    let data = &document["data"];
    Some(RefusalView {
        at: text(&document["time"]),
        trigger: text(&data["trigger"]),
        subject: text(&data["subject"]),
        reason: text(&data["reason"]),
    })
}
