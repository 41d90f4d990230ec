//! Jobs in the order in which they concern whoever looks: those that run, that wait for something, and that have ended.

use std::collections::BTreeMap;

use maud::{Markup, html};
use rollcall_shared::message::{JobStatus, Model, State};

use crate::serve::page::cache::Fleet;
use crate::serve::page::figures::{companies, count, percent, span, time};

/// Where a job stands, for the list.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Runs,
    /// For what, in words.
    Waits(String),
    HasEnded,
}

pub(super) fn show(jobs: &[JobStatus], fleets: &BTreeMap<Model, Fleet>) -> Markup {
    let (mut running, mut waiting, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for job in jobs {
        match standing(job, job.model.as_ref().and_then(|model| fleets.get(model))) {
            Standing::Runs => running.push(job),
            Standing::Waits(reason) => waiting.push((job, reason)),
            Standing::HasEnded => ended.push(job),
        }
    }
    html! {
        div #jobs data-live {
            @if jobs.is_empty() { p.card.empty { "There is no such job." } }
            @if !running.is_empty() {
                section aria-labelledby="running-title" {
                    h2 #running-title { "Running" }
                    ul.job-cards { @for job in running { (unfinished(job, None)) } }
                }
            }
            @if !waiting.is_empty() {
                section aria-labelledby="waiting-title" {
                    h2 #waiting-title { "Waiting" }
                    ul.job-cards { @for (job, reason) in waiting { (unfinished(job, Some(&reason))) } }
                }
            }
            @if !ended.is_empty() {
                section aria-labelledby="ended-title" {
                    h2 #ended-title { "Ended" }
                    (table(&ended))
                }
            }
        }
    }
}

fn standing(job: &JobStatus, fleet: Option<&Fleet>) -> Standing {
    if job.state.is_final() {
        return Standing::HasEnded;
    }
    if let Some(stall) = &job.stalled {
        return Standing::Waits(format!("{} lost. Open the job to see what to do.", companies(stall.companies)));
    }
    let (Some(model), Some(Ok(fleet))) = (&job.model, fleet) else {
        return by_state(job).map_or(Standing::Runs, Standing::Waits);
    };
    let without = (!fleet.has_consumers()).then(|| format!("No consumer of model {model} runs yet."));
    let broken = || fleet.fault_in_words(model).filter(|_| fleet.all_are_broken());
    by_state(job).or(without).or_else(broken).map_or(Standing::Runs, Standing::Waits)
}

fn by_state(job: &JobStatus) -> Option<String> {
    match job.state {
        State::Paused => Some("Paused until it is resumed.".to_owned()),
        State::Unsealed => Some(format!("Its file is being enqueued: {} so far.", companies(job.enqueued))),
        _ => None,
    }
}

fn unfinished(job: &JobStatus, waits_for: Option<&str>) -> Markup {
    let done = job.succeeded + job.failed;
    let (id, words) = (format!("job-{}", job.job), format!("words-{}", job.job));
    html! {
        li.card id=(id) data-state=(job.state) data-name=(job.job) {
            div.heading {
                h3 { a href={ "/jobs/" (job.job) } { (job.job) } }
                span class={ "state " (job.state) } { (job.state) }
            }
            @match job.total {
                Some(total) => progress max=(total.max(1)) value=(done) aria-labelledby=(words) {}
                None => progress aria-labelledby=(words) {}
            }
            p.done id=(words) {
                @match job.total {
                    Some(total) => { strong { (percent(done, total)) "%" } " " (count(done)) " of " (companies(total)) }
                    None => { strong { (count(done)) } " of " (companies(job.enqueued)) " so far" }
                }
                @if job.failed > 0 { ", " span.bad { (count(job.failed)) " failed" } }
            }
            @if let Some(reason) = waits_for { p.note.warning { bdi { (reason) } } }
            p.hint {
                "model " (job.model.as_ref().map_or("not known", Model::as_str))
                @if let Some(opened_at) = job.opened_at { ", opened " (time(opened_at)) }
            }
        }
    }
}

