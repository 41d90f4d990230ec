//! Objects in object storage, and files of web servers: read with ranged requests that go on where a connection has broken off, and
//! written whole or not at all.
//!
//! Requests run on the runtime. A thread that reads or writes has a channel to them.

mod download;
mod ranges;
mod upload;

mod client;

mod aws_profile;
mod store;
mod web;

mod error;
mod identity;
mod request;
mod tls;

use client::Object;
pub(crate) use download::{ObjectBytes, OpenObject};
pub(crate) use error::ObjectError;
pub(crate) use ranges::ObjectRanges;
pub(crate) use tls::install_tls;
pub(crate) use upload::{Upload, UploadWriter, check, upload};

use crate::location::ObjectUrl;

/// The text by which a job recognises the object under a URL; `None` if its server says too little.
pub(crate) async fn content_hash(url: &ObjectUrl) -> Result<Option<String>, ObjectError> {
    let (identity, ..) = Object::at(url).await?.open().await?;
    Ok(identity.content_hash())
}

#[cfg(test)]
mod tests;
