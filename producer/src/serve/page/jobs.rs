//! The list of jobs, with the form for a new one.

mod list;
mod refusals;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use maud::{Markup, html};
use rollcall_shared::message::{JobStatus, Model, State as JobState};

use super::cache::{Fleet, PageCache};
use super::layout::{Viewer, document};
use super::upload::form::UploadForm;
use crate::serve::api::{ListQuery, RefusalView, Refusals, filled, pairs, read};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;

/// Jobs that have not ended are all shown, as long as they are not more than these of each state.
const UNFINISHED: u32 = 200;

/// What is known of some jobs.
struct Shown {
    query: ListQuery,
    jobs: Vec<JobStatus>,
    /// Where older jobs begin, if there are any.
    next: Option<u64>,
    fleets: BTreeMap<Model, Fleet>,
    refusals: Result<Vec<RefusalView>, Problem>,
}

/// Lists jobs.
pub(super) async fn get_jobs(
    State(gateway): State<Arc<Gateway>>,
    Extension(cache): Extension<Arc<PageCache>>,
    Extension(refusals): Extension<Arc<Refusals>>,
    viewer: Viewer,
    RawQuery(query): RawQuery,
) -> Result<Markup, Problem> {
    let query: ListQuery = read(&filled(pairs(query.as_deref())))?;
    let (jobs, next) = find_jobs(&cache, &gateway, &query).await?;
    let (fleets, refusals) = tokio::join!(cache.fleets.of(&jobs, &gateway), refusals.list(&gateway));
    Ok(show(&Shown { query, jobs, next, fleets, refusals }, &viewer))
}

/// The jobs that a query selects. The first page has those that have not ended, however old they are, unless only one state is asked for.
async fn find_jobs(cache: &PageCache, gateway: &Gateway, query: &ListQuery) -> Result<(Vec<JobStatus>, Option<u64>), Problem> {
    if query.state.is_some() || query.after.is_some() {
        return cache.list(query, gateway).await;
    }
    let of = async |state| {
        let query = ListQuery { state: Some(state), limit: Some(UNFINISHED), ..query.clone() };
        cache.list(&query, gateway).await
    };
    let (running, unsealed, paused) = (of(JobState::Running), of(JobState::Unsealed), of(JobState::Paused));
    let (running, unsealed, paused, (latest, next)) = tokio::try_join!(running, unsealed, paused, cache.list(query, gateway))?;
    let ended = latest.into_iter().filter(|job| job.state.is_final());
    let mut jobs: Vec<JobStatus> = [running.0, unsealed.0, paused.0].concat();
    jobs.extend(ended);
    Ok((jobs, next))
}

fn show(shown: &Shown, viewer: &Viewer) -> Markup {
    let contents = html! {
        main #main.jobs data-follow="jobs" {
            header.title {
                h1 { "Jobs" }
                @if viewer.is_operator { a.button.primary.jump href="#upload" { "Enqueue a file" } }
            }
            div.first {
                (filter(&shown.query))
                (list::show(&shown.jobs, &shown.fleets))
                (older(&shown.query, shown.next))
            }
            div.side {
                @if viewer.is_operator { (UploadForm::default().show(&shown.models())) }
                (refusals::show(&shown.refusals))
            }
        }
    };
    document("Jobs", viewer, &contents)
}

impl Shown {
    /// Models that somebody may want to score with: those of the jobs.
    fn models(&self) -> Vec<&Model> {
        let mut models: Vec<&Model> = self.jobs.iter().filter_map(|job| job.model.as_ref()).collect();
        models.sort_unstable();
        models.dedup();
        models
    }
}

/// The states of a job, in the order in which it may have them.
const STATES: [JobState; 7] = [
    JobState::Unsealed,
    JobState::Running,
    JobState::Paused,
    JobState::Succeeded,
    JobState::Failed,
    JobState::Cancelled,
    JobState::Expired,
];

fn filter(query: &ListQuery) -> Markup {
    html! {
        form.filter method="get" action="/" {
            label { span { "State" }
                select name="state" {
                    option value="" { "any" }
                    @for state in STATES { option value=(state) selected[query.state == Some(state)] { (state) } }
                }
            }
            label { span { "Model" } input name="model" value=[&query.model] autocomplete="off" spellcheck="false" maxlength="64"; }
            button type="submit" { "Filter" }
            @if query.state.is_some() || query.model.is_some() || query.after.is_some() { a href="/" { "Show all" } }
        }
    }
}

fn older(query: &ListQuery, next: Option<u64>) -> Markup {
    let link = next.map(|next| {
        let mut pairs = vec![("after", next.to_string())];
        pairs.extend(query.state.map(|state| ("state", state.to_string())));
        pairs.extend(query.model.as_ref().map(|model| ("model", model.to_string())));
        format!("/?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
    });
    html! {
        nav #older data-live aria-label="Pages" {
            @if let Some(link) = link { a.button href=(link) { "Older jobs" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::FleetUnknown;
    use super::super::job::example_status;
    use super::*;

    fn shown(jobs: Vec<JobStatus>) -> Shown {
        let fleets = [("m".parse().unwrap(), Err(FleetUnknown("no answer".to_owned())))].into();
        Shown { query: ListQuery::default(), jobs, next: Some(7), fleets, refusals: Ok(Vec::new()) }
    }

    #[test]
    fn whoever_may_only_look_sees_no_form_but_that_of_the_filter() {
        let jobs = || vec![example_status("running", [1, 2, 0])];
        let page = show(&shown(jobs()), &Viewer::operator()).into_string();
        assert!(page.contains(r#"action="/jobs""#) && page.contains(r#"href="/?after=7""#), "{page}");
        let page = show(&shown(jobs()), &Viewer::default()).into_string();
        assert!(page.matches("<form").count() == 1 && page.contains(r#"class="filter""#), "{page}");
    }

    #[test]
    fn a_page_of_older_jobs_keeps_the_filter() {
        let query = ListQuery { state: Some(JobState::Failed), model: Some("m".parse().unwrap()), ..ListQuery::default() };
        let nav = older(&query, Some(9)).into_string();
        assert!(nav.contains("/?after=9&amp;state=failed&amp;model=m"), "{nav}");
        assert!(!older(&query, None).into_string().contains("href"));
    }
}
