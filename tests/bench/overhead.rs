//! The overhead of Rollcall over a program that only moves the messages: a scorer that costs nothing, compared with the bare
//! loop.
//!
//! `make bench-overhead`: rounds of each in turn, with fresh queues, and the ratio of their medians. Rollcall's time is from
//! the start of the producer's process until it has reported the done event; the bare loop's is from its first message to its
//! last. The broker's usage counts from when queues are declared and all processes but Rollcall's producer are connected. The
//! results of both have the same size, which is measured in the first round.

use rollcall_tests::Fleet;
use serde_json::json;

use crate::bare_loop::{BareLoop, result_bytes};
use crate::job::{Consumers, Job, companies_file, delete_vhost};
use crate::report::{Size, median, print_head, table, write};
use crate::scorers::costs_nothing;
use crate::usage::Cpu;

/// A round takes some seconds, longer than its start; three show the spread.
const COMPANIES: u32 = 50_000;
const ROUNDS: usize = 3;

pub fn run() {
    let size = Size::from_environment(COMPANIES);
    let files = Fleet::alone();
    let file = companies_file(&files, size.companies);
    let consumers = Consumers::new(1, &costs_nothing(&files), &["--particles", "1", "--threads", "1", "--allow-no-evidence"]);
    let (mut jobs, mut loops, mut bytes) = (Vec::new(), Vec::new(), None);
    for _ in 0..ROUNDS {
        let fleet = Fleet::alone();
        jobs.push(Job::run(&fleet, &consumers, &file, size.companies));
        let bytes = *bytes.get_or_insert_with(|| result_bytes(&fleet, size.companies));
        delete_vhost(&fleet);
        loops.push(BareLoop::run(&file, bytes));
    }
    delete_vhost(&files);
    report(size, bytes.unwrap_or_default(), &jobs, &loops);
}

fn report(size: Size, result_bytes: usize, jobs: &[Job], loops: &[BareLoop]) {
    let rollcall = median(&jobs.iter().map(Job::companies_per_second).collect::<Vec<_>>());
    let bare = median(&loops.iter().map(BareLoop::companies_per_second).collect::<Vec<_>>());
    let setting = format!("{} a round; results of {result_bytes} bytes; one consumer, one scoring thread", size.in_words());
    print_head("Overhead: a scorer that costs nothing, beside a bare loop through the same queues", &[setting]);
    let head = ["round", "Rollcall, companies/s", "bare loop, companies/s", "ratio"];
    let round = |name: String, rollcall: f64, bare: f64| {
        vec![name, format!("{rollcall:.0}"), format!("{bare:.0}"), format!("{:.3}", rollcall / bare)]
    };
    let mut rows: Vec<_> = jobs
        .iter()
        .zip(loops)
        .enumerate()
        .map(|(number, (job, bare))| round((number + 1).to_string(), job.companies_per_second(), bare.companies_per_second()))
        .collect();
    rows.push(round("median".to_owned(), rollcall, bare));
    table(&head, &rows);
    print_cpu(jobs, loops);
    let settings = json!({ "companies": size.companies, "full_size": size.is_full(), "rounds": jobs.len(), "result_bytes": result_bytes,
        "consumers": 1, "threads": 1 });
    write(
        "overhead",
        settings,
        json!({
            "rollcall_median_companies_per_second": rollcall,
            "bare_loop_median_companies_per_second": bare,
            "ratio": rollcall / bare,
            "rollcall": jobs.iter().map(Job::json).collect::<Vec<_>>(),
            "bare_loop": loops.iter().map(BareLoop::json).collect::<Vec<_>>(),
        }),
    );
}

/// Prints where the difference comes from.
fn print_cpu(jobs: &[Job], loops: &[BareLoop]) {
    let per_company = |cpu: &dyn Fn(usize) -> Cpu, companies: u32| {
        let each: Vec<f64> = (0..jobs.len()).map(|round| cpu(round).seconds() * 1e6 / f64::from(companies)).collect();
        format!("{:.1}", median(&each))
    };
    let companies = jobs[0].companies;
    let mut rows: Vec<Vec<String>> = jobs[0]
        .processes()
        .iter()
        .enumerate()
        .map(|(place, (name, _))| {
            vec![format!("Rollcall: {name}"), per_company(&|round| jobs[round].processes()[place].1.cpu, companies)]
        })
        .collect();
    rows.push(vec!["bare loop: its process".to_owned(), per_company(&|round| loops[round].cpu, companies)]);
    if loops[0].broker.is_some() {
        rows.push(vec!["bare loop: broker".to_owned(), per_company(&|round| loops[round].broker.unwrap_or_default(), companies)]);
    }
    table(&["CPU time, median", "microseconds a company"], &rows);
}
