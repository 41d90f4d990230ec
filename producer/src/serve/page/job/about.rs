//! Where a job comes from, and how it is treated.

use maud::{Markup, html};
use rollcall_shared::message::{JobStatus, Priority, RetryPolicy, Settings, Tolerance};

use crate::serve::page::figures::{count, outside, time};

/// Shows what does not change, and the counts that rarely matter.
pub(super) fn show(status: &JobStatus) -> Markup {
    let Settings { priority, retry, tolerate_failures, fail_fast, deadline_at, .. } = &status.settings;
    html! {
        section.card #about data-live aria-labelledby="about-title" {
            h2 #about-title { "About this job" }
            dl.facts {
                dt { "source" } dd { @match &status.source { Some(source) => (outside(source)), None => "not known" } }
                @if let Some(opened_at) = status.opened_at { dt { "opened" } dd { (time(opened_at)) } }
                @if let Some(done_at) = status.done_at { dt { "ended" } dd { (time(done_at)) } }
                @if let Some(deadline) = deadline_at { dt { "deadline" } dd { (time(*deadline)) } }
                dt { "retries" } dd { (count(status.retries)) }
                dt { "duplicates" } dd { (count(status.duplicates)) }
                dt { "redrives" } dd { (count(status.redrives.into())) }
                dt { "priority" } dd { @if *priority == Priority::High { "ahead of larger jobs" } @else { "normal" } }
                @if let Some(retry) = retry { dt { "attempts" } dd { (attempts(retry)) } }
                @if *tolerate_failures != Tolerance::default() { dt { "tolerated failures" } dd { (tolerate_failures) } }
                @if *fail_fast { dt { "ends early" } dd { "with the first failure that is too many" } }
            }
        }
    }
}

/// `3;1s,10s` as it is on the wire.
fn attempts(retry: &RetryPolicy) -> String {
    let policy = retry.to_string();
    let (attempts, delays) = policy.split_once(';').unwrap_or((&policy, ""));
    format!("{attempts} at most, after {}", delays.replace(',', ", "))
}
