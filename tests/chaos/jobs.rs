//! Jobs, one after another.

use std::path::{Path, PathBuf};

use rollcall_tests::{Fleet, Process};

/// Companies in a job.
pub(crate) const COMPANIES: u32 = 20_000;

/// One job after another.
pub(crate) struct Lane<'a> {
    fleet: &'a Fleet,
    number: usize,
    file: PathBuf,
    job: String,
    producer: Option<Process>,
    started: u64,
    ending: bool,
    /// Jobs whose producer found no broker at its start.
    pub(crate) too_early: u64,
}

impl<'a> Lane<'a> {
    /// Starts the first job.
    pub(crate) fn start(fleet: &'a Fleet, number: usize, file: PathBuf) -> Lane<'a> {
        let mut lane = Lane { fleet, number, file, job: String::new(), producer: None, started: 0, ending: false, too_early: 0 };
        lane.next();
        lane
    }

    fn next(&mut self) {
        if self.ending {
            self.producer = None;
            return;
        }
        self.started += 1;
        self.job = format!("lane-{}-job-{}", self.number, self.started);
        self.producer = Some(self.fleet.start_enqueue(&self.file, "questionnaire", &self.job, &["--wait"]));
    }

    /// Goes on to the next job when one has ended.
    pub(crate) fn go_on(&mut self) -> Result<(), String> {
        let Some(ended) = self.producer.as_mut().and_then(Process::ended) else { return Ok(()) };
        match ended.code {
            Some(0) => {}
            Some(3) => self.too_early += 1,
            _ => return Err(format!("job {}: its producer ended with {ended:?}", self.job)),
        }
        self.next();
        Ok(())
    }

    /// Kills the producer, and goes on as its user would.
    pub(crate) fn kill(&mut self) {
        let Some(mut producer) = self.producer.take() else { return };
        producer.kill_9();
        match resume(self.fleet, &self.job, &self.file) {
            Some(resumed) => self.producer = Some(resumed),
            None => self.next(),
        }
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

/// Goes on with a job whose producer was killed, by another; nothing where that cannot be done, and the job is abandoned.
fn resume(_fleet: &Fleet, _job: &str, _file: &Path) -> Option<Process> {
    None
}
