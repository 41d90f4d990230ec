//! Environment variables for flags: an empty one is an unset one.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;
use std::{env, process};

use clap::{Command, CommandFactory};
use rollcall_aggregator::cli::AggregatorArgs;
use rollcall_consumer::cli::ConsumerArgs;
use rollcall_consumer::commands::ConsumerCommand;
use rollcall_producer::cli::ProducerArgs;
use rollcall_shared::arguments::parse_from;
use rollcall_tests::Fleet;

/// Each command of the producer with its required arguments.
const PRODUCER: [&[&str]; 12] = [
    &["enqueue", "c.csv", "--model", "m"],
    &["status"],
    &["watch", "j"],
    &["score", "f", "--scorer", "bayes:n.bif", "--to", "r.csv"],
    &["results", "j"],
    &["failures", "j"],
    &["redrive", "j"],
    &["cancel", "j"],
    &["pause", "j"],
    &["resume", "j"],
    &["serve"],
    &["generate", "--companies", "1"],
];

/// The variables of a command and of its subcommands.
fn variables(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env());
    let own = own.map(|name| name.to_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
    command.get_subcommands().map(variables).fold(own, |all, below| &all | &below)
}

fn all_variables() -> BTreeSet<String> {
    [ProducerArgs::command(), ConsumerCommand::command(), AggregatorArgs::command()]
        .iter()
        .map(variables)
        .fold(BTreeSet::new(), |all, more| &all | &more)
}

#[test]
fn an_empty_variable_is_an_unset_one_for_every_flag_of_every_command() {
    let (command, variables) = (ProducerArgs::command(), all_variables());
    assert_eq!(command.get_subcommands().count(), PRODUCER.len(), "a command is not tried");
    assert!(variables.len() > 30, "{variables:?}");
    // This process must not change its own environment, so the test runs itself again with every variable empty.
    if variables.iter().any(|variable| env::var_os(variable).is_none_or(|value| !value.is_empty())) {
        let test = "scenarios::environment::an_empty_variable_is_an_unset_one_for_every_flag_of_every_command";
        let mut again = process::Command::new(env::current_exe().unwrap());
        let again = again.args(["--exact", test]).envs(variables.iter().map(|variable| (variable, ""))).output().unwrap();
        let said = String::from_utf8_lossy(&again.stdout);
        assert!(again.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    for arguments in PRODUCER {
        let parsed = parse_from::<ProducerArgs>(["producer"].iter().chain(arguments)).unwrap();
        assert!(parsed.broker.url().starts_with("amqp://"), "{parsed:?}");
    }
    let fleet = parse_from::<ConsumerCommand>(["consumer", "fleet", "--model", "m", "--scorer", "command:cat"]).unwrap();
    assert!(matches!(&fleet, ConsumerCommand::Fleet(fleet) if fleet.min == 0 && fleet.max.is_none()), "{fleet:?}");
    let consumer = parse_from::<ConsumerArgs>(["consumer", "--model", "m", "--scorer", "command:cat"]).unwrap();
    let aggregator = parse_from::<AggregatorArgs>(["aggregator"]).unwrap();
    assert_eq!((consumer.prefetch, aggregator.broker.prefix.as_str()), (512, "rollcall"));
    // An empty variable does not make a required argument optional.
    assert!(parse_from::<ConsumerArgs>(["consumer", "--scorer", "command:cat"]).is_err());
}

#[test]
fn the_programs_themselves_take_empty_variables_for_unset_ones() {
    let fleet = Fleet::fresh();
    fleet.file("c.csv", "company_id\na\n");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    // Each gets past its flags, and ends before it connects to a broker.
    let started: [(&str, &[&str], i32, &str); 3] = [
        ("producer", &["enqueue", "c.csv", "--model", "m", "--dry-run"], 0, ""),
        ("consumer", &["--model", "m", "--scorer", "bayes:no-such.bif"], 2, "no-such.bif"),
        ("aggregator", &["--metrics-addr", &taken], 2, "cannot listen"),
    ];
    for (program, arguments, code, words) in started {
        let mut command = fleet.program_command(program, arguments);
        command.current_dir(fleet.path("")).envs(all_variables().iter().map(|variable| (variable, "")));
        let ended = fleet.start(program, command).wait(Duration::from_secs(20)).expect(code);
        assert!(ended.stderr.contains(words), "{program}: {ended:?}");
    }
}

/// None of these commands connects to a broker.
#[test]
fn a_variable_yields_to_a_flag_that_it_conflicts_with_and_asks_for_none() {
    let fleet = Fleet::fresh();
    let refused = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = fleet.program_command("producer", &[arguments, &["--amqp-url", "none"]].concat());
        command.current_dir(fleet.path("")).envs(variables.iter().copied());
        fleet.start("producer", command).wait(Duration::from_secs(20)).expect(2).stderr
    };
    let results = ["results", "j"];
    for (variables, flags) in [
        (&[("ROLLCALL_TO_FORMAT", "csv")][..], &[][..]),
        (&[("ROLLCALL_SHOW", "5")], &["--to", "r.csv"]),
        (&[("ROLLCALL_TO", "r.csv")], &["--show", "5"]),
    ] {
        let said = refused(variables, &[&results, flags].concat());
        assert!(said.contains("amqp"), "{variables:?} {flags:?}: {said}");
    }
    // Between two flags, or two variables, there is no precedence.
    for (variables, flags) in
        [(&[][..], &["--show", "5", "--to", "r.csv"][..]), (&[("ROLLCALL_SHOW", "5"), ("ROLLCALL_TO", "r.csv")], &[])]
    {
        let said = refused(variables, &[&results, flags].concat());
        assert!(said.contains("cannot be used with"), "{variables:?} {flags:?}: {said}");
    }
    assert!(refused(&[], &["results", "j", "--format", "csv"]).contains("--to"));
}
