//! A fault of the machine is reported as such and not as a fault of the file; and closing a terminal leaves no partial job.

use std::fs::File;
use std::io::{Write, pipe};
use std::process::Stdio;
use std::time::Duration;

use rollcall_tests::{Ended, Fleet, SCORER, eventually};

const DEADLINE: Duration = Duration::from_secs(60);

/// More companies than are checked before a job is opened.
const LOOKED_AT: u32 = 2_000;

/// More companies than the search for repeated ids keeps in memory.
fn many_companies(fleet: &Fleet) -> String {
    let rows: String = (0..40_000).map(|row| format!("c{row}\n")).collect();
    fleet.file("c.csv", format!("company_id\n{rows}")).to_str().unwrap().to_owned()
}

/// Asserts that exit code and error blame the machine.
fn assert_the_machine_is_at_fault(ended: Ended, words: &[&str]) {
    let ended = ended.expect(1);
    for words in words {
        assert!(ended.stderr.contains(words), "expected {words:?} in {ended:?}");
    }
    assert!(!ended.stderr.contains("bad rows"), "{ended:?}");
}

#[test]
fn where_no_temporary_file_can_be_created_no_row_is_called_bad() {
    let fleet = Fleet::fresh();
    let file = many_companies(&fleet);
    for more in [&["--dry-run"][..], &["--dry-run", "--output", "json"], &["--job", "j"]] {
        let mut enqueue = fleet.producer_command(&[&["enqueue", &file, "-m", "m"], more].concat());
        enqueue.env("TMPDIR", "/no/such/folder");
        let ended = fleet.start("enqueue", enqueue).wait(DEADLINE);
        assert_the_machine_is_at_fault(ended, &["cannot create a temporary file in /no/such/folder: ", "set TMPDIR"]);
    }
    // An empty variable is an unset one.
    let mut enqueue = fleet.producer_command(&["enqueue", &file, "-m", "m", "--dry-run"]);
    enqueue.env("TMPDIR", "");
    fleet.start("enqueue", enqueue).wait(DEADLINE).expect(0);
}

#[test]
fn a_file_that_the_system_cannot_read_has_no_bad_rows() {
    let fleet = Fleet::fresh();
    // Reading `/proc/self/mem` at offset 0 fails.
    let mut enqueue = fleet.producer_command(&["enqueue", "-", "-m", "m", "--dry-run"]);
    enqueue.stdin(Stdio::from(File::open("/proc/self/mem").unwrap()));
    let ended = fleet.start("enqueue", enqueue).wait(DEADLINE);
    assert_the_machine_is_at_fault(ended, &["Input/output error", "its rows are not at fault"]);
}

#[test]
fn where_too_few_files_may_be_open_it_is_not_the_broker_that_cannot_be_reached() {
    let fleet = Fleet::fresh();
    let status = fleet.producer_command(&["status"]);
    // Which limit fails at the connection depends on the runtime.
    let said: String = (6..14)
        .map(|files| {
            let mut limited = fleet.command("sh");
            let limit = format!("ulimit -n {files}; exec \"$@\"");
            limited.args(["-c", &limit, "sh"]).arg(status.get_program()).args(status.get_args());
            fleet.start("status", limited).wait(DEADLINE).stderr
        })
        .collect();
    assert!(said.contains("error: cannot open a connection to the broker: Too many open files"), "{said}");
    assert!(said.contains("ulimit -n") && !said.contains("cannot reach"), "{said}");
}

#[test]
fn a_disk_that_is_full_is_named() {
    let fleet = Fleet::fresh();
    let ended = fleet.producer(&["generate", "--companies", "5000", "--to", "/dev/full"]);
    assert_the_machine_is_at_fault(ended, &["cannot write /dev/full", "No space left"]);
}

#[test]
fn a_producer_whose_terminal_is_closed_cancels_its_job() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut producer, _rest) = fleet.unfinished_enqueue("j", LOOKED_AT, &[]);
    producer.hang_up();
    let ended = producer.wait(DEADLINE).expect(130);
    assert!(ended.error().contains("interrupted (job j is cancelled"), "{ended:?}");
    assert_eq!(fleet.finished("j").done[0]["data"]["state"], "cancelled");
}

#[test]
fn a_producer_that_is_to_ignore_hangups_goes_on() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let producer = fleet.producer_command(&["enqueue", "-", "-m", "m", "--job", "j"]);
    let (input, mut rows) = pipe().unwrap();
    let mut nohup = fleet.command("env");
    // The arguments after `env`'s own option.
    nohup.arg("--ignore-signal=HUP").args(producer.get_args().skip(1)).stdin(input);
    let mut producer = fleet.start("producer", nohup);
    rows.write_all(format!("company_id\n{}", (0..LOOKED_AT).map(|row| format!("{row}\n")).collect::<String>()).as_bytes())
        .unwrap();
    eventually("the job is opened", || (fleet.status("j")["state"] == "unsealed").then_some(()));
    producer.hang_up();
    drop(rows);
    producer.wait(DEADLINE).expect(0);
}

#[test]
fn consumer_and_aggregator_stop_in_good_order_where_their_terminal_is_closed() {
    let fleet = Fleet::fresh();
    let mut aggregator = fleet.aggregator(&[]);
    aggregator.wait_until_event("counting");
    let mut consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    for process in [&mut consumer, &mut aggregator] {
        process.hang_up();
        process.wait(DEADLINE).expect(0);
    }
    assert!(consumer.times_event("stopping") > 0, "{}", consumer.stderr());
}
