//! Real processes, with their output kept for when a test fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::wait::{eventually, within};

/// A process that ends with its test at the latest.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; nothing where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Standard output as the one JSON document that it must be.
    ///
    /// # Panics
    /// Where it is anything else.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("expected one JSON document: {error}\n{self:?}"))
    }

    /// The error for people: the one line on standard error that is no log line, no line about a job, and not the error document of
    /// `--output json`.
    ///
    /// # Panics
    /// Where there is none, or more than one.
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

    /// Itself, if the process ended with `code`.
    ///
    /// # Panics
    /// Where it ended with another.
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

impl Process {
    /// Starts a process whose output goes to files in `folder`.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Process {
        let output = folder.join(name);
        let file = |kind: &str| Stdio::from(File::create(output.with_extension(kind)).unwrap());
        let child = command.stdout(file("out")).stderr(file("err")).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}; build it by `make test`"));
        Process { name: name.to_owned(), child, output }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on standard error so far.
    pub fn stderr(&self) -> String {
        self.said("err")
    }

    /// How often it has said `words` on standard error so far.
    pub fn times_it_says(&self, words: &str) -> usize {
        self.stderr().matches(words).count()
    }

    fn said(&self, kind: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.output.with_extension(kind)).unwrap_or_default()).into_owned()
    }

    /// Waits until it has said `words` on standard error.
    ///
    /// # Panics
    /// Where it does not within a minute.
    pub fn wait_until_it_says(&self, words: &str) {
        eventually(&format!("{} says {words:?}", self.name), || self.stderr().contains(words).then_some(()));
    }

    /// Ends it as a power cut would.
    pub fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Interrupts it as Ctrl-C would.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Hangs up on it, as a terminal does that is closed.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Stops it where it is, as a suspended machine would.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([&format!("-{signal}"), &self.id().to_string()]).status().unwrap();
        assert!(kill.success(), "{} is not there to be signalled", self.name);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it goes on for longer than `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Ended {
        let name = self.name.clone();
        within(deadline, &format!("{name} ends"), || self.ended())
    }

    /// How it ended; nothing while it goes on.
    pub fn ended(&mut self) -> Option<Ended> {
        let status = self.child.try_wait().unwrap()?;
        Some(Ended { code: status.code(), stdout: self.said("out"), stderr: self.said("err") })
    }

    /// The most memory it has had resident so far, in kB; nothing once it has ended.
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
            eprintln!("--- {} said:\n{}", self.name, self.stderr());
        }
    }
}
