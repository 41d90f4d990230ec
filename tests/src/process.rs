//! Child processes whose output is kept, to be shown if the test fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::wait::{eventually, within};

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

/// How a process ended, and its output.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Standard output, which must be exactly one JSON document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("expected one JSON document: {error}\n{self:?}"))
    }

    /// The error message: the only line on standard error that is neither a log line, nor a progress line of a job, nor the error
    /// document of `--output json`.
    pub fn error(&self) -> &str {
        let is_log_line = |line: &str| line.starts_with(|c: char| c.is_ascii_digit());
        let is_other = |line: &str| is_log_line(line) || line.starts_with("job ") || line.starts_with("{\"error\":");
        let lines: Vec<&str> = self.stderr.lines().filter(|line| !is_other(line)).collect();
        assert!(lines.len() == 1 && lines[0].starts_with("error: "), "expected one line of error, found {self:?}");
        lines[0]
    }

    /// The code of the error document that `--output json` puts on standard error; `None` if there is none.
    pub fn error_code(&self) -> Option<String> {
        let document = self.stderr.lines().rfind(|line| line.starts_with("{\"error\":"))?;
        let document: serde_json::Value = serde_json::from_str(document).ok()?;
        document["error"]["code"].as_str().map(str::to_owned)
    }

    /// Asserts the exit code.
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

impl Process {
    /// Starts a process whose output goes to files in `folder`.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Process {
        let output = folder.join(name);
        let file = |kind: &str| Stdio::from(File::create(output.with_extension(kind)).unwrap());
        let child = command.stdout(file("out")).stderr(file("err")).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        Process { name: name.to_owned(), child, output }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        self.output("err")
    }

    /// How often it has logged an event so far, as text or as JSON.
    pub fn times_event(&self, event: &str) -> usize {
        self.times_it_says(&format!("event=\"{event}\"")) + self.times_it_says(&format!("\"event\":\"{event}\""))
    }

    /// How often `words` occur on its standard error so far.
    pub fn times_it_says(&self, words: &str) -> usize {
        self.stderr().matches(words).count()
    }

    fn output(&self, kind: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.output.with_extension(kind)).unwrap_or_default()).into_owned()
    }

    /// Waits until it has logged an event, as text or as JSON.
    pub fn wait_until_event(&self, event: &str) {
        eventually(&format!("{} logs event {event}", self.name), || (self.times_event(event) > 0).then_some(()));
    }

    /// Waits until `words` occur on its standard error.
    pub fn wait_until_it_says(&self, words: &str) {
        eventually(&format!("{} says {words:?}", self.name), || self.stderr().contains(words).then_some(()));
    }

    /// Kills it with SIGKILL, and waits for its end.
    pub fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Sends SIGINT to its process group, which it must lead, as a terminal does on Ctrl-C.
    pub fn interrupt_group(&self) {
        let group = format!("-{}", self.id());
        assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    }

    /// Sends SIGHUP, as a terminal does when it is closed.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Stops it with SIGSTOP.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Continues it with SIGCONT.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([&format!("-{signal}"), &self.id().to_string()]).status().unwrap();
        assert!(kill.success(), "{} is not there to be signalled", self.name);
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, deadline: Duration) -> Ended {
        let name = self.name.clone();
        within(deadline, &format!("{name} ends"), || self.ended())
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<Ended> {
        let status = self.child.try_wait().unwrap()?;
        Some(Ended { code: status.code(), stdout: self.output("out"), stderr: self.output("err") })
    }

    /// Its peak resident memory so far, in kB; `None` once it has ended.
    pub fn peak_kb(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.kill_9();
        }
        if std::thread::panicking() {
            eprintln!("--- {} wrote:\n{}", self.name, self.stderr());
        }
    }
}

/// The processes whose parent is this one.
pub fn children_of(parent: u32) -> Vec<u32> {
    let is_process = |entry: &fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| is_process(&entry.ok()?));
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_found_in_text_and_in_json_and_not_by_a_part_of_its_name() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            r#"printf '%s\n' 'INFO event="counting" x' '{"event":"counting"}' 'counting event="counting_more"' >&2"#,
        ]);
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start("sh", command, folder.path());
        process.wait(Duration::from_secs(10)).expect(0);
        process.wait_until_event("counting");
        assert_eq!([process.times_event("counting"), process.times_event("count")], [2, 0]);
    }
}
