//! `producer score`: one command from a file to its results, on a machine where nothing runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rollcall_tests::{Ended, Fleet, Process, Relay, SCORER, eventually, free_address, project};
use serde_json::Value;

use super::broker_refusals::declare_classic;

/// A broker starts within seconds, and on a busy machine within a minute.
const SOON: Duration = Duration::from_secs(120);

/// A file of companies that are done to as `what` says.
fn companies(fleet: &Fleet, number: usize, what: &str) -> String {
    let rows: String = (0..number).map(|row| format!("{row},{what}\n")).collect();
    fleet.file("companies.csv", format!("company_id,do\n{rows}")).display().to_string()
}

/// The command without a broker in its environment, in a process group of its own, not yet started. Its temporary files, and those of all that
/// it starts, are in the fleet's folder.
fn score_command(fleet: &Fleet, arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,HUP", "-u", "AMQP_URL", "-u", "ROLLCALL_PREFIX"]).arg(fleet.program_path("producer"));
    command.arg("score").args(arguments).env("TMPDIR", fleet.path("")).current_dir(project()).process_group(0);
    command
}

fn score(fleet: &Fleet, arguments: &[&str]) -> Process {
    fleet.start("score", score_command(fleet, arguments))
}

/// Starts the command where another program is called `name`.
fn score_with_program(fleet: &Fleet, mut command: Command, name: &str, script: &str) -> Process {
    fs::create_dir(fleet.path("bin")).unwrap();
    let program = fleet.file(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    command.env("PATH", format!("{}:{}", fleet.path("bin").display(), std::env::var("PATH").unwrap()));
    fleet.start("score", command)
}

/// The lines of the environment of each process of the command, with the process's folder in /proc. All have its `TMPDIR`.
fn environments(fleet: &Fleet) -> Vec<(PathBuf, Vec<String>)> {
    let mark = format!("TMPDIR={}", fleet.path("").display());
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let process = entry.unwrap().path();
        let environment = fs::read(process.join("environ")).ok()?;
        let environment: Vec<String> = String::from_utf8_lossy(&environment).split('\0').map(str::to_owned).collect();
        environment.contains(&mark).then_some((process, environment))
    });
    processes.collect()
}

/// The folder of the command's broker, once it has one.
fn broker_folder(fleet: &Fleet) -> Option<PathBuf> {
    let mut entries = fs::read_dir(fleet.path("")).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("rollcall-score-"))
}

/// What the command has left: processes with their command lines, and a folder.
fn left(fleet: &Fleet) -> Vec<String> {
    let in_words = |(process, _): (PathBuf, _)| {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        format!("{} {}", process.display(), String::from_utf8_lossy(&words).replace('\0', " "))
    };
    let folder = broker_folder(fleet).map(|folder| folder.display().to_string());
    environments(fleet).into_iter().map(in_words).chain(folder).collect()
}

fn assert_nothing_left(fleet: &Fleet) {
    eventually("nothing is left of the command", || left(fleet).is_empty().then_some(()));
}

/// Waits until companies are being scored: a line of progress has more than none.
fn wait_until_it_scores(process: &Process) {
    let has_some = |line: &str| {
        let counts = line.split_once(" done, ").and_then(|(counts, _)| counts.split_once('/'));
        counts.is_some_and(|(done, _)| !done.ends_with(" 0"))
    };
    eventually("companies are scored", || process.stderr().lines().any(has_some).then_some(()));
}

fn kill_9(process: &str) {
    assert!(Command::new("kill").args(["-9", process.trim()]).status().unwrap().success());
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
    assert_eq!(ended["file"], to.to_str().unwrap());
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
    let folder = fleet.path("folder.csv");
    fs::create_dir(&folder).unwrap();
    let link = fleet.path("link.csv");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let to_file = |to| vec![file.as_str(), "--scorer", SCORER, "--to", to];
    for (arguments, words) in [
        (scorer("bayes:no-such.bif"), "no-such.bif"),
        (scorer("command:no-such-program"), "there is no program no-such-program in PATH"),
        (scorer("magic:x"), "expected bayes:PATH.bif"),
        ([scorer(SCORER), vec!["--", "--no-such-flag"]].concat(), "--no-such-flag"),
        ([scorer(SCORER), vec!["--", "--score-timeout", "10m"]].concat(), "lower --score-timeout"),
        (vec![bad_row.to_str().unwrap(), "--scorer", SCORER, "--to", "results.csv"], "row 2"),
        ([scorer(SCORER), vec!["--", "--grace", "soon"]].concat(), "expected a grace of consumers"),
        (to_file("results.txt"), "say what to write with --results-format"),
        (to_file(folder.to_str().unwrap()), "found the folder"),
        (to_file(&file), "for both; name a new file"),
        (to_file(link.to_str().unwrap()), "for both; name a new file"),
        (vec!["no-such.csv", "--scorer", SCORER, "--to", "results.csv"], "no-such.csv"),
    ] {
        let process = score(&fleet, &arguments);
        let ended = finished(process, &fleet, 2);
        assert!(ended.error().contains(words) && !ended.stderr.contains("starting_broker"), "{arguments:?}: {ended:?}");
    }
    // Nobody can make a file in /proc.
    for to in ["/proc/results.csv", "no-such-folder/results.csv"] {
        let ended = finished(score(&fleet, &[&to_file(to)[..], &["--output", "json"]].concat()), &fleet, 1);
        assert!(ended.error_code().as_deref() == Some("cannot_write") && !ended.stderr.contains("starting_broker"), "{ended:?}");
    }
    assert!(!to.exists());
}

