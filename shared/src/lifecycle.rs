//! The life of a process: its runtime, its shutdown and its exit code.

use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::terminal::to_stderr;

/// The exit codes, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it did what it was asked to; for a job: it succeeded.
    Success,
    /// 1: the job ended otherwise, or another error occurred.
    Failure,
    /// 2: bad usage or bad input.
    BadInput,
    /// 3: the broker cannot be reached, or refuses.
    Broker,
    /// 130: interrupted by a person.
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::BadInput => 2,
            Exit::Broker => 3,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        exit.code().into()
    }
}

/// Runs `process` on this runtime.
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

/// The flag of a process that another one has started, and that is to end with it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct LifetimeArgs {
    /// Stop when standard input ends: the process that has started this one is gone
    #[arg(long, hide = true, help_heading = "Metrics and logs")]
    pub stop_at_end_of_input: bool,
}

impl LifetimeArgs {
    /// When the process is to stop: by signal, and with its parent if the flag says so.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed, or the thread that reads cannot be started.
    pub fn shutdown(self) -> io::Result<Shutdown> {
        if self.stop_at_end_of_input { Shutdown::by_signal_or_end_of_input() } else { Shutdown::by_signal() }
    }
}

/// The request to stop, which every part of a process can wait for.
#[derive(Debug, Clone)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
}

/// Requests a [`Shutdown`].
#[derive(Debug)]
pub struct Stop {
    request: watch::Sender<bool>,
}

impl Stop {
    /// Requests it. Another request changes nothing.
    pub fn now(&self) {
        self.request.send_replace(true);
    }
}

impl Shutdown {
    /// A shutdown that the returned [`Stop`] requests.
    pub fn manual() -> (Stop, Shutdown) {
        let (request, requested) = watch::channel(false);
        (Stop { request }, Shutdown { requested })
    }

    /// A shutdown that SIGTERM, Ctrl-C or a closed terminal (SIGHUP) requests. If SIGHUP was ignored when the process started, as under
    /// `nohup`, it stays ignored.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub fn by_signal() -> io::Result<Shutdown> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup =
            handles_hangup(&fs::read_to_string("/proc/self/status")).then(|| signal(SignalKind::hangup())).transpose()?;
        let (stop, shutdown) = Shutdown::manual();
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

    /// The same, requested by the end of standard input too: the process at the other end of that pipe is gone, however it ended.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed, or the thread that reads cannot be started.
    fn by_signal_or_end_of_input() -> io::Result<Shutdown> {
        let (stop, shutdown) = Shutdown::manual();
        let signalled = Shutdown::by_signal()?;
        let (ended, input_ended) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("standard input".to_owned()).spawn(move || {
            // An error, too, is the end of it.
            drop(io::copy(&mut io::stdin(), &mut io::sink()));
            // The receiver waits until the process ends.
            ended.send(()).ok();
        })?;
        tokio::spawn(async move {
            tokio::select! {
                () = signalled.requested() => {}
                _ = input_ended => {}
            }
            stop.now();
        });
        Ok(shutdown)
    }

    /// A shutdown that is never requested.
    pub fn never() -> Shutdown {
        Shutdown::manual().1
    }

    /// Whether it has been requested.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Waits until it is requested.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        if requested.wait_for(|&requested| requested).await.is_err() {
            // The sender is gone: it can no longer be requested.
            std::future::pending::<()>().await;
        }
    }

    /// Waits for `pause`, or until it is requested; returns whether it was.
    pub async fn within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.requested()).await.is_ok()
    }
}

/// Whether SIGHUP is not ignored, by `/proc/self/status`; false if it cannot be read.
fn handles_hangup(status: &io::Result<String>) -> bool {
    let Ok(status) = status else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1, the first bit.
    ignored.is_some_and(|mask| mask & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_is_heeded_unless_it_is_ignored_or_nobody_knows() {
        let status =
            |mask: &str| Ok(format!("Name:\tproducer\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n"));
        assert!(handles_hangup(&status("0000000000001000")));
        assert!(!handles_hangup(&status("0000000000001001")));
        for unknown in [status("?"), Ok(String::new()), Err(io::ErrorKind::NotFound.into())] {
            assert!(!handles_hangup(&unknown), "{unknown:?}");
        }
    }
}
