use lapin::types::AMQPValue;
use proptest::prelude::*;

use super::*;
use crate::message::settings::Priority;

fn work(record: &str) -> Work {
    Work {
        job: "j".parse().unwrap(),
        index: Index(3),
        company_id: "acme".to_owned(),
        attempt: 2,
        round: 0,
        opening: None,
        priority: Priority::Normal,
        deliveries: 0,
        deliveries_alone: 0,
        retry: None,
        traceparent: String::new(),
        record: record.as_bytes().to_vec(),
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

fn now() -> Timestamp {
    "2027-01-31T05:00:00.000Z".parse().unwrap()
}

fn failed_body(record: &str) -> serde_json::Value {
    let work = work(record);
    let scored = ScoredCompany::Error { cause: "timeout".to_owned(), message: "late".to_owned() };
    let model = "m".parse().unwrap();
    let result = ResultMessage { work: &work, model: &model, scored: &scored, scored_at: now(), duration: Some(MILLISECOND) };
    serde_json::from_slice(&result.body().unwrap()).unwrap()
}

#[test]
fn a_body_reads_back_as_it_was_written_and_is_handed_on_verbatim() {
    let (work, model) = (work("{}"), "m".parse().unwrap());
    let scored = ScoredCompany::Prediction(r#"{"p": 0.5}"#.parse().unwrap());
    let result =
        ResultMessage { work: &work, model: &model, scored: &scored, scored_at: now(), duration: Some(MILLISECOND * 3 / 2) };
    let written = result.body().unwrap();
    let expected = r#"{"job":"j","index":3,"company_id":"acme","model":"m","outcome":"succeeded","attempt":2,"scored_at":"2027-01-31T05:00:00.000Z","duration_ms":1.5,"prediction":{"p": 0.5}}"#;
    assert_eq!(std::str::from_utf8(&written).unwrap(), expected);
    let headers = ResultHeaders::read(&result.properties()).unwrap();
    let read = ResultBody::read(&headers, &written);
    assert_eq!((read.index, read.company_id.as_str(), read.scored_at), (3, "acme", Some(now())));
    assert_eq!(read.prediction.map(RawValue::get), Some(r#"{"p": 0.5}"#));
    assert_eq!(read.document().unwrap().get(), expected);
}

#[test]
fn of_a_body_that_is_no_result_the_headers_tell_what_is_known() {
    let (work, model) = (work("{}"), "m".parse().unwrap());
    let scored = ScoredCompany::Error { cause: "timeout".to_owned(), message: String::new() };
    let result = ResultMessage { work: &work, model: &model, scored: &scored, scored_at: now(), duration: Some(MILLISECOND) };
    let headers = ResultHeaders::read(&result.properties()).unwrap();
    let body = String::from_utf8(result.body().unwrap()).unwrap().replace(r#""duration_ms":1.0"#, r#""duration_ms":"long""#);
    let read = ResultBody::read(&headers, body.as_bytes());
    let error = read.error.as_ref().unwrap();
    assert_eq!((read.index, read.attempt, error.cause.as_str()), (3, 2, "timeout"));
    assert!(error.message.contains("invalid type: string \"long\""), "{}", error.message);
    assert!(read.document().unwrap().get().contains(r#""scored_at":"","#));
}

#[test]
fn a_result_whose_time_is_none_keeps_everything_else() {
    let (work, model) = (work("{}"), "m".parse().unwrap());
    let scored = ScoredCompany::Prediction(r#"{"p": 0.5}"#.parse().unwrap());
    let result =
        ResultMessage { work: &work, model: &model, scored: &scored, scored_at: now(), duration: Some(MILLISECOND * 3 / 2) };
    let headers = ResultHeaders::read(&result.properties()).unwrap();
    for no_time in ["2027-01-31T05:00:00", "2027-01-31", "", "noon"] {
        let body = String::from_utf8(result.body().unwrap()).unwrap().replace("2027-01-31T05:00:00.000Z", no_time);
        let read = ResultBody::read(&headers, body.as_bytes());
        assert_eq!((read.company_id.as_str(), read.scored_at, read.duration_ms), ("acme", None, 1.5), "{no_time:?}");
        assert_eq!((read.prediction.map(RawValue::get), read.error.is_none()), (Some(r#"{"p": 0.5}"#), true), "{no_time:?}");
        assert_eq!(read.document().unwrap().get(), body);
    }
}

#[test]
fn a_failure_brings_the_record_that_it_failed_on() {
    let body = failed_body(r#"{"company_id":"acme","size":1.50}"#);
    assert_eq!(body["error"]["cause"], "timeout");
    assert_eq!(body["record"]["size"], 1.5);
    assert_eq!(failed_body("no json")["record"], "no json");
}

#[test]
fn a_record_that_would_make_the_message_too_large_for_the_broker_is_left_out() {
    let control_characters = "\u{1}".repeat(LARGEST_RECORD / 4);
    let body = failed_body(&control_characters);
    assert_eq!((body["error"]["cause"].as_str(), &body["record"]), (Some("timeout"), &serde_json::Value::Null));
}

#[test]
fn a_long_cause_is_counted_by_its_beginning() {
    let (work, model) = (work("{}"), "m".parse().unwrap());
    let scored = ScoredCompany::Error { cause: "é".repeat(LONGEST_CAUSE + 1), message: String::new() };
    let result = ResultMessage { work: &work, model: &model, scored: &scored, scored_at: now(), duration: Some(MILLISECOND) };
    assert_eq!(ResultHeaders::read(&result.properties()).unwrap().cause, "é".repeat(LONGEST_CAUSE));
}

#[test]
fn a_duration_that_cannot_be_one_counts_as_unknown() {
    let (work, model) = (work("{}"), "m".parse().unwrap());
    let scored = ScoredCompany::Prediction("1".parse().unwrap());
    let result = ResultMessage { work: &work, model: &model, scored: &scored, scored_at: now(), duration: None };
    let read = |value: Option<AMQPValue>| {
        let mut headers = result.properties().headers().clone().unwrap();
        value.map(|value| headers.insert("duration_ms".into(), value));
        ResultHeaders::read(&result.properties().with_headers(headers)).unwrap().duration
    };
    assert_eq!(read(None), None);
    assert_eq!(read(Some(AMQPValue::Double(1.5))), Some(MILLISECOND * 3 / 2));
    assert_eq!(read(Some(AMQPValue::LongInt(2))), Some(MILLISECOND * 2));
    for bad in [f64::NAN, f64::INFINITY, -1.0, 1e300, 86_400_001.0] {
        assert_eq!(read(Some(AMQPValue::Double(bad))), None, "{bad}");
    }
    for bad in [AMQPValue::LongLongInt(-1), AMQPValue::LongString("1".into()), AMQPValue::Void] {
        assert_eq!(read(Some(bad.clone())), None, "{bad:?}");
    }
}

proptest! {
    #[test]
    fn what_counting_needs_reads_back_as_it_was_written(
        (index, attempt, round, opened, cause)
            in (any::<u32>(), 1_u32..100, any::<u32>(), any::<bool>(), prop::option::of(".{0,60}"))
    ) {
        let opening = opened.then(Opening::unique);
        let work = Work { index: Index(index), attempt, round, opening, ..work("{}") };
        let scored = match &cause {
            None => ScoredCompany::Prediction("1".parse().unwrap()),
            Some(cause) => ScoredCompany::Error { cause: cause.clone(), message: String::new() },
        };
        let model = "m".parse().unwrap();
        let result = ResultMessage { work: &work, model: &model, scored: &scored, scored_at: now(), duration: Some(MILLISECOND) };
        let (job, index, outcome, cause) = (work.job.clone(), work.index, scored.outcome(), cause.unwrap_or_default());
        let read = ResultHeaders { job, index, outcome, attempt, round, opening, cause, to_ledger_alone: false, duration: Some(MILLISECOND) };
        prop_assert_eq!(ResultHeaders::read(&result.properties()), Ok(read));
    }
}
