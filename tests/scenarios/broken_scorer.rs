//! A scorer that fails on every company costs no company an attempt: its consumer ends or pauses, and commands that wait say
//! why.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rollcall_tests::{Fleet, JobRecord, SCORER, eventually, free_address, get, metrics, value};

use super::command_scorer::companies;

/// Much longer than three starts of a scorer take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A scorer in Python that adds a line to the file `starts` at each start. `body` runs at the start, with `folder` the
/// fleet's folder; `answer` prints the answer to the batch `b`, with the predictions `p`.
fn python(fleet: &Fleet, name: &str, body: &str, answer: &str) -> String {
    let folder = fleet.path("");
    let script = format!(
        "import json, os, signal, subprocess, sys, time\nfolder = {folder:?}\nopen(folder + '/starts', 'a').write('x\\n')\n{body}\n\
         for line in sys.stdin:\n    b = json.loads(line)\n    p = [1] * len(b['instances'])\n    {answer}\n"
    );
    format!("command:/usr/bin/python3 {}", fleet.file(name, script).display())
}

const ANSWER: &str = "print(json.dumps({'id': b['id'], 'predictions': p}), flush=True)";

fn starts(fleet: &Fleet) -> usize {
    fs::read_to_string(fleet.path("starts")).unwrap_or_default().lines().count()
}

fn plain(fleet: &Fleet, count: usize) -> PathBuf {
    companies(fleet, count, &[])
}

/// Asserts that all of a job's companies have succeeded in their first attempt.
fn assert_none_charged(record: &JobRecord, count: u64) {
    record.assert_counted_once(count);
    assert!(record.causes().is_empty(), "{:?}", record.causes());
    let charged = record.bodies().filter(|body| body["attempt"] != 1).count();
    assert_eq!(charged, 0, "companies were charged an attempt");
}

#[test]
fn a_scorer_that_works_for_nobody_ends_its_consumer_with_one_error_and_costs_no_company_an_attempt() {
    let latin_1 = "sys.stdout.buffer.write(json.dumps({'id': b['id'], 'predictions': ['caf\\u00e9'] * len(p)}, \
                   ensure_ascii=False).encode('latin-1') + b'\\n'); sys.stdout.flush()";
    let broken: [(&str, &str, &str, &[&str], &str); 6] = [
        ("import", "import no_such_module", ANSWER, &["--threads", "1"], "No module named 'no_such_module'"),
        ("latin", "", latin_1, &["--threads", "1"], "PYTHONIOENCODING"),
        ("alone", "", latin_1, &["--batch", "1", "--threads", "1"], "PYTHONIOENCODING"),
        ("dies", "", "sys.exit(b['nothing'])", &["--threads", "4"], "KeyError: 'nothing'"),
        ("repr", "", "print({'id': b['id'], 'predictions': p}, flush=True)", &["--hold", "1d"], "expected one line of JSON"),
        (
            "mute",
            "sys.stdout = open(1, 'w', 65536)",
            "print(json.dumps({'id': b['id'], 'predictions': p}))",
            &["--score-timeout", "1s", "--threads", "2"],
            "flush",
        ),
    ];
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    for (model, body, answer, flags, words) in broken {
        let mut waiter = fleet.start_enqueue(&plain(&fleet, 100), model, model, &["--wait"]);
        // From then on it hears of consumers that end.
        waiter.wait_until_it_says("0/100 done");
        let scorer = python(&fleet, &format!("scorer-{model}.py"), body, answer);
        let mut consumer = fleet.program("consumer", &[&["--model", model, "--scorer", &scorer], flags].concat());
        let ended = consumer.wait(SOON).expect(2);
        let error = ended.error();
        for part in [&format!("scorer-{model}.py"), words, "not counted as an attempt", "fix it"] {
            assert!(error.contains(part), "{model}: expected {part:?} in {error}");
        }
        waiter.wait_until_it_says("a consumer has ended: expected the scorer");
        assert!(waiter.stderr().contains(words), "{model}: {}", waiter.stderr());
        let _mended = fleet.consumer(model, SCORER, &["--threads", "1"]);
        waiter.wait(SOON).expect(0);
        assert_none_charged(&fleet.ledger(model), 100);
    }
}

