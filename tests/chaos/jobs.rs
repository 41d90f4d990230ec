//! Jobs that run one after another, with a user who retries until each is done.

use std::path::PathBuf;

use rollcall_tests::{Ended, Fleet, Process};

/// What the jobs of a series have in common.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The prefix of the jobs' names.
    pub(crate) name: &'static str,
    model: &'static str,
    pub(crate) companies: u32,
}

/// Jobs of many companies that are fast to score.
pub(crate) const FAST: Kind = Kind { name: "fast", model: "questionnaire", companies: 20_000 };

/// Jobs of few companies that take seconds each.
pub(crate) const SLOW: Kind = Kind { name: "slow", model: "slow", companies: 8 };

/// The commands by which a user gets a job done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Enqueue,
    Resume,
    Watch,
}

/// A series of jobs, each started when the one before it is done.
pub(crate) struct JobSeries<'a> {
    fleet: &'a Fleet,
    pub(crate) kind: &'static Kind,
    number: usize,
    file: PathBuf,
    job: String,
    command: Command,
    producer: Option<Process>,
    pub(crate) started: u64,
    ending: bool,
    /// Whether a producer of the current job was killed.
    killed: bool,
    /// Producers that continued in the middle of the file after a kill.
    pub(crate) resumed: u64,
    /// Commands that found the broker down at their start.
    pub(crate) broker_was_down: u64,
    /// Jobs whose name was found to be in use.
    pub(crate) taken: u64,
}

impl<'a> JobSeries<'a> {
    /// Starts the first job.
    pub(crate) fn start(fleet: &'a Fleet, kind: &'static Kind, number: usize, file: PathBuf) -> JobSeries<'a> {
        let command = Command::Enqueue;
        let (job, started, killed) = (String::new(), 0, false);
        let mut series = JobSeries {
            fleet,
            kind,
            number,
            file,
            job,
            command,
            producer: None,
            started,
            ending: false,
            killed,
            resumed: 0,
            broker_was_down: 0,
            taken: 0,
        };
        series.next();
        series
    }

    fn next(&mut self) {
        if self.ending {
            self.producer = None;
            return;
        }
        self.started += 1;
        self.killed = false;
        self.job = format!("{}-{}-job-{}", self.kind.name, self.number, self.started);
        self.run(Command::Enqueue);
    }

    fn run(&mut self, command: Command) {
        let file = self.file.to_str().unwrap();
        self.command = command;
        self.producer = Some(match command {
            Command::Enqueue => self.fleet.start_enqueue(&self.file, self.kind.model, &self.job, &["--wait", "--output", "json"]),
            Command::Resume => {
                self.fleet.start_producer(&["enqueue", "--continue", &self.job, file, "--wait", "--output", "json"])
            }
            Command::Watch => self.fleet.start_producer(&["watch", &self.job, "--output", "json"]),
        });
    }

    /// If the command has ended, starts the next command for the job, or the next job.
    pub(crate) fn advance(&mut self) -> Result<(), String> {
        let Some(ended) = self.producer.as_mut().and_then(Process::ended) else { return Ok(()) };
        let went_on = self.command == Command::Resume && ended.stderr.contains("going on after");
        self.resumed += u64::from(went_on);
        self.broker_was_down += u64::from(ended.code == Some(3));
        // The opened event of the killed producer was still in flight when the next producer opened the job.
        let name_in_use = self.killed && ended.code == Some(2) && ended.error_code().as_deref() == Some("job_name_taken");
        self.taken += u64::from(name_in_use);
        match self.next_command(&ended) {
            Some(command) => self.run(command),
            None if ended.code == Some(0) => self.next(),
            None => return Err(format!("job {}: {:?} ended with {ended:?}", self.job, self.command)),
        }
        Ok(())
    }

    /// The command that continues the job after one that ended like this. The broker or the aggregator may have been down,
    /// and the producer may have been killed before its job was in the ledger, or after it was sealed.
    fn next_command(&self, ended: &Ended) -> Option<Command> {
        match (ended.code?, ended.error_code().as_deref()) {
            (3, _) | (1, Some("no_aggregator")) => Some(self.command),
            (2, Some("no_such_job")) => Some(Command::Enqueue),
            (2, Some("job_name_taken")) => Some(Command::Resume),
            (2, Some("nothing_to_continue")) => Some(Command::Watch),
            _ => None,
        }
    }

    /// Kills the producer, and continues as its user would.
    pub(crate) fn kill(&mut self) {
        let Some(mut producer) = self.producer.take() else { return };
        producer.kill_9();
        self.killed = true;
        self.run(if self.command == Command::Watch { Command::Watch } else { Command::Resume });
    }

    /// Makes the current job the last series.
    pub(crate) fn last(&mut self) {
        self.ending = true;
    }

    /// Whether a job is in progress.
    pub(crate) fn is_busy(&self) -> bool {
        self.producer.is_some()
    }
}
