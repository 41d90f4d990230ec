use std::sync::atomic::Ordering;
use std::time::Instant;

use rollcall_shared::json::Json;

use super::*;
use crate::scorer::{Blame, Prediction};

/// A scorer in a line of shell: `answer` is what it prints for each request, with `$id` for the request's id.
fn shell(answer: &str) -> Command {
    let script = format!(
        r#"while read -r line; do id=${{line#*\"id\":\"}}; id=${{id%%\"*}}; case $line in *crash*) echo boom >&2; exit 3;; *hang*) sleep 60;; esac; {answer}; done"#
    );
    let words = ["sh", "-c", &script].map(str::to_owned).to_vec();
    Command::start(words, Duration::from_millis(500), Arc::default(), None).unwrap()
}

fn prediction(json: &str) -> Prediction {
    json.parse::<Json>().unwrap().into()
}

fn company(record: &str) -> Company {
    Company { record: record.as_bytes().to_vec() }
}

const ONE: &str = r#"echo "{\"id\":\"$id\",\"predictions\":[0.5]}""#;

#[test]
fn an_answer_gives_each_instance_its_prediction_in_order() {
    let mut scorer = shell(r#"echo "{\"id\":\"$id\",\"predictions\":[1, {\"a\":[2]}]}""#);
    let scores = scorer.score(&[company("{}"), company("{\"x\":\n1}")]).unwrap();
    assert_eq!(scores, [Ok(prediction("1")), Ok(prediction("{\"a\":[2]}"))]);
}

#[test]
fn an_error_entry_fails_that_company_only() {
    let mut scorer = shell(
        r#"echo "{\"id\":\"$id\",\"predictions\":[{\"error\":{\"cause\":\"odd\",\"message\":\"m\",\"retryable\":true}},2]}""#,
    );
    let scores = scorer.score(&[company("{}"), company("{}")]).unwrap();
    assert_eq!(scores[0], Err(ScoreError { cause: "odd".into(), message: "m".into(), retryable: true }));
    assert_eq!(scores[1], Ok(prediction("2")));
}

#[test]
fn an_error_entry_that_is_not_as_it_should_be_is_a_failure_and_no_prediction() {
    for error in [r#""no data""#, r#"{"message":"m"}"#, r#"{"cause":404}"#, r#"{"cause":"c","retryable":"true"}"#] {
        let entry = format!(r#"{{"error":{error},"more":1}}"#).replace('"', r#"\""#);
        let mut scorer = shell(&format!(r#"echo "{{\"id\":\"$id\",\"predictions\":[{entry}, {{\"error\":null}}]}}""#));
        let scores = scorer.score(&[company("{}"), company("{}")]).unwrap();
        let failed = scores[0].as_ref().unwrap_err();
        assert_eq!((failed.cause.as_str(), failed.retryable), ("invalid_answer", false), "{error}");
        assert_eq!(scores[1], Ok(prediction(r#"{"error":null}"#)));
    }
}

#[test]
fn a_record_that_is_no_object_never_reaches_the_child() {
    let mut scorer = shell(ONE);
    let scores = scorer.score(&[company("[1]"), company("{}"), company("{\"a\":")]).unwrap();
    assert_eq!(scores[0].as_ref().unwrap_err().cause, "invalid_record");
    assert_eq!(scores[1], Ok(prediction("0.5")));
    assert_eq!(scores[2].as_ref().unwrap_err().cause, "invalid_record");
}

#[test]
fn an_answer_cut_in_the_middle_by_the_childs_end_is_a_death() {
    let mut scorer = shell(r#"printf '{"id":"1","predictions":[0.'; exit 4"#);
    let failed = scorer.score(&[company("{}")]).unwrap_err();
    assert_eq!(failed.error.cause, "scorer_crashed");
    assert!(failed.error.message.contains("exit code 4"), "{failed}");
}

#[test]
fn a_child_that_dies_says_how_and_its_successor_goes_on() {
    let mut scorer = shell(ONE);
    let error = scorer.score(&[company(r#"{"a":"crash"}"#)]).unwrap_err().error;
    assert_eq!(error.cause, "scorer_crashed");
    assert!(error.message.contains("exit code 3") && error.message.contains("boom"), "{error}");
    assert_eq!(scorer.score(&[company("{}")]).unwrap(), [Ok(prediction("0.5"))]);
}

#[test]
fn a_child_that_hangs_is_killed_when_its_time_is_up() {
    let mut scorer = shell(ONE);
    assert_eq!(scorer.score(&[company(r#"{"a":"hang"}"#)]).unwrap_err().error.cause, "timeout");
    assert_eq!(scorer.score(&[company("{}")]).unwrap(), [Ok(prediction("0.5"))]);
}

#[test]
fn a_child_that_hangs_is_given_up_at_once_when_the_consumer_must_stop() {
    let folder = tempfile::tempdir().unwrap();
    let hanging = folder.path().join("hanging");
    let mut scorer = shell(&format!("touch {}; sleep 60", hanging.display()));
    scorer.timeout = Duration::from_secs(30);
    let (stopping, until) = (Arc::clone(&scorer.stopping), Instant::now() + Duration::from_secs(20));
    let stop = std::thread::spawn(move || {
        while !hanging.exists() && Instant::now() < until {
            std::thread::yield_now();
        }
        stopping.store(true, Ordering::Relaxed);
        hanging.exists()
    });
    let error = scorer.score(&[company("{}")]).unwrap_err().error;
    assert!(error.message.contains("stopping"), "{error}");
    assert!(stop.join().unwrap(), "the child was never asked");
}

#[test]
fn nonsense_is_named_and_the_child_replaced() {
    for (answer, found) in [
        (r#"echo "{\"id\":\"$id\"}""#, "neither"),
        (r#"echo "{\"id\":\"x\",\"predictions\":[1]}""#, "\"x\""),
        (r#"echo "{\"id\":\"$id\",\"predictions\":[]}""#, "found 0"),
        (r#"printf '{"id":"1","predictions":["\351"]}\n'"#, "0xe9"),
    ] {
        let mut scorer = shell(answer);
        let failed = scorer.score(&[company("{}")]).unwrap_err();
        assert_eq!((failed.error.cause.as_str(), failed.blame), ("invalid_answer", Blame::Either), "{answer}");
        assert!(failed.error.message.contains(found), "{answer}: {failed}");
        assert!(scorer.child.is_none());
    }
}

#[test]
fn lines_that_are_no_answers_are_passed_over_before_and_after_one() {
    let log = r#"echo "Loading model..."; echo; echo "{\"level\":\"info\"}"; printf 'caf\351\n'; echo "[1]""#;
    let mut scorer = shell(&format!("{log}; {ONE}; {log}"));
    for _ in 0..3 {
        assert_eq!(scorer.score(&[company("{}")]).unwrap(), [Ok(prediction("0.5"))]);
    }
    assert_eq!(scorer.failed_children, 0);
}

#[test]
fn a_child_that_prints_without_end_and_never_answers_is_out_of_time() {
    let mut scorer = shell(r#"while :; do echo "{\"level\":1}"; echo x; done"#);
    let failed = scorer.score(&[company("{}")]).unwrap_err();
    assert_eq!(failed.error.cause, "timeout");
    assert!(failed.error.message.contains("{\"level\":1}"), "{failed}");
}

#[test]
fn what_is_no_number_costs_its_own_company_only_and_no_new_child() {
    let mut scorer = shell(r#"echo "{\"id\":\"$id\",\"predictions\":[1, {\"p\": NaN}, 2]}""#);
    let scores = scorer.score(&[company("{}"), company("{}"), company("{}")]).unwrap();
    assert_eq!((&scores[0], &scores[2]), (&Ok(prediction("1")), &Ok(prediction("2"))));
    let error = scores[1].as_ref().unwrap_err();
    assert_eq!((error.cause.as_str(), error.retryable), ("invalid_answer", false), "{error}");
    assert!(scorer.child.is_some() && scorer.failed_children == 0);
}

#[test]
fn a_child_that_ends_before_it_has_read_its_request_is_to_blame_and_not_the_company() {
    let words = ["sh", "-c", "sleep 0.2; echo no such module >&2; exit 1"].map(str::to_owned).to_vec();
    let mut scorer = Command::start(words, Duration::from_secs(20), Arc::default(), None).unwrap();
    let failed = scorer.score(&[company("{}")]).unwrap_err();
    assert_eq!((failed.error.cause.as_str(), failed.blame), ("scorer_crashed", Blame::Scorer), "{failed}");
    assert!(failed.error.message.contains("before it had read") && failed.error.message.contains("no such module"), "{failed}");
    let died_reading = shell(ONE).score(&[company(r#"{"a":"crash"}"#)]).unwrap_err();
    assert_eq!(died_reading.blame, Blame::Either);
}

#[test]
fn a_child_that_ended_while_it_had_nothing_to_do_is_replaced_at_nobodys_expense() {
    let mut scorer = shell(&format!("{ONE}; exit 0"));
    for _ in 0..3 {
        assert_eq!(scorer.score(&[company("{}")]).unwrap(), [Ok(prediction("0.5"))]);
        let child = scorer.child.as_ref().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while !child.has_ended() && Instant::now() < until {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_second_answer_to_the_same_request_is_no_fault_of_the_next_company() {
    let mut scorer = shell(&format!("{ONE}; {ONE}"));
    assert_eq!(scorer.score(&[company("{}")]).unwrap(), [Ok(prediction("0.5"))]);
    let failed = scorer.score(&[company("{}")]).unwrap_err();
    assert_eq!((failed.error.cause.as_str(), failed.blame), ("invalid_answer", Blame::Scorer), "{failed}");
}

#[test]
fn an_answer_that_was_not_flushed_is_told_from_none() {
    let words = ["sh", "-c", r#"read -r line; cat >&2; echo '{"id":"1","predictions":[1]}'"#].map(str::to_owned).to_vec();
    let mut scorer = Command::start(words, Duration::from_millis(500), Arc::default(), None).unwrap();
    let failed = scorer.score(&[company("{}")]).unwrap_err();
    assert_eq!(failed.error.cause, "timeout");
    assert!(failed.error.message.contains("flush standard output"), "{failed}");
}

#[test]
fn a_child_whose_own_child_keeps_its_output_open_is_seen_to_die_at_once_and_that_one_is_ended() {
    for start in ["sleep 600 &", "setsid sleep 600 &", "setsid sh -c 'sleep 600; :' & sleep 600 &"] {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("cd {}; {start} read -r line; exit 7", folder.path().display());
        let words = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let mut scorer = Command::start(words, Duration::from_secs(60), Arc::default(), None).unwrap();
        let asked = Instant::now();
        let failed = scorer.score(&[company("{}")]).unwrap_err();
        assert!(failed.error.message.contains("exit code 7"), "{failed}");
        assert!(asked.elapsed() < Duration::from_secs(20), "{start}: it took {:?}", asked.elapsed());
        let in_folder = |pid: &std::path::Path| std::fs::read_link(pid.join("cwd")).is_ok_and(|cwd| cwd == folder.path());
        let left = || std::fs::read_dir("/proc").unwrap().filter(|entry| in_folder(&entry.as_ref().unwrap().path())).count();
        let until = Instant::now() + Duration::from_secs(20);
        while left() > 0 {
            assert!(Instant::now() < until, "{start}: what it has started is left behind");
            std::thread::yield_now();
        }
    }
}

#[test]
fn an_error_for_the_batch_leaves_the_child_alive() {
    let mut scorer = shell(r#"echo "{\"id\":\"$id\",\"error\":\"no batch today\"}""#);
    let error = scorer.score(&[company("{}")]).unwrap_err().error;
    assert_eq!((error.cause.as_str(), error.message.as_str()), ("scorer_error", "no batch today"));
    assert!(scorer.child.is_some());
}

#[test]
fn a_program_that_does_not_exist_is_an_error_that_names_it() {
    let words = vec!["no-such-program".to_owned()];
    let checked = Command::check(&words).unwrap_err().to_string();
    let error = Command::start(words, Duration::from_secs(1), Arc::default(), None).err().unwrap().to_string();
    assert!(error.contains("there is no program no-such-program in PATH") && error == checked, "{error} / {checked}");
    assert!(Command::check(&["sh".to_owned()]).is_ok());
}
