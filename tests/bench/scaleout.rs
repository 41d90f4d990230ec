//! Whether more consumers help: jobs whose companies each take a known time, with consumers that come and go, compared with
//! the shortest time that is possible with the same consumers.
//!
//! `make bench-scaleout`: the scorer waits for each company in turn, so that the work takes the same time on any machine. The
//! time is from the start of the producer's process until it has reported the done event. The ideal is the time in which all
//! scoring threads that were running could have done all the work; a consumer counts from the moment at which it was started,
//! and until it was asked to stop. `BENCH_CASE` selects the cases whose names contain it.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, Process};
use serde_json::{Value, json};

use crate::job::{DEADLINE, JOB, MODEL, delete_vhost, leading_aggregator};
use crate::report::{print_head, table, write};
use crate::scorers::waits_for_each;

/// What a case does to its fleet.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Starts this many consumers, whose scorers are slower than the companies' times by this factor.
    Start(usize, u32),
    /// Stops this many of the consumers that started last.
    Stop(usize),
}

struct Case {
    name: &'static str,
    /// How many companies of how many milliseconds, in the order of the file.
    companies: Vec<(u32, u32)>,
    threads: u32,
    steps: Vec<(f64, Step)>,
    /// The limit of the ratio to the ideal.
    most: f64,
}

/// The measurements of a case.
struct Ran {
    seconds: f64,
    ideal: f64,
    done: Value,
}

fn cases() -> Vec<Case> {
    use Step::{Start, Stop};
    let seven_more = || vec![(0.0, Start(1, 1)), (3.0, Start(7, 1))];
    let case =
        |name, companies: &[(u32, u32)], threads, steps, most| Case { name, companies: companies.to_vec(), threads, steps, most };
    vec![
        case("seven join one, 0.25 s a company", &[(600, 250)], 1, seven_more(), 1.15),
        case("one of eight is 20 times slower", &[(600, 250)], 1, vec![(0.0, Start(1, 20)), (0.0, Start(7, 1))], 1.3),
        case(
            "eight, two from 8 s to 16 s, eight",
            &[(1_000, 250)],
            1,
            vec![(0.0, Start(8, 1)), (8.0, Stop(6)), (16.0, Start(6, 1))],
            1.2,
        ),
        case("seven join one, 10 ms a company", &[(15_000, 10)], 1, seven_more(), 1.15),
        case("seven join one, 5 s a company", &[(600, 5_000)], 1, seven_more(), 1.15),
        case("seven join one, 0.25 s, 4 threads each", &[(2_400, 250)], 4, seven_more(), 1.15),
        case("seven join one, 10 ms and then 1 s", &[(7_500, 10), (75, 1_000)], 1, seven_more(), 1.15),
        case("seven join one, 1 s and then 10 ms", &[(75, 1_000), (7_500, 10)], 1, seven_more(), 1.15),
    ]
}

pub fn run() {
    let asked = std::env::var("BENCH_CASE").unwrap_or_default();
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.name.contains(&asked)).collect();
    let ran: Vec<Ran> = cases.iter().map(Case::run).collect();
    report(&cases, &ran);
}

impl Case {
    fn run(&self) -> Ran {
        let fleet = Fleet::alone();
        let _aggregator = leading_aggregator(&fleet);
        let file = fleet.file("companies.csv", self.file());
        let mut steps = self.steps.iter().copied().peekable();
        let (mut consumers, mut stopping) = (Vec::new(), Vec::new());
        // Consumers that start at time 0 are ready before the clock starts.
        while let Some((_, step)) = steps.next_if(|(at, _)| *at == 0.0) {
            self.take(step, &fleet, &mut consumers, &mut stopping);
            consumers.iter().for_each(|consumer: &Process| consumer.wait_until_event("taking_work"));
        }
        let began = Instant::now();
        let mut producer = fleet.start_enqueue(&file, MODEL, JOB, &["--wait", "--output", "json"]);
        let mut taken = vec![];
        for (at, step) in steps {
            sleep((began + Duration::from_secs_f64(at)).saturating_duration_since(Instant::now()));
            taken.push((began.elapsed().as_secs_f64(), step));
            self.take(step, &fleet, &mut consumers, &mut stopping);
        }
        let done = producer.wait(DEADLINE).expect(0).json();
        let seconds = began.elapsed().as_secs_f64();
        let first = self.steps.iter().copied().filter(|(at, _)| *at == 0.0);
        let ideal = self.ideal(&first.chain(taken).collect::<Vec<_>>());
        let companies: u32 = self.companies.iter().map(|(companies, _)| companies).sum();
        let costs = ["succeeded", "failed", "retries", "duplicates"].map(|key| done[key].as_u64().unwrap());
        assert_eq!(costs, [companies.into(), 0, 0, 0], "{}: {done}", self.name);
        drop((consumers, stopping));
        delete_vhost(&fleet);
        Ran { seconds, ideal, done }
    }

