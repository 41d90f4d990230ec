//! A webhook: a URL that is sent documents, signed as Standard Webhooks 1.0 has it.

mod address;
mod signature;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use rollcall_shared::message::Model;

use self::address::{PublicAddresses, refuse_private_host};
use self::signature::Key;
use super::config::{self, Config};
use crate::error::ProducerError;
use crate::object::install_tls;

/// How long a receiver may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Why a document was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSent {
    /// The receiver says that there is nobody any more.
    #[error("expected status 2xx of the receiver, found 410")]
    Refused,
    #[error("expected status 2xx of the receiver, found {0}")]
    Status(u16),
    #[error("expected an answer of the receiver, found {0}")]
    NoAnswer(String),
}

/// A webhook that can be told.
pub(crate) struct Webhook {
    config: config::Webhook,
    url: Url,
    key: Key,
    client: Client,
}

/// Reads the keys of all webhooks.
///
/// # Errors
/// [`ProducerError::Usage`] with the webhook that is wrong.
pub(crate) fn load(config: &Config) -> Result<Vec<Webhook>, ProducerError> {
    config.webhooks.iter().map(Webhook::load).collect()
}

impl Webhook {
    fn load(config: &config::Webhook) -> Result<Webhook, ProducerError> {
        let wrong = |found: String| ProducerError::Usage(format!("[[webhook]] {}: {found}", config.name));
        let key = Key::load(config.secret_file.as_deref().unwrap_or(Path::new(""))).map_err(wrong)?;
        if !config.allow_private_address {
            refuse_private_host(&config.url).map_err(wrong)?;
        }
        install_tls();
        // A redirect, or a proxy of the environment, would lead past the check of the address.
        let client = Client::builder().redirect(Policy::none()).no_proxy().timeout(ANSWER_WITHIN);
        let client = if config.allow_private_address { client } else { client.dns_resolver(Arc::new(PublicAddresses)) };
        let client = client.build().map_err(|error| wrong(error.to_string()))?;
        Ok(Webhook { url: config.url.clone(), config: config.clone(), key, client })
    }

    /// Whether it is told of jobs of this model.
    pub(crate) fn concerns(&self, model: Option<&Model>) -> bool {
        let models = &self.config.models;
        models.is_empty() || model.is_some_and(|model| models.contains(model))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    /// Sends a document that has this id.
    ///
    /// # Errors
    /// [`NotSent`].
    pub(crate) async fn send(&self, id: &str, body: &[u8]) -> Result<(), NotSent> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/cloudevents+json")
            .header("webhook-id", id)
            .header("webhook-timestamp", now.to_string())
            .header("webhook-signature", self.key.sign(id, now, body))
            .body(body.to_vec());
        match request.send().await.map(|response| response.status()) {
            Ok(status) if status.is_success() => Ok(()),
            // The receiver says that there is nobody any more.
            Ok(StatusCode::GONE) => Err(NotSent::Refused),
            Ok(status) => Err(NotSent::Status(status.as_u16())),
            // Its text may have the URL, and in that a secret.
            Err(error) => Err(NotSent::NoAnswer(cause(&error.without_url()))),
        }
    }
}

/// The innermost cause of an error: what is around it says less.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
