//! The same companies and a scorer that costs nothing through common alternatives: a Celery chord, a Dramatiq group with its
//! completion callback, Ray tasks.
//!
//! `make bench-peers`: each in turn, several times in one run, from the submission of all companies until they are counted.
//! Each peer is set up for durable work as its documentation says, with the fastest of the settings that were tried
//! (`peers/*.py` list them), and is warmed up with 500 companies; its clock starts when the companies are in memory. Rollcall
//! is warmed up with as many, but its clock starts before its producer's process does, which then reads them from a file. Ray
//! keeps nothing on disk, so its figure does not count where work must not be lost.

use std::path::Path;
use std::process::Command;

use rollcall_tests::{Fleet, project};
use serde_json::{Value, json};

use crate::bare_loop::result_bytes;
use crate::job::{Consumers, DEADLINE, Job, companies_file, delete_vhost};
use crate::report::{Size, median, print_head, table, write};
use crate::scorers::costs_nothing;

const COMPANIES: u32 = 10_000;
const ROUNDS: usize = 3;
/// As many as the peers have, in `peers/contest.py`.
const WARM_UP: u32 = 500;
const PROGRAMS: [&str; 3] = ["celery_chord.py", "dramatiq_group.py", "ray_tasks.py"];

pub fn run() {
    let size = Size::from_environment(COMPANIES);
    let files = Fleet::alone();
    let python = python();
    let warm_up = files.path("warm-up.csv");
    std::fs::rename(companies_file(&files, WARM_UP), &warm_up).unwrap();
    let file = companies_file(&files, size.companies);
    let mut consumers = Consumers::new(1, &costs_nothing(&files), &["--particles", "1", "--threads", "1", "--allow-no-evidence"]);
    consumers.warm_up = Some(warm_up);
    let (mut jobs, mut bytes) = (Vec::new(), None);
    let mut peers: Vec<Vec<Value>> = vec![Vec::new(); PROGRAMS.len()];
    for _ in 0..ROUNDS {
        let fleet = Fleet::alone();
        jobs.push(Job::run(&fleet, &consumers, &file, size.companies));
        let bytes = *bytes.get_or_insert_with(|| result_bytes(&fleet, size.companies));
        delete_vhost(&fleet);
        for (program, rounds) in PROGRAMS.iter().zip(&mut peers) {
            rounds.push(peer(&python, program, &file, bytes, size.companies));
        }
    }
    delete_vhost(&files);
    report(size, bytes.unwrap_or_default(), &jobs, &peers);
}

/// Installs the peers; returns the path of their Python.
fn python() -> String {
    let install = Command::new(project().join("tests/bench/peers/install")).output().unwrap();
    assert!(install.status.success(), "cannot install the peers: {}", String::from_utf8_lossy(&install.stderr));
    String::from_utf8(install.stdout).unwrap().trim().to_owned()
}

/// Runs a peer on a vhost of its own; returns what it prints.
fn peer(python: &str, program: &str, file: &Path, answer_bytes: usize, companies: u32) -> Value {
    let fleet = Fleet::alone();
    let mut command = fleet.command(python);
    command.arg(project().join("tests/bench/peers").join(program)).arg(file);
    command.args(["--answer-bytes", &answer_bytes.to_string()]);
    let said = fleet.start(program, command).wait(DEADLINE).expect(0).json();
    delete_vhost(&fleet);
    assert_eq!(said["counted"], companies, "what {program} says: {said}");
    said
}

fn report(size: Size, result_bytes: usize, jobs: &[Job], peers: &[Vec<Value>]) {
    let rollcall = median(&jobs.iter().map(Job::companies_per_second).collect::<Vec<_>>());
    let rate = |rounds: &Vec<Value>| {
        median(&rounds.iter().map(|said| said["companies_per_second"].as_f64().unwrap()).collect::<Vec<_>>())
    };
    let durable = peers.iter().filter(|rounds| rounds[0]["durable"] == true).map(rate);
    let fastest_durable = durable.fold(0.0, f64::max);
    let setting = format!("{} a round, {ROUNDS} rounds; answers of {result_bytes} bytes; medians", size.in_words());
    print_head("Peers: from submit to all counted, with a scorer that costs nothing", &[setting]);
    let row = |name: &str, durable: bool, rate: f64| {
        let durable = if durable { "yes" } else { "no" };
        vec![name.to_owned(), durable.to_owned(), format!("{rate:.0}"), format!("{:.1}", rollcall / rate)]
    };
    let mut rows = vec![row("Rollcall", true, rollcall)];
    rows.extend(peers.iter().map(|rounds| {
        let (name, version) = (rounds[0]["peer"].as_str().unwrap(), &rounds[0]["versions"][rounds[0]["peer"].as_str().unwrap()]);
        row(&format!("{name} {}", version.as_str().unwrap()), rounds[0]["durable"] == true, rate(rounds))
    }));
    table(&["", "durable", "companies/s", "Rollcall is … times as fast"], &rows);
    println!("Rollcall is {:.1} times as fast as the fastest durable peer", rollcall / fastest_durable);
    let settings = json!({ "companies": size.companies, "full_size": size.is_full(), "rounds": ROUNDS, "result_bytes": result_bytes,
        "consumers": 1, "threads": 1 });
    write(
        "peers",
        settings,
        json!({
            "rollcall_median_companies_per_second": rollcall,
            "fastest_durable_peer_companies_per_second": fastest_durable,
            "times_the_fastest_durable_peer": rollcall / fastest_durable,
            "rollcall": jobs.iter().map(Job::json).collect::<Vec<_>>(),
            "peers": peers,
        }),
    );
}
