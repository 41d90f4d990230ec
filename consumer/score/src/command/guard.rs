//! Kills the processes that a scorer has started: those in its process group, and those outside it by an environment variable, which
//! children inherit.
//!
//! A consumer that is killed can kill nothing. So it starts a guard: its own executable, which reads from a pipe which scorers run, and kills
//! what is left of them once the pipe closes. A process that has left the group and cleared its environment is missed.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, process};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::launcher::Launcher;

/// The first argument that makes the consumer's executable a guard.
pub(super) const GUARD: &str = "guard-scorers";

/// The environment variable with the id of the scorer that a process belongs to.
pub(super) const SCORER_ID: &str = "ROLLCALL_SCORER_ID";

/// How often the processes of a scorer are listed and killed. One that is started between listing and killing is found in the next
/// round; a program that starts processes faster than that is not killed completely.
const ROUNDS: usize = 20;

/// A new scorer id. It is unique even after the system has reused a process id.
pub(super) fn scorer_id() -> String {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}-{now}-{}", process::id(), STARTED.fetch_add(1, Ordering::Relaxed))
}

/// A scorer's process and the processes that it has started.
pub(super) struct ProcessTree {
    group: u32,
    scorer_id: String,
    is_guarded: bool,
}

impl ProcessTree {
    /// The processes of the scorer with the process id `group`. With a `launcher`, the guard kills them if the consumer is killed.
    pub(super) fn new(group: u32, scorer_id: String, launcher: Option<Launcher>) -> ProcessTree {
        if let Some(launcher) = launcher {
            guard_client().add(group, &scorer_id, launcher);
        }
        ProcessTree { group, scorer_id, is_guarded: launcher.is_some() }
    }

    /// Kills all of them.
    pub(super) fn kill(&self) {
        kill(self.group, &self.scorer_id);
    }

    /// Takes them from the guard: they have ended, and their process ids may be reused.
    pub(super) fn release(&self) {
        if self.is_guarded {
            guard_client().remove(self.group);
        }
    }
}

fn kill(group: u32, scorer_id: &str) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // It fails if the group has no processes left, which is the usual case.
        kill_process_group(group, Signal::KILL).unwrap_or(());
    }
    let entry = format!("{SCORER_ID}={scorer_id}");
    for _ in 0..ROUNDS {
        let processes = processes_with(entry.as_bytes());
        if processes.is_empty() {
            return;
        }
        for process in processes {
            kill_process(process, Signal::KILL).unwrap_or(());
        }
    }
}

/// The processes that were started with this entry in their environment. The environment of one that has ended is empty.
fn processes_with(entry: &[u8]) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    let has_entry = |pid: &Pid| {
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|found| found == entry)
    };
    ids.filter(has_entry).collect()
}

/// This process's scorers, and its guard, which knows the same scorers.
#[derive(Default)]
struct GuardClient {
    /// The scorer id of each process group.
    scorers: BTreeMap<u32, String>,
    guard: Option<(Child, ChildStdin)>,
    has_warned: bool,
}

fn guard_client() -> MutexGuard<'static, GuardClient> {
    static CLIENT: Mutex<GuardClient> = Mutex::new(GuardClient { scorers: BTreeMap::new(), guard: None, has_warned: false });
    CLIENT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GuardClient {
    fn add(&mut self, group: u32, scorer_id: &str, launcher: Launcher) {
        self.scorers.insert(group, scorer_id.to_owned());
        if self.send(&format!("+{group} {scorer_id}\n")).is_ok() {
            return;
        }
        // No guard was started yet, or it was killed. A new one gets all scorers.
        let all: String = self.scorers.iter().map(|(group, scorer_id)| format!("+{group} {scorer_id}\n")).collect();
        let sent = start(launcher).and_then(|started| {
            self.guard = Some(started);
            self.send(&all)
        });
        if let Err(error) = sent
            && !std::mem::replace(&mut self.has_warned, true)
        {
            tracing::warn!(%error, "cannot start the guard of the scorers: processes that they start may outlive a consumer that is killed");
        }
    }

    fn remove(&mut self, group: u32) {
        self.scorers.remove(&group);
        // If this fails the guard is gone, and the next one does not get this scorer.
        drop(self.send(&format!("-{group}\n")));
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        let Some((guard, pipe)) = &mut self.guard else { return Err(io::ErrorKind::NotFound.into()) };
        let sent = pipe.write_all(line.as_bytes());
        if sent.is_err() {
            drop(guard.wait());
            self.guard = None;
        }
        sent
    }
}

/// Starts a guard in a process group of its own, so that Ctrl-C at the terminal does not end it.
fn start(launcher: Launcher) -> io::Result<(Child, ChildStdin)> {
    let mut command = launcher.executable(GUARD);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut guard = command.spawn()?;
    let pipe = guard.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((guard, pipe))
}

/// The guard's part: reads which scorers start (`+group id`) and end (`-group`) until its input closes, and kills those that are left.
pub(super) fn guard() {
    let mut scorers = BTreeMap::new();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if let Some((group, scorer_id)) = line.strip_prefix('+').and_then(|line| line.split_once(' ')) {
            scorers.insert(group.to_owned(), scorer_id.to_owned());
        } else if let Some(group) = line.strip_prefix('-') {
            scorers.remove(group);
        }
    }
    for (group, scorer_id) in scorers {
        kill(group.parse().unwrap_or_default(), &scorer_id);
    }
}
