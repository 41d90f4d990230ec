//! Starts a scorer's program so that it does not outlive the consumer, not even one that hangs and a consumer that is killed.
//!
//! The kernel kills a child when its parent dies, if the child has asked for that itself, after its start and before the scorer's
//! program is in its place. So the consumer's own executable is started once more: it asks, and becomes the scorer's program
//! ([`launch`]). What that program starts in its turn is the guard's to end (`guard.rs`).

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::{env, fs, io, thread};

use super::guard;

/// The first argument that makes a launcher of the consumer. It is not a flag, and no argument of the consumer's comes without.
const LAUNCH: &str = "launch-scorer";

/// The executable whose `main` calls [`launch`] first.
#[derive(Debug, Clone, Copy)]
pub struct Launcher {
    executable: &'static str,
}

impl Launcher {
    /// The consumer's own executable, for the consumer only: that of a test would run its tests. None where the operating
    /// system lets no process die with its parent.
    pub fn of_consumer() -> Option<Launcher> {
        // By this name it is found even where a newer one has taken its place on disk.
        cfg!(target_os = "linux").then_some(Launcher { executable: "/proc/self/exe" })
    }

    /// Its executable, with a first argument that says what it is to do.
    pub(super) fn itself(self, word: &str) -> Command {
        let mut command = Command::new(self.executable);
        command.arg0("consumer").arg(word);
        command
    }

    fn command(self, words: &[String]) -> Command {
        let mut command = self.itself(LAUNCH);
        command.arg(std::process::id().to_string()).args(words);
        command
    }
}

/// The command that starts `words[0]` with the arguments after it; by itself where there is no launcher.
///
/// # Errors
/// Where there is no such program. A launcher would find that out too late to say it at once.
pub(super) fn command(words: &[String], launcher: Option<Launcher>) -> io::Result<Command> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    find(program)?;
    Ok(launcher.map_or_else(
        || {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        },
        |launcher| launcher.command(words),
    ))
}

/// Looks for a program where the operating system will.
fn find(program: &str) -> io::Result<()> {
    if program.contains('/') {
        return check(Path::new(program));
    }
    let Some(folders) = env::var_os("PATH") else {
        return Ok(());
    };
    let mut found = Err(io::ErrorKind::NotFound.into());
    for folder in env::split_paths(&folders) {
        match check(&folder.join(program)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found = Err(error),
            Err(_) => {}
        }
    }
    found
}

fn check(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    const EXECUTABLE: u32 = 0o111;
    let found = fs::metadata(path)?;
    if found.is_file() && found.permissions().mode() & EXECUTABLE != 0 {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// Starts a process from a thread that lives as long as this process: what the kernel takes for the death of a parent is that
/// of the thread which started the child.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    type Request = (Command, Sender<io::Result<Child>>);
    static STARTER: LazyLock<Sender<Request>> = LazyLock::new(|| {
        let (requests, to_start) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, started) in to_start {
                // Nobody who asks goes away before the answer.
                drop(started.send(command.spawn()));
            }
        });
        requests
    });
    let gone = || io::Error::other("the thread that starts scorers is gone");
    let (answer, started) = channel();
    STARTER.send((command, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

/// Lets a launcher go on to the scorer's program.
pub(super) fn release(stdin: &mut ChildStdin) -> io::Result<()> {
    stdin.write_all(&[GO])
}

/// What a launcher waits for. What comes behind it is for the scorer's program.
const GO: u8 = b'\n';

/// What `main` does first: where `arguments`, the first of them after the program's name, ask for a launcher, this process
/// becomes the scorer's program, or ends. Returns None where they don't, and why where it cannot.
pub fn launch(mut arguments: impl Iterator<Item = OsString>) -> Option<String> {
    let word = arguments.next()?;
    if guard::guard(&word) {
        std::process::exit(0);
    }
    if word != LAUNCH {
        return None;
    }
    let parent = arguments.next().unwrap_or_default();
    let program = arguments.next().unwrap_or_default();
    if let Err(error) = die_with_parent() {
        return Some(format!("cannot tie the scorer's life to the consumer's: {error}"));
    }
    // A parent that died before that will never be reported dead.
    let own = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if own.map(OsString::from) != Some(parent) {
        return Some("the consumer is gone".to_owned());
    }
    let mut go = [0];
    match rustix::io::read(io::stdin(), &mut go) {
        Ok(1) => {}
        Ok(_) => return Some("the consumer is gone".to_owned()),
        Err(error) => return Some(format!("cannot hear from the consumer: {error}")),
    }
    let error = Command::new(&program).args(arguments).exec();
    Some(format!("cannot start the scorer {}: {error}", program.display()))
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> io::Result<()> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_path_or_by_its_name() {
        assert!(find("sh").is_ok() && find("/bin/sh").is_ok());
        for (missing, kind) in [
            ("no-such-program", io::ErrorKind::NotFound),
            ("/no/such/program", io::ErrorKind::NotFound),
            ("/", io::ErrorKind::PermissionDenied),
            (concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), io::ErrorKind::PermissionDenied),
        ] {
            assert_eq!(find(missing).unwrap_err().kind(), kind, "{missing}");
        }
    }

    #[test]
    fn a_launcher_is_asked_for_by_its_first_argument_only() {
        for arguments in [vec![], vec!["--model", "m"], vec!["--model", LAUNCH]] {
            assert_eq!(launch(arguments.into_iter().map(OsString::from)), None);
        }
    }
}
