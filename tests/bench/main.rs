//! Rollcall's benchmarks, each with a name: `cargo bench -p rollcall-tests --bench bench -- overhead`. Prefer `make
//! bench-overhead`, which builds the programs and starts a broker.

#![expect(clippy::panic, clippy::unwrap_used, reason = "in a benchmark, the unexpected ends it")]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it is a program for people at a terminal")]

mod aggregator;
mod bare_loop;
mod cluster;
mod fleet;
mod gateway;
mod job;
mod jobs;
mod latency;
mod machine;
mod overhead;
mod overtake;
mod parallel;
mod peers;
mod report;
mod scale;
mod scaleout;
mod scorers;
mod seed;
mod sizing;
mod takeover;
mod usage;

use std::process::ExitCode;

const USAGE: &str = "bench: seed, overhead, peers, scale, sizing, scaleout, fleet, cluster, overtake, parallel, latency, takeover, jobs or gateway; run them by `make bench-seed` and so on";

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.first().map(String::as_str) {
        Some("seed") => seed::run(),
        Some("overhead") => overhead::run(),
        Some("peers") => peers::run(),
        Some("scale") => scale::run(),
        Some("sizing") => sizing::run(),
        Some("scaleout") => scaleout::run(),
        Some("fleet") => fleet::run(),
        Some("cluster") => cluster::run(),
        Some("overtake") => overtake::run(),
        Some("parallel") => parallel::run(),
        Some("latency") => latency::run(),
        Some("takeover") => takeover::run(),
        Some("jobs") => jobs::run(),
        Some("gateway") => gateway::run(),
        Some(bare_loop::ARGUMENT) => bare_loop::main(&words[1..]),
        Some(scorers::WAIT_ARGUMENT) => scorers::wait(&words[1..]),
        Some(scorers::WAIT_FOR_EACH_ARGUMENT) => scorers::wait_for_each(&words[1..]),
        // Cargo may run it as a test.
        None => println!("{USAGE}"),
        Some(word) => {
            eprintln!("error: no benchmark is called {word:?}; {USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
