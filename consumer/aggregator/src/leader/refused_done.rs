//! Done events that a subscriber's queue refused. The ledger usually has them nevertheless, and must not have them twice. So a marker is
//! put behind each one: if the marker is read first, the ledger lacks the event, and it is published to the ledger alone.

use rollcall_shared::message::{Event, JobEvent, Message};

use super::announcements::Announcements;

/// Done events that the ledger may lack.
#[derive(Debug, Default)]
pub(super) struct RefusedDone {
    /// Each with the marker behind it.
    marked: Vec<(String, Message)>,
    /// Those that the ledger does lack.
    lost: Vec<Message>,
}

impl RefusedDone {
    /// Waits for the marker that was put into the ledger behind a done event.
    pub(super) fn await_marker(&mut self, marker: String, done: Message) {
        self.marked.push((marker, done));
    }

    /// Notes that a marker was read from the ledger.
    pub(super) fn note_marker(&mut self, marker: &str, announcements: &Announcements) {
        let Some(at) = self.marked.iter().position(|(id, _)| id == marker) else { return };
        let (_, message) = self.marked.swap_remove(at);
        if let Ok(Event { event: JobEvent::Done(done), .. }) = Event::read(&message.body)
            && announcements.is_awaited(&done.job, done.redrives)
        {
            self.lost.push(message);
        }
    }

    /// Takes the done events that the ledger lacks.
    pub(super) fn take_lost(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.lost)
    }
}
