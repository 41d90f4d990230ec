//! The API, `/v1`. Its description is generated from the handlers.

mod control;
mod create;
mod events;
mod failures;
mod jobs;
mod parameters;
mod redrive;
mod refusals;
mod results;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use utoipa::OpenApi;

use super::gateway::Gateway;
pub(super) use control::Action;
pub(super) use failures::{CauseView, ExampleView, find_failures};
pub(super) use jobs::{ListQuery, find_job, list_jobs};
pub(super) use parameters::{UploadParameters, filled, pairs, parse_job, read};
pub(super) use redrive::{RedriveRequest, object_of, redrive_now};
pub(super) use refusals::{RefusalView, Refusals};

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rollcall",
        description = "Run a model over every company of a file, and know exactly when it is done.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    paths(
        create::create_job,
        create::put_job,
        jobs::get_jobs,
        jobs::get_job,
        events::get_events,
        failures::get_failures,
        results::get_results,
        control::cancel_job,
        control::pause_job,
        control::resume_job,
        redrive::redrive_job,
        refusals::get_refusals,
    ),
    modifiers(&Security),
    security((), ("bearer" = []))
)]
pub(super) struct Description;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        description.components.get_or_insert_default().add_security_scheme("bearer", bearer);
    }
}

/// The description as JSON, with a line break at its end.
///
/// # Errors
/// None that a caller could cause.
pub fn description() -> Result<String, serde_json::Error> {
    Description::openapi().to_pretty_json().map(|json| json + "\n")
}

/// The routes of the API.
pub(super) fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/v1/jobs", get(jobs::get_jobs).post(create::create_job).put(create::put_job))
        .route("/v1/jobs/{job}", get(jobs::get_job))
        .route("/v1/jobs/{job}/events", get(events::get_events))
        .route("/v1/jobs/{job}/failures", get(failures::get_failures))
        .route("/v1/jobs/{job}/results", get(results::get_results))
        .route("/v1/jobs/{job}/cancel", post(control::cancel_job))
        .route("/v1/jobs/{job}/pause", post(control::pause_job))
        .route("/v1/jobs/{job}/resume", post(control::resume_job))
        .route("/v1/jobs/{job}/redrive", post(redrive::redrive_job))
        .route("/v1/refusals", get(refusals::get_refusals))
        .route("/v1/openapi.json", get(async || ([("content-type", "application/json")], description().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_description_that_is_checked_in_is_that_of_this_code() {
        let checked_in = include_str!("../../../deploy/contracts/openapi.json");
        assert_eq!(
            super::description().unwrap(),
            checked_in,
            "fetch /v1/openapi.json from a gateway of this code into deploy/contracts"
        );
    }
}
