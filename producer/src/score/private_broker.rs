//! A RabbitMQ of a command's own, with its own ports and data, that is gone when the command has ended, however it ends.
//!
//! The script that starts a broker for `make demo` and the tests starts it here too.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rollcall_shared::terminal::to_stderr;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::error::ProducerError;

const SCRIPT: &str = include_str!("../../../deploy/local/broker");

/// The name of the broker in its folder.
const NAME: &str = "score";

/// Waits until its standard input ends, which it does when the command has ended, and stops the broker then.
const GUARD: &str = r#"cat >/dev/null; bash "$1/deploy/local/broker" stop "$2" && rm -rf "$1""#;

const STOP_WITHIN: Duration = Duration::from_secs(30);

/// A running broker.
pub(super) struct PrivateBroker {
    url: String,
    guard: Guard,
}

/// What stops the broker.
struct Guard {
    process: Child,
    folder: PathBuf,
}

impl PrivateBroker {
    /// Starts it. If this is cancelled, or fails, nothing is left.
    ///
    /// # Errors
    /// If RabbitMQ is not installed or does not start.
    pub(super) async fn start() -> Result<PrivateBroker, ProducerError> {
        let cannot = |error: io::Error| {
            ProducerError::System(format!(
                "cannot make a folder for a broker: {error}; make room in TMPDIR, or set AMQP_URL to a broker that you have"
            ))
        };
        let folder = write_script().map_err(cannot)?;
        let path = folder.path().canonicalize().map_err(cannot)?;
        let guard = Guard::start(&path).map_err(cannot)?;
        // It is the guard that removes it.
        drop(folder.keep());
        tracing::info!(event = "starting_broker", "AMQP_URL is not set: starting a RabbitMQ for this command alone");
        let mut start = Command::new("bash");
        start.arg(path.join("deploy/local/broker")).args(["start", NAME]);
        // By this the script knows what it is to kill: with the broker itself, the processes that start it.
        start.env("RABBITMQ_PID_FILE", path.join(".rollcall").join(NAME).join("pid"));
        start.env("ROLLCALL_BROKER_PASSWORD", Uuid::now_v7().simple().to_string());
        start.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let started = start.output().await.map_err(cannot)?;
        let said = String::from_utf8_lossy(&started.stderr);
        if !started.status.success() {
            guard.stop().await;
            let (reasons, others): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with("broker: "));
            others.iter().for_each(to_stderr);
            let reason = reasons.last().and_then(|line| line.strip_prefix("broker: ")).unwrap_or("see above");
            // The folder that it names is gone.
            let reason = reason.split_once(": see ").map_or(reason, |(reason, _)| reason);
            return Err(ProducerError::System(format!("cannot start a broker: {reason}")));
        }
        let url = String::from_utf8_lossy(&started.stdout).trim().to_owned();
        Ok(PrivateBroker { url, guard })
    }

    /// Its URL.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Stops it, and removes its data.
    pub(super) async fn stop(self) {
        self.guard.stop().await;
    }
}

/// A folder with the script, as it stands in the project.
fn write_script() -> io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("rollcall-score-").tempdir()?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
    let scripts = folder.path().join("deploy/local");
    std::fs::create_dir_all(&scripts)?;
    std::fs::write(scripts.join("broker"), SCRIPT)?;
    Ok(folder)
}

impl Guard {
    fn start(folder: &Path) -> io::Result<Guard> {
        let mut guard = Command::new("bash");
        guard.args(["-c", GUARD, "rollcall-broker-guard"]).arg(folder).arg(NAME);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Ok(Guard { process: guard.spawn()?, folder: folder.to_owned() })
    }

    async fn stop(self) {
        let folder = self.folder.clone();
        if self.has_stopped_it().await {
            return;
        }
        // It was killed, say for want of memory. Another one does what it was there for.
        let is_stopped = match Guard::start(&folder) {
            Ok(guard) => guard.has_stopped_it().await,
            Err(_) => false,
        };
        if !is_stopped {
            tracing::warn!(event = "broker_not_stopped", folder = %folder.display(), "the broker of this command has not stopped: kill its process, and remove its folder");
        }
    }

    /// Lets it stop the broker; returns whether it has.
    async fn has_stopped_it(mut self) -> bool {
        drop(self.process.stdin.take());
        let ended = tokio::time::timeout(STOP_WITHIN, self.process.wait()).await;
        matches!(ended, Ok(Ok(status)) if status.success())
    }
}
