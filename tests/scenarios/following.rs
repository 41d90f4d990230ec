//! Following jobs, their status, and the output that scripts rely on.

use std::io::pipe;
use std::path::PathBuf;
use std::time::Duration;

use rollcall_tests::{Ended, Fleet, Process, SCORER, eventually};

/// For a command that has nothing to wait for, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);

/// For a small job, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn three(fleet: &Fleet) -> PathBuf {
    fleet.file("three.csv", "company_id,do\na,\nb,\nc,\n")
}

fn one_refused(fleet: &Fleet) -> PathBuf {
    fleet.file("refused.csv", "company_id,do\na,\nb,refuse\n")
}

/// Waits until `job` is sealed, while no consumer runs.
fn sealed(fleet: &Fleet, job: &str) {
    eventually(&format!("{job} is sealed"), || (fleet.status(job)["state"] == "running").then_some(()));
}

#[test]
fn whoever_waits_is_told_that_nobody_counts_or_scores_until_somebody_does() {
    let fleet = Fleet::fresh();
    let mut producer = fleet.start_enqueue(&three(&fleet), "m", "j", &["--wait"]);
    producer.wait_until_it_says("no aggregator is counting");
    let _aggregator = fleet.aggregator(&[]);
    producer.wait_until_it_says("no consumer takes work of model m");
    let mut watch = fleet.start_producer(&["watch", "j"]);
    watch.wait_until_it_says("no consumer takes work of model m");
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    producer.wait(SOON).expect(0);
    watch.wait(SOON).expect(0);
}

#[test]
fn whoever_enqueues_without_waiting_is_told_what_to_start_if_nobody_scores() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let alone = fleet.enqueue(&three(&fleet), "m", "alone", &["--output", "json"]).expect(0);
    let told = |ended: &Ended| ended.stderr.lines().filter(|line| line.contains("`consumer fleet --model m --scorer")).count();
    assert_eq!((told(&alone), alone.json()["total"].as_u64()), (1, Some(3)), "{alone:?}");
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.finished("alone").assert_counted_once(3);
    let scored = fleet.enqueue(&three(&fleet), "m", "scored", &[]).expect(0);
    assert_eq!(told(&scored), 0, "{scored:?}");
    fleet.finished("scored").assert_counted_once(3);
}

#[test]
fn watching_a_job_that_has_ended_says_at_once_how() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.enqueue(&three(&fleet), "m", "good", &["--wait"]).expect(0);
    fleet.enqueue(&one_refused(&fleet), "m", "bad", &["--wait"]).expect(1);
    drop(consumer);
    for (job, code, state) in [("good", 0, "succeeded"), ("bad", 1, "failed")] {
        let watched = fleet.start_producer(&["watch", job, "--output", "json"]).wait(AT_ONCE).expect(code);
        assert_eq!(watched.json(), fleet.finished(job).done[0]["data"], "the done event's data, and nothing else");
        assert_eq!(watched.json()["state"], state);
        let text = fleet.start_producer(&["watch", job]).wait(AT_ONCE).expect(code).stdout;
        assert!(text.contains(&format!("job {job} {state}")), "{text}");
    }
    let text = fleet.producer(&["watch", "bad"]).stdout;
    assert!(text.contains("1 failed: no_data"), "the causes are not shown: {text}");
    for command in ["watch", "status"] {
        let unknown = fleet.start_producer(&[command, "other"]).wait(AT_ONCE).expect(2);
        assert!(unknown.error().contains("\"other\"") && unknown.stdout.is_empty(), "{unknown:?}");
    }
}

#[test]
fn an_error_has_a_code_for_scripts_on_the_last_line_of_standard_error() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = three(&fleet);
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    sealed(&fleet, "j");
    let (path, none) = (file.to_str().unwrap(), "amqp://guest:guest@127.0.0.1:1/%2f");
    let failures: [(&[&str], i32, &str); 5] = [
        (&["watch", "other"], 2, "no_such_job"),
        (&["results", "j"], 1, "job_state"),
        (&["enqueue", path, "-m", "m", "--job", "j"], 2, "job_name_taken"),
        (&["enqueue", "no-such.csv", "-m", "m"], 2, "bad_input"),
        (&["status", "--amqp-url", none], 3, "broker"),
    ];
    for (arguments, exit, code) in failures {
        let failed = fleet.producer(&[arguments, &["--output", "json"]].concat()).expect(exit);
        assert_eq!(failed.error_code().as_deref(), Some(code), "{arguments:?}: {failed:?}");
        let document: serde_json::Value = serde_json::from_str(failed.stderr.lines().last().unwrap()).unwrap();
        assert_eq!(format!("error: {}", document["error"]["message"].as_str().unwrap()), failed.error());
    }
}

