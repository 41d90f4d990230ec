//! The inbox: a file that is dropped into it is one job.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollcall_tests::{Fleet, Gateway, SCORER, eventually, within};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn inbox(fleet: &Fleet, more: &str) -> (PathBuf, String) {
    let folder = fleet.path("inbox");
    fs::create_dir_all(folder.join("m")).unwrap();
    (folder.clone(), format!("[inbox]\npath = {:?}\nsettle = \"1s\"\n{more}", folder.to_str().unwrap()))
}

fn rows(from: usize, number: usize) -> String {
    let rows: String = (from..from + number).map(|row| format!("{row},succeed\n")).collect();
    format!("company_id,do\n{rows}")
}

#[test]
fn twenty_files_at_once_are_the_right_jobs_and_the_bad_ones_have_their_reasons_beside_them() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let (folder, config) = inbox(&fleet, "");
    let gateway = Gateway::with(&fleet, &config);
    let model = folder.join("m");
    for number in 0..15 {
        fs::write(model.join(format!("good-{number}.csv")), rows(number * 100, 100)).unwrap();
    }
    fs::write(model.join("same.csv"), rows(0, 100)).unwrap();
    fs::write(model.join("broken.csv"), "company_id,do\n1,succeed\n1,succeed\n").unwrap();
    fs::write(model.join("empty.csv"), "").unwrap();
    fs::write(fleet.path("renamed"), rows(7_000, 10)).unwrap();
    fs::rename(fleet.path("renamed"), model.join("renamed.csv")).unwrap();
    fs::write(folder.join("nowhere.csv"), rows(0, 1)).unwrap();
    let mut slow = fs::File::create(model.join("slow.csv")).unwrap();
    slow.write_all(b"company_id,do\n").unwrap();
    for row in 0..20 {
        // Not a wait for anything: a writer that takes longer than a file needs to settle.
        std::thread::sleep(Duration::from_millis(200));
        slow.write_all(format!("{row},succeed\n").as_bytes()).unwrap();
    }
    drop(slow);
    within(Duration::from_secs(120), "all files are dealt with", || {
        let left = names(&model).into_iter().filter(|name| name.ends_with(".csv")).count();
        (left == 0 && !folder.join("nowhere.csv").exists()).then_some(())
    });
    let done = names(&model.join("done"));
    assert_eq!(done.iter().filter(|name| name.ends_with(".csv")).count(), 18, "{done:?}");
    assert_eq!(names(&model.join("failed")), ["broken.csv", "broken.csv.reason.txt", "empty.csv", "empty.csv.reason.txt"]);
    let reason = |path: &str| fs::read_to_string(folder.join(path)).unwrap();
    assert!(reason("m/failed/broken.csv.reason.txt").contains("row 2"));
    assert!(reason("m/failed/empty.csv.reason.txt").contains("header line"));
    assert!(reason("failed/nowhere.csv.reason.txt").contains("named after its model"));
    let jobs = gateway.jobs();
    assert_eq!(jobs.len(), 18, "{jobs:?}");
    let job = |name: &str| {
        fs::read_to_string(model.join("done").join(format!("{name}.job.txt"))).unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    assert_ne!(job("same.csv"), job("good-0.csv"), "the same content under another name is another job");
    assert_eq!(gateway.wait_until(&job("slow.csv"), "succeeded")["succeeded"], 20);
    assert_eq!(gateway.wait_until(&job("renamed.csv"), "succeeded")["succeeded"], 10);
    let refused = gateway.get("/v1/refusals").expect(200).json();
    assert_eq!(refused["refusals"].as_array().unwrap().len(), 3, "{refused}");
}

#[test]
fn a_file_whose_gateway_was_killed_in_the_middle_is_one_job_of_another_gateway() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let (folder, config) = inbox(&fleet, "");
    let mut first = Gateway::with(&fleet, &config);
    first.process.wait_until_event("gateway_leads");
    let second = Gateway::with(&fleet, &config);
    fs::write(fleet.path("large"), rows(0, 60_000)).unwrap();
    fs::rename(fleet.path("large"), folder.join("m/large.csv")).unwrap();
    eventually("the job is open", || (!second.jobs().is_empty()).then_some(()));
    first.process.kill_9();
    let done = folder.join("m/done");
    within(Duration::from_secs(90), "the file is done", || done.join("large.csv").exists().then_some(()));
    let jobs = second.jobs();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let ended = second.wait_until(jobs[0]["job"].as_str().unwrap(), "succeeded");
    assert_eq!((&ended["total"], &ended["succeeded"]), (&60_000.into(), &60_000.into()));
}

#[test]
fn results_follow_a_file_to_where_the_configuration_says() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let outbox = fleet.path("outbox");
    fs::create_dir(&outbox).unwrap();
    let to = format!("options = {{ results_to = {:?} }}", format!("{}/{{name}}-{{job}}.csv", outbox.display()));
    let (folder, config) = inbox(&fleet, &to);
    let gateway = Gateway::with(&fleet, &config);
    fs::write(folder.join("m/companies.csv"), rows(0, 50)).unwrap();
    let found = within(Duration::from_secs(60), "results are written", || {
        // Each is written under another name first.
        let names = names(&outbox);
        (names.len() == 2 && names.iter().all(|name| !name.starts_with('.'))).then_some(names)
    });
    let job = gateway.jobs()[0]["job"].as_str().unwrap().to_owned();
    assert_eq!(found, [format!("companies-{job}.csv"), format!("companies-{job}.manifest.json")]);
    assert_eq!(fs::read_to_string(outbox.join(&found[0])).unwrap().lines().count(), 51);
    eventually("it is told", || gateway.process.stderr().contains("exported").then_some(()));
}
