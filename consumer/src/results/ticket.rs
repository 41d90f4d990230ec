//! What a published message stands for until the broker confirms it.

use rollcall_shared::message::Message;

use super::destination::Destination;
use crate::intake::work_item::{AttemptId, WorkItem};

/// What is done once a message is confirmed, and what is kept to publish it elsewhere.
pub(crate) struct PublishTicket {
    pub(super) settles: SettledDelivery,
    pub(super) content: Content,
}

/// The delivery that a confirmed message settles.
pub(super) enum SettledDelivery {
    /// One of this session.
    Current { tag: u64, quarantined: bool },
    /// One of an earlier session. The broker may have delivered it again to this one.
    Earlier(Box<AttemptId>),
}

/// What a message has.
pub(super) enum Content {
    Result {
        outcome: &'static str,
        cause: String,
    },
    /// A work item without its record, which is the message's body; `None` for a malformed work message.
    Move {
        destination: Destination,
        item: Option<Box<WorkItem>>,
    },
}

impl SettledDelivery {
    pub(super) fn of(item: &WorkItem) -> SettledDelivery {
        SettledDelivery::Current { tag: item.tag, quarantined: item.isolation.is_quarantined() }
    }
}

impl PublishTicket {
    /// Where a work item moves to; `None` for a result and for a malformed message.
    pub(super) fn destination(&self) -> Option<Destination> {
        match &self.content {
            Content::Move { destination, item: Some(_) } => Some(*destination),
            _ => None,
        }
    }

    /// The work item that moves, without its record.
    pub(super) fn item(&self) -> Option<&WorkItem> {
        match &self.content {
            Content::Move { item, .. } => item.as_deref(),
            Content::Result { .. } => None,
        }
    }
}

/// The work item of a message that was to move it, with its record, and the destination.
pub(super) fn into_move((ticket, message): (PublishTicket, Message)) -> Option<(WorkItem, Destination)> {
    match ticket.content {
        Content::Move { destination, item: Some(mut item) } => {
            item.work.record = message.body;
            Some((*item, destination))
        }
        _ => None,
    }
}