#[test]
fn ctrl_c_ends_the_following_and_not_the_job() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let mut waiting = fleet.start_enqueue(&three(&fleet), "m", "j", &["--wait", "--output", "json"]);
    sealed(&fleet, "j");
    let mut watching = fleet.start_producer(&["watch", "j", "--output", "json"]);
    watching.wait_until_it_says("no consumer takes work");
    for process in [&mut waiting, &mut watching] {
        process.interrupt();
        let ended = process.wait(AT_ONCE).expect(130);
        assert!(ended.stderr.contains("producer watch j") && ended.stdout.is_empty(), "{ended:?}");
    }
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.finished("j").assert_counted_once(3);
}

/// Sends SIGINT and asserts that the process ends with exit code 130 or by the signal, which a shell reports as 130 too.
fn assert_interruptible(process: &mut Process) {
    process.interrupt();
    let ended = process.wait(AT_ONCE);
    assert!(matches!(ended.code, None | Some(130)), "{ended:?}");
}

#[test]
fn ctrl_c_before_the_end_of_the_file_cancels_the_job() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut producer, rest) = fleet.unfinished_enqueue("j", 3_000, &[]);
    assert_interruptible(&mut producer);
    let done = &fleet.finished("j").done[0]["data"];
    assert_eq!(done["state"], "cancelled");
    assert!(done["reason"].as_str().unwrap().contains("interrupted"), "{done}");
    drop(rest);
}

#[test]
fn ctrl_c_ends_a_command_that_waits_for_its_input_or_has_much_to_write() {
    let fleet = Fleet::fresh();
    let (input, _rest) = pipe().unwrap();
    for more in [&["--wait"][..], &["--dry-run"]] {
        let mut waiting = fleet.producer_command(&[&["enqueue", "-", "-m", "m"], more].concat());
        waiting.stdin(input.try_clone().unwrap());
        let mut waiting = fleet.start("producer", waiting);
        eventually("it waits for its input", || is_up(&waiting));
        assert_interruptible(&mut waiting);
    }
    let pipe = fleet.path("pipe.csv");
    assert!(fleet.command("mkfifo").arg(&pipe).status().unwrap().success());
    let mut waiting = fleet.start_producer(&["enqueue", pipe.to_str().unwrap(), "-m", "m"]);
    eventually("it waits for a writer of its input", || is_up(&waiting));
    assert_interruptible(&mut waiting);
    let mut generate = fleet.start_producer(&["generate", "--companies", "4000000000", "--to", "/dev/null"]);
    eventually("it writes", || is_up(&generate));
    assert_interruptible(&mut generate);
}

/// Whether a process has started its threads. Its signal handlers are installed by then.
fn is_up(process: &Process) -> Option<()> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.id())).ok()?.count();
    (threads > 1).then_some(())
}

#[test]
fn status_shows_every_job_and_each_alone() {
    let fleet = Fleet::fresh();
    let aggregator = fleet.aggregator(&[]);
    aggregator.wait_until_event("counting");
    assert!(fleet.producer(&["status"]).expect(0).stdout.contains("no jobs yet"));
    assert_eq!(fleet.producer(&["status", "--output", "json"]).expect(0).json(), serde_json::json!([]));
    fleet.enqueue(&three(&fleet), "m", "waiting", &[]).expect(0);
    let consumer = fleet.consumer("other", SCORER, &["--threads", "1"]);
    fleet.enqueue(&one_refused(&fleet), "other", "ended", &["--wait"]).expect(1);
    drop(consumer);
    sealed(&fleet, "waiting");
    let text = fleet.producer(&["status"]).expect(0).stdout;
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["job", "model", "state", "total", "succeeded", "failed", "opened"]);
    assert_eq!(rows[1][..6], ["ended", "other", "failed", "2", "1", "1"]);
    assert_eq!(rows[2][..6], ["waiting", "m", "running", "3", "0", "0"]);
    let jobs = fleet.producer(&["status", "--output", "json"]).expect(0).json();
    assert_eq!((&jobs[0]["job"], &jobs[1]["job"], &jobs[2]), (&"ended".into(), &"waiting".into(), &serde_json::Value::Null));
    let ended = fleet.producer(&["status", "ended"]).expect(0).stdout;
    assert!(ended.contains("job ended failed: 2 companies") && ended.contains("1 failed: no_data"), "{ended}");
    let waiting = fleet.producer(&["status", "waiting"]).expect(0).stdout;
    assert!(waiting.contains("job waiting is running, with 3 companies"), "{waiting}");
}

