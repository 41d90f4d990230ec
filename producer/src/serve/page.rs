//! The page of the gateway: where jobs stand, and what can be done with them. It is HTML that works without a script; a script keeps it up
//! to date.

mod assets;
mod cache;
mod control;
mod failures;
mod figures;
mod job;
mod jobs;
mod layout;
mod login;
mod problem;
mod upload;

use std::sync::Arc;

use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::gateway::Gateway;
use cache::PageCache;

pub(super) use problem::as_page;

/// The routes of the page.
pub(super) fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/", get(jobs::get_jobs))
        // Whoever loads the answer to a form again gets the list.
        .route("/jobs", get(async || Redirect::to("/")).post(upload::enqueue))
        .route("/check", get(async || Redirect::to("/")).post(upload::check))
        .route("/jobs/{job}", get(job::get_job))
        .route("/jobs/{job}/failures", get(failures::get_failures))
        .route("/jobs/{job}/cancel", post(control::cancel))
        .route("/jobs/{job}/pause", post(control::pause))
        .route("/jobs/{job}/resume", post(control::resume))
        .route("/jobs/{job}/redrive", post(control::redrive))
        .route("/login", get(login::show).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/assets/{name}", get(assets::get_asset))
        .layer(Extension(Arc::new(PageCache::default())))
}
