//! What has happened to a job.

use std::sync::Arc;

use maud::{Markup, html};
use rollcall_shared::message::{Done, ExportFailed, JobEvent, JobStatus, Redriven};

use crate::serve::http::problem::Problem;
use crate::serve::page::cache::{History, LogEntry, Told};
use crate::serve::page::figures::{companies, count, outside, span, time};

/// Shows the events, the newest first.
pub(super) fn show(status: &JobStatus, history: Result<&Arc<History>, &Problem>) -> Markup {
    let job = &status.job;
    html! {
        section.card #events data-live aria-labelledby="events-title" {
            h2 #events-title { "Events" }
            @match history {
                Err(problem) => p.note.warning { "They cannot be read now: " (outside(problem.detail())) },
                Ok(history) if history.events.is_empty() => p.hint { "None is kept: the log has the events of the last time." },
                Ok(history) => {
                    ol.events {
                        @for entry in history.events.iter().rev() { (line(entry)) }
                    }
                    p.hint { "For programs: " code { "GET /v1/jobs/" (job) "/events" } }
                }
            }
        }
    }
}

fn line(entry: &LogEntry) -> Markup {
    html! {
        li {
            @match entry.at { Some(at) => (time(at)), None => span.hint { "at an unknown time" } }
            " "
            @match &entry.what {
                Told::Known(event) => (in_words(event)),
                Told::Unknown(name) => { "an event that this gateway cannot read: " (outside(name)) }
            }
        }
    }
}

fn in_words(event: &JobEvent) -> Markup {
    html! {
        @match event {
            JobEvent::Opened(opened) => { "opened for model " (opened.model) ", from " (outside(&opened.source)) }
            JobEvent::Enqueued(enqueued) => { (companies(enqueued.position)) " enqueued so far" }
            JobEvent::Sealed(sealed) => { "its whole file is enqueued: " (companies(sealed.total)) }
            JobEvent::Progress(progress) => { (companies(progress.succeeded.saturating_add(progress.failed))) " have an outcome" }
            JobEvent::Cancelled(cancelled) => { "cancelled: " (outside(&cancelled.reason)) }
            JobEvent::Expired(_) => "its deadline has passed",
            JobEvent::Paused(_) => "paused",
            JobEvent::Resumed(_) => "resumed",
            JobEvent::Redriven(Redriven { round, companies: number, .. }) => {
                "redrive " (round) ": " (companies(*number)) " enqueued once more"
            }
            JobEvent::Stalled(stalled) => { (companies(stalled.companies)) " lost" }
            JobEvent::Done(Done { state, succeeded, failed, cancelled, .. }) => {
                "ended as " strong { (state) } ": " (count(*succeeded)) " succeeded, " (count(*failed)) " failed"
                @if *cancelled > 0 { ", " (count(*cancelled)) " not scored" }
            }
            JobEvent::Exported(exported) => { "results of " (companies(exported.rows)) " written to " (outside(&exported.to)) }
            JobEvent::ExportFailed(ExportFailed { to, reason, retry_in_seconds, .. }) => {
                "results not written to " (outside(to)) ": " (outside(reason))
                @match retry_in_seconds {
                    Some(seconds) => { "; the next try is in " (span(*seconds as f64)) }
                    None => "; there is no further try",
                }
            }
        }
    }
}