#[test]
fn status_without_an_aggregator_says_what_to_start() {
    let fleet = Fleet::fresh();
    for arguments in [&["status"][..], &["status", "j"], &["results", "j"]] {
        let unanswered = fleet.start_producer(arguments).wait(Duration::from_secs(15)).expect(1);
        assert!(unanswered.error().contains("start `aggregator`") && unanswered.stdout.is_empty(), "{unanswered:?}");
    }
}

#[test]
fn a_job_of_high_priority_overtakes_a_bigger_one_enqueued_before_it() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (normal, high) = (fleet.companies(3_000), fleet.companies(300));
    fleet.enqueue(&normal, "questionnaire", "normal", &[]).expect(0);
    fleet.enqueue(&high, "questionnaire", "high", &["--priority", "high"]).expect(0);
    let _consumer = fleet.quick_consumer();
    let done_at = |job: &str| fleet.finished(job).done[0]["data"]["done_at"].as_str().unwrap().to_owned();
    let (high, normal) = (done_at("high"), done_at("normal"));
    assert!(high < normal, "high: {high}, normal: {normal}");
    fleet.finished("normal").assert_counted_once(3_000);
}

#[test]
fn with_json_output_every_command_writes_one_document_and_nothing_else() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let file = three(&fleet);
    let file = file.to_str().unwrap();
    let commands: [(&[&str], &str); 8] = [
        (&["enqueue", file, "-m", "m", "--dry-run"], "companies"),
        (&["enqueue", file, "-m", "m", "--job", "j"], "job"),
        (&["enqueue", file, "-m", "m", "--wait"], "done_at"),
        (&["watch", "j"], "done_at"),
        (&["status", "j"], "state"),
        (&["status"], ""),
        (&["results", "j"], ""),
        (&["results", "j", "--to", "x.csv"], "rows"),
    ];
    for (arguments, key) in commands {
        let document = fleet.producer(&[&["--output", "json", "--log", "debug"], arguments].concat()).expect(0).json();
        assert!(if key.is_empty() { document.is_array() } else { !document[key].is_null() }, "{arguments:?}: {document}");
    }
}

/// Runs a producer command whose standard output is a pipe without a reader.
fn unread(fleet: &Fleet, arguments: &[&str]) -> Ended {
    let producer = fleet.producer_command(arguments);
    let mut shell = fleet.command("sh");
    // The harness redirects standard output to a file, so the shell gets the pipe as standard input and redirects the
    // producer to it.
    shell.args(["-c", r#"exec "$0" "$@" >&0 </dev/null"#]).arg(producer.get_program()).args(producer.get_args());
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    shell.stdin(writer);
    fleet.start("unread", shell).wait(SOON)
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let file = three(&fleet);
    fleet.enqueue(&file, "m", "j", &["--wait"]).expect(0);
    let dry_run = ["enqueue", file.to_str().unwrap(), "-m", "m", "--dry-run"];
    let commands: [&[&str]; 7] = [
        &["generate", "--companies", "100000"],
        &["status"],
        &["status", "j", "--output", "json"],
        &["watch", "j"],
        &["results", "j"],
        &["results", "j", "--output", "json"],
        &dry_run,
    ];
    for arguments in commands {
        let ended = unread(&fleet, arguments);
        assert!(ended.code == Some(0) && ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_seed_gives_the_same_companies_again_and_to_whom_they_are_written_makes_no_difference() {
    let fleet = Fleet::fresh();
    let generate = |seed: &str| fleet.producer(&["generate", "--companies", "1000", "--seed", seed]).expect(0).stdout;
    let (first, again, other) = (generate("7"), generate("7"), generate("8"));
    assert!(first == again && first != other);
    assert_eq!(first.lines().count(), 1_001);
    fleet.producer(&["generate", "--companies", "1000", "--seed", "7", "--to", "x.csv"]).expect(0);
    assert_eq!(std::fs::read_to_string(fleet.path("x.csv")).unwrap(), first);
    let refused = fleet.producer(&["generate", "--companies", "1", "--to", "no/such/x.csv"]).expect(1);
    assert!(refused.error().contains("no/such/x.csv"), "{refused:?}");
}
