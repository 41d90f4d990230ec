//! A process that a command starts beside itself, and that ends with it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rollcall_shared::broker::BrokerArgs;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};

use crate::error::ProducerError;

/// Longer than a consumer's default grace: what ends later is killed.
const STOP_WITHIN: Duration = Duration::from_secs(40);

/// Of a log, the part in which a process says why it has ended.
const TAIL_BYTES: u64 = 64 << 10;

/// A process whose standard input is a pipe of this process's: at its end it stops, however this process has ended.
pub(super) struct Companion {
    child: Child,
    /// Held here: to wait for a child closes what it holds itself.
    input: Option<ChildStdin>,
    log: File,
}

impl Companion {
    /// Starts `program`, which is beside this one or in the PATH, in a process group of its own: Ctrl-C reaches this process alone.
    pub(super) fn start(program: &'static str, flags: &[String], broker: &BrokerArgs) -> Result<Companion, ProducerError> {
        let failed = |error: io::Error| {
            ProducerError::System(format!(
                "cannot start {program}: {error}; put it beside this program, or into a folder of PATH"
            ))
        };
        let log = tempfile::tempfile().map_err(failed)?;
        let mut command = Command::new(path(program));
        command.args(flags).arg("--stop-at-end-of-input").arg(format!("--prefix={}", broker.prefix));
        command.env("AMQP_URL", broker.url()).env_remove("ROLLCALL_METRICS_ADDR").env_remove("ROLLCALL_MAX");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log.try_clone().map_err(failed)?).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        Ok(Companion { input: child.stdin.take(), child, log })
    }

    /// Waits until it has ended by itself, and returns why. Cancel-safe.
    pub(super) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => self.error().unwrap_or_else(|| in_words(status)),
            Err(error) => error.to_string(),
        }
    }

    /// Its own error, or that of a process that it has started: the first line that says so.
    fn error(&mut self) -> Option<String> {
        let end = self.log.seek(io::SeekFrom::End(0)).ok()?;
        self.log.seek(io::SeekFrom::Start(end.saturating_sub(TAIL_BYTES))).ok()?;
        let mut tail = Vec::new();
        self.log.read_to_end(&mut tail).ok()?;
        let tail = String::from_utf8_lossy(&tail);
        tail.lines().find_map(|line| line.strip_prefix("error: ")).map(str::to_owned)
    }

    /// Asks it to stop, and waits until it has.
    pub(super) async fn stop(mut self) {
        drop(self.input.take());
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // An error says that it has ended.
            kill_process(pid, Signal::TERM).ok();
        }
        if tokio::time::timeout(STOP_WITHIN, self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }
}

fn in_words(status: ExitStatus) -> String {
    format!("it ended with {status}, and no error in its log")
}

/// The executable beside this one; if there is none, its name, to be found in the PATH.
fn path(program: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(program)).filter(|path| path.is_file());
    beside.unwrap_or_else(|| program.into())
}
