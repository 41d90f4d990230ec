//! `[[webhook]]`: whom to tell of jobs that have ended.

use std::fmt;
use std::path::PathBuf;

use rollcall_shared::message::{Model, parse_prefix};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::bad_config::BadConfig;

/// A URL that is sent each done event.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    /// Names the queue of what is to be sent; another name is another webhook.
    pub(crate) name: String,
    #[serde(deserialize_with = "url")]
    pub(crate) url: Url,
    /// Jobs of these models only.
    #[serde(default)]
    pub(crate) models: Vec<Model>,
    /// The file with the key that signs what is sent, `whsec_` and base64.
    pub(crate) secret_file: Option<PathBuf>,
    /// Whether the URL may lead to a private address, such as one of this machine or of its network.
    #[serde(default)]
    pub(crate) allow_private_address: bool,
}

fn url<'de, D: Deserializer<'de>>(from: D) -> Result<Url, D::Error> {
    // Its text may have a secret.
    String::deserialize(from)?.parse().map_err(|error| {
        D::Error::custom(format!("expected a URL such as https://crm.example.com/rollcall, found none: {error}"))
    })
}

/// Without the URL, which may have a secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Webhook {
    pub(super) fn check(&self) -> Result<(), BadConfig> {
        let name = &self.name;
        parse_prefix(name).map_err(|error| BadConfig(format!("[[webhook]] name: {error}")))?;
        match self.url.scheme() {
            "https" | "http" if self.url.has_host() => {}
            _ => {
                return Err(BadConfig(format!(
                    "[[webhook]] {name}: expected url to begin with https://, found another; correct it"
                )));
            }
        }
        if self.secret_file.is_none() {
            return Err(BadConfig(format!(
                "[[webhook]] {name}: expected secret_file, found none; make a key by `echo whsec_$(openssl rand -base64 32)`, and give it to the receiver too"
            )));
        }
        Ok(())
    }
}