#[test]
fn a_scorer_that_has_only_answered_with_errors_before_it_breaks_is_broken_too() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let error = "{'error': {'cause': 'no_database', 'message': 'down', 'retryable': True}}";
    let answer = format!(
        "os.path.exists(folder + '/said') and os._exit(3)\n    open(folder + '/said', 'w')\n    \
         print(json.dumps({{'id': b['id'], 'predictions': [{error}] * len(p)}}), flush=True)"
    );
    let scorer = python(&fleet, "scorer.py", "", &answer);
    fleet.enqueue(&plain(&fleet, 20), "m", "j", &["--retry-delays", "1s"]).expect(0);
    let ended = fleet.program("consumer", &["--model", "m", "--scorer", &scorer, "--threads", "1", "--batch", "1"]).wait(SOON);
    assert!(ended.expect(2).error().contains("never scored one"));
    let _mended = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let record = fleet.finished("j");
    record.assert_counted_once(20);
    assert!(record.causes().is_empty(), "{:?}", record.causes());
    let charged = record.bodies().filter(|body| body["attempt"] != 1).count();
    assert_eq!(charged, 1, "only the one that the scorer answered for");
}

#[test]
fn a_scorer_that_breaks_after_it_has_worked_pauses_its_consumer_which_says_so_and_goes_on_when_it_works_again() {
    let ways = [
        ("dies", "os.path.exists(folder + '/broken') and os._exit(3)", ANSWER),
        (
            "nonsense",
            "",
            "print('{\"id\":\"x\"}' if os.path.exists(folder + '/broken') else json.dumps({'id': b['id'], 'predictions': p}), flush=True)",
        ),
    ];
    for (job, body, answer) in ways {
        let fleet = Fleet::fresh();
        let _aggregator = fleet.aggregator(&[]);
        let scorer = python(&fleet, "s.py", body, &format!("time.sleep(0.02 * len(p)); {answer}"));
        let address = free_address();
        let flags = ["--threads", "2", "--metrics-addr", &address.to_string()];
        let mut consumer = fleet.consumer("m", &scorer, &flags);
        let mut waiter = fleet.start_enqueue(&plain(&fleet, 300), "m", job, &["--wait"]);
        fleet.mid_job(job, 300);
        fleet.file("broken", "");
        // Running scorers that exit when broken must be killed; those that answer nonsense read the file `broken` themselves.
        if job == "dies" {
            kill_scorers(&fleet);
        }
        let (_, reason) = eventually("it is not ready", || get(address, "/readyz").filter(|(status, _)| *status == 503));
        assert!(reason.contains("the scorer fails on what it has scored before"), "{reason}");
        waiter.wait_until_it_says("no consumer of model m can score: the scorer fails");
        assert_eq!(value(&metrics(address), "rollcall_workers"), Some(0.0));
        let shown = fleet.producer(&["status", job, "--output", "json"]).expect(0).json();
        assert_eq!(shown["fleet"]["broken"], 1, "{shown}");
        assert!(shown["fleet"]["fault"].as_str().unwrap().contains("the scorer fails"), "{shown}");
        assert!(consumer.ended().is_none(), "the consumer has ended");
        fs::remove_file(fleet.path("broken")).unwrap();
        waiter.wait(SOON).expect(0);
        eventually("it is ready", || get(address, "/readyz").filter(|(status, _)| *status == 200));
        assert_none_charged(&fleet.ledger(job), 300);
        assert_eq!(
            (consumer.times_event("scorer_broken"), consumer.times_event("scorer_works")),
            (1, 1),
            "it is said once a change"
        );
        consumer.terminate();
        consumer.wait(SOON).expect(0);
    }
}

fn kill_scorers(fleet: &Fleet) {
    let script = fleet.path("s.py").display().to_string();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|&byte| byte == 0).collect();
        if words.get(1).is_some_and(|word| *word == script.as_bytes()) {
            let pid = entry.file_name().into_string().unwrap();
            // It may have ended already.
            drop(std::process::Command::new("kill").args(["-9", &pid]).output().unwrap());
        }
    }
}

#[test]
fn what_a_paused_consumer_was_given_another_scores() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let broken = "print('{\"id\":\"x\"}' if os.path.exists(folder + '/broken') else json.dumps({'id': b['id'], 'predictions': p}), flush=True)";
    let scorer = python(&fleet, "s.py", "", broken);
    let address = free_address();
    let _paused = fleet.consumer("m", &scorer, &["--threads", "2", "--metrics-addr", &address.to_string()]);
    fleet.enqueue(&plain(&fleet, 3), "m", "before", &["--wait"]).expect(0);
    fleet.file("broken", "");
    fleet.enqueue(&plain(&fleet, 50), "m", "j", &[]).expect(0);
    eventually("it is not ready", || get(address, "/readyz").filter(|(status, _)| *status == 503));
    let _well = fleet.consumer("m", SCORER, &["--threads", "1"]);
    assert_none_charged(&fleet.finished("j"), 50);
}

