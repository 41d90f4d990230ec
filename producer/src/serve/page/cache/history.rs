//! What the page keeps of the events of a job: how fast it was scored, and what happened to it.

use std::collections::VecDeque;

use rollcall_shared::message::{Enqueued, Event, JobEvent, Progress, Timestamp};

use crate::serve::event_log::LoggedEvent;
use crate::serve::event_log::tail::Collect;

/// Events of a job that are shown; whoever needs earlier ones reads them by the API.
const KEPT: usize = 100;

/// The events of a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// The id of the last event.
    pub(crate) last_id: Option<u64>,
    /// Of its latest round.
    pub(crate) progress: Vec<ProgressPoint>,
    /// The latest last, without those about progress.
    pub(crate) events: VecDeque<LogEntry>,
}

/// How far a job was at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ProgressPoint {
    pub(crate) at: Timestamp,
    /// Companies with an outcome.
    pub(crate) counted: u64,
    /// Companies a second since the point before; 0 if the leader has just begun to measure it.
    pub(crate) per_second: f64,
}

/// Something that happened to a job.
#[derive(Debug, Clone)]
pub(crate) struct LogEntry {
    pub(crate) at: Option<Timestamp>,
    pub(crate) what: Told,
}

/// What an event says.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Known(Box<JobEvent>),
    /// The name of an event that this version does not know, or whose document is malformed. Anybody may publish one.
    Unknown(String),
}

impl Collect for History {
    fn take(&mut self, event: LoggedEvent) {
        self.last_id = Some(event.id);
        let (at, what) = match Event::read(&event.body) {
            Ok(Event { time, event, .. }) => (time, Told::Known(Box::new(event))),
            Err(_) => (None, Told::Unknown(event.name)),
        };
        if let Told::Known(known) = &what {
            match &**known {
                JobEvent::Progress(Progress { succeeded, failed, companies_per_second, .. }) => {
                    let counted = succeeded.saturating_add(*failed);
                    self.progress.extend(at.map(|at| ProgressPoint { at, counted, per_second: *companies_per_second }));
                    return;
                }
                JobEvent::Opened(_) | JobEvent::Redriven(_) => self.progress.clear(),
                // Its producer says so every second or so: the last word is enough.
                JobEvent::Enqueued(_) | JobEvent::Sealed(_) => self.events.retain(|entry| !is_enqueued(entry)),
                _ => {}
            }
        }
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(LogEntry { at, what });
    }
}

fn is_enqueued(entry: &LogEntry) -> bool {
    matches!(&entry.what, Told::Known(event) if matches!(**event, JobEvent::Enqueued(Enqueued { .. })))
}

#[cfg(test)]
mod tests {
    use rollcall_shared::message::{Enqueued, Pause, Redriven, State};

    use super::*;

    fn logged(id: u64, event: JobEvent) -> LoggedEvent {
        LoggedEvent { id, name: event.name().to_owned(), body: Event::now(event).body().unwrap() }
    }

    fn progress(succeeded: u64) -> JobEvent {
        let (job, model, state) = ("j".parse().unwrap(), None, State::Running);
        JobEvent::Progress(Progress { job, model, state, total: None, succeeded, failed: 1, companies_per_second: 2.0 })
    }

    #[test]
    fn of_a_job_that_is_redriven_only_the_latest_round_is_plotted() {
        let mut history = History::default();
        let (job, by, indices): (rollcall_shared::message::Job, _, _) = ("j".parse().unwrap(), String::new(), Default::default());
        let redriven = Redriven { job, round: 1, by, indices, companies: 1, total: None, redriven_at: None, opening: None };
        for (id, event) in [progress(1), progress(2), JobEvent::Redriven(redriven), progress(3)].into_iter().enumerate() {
            history.take(logged(id as u64, event));
        }
        assert_eq!(history.progress.iter().map(|point| point.counted).collect::<Vec<_>>(), [4]);
        assert_eq!((history.last_id, history.events.len()), (Some(3), 1));
    }

    #[test]
    fn of_events_there_are_the_latest_and_the_last_word_of_the_producer() {
        let mut history = History::default();
        let job: rollcall_shared::message::Job = "j".parse().unwrap();
        for id in 0..300 {
            history.take(logged(id, JobEvent::Paused(Pause { job: job.clone(), at: None })));
            history.take(logged(id, JobEvent::Enqueued(Enqueued { job: job.clone(), position: id, opening: None })));
        }
        assert_eq!(history.events.len(), KEPT);
        assert_eq!(history.events.iter().filter(|entry| is_enqueued(entry)).count(), 1);
        history.take(LoggedEvent { id: 300, name: "<other>".to_owned(), body: b"no JSON".to_vec() });
        assert!(matches!(&history.events.back().unwrap().what, Told::Unknown(name) if name == "<other>"));
    }
}
