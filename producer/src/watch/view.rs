//! Shows a job's progress on standard error: a bar on a terminal, lines elsewhere.

mod screen;

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rollcall_shared::message::Job;
use rollcall_shared::terminal::to_stderr;
use screen::Screen;

use crate::enqueue::progress::EnqueueProgress;

/// A line is printed this often at most.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A bar is drawn this often at most.
const DRAWN_PER_SECOND: u8 = 20;

/// A whole job, in thousandths.
const WHOLE: u64 = 1_000;

/// The view of one job.
pub(super) struct View {
    job: Job,
    /// Set if this process enqueues the job.
    enqueue: Option<Arc<EnqueueProgress>>,
    total: Option<u64>,
    /// The part of the job that is shown as done, in thousandths. It never falls, even if the estimate of the total grows.
    shown: Option<u64>,
    note: String,
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl View {
    pub(super) fn new(job: &Job, enqueue: Option<Arc<EnqueueProgress>>) -> View {
        let can_draw = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let bar = can_draw.then(|| {
            let target = ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), DRAWN_PER_SECOND);
            let bar = ProgressBar::with_draw_target(Some(WHOLE), target);
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}") {
                bar.set_style(style);
            }
            bar.set_message("waiting for the first result");
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        View { job: job.clone(), enqueue, total: None, shown: None, note: String::new(), bar, last_line: None }
    }

    /// Sets the job's total.
    pub(super) fn sealed(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// Shows how far the job is; `rate` is in companies per second.
    pub(super) fn progress(&mut self, total: Option<u64>, done: u64, failed: u64, rate: f64) {
        self.total = self.total.or(total);
        let expected = match self.total {
            Some(total) => Expected::Exactly(total),
            None => self.enqueue.as_deref().map_or(Expected::Unknown, Expected::by_reading),
        };
        self.shown = self.shown.max(expected.part(done));
        let part = self.shown.map_or_else(String::new, |shown| format!("{}{}%, ", expected.about(), shown / (WHOLE / 100)));
        let left = match expected {
            Expected::Exactly(all) | Expected::About(all) => time_left(all.saturating_sub(done), rate),
            Expected::AtLeast(_) | Expected::Unknown => String::new(),
        };
        let message = format!("{part}{}/{expected} done, {} failed, {rate:.0}/s{left}", HumanCount(done), HumanCount(failed));
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.shown.unwrap_or(0));
                bar.set_message(message);
            }
            None => self.line(&message),
        }
    }

    /// Shows why the job makes no progress; an empty note means that it does.
    pub(super) fn note(&mut self, note: &str) {
        if self.note != note && !note.is_empty() {
            match &self.bar {
                Some(bar) => bar.println(note),
                None => to_stderr(format_args!("job {}: {note}", self.job)),
            }
        }
        note.clone_into(&mut self.note);
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&mut self, message: &str) {
        if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            to_stderr(format_args!("job {}: {message}", self.job));
            self.last_line = Some(Instant::now());
        }
    }
}

/// How many companies the job has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Exactly this many.
    Exactly(u64),
    /// An estimate, by the part of the file that has been read.
    About(u64),
    /// This many are enqueued, and more may follow.
    AtLeast(u64),
    Unknown,
}

impl Expected {
    fn by_reading(enqueue: &EnqueueProgress) -> Expected {
        let companies = enqueue.enqueued();
        match enqueue.file.estimated_rows() {
            Some(rows) => Expected::About(rows.max(companies)),
            None => Expected::AtLeast(companies),
        }
    }

    /// The part of the job that `done` companies are, in thousandths. By an estimate it is never the whole.
    fn part(self, done: u64) -> Option<u64> {
        let thousandths = |all: u64| done.saturating_mul(WHOLE) / all.max(1);
        match self {
            Expected::Exactly(all) => Some(thousandths(all).min(WHOLE)),
            Expected::About(all) => Some(thousandths(all).min(WHOLE - 1)),
            Expected::AtLeast(_) | Expected::Unknown => None,
        }
    }

    fn about(self) -> &'static str {
        if matches!(self, Expected::About(_)) { "about " } else { "" }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Exactly(all) | Expected::About(all) => write!(f, "{}", HumanCount(*all)),
            Expected::AtLeast(enqueued) => write!(f, "{} enqueued", HumanCount(*enqueued)),
            Expected::Unknown => f.write_str("?"),
        }
    }
}

fn time_left(companies: u64, rate: f64) -> String {
    if rate <= 0.0 {
        return String::new();
    }
    let seconds = (companies as f64 / rate).ceil().min(1e9);
    format!(", {} left", humantime::format_duration(Duration::from_secs_f64(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_done_of_an_estimate_is_never_the_whole_and_of_no_estimate_is_none() {
        let cases = [
            (Expected::Exactly(200), 100, Some(500)),
            (Expected::Exactly(200), 200, Some(1_000)),
            (Expected::Exactly(0), 0, Some(0)),
            (Expected::About(200), 100, Some(500)),
            (Expected::About(200), 300, Some(999)),
            (Expected::AtLeast(100), 100, None),
            (Expected::Unknown, 100, None),
        ];
        for (expected, done, part) in cases {
            assert_eq!(expected.part(done), part, "{expected:?}");
        }
    }

    #[test]
    fn the_time_left_is_exact_to_the_second() {
        assert_eq!(time_left(4_325, 1.0), ", 1h 12m 5s left");
        assert_eq!(time_left(4_325, 0.0), "");
    }

    #[test]
    fn what_is_shown_as_done_never_falls_though_the_estimate_grows() {
        let mut view = View::new(&"j".parse().unwrap(), None);
        let shown = [(100, 50), (1_000, 60), (100, 80)].map(|(total, done)| {
            view.total = None;
            view.progress(Some(total), done, 0, 1.0);
            view.shown
        });
        assert_eq!(shown, [Some(500), Some(500), Some(800)]);
    }
}
