//! What a person sees on stderr of a job that moves: a bar on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rollcall_shared::message::Job;

use crate::status::thousands;

/// Lines come this often at most.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The view of one job.
pub(super) struct View {
    job: Job,
    /// Counts up while the same process enqueues the job.
    enqueued: Option<Arc<AtomicU64>>,
    total: Option<u64>,
    note: String,
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl View {
    pub(super) fn new(job: &Job, enqueued: Option<Arc<AtomicU64>>) -> View {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent}% {msg}") {
                bar.set_style(style);
            }
            bar.set_message("waiting for the first result");
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        View { job: job.clone(), enqueued, total: None, note: String::new(), bar, last_line: None }
    }

    /// The job's total is known.
    pub(super) fn sealed(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// Shows where the job stands.
    pub(super) fn progress(&mut self, total: Option<u64>, done: u64, failed: u64, rate: f64) {
        self.total = self.total.or(total);
        let enqueued = self.enqueued.as_ref().map(|enqueued| enqueued.load(Ordering::Relaxed));
        let of = match (self.total, enqueued) {
            (Some(total), _) => thousands(total),
            (None, Some(enqueued)) => format!("{} enqueued", thousands(enqueued)),
            (None, None) => "?".to_owned(),
        };
        let left = self.total.map_or_else(String::new, |total| format!(", {}", time_left(total.saturating_sub(done), rate)));
        let message = format!("{}/{of} done, {} failed, {rate:.0}/s{left}", thousands(done), thousands(failed));
        match &self.bar {
            Some(bar) => {
                bar.set_length(self.total.or(enqueued).unwrap_or(done).max(1));
                bar.set_position(done);
                bar.set_message(message);
            }
            None => self.line(&message),
        }
    }

    /// Shows why the job does not move; an empty note says that it does.
    pub(super) fn note(&mut self, note: &str) {
        if self.note != note && !note.is_empty() {
            match &self.bar {
                Some(bar) => bar.println(note),
                None => eprintln!("job {}: {note}", self.job),
            }
        }
        note.clone_into(&mut self.note);
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&mut self, message: &str) {
        if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            eprintln!("job {}: {message}", self.job);
            self.last_line = Some(Instant::now());
        }
    }
}

fn time_left(companies: u64, rate: f64) -> String {
    if rate <= 0.0 {
        return "time left unknown".to_owned();
    }
    let seconds = (companies as f64 / rate).ceil().min(1e9);
    format!("{} left", humantime::format_duration(Duration::from_secs_f64(seconds)))
}
