use serde_json::json;

use super::*;

/// A correct ledger of a job of two companies, of which the second failed.
fn good() -> JobRecord {
    let mut record = JobRecord::default();
    record.take_in_event("opened".into(), json!({}));
    record.take_in_outcome(0, 0, Outcome::Succeeded);
    record.take_in_outcome(1, 0, Outcome::Failed("odd".into()));
    record.take_in_outcome(1, 0, Outcome::Succeeded);
    record.take_in_event("sealed".into(), json!({ "data": { "total": 2 } }));
    let data = json!({ "total": 2, "succeeded": 1, "failed": 1, "cancelled": 0, "duplicates": 1,
        "causes": [{ "cause": "odd", "count": 1 }] });
    record.take_in_event("done".into(), json!({ "id": "j/done", "subject": "j", "data": data }));
    record.take_in_outcome(0, 0, Outcome::Succeeded);
    record
}

/// The same job after a redrive of the second company, and a late outcome of the round before.
fn redriven() -> JobRecord {
    let mut record = good();
    for by in ["a", "b"] {
        record.take_in_event("redriven".into(), json!({ "data": { "round": 1, "by": by, "indices": "1" } }));
    }
    record.take_in_outcome(1, 0, Outcome::Failed("odd".into()));
    record.take_in_outcome(1, 1, Outcome::Succeeded);
    let data = json!({ "total": 2, "succeeded": 2, "failed": 0, "cancelled": 0 });
    record.take_in_event("done".into(), json!({ "id": "j/done/1", "subject": "j", "data": data }));
    record
}

/// A job that was cancelled, with an outcome that came too late.
fn cut_short() -> JobRecord {
    let mut record = JobRecord::default();
    record.take_in_event("opened".into(), json!({}));
    record.take_in_outcome(0, 0, Outcome::Succeeded);
    record.take_in_event("cancelled".into(), json!({}));
    let data = json!({ "total": 2, "succeeded": 1, "failed": 0, "cancelled": 1, "reason": "a person cancelled it" });
    record.take_in_event("done".into(), json!({ "id": "j/done", "subject": "j", "data": data }));
    record.take_in_outcome(1, 0, Outcome::Succeeded);
    record
}

#[test]
fn each_round_of_a_job_has_one_done_event_after_the_outcomes_that_it_counts() {
    type Harm = fn(&mut JobRecord);
    for correct in [good(), redriven(), cut_short()] {
        assert_eq!(correct.check_rounds(), Ok(()));
    }
    let harms: [(Harm, &str); 7] = [
        (|record| drop(record.done.pop()), r#"expected ["j/done", "j/done/1"], found ["j/done"]"#),
        (|record| record.done[1]["id"] = "j/done".into(), r#"found ["j/done", "j/done"]"#),
        (|record| record.done.push(record.done[1].clone()), r#"found ["j/done", "j/done/1", "j/done/1"]"#),
        (|record| record.rounds[0].answered_by_then = Some(1), "j/done counts no more companies than had an outcome"),
        (|record| record.rounds[0].late.extend([1]), "first outcome after j/done: expected {}, found {1}"),
        (|record| record.rounds[1].late.extend([1]), "first outcome after j/done/1: expected {}, found {1}"),
        (|record| record.rounds[1].answered.clear(), "without an outcome before j/done/1: expected None, found Some(1)"),
    ];
    for (harm, expected) in harms {
        let mut record = redriven();
        harm(&mut record);
        let fault = record.check_rounds().unwrap_err();
        assert!(fault.contains(expected), "expected {expected:?} in {fault:?}");
    }
    assert_eq!(indices("0-2,5"), [0, 1, 2, 5].into());
}

#[test]
fn a_job_that_was_counted_once_passes_with_its_duplicates() {
    assert_eq!((good().check(2), good().duplicates()), (Ok(()), 2));
}

#[test]
fn whatever_does_not_hold_is_named() {
    type Harm = fn(&mut JobRecord);
    let harms: [(Harm, &str); 10] = [
        (|record| record.done.push(record.done[0].clone()), "done events: expected 1, found 2"),
        (|record| record.done.clear(), "done events: expected 1, found 0"),
        (|record| drop(record.outcomes.remove(&0)), "a company without an outcome: expected None, found Some(0)"),
        (|record| record.take_in_outcome(2, 0, Outcome::Succeeded), "does not have: expected None, found Some(2)"),
        (|record| record.late.push(1), "only after the done event: expected [], found [1]"),
        (|record| record.early.push(1), "before the job was opened: expected [], found [1]"),
        (|record| drop(record.events.pop()), "the job sealed: expected false"),
        (|record| record.premature = true, "done before it was sealed"),
        (|record| record.done[0]["data"]["succeeded"] = 2.into(), "the done event's succeeded"),
        (|record| record.done[0]["data"]["causes"][0]["count"] = 2.into(), "the done event's count of odd"),
    ];
    for (harm, expected) in harms {
        let mut record = good();
        harm(&mut record);
        let fault = record.check(2).unwrap_err();
        assert!(fault.contains(expected), "expected {expected:?} in {fault:?}");
    }
}
