use std::sync::atomic::Ordering;
use std::time::Instant;

use super::*;

/// A scorer in a line of shell: `answer` is what it prints for each request, with `$id` for the request's id.
fn shell(answer: &str) -> Command {
    let script = format!(
        r#"while read -r line; do id=${{line#*\"id\":\"}}; id=${{id%%\"*}}; case $line in *crash*) echo boom >&2; exit 3;; *hang*) sleep 60;; esac; {answer}; done"#
    );
    let words = ["sh", "-c", &script].map(str::to_owned).to_vec();
    Command::start(words, Duration::from_millis(500), Arc::default(), None).unwrap()
}

fn company(record: &str) -> Company {
    Company { record: record.as_bytes().to_vec() }
}

const ONE: &str = r#"echo "{\"id\":\"$id\",\"predictions\":[0.5]}""#;

#[test]
fn an_answer_gives_each_instance_its_prediction_in_order() {
    let mut scorer = shell(r#"echo "{\"id\":\"$id\",\"predictions\":[1, {\"a\":[2]}]}""#);
    let scores = scorer.score(&[company("{}"), company("{\"x\":\n1}")]).unwrap();
    assert_eq!(scores, [Ok("1".to_owned().into()), Ok("{\"a\":[2]}".to_owned().into())]);
}

#[test]
fn an_error_entry_fails_that_company_only() {
    let mut scorer = shell(
        r#"echo "{\"id\":\"$id\",\"predictions\":[{\"error\":{\"cause\":\"odd\",\"message\":\"m\",\"retryable\":true}},2]}""#,
    );
    let scores = scorer.score(&[company("{}"), company("{}")]).unwrap();
    assert_eq!(scores[0], Err(ScoreError { cause: "odd".into(), message: "m".into(), retryable: true }));
    assert_eq!(scores[1], Ok("2".to_owned().into()));
}

#[test]
fn an_error_entry_that_is_not_as_it_should_be_is_a_failure_and_no_prediction() {
    for error in [r#""no data""#, r#"{"message":"m"}"#, r#"{"cause":404}"#, r#"{"cause":"c","retryable":"true"}"#] {
        let entry = format!(r#"{{"error":{error},"more":1}}"#).replace('"', r#"\""#);
        let mut scorer = shell(&format!(r#"echo "{{\"id\":\"$id\",\"predictions\":[{entry}, {{\"error\":null}}]}}""#));
        let scores = scorer.score(&[company("{}"), company("{}")]).unwrap();
        let failed = scores[0].as_ref().unwrap_err();
        assert_eq!((failed.cause.as_str(), failed.retryable), ("invalid_answer", false), "{error}");
        assert_eq!(scores[1], Ok(r#"{"error":null}"#.to_owned().into()));
    }
}

#[test]
fn a_record_that_is_no_object_never_reaches_the_child() {
    let mut scorer = shell(ONE);
    let scores = scorer.score(&[company("[1]"), company("{}"), company("{\"a\":")]).unwrap();
    assert_eq!(scores[0].as_ref().unwrap_err().cause, "invalid_record");
    assert_eq!(scores[1], Ok("0.5".to_owned().into()));
    assert_eq!(scores[2].as_ref().unwrap_err().cause, "invalid_record");
}

#[test]
fn a_child_that_dies_says_how_and_its_successor_goes_on() {
    let mut scorer = shell(ONE);
    let error = scorer.score(&[company(r#"{"a":"crash"}"#)]).unwrap_err();
    assert_eq!(error.cause, "scorer_crashed");
    assert!(error.message.contains("exit code 3") && error.message.contains("boom"), "{error}");
    assert_eq!(scorer.score(&[company("{}")]).unwrap(), [Ok("0.5".to_owned().into())]);
}

#[test]
fn a_child_that_hangs_is_killed_when_its_time_is_up() {
    let mut scorer = shell(ONE);
    assert_eq!(scorer.score(&[company(r#"{"a":"hang"}"#)]).unwrap_err().cause, "timeout");
    assert_eq!(scorer.score(&[company("{}")]).unwrap(), [Ok("0.5".to_owned().into())]);
}

#[test]
fn a_child_that_hangs_is_given_up_at_once_when_the_consumer_must_stop() {
    let folder = tempfile::tempdir().unwrap();
    let hanging = folder.path().join("hanging");
    let mut scorer = shell(&format!("touch {}; sleep 60", hanging.display()));
    scorer.timeout = Duration::from_secs(30);
    let (abandon, until) = (Arc::clone(&scorer.abandon), Instant::now() + Duration::from_secs(20));
    let stop = std::thread::spawn(move || {
        while !hanging.exists() && Instant::now() < until {
            std::thread::yield_now();
        }
        abandon.store(true, Ordering::Relaxed);
        hanging.exists()
    });
    let error = scorer.score(&[company("{}")]).unwrap_err();
    assert!(error.message.contains("stopping"), "{error}");
    assert!(stop.join().unwrap(), "the child was never asked");
}

#[test]
fn nonsense_is_named_and_the_child_replaced() {
    for (answer, found) in [
        ("echo hello", "hello"),
        (r#"echo "{\"id\":\"$id\"}""#, "neither"),
        (r#"echo "{\"id\":\"x\",\"predictions\":[1]}""#, "\"x\""),
        (r#"echo "{\"id\":\"$id\",\"predictions\":[]}""#, "found 0"),
        (r#"echo "{\"id\":\"$id\",\"predictions\":[NaN]}""#, "NaN"),
        (r"printf '\377\n'", "UTF-8"),
    ] {
        let error = shell(answer).score(&[company("{}")]).unwrap_err();
        assert_eq!(error.cause, "invalid_answer", "{answer}");
        assert!(error.message.contains(found), "{answer}: {error}");
    }
}

#[test]
fn an_error_for_the_batch_leaves_the_child_alive() {
    let mut scorer = shell(r#"echo "{\"id\":\"$id\",\"error\":\"no batch today\"}""#);
    let error = scorer.score(&[company("{}")]).unwrap_err();
    assert_eq!((error.cause.as_str(), error.message.as_str()), ("scorer_error", "no batch today"));
    assert!(scorer.child.is_some());
}

#[test]
fn a_program_that_does_not_exist_is_an_error_that_names_it() {
    let error = Command::start(vec!["no-such-program".into()], Duration::from_secs(1), Arc::default(), None).err().unwrap();
    assert!(error.contains("no-such-program"), "{error}");
}
