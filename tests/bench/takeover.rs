//! How long no aggregator counts after the leader is killed, with a long ledger behind it.
//!
//! `make bench-takeover COMPANIES=1000000`: from kill -9 until the standby has read the ledger up to its own marker and
//! reports an offset beyond its predecessor's last. An aggregator reports its offset when it starts to count, and then once a
//! second. Three takeovers in one job, to see how much they vary.

use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, within};
use serde_json::json;

use crate::aggregator::Aggregator;
use crate::report::{Size, print_head, table, write};

const COMPANIES: u32 = 1_000_000;

const TAKEOVERS: u32 = 3;

/// Companies beyond those that must be in the ledger, so that some are left to count at each takeover.
const BEYOND: u32 = 50_000;

const DEADLINE: Duration = Duration::from_secs(1_800);

pub fn run() {
    let size = Size::from_environment(COMPANIES);
    let fleet = Fleet::alone();
    let (mut active, mut standby) = (Aggregator::start(&fleet), Aggregator::start(&fleet));
    within(DEADLINE, "one of them counts", || (active.counts() || standby.counts()).then_some(()));
    if standby.counts() {
        std::mem::swap(&mut active, &mut standby);
    }
    let rows: String = (0..size.companies + TAKEOVERS * BEYOND).map(|row| format!("{row}\n")).collect();
    let file = fleet.file("companies.csv", format!("company_id\n{rows}"));
    let network = "bayes:consumer/score/src/bayes/asia.bif";
    let _consumer = fleet.consumer("m", network, &["--particles", "1", "--threads", "1", "--allow-no-evidence"]);
    let _producer = fleet.start_enqueue(&file, "m", "j", &[]);
    let mut takeovers = Vec::new();
    for takeover in 0..TAKEOVERS {
        within(DEADLINE, "the ledger is long enough", || {
            (offset(&active) > f64::from(size.companies + takeover * BEYOND)).then_some(())
        });
        let next = Aggregator::start(&fleet);
        let reported = offset(&active);
        active.process.kill_9();
        let killed = Instant::now();
        within(DEADLINE, "the standby counts on", || (standby.counts() && offset(&standby) > reported).then_some(()));
        takeovers.push((reported, killed.elapsed().as_secs_f64()));
        active = std::mem::replace(&mut standby, next);
    }
    report(size, &takeovers);
}

fn report(size: Size, takeovers: &[(f64, f64)]) {
    let counts_on = "a standby counts on when it has read the ledger up to its own marker, and reports an offset beyond the last that \
        its predecessor reported; aggregators report it as soon as they count, and then once a second";
    let title = "Takeover: the aggregator that counts is killed, and a standby counts on";
    print_head(title, &[size.in_words(), counts_on.to_owned()]);
    let rows: Vec<_> = takeovers.iter().map(|(reported, seconds)| vec![format!("{reported}"), format!("{seconds:.2}")]).collect();
    table(&["last reported offset", "seconds from kill -9 until the standby counts on"], &rows);
    let each = takeovers
        .iter()
        .map(|(reported, seconds)| json!({ "offset_told_last": reported, "seconds_until_the_standby_counts_on": seconds }));
    let settings = json!({ "companies": size.companies, "full_size": size.is_full(), "takeovers": takeovers.len() });
    write("takeover", settings, json!({ "takeovers": each.collect::<Vec<_>>() }));
}

/// The ledger offset up to which it has counted; nearly all records of this ledger are results.
fn offset(aggregator: &Aggregator) -> f64 {
    aggregator.metric("rollcall_ledger_offset")
}