#[test]
fn parquet_to_a_terminal_is_refused_before_anything_is_started() {
    let fleet = Fleet::fresh();
    let file = companies(&fleet, 3, "score");
    let command = score_command(&fleet, &[&file, "--scorer", SCORER, "--to", "-", "--results-format", "parquet"]);
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = fleet.command("script");
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]).current_dir(project());
    let refused = fleet.start("script", script).wait(SOON).expect(2);
    assert!(refused.stdout.contains("found a terminal") && !refused.stdout.contains("starting_broker"), "{refused:?}");
}

#[test]
fn a_broker_that_does_not_start_is_told_with_what_it_has_said() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 3, "score"), fleet.path("results.csv"));
    let command = score_command(&fleet, &[&file, "--scorer", SCORER, "--to", to.to_str().unwrap()]);
    // The script that starts the broker waits for it by this program.
    let process = score_with_program(&fleet, command, "timeout", "echo the disk is upside down >&2; exit 1");
    let ended = finished(process, &fleet, 1);
    let (said, error) = ended.stderr.split_once("error: ").unwrap();
    assert!(
        said.contains("the disk is upside down") && error.contains("cannot start a broker: RabbitMQ did not start"),
        "{ended:?}"
    );
    assert!(!error.contains("see"), "what it would name is gone: {error}");
}

#[test]
fn an_interrupt_at_any_moment_ends_all_of_it_and_leaves_no_file() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 400, "slow"), fleet.path("results.csv"));
    for moment in ["starting_broker", "started_fleet", "scoring", "scoring, by a terminal"] {
        let process = score(&fleet, &[&file, "--scorer", SCORER, "--to", to.to_str().unwrap()]);
        match moment {
            "starting_broker" | "started_fleet" => process.wait_until_event(moment),
            _ => wait_until_it_scores(&process),
        }
        if moment.ends_with("by a terminal") {
            process.interrupt_group();
        } else {
            process.interrupt();
        }
        let ended = finished(process, &fleet, 130);
        assert!(ended.stderr.contains("error: interrupted"), "{moment}: {ended:?}");
        assert!(!to.exists(), "{moment}");
    }
}

#[test]
fn a_command_that_is_killed_leaves_nothing_running() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 400, "slow"), fleet.path("results.csv"));
    for moment in ["starting_broker", "its broker is configured", "started_fleet", "scoring"] {
        let mut process = score(&fleet, &[&file, "--scorer", SCORER, "--to", to.to_str().unwrap()]);
        match moment {
            "scoring" => wait_until_it_scores(&process),
            // Its broker is about to start.
            "its broker is configured" => {
                eventually(moment, || broker_folder(&fleet)?.join(".rollcall/score/env").exists().then_some(()));
            }
            event => process.wait_until_event(event),
        }
        process.kill_9();
        assert_nothing_left(&fleet);
    }
}

#[test]
fn a_command_that_is_killed_while_its_broker_is_about_to_start_leaves_nothing_that_would_start_it() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 3, "score"), fleet.path("results.csv"));
    let command = score_command(&fleet, &[&file, "--scorer", SCORER, "--to", to.to_str().unwrap()]);
    // By this program the script that starts the broker looks for RabbitMQ, first of all.
    let mut process = score_with_program(&fleet, command, "find", r#": >"$0.runs"; exec sleep 300"#);
    eventually("the script runs", || fleet.path("bin/find.runs").exists().then_some(()));
    process.kill_9();
    assert_nothing_left(&fleet);
}

#[test]
fn a_broker_that_dies_ends_the_command_since_nothing_starts_it_again() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 400, "slow"), fleet.path("results.csv"));
    let process = score(&fleet, &[&file, "--scorer", SCORER, "--to", to.to_str().unwrap(), "--output", "json"]);
    wait_until_it_scores(&process);
    kill_9(&fs::read_to_string(broker_folder(&fleet).unwrap().join(".rollcall/score/pid")).unwrap());
    let ended = finished(process, &fleet, 3);
    assert_eq!(ended.error_code().as_deref(), Some("broker"), "{ended:?}");
    assert!(ended.stderr.contains("error: gave up after 30s without the broker") && !to.exists(), "{ended:?}");
}

