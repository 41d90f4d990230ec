//! Parses the flags of a process, and the environment variables that replace them.

mod general;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::{env, process};

use anstream::{AutoStream, ColorChoice};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Id, Parser};

use crate::terminal::{Stderr, flush_stderr};
pub use general::{Shell, completions, with_general_flags, write_man_pages};

/// Parses the arguments of this process. On an error, and for `--help`, it prints the message and ends the process.
pub fn parse<A: Parser>() -> A {
    let arguments: Vec<OsString> = env::args_os().collect();
    if let Some(request) = general::request(A::command(), &arguments) {
        process::exit(general::serve(A::command(), &request));
    }
    parse_from(arguments).unwrap_or_else(|error| exit_with(&error))
}

/// Ends the process with an error or with the requested help. The error is written without waiting long for its reader, without AMQP URLs,
/// and without what may be secret in others: one in the wrong place may contain a password or a signature.
fn exit_with(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let in_colour = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let message = if in_colour { error.render().ansi().to_string() } else { error.render().to_string() };
    let values = env::args_os().chain(env::vars_os().map(|(_, value)| value));
    let values: Vec<String> = values.map(|value| value.to_string_lossy().into_owned()).collect();
    drop(Stderr.write_all(without_secrets(&without_urls(&message, &values), &values).as_bytes()));
    flush_stderr();
    process::exit(error.exit_code())
}

/// `text` without the AMQP URLs in `values`, each from its scheme to the end of the value.
fn without_urls(text: &str, values: &[String]) -> String {
    let url_in = |value: &str| {
        let lower = value.to_ascii_lowercase();
        let at = ["amqp:", "amqps:"].iter().filter_map(|scheme| lower.find(scheme)).min()?;
        value.get(at..).map(str::to_owned)
    };
    let mut urls: Vec<String> = values.iter().filter_map(|value| url_in(value)).collect();
    // Each also as Rust quotes it; the longest first, since one may be a prefix of another.
    urls.extend(urls.clone().iter().map(|url| format!("{url:?}").trim_matches('"').to_owned()));
    urls.sort_by_key(|url| std::cmp::Reverse(url.len()));
    urls.iter().fold(text.to_owned(), |text, url| text.replace(url.as_str(), "amqp://***"))
}

/// `text` without user, password and query of the URLs in `values`.
fn without_secrets(text: &str, values: &[String]) -> String {
    let secrets = values.iter().filter_map(|value| value.split_once("://")).flat_map(|(_, rest)| {
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        [address.rsplit_once('@').map_or("", |(user, _)| user), query]
    });
    let mut secrets: Vec<&str> = secrets.filter(|secret| !secret.is_empty()).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

/// Parses `arguments`, the program's name first, and the environment. An empty variable counts as unset: scripts and manifests have no
/// other way to unset an inherited one.
///
/// # Errors
/// If they are not valid for `A`, or ask for help.
pub fn parse_from<A: Parser>(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<A, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let mut command = without_empty_variables(with_general_flags(A::command()));
    let mut matches =
        command.try_get_matches_from_mut(&arguments).or_else(|error| without_overridden(&command, &arguments).ok_or(error))?;
    A::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Parses `arguments` without the variables that conflict with them: a variable is a default for many commands, and a flag overrides it.
/// `None` if the arguments have another error.
fn without_overridden(command: &Command, arguments: &[OsString]) -> Option<ArgMatches> {
    let matches = without_conflicting_variables(command.clone()).try_get_matches_from(arguments).ok()?;
    let (mut command, mut used) = (command, &matches);
    while let Some((name, below)) = used.subcommand() {
        (command, used) = (command.find_subcommand(name)?, below);
    }
    let is_flag = |id: &Id| used.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    in_conflicts(command).iter().any(is_flag).then(|| matches.clone())
}

fn without_conflicting_variables(command: Command) -> Command {
    let ids = in_conflicts(&command);
    let command = command.mut_args(|arg| if ids.contains(arg.get_id()) { arg.env(None::<&str>) } else { arg });
    command.mut_subcommands(without_conflicting_variables)
}

/// The flags of a command that conflict with another flag of it.
fn in_conflicts(command: &Command) -> Vec<Id> {
    let conflicts = |arg| command.get_arg_conflicts_with(arg);
    let with_others = command.get_arguments().filter(|arg| !conflicts(arg).is_empty());
    with_others.flat_map(|arg| [arg].into_iter().chain(conflicts(arg))).map(|arg| arg.get_id().clone()).collect()
}

fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
    command.mut_args(|arg| if is_empty(&arg) { arg.env(None::<&str>) } else { arg }).mut_subcommands(without_empty_variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_broker_is_not_shown_wherever_it_was_given() {
        for (value, text) in [
            ("amqp://ann:secret@broker", "unrecognized subcommand 'amqp://ann:secret@broker'"),
            ("--job=AMQPS://ann:secret@broker/v", "invalid value 'AMQPS://ann:secret@broker/v' for '--job <JOB>'"),
            ("amqp://ann:se cret\"s@broker", r#"expected a name, found "amqp://ann:se cret\"s@broker""#),
            ("x amqp:ann:secret", "unexpected argument 'x amqp:ann:secret'"),
        ] {
            let shown = without_urls(text, &["producer".to_owned(), "amqp://".to_owned(), value.to_owned()]);
            assert!(!shown.contains("cret") && shown.contains("amqp://***"), "{shown}");
        }
        assert_eq!(without_urls("no such flag", &["producer".to_owned()]), "no such flag");
    }

    #[test]
    fn of_any_other_url_the_user_the_password_and_the_query_are_not_shown() {
        for (value, shown) in [
            ("https://ann:secret@host/x.csv?sig=secret", "invalid value 'https://***@host/x.csv?***'"),
            ("--to=s3://key:secret@bucket/x", "invalid value '--to=s3://***@bucket/x'"),
            ("https://host/a@b.csv", "invalid value 'https://***@b.csv'"),
            ("s3://bucket/x.csv", "invalid value 's3://bucket/x.csv'"),
        ] {
            let text = format!("invalid value '{value}'");
            assert_eq!(without_secrets(&text, &["producer".to_owned(), value.to_owned()]), shown);
        }
    }
}
