//! Shows what triggers have refused, and what was given up.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use rollcall_shared::broker::StreamOffset;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::serve::event_log::tail::{Collect, Tail};
use crate::serve::event_log::{LoggedEvent, Topic};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;
use crate::serve::refusals::REFUSED;

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
pub(super) async fn get_refusals(
    State(gateway): State<Arc<Gateway>>,
    Extension(refusals): Extension<Arc<Refusals>>,
) -> Result<Json<RefusalList>, Problem> {
    Ok(Json(RefusalList { refusals: refusals.list(&gateway).await? }))
}

/// What triggers have refused, followed as long as somebody looks at it.
#[derive(Default)]
pub(crate) struct Refusals(Tail<LatestRefusals>);

impl Refusals {
    /// The latest first.
    ///
    /// # Errors
    /// If the broker cannot be reached.
    pub(crate) async fn list(&self, gateway: &Gateway) -> Result<Vec<RefusalView>, Problem> {
        let latest = self.0.up_to_now(gateway, Topic::Gateway(REFUSED), StreamOffset::At(0)).await?;
        Ok(latest.0.iter().rev().cloned().collect())
    }
}

/// The latest refusals, the latest last.
#[derive(Debug, Clone, Default)]
struct LatestRefusals(VecDeque<RefusalView>);

impl Collect for LatestRefusals {
    fn take(&mut self, event: LoggedEvent) {
        let Some(refusal) = refusal(&event) else { return };
        if self.0.len() == LISTED {
            self.0.pop_front();
        }
        self.0.push_back(refusal);
    }
}

/// The refusal that an event tells; `None` if it is no JSON.
fn refusal(event: &LoggedEvent) -> Option<RefusalView> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let document = event.document()?;
    let data = &document["data"];
    Some(RefusalView {
        at: text(&document["time"]),
        trigger: text(&data["trigger"]),
        subject: text(&data["subject"]),
        reason: text(&data["reason"]),
    })
}
