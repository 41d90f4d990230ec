//! The consumers of a job's model.

use maud::{Markup, html};
use rollcall_shared::message::JobStatus;

use crate::fleet::FleetStatus;
use crate::serve::page::cache::{Fleet, FleetUnknown};
use crate::serve::page::figures::{count, outside, rate};

/// Shows them while the job has not ended.
pub(super) fn show(status: &JobStatus, fleet: Option<&Fleet>) -> Markup {
    html! {
        div #consumers data-live {
            @if let (Some(model), Some(fleet)) = (&status.model, fleet) {
                section.card aria-labelledby="consumers-title" {
                    h2 #consumers-title { "Consumers of model " (model) }
                    @match fleet {
                        Ok(fleet) => (known(fleet)),
                        Err(FleetUnknown(reason)) => p.note.warning { "They are not known now: " (outside(reason)) },
                    }
                }
            }
        }
    }
}

fn known(fleet: &FleetStatus) -> Markup {
    let silent = fleet.consumers.saturating_sub(fleet.answered);
    html! {
        dl.facts {
            dt { "consumers" }
            dd { (count(fleet.consumers.into())) @if silent > 0 { " (" (silent) " without an answer)" } }
            dt { "rate" }
            dd {
                @match fleet.companies_per_second {
                    Some(found) => { (rate(found)) " when all threads are busy" }
                    None => "not measured yet",
                }
            }
            dt { "held by them" }
            dd { (count(fleet.held)) }
            dt { "waiting" }
            dd { (count(fleet.waiting)) }
            @if fleet.paused > 0 { dt { "paused" } dd { (count(fleet.paused)) } }
            @if fleet.due_later > 0 { dt { "due for another attempt" } dd { (count(fleet.due_later)) } }
        }
        @if fleet.results_refused > 0 {
            p.note.warning {
                "A subscriber's queue refuses results (" (count(fleet.results_refused)) " so far) and misses them: find it with "
                code { "rabbitmqctl list_queues name messages arguments policy" } "."
            }
        }
    }
}
