//! What is asked of a server, and what it answers.

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::error::ObjectError;
use super::identity::Identity;

pub(super) type ByteStream = BoxStream<'static, Result<Bytes, ObjectError>>;

/// Bytes of an object from `start` on, up to `end` if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: Option<u64>,
}

impl Span {
    pub(super) const WHOLE: Span = Span { start: 0, end: None };

    pub(super) fn is_part(self) -> bool {
        self != Span::WHOLE
    }

    /// As a `Range` header.
    pub(super) fn header(self) -> String {
        match self.end {
            Some(end) => format!("bytes={}-{}", self.start, end.saturating_sub(1)),
            None => format!("bytes={}-", self.start),
        }
    }
}

/// A server's answer.
pub(super) enum Answer {
    Bytes {
        identity: Identity,
        takes_ranges: bool,
        bytes: ByteStream,
    },
    /// The whole file, in answer to a request for a part.
    WithoutRanges,
}
