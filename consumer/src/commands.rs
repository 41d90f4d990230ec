//! The consumer's commands: without one it scores; `fleet` runs consumers; `healthcheck` asks a running one whether it is ready.

use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser};
use rollcall_shared::telemetry::HealthcheckArgs;

use crate::cli::ConsumerArgs;
use crate::fleet::args::FleetArgs;

const HEALTHCHECK: &str = "healthcheck";

/// What the program does: it is a consumer, unless a command says otherwise.
#[derive(Debug, Clone)]
pub enum ConsumerCommand {
    /// A consumer.
    Consume(ConsumerArgs),
    /// Consumers, as many as the work needs.
    Fleet(FleetArgs),
    /// Whether a consumer or a fleet is ready.
    Healthcheck(HealthcheckArgs),
}

impl CommandFactory for ConsumerCommand {
    fn command() -> Command {
        let healthcheck = HealthcheckArgs::augment_args(Command::new(HEALTHCHECK))
            .about("Ask the consumer or fleet that serves on --metrics-addr whether it is ready; the exit code says so")
            .after_help("Example:\n  consumer healthcheck --metrics-addr 0.0.0.0:9464");
        let commands = [FleetArgs::command(), healthcheck];
        ConsumerArgs::command().subcommands(commands).subcommand_negates_reqs(true).args_conflicts_with_subcommands(true)
    }

    fn command_for_update() -> Command {
        ConsumerCommand::command()
    }
}

impl FromArgMatches for ConsumerCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<ConsumerCommand, clap::Error> {
        ConsumerCommand::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<ConsumerCommand, clap::Error> {
        Ok(match matches.remove_subcommand() {
            None => ConsumerCommand::Consume(ConsumerArgs::from_arg_matches_mut(matches)?),
            Some((name, mut healthcheck)) if name == HEALTHCHECK => {
                ConsumerCommand::Healthcheck(HealthcheckArgs::from_arg_matches_mut(&mut healthcheck)?)
            }
            Some((_, mut fleet)) => ConsumerCommand::Fleet(FleetArgs::read(&mut fleet)?),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = ConsumerCommand::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Parser for ConsumerCommand {}
