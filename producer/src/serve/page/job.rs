//! The page of one job.

mod about;
mod actions;
mod causes;
mod consumers;
mod events;
mod missing;
mod plot;
mod progress;
mod results;
mod steps;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use maud::{Markup, html};
use rollcall_shared::message::{JobStatus, Model};

use super::cache::{Fleet, History, PageCache};
use super::figures::{outside, percent};
use super::layout::{Viewer, document};
use crate::serve::api::{find_job, parse_job};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;

/// What is known of a job.
struct Shown {
    status: JobStatus,
    /// The consumers of its model, unless it has ended.
    fleet: Option<Fleet>,
    history: Result<Arc<History>, Problem>,
}

/// Shows a job.
pub(super) async fn get_job(
    State(gateway): State<Arc<Gateway>>,
    Extension(cache): Extension<Arc<PageCache>>,
    viewer: Viewer,
    Path(job): Path<String>,
) -> Result<Markup, Problem> {
    let status = find_job(&gateway, &parse_job(&job)?).await?;
    let (history, mut fleets) =
        tokio::join!(cache.history(&status, &gateway), cache.fleets.of(std::slice::from_ref(&status), &gateway));
    let fleet = status.model.as_ref().filter(|_| !status.state.is_final()).and_then(|model| fleets.remove(model));
    Ok(show(&Shown { status, fleet, history }, &viewer))
}

fn show(shown: &Shown, viewer: &Viewer) -> Markup {
    let Shown { status, fleet, history } = shown;
    let history = history.as_ref();
    let last_id = history.ok().and_then(|history| history.last_id);
    let contents = html! {
        main #main.job data-follow="job" data-job=(status.job) data-state=(status.state) data-last-event=[last_id] {
            header.title #title data-live {
                h1 { (outside(status.job.as_str())) }
                span class={ "state " (status.state) } { (status.state) }
                p.hint { "model " (model(status)) }
                @if viewer.is_operator { (actions::buttons(status)) }
            }
            div.first {
                (missing::show(status, viewer))
                (progress::show(status, fleet.as_ref(), history.ok().map(AsRef::as_ref)))
                (causes::show(status, viewer))
            }
            div.side {
                (results::show(status, history.ok().map(AsRef::as_ref)))
                (consumers::show(status, fleet.as_ref()))
                (about::show(status))
            }
            div.second {
                (plot::show(status, history))
                (events::show(status, history))
            }
        }
    };
    document(&title(status), viewer, &contents)
}

fn model(status: &JobStatus) -> &str {
    status.model.as_ref().map_or("not known", Model::as_str)
}

/// The title tells in a row of tabs how far a job is.
fn title(status: &JobStatus) -> String {
    let job = &status.job;
    match status.total.filter(|_| !status.state.is_final()) {
        Some(total) => format!("{}% {job}", percent(status.succeeded + status.failed, total)),
        None => format!("{job} {}", status.state),
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use tests::example_status;
