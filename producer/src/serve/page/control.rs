//! The forms that change a job, and what they do.

use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::response::Redirect;
use maud::{Markup, html};
use rollcall_shared::message::Job;

use super::figures::{companies, outside};
use crate::serve::api::{Action, RedriveRequest, pairs, parse_job, redrive_now};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;
use crate::serve::http::small_body::SmallBody;
use crate::serve::http::tokens::Principal;

/// Cancels a job.
pub(super) async fn cancel(
    gateway: State<Arc<Gateway>>,
    by: Extension<Principal>,
    job: Path<String>,
) -> Result<Redirect, Problem> {
    act(Action::Cancel, &gateway, &by, &job).await
}

/// Pauses a job.
pub(super) async fn pause(
    gateway: State<Arc<Gateway>>,
    by: Extension<Principal>,
    job: Path<String>,
) -> Result<Redirect, Problem> {
    act(Action::Pause, &gateway, &by, &job).await
}

/// Resumes a job.
pub(super) async fn resume(
    gateway: State<Arc<Gateway>>,
    by: Extension<Principal>,
    job: Path<String>,
) -> Result<Redirect, Problem> {
    act(Action::Resume, &gateway, &by, &job).await
}

async fn act(action: Action, gateway: &Gateway, by: &Principal, job: &str) -> Result<Redirect, Problem> {
    let job = parse_job(job)?;
    action.apply(&job, by, gateway).await?;
    Ok(to_job(&job))
}

/// Enqueues companies of a job once more, as one of the forms below asks for.
pub(super) async fn redrive(
    State(gateway): State<Arc<Gateway>>,
    Extension(by): Extension<Principal>,
    Path(job): Path<String>,
    SmallBody(form): SmallBody,
) -> Result<Redirect, Problem> {
    let job = parse_job(&job)?;
    let mut request = RedriveRequest::default();
    for (name, value) in pairs(Some(&String::from_utf8_lossy(&form))) {
        match (name.as_str(), value.as_str()) {
            ("cause", _) => request.causes.push(value),
            ("missing", "true") => request.missing = true,
            _ => return Err(Problem::bad_request(format!("expected the field cause or missing=true, found {name:?}"))),
        }
    }
    redrive_now(&gateway, &by, &job, request).await?;
    Ok(to_job(&job))
}

/// A browser that loads the page again then asks for the job, and does not send the form again.
fn to_job(job: &Job) -> Redirect {
    Redirect::to(&format!("/jobs/{job}"))
}

/// Enqueues the companies once more that failed, of one cause or of any.
pub(super) fn redrive_form(job: &Job, cause: Option<&str>, number: u64) -> Markup {
    html! {
        form method="post" action={ "/jobs/" (job) "/redrive" } {
            @match cause {
                Some(cause) => {
                    input type="hidden" name="cause" value=(cause);
                    button type="submit" { "Redrive" span.unseen { " " (companies(number)) " that failed for " (outside(cause)) } }
                }
                None => button type="submit" { "Redrive all that failed" span.unseen { ": " (companies(number)) } },
            }
        }
    }
}

/// Enqueues the companies once more that have no outcome.
pub(super) fn redrive_missing_form(job: &Job) -> Markup {
    html! {
        form method="post" action={ "/jobs/" (job) "/redrive" } {
            input type="hidden" name="missing" value="true";
            button.primary type="submit" { "Enqueue them once more" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_stays_within_its_field_whatever_it_is() {
        let job: Job = "j".parse().unwrap();
        let form = redrive_form(&job, Some("\"><script>alert(1)</script>"), 1).into_string();
        assert!(form.contains(r#"value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;""#), "{form}");
        assert!(!form.contains("<script>"), "{form}");
    }
}
