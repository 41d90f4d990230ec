//! A process's life: how it is asked to stop, and what it says by its exit code.

use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::terminal::to_stderr;

/// The ways a process ends, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked to; for a job: it succeeded.
    Success,
    /// The job ended otherwise, or something failed that is neither of the two below.
    Failure,
    /// Bad usage or bad input.
    BadInput,
    /// The broker can't be reached or refuses.
    Broker,
    /// Interrupted by a person.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::BadInput => 2,
            Exit::Broker => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// Runs a whole process on a runtime of this kind.
pub fn run(mut runtime: Builder, process: impl Future<Output = ExitCode>) -> ExitCode {
    match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(process),
        Err(error) => {
            to_stderr(format_args!(
                "error: cannot start: {error}; raise the limits of open files and of processes (ulimit -n, ulimit -u)"
            ));
            Exit::Failure.into()
        }
    }
}

/// Tells every part of a process that it has been asked to stop.
#[derive(Debug, Clone)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
}

/// The other end of a [`Shutdown`]: asks.
#[derive(Debug)]
pub struct Stop {
    request: watch::Sender<bool>,
}

impl Stop {
    /// Asks the process to stop. Asking again changes nothing.
    pub fn now(&self) {
        self.request.send_replace(true);
    }
}

impl Shutdown {
    /// A shutdown that the returned [`Stop`] asks for.
    pub fn by_hand() -> (Stop, Shutdown) {
        let (request, requested) = watch::channel(false);
        (Stop { request }, Shutdown { requested })
    }

    /// A shutdown that SIGTERM, Ctrl-C or a terminal that is closed (SIGHUP) asks for. Where SIGHUP is ignored from the
    /// beginning, as `nohup` has it, it stays ignored.
    ///
    /// # Errors
    /// Where the signal handlers cannot be installed.
    pub fn by_signal() -> io::Result<Shutdown> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup =
            may_hang_up(&fs::read_to_string("/proc/self/status")).then(|| signal(SignalKind::hangup())).transpose()?;
        let (stop, shutdown) = Shutdown::by_hand();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    Some(_) = async { hangup.as_mut()?.recv().await } => {}
                }
                stop.now();
            }
        });
        Ok(shutdown)
    }

    /// A shutdown that nobody asks for.
    pub fn never() -> Shutdown {
        Shutdown::by_hand().1
    }

    /// Whether it has been asked for.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Waits until it is asked for.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        if requested.wait_for(|&requested| requested).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }

    /// Waits for `pause` or until it is asked for; says whether it was.
    pub async fn within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.requested()).await.is_ok()
    }
}

/// Whether SIGHUP is not ignored, by what the kernel says of this process. Where it does not say, SIGHUP is left as it is.
fn may_hang_up(status: &io::Result<String>) -> bool {
    let Ok(status) = status else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP has the number 1, and so the first bit.
    ignored.is_some_and(|mask| mask & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_is_heeded_unless_it_is_ignored_or_nobody_knows() {
        let status =
            |mask: &str| Ok(format!("Name:\tproducer\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n"));
        assert!(may_hang_up(&status("0000000000001000")));
        assert!(!may_hang_up(&status("0000000000001001")));
        for unknown in [status("?"), Ok(String::new()), Err(io::ErrorKind::NotFound.into())] {
            assert!(!may_hang_up(&unknown), "{unknown:?}");
        }
    }
}
