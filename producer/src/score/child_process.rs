//! A process that a command starts beside itself, and that ends with it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rollcall_shared::broker::BrokerArgs;
use rollcall_shared::lifecycle::Exit;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};

use crate::error::ProducerError;

/// Beyond the grace of consumers, how long a process may take to end before it is killed. A fleet kills its consumers after half of it.
const KILL_AFTER: Duration = Duration::from_secs(10);

/// Of a log, the part in which a process says why it has ended.
const TAIL_BYTES: u64 = 64 << 10;

/// A program that is started: its executable, and what it is in an error.
#[derive(Clone, Copy)]
pub(super) struct Program {
    executable: &'static str,
    name: &'static str,
}

pub(super) const AGGREGATOR: Program = Program { executable: "aggregator", name: "the aggregator" };
pub(super) const CONSUMERS: Program = Program { executable: "consumer", name: "the fleet of consumers" };

/// A process whose standard input is a pipe of this process's: at its end it stops, however this process has ended.
pub(super) struct ChildProcess {
    program: Program,
    child: Child,
    /// Held here: to wait for a child closes what it holds itself.
    input: Option<ChildStdin>,
    log: File,
    grace: Duration,
}

impl ChildProcess {
    /// Starts `program`, which is beside this one or in the PATH, in a process group of its own: Ctrl-C reaches this process alone.
    /// Consumers have this `grace`, unless their flags say otherwise.
    pub(super) fn start(
        program: Program,
        flags: &[String],
        broker: &BrokerArgs,
        grace: Duration,
    ) -> Result<ChildProcess, ProducerError> {
        let executable = program.executable;
        let failed = |error: io::Error| {
            ProducerError::System(format!(
                "cannot start {executable}: {error}; put it beside this program, or into a folder of PATH"
            ))
        };
        let log = tempfile::tempfile().map_err(failed)?;
        let mut command = Command::new(path(executable));
        command.args(flags).arg("--stop-at-end-of-input").arg(format!("--prefix={}", broker.prefix));
        command.env("AMQP_URL", broker.url()).env_remove("ROLLCALL_METRICS_ADDR").env_remove("ROLLCALL_MAX");
        command.env("ROLLCALL_GRACE", humantime::format_duration(grace).to_string());
        // Its log is read here, for its error alone, and is nowhere to be seen: it must not fill the disk.
        command.env("ROLLCALL_LOG", "warn").env_remove("CLICOLOR_FORCE");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log.try_clone().map_err(failed)?).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        Ok(ChildProcess { program, input: child.stdin.take(), child, log, grace })
    }

    /// Waits until it has ended with success.
    ///
    /// # Errors
    /// As [`ChildProcess::ended`], if it has ended without.
    pub(super) async fn succeeded(mut self) -> Result<(), ProducerError> {
        match self.child.wait().await {
            Ok(status) if status.success() => Ok(()),
            ended => Err(self.error_of(ended)),
        }
    }

    /// Waits until it has ended by itself, and returns why. Cancel-safe.
    pub(super) async fn ended(&mut self) -> ProducerError {
        let ended = self.child.wait().await;
        self.error_of(ended)
    }

    fn error_of(&mut self, ended: io::Result<ExitStatus>) -> ProducerError {
        let ended_with = |exit: Exit| ended.as_ref().is_ok_and(|status| status.code() == Some(exit.code().into()));
        let (is_misuse, is_for_broker) = (ended_with(Exit::BadInput), ended_with(Exit::Broker));
        let reason = match ended {
            Ok(status) => self.error(is_misuse).unwrap_or_else(|| in_words(status)),
            Err(error) => error.to_string(),
        };
        // Its flags and its scorer came with this command.
        if is_misuse {
            ProducerError::Usage(reason)
        } else {
            ProducerError::ChildProcessEnded { program: self.program.name, reason, is_for_broker }
        }
    }

    /// Why it has ended, by its log.
    fn error(&mut self, is_misuse: bool) -> Option<String> {
        let end = self.log.seek(io::SeekFrom::End(0)).ok()?;
        self.log.seek(io::SeekFrom::Start(end.saturating_sub(TAIL_BYTES))).ok()?;
        let mut tail = Vec::new();
        self.log.read_to_end(&mut tail).ok()?;
        error_in(&String::from_utf8_lossy(&tail), is_misuse).map(str::to_owned)
    }

    /// Asks it to stop, and waits until it has.
    pub(super) async fn stop(mut self) {
        drop(self.input.take());
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // An error says that it has ended.
            kill_process(pid, Signal::TERM).ok();
        }
        if tokio::time::timeout(self.grace.saturating_add(KILL_AFTER), self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }
}

/// The last error in a log; earlier ones are of consumers that were started again. A fleet that gives up for the flags or the scorer of its
/// consumers says so in a last line, and the consumer why in the one before.
fn error_in(log: &str, is_misuse: bool) -> Option<&str> {
    let mut errors = log.lines().rev().filter_map(|line| line.strip_prefix("error: "));
    let last = errors.next();
    if is_misuse { errors.next().or(last) } else { last }
}

fn in_words(status: ExitStatus) -> String {
    format!("it ended with {status}, and no error in its log")
}

/// The executable beside this one; if there is none, its name, to be found in the PATH.
fn path(program: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(program)).filter(|path| path.is_file());
    beside.unwrap_or_else(|| program.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_errors_in_a_log_that_counts_with_which_the_process_has_ended() {
        let restarted = "error: no thread\n2026-11-30T12:00:00Z WARN a consumer ended by itself\n";
        assert_eq!(error_in(&format!("{restarted}error: gave up\n"), false), Some("gave up"));
        assert_eq!(error_in(&format!("{restarted}error: bad scorer\nerror: correct it\n"), true), Some("bad scorer"));
        assert_eq!(error_in("error: unexpected argument\n\nUsage: consumer\n", true), Some("unexpected argument"));
        assert_eq!(error_in("", false), None);
    }
}
