//! The run to beat, on one machine: 227,000 companies, 255 answers each, 1,000 particles an answer; it once took 56 minutes on
//! almost 10,000 cloud functions.
//!
//! `make bench-seed`: from the start of `producer enqueue --wait` to the done event, with the demo's model, and who used what for
//! it; then the bare loop with as many messages of the same sizes, on queues of its own: one program with the fastest
//! settings of those tried, not the fastest that there could be.

use rollcall_tests::Fleet;
use serde_json::{Value, json};

use crate::bare_loop::{BareLoop, result_bytes};
use crate::job::{Consumers, Job, companies_file, forget};
use crate::report::{Size, begin, table, write};

const COMPANIES: u32 = 227_000;

/// The questions of the demo's model. Facts about a company that are not known are drawn too, and not counted here.
const ANSWERS: u32 = 255;

/// The consumer's default.
const PARTICLES: u32 = 1_000;

/// What the run to beat took.
const TO_BEAT_SECONDS: f64 = 56.0 * 60.0;

/// One consumer with two threads, however many cores the machine has. Broker, producer and aggregator run beside them, and the
/// kernel shares the cores out.
const CONSUMERS: usize = 1;
const THREADS: usize = 2;

pub fn run() {
    let size = Size::asked_for(COMPANIES);
    let fleet = Fleet::alone();
    let file = companies_file(&fleet, size.companies);
    let scorer = "bayes:deploy/demo/questionnaire.bif";
    let consumers =
        Consumers::new(CONSUMERS, scorer, &["--threads", &THREADS.to_string(), "--particles", &PARTICLES.to_string()]);
    let job = Job::run(&fleet, &consumers, &file, size.companies);
    let bytes = result_bytes(&fleet, size.companies);
    forget(&fleet);
    let bare = BareLoop::run(&file, bytes);
    tell(size, bytes, &job, &bare);
}

fn tell(size: Size, result_bytes: usize, job: &Job, bare: &BareLoop) {
    let draws = f64::from(size.companies) * f64::from(ANSWERS) * f64::from(PARTICLES);
    let settings = [
        format!(
            "{} x {ANSWERS} answers x {PARTICLES} particles = {draws:.3e} draws; results of {result_bytes} bytes",
            size.in_words()
        ),
        "facts about a company that are not known are drawn too, and not counted as draws".to_owned(),
        format!("consumers: {CONSUMERS} with {THREADS} threads"),
    ];
    begin("Seed: from enqueue to the done event", &settings);
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
    job.tell_processes();
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
    // A part of the job is not to be compared with the whole.
    figures["times_as_fast_as_56_minutes"] = if size.is_full() { json!(to_beat) } else { Value::Null };
    write("seed", settings, figures);
}