fn table(jobs: &[&JobStatus]) -> Markup {
    html! {
        div.card {
            table.cards {
                thead { tr {
                    th scope="col" { "Job" } th scope="col" { "State" } th scope="col" { "Model" }
                    th.number scope="col" { "Companies" } th.number scope="col" { "Failed" }
                    th scope="col" { "Ended" } th.number scope="col" { "Took" }
                } }
                tbody { @for job in jobs { (row(job)) } }
            }
        }
    }
}

fn row(job: &JobStatus) -> Markup {
    let id = format!("job-{}", job.job);
    html! {
        tr id=(id) data-state=(job.state) data-name=(job.job) {
            th scope="row" data-label="Job" { a href={ "/jobs/" (job.job) } { (job.job) } }
            td.of-state data-label="State" { span class={ "state " (job.state) } { (job.state) } }
            td data-label="Model" { (job.model.as_ref().map_or("not known", Model::as_str)) }
            td.number data-label="Companies" { (count(job.total.unwrap_or(job.succeeded + job.failed))) }
            td.number data-label="Failed" { @if job.failed > 0 { span.bad { (count(job.failed)) } } @else { "0" } }
            td data-label="Ended" { @match job.done_at { Some(at) => (time(at)), None => "not known" } }
            td.number data-label="Took" { @match job.duration_seconds { Some(seconds) => (span(seconds)), None => "not known" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use rollcall_shared::message::Stall;

    use super::super::super::job::example_status;
    use super::*;
    use crate::fleet::FleetStatus;
    use crate::serve::page::cache::FleetUnknown;

    #[test]
    fn a_job_waits_if_it_is_paused_or_unsealed_or_stalled_or_nobody_scores_it() {
        let consumed = Ok(FleetStatus::example(1));
        let unconsumed = Ok(FleetStatus::example(0));
        let unknown = Err(FleetUnknown("no answer".to_owned()));
        let waits = |state: &str, fleet| match standing(&example_status(state, [1, 0, 0]), fleet) {
            Standing::Waits(reason) => reason,
            other => format!("{other:?}"),
        };
        assert_eq!(waits("running", Some(&consumed)), "Runs");
        assert_eq!(waits("running", Some(&unknown)), "Runs");
        assert_eq!(waits("running", Some(&unconsumed)), "No consumer of model m runs yet.");
        assert_eq!(waits("paused", Some(&consumed)), "Paused until it is resumed.");
        assert_eq!(waits("unsealed", None), "Its file is being enqueued: 0 companies so far.");
        assert_eq!(waits("failed", Some(&unconsumed)), "HasEnded");
        let stalled = Some(Stall { since: "2026-11-30T12:00:00Z".parse().unwrap(), companies: 2_000 });
        let job = JobStatus { stalled, ..example_status("running", [1, 0, 0]) };
        assert_eq!(
            standing(&job, Some(&consumed)),
            Standing::Waits("2,000 companies lost. Open the job to see what to do.".to_owned())
        );
    }

    #[test]
    fn jobs_stand_in_three_groups_of_which_empty_ones_are_left_out() {
        let jobs = ["running", "paused", "failed"].map(|state| example_status(state, [1, 2, 0]));
        let page = show(&jobs, &BTreeMap::new()).into_string();
        let at = |words: &str| page.find(words).unwrap_or_else(|| panic!("{words} in {page}"));
        assert!(at("Running") < at("Waiting") && at("Waiting") < at("Ended"), "{page}");
        let page = show(&jobs[..1], &BTreeMap::new()).into_string();
        assert!(!page.contains("Waiting") && !page.contains("Ended"), "{page}");
        assert!(show(&[], &BTreeMap::new()).into_string().contains("no such job"));
    }
}
