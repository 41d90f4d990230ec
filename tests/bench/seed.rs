//! The run to beat, on one machine: 227,000 companies, 255 answers each, 1,000 particles per answer; it once took 56 minutes
//! on almost 10,000 cloud functions.
//!
//! `make bench-seed`: from the start of `producer enqueue --wait` to the done event, with the demo's model, and the CPU and
//! memory of each process; then the bare loop with as many messages of the same sizes, on queues of its own: one program with
//! the fastest settings of those tried, which is not a lower bound.

use rollcall_tests::Fleet;
use serde_json::{Value, json};

use crate::bare_loop::{BareLoop, result_bytes};
use crate::job::{Consumers, Job, companies_file, delete_vhost};
use crate::report::{Size, print_head, table, write};

const COMPANIES: u32 = 227_000;

/// The questions of the demo's model. Unknown facts about a company are sampled too, and not counted here.
const ANSWERS: u32 = 255;

/// The consumer's default.
const PARTICLES: u32 = 1_000;

/// The duration of the run to beat.
const TO_BEAT_SECONDS: f64 = 56.0 * 60.0;

/// One consumer with two threads, on any machine. Broker, producer and aggregator share its cores.
const CONSUMERS: usize = 1;
const THREADS: usize = 2;

pub fn run() {
    let size = Size::from_environment(COMPANIES);
    let fleet = Fleet::alone();
    let file = companies_file(&fleet, size.companies);
    let scorer = "bayes:deploy/demo/questionnaire.bif";
    let consumers =
        Consumers::new(CONSUMERS, scorer, &["--threads", &THREADS.to_string(), "--particles", &PARTICLES.to_string()]);
    let job = Job::run(&fleet, &consumers, &file, size.companies);
    let bytes = result_bytes(&fleet, size.companies);
    delete_vhost(&fleet);
    let bare = BareLoop::run(&file, bytes);
    report(size, bytes, &job, &bare);
}

fn report(size: Size, result_bytes: usize, job: &Job, bare: &BareLoop) {
    let draws = f64::from(size.companies) * f64::from(ANSWERS) * f64::from(PARTICLES);
    let settings = [
        format!(
            "{} x {ANSWERS} answers x {PARTICLES} particles = {draws:.3e} draws; results of {result_bytes} bytes",
            size.in_words()
        ),
        "facts about a company that are not known are drawn too, and not counted as draws".to_owned(),
        format!("consumers: {CONSUMERS} with {THREADS} threads"),
    ];
    print_head("Seed: from enqueue to the done event", &settings);
    let to_beat = TO_BEAT_SECONDS / job.seconds;
    let of_bare = job.seconds / bare.seconds;
    let figure = |name: &str, text: String| vec![name.to_owned(), text];
    let mut rows = vec![
        figure("seconds", format!("{:.1}", job.seconds)),
        figure("companies/s", format!("{:.0}", job.companies_per_second())),
        figure("draws/s", format!("{:.3e}", draws / job.seconds)),
    ];
    if size.is_full() {
        rows.push(figure("times as fast as 56 minutes", format!("{to_beat:.1}")));
    }
    rows.push(figure("bare loop, seconds", format!("{:.1}", bare.seconds)));
    rows.push(figure("seconds / bare loop's seconds", format!("{of_bare:.2}")));
    table(&["from enqueue to the done event", ""], &rows);
    job.print_processes();
    let settings = json!({ "companies": size.companies, "full_size": size.is_full(), "answers": ANSWERS, "particles": PARTICLES,
        "consumers": CONSUMERS, "threads": THREADS, "result_bytes": result_bytes });
    let mut figures = json!({
        "seconds": job.seconds,
        "companies_per_second": job.companies_per_second(),
        "draws": draws,
        "draws_per_second": draws / job.seconds,
        "times_the_bare_loops_seconds": of_bare,
        "rollcall": job.json(),
        "bare_loop": bare.json(),
    });
    // `null` for a trial, which is only a part of the job.
    figures["times_as_fast_as_56_minutes"] = if size.is_full() { json!(to_beat) } else { Value::Null };
    write("seed", settings, figures);
}
