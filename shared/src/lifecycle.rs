//! A process's life: how it is asked to stop, and what it says by its exit code.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

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

    /// A shutdown that SIGTERM or Ctrl-C asks for.
    ///
    /// # Errors
    /// Where the signal handlers cannot be installed.
    pub fn by_signal() -> std::io::Result<Shutdown> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (stop, shutdown) = Shutdown::by_hand();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
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
