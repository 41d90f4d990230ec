//! The scorers of the benchmarks beside the demo's: one that costs nothing, and two that only wait.

use std::collections::BTreeMap;
use std::io::{Write, stdin, stdout};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rollcall_tests::Fleet;
use serde_json::Value;
use serde_json::value::RawValue;

/// Makes results about 1.5 kB long.
const STATE_BYTES: usize = 1_300;

/// A network of one variable with one state, whose name makes up the size of a prediction: scoring a company takes no time,
/// so only moving it does. No field of a company is a variable, so its consumers need `--allow-no-evidence`.
pub fn costs_nothing(fleet: &Fleet) -> String {
    costs_nothing_and_predicts(fleet, STATE_BYTES)
}

/// The same with predictions of so many bytes.
pub fn costs_nothing_and_predicts(fleet: &Fleet, bytes: usize) -> String {
    let network = format!(
        "network nothing {{ }}\nvariable answer {{ type discrete [ 1 ] {{ {} }}; }}\nprobability ( answer ) {{ table 1.0; }}\n",
        "x".repeat(bytes)
    );
    format!("bayes:{}", fleet.file("nothing.bif", network).display())
}

/// The argument that runs this program as a scorer that only waits.
pub const WAIT_ARGUMENT: &str = "wait-scorer";

/// A scorer that waits once for each batch; it is this program.
pub fn only_waits(wait: Duration) -> String {
    format!("command:'{}' {WAIT_ARGUMENT} {}", std::env::current_exe().unwrap().display(), wait.as_millis())
}

/// The argument that runs this program as a scorer that waits for each company.
pub const WAIT_FOR_EACH_ARGUMENT: &str = "wait-for-each-scorer";

/// A scorer that waits for each company of a batch in turn, for `factor` times the milliseconds in its column `wait_ms`.
pub fn waits_for_each(factor: u32) -> String {
    format!("command:'{}' {WAIT_FOR_EACH_ARGUMENT} {factor}", std::env::current_exe().unwrap().display())
}

/// Runs that scorer; its argument is the factor.
pub fn wait_for_each(arguments: &[String]) {
    let factor: u32 = arguments[0].parse().unwrap();
    for batch in stdin().lines() {
        let began = Instant::now();
        let batch: Value = serde_json::from_str(&batch.unwrap()).unwrap();
        let companies = batch["instances"].as_array().unwrap();
        let wait_ms: u64 = companies.iter().map(|company| company["wait_ms"].as_str().unwrap().parse::<u64>().unwrap()).sum();
        let answer = format!("{{\"id\":{},\"predictions\":[{}]}}\n", batch["id"], vec!["1"; companies.len()].join(","));
        sleep((Duration::from_millis(wait_ms) * factor).saturating_sub(began.elapsed()));
        stdout().write_all(answer.as_bytes()).unwrap();
    }
}

/// Runs the scorer that waits once for each batch; its argument is the wait in milliseconds.
pub fn wait(arguments: &[String]) {
    let wait = Duration::from_millis(arguments[0].parse().unwrap());
    for batch in stdin().lines() {
        let batch = batch.unwrap();
        let until = Instant::now() + wait;
        // The companies are not parsed.
        let batch: BTreeMap<&str, &RawValue> = serde_json::from_str(&batch).unwrap();
        let companies: Vec<&RawValue> = serde_json::from_str(batch["instances"].get()).unwrap();
        let answer = format!("{{\"id\":{},\"predictions\":[{}]}}\n", batch["id"], vec!["1"; companies.len()].join(","));
        sleep(until.saturating_duration_since(Instant::now()));
        stdout().write_all(answer.as_bytes()).unwrap();
    }
}
