//! `producer score`: one command from a file to its results, on a machine where nothing runs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rollcall_tests::{Ended, Fleet, Process, SCORER, eventually, project};

/// A broker starts within seconds, and on a busy machine within a minute.
const SOON: Duration = Duration::from_secs(120);

/// A file of companies that are done to as `what` says.
fn companies(fleet: &Fleet, number: usize, what: &str) -> String {
    let rows: String = (0..number).map(|row| format!("{row},{what}\n")).collect();
    fleet.file("companies.csv", format!("company_id,do\n{rows}")).display().to_string()
}

/// The command without a broker in its environment. Its temporary files are in the fleet's folder.
fn score(fleet: &Fleet, arguments: &[&str]) -> Process {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,HUP", "-u", "AMQP_URL", "-u", "ROLLCALL_PREFIX"]).arg(fleet.program_path("producer"));
    command.arg("score").args(arguments).env("TMPDIR", fleet.path("")).current_dir(project());
    fleet.start("score", command)
}

/// What the command has left: folders and processes that know them.
fn left(fleet: &Fleet) -> Vec<String> {
    let folder = fleet.path("");
    let folders = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let folders: Vec<String> = folders.filter(|name| name.starts_with("rollcall-score-")).collect();
    let mark = format!("{}/rollcall-score-", folder.display().to_string().trim_end_matches('/'));
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let process = entry.unwrap().path();
        let knows = |file: &str| contains(&process.join(file), &mark);
        (knows("environ") || knows("cmdline")).then(|| process.display().to_string())
    });
    processes.chain(folders).collect()
}

fn contains(file: &Path, mark: &str) -> bool {
    fs::read(file).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(mark))
}

fn assert_nothing_left(fleet: &Fleet) {
    eventually("nothing is left of the command", || left(fleet).is_empty().then_some(()));
}

fn finished(mut process: Process, fleet: &Fleet, code: i32) -> Ended {
    let ended = process.wait(SOON).expect(code);
    assert_nothing_left(fleet);
    ended
}

#[test]
fn a_file_becomes_a_file_of_results_where_no_broker_runs_and_nothing_is_left_running() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 500, "score"), fleet.path("results.csv"));
    let scored = score(&fleet, &[&file, "--scorer", SCORER, "--to", to.to_str().unwrap(), "--output", "json"]);
    let ended = finished(scored, &fleet, 0).json();
    assert_eq!((&ended["done"]["succeeded"], &ended["rows"]), (&500.into(), &500.into()), "{ended}");
    assert_eq!(fs::read_to_string(&to).unwrap().lines().count(), 501);
}

#[test]
fn companies_that_fail_are_in_the_results_and_the_exit_code() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 3, "refuse"), fleet.path("results.jsonl"));
    finished(score(&fleet, &[&file, "--scorer", SCORER, "--to", to.to_str().unwrap()]), &fleet, 1);
    let results = fs::read_to_string(&to).unwrap();
    assert!(results.lines().count() == 3 && results.contains("no_data"), "{results}");
}

#[test]
fn a_scorer_that_never_works_is_told_and_nothing_is_left() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 3, "score"), fleet.path("results.csv"));
    let arguments = [&file, "--scorer", "command:false", "--to", to.to_str().unwrap(), "--output", "json"];
    let ended = finished(score(&fleet, &arguments), &fleet, 2);
    assert!(ended.error().contains("has never scored one") && ended.error_code().as_deref() == Some("usage"), "{ended:?}");
    assert!(!to.exists());
}

#[test]
fn what_can_be_told_before_a_broker_is_started_is_told_before() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 3, "score"), fleet.path("results.csv"));
    let scorer = |scorer| vec![file.as_str(), "--scorer", scorer, "--to", to.to_str().unwrap()];
    let bad_row = fleet.file("bad.csv", "company_id,do\na,score\nb\n");
    for (arguments, words) in [
        (scorer("bayes:no-such.bif"), "no-such.bif"),
        (scorer("command:no-such-program"), "there is no program no-such-program in PATH"),
        (scorer("magic:x"), "expected bayes:PATH.bif"),
        ([scorer(SCORER), vec!["--", "--no-such-flag"]].concat(), "--no-such-flag"),
        ([scorer(SCORER), vec!["--", "--score-timeout", "10m"]].concat(), "lower --score-timeout"),
        (vec![bad_row.to_str().unwrap(), "--scorer", SCORER, "--to", "results.csv"], "row 2"),
        (vec![file.as_str(), "--scorer", SCORER, "--to", "results.txt"], "say what to write with --results-format"),
        (vec![file.as_str(), "--scorer", SCORER, "--to", "no-such-folder/results.csv"], "make the folder"),
        (vec!["no-such.csv", "--scorer", SCORER, "--to", "results.csv"], "no-such.csv"),
    ] {
        let process = score(&fleet, &arguments);
        let ended = finished(process, &fleet, 2);
        assert!(ended.error().contains(words) && !ended.stderr.contains("starting_broker"), "{arguments:?}: {ended:?}");
    }
    assert!(!to.exists());
}

#[test]
fn an_interrupt_at_any_moment_ends_all_of_it_and_leaves_no_file() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 400, "slow"), fleet.path("results.csv"));
    for event in ["starting_broker", "started_fleet", "scoring"] {
        let process = score(&fleet, &[&file, "--scorer", SCORER, "--to", to.to_str().unwrap()]);
        match event {
            "scoring" => process.wait_until_it_says("job "),
            event => process.wait_until_event(event),
        }
        process.interrupt();
        let ended = finished(process, &fleet, 130);
        assert!(ended.stderr.contains("error: interrupted"), "{event}: {ended:?}");
        assert!(!to.exists(), "{event}");
    }
}

#[test]
fn a_command_that_is_killed_leaves_nothing_running() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 400, "slow"), fleet.path("results.csv"));
    let mut process = score(&fleet, &[&file, "--scorer", SCORER, "--to", to.to_str().unwrap()]);
    process.wait_until_event("started_fleet");
    process.kill_9();
    assert_nothing_left(&fleet);
}

#[test]
fn on_a_broker_that_is_there_it_needs_a_model_of_its_own_and_cancels_its_job_when_it_is_interrupted() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 400, "slow"), fleet.path("results.csv"));
    let arguments = ["score", &file, "--scorer", SCORER, "--to", to.to_str().unwrap()];
    let refused = fleet.program("producer", &arguments).wait(SOON).expect(2);
    assert!(refused.error().contains("expected --model"), "{refused:?}");
    let mut process = fleet.program("producer", &[&arguments[..], &["--model", "m"]].concat());
    let _aggregator = fleet.aggregator(&[]);
    let job = eventually("the job runs", || {
        let listed = fleet.producer(&["status", "--output", "json"]).json();
        let job = listed.as_array()?.iter().find(|job| job["succeeded"].as_u64() > Some(0))?;
        job["job"].as_str().map(str::to_owned)
    });
    process.interrupt();
    process.wait(SOON).expect(130);
    assert_eq!(fleet.status(&job)["state"], "cancelled");
}