#[test]
fn companies_that_are_bad_fail_alone_even_where_they_are_the_first_and_the_only_ones_that_a_consumer_sees() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let retries = ["--max-attempts", "2", "--retry-delays", "100ms"];
    // Two crashing companies look like a broken scorer, and yet the job must end.
    fleet.enqueue(&companies(&fleet, 2, &[(0, "crash"), (1, "nonsense")]), "m", "only", &retries).expect(0);
    let flags = ["--threads", "1", "--score-timeout", "1s"];
    let alone = fleet.consumer("m", SCORER, &flags);
    let record = fleet.finished("only");
    record.assert_counted_once(2);
    assert_eq!(record.causes(), [("invalid_answer", 1), ("scorer_crashed", 1)].into());
    drop(alone);
    // The first two of many.
    fleet.enqueue(&companies(&fleet, 100, &[(0, "crash"), (1, "crash")]), "m", "first", &retries).expect(0);
    let _consumer = fleet.consumer("m", SCORER, &flags);
    let record = fleet.finished("first");
    record.assert_counted_once(100);
    assert_eq!(record.causes(), [("scorer_crashed", 2)].into());
    // After the scorer has worked, any number of crashes is charged to the companies, so a job of bad companies only ends
    // too.
    let all: Vec<(usize, &str)> = (0..6).map(|index| (index, "crash")).collect();
    fleet.enqueue(&companies(&fleet, 6, &all), "m", "all", &retries).expect(0);
    let record = fleet.finished("all");
    record.assert_counted_once(6);
    assert_eq!(record.causes(), [("scorer_crashed", 6)].into());
}

#[test]
fn what_a_scorer_prints_beside_its_answers_and_how_it_writes_their_ids_costs_nobody_anything() {
    let harmless = [
        ("greeting", "print('Loading model v2...', flush=True)", ANSWER),
        ("after", "", "print(json.dumps({'id': b['id'], 'predictions': p}), flush=True); print('scored', len(p), flush=True)"),
        ("json", "print('{\"level\": \"info\", \"message\": \"loaded\"}', flush=True)", ANSWER),
        ("number", "", "print(json.dumps({'id': int(b['id']), 'predictions': p}), flush=True)"),
        ("windows", "", "sys.stdout.write(json.dumps({'id': b['id'], 'predictions': p}) + '\\r\\n'); sys.stdout.flush()"),
        ("slow", "time.sleep(5)", ANSWER),
    ];
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    for (model, body, answer) in harmless {
        let before = starts(&fleet);
        let consumer = fleet.consumer(model, &python(&fleet, &format!("scorer-{model}.py"), body, answer), &["--threads", "1"]);
        fleet.enqueue(&plain(&fleet, 20), model, model, &["--wait"]).expect(0);
        assert_none_charged(&fleet.ledger(model), 20);
        assert_eq!(starts(&fleet) - before, 1, "{model}: the scorer was started anew");
        if model == "greeting" {
            assert!(consumer.stderr().contains("Loading model v2..."), "what it prints is not logged");
        }
    }
}

#[test]
fn a_prediction_that_is_no_number_fails_its_own_company_at_once_and_the_scorer_goes_on() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let answer = "p = [float('nan') if i['do'] else {'p': 0.5} for i in b['instances']]; print(json.dumps({'id': b['id'], 'predictions': p}), flush=True)";
    let _consumer = fleet.consumer("m", &python(&fleet, "s.py", "", answer), &["--threads", "1", "--hold", "1d"]);
    let bad: Vec<(usize, &str)> = [50, 150, 250, 251, 499].map(|index| (index, "nan")).into();
    fleet.enqueue(&companies(&fleet, 500, &bad), "m", "j", &["--wait"]).expect(1);
    let record = fleet.ledger("j");
    record.assert_counted_once(500);
    assert_eq!(record.causes(), [("invalid_answer", 5)].into());
    let failed: Vec<_> = record.bodies().filter(|body| body["outcome"] == "failed").collect();
    assert!(failed.iter().all(|body| body["attempt"] == 1 && body["error"]["message"].as_str().unwrap().contains("write null")));
    assert_eq!(starts(&fleet), 1, "the scorer was started anew");
}
