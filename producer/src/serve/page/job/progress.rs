//! How far a job is, and how long it will take.

use maud::{Markup, html};
use rollcall_shared::message::{JobStatus, State};

use super::steps::recent_rate;
use crate::serve::page::cache::{Fleet, History, ProgressPoint};
use crate::serve::page::figures::{count, percent, span, time};

pub(super) fn show(status: &JobStatus, fleet: Option<&Fleet>, history: Option<&History>) -> Markup {
    let points = history.map_or(&[][..], |history| &history.progress);
    html! {
        section.card #progress data-live aria-labelledby="progress-title" {
            h2 #progress-title { "Progress" }
            (bar(status))
            (waiting_for(status, fleet))
            dl.tiles {
                div { dt { "succeeded" } dd { (count(status.succeeded)) } }
                div.bad[status.failed > 0] { dt { "failed" } dd { (count(status.failed)) } }
                @if status.cancelled > 0 { div { dt { "not scored" } dd { (count(status.cancelled)) } } }
                @if let Some(left) = left(status, points) { div { dt { "time left" } dd { (left) } } }
                @if let Some(seconds) = status.duration_seconds {
                    div { dt { @if status.state.is_final() { "took" } @else { "so far" } } dd { (span(seconds)) } }
                }
            }
        }
    }
}

fn bar(status: &JobStatus) -> Markup {
    let done = status.succeeded + status.failed;
    html! {
        p.done #progress-words {
            @match status.total {
                Some(total) => {
                    strong { (percent(done, total)) "%" } " " (count(done)) " of " (count(total)) " companies have an outcome"
                }
                None => {
                    strong { (count(done)) } " companies have an outcome, " (count(status.enqueued)) " are enqueued so far"
                }
            }
        }
        @match status.total {
            // Of no companies, all are done.
            Some(0) => progress max="1" value="1" aria-labelledby="progress-words" {}
            Some(total) => progress max=(total) value=(done) aria-labelledby="progress-words" {}
            None => progress aria-labelledby="progress-words" {}
        }
    }
}

/// Why a job makes no progress, and what to do about it; nothing if it does.
fn waiting_for(status: &JobStatus, fleet: Option<&Fleet>) -> Markup {
    let fleet = fleet.and_then(|fleet| fleet.as_ref().ok());
    html! {
        @match status.state {
            State::Paused => p.note { "It is paused: nothing of it is scored, and nothing is lost." },
            State::Unsealed => p.note {
                "Its file is being enqueued. If whatever enqueues it is gone, "
                code { "producer enqueue --continue " (status.job) " FILE" } " goes on; or cancel it."
            },
            State::Running if status.redrives > 0 => p.note {
                "Redrive " (status.redrives) " is under way. If whatever enqueues it is gone, "
                code { "producer redrive " (status.job) " --missing" } " enqueues the rest."
            },
            _ => {}
        }
        @if let (Some(fleet), Some(model), false) = (fleet, &status.model, status.state.is_final()) {
            @if !fleet.has_consumers() {
                p.note.warning {
                    "No consumer of model " (model) " runs: its companies wait until an autoscaler starts one, or somebody does, with "
                    code { "consumer --model " (model) " --scorer …" } "."
                }
            }
            @if let Some(fault) = fleet.fault_in_words(model) { p.note.warning { bdi { (fault) } } }
        }
        @if status.state.is_final() {
            @if let Some(reason) = &status.reason { p.note { "Reason: " bdi { (reason) } } }
            @if let Some(done_at) = status.done_at { p.hint { "Ended " (time(done_at)) } }
        }
    }
}

/// The time left at the present rate; `None` if nothing is left, or it is not known.
fn left(status: &JobStatus, points: &[ProgressPoint]) -> Option<String> {
    if status.state != State::Running {
        return None;
    }
    let companies = status.total?.saturating_sub(status.succeeded + status.failed);
    let rate = recent_rate(points).filter(|&rate| rate > 0.0 && companies > 0)?;
    Some(span((companies as f64 / rate).ceil().max(1.0)))
}
