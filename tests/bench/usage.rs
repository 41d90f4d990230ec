//! CPU seconds and peak memory of processes, read from `/proc`.

use std::fs;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

use rollcall_tests::{Broker, Ended, Process, within};
use serde_json::{Value, json};

/// The kernel reports CPU time in hundredths of a second, on every platform that Rollcall supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// A broker below this fraction of a core is idle: its own timers take about a hundredth.
const IDLE_BELOW: f64 = 0.05;

#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub user_seconds: f64,
    pub system_seconds: f64,
}

impl Cpu {
    /// The CPU time of a process so far; a zombie's is still available.
    pub fn of(process: u32) -> Cpu {
        let (_, [user, system]) = stat(process);
        Cpu { user_seconds: user / TICKS_PER_SECOND, system_seconds: system / TICKS_PER_SECOND }
    }

    pub fn seconds(self) -> f64 {
        self.user_seconds + self.system_seconds
    }
}

impl Add for Cpu {
    type Output = Cpu;

    fn add(self, more: Cpu) -> Cpu {
        Cpu { user_seconds: self.user_seconds + more.user_seconds, system_seconds: self.system_seconds + more.system_seconds }
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, before: Cpu) -> Cpu {
        Cpu { user_seconds: self.user_seconds - before.user_seconds, system_seconds: self.system_seconds - before.system_seconds }
    }
}

/// The state of a process, and its ticks in user and in system mode.
fn stat(process: u32) -> (char, [f64; 2]) {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name, in parentheses, may contain any characters. After it, the state is the 1st field, the ticks are the 12th and
    // 13th.
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = after_name.split(' ').collect();
    (fields[0].chars().next().unwrap(), [fields[11], fields[12]].map(|ticks| ticks.parse().unwrap()))
}

/// The usage of a process, or of several of a kind, over a period.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Without child processes, such as a consumer's command scorers: the kernel adds those only when they have ended.
    pub cpu: Cpu,
    /// Of several processes, the largest's.
    pub peak_kb: u64,
}

impl Usage {
    pub fn json(&self) -> Value {
        let Cpu { user_seconds, system_seconds } = self.cpu;
        json!({ "cpu_user_seconds": user_seconds, "cpu_system_seconds": system_seconds, "peak_kb": self.peak_kb })
    }

    fn and(self, other: Usage) -> Usage {
        Usage { cpu: self.cpu + other.cpu, peak_kb: self.peak_kb.max(other.peak_kb) }
    }
}

/// Running processes of one kind, measured from a moment on.
pub struct Watched {
    processes: Vec<(u32, Cpu)>,
}

impl Watched {
    /// CPU time used before is not counted. The peak includes memory allocated before.
    pub fn from_now(processes: impl IntoIterator<Item = u32>) -> Watched {
        Watched { processes: processes.into_iter().map(|process| (process, Cpu::of(process))).collect() }
    }

    /// The usage since then.
    pub fn used(&self) -> Usage {
        let each = self
            .processes
            .iter()
            .map(|&(process, before)| Usage { cpu: Cpu::of(process) - before, peak_kb: peak_kb(process).unwrap_or_default() });
        each.reduce(Usage::and).unwrap_or_default()
    }
}

/// Waits for a process's end. Its memory is sampled every few milliseconds; its CPU time is read when it has ended.
pub fn follow(process: &mut Process, deadline: Duration) -> (Ended, Usage) {
    const STEP: Duration = Duration::from_millis(5);
    let (until, mut peak) = (Instant::now() + deadline, 0);
    while stat(process.id()).0 != 'Z' {
        peak = peak_kb(process.id()).unwrap_or(peak);
        assert!(Instant::now() < until, "a process has not ended within {deadline:?}");
        std::thread::sleep(STEP);
    }
    let cpu = Cpu::of(process.id());
    (process.wait(deadline), Usage { cpu, peak_kb: peak })
}

/// The peak resident memory of a process; `None` once it has ended.
fn peak_kb(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
}

/// Starts measuring the broker, with its peak reset; `None` if the broker was not started for this run.
pub fn watch_broker() -> Option<Watched> {
    let broker = Broker::given()?.process_id();
    // If that is not permitted, the peak is that of its whole life.
    drop(fs::write(format!("/proc/{broker}/clear_refs"), "5"));
    Some(Watched::from_now([broker]))
}

/// Waits until the broker is idle, so that earlier work is not measured.
pub fn wait_until_broker_is_idle() {
    const LOOK_FOR: Duration = Duration::from_millis(500);
    let Some(broker) = Broker::given().map(|broker| broker.process_id()) else { return };
    within(Duration::from_secs(300), "the broker is idle", || {
        let before = Cpu::of(broker);
        std::thread::sleep(LOOK_FOR);
        ((Cpu::of(broker) - before).seconds() < IDLE_BELOW * LOOK_FOR.as_secs_f64()).then_some(())
    });
}
