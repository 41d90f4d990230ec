//! Jobs, one after another, each by a user who does not give up.

use std::path::PathBuf;

use rollcall_tests::{Ended, Fleet, Process};

/// What the jobs of a lane are.
#[derive(Debug)]
pub(crate) struct Kind {
    /// What the names of its jobs begin with.
    pub(crate) name: &'static str,
    model: &'static str,
    pub(crate) companies: u32,
}

/// Jobs of many companies, each scored in no time.
pub(crate) const FAST: Kind = Kind { name: "fast", model: "questionnaire", companies: 20_000 };

/// Jobs of few companies, each scored in seconds.
pub(crate) const SLOW: Kind = Kind { name: "slow", model: "slow", companies: 8 };

/// What a user does for a job: each command is the way on where another has ended before the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Enqueue,
    Resume,
    Watch,
}

/// One job after another.
pub(crate) struct Lane<'a> {
    fleet: &'a Fleet,
    pub(crate) kind: &'static Kind,
    number: usize,
    file: PathBuf,
    job: String,
    command: Command,
    producer: Option<Process>,
    pub(crate) started: u64,
    ending: bool,
    /// Whether a producer of the job in hand was killed.
    killed: bool,
    /// Producers that were killed, and followed by one that went on in the middle of the file.
    pub(crate) resumed: u64,
    /// Commands that found no broker at their start.
    pub(crate) too_early: u64,
    /// Jobs that turned out to be there already.
    pub(crate) taken: u64,
}

impl<'a> Lane<'a> {
    /// Starts the first job.
    pub(crate) fn start(fleet: &'a Fleet, kind: &'static Kind, number: usize, file: PathBuf) -> Lane<'a> {
        let command = Command::Enqueue;
        let (job, started, killed) = (String::new(), 0, false);
        let mut lane = Lane {
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
            too_early: 0,
            taken: 0,
        };
        lane.next();
        lane
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

    /// Goes on with the next command when one has ended, and with the next job when one is done.
    pub(crate) fn go_on(&mut self) -> Result<(), String> {
        let Some(ended) = self.producer.as_mut().and_then(Process::ended) else { return Ok(()) };
        let went_on = self.command == Command::Resume && ended.stderr.contains("going on after");
        self.resumed += u64::from(went_on);
        self.too_early += u64::from(ended.code == Some(3));
        // The opening by the one that was killed was on its way when the next asked for the name.
        let was_taken = self.killed && ended.code == Some(2) && ended.stderr.contains("another producer opened first");
        self.taken += u64::from(was_taken);
        match self.way_on(&ended) {
            Some(command) => self.run(command),
            None if ended.code == Some(0) => self.next(),
            None => return Err(format!("job {}: {:?} ended with {ended:?}", self.job, self.command)),
        }
        Ok(())
    }

    /// The command to go on with, by the error code of the one that has ended. The broker or the aggregator may just have been away, and
    /// the producer may have been killed before its job was in the ledger, or after all of it was.
    fn way_on(&self, ended: &Ended) -> Option<Command> {
        match (ended.code?, ended.error_code().as_deref()) {
            (3, _) | (1, Some("no_aggregator")) => Some(self.command),
            (2, Some("no_such_job")) => Some(Command::Enqueue),
            (2, Some("job_name_taken")) => Some(Command::Resume),
            (2, Some("nothing_to_continue")) => Some(Command::Watch),
            _ => None,
        }
    }

    /// Kills the producer, and goes on as its user would.
    pub(crate) fn kill(&mut self) {
        let Some(mut producer) = self.producer.take() else { return };
        producer.kill_9();
        self.killed = true;
        self.run(if self.command == Command::Watch { Command::Watch } else { Command::Resume });
    }

    /// Starts no more jobs after this one.
    pub(crate) fn last(&mut self) {
        self.ending = true;
    }

    /// Whether a job is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.producer.is_some()
    }
}
