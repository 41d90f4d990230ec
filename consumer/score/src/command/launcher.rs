//! Starts a scorer's program so that it ends with the consumer, even if it hangs and the consumer is killed.
//!
//! The kernel kills a child when its parent dies, if the child has asked for that itself: after it was started, and before it executes
//! the scorer's program. So the consumer starts its own executable as a launcher, which asks the kernel and then executes that program
//! ([`launch`]). Processes that the program starts in turn have not asked; the guard kills those ([`super::guard`]).

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::{env, fs, io, thread};

use crate::error::Error;

/// The first argument that makes the consumer's executable a launcher. The consumer itself has flags only, so it is no argument of its.
pub(super) const LAUNCH: &str = "launch-scorer";

/// What the consumer writes to a launcher to let it execute the scorer's program. Everything after it is for that program.
const GO: u8 = b'\n';

/// The executable whose `main` first calls [`super::run_launcher_or_guard`].
#[derive(Debug, Clone, Copy)]
pub struct Launcher {
    executable: &'static str,
}

impl Launcher {
    /// The executable of this process, which must be the consumer: a test's executable would run its tests. `None` if the operating
    /// system cannot kill a process with its parent.
    pub fn of_consumer() -> Option<Launcher> {
        // This path stays valid if the file is replaced.
        cfg!(target_os = "linux").then_some(Launcher { executable: "/proc/self/exe" })
    }

    /// Its executable, with a first argument that says what to do.
    pub(super) fn executable(self, first_argument: &str) -> Command {
        let mut command = Command::new(self.executable);
        command.arg0("consumer").arg(first_argument);
        command
    }

    fn command(self, words: &[String]) -> Command {
        let mut command = self.executable(LAUNCH);
        command.arg(std::process::id().to_string()).args(words);
        command
    }
}

/// The command that starts the program `words[0]` with the arguments after it; directly if there is no launcher.
///
/// # Errors
/// If there is no such program: a launcher would find that out only after it was started.
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

/// Looks for a program where the operating system will. The error says where that was: a missing program has another remedy than one that
/// may not be executed.
fn find(program: &str) -> io::Result<()> {
    if program.contains('/') {
        let path = Path::new(program);
        return check(path).map_err(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return error;
            }
            let folder = env::current_dir().ok().filter(|_| path.is_relative());
            let folder = folder.map_or_else(String::new, |folder| format!(", seen from {}", folder.display()));
            io::Error::new(io::ErrorKind::NotFound, format!("there is no program {program}{folder}; check its path"))
        });
    }
    let Some(folders) = env::var_os("PATH") else {
        return Ok(());
    };
    let mut found = None;
    for folder in env::split_paths(&folders) {
        match check(&folder.join(program)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found = Some(error),
            Err(_) => {}
        }
    }
    Err(found.unwrap_or_else(|| {
        let folders = folders.display();
        let message = format!(
            "there is no program {program} in PATH ({folders}); install it, or name it with its folder, such as ./{program}"
        );
        io::Error::new(io::ErrorKind::NotFound, message)
    }))
}

fn check(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    const EXECUTABLE: u32 = 0o111;
    let found = fs::metadata(path)?;
    if found.is_file() && found.permissions().mode() & EXECUTABLE != 0 {
        return Ok(());
    }
    let message = format!("{} is no file that may be executed; name its interpreter before it, or `chmod +x` it", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

/// Starts a process from a thread that lives as long as this process: the kernel kills a child when the thread that started it ends.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    type Request = (Command, Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<Sender<Request>> = LazyLock::new(|| {
        let (requests, to_start) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, started) in to_start {
                // The receiver waits for this below.
                drop(started.send(command.spawn()));
            }
        });
        requests
    });
    let ended = || io::Error::other("the thread that starts scorers has ended");
    let (answer, started) = channel();
    SPAWNER.send((command, answer)).map_err(|_| ended())?;
    started.recv().map_err(|_| ended())?
}

/// Lets a launcher execute the scorer's program.
pub(super) fn release(stdin: &mut ChildStdin) -> io::Result<()> {
    stdin.write_all(&[GO])
}

/// The launcher's part: ties this process to its parent, waits until the parent releases it, and becomes the scorer's program. The
/// arguments are the parent's process id, the program, and the program's arguments.
pub(super) fn launch(mut arguments: impl Iterator<Item = OsString>) -> Result<Infallible, Error> {
    let parent = arguments.next().unwrap_or_default();
    let program = arguments.next().unwrap_or_default();
    die_with_parent().map_err(Error::CannotTieToConsumer)?;
    // The kernel does not report a parent that died before that.
    let own = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if own.map(OsString::from) != Some(parent) {
        return Err(Error::ConsumerGone);
    }
    let mut go = [0];
    match rustix::io::read(io::stdin(), &mut go) {
        Ok(1) => {}
        Ok(_) => return Err(Error::ConsumerGone),
        Err(error) => return Err(Error::CannotReadFromConsumer(error.into())),
    }
    let error = Command::new(&program).args(arguments).exec();
    Err(Error::CannotExecute { program: program.into(), error })
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
        let (path, folder) = (env::var("PATH").unwrap(), env::current_dir().unwrap().display().to_string());
        for (missing, kind, words) in [
            ("no-such-program", io::ErrorKind::NotFound, ["no program no-such-program", &path, "install it"]),
            ("./no-such-program", io::ErrorKind::NotFound, ["no program ./no-such-program", &folder, "check its path"]),
            ("/", io::ErrorKind::PermissionDenied, ["/ is no file", "may be executed", "chmod"]),
            (
                concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
                io::ErrorKind::PermissionDenied,
                ["Cargo.toml", "no file", "chmod"],
            ),
        ] {
            let error = find(missing).unwrap_err();
            assert_eq!(error.kind(), kind, "{missing}");
            assert!(words.iter().all(|words| error.to_string().contains(words)), "{error}");
        }
    }
}
