//! Ends what a scorer has started, too: by its process group, and by a mark in its environment, which those have that have left the group.
//!
//! A consumer that is killed can end nobody. So it starts a guard: its own executable once more, which is told of each scorer through
//! a pipe, and ends what is left of them when that pipe closes. What neither stays in the group nor keeps its environment is missed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, process};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::launch::Launcher;

/// The first argument that makes a guard of the consumer.
const GUARD: &str = "guard-scorers";

/// The variable that tells the processes of one scorer.
pub(super) const MARK: &str = "ROLLCALL_SCORER_ID";

/// Processes that start others faster than this many rounds can find them get away.
const ROUNDS: usize = 20;

/// The mark of the next scorer: no two are alike, not even after the system has given a process id anew.
pub(super) fn mark() -> String {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}-{now}-{}", process::id(), STARTED.fetch_add(1, Ordering::Relaxed))
}

/// A scorer's process and all that it has started.
pub(super) struct Family {
    group: u32,
    mark: String,
    guarded: bool,
}

impl Family {
    /// That of the scorer with the process id `group`; with a `launcher`, it is ended with a consumer that is killed.
    pub(super) fn of(group: u32, mark: String, launcher: Option<Launcher>) -> Family {
        if let Some(launcher) = launcher {
            guards().add(group, &mark, launcher);
        }
        Family { group, mark, guarded: launcher.is_some() }
    }

    /// Ends all of it.
    pub(super) fn end(&self) {
        end(self.group, &self.mark);
    }

    /// Nothing is left to end; its process id may be given to another.
    pub(super) fn forget(&self) {
        if self.guarded {
            guards().remove(self.group);
        }
    }
}

fn end(group: u32, mark: &str) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // Mostly there is nobody.
        kill_process_group(group, Signal::KILL).unwrap_or(());
    }
    let entry = format!("{MARK}={mark}");
    for _ in 0..ROUNDS {
        let marked = processes_with(entry.as_bytes());
        if marked.is_empty() {
            return;
        }
        for process in marked {
            kill_process(process, Signal::KILL).unwrap_or(());
        }
    }
}

/// The processes with this entry in the environment that they were started with. One that has ended has none.
fn processes_with(entry: &[u8]) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    let has_entry = |pid: &Pid| {
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|found| found == entry)
    };
    ids.filter(has_entry).collect()
}

/// What this process has told its guard, and the guard.
#[derive(Default)]
struct Guards {
    scorers: BTreeMap<u32, String>,
    guard: Option<(Child, ChildStdin)>,
    warned: bool,
}

fn guards() -> MutexGuard<'static, Guards> {
    static GUARDS: Mutex<Guards> = Mutex::new(Guards { scorers: BTreeMap::new(), guard: None, warned: false });
    GUARDS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guards {
    fn add(&mut self, group: u32, mark: &str, launcher: Launcher) {
        self.scorers.insert(group, mark.to_owned());
        if self.tell(&format!("+{group} {mark}\n")).is_ok() {
            return;
        }
        // There is none yet, or it was killed: it is told all anew.
        let all: String = self.scorers.iter().map(|(group, mark)| format!("+{group} {mark}\n")).collect();
        let told = start(launcher).and_then(|started| {
            self.guard = Some(started);
            self.tell(&all)
        });
        if let Err(error) = told
            && !std::mem::replace(&mut self.warned, true)
        {
            tracing::warn!(%error, "scorers have no guard: what they start may outlive a consumer that is killed");
        }
    }

    fn remove(&mut self, group: u32) {
        self.scorers.remove(&group);
        // A guard that is gone will not be told; the next one is not told of this scorer.
        drop(self.tell(&format!("-{group}\n")));
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        let Some((guard, pipe)) = &mut self.guard else { return Err(io::ErrorKind::NotFound.into()) };
        let told = pipe.write_all(line.as_bytes());
        if told.is_err() {
            drop(guard.wait());
            self.guard = None;
        }
        told
    }
}

/// Starts a guard in a process group of its own: Ctrl-C at the terminal is not for it.
fn start(launcher: Launcher) -> io::Result<(Child, ChildStdin)> {
    let mut command = launcher.itself(GUARD);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut guard = command.spawn()?;
    let pipe = guard.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((guard, pipe))
}

/// What `main` does where its first argument is `word`: guards the scorers of the process that has started this one, until that is gone.
/// Returns whether it did.
pub(super) fn guard(word: &OsStr) -> bool {
    if word != GUARD {
        return false;
    }
    let mut scorers = BTreeMap::new();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if let Some((group, mark)) = line.strip_prefix('+').and_then(|line| line.split_once(' ')) {
            scorers.insert(group.to_owned(), mark.to_owned());
        } else if let Some(group) = line.strip_prefix('-') {
            scorers.remove(group);
        }
    }
    for (group, mark) in scorers {
        end(group.parse().unwrap_or_default(), &mark);
    }
    true
}
