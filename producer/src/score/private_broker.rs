//! A RabbitMQ of a command's own, with its own ports and data, that is gone when the command has ended, however it ends.
//!
//! The script that starts a broker for `make demo` and the tests starts it here too.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::error::ProducerError;

const SCRIPT: &str = include_str!("../../../deploy/local/broker");

/// The name of the broker in its folder.
const NAME: &str = "score";

/// Waits until its standard input ends, which it does when the command has ended, and stops the broker then.
const GUARD: &str = r#"cat >/dev/null; bash "$1/deploy/local/broker" stop "$2" 2>/dev/null; rm -rf "$1""#;

const STOP_WITHIN: Duration = Duration::from_secs(30);

/// A running broker.
pub(super) struct PrivateBroker {
    url: String,
    guard: Guard,
}

/// What stops the broker.
struct Guard(Child);

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
        tracing::info!(event = "starting_broker", "AMQP_URL is not set: starting a RabbitMQ for this command alone");
        let folder = write_script().map_err(cannot)?;
        let guard = Guard::start(&folder).map_err(cannot)?;
        let mut start = Command::new("bash");
        start.arg(folder.join("deploy/local/broker")).args(["start", NAME]);
        // The guard kills what has this in its environment.
        start.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let started = start.output().await.map_err(cannot)?;
        let said = String::from_utf8_lossy(&started.stderr);
        if !started.status.success() {
            guard.stop().await;
            let reason = said.lines().rev().find_map(|line| line.strip_prefix("broker: ")).unwrap_or("see above").to_owned();
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
fn write_script() -> io::Result<PathBuf> {
    let folder = tempfile::Builder::new().prefix("rollcall-score-").tempdir()?.keep();
    let scripts = folder.join("deploy/local");
    std::fs::create_dir_all(&scripts)?;
    std::fs::write(scripts.join("broker"), SCRIPT)?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
    Ok(folder)
}

impl Guard {
    fn start(folder: &Path) -> io::Result<Guard> {
        let mut guard = Command::new("bash");
        guard.args(["-c", GUARD, "rollcall-broker-guard"]).arg(folder).arg(NAME);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Ok(Guard(guard.spawn()?))
    }

    async fn stop(mut self) {
        drop(self.0.stdin.take());
        if tokio::time::timeout(STOP_WITHIN, self.0.wait()).await.is_err() {
            tracing::warn!(event = "broker_not_stopped", "the broker of this command has not stopped in time");
        }
    }
}
