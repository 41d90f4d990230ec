//! Reads a process's flags, and the environment variables that stand for them.

use std::env;
use std::ffi::OsString;

use clap::{Arg, Command, Parser};

/// What the process was started with; where that cannot be, it ends with an error, or with the help that was asked for.
pub fn parse<A: Parser>() -> A {
    parse_from(env::args_os()).unwrap_or_else(|error| error.exit())
}

/// What `arguments`, the program's name first, and the environment say. A variable that is empty is one that is not set: a
/// script or a manifest has no other way to unset what it has inherited.
///
/// # Errors
/// Where they do not say what `A` needs, or ask for help.
pub fn parse_from<A: Parser>(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<A, clap::Error> {
    let mut command = without_empty_variables(A::command());
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    A::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
    command.mut_args(|arg| if is_empty(&arg) { arg.env(None::<&str>) } else { arg }).mut_subcommands(without_empty_variables)
}
