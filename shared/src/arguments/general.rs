//! The flags that every program has beside its own: help, version, shell completions and man pages.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command, value_parser};
pub use clap_complete::Shell;

use crate::terminal::{flush_stderr, to_stderr};

const HEADING: &str = "General";
const COMPLETIONS: &str = "completions";
const MAN: &str = "man";

/// What a process prints in place of its work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Completions(Shell),
    ManPages(PathBuf),
}

/// A program's command with the flags that every program has.
pub fn with_general_flags(command: Command) -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).help_heading(HEADING);
    command.disable_help_flag(true).disable_version_flag(true).args([
        flag("help").short('h').action(ArgAction::Help).global(true).help("Print help"),
        flag("version").short('V').action(ArgAction::Version).help("Print version"),
        flag(COMPLETIONS)
            .value_name("SHELL")
            .value_parser(value_parser!(Shell))
            .exclusive(true)
            .help("Print a completion script for a shell"),
        flag(MAN)
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .exclusive(true)
            .help("Write a man page of each command into this folder"),
    ])
}

/// What `arguments` ask for in place of the program's work; `None` if they are to be parsed as usual.
pub(super) fn request(command: Command, arguments: &[OsString]) -> Option<Request> {
    // Required flags and commands may be missing, and a variable that stands for a flag must not conflict.
    let command = with_general_flags(command).subcommand_required(false).mut_args(|arg| arg.env(None::<&str>));
    let mut matches = command.try_get_matches_from(arguments).ok()?;
    let man_pages = matches.remove_one(MAN).map(Request::ManPages);
    matches.remove_one(COMPLETIONS).map(Request::Completions).or(man_pages)
}

/// Does what is asked for; returns the process's exit code.
pub(super) fn serve(command: Command, request: &Request) -> i32 {
    let served = match request {
        Request::Completions(shell) => io::stdout().write_all(&completions(command, *shell)),
        Request::ManPages(folder) => write_man_pages(command, folder),
    };
    match served {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            to_stderr(format_args!(
                "error: cannot write completions or man pages: {error}; check the path and the room on its disk"
            ));
            flush_stderr();
            1
        }
        _ => 0,
    }
}

/// A completion script of a program for `shell`.
pub fn completions(command: Command, shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut with_general_flags(command), name, &mut script);
    script
}

/// Writes a man page for a program and for each of its commands into `folder`, which is made if need be.
///
/// # Errors
/// If the file system refuses.
pub fn write_man_pages(command: Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(with_general_flags(command), folder)
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    fn asked(arguments: &[&str]) -> Option<Request> {
        let job = Arg::new("job").required(true);
        let broker = Arg::new("broker").long("broker").env("PATH");
        let command =
            Command::new("p").version("1").subcommand_required(true).arg(broker).subcommand(Command::new("watch").arg(job));
        let arguments: Vec<OsString> = iter::once("p").chain(arguments.iter().copied()).map(OsString::from).collect();
        request(command, &arguments)
    }

    #[test]
    fn completions_and_man_pages_need_no_other_flag_and_take_none() {
        assert_eq!(asked(&["--completions", "bash"]), Some(Request::Completions(Shell::Bash)));
        assert_eq!(asked(&["--man", "d"]), Some(Request::ManPages("d".into())));
        for other in [&[][..], &["--completions", "tcsh"], &["watch", "j"], &["--man", "d", "--broker", "b"]] {
            assert_eq!(asked(other), None, "{other:?}");
        }
    }
}
