//! Reads a process's flags, and the environment variables that stand for them.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::{env, process};

use anstream::{AutoStream, ColorChoice};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Id, Parser};

use crate::terminal::{Stderr, flush_stderr};

/// What the process was started with; where that cannot be, it ends with an error, or with the help that was asked for.
pub fn parse<A: Parser>() -> A {
    parse_from(env::args_os()).unwrap_or_else(|error| refuse(&error))
}

/// Ends the process with an error, which waits for its reader no longer than any other, or with the help that was asked for.
fn refuse(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let in_colour = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let message = if in_colour { error.render().ansi().to_string() } else { error.render().to_string() };
    drop(Stderr.write_all(message.as_bytes()));
    flush_stderr();
    process::exit(error.exit_code())
}

/// What `arguments`, the program's name first, and the environment say. A variable that is empty is one that is not set: a
/// script or a manifest has no other way to unset what it has inherited.
///
/// # Errors
/// Where they do not say what `A` needs, or ask for help.
pub fn parse_from<A: Parser>(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<A, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let mut command = without_empty_variables(A::command());
    let mut matches =
        command.try_get_matches_from_mut(&arguments).or_else(|error| without_overruled(&command, &arguments).ok_or(error))?;
    A::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// What `arguments` say where they conflict with a variable: that is a default for many commands, and yields to what is asked for
/// here. Nothing where there is another fault.
fn without_overruled(command: &Command, arguments: &[OsString]) -> Option<ArgMatches> {
    let matches = without_conflicting_variables(command.clone()).try_get_matches_from(arguments).ok()?;
    let (mut command, mut given) = (command, &matches);
    while let Some((name, below)) = given.subcommand() {
        (command, given) = (command.find_subcommand(name)?, below);
    }
    let is_asked_for = |id: &Id| given.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    in_conflicts(command).iter().any(is_asked_for).then(|| matches.clone())
}

fn without_conflicting_variables(command: Command) -> Command {
    let ids = in_conflicts(&command);
    let command = command.mut_args(|arg| if ids.contains(arg.get_id()) { arg.env(None::<&str>) } else { arg });
    command.mut_subcommands(without_conflicting_variables)
}

/// The flags of a command that conflict with others of it.
fn in_conflicts(command: &Command) -> Vec<Id> {
    let conflicts = |arg| command.get_arg_conflicts_with(arg);
    let with_others = command.get_arguments().filter(|arg| !conflicts(arg).is_empty());
    with_others.flat_map(|arg| [arg].into_iter().chain(conflicts(arg))).map(|arg| arg.get_id().clone()).collect()
}

fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
    command.mut_args(|arg| if is_empty(&arg) { arg.env(None::<&str>) } else { arg }).mut_subcommands(without_empty_variables)
}
