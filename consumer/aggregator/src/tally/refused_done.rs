//! Done events that a subscriber's queue refused. The ledger mostly has them all the same, and must not have them twice: a marker is put
//! behind each, and when that is read without it, it goes to the ledger by itself.

use rollcall_shared::message::{Event, JobEvent, Message};

use super::announce::Announcer;

/// Those that the ledger may not have.
#[derive(Debug, Default)]
pub(super) struct RefusedDone {
    /// Each with the marker behind it.
    marked: Vec<(String, Message)>,
}

impl RefusedDone {
    /// A marker was put into the ledger behind it.
    pub(super) fn mark(&mut self, marker: String, done: Message) {
        self.marked.push((marker, done));
    }

    /// A marker has been read; returns the done event that should have come before it and has not.
    pub(super) fn heard(&mut self, marker: &str, announcer: &Announcer) -> Option<Message> {
        let at = self.marked.iter().position(|(id, _)| id == marker)?;
        let (_, message) = self.marked.swap_remove(at);
        match Event::read(&message.body).ok()?.event {
            JobEvent::Done(done) if announcer.awaits(&done.job, done.redrives) => Some(message),
            _ => None,
        }
    }
}
