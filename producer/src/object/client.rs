//! An object, by whichever kind of server has it.

use std::time::{Duration, Instant};

use object_store::path::Path;
use reqwest::Url;
use rollcall_shared::broker::Backoff;

use super::error::ObjectError;
use super::identity::Identity;
use super::request::{Answer, ByteStream, Span};
use super::store::{Purpose, Store, path};
use super::web;
use crate::location::{ObjectUrl, Place};

/// Attempts to open an object: a server that is overloaded for a moment is no error, and one that is not there is one soon.
const OPENING_ATTEMPTS: u32 = 3;

/// After this time there is no further attempt to open an object: a server that says nothing is waited for once.
const OPEN_WITHIN: Duration = Duration::from_secs(20);

/// An object, and how to ask for it.
pub(super) struct Object {
    pub(super) url: ObjectUrl,
    client: Client,
}

enum Client {
    Store(Store, Path),
    Web(reqwest::Client, Url),
}

impl Object {
    pub(super) async fn at(url: &ObjectUrl) -> Result<Object, ObjectError> {
        let client = match url.place() {
            Place::Store { kind, bucket, key } => Client::Store(Store::open(*kind, bucket, Purpose::Read).await?, path(key)?),
            Place::Web(address) => Client::Web(web::client(address)?, address.clone()),
        };
        Ok(Object { url: url.clone(), client })
    }

    /// Asks for the whole object.
    pub(super) async fn open(&self) -> Result<(Identity, bool, ByteStream), ObjectError> {
        let mut backoff = Backoff::new();
        let (mut attempt, began) = (1, Instant::now());
        loop {
            match self.get(Span::WHOLE, None).await {
                Ok(Answer::Bytes { identity, takes_ranges, bytes }) => return self.check_pinned(identity, takes_ranges, bytes),
                Ok(Answer::WithoutRanges) => return Err(ObjectError::BadAnswer("a part".to_owned())),
                Err(error) if error.may_pass() && attempt < OPENING_ATTEMPTS && began.elapsed() < OPEN_WITHIN => attempt += 1,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Refuses another object than the one that a job was opened with.
    fn check_pinned(
        &self,
        identity: Identity,
        takes_ranges: bool,
        bytes: ByteStream,
    ) -> Result<(Identity, bool, ByteStream), ObjectError> {
        let found = identity.content_hash();
        match self.url.pinned_hash() {
            Some(expected) if found.as_deref() != Some(expected) => {
                let found = found.unwrap_or_else(|| "something else".to_owned());
                Err(ObjectError::Changed { expected: expected.to_owned(), found })
            }
            _ => Ok((identity, takes_ranges, bytes)),
        }
    }

    /// Asks for a part of the object that `expected` says, or for the object that is there.
    pub(super) async fn get(&self, span: Span, expected: Option<&Identity>) -> Result<Answer, ObjectError> {
        let answer = match &self.client {
            Client::Store(store, path) => store.get(path, span, expected).await?,
            Client::Web(client, url) => web::get(client, url, span, expected).await?,
        };
        match (&answer, expected) {
            (Answer::Bytes { identity, .. }, Some(expected)) if !expected.is_same(identity) => Err(expected.changed_to(identity)),
            _ => Ok(answer),
        }
    }
}
