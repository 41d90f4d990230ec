//! `[http]`: limits, and TLS.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::parsed;

/// What a client may ask for, and how long it may take.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpConfig {
    /// The largest upload, in bytes as they are sent.
    #[serde(deserialize_with = "parsed::bytes")]
    pub(crate) max_upload: u64,
    /// The largest upload, in bytes once it is decompressed.
    #[serde(deserialize_with = "parsed::bytes")]
    pub(crate) max_unpacked: u64,
    /// Uploads at a time; others wait.
    pub(crate) uploads: NonZeroUsize,
    /// Downloads of results, and questions that read the ledger, at a time; others wait.
    pub(crate) downloads: NonZeroUsize,
    /// Connections at a time.
    pub(crate) connections: NonZeroUsize,
    /// Requests a second of one client, on average.
    pub(crate) requests_per_second: NonZeroU32,
    /// How long a client may send nothing, or take nothing.
    #[serde(deserialize_with = "parsed::duration")]
    pub(crate) idle: Duration,
    /// How long one upload may take.
    #[serde(deserialize_with = "parsed::duration")]
    pub(crate) upload_within: Duration,
    /// The names under which the gateway is reached beside those of loopback, such as `rollcall.example.com`; any if there are none.
    pub(crate) hosts: Vec<String>,
    pub(crate) tls: Option<TlsFiles>,
}

/// The files of TLS, in PEM. They are read again when they change.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    /// The certificate, and those that it is signed by.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            max_upload: 16 << 30,
            max_unpacked: 256 << 30,
            // Each may hold 8 MiB of its first rows, and 4 MiB that are read ahead.
            uploads: NonZeroUsize::MIN.saturating_add(31),
            downloads: NonZeroUsize::MIN.saturating_add(7),
            connections: NonZeroUsize::MIN.saturating_add(1_023),
            requests_per_second: NonZeroU32::MIN.saturating_add(99),
            idle: Duration::from_secs(30),
            upload_within: Duration::from_secs(12 * 3_600),
            hosts: Vec::new(),
            tls: None,
        }
    }
}