#[test]
fn the_broker_is_stopped_though_its_guard_is_gone_and_nobody_else_knows_its_password() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 400, "slow"), fleet.path("results.csv"));
    let process = score(&fleet, &[&file, "--scorer", SCORER, "--to", to.to_str().unwrap()]);
    wait_until_it_scores(&process);
    let processes = environments(&fleet);
    let is_guard = |process: &PathBuf| {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains("rollcall-broker-guard")
    };
    let (guard, _) = processes.iter().find(|(process, _)| is_guard(process)).unwrap();
    let urls: Vec<&String> = processes.iter().flat_map(|(_, lines)| lines).filter(|line| line.starts_with("AMQP_URL=")).collect();
    assert!(!urls.is_empty() && urls.iter().all(|url| !url.contains("guest:guest@")), "{urls:?}");
    kill_9(guard.file_name().unwrap().to_str().unwrap());
    process.interrupt();
    finished(process, &fleet, 130);
}

#[test]
fn on_a_broker_that_is_there_it_needs_a_model_of_its_own_and_cancels_its_job_when_it_is_interrupted() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 400, "slow"), fleet.path("results.csv"));
    let arguments = ["score", &file, "--scorer", SCORER, "--to", to.to_str().unwrap()];
    let refused = fleet.program("producer", &arguments).wait(SOON).expect(2);
    assert!(refused.error().contains("expected --model"), "{refused:?}");
    let _other = fleet.consumer("used", SCORER, &["--threads", "1"]);
    let refused = fleet.program("producer", &[&arguments[..], &["--model", "used"]].concat()).wait(SOON).expect(2);
    assert!(refused.error().contains("found consumers of model used"), "{refused:?}");
    let mut process = fleet.program("producer", &[&arguments[..], &["--model", "m"]].concat());
    let aggregator = fleet.aggregator(&[]);
    let job = running_job(&fleet);
    process.interrupt();
    process.wait(SOON).expect(130);
    aggregator.wait_until_event("counting");
    assert_eq!(fleet.status(&job)["state"], "cancelled");
}

/// The name of the only job, once companies of it are counted.
fn running_job(fleet: &Fleet) -> String {
    eventually("the job runs", || {
        let listed: Value = fleet.producer(&["status", "--output", "json"]).json();
        let job = listed.as_array()?.iter().find(|job| job["succeeded"].as_u64() > Some(0))?;
        job["job"].as_str().map(str::to_owned)
    })
}

/// The URL of a broker that is not there.
fn nowhere() -> String {
    format!("amqp://guest:guest@{}", free_address())
}

#[test]
fn a_job_that_cannot_be_cancelled_is_named() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let (file, to) = (companies(&fleet, 400, "slow"), fleet.path("results.csv"));
    let arguments = ["score", &file, "--scorer", SCORER, "--to", to.to_str().unwrap(), "--model", "m", "--", "--grace", "2s"];
    let _aggregator = fleet.aggregator(&[]);
    let mut process = fleet.behind(&relay).program("producer", &arguments);
    let job = running_job(&fleet);
    relay.redirect_to(&nowhere());
    relay.cut_all();
    process.interrupt();
    let ended = process.wait(SOON).expect(130);
    assert!(ended.stderr.contains(&format!("job {job} may go on: `producer cancel {job}` ends it")), "{ended:?}");
}

#[test]
fn a_broker_that_is_to_come_is_waited_for_and_one_that_refuses_the_aggregator_is_told() {
    let fleet = Fleet::fresh();
    let (file, to) = (companies(&fleet, 3, "score"), fleet.path("results.csv"));
    let arguments = ["score", &file, "--scorer", SCORER, "--to", to.to_str().unwrap(), "--model", "m"];
    let elsewhere = fleet.clone().at(&nowhere());
    let mut process = elsewhere.program("producer", &[&arguments[..], &["--wait-for-broker", "10m"]].concat());
    process.wait_until_event("waiting_for_broker");
    process.interrupt();
    process.wait(SOON).expect(130);
    declare_classic(&fleet, &fleet.name("checkpoint"));
    let mut refused = fleet.program("producer", &[&arguments[..], &["--output", "json"]].concat());
    let refused = refused.wait(SOON).expect(3);
    assert_eq!(refused.error_code().as_deref(), Some("broker"));
    assert!(refused.error().contains("the aggregator has ended by itself: cannot declare queue"), "{refused:?}");
}
