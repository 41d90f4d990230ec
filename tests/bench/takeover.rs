//! How long nobody counts when the aggregator that counts is killed, with a long ledger behind it.
//!
//! `make bench-takeover COMPANIES=1000000`: from kill -9 to the standby's first counted result that its predecessor had not
//! counted. Three times in one job, since one time says little.

#![expect(clippy::unwrap_used, reason = "in a benchmark, the unexpected ends it")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, Process, free_address, metrics, value, within};

const TAKEOVERS: u32 = 3;

/// Companies beyond those that are to be in the ledger: something must be left to count at each takeover.
const BEYOND: u32 = 50_000;

const PATIENCE: Duration = Duration::from_secs(1_800);

fn main() {
    let Some(companies) = std::env::var("BENCH_COMPANIES").ok().filter(|text| !text.is_empty()) else {
        return println!("takeover: not asked for; run it by `make bench-takeover`");
    };
    let companies: u32 = companies.parse().unwrap();
    let fleet = Fleet::fresh();
    let (mut active, mut standby) = (Counting::start(&fleet), Counting::start(&fleet));
    within(PATIENCE, "one of them counts", || (active.counts() || standby.counts()).then_some(()));
    if standby.counts() {
        std::mem::swap(&mut active, &mut standby);
    }
    let rows: String = (0..companies + TAKEOVERS * BEYOND).map(|row| format!("{row}\n")).collect();
    let file = fleet.file("companies.csv", format!("company_id\n{rows}"));
    let network = "bayes:consumer/src/score/bayes/asia.bif";
    let _consumer = fleet.consumer("m", network, &["--particles", "1", "--threads", "1"]);
    let _producer = fleet.start_enqueue(&file, "m", "j", &[]);
    println!("results in the ledger  seconds from kill -9 to the next counted result");
    for takeover in 0..TAKEOVERS {
        within(PATIENCE, "the ledger is long enough", || {
            (active.offset() > f64::from(companies + takeover * BEYOND)).then_some(())
        });
        let next = Counting::start(&fleet);
        let counted = active.offset();
        active.process.kill_9();
        let killed = Instant::now();
        within(PATIENCE, "the standby counts", || (standby.counts() && standby.offset() > counted).then_some(()));
        println!("{counted:>21}  {:.2}", killed.elapsed().as_secs_f64());
        active = std::mem::replace(&mut standby, next);
    }
}

/// An aggregator and where it tells how far it is.
struct Counting {
    process: Process,
    address: SocketAddr,
}

impl Counting {
    fn start(fleet: &Fleet) -> Counting {
        let address = free_address();
        let process = fleet.aggregator(&["--metrics-addr", &address.to_string()]);
        process.wait_until_it_says("waiting for the baton");
        Counting { process, address }
    }

    fn counts(&self) -> bool {
        value(&metrics(self.address), "rollcall_aggregator_active") == Some(1.0)
    }

    /// The ledger's offset up to which it has counted. There is little in the ledger but results.
    fn offset(&self) -> f64 {
        value(&metrics(self.address), "rollcall_ledger_offset").unwrap_or(0.0)
    }
}
