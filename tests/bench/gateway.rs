//! The gateway: an upload beside the same file by the command line; 200 uploads at a time, and meanwhile the status of a job.
//!
//! `make bench-gateway`. Nothing scores: what is measured is the way into the broker. Questions are asked at a constant rate by many, and the time of
//! each runs from when it was due, which avoids coordinated omission.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, Gateway};
use serde_json::json;

use crate::job::{companies_file, delete_vhost, leading_aggregator};
use crate::report::{number, print_head, table, write};

/// Companies of the file that is sent both ways, and how often it is sent each way.
const COMPANIES: u32 = 100_000;
const ROUNDS: usize = 5;

/// Uploads at a time, and companies of each.
const UPLOADS: usize = 200;
const COMPANIES_OF_AN_UPLOAD: u32 = 1_000;

/// Those who ask, each on its own once a second: one that waits for its answer keeps no other one from asking.
const ASKERS: u32 = 50;
const PERIOD: Duration = Duration::from_secs(1);

pub fn run() {
    let companies = number("BENCH_COMPANIES").unwrap_or(COMPANIES).min(COMPANIES);
    let fleet = Fleet::alone();
    let _aggregator = leading_aggregator(&fleet);
    let file = companies_file(&fleet, companies);
    let body = fs::read(&file).unwrap();
    let gateway = Gateway::start(&fleet, Some(&fleet.file("gateway.toml", "[http]\nrequests_per_second = 100000\n")), &[]);
    let idle_kb = gateway.process.peak_kb().unwrap();
    let (mut by_command, mut by_upload) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let began = Instant::now();
        fleet.enqueue(&file, "m", &format!("command-{round}"), &[]).expect(0);
        by_command.push(f64::from(companies) / began.elapsed().as_secs_f64());
        let began = Instant::now();
        gateway.upload(&format!("model=m&priority=normal&job=upload-{round}"), &body).expect(202);
        by_upload.push(f64::from(companies) / began.elapsed().as_secs_f64());
    }
    let after_one_kb = gateway.process.peak_kb().unwrap();
    let small = fs::read(companies_file(&fleet, COMPANIES_OF_AN_UPLOAD)).unwrap();
    let (uploads, mut questions) = at_once(&gateway, &small);
    let peak_kb = gateway.process.peak_kb().unwrap();
    drop((gateway, _aggregator));
    delete_vhost(&fleet);
    report(companies, &mut by_command, &mut by_upload, uploads, &mut questions, [idle_kb, after_one_kb, peak_kb]);
}

/// Sends all uploads at once; returns the seconds that they took, and those of the questions meanwhile.
fn at_once(gateway: &Gateway, body: &[u8]) -> (f64, Vec<f64>) {
    let (began, is_over) = (Instant::now(), &AtomicBool::new(false));
    thread::scope(|scope| {
        let asking: Vec<_> =
            (0..ASKERS).map(|asker| scope.spawn(move || ask(gateway, began + PERIOD * asker / ASKERS, is_over))).collect();
        let sending: Vec<_> = (0..UPLOADS)
            .map(|number| scope.spawn(move || gateway.upload(&format!("model=m&job=small-{number}"), body).expect(202)))
            .collect();
        sending.into_iter().for_each(|sent| drop(sent.join().unwrap()));
        let took = began.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        (took, asking.into_iter().flat_map(|asker| asker.join().unwrap()).collect())
    })
}

/// Asks from `first` on, once in each period; returns the seconds of each question from when it was due.
fn ask(gateway: &Gateway, first: Instant, is_over: &AtomicBool) -> Vec<f64> {
    let mut seconds = Vec::new();
    for period in 0.. {
        let due = first + PERIOD * period;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        gateway.get("/v1/jobs/upload-0").expect(200);
        seconds.push(due.elapsed().as_secs_f64());
    }
    seconds
}

/// The value that this many in a hundred do not exceed.
fn percentile(sorted: &[f64], hundredths: usize) -> f64 {
    let at = (sorted.len() * hundredths).div_ceil(100);
    sorted[at.clamp(1, sorted.len()) - 1]
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(
    companies: u32,
    by_command: &mut [f64],
    by_upload: &mut [f64],
    uploads: f64,
    questions: &mut [f64],
    [idle_kb, after_one_kb, peak_kb]: [u64; 3],
) {
    let (command, upload) = (median(by_command), median(by_upload));
    questions.sort_by(f64::total_cmp);
    let (p50, p99) = (percentile(questions, 50), percentile(questions, 99));
    let rate = UPLOADS as f64 * f64::from(COMPANIES_OF_AN_UPLOAD) / uploads;
    print_head(
        "The gateway: uploads, and questions meanwhile",
        &[
            format!("{companies} companies by `producer enqueue` and by upload in turn, {ROUNDS} times, medians"),
            format!(
                "then {UPLOADS} uploads of {COMPANIES_OF_AN_UPLOAD} companies at once, and {ASKERS} who ask once a second each"
            ),
        ],
    );
    table(
        &["what", "figure"],
        &[
            vec!["producer enqueue".to_owned(), format!("{command:.0} companies/s")],
            vec!["an upload".to_owned(), format!("{upload:.0} companies/s, {:.2} times as many", upload / command)],
            vec![format!("{UPLOADS} uploads at once"), format!("{uploads:.1} s, {rate:.0} companies/s")],
            vec!["GET /v1/jobs/JOB meanwhile, p50".to_owned(), format!("{:.1} ms", p50 * 1e3)],
            vec!["GET /v1/jobs/JOB meanwhile, p99".to_owned(), format!("{:.1} ms of {} questions", p99 * 1e3, questions.len())],
            vec![
                "memory of the gateway, at its peak".to_owned(),
                format!(
                    "{} MB idle, {} MB after the large uploads, {} MB after all",
                    idle_kb / 1_000,
                    after_one_kb / 1_000,
                    peak_kb / 1_000
                ),
            ],
        ],
    );
    write(
        "gateway",
        json!({ "companies": companies, "rounds": ROUNDS, "uploads": UPLOADS, "companies_of_an_upload": COMPANIES_OF_AN_UPLOAD }),
        json!({
            "command_companies_per_second": command, "upload_companies_per_second": upload,
            "uploads_seconds": uploads, "question_p50_seconds": p50, "question_p99_seconds": p99,
            "idle_kb": idle_kb, "after_large_uploads_kb": after_one_kb, "peak_kb": peak_kb,
        }),
    );
}
