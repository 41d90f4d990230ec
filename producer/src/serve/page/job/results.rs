//! A job's results: to download, and where they go by themselves.

use maud::{Markup, html};
use rollcall_shared::message::{ExportFailed, Exported, JobEvent, JobStatus};

use crate::serve::page::cache::{History, Told};
use crate::serve::page::figures::{companies, outside, span, time};

/// The formats, with the words for them.
const FORMATS: [(&str, &str); 3] = [("csv", "CSV"), ("jsonl", "JSON Lines"), ("parquet", "Parquet")];

/// Shows where the results are.
pub(super) fn show(status: &JobStatus, history: Option<&History>) -> Markup {
    let (job, has_ended) = (&status.job, status.state.is_final());
    let done = status.succeeded + status.failed;
    html! {
        section.card #results data-live aria-labelledby="results-title" {
            h2 #results-title { @if has_ended { "Results" } @else { "Results so far" } }
            @if done == 0 {
                p.hint { "No company has an outcome yet." }
            } @else {
                div.actions {
                    @for (format, words) in FORMATS {
                        a.button href={ "/v1/jobs/" (job) "/results?format=" (format) @if !has_ended { "&partial=true" } } { (words) }
                    }
                }
                p.hint { "One row for each of " (companies(done)) " with an outcome, in the order of scoring." }
            }
            @if let Some(to) = &status.settings.results_to { (export(to, has_ended, history)) }
        }
    }
}

fn export(to: &str, has_ended: bool, history: Option<&History>) -> Markup {
    let last = history.and_then(last_export).filter(|_| has_ended);
    html! {
        h3 { "By themselves" }
        p { "They go to " (outside(to)) @if !has_ended { " once the job has ended" } "." }
        @match last {
            Some((at, JobEvent::Exported(Exported { to, rows, .. }))) => p.note.good {
                "Written" @if let Some(at) = at { " " (time(at)) } ": " (companies(*rows)) ", to " (outside(to)) "."
            },
            Some((_, JobEvent::ExportFailed(ExportFailed { reason, retry_in_seconds, .. }))) => p.note.warning {
                "Not written: " (outside(reason)) ". "
                @match retry_in_seconds {
                    Some(seconds) => { "The next try is in " (span(*seconds as f64)) "." }
                    None => "There is no further try: download them, or set the place right and redrive.",
                }
            },
            _ if has_ended => p.hint { "Nothing is known yet of whether they are written." },
            _ => {}
        }
    }
}

/// What happened last of exports since the job has ended.
fn last_export(history: &History) -> Option<(Option<rollcall_shared::message::Timestamp>, &JobEvent)> {
    let known = history.events.iter().rev().filter_map(|entry| match &entry.what {
        Told::Known(event) => Some((entry.at, &**event)),
        Told::Unknown(_) => None,
    });
    let is_since = |(_, event): &(_, &JobEvent)| !matches!(event, JobEvent::Done(_) | JobEvent::Redriven(_));
    known.take_while(is_since).find(|(_, event)| matches!(event, JobEvent::Exported(_) | JobEvent::ExportFailed(_)))
}
