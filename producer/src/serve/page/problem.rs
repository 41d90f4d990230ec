//! Problems as pages, for people who look with a browser.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use maud::{Markup, html};

use super::figures::with_commands;
use super::layout::{Viewer, document};
use crate::serve::http::problem::Problem;

/// Answers browsers with a page in place of a problem document.
pub(crate) async fn as_page(request: Request, next: Next) -> Response {
    let accepts = request.headers().get(header::ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_browser = accepts.starts_with(b"text/html");
    let back = back(request.uri().path());
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>().filter(|_| is_browser) else { return response };
    // All other headers stay, such as those that a browser heeds for its user's safety.
    *response.body_mut() = show(&problem, &back).into_string().into();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// Where whoever has met a problem at `path` probably came from.
fn back(path: &str) -> String {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let job = path.strip_prefix("/jobs/").and_then(|rest| rest.split_once('/'));
    job.map_or_else(|| "/".to_owned(), |(job, _)| format!("/jobs/{job}"))
}

fn show(problem: &Problem, back: &str) -> Markup {
    let status = problem.status();
    let heading = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => "Not found",
        StatusCode::UNAUTHORIZED => "Log in first",
        StatusCode::FORBIDDEN => "Not allowed",
        status if status.is_server_error() => "Not possible now",
        _ => "Not done",
    };
    let contents = html! {
        main #main.narrow {
            section.card.problem #problem {
                h1 { (heading) }
                p { (with_commands(problem.detail())) }
                @if let Some(job) = problem.job() {
                    p { "See job " a href={ "/jobs/" (job) } { (job) } "." }
                }
                @if status.is_server_error() {
                    p { "Load the page again in some seconds." }
                }
                div.actions {
                    a.button href=(back) { @if back == "/" { "Back to the jobs" } @else { "Back to the job" } }
                    @if status == StatusCode::UNAUTHORIZED { a.button href="/login" { "Log in" } }
                }
                p.hint { "Status " (status.as_u16()) ", code " code { (problem.code()) } }
            }
        }
    };
    document(heading, &Viewer::default(), &contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_leads_back_to_the_job_whose_form_has_failed() {
        let cases = [("/jobs/j/cancel", "/jobs/j"), ("/v1/jobs/j/results", "/jobs/j"), ("/jobs/j", "/"), ("/check", "/")];
        for (path, expected) in cases {
            assert_eq!(back(path), expected, "{path}");
        }
    }

    #[test]
    fn a_problem_says_what_to_do_and_is_no_markup() {
        let problem = Problem::bad_request("expected <x>, found <script>; see `producer status`").of_job(&"j");
        let page = show(&problem, "/").into_string();
        assert!(page.contains("found &lt;script&gt;; see <code>producer status</code>"), "{page}");
        assert!(page.contains(r#"<a href="/jobs/j">j</a>"#) && page.contains("Back to the jobs"), "{page}");
    }
}