    fn take(&self, step: Step, fleet: &Fleet, consumers: &mut Vec<Process>, stopping: &mut Vec<Process>) {
        match step {
            Step::Start(number, factor) => {
                let (threads, scorer) = (self.threads.to_string(), waits_for_each(factor));
                let arguments = ["--model", MODEL, "--scorer", &scorer, "--threads", &threads];
                consumers.extend((0..number).map(|_| fleet.program("consumer", &arguments)));
            }
            Step::Stop(number) => {
                let leaving = consumers.split_off(consumers.len() - number);
                leaving.iter().for_each(Process::terminate);
                stopping.extend(leaving);
            }
        }
    }

    fn file(&self) -> String {
        let mut file = "company_id,wait_ms\n".to_owned();
        let waits = self.companies.iter().flat_map(|&(companies, wait)| std::iter::repeat_n(wait, companies.try_into().unwrap()));
        for (index, wait) in waits.enumerate() {
            writeln!(file, "{index},{wait}").unwrap();
        }
        file
    }

    /// The shortest time in which the running consumers can do all the work.
    fn ideal(&self, steps: &[(f64, Step)]) -> f64 {
        let mut work: f64 = self.companies.iter().map(|&(companies, wait)| f64::from(companies) * f64::from(wait) / 1e3).sum();
        let mut speeds: Vec<f64> = Vec::new();
        let mut steps = steps.iter().peekable();
        let mut now = 0.0;
        loop {
            while let Some((_, step)) = steps.next_if(|(at, _)| *at <= now) {
                match *step {
                    Step::Start(number, factor) => {
                        speeds.extend(std::iter::repeat_n(f64::from(self.threads) / f64::from(factor), number));
                    }
                    Step::Stop(number) => speeds.truncate(speeds.len() - number),
                }
            }
            let speed: f64 = speeds.iter().sum();
            let next = steps.peek().map(|(at, _)| *at).filter(|at| speed * (at - now) < work);
            let Some(next) = next else { return now + work / speed };
            work -= speed * (next - now);
            now = next;
        }
    }
}

fn report(cases: &[Case], ran: &[Ran]) {
    print_head("Scale-out: consumers that come and go, beside the shortest time that is possible with them", &[]);
    let count = |ran: &Ran, key: &str| ran.done[key].to_string();
    let rows: Vec<Vec<String>> = cases
        .iter()
        .zip(ran)
        .map(|(case, ran)| {
            let times = [format!("{:.1}", ran.seconds), format!("{:.1}", ran.ideal), format!("{:.3}", ran.seconds / ran.ideal)];
            let costs = ["duplicates", "retries", "failed"].map(|key| count(ran, key));
            let verdict = if ran.seconds <= case.most * ran.ideal { "" } else { "MISSED" };
            [vec![case.name.to_owned()], times.to_vec(), vec![case.most.to_string()], costs.to_vec(), vec![verdict.to_owned()]]
                .concat()
        })
        .collect();
    table(&["case", "seconds", "ideal", "ratio", "at most", "duplicates", "retries", "failed", ""], &rows);
    let figures = cases.iter().zip(ran).map(|(case, ran)| {
        json!({ "case": case.name, "threads": case.threads, "seconds": ran.seconds, "ideal_seconds": ran.ideal,
            "ratio": ran.seconds / ran.ideal, "ratio_at_most": case.most, "duplicates": ran.done["duplicates"],
            "retries": ran.done["retries"], "failed": ran.done["failed"] })
    });
    write("scaleout", json!({ "scorer": "waits for each company in turn" }), Value::Array(figures.collect()));
}
