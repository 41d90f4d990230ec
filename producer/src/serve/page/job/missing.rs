//! Companies without an outcome: lost on the broker, or left when the job was cancelled or expired.

use maud::{Markup, html};
use rollcall_shared::message::JobStatus;

use crate::serve::api::object_of;
use crate::serve::page::control::redrive_missing_form;
use crate::serve::page::figures::{companies, time};
use crate::serve::page::layout::Viewer;

/// Shows how many there are and what to do about it; nothing if there are none.
pub(super) fn show(status: &JobStatus, viewer: &Viewer) -> Markup {
    let (stalled, job) = (status.stalled.as_ref(), &status.job);
    let was_cut_short = status.state.is_final() && status.cancelled > 0;
    html! {
        div #missing data-live {
            @if stalled.is_some() || was_cut_short {
                section.card.alert aria-labelledby="missing-title" {
                    @match stalled {
                        Some(stall) => {
                            h2 #missing-title { (companies(stall.companies)) " lost" }
                            p {
                                "There has been no outcome since " (time(stall.since))
                                ", and no queue and no consumer has any company of the job: they got lost on the broker."
                            }
                            @if status.sealed.is_none() && status.redrives == 0 {
                                p {
                                    "First let its producer end, or run "
                                    code { "producer enqueue --continue " (job) " FILE" } " in its place."
                                }
                            }
                        }
                        None => {
                            h2 #missing-title { (companies(status.cancelled)) " not scored" }
                            p { "The job had ended before they had an outcome." }
                        }
                    }
                    @if viewer.is_operator && object_of(status).is_some() {
                        (redrive_missing_form(job))
                    } @else {
                        p { "Enqueue them from the file: " code { "producer redrive " (job) " --missing --file FILE" } }
                    }
                }
            }
        }
    }
}
