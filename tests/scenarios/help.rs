//! What the programs say about themselves: help, completion scripts and man pages. No test here needs a broker.

use clap::{Command, CommandFactory};
use rollcall_aggregator::cli::AggregatorArgs;
use rollcall_consumer::commands::ConsumerCommand;
use rollcall_producer::cli::ProducerArgs;
use rollcall_shared::arguments::{Shell, completions, with_general_flags, write_man_pages};

fn programs() -> [Command; 3] {
    [ProducerArgs::command(), ConsumerCommand::command(), AggregatorArgs::command()]
}

/// A program's command and those below it.
fn commands(program: Command) -> Vec<Command> {
    let mut program = with_general_flags(program);
    program.build();
    let below: Vec<Command> = program.get_subcommands().filter(|command| command.get_name() != "help").cloned().collect();
    below.into_iter().chain([program]).collect()
}

#[test]
fn every_program_has_a_completion_script_for_every_shell() {
    for program in programs() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let name = program.get_name().to_owned();
            let script = String::from_utf8(completions(program.clone(), shell)).unwrap();
            assert!(script.contains(&name) && script.contains("amqp-url"), "{name} {shell}: {script}");
        }
    }
}

#[test]
fn every_command_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    for program in programs() {
        write_man_pages(program.clone(), folder.path()).unwrap();
        let name = program.get_name();
        let below = program.get_subcommands().map(|command| format!("{name}-{}", command.get_name()));
        for page in below.chain([name.to_owned()]) {
            let text = std::fs::read_to_string(folder.path().join(format!("{page}.1"))).unwrap();
            assert!(text.contains(".SH GENERAL") && text.contains("Example"), "{page}: {text}");
        }
    }
}

#[test]
fn every_command_has_an_example_and_every_flag_a_heading() {
    for mut command in programs().into_iter().flat_map(commands) {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{help}");
        for flag in command.get_arguments().filter(|flag| !flag.is_positional()) {
            assert!(flag.get_help_heading().is_some(), "{} --{}", command.get_name(), flag.get_id());
        }
    }
}
