//! Files that are sent by the form: they are checked, or enqueued as a job, while they arrive.

pub(super) mod form;
mod multipart;

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Redirect;
use maud::{Markup, html};
use rollcall_shared::message::Job;

use super::figures::{companies, count, outside};
use super::layout::{Viewer, document};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;
use crate::serve::http::tokens::Principal;
use crate::serve::upload::Checked;
use form::UploadForm;
use multipart::Sent;

/// Enqueues the file, and shows the job.
pub(super) async fn enqueue(
    State(gateway): State<Arc<Gateway>>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Redirect, Problem> {
    let (upload, body) = Sent::receive(request, gateway.config.http.idle).await?.into_upload(&by)?;
    let enqueued = upload.enqueue(&gateway, body).await?;
    wait_until_known(&enqueued.job, &gateway).await;
    Ok(Redirect::to(&format!("/jobs/{}", enqueued.job)))
}

/// Checks the file, and shows what it has found.
pub(super) async fn check(
    State(gateway): State<Arc<Gateway>>,
    Extension(by): Extension<Principal>,
    viewer: Viewer,
    request: Request,
) -> Result<Markup, Problem> {
    let sent = Sent::receive(request, gateway.config.http.idle).await?;
    let (form, file_name) = (UploadForm::filled(&sent.fields), sent.file_name.clone());
    let (upload, body) = sent.into_upload(&by)?;
    let checked = upload.check(&gateway, body).await?;
    let contents = html! {
        main #main.narrow {
            h1 { "Check of " (outside(&file_name)) }
            (found(&checked))
            (form.show(&[]))
        }
    };
    Ok(document("Check", &viewer, &contents))
}

/// The job's page must find it. Without an aggregator it will say so.
async fn wait_until_known(job: &Job, gateway: &Gateway) {
    let Ok(mut session) = gateway.queries.session("rollcall gateway: a new job").await else { return };
    if let Ok(aggregator) = session.aggregator().await {
        drop(aggregator.wait_until(job, "be known", |_| true).await);
    }
    session.close().await;
}

fn found(checked: &Checked) -> Markup {
    let is_good = checked.bad_row_count == 0;
    html! {
        section.card #checked aria-labelledby="checked-title" {
            h2 #checked-title {
                @if is_good { "This file can be enqueued: " (companies(checked.companies)) }
                @else { (count(checked.bad_row_count)) @if checked.bad_row_count == 1 { " bad row" } @else { " bad rows" } }
            }
            @if !is_good {
                p { "Nothing is enqueued. Mend them, then enqueue the file: " (companies(checked.companies)) " in the other rows." }
            }
            p { "Read as " (outside(&checked.detected)) "." }
            @if !checked.columns.is_empty() {
                details #columns-read {
                    summary { (count(checked.columns.len() as u64)) @if checked.columns.len() == 1 { " column" } @else { " columns" } }
                    ul.columns { @for column in &checked.columns { li { (outside(column)) } } }
                }
            }
            @for remark in &checked.remarks { p.note { (outside(remark)) } }
            @if !is_good {
                ol.bad-rows { @for row in &checked.bad_rows { li { (outside(row)) } } }
                @let listed = checked.bad_rows.len() as u64;
                @if listed < checked.bad_row_count { p.hint { "and " (count(checked.bad_row_count - listed)) " more" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_shows_each_bad_row_as_text_and_how_many_are_not_listed() {
        let bad_rows = vec!["c.csv, row 2, field \"<b>\": expected one, found two".to_owned()];
        let checked = Checked {
            companies: 1_000,
            columns: vec!["<i>".to_owned()],
            detected: "CSV".to_owned(),
            bad_row_count: 1_001,
            bad_rows,
            remarks: Vec::new(),
        };
        let page = found(&checked).into_string();
        assert!(
            page.contains("1,001 bad rows") && page.contains("field &quot;&lt;b&gt;&quot;") && page.contains("and 1,000 more"),
            "{page}"
        );
        let good = found(&Checked { bad_row_count: 0, bad_rows: Vec::new(), ..checked }).into_string();
        assert!(good.contains("can be enqueued: 1,000 companies") && !good.contains("bad row"), "{good}");
    }
}
