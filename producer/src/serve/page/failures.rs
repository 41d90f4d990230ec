//! The page with examples of a job's failures.

use std::sync::Arc;

use axum::extract::{Path, State};
use maud::{Markup, html};
use rollcall_shared::message::JobStatus;

use super::control::redrive_form;
use super::figures::{companies, count, outside};
use super::layout::{Viewer, document};
use crate::serve::api::{CauseView, ExampleView, find_failures, find_job, parse_job};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;

/// Shows examples of the failures for each cause. It reads the ledger, and so is a page of its own.
pub(super) async fn get_failures(
    State(gateway): State<Arc<Gateway>>,
    viewer: Viewer,
    Path(job): Path<String>,
) -> Result<Markup, Problem> {
    let job = parse_job(&job)?;
    let causes = find_failures(&gateway, &job).await?;
    let status = find_job(&gateway, &job).await?;
    Ok(show(&status, &causes, &viewer))
}

fn show(status: &JobStatus, causes: &[CauseView], viewer: &Viewer) -> Markup {
    let job = &status.job;
    let can_redrive = viewer.is_operator && status.state.is_final();
    let contents = html! {
        main #main {
            header.title {
                h1 { "Failures of " (outside(job.as_str())) }
                div.actions { a.button href={ "/jobs/" (job) } { "Back to the job" } }
            }
            @if causes.is_empty() { p.card { "No company of it has failed." } }
            @for cause in causes {
                section.card {
                    div.heading {
                        h2 { (outside(&cause.cause)) }
                        p.hint { (companies(cause.count)) }
                        @if can_redrive { (redrive_form(job, Some(&cause.cause), cause.count)) }
                    }
                    @if cause.examples.is_empty() {
                        p.hint { "The ledger has no example of it." }
                    } @else {
                        (examples(cause))
                    }
                }
            }
        }
    };
    document(&format!("Failures of {job}"), viewer, &contents)
}

fn examples(cause: &CauseView) -> Markup {
    html! {
        table.cards {
            caption { @if cause.examples.len() as u64 == cause.count { "All of them" } @else { "A few of them" } }
            thead { tr {
                th scope="col" { "Company" } th.number scope="col" { "Index" }
                th.number scope="col" { "Attempt" } th scope="col" { "Message" }
            } }
            tbody {
                @for example in &cause.examples { (row(example)) }
            }
        }
    }
}

fn row(example: &ExampleView) -> Markup {
    html! {
        tr {
            th scope="row" data-label="Company" { (outside(&example.company_id)) }
            td.number data-label="Index" { (count(example.index.into())) }
            td.number data-label="Attempt" { (example.attempt) }
            td.wide data-label="Message" { (outside(&example.message)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::example_status;
    use super::*;

    #[test]
    fn what_scorers_say_is_shown_as_text_and_only_an_operator_may_redrive_it() {
        let hostile = "</td><script>alert(1)</script>".to_owned();
        let example = ExampleView { index: 7, company_id: hostile.clone(), attempt: 1, message: hostile.clone() };
        let causes = [CauseView { cause: hostile, count: 1, examples: vec![example] }];
        let status = example_status("failed", [1, 1, 0]);
        let page = show(&status, &causes, &Viewer::operator()).into_string();
        assert!(!page.contains("<script>alert") && page.matches("&lt;script&gt;alert").count() >= 3, "{page}");
        assert!(page.contains("/redrive"), "{page}");
        let page = show(&status, &causes, &Viewer::default()).into_string();
        assert!(!page.contains("/redrive"), "{page}");
    }
}
