//! What three replicas cost: the same job on one node and on a cluster of three, all on this machine.
//!
//! `make bench-cluster`: the two in turn, each with brokers of its own. The three nodes share the cores with everything else, so that this
//! says what replication costs, and not what a cluster of three machines can do.

use rollcall_tests::{Broker, Cluster, Fleet};
use serde_json::json;

use crate::job::{Consumers, Job, companies_file};
use crate::report::{Size, median, print_head, table, write};
use crate::scorers::costs_nothing;

const COMPANIES: u32 = 100_000;
const ROUNDS: usize = 3;

pub fn run() {
    let size = Size::from_environment(COMPANIES);
    let rates: Vec<[f64; 2]> = (0..ROUNDS).map(|_| [on_one_node(size), on_three_nodes(size)]).collect();
    report(size, &rates);
}

fn on_one_node(size: Size) -> f64 {
    let broker = Broker::private().unwrap();
    rate(&Fleet::on(&broker), size)
}

fn on_three_nodes(size: Size) -> f64 {
    let cluster = Cluster::of_three().unwrap();
    rate(&Fleet::on(&cluster[0]), size)
}

fn rate(fleet: &Fleet, size: Size) -> f64 {
    let file = companies_file(fleet, size.companies);
    let consumers = Consumers::new(1, &costs_nothing(fleet), &["--particles", "1", "--threads", "1", "--allow-no-evidence"]);
    Job::run(fleet, &consumers, &file, size.companies).companies_per_second()
}

fn report(size: Size, rates: &[[f64; 2]]) {
    let setting = format!("{}; one consumer, one scoring thread, a scorer that costs nothing", size.in_words());
    print_head("Cluster: one node and three", &[setting]);
    let row = |name: String, [one, three]: [f64; 2]| {
        vec![name, format!("{one:.0}"), format!("{three:.0}"), format!("{:.2}", three / one)]
    };
    let medians = [0, 1].map(|at: usize| median(&rates.iter().map(|round| round[at]).collect::<Vec<_>>()));
    let mut rows: Vec<_> = (1..).zip(rates).map(|(number, rates): (u32, _)| row(number.to_string(), *rates)).collect();
    rows.push(row("median".to_owned(), medians));
    table(&["round", "one node, companies/s", "three nodes, companies/s", "three / one"], &rows);
    let settings = json!({ "companies": size.companies, "full_size": size.is_full(), "rounds": ROUNDS });
    write("cluster", settings, json!({ "median": { "one_node": medians[0], "three_nodes": medians[1] }, "rounds": rates }));
}
