//! Why companies failed.

use maud::{Markup, html};
use rollcall_shared::message::JobStatus;

use crate::serve::page::control::redrive_form;
use crate::serve::page::figures::{count, outside, percent};
use crate::serve::page::layout::Viewer;

/// Shows the causes, and a redrive for each.
pub(super) fn show(status: &JobStatus, viewer: &Viewer) -> Markup {
    let job = &status.job;
    let can_redrive = viewer.is_operator && status.state.is_final();
    html! {
        section.card #failures data-live aria-labelledby="failures-title" {
            h2 #failures-title { "Failures" }
            @if status.causes.is_empty() {
                p.hint { "No company has failed." }
            } @else {
                ul.causes {
                    @for cause in &status.causes {
                        li {
                            span.cause { (outside(&cause.cause)) }
                            span.number { (count(cause.count)) " " span.hint { "(" (percent(cause.count, status.failed)) "%)" } }
                            @if can_redrive { (redrive_form(job, Some(&cause.cause), cause.count)) }
                        }
                    }
                }
                div.actions {
                    a.button href={ "/jobs/" (job) "/failures" } { "Show examples" }
                    @if can_redrive { (redrive_form(job, None, status.failed)) }
                }
                @if viewer.is_operator && !status.state.is_final() {
                    p.hint { "Once the job has ended, those that failed can be enqueued once more (redriven)." }
                }
            }
        }
    }
}
