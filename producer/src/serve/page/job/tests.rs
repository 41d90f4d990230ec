use rollcall_shared::message::{CauseCount, Event, ExportFailed, JobEvent, Opened, Settings, Stall};
use serde_json::{Value, json};

use super::*;
use crate::fleet::FleetStatus;
use crate::serve::page::cache::{FleetUnknown, LogEntry, Told};

/// A job `j` in this state, of so many companies that succeeded, failed and have no outcome since it ended.
pub(crate) fn example_status(state: &str, [succeeded, failed, cancelled]: [u64; 3]) -> JobStatus {
    let has_ended = !["running", "paused", "unsealed"].contains(&state);
    let time = "2026-11-30T12:00:00Z";
    let causes = if failed > 0 { json!([{ "cause": "timeout", "count": failed }]) } else { json!([]) };
    serde_json::from_value(json!({
        "job": "j", "model": "m", "state": state, "total": if state == "unsealed" { Value::Null } else { json!(10_000) }, "sealed": 10_000,
        "succeeded": succeeded, "failed": failed, "cancelled": cancelled, "duplicates": 0, "retries": 0, "opened_at": time,
        "done_at": if has_ended { json!(time) } else { Value::Null }, "duration_seconds": 12.5, "companies_per_second": 100.0,
        "causes": causes, "source": "c.csv by ann", "enqueued": 0, "first_offset": 0, "next_offset": 0,
    }))
    .unwrap()
}

fn shown(status: JobStatus, events: Vec<JobEvent>) -> Shown {
    let entry = |event| LogEntry { at: None, what: Told::Known(Box::new(event)) };
    let history = History { last_id: Some(41), progress: Vec::new(), events: events.into_iter().map(entry).collect() };
    Shown { status, fleet: Some(Ok(FleetStatus::example(1))), history: Ok(Arc::new(history)) }
}

fn page(status: JobStatus, viewer: &Viewer) -> String {
    show(&shown(status, Vec::new()), viewer).into_string()
}

#[test]
fn the_buttons_fit_the_state_and_are_shown_to_operators_only() {
    let cases = [
        ("running", vec!["pause", "cancel"]),
        ("unsealed", vec!["pause", "cancel"]),
        ("paused", vec!["resume", "cancel"]),
        ("failed", vec!["redrive"]),
        ("succeeded", vec![]),
    ];
    for (state, expected) in cases {
        let status = || example_status(state, [9_000, if state == "succeeded" { 0 } else { 5 }, 0]);
        let operated = page(status(), &Viewer::operator());
        for action in ["pause", "resume", "cancel", "redrive"] {
            let is_offered = operated.contains(&format!("action=\"/jobs/j/{action}\""));
            assert_eq!(is_offered, expected.contains(&action), "{state} {action}");
        }
        assert!(!page(status(), &Viewer::default()).contains("<form"), "{state}");
    }
}

#[test]
fn the_page_tells_the_script_where_the_events_go_on_that_it_does_not_show() {
    let page = page(example_status("running", [2_500, 0, 0]), &Viewer::default());
    assert!(page.contains(r#"data-job="j" data-state="running" data-last-event="41""#), "{page}");
    assert!(page.contains("<title>25% j – Rollcall</title>"), "{page}");
    assert!(page.contains(r#"<progress max="10000" value="2500""#) && page.contains("2,500 of 10,000"), "{page}");
}

#[test]
fn every_live_part_has_an_id_that_no_other_element_has() {
    let mut status = example_status("cancelled", [1, 2, 3]);
    status.stalled = Some(Stall { since: "2026-11-30T12:00:00Z".parse().unwrap(), companies: 3 });
    let page = page(status, &Viewer::operator());
    let mut ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{page}");
    let tags = page.split('<').filter(|tag| tag.split('>').next().is_some_and(|tag| tag.contains(" data-live")));
    assert!(tags.clone().count() > 5 && tags.clone().all(|tag| tag.contains(" id=\"")), "{page}");
}

#[test]
fn whatever_a_job_and_its_events_say_stays_text() {
    let hostile = "<script>alert(1)</script>\"'";
    let status = JobStatus {
        source: Some(hostile.to_owned()),
        reason: Some(hostile.to_owned()),
        causes: vec![CauseCount { cause: hostile.to_owned(), count: 1 }],
        settings: Settings { results_to: Some(hostile.to_owned()), ..Settings::default() },
        ..example_status("failed", [1, 1, 0])
    };
    let job: rollcall_shared::message::Job = "j".parse().unwrap();
    let (model, source, settings) = ("m".parse().unwrap(), hostile.to_owned(), Settings::default());
    let opened = Opened { job: job.clone(), opening: None, model, source, opened_at: None, settings };
    let failed = ExportFailed { job, to: hostile.to_owned(), reason: hostile.to_owned(), retry_in_seconds: None };
    let events = vec![JobEvent::Opened(opened), JobEvent::ExportFailed(failed)];
    assert_eq!(Event::now(events[0].clone()).routing_key(), "job.j.opened");
    let mut shown = shown(status, events);
    shown.fleet = Some(Err(FleetUnknown(hostile.to_owned())));
    let page = show(&shown, &Viewer::operator()).into_string();
    assert!(!page.contains("<script>alert"), "{page}");
    assert!(page.matches("&lt;script&gt;alert").count() >= 8, "{page}");
}

#[test]
fn what_is_lost_is_redriven_by_a_button_only_if_the_gateway_can_read_the_file() {
    let with_source = |source: &str, hash: Option<&str>| JobStatus {
        source: Some(source.to_owned()),
        settings: Settings { content_hash: hash.map(str::to_owned), ..Settings::default() },
        ..example_status("cancelled", [1, 0, 9])
    };
    let by_button = page(with_source("s3://bucket/c.csv", Some("etag:e size:9")), &Viewer::operator());
    assert!(by_button.contains(r#"name="missing""#) && by_button.contains("9 companies not scored"), "{by_button}");
    for (source, hash) in [("c.csv by ann", None), ("http://host/c.csv# by ann", None), ("/data/c.csv", Some("xxh3:0"))] {
        let by_hand = page(with_source(source, hash), &Viewer::operator());
        assert!(
            by_hand.contains("producer redrive j --missing --file FILE") && !by_hand.contains(r#"name="missing""#),
            "{by_hand}"
        );
    }
}

#[test]
fn results_are_partial_until_the_job_has_ended() {
    let download = |state| page(example_status(state, [1, 0, 0]), &Viewer::default()).contains("format=csv&amp;partial=true");
    assert!(download("running") && download("paused") && !download("succeeded"));
    assert!(!page(example_status("running", [0, 0, 0]), &Viewer::default()).contains("format=csv"));
}

#[test]
fn a_job_without_consumers_says_what_to_do() {
    let mut shown = shown(example_status("running", [1, 0, 0]), Vec::new());
    shown.fleet = Some(Ok(FleetStatus::example(0)));
    let page = show(&shown, &Viewer::default()).into_string();
    assert!(page.contains("or somebody does, with <code>consumer --model m"), "{page}");
}
