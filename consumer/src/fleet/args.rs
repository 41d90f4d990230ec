//! The fleet's flags, and the command lines of its consumers.

use std::ffi::OsString;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use rollcall_shared::duration::parse_positive;

use crate::cli::ConsumerArgs;
use crate::error::ConsumerError;

const SCALING: &str = "Scaling";

/// A consumer that runs alone has one thread per core.
const THREADS_HELP: &str = "Threads of each consumer that score, each with a scorer of its own [default: 1]";

/// Run as many consumers on this machine as the work that is left needs: from none, up to --max, and back
///
/// A consumer that is not needed any more finishes what it is scoring; one that dies is started again. Each scores with one thread, unless
/// --threads says otherwise. With --metrics-addr, the fleet serves on that port, and consumer number N on that port plus N: the ports after
/// it, as many as --max, and one more for each consumer that is still stopping and for each of them that another program has.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "fleet",
    mut_arg("threads", |threads| threads.help(THREADS_HELP)),
    after_help = "Examples:
  consumer fleet --model risk --scorer bayes:network.bif
  consumer fleet --min 1 --max 16 --target 2m --model risk --scorer \"command:python3 score.py\""
)]
pub struct FleetArgs {
    /// Consumers at least, whether there is work or not
    #[arg(long, env = "ROLLCALL_MIN", default_value_t = 0, help_heading = SCALING)]
    pub min: u16,
    /// Consumers at most; fleets on several machines do not know of each other, and each starts what --target needs
    /// [default: as many as there are cores for their threads]
    #[arg(long, env = "ROLLCALL_MAX", value_parser = clap::value_parser!(u16).range(1..), help_heading = SCALING)]
    pub max: Option<u16>,
    /// Within what time the work that is left is to be finished: less starts more consumers
    #[arg(long, env = "ROLLCALL_TARGET", default_value = "30s", value_parser = parse_positive, help_heading = SCALING)]
    pub target: Duration,
    /// How long consumers are kept after the last work; while work is left, one that is not needed is kept for --target at least. What it
    /// cannot finish within --grace is scored again elsewhere: choose --grace longer than a score takes
    #[arg(long, env = "ROLLCALL_IDLE", default_value = "30s", value_parser = parse_positive, help_heading = SCALING)]
    pub idle: Duration,
    /// Check the flags and the scorer, without a broker; the exit code says whether consumers would start
    #[arg(long, hide = true, help_heading = SCALING)]
    pub check_only: bool,
    /// What each consumer does.
    #[command(flatten)]
    pub consumer: ConsumerArgs,
    /// The flags of each consumer, as they were given.
    #[arg(skip)]
    pub(super) consumer_flags: Vec<OsString>,
}

impl FleetArgs {
    /// Reads them from what clap has parsed, with the flags of its consumers.
    ///
    /// # Errors
    /// As clap.
    pub(crate) fn read(matches: &mut ArgMatches) -> Result<FleetArgs, clap::Error> {
        let consumer_flags = consumer_flags(matches);
        Ok(FleetArgs { consumer_flags, ..FleetArgs::from_arg_matches_mut(matches)? })
    }

    /// Scoring threads of each consumer.
    pub(super) fn threads(&self) -> u16 {
        self.consumer.threads.unwrap_or(1)
    }

    /// Consumers at most.
    pub(super) fn max(&self) -> u16 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let fitting = u16::try_from(cores).unwrap_or(u16::MAX) / self.threads();
        self.max.unwrap_or(fitting.max(self.min).max(1))
    }

    /// Checks `--min` and the ports of the metrics against `--max`.
    ///
    /// # Errors
    /// There would have to be more consumers than there may be, or than there are ports.
    pub(super) fn check_bounds(&self) -> Result<(), ConsumerError> {
        let (min, max) = (self.min, self.max());
        let port = self.consumer.metrics.metrics_addr.map_or(0, |address| address.port());
        if min > max {
            let message = format!("expected --min of at most --max, found --min {min} and --max {max}; raise --max");
            return Err(ConsumerError::Usage(message));
        }
        if port.checked_add(max).is_none() {
            return Err(ConsumerError::Usage(format!(
                "expected --metrics-addr with {max} ports after it, one for each consumer, found port {port}; choose a lower one"
            )));
        }
        Ok(())
    }
}

/// The flags of the consumer in a command line, without those that each consumer has differently and without the broker's URL: everybody on
/// the machine can read a command line, and the URL has a password.
fn consumer_flags(matches: &ArgMatches) -> Vec<OsString> {
    const OWN: [&str; 5] = ["amqp_url", "metrics_addr", "stop_at_end_of_input", "threads", "fleet_number"];
    let mut flags = Vec::new();
    for flag in ConsumerArgs::command().get_arguments() {
        let id = flag.get_id().as_str();
        let Some(name) = flag.get_long().filter(|_| !OWN.contains(&id)) else { continue };
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        if !flag.get_action().takes_values() {
            flags.push(format!("--{name}").into());
            continue;
        }
        for value in matches.get_raw(id).into_iter().flatten() {
            let mut flag = OsString::from(format!("--{name}="));
            flag.push(value);
            flags.push(flag);
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use rollcall_shared::message::DEFAULT_TARGET;

    use super::*;

    fn read(arguments: &[&str]) -> FleetArgs {
        let least = ["fleet", "--model", "m", "--scorer", "command:cat"];
        let mut matches = FleetArgs::command().try_get_matches_from(least.iter().chain(arguments)).unwrap();
        FleetArgs::read(&mut matches).unwrap()
    }

    #[test]
    fn a_consumer_gets_the_flags_that_the_fleet_was_given_and_not_the_fleets_own() {
        let args =
            read(&["--min", "1", "--max=3", "--idle", "5s", "--distributions", "--hold", "1d", "--metrics-addr", "[::1]:9"]);
        let flags: Vec<_> = args.consumer_flags.iter().map(|flag| flag.to_str().unwrap()).collect();
        assert_eq!(flags, ["--model=m", "--scorer=command:cat", "--distributions", "--hold=1d"]);
        assert!(args.check_bounds().is_ok());
    }

    #[test]
    fn a_fleet_that_must_have_more_consumers_than_it_may_is_refused() {
        let refused = read(&["--min", "4", "--max", "3"]).check_bounds().unwrap_err().to_string();
        assert!(refused.contains("--min 4 and --max 3"), "{refused}");
        let args = read(&["--min", "500"]);
        assert_eq!((args.max(), args.threads(), args.target), (500, 1, DEFAULT_TARGET));
    }

    #[test]
    fn a_fleet_whose_consumers_would_have_no_ports_for_their_metrics_is_refused() {
        let refused = read(&["--max", "10", "--metrics-addr", "[::1]:65526"]).check_bounds().unwrap_err().to_string();
        assert!(refused.contains("10 ports after it") && refused.contains("65526"), "{refused}");
        assert!(read(&["--max", "10", "--metrics-addr", "[::1]:65525"]).check_bounds().is_ok());
    }

    #[test]
    fn the_help_of_a_fleet_says_how_many_threads_each_consumer_has() {
        let help = FleetArgs::command().render_long_help().to_string();
        assert!(help.contains("scorer of its own [default: 1]") && !help.contains("one per core"), "{help}");
    }
}
