//! `[access]`: who may use the gateway.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use super::bad_config::BadConfig;

/// Who may use the gateway. Without any of these, it listens on a loopback address only, and whoever reaches it may do everything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AccessConfig {
    /// A file of bearer tokens: on each line a role (`viewer` or `operator`), a name and a token. It is read again when it changes.
    pub(crate) tokens: Option<PathBuf>,
    pub(crate) trusted_proxy: Option<TrustedProxy>,
}

/// A proxy that has authenticated whoever sends a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustedProxy {
    /// Its addresses. Requests from elsewhere need a token.
    pub(crate) addresses: Vec<IpNet>,
    /// The header with the user's name.
    #[serde(default = "user_header")]
    pub(crate) user_header: String,
    /// Users who may change something; `["*"]` is everybody. Others may look.
    #[serde(default)]
    pub(crate) operators: Vec<String>,
}

fn user_header() -> String {
    "x-forwarded-user".to_owned()
}

impl AccessConfig {
    pub(super) fn check(&self) -> Result<(), BadConfig> {
        let Some(proxy) = &self.trusted_proxy else { return Ok(()) };
        if proxy.addresses.is_empty() {
            return Err(BadConfig(
                "[access.trusted_proxy]: expected the proxy's addresses such as \"10.1.2.3/32\", found none; name them"
                    .to_owned(),
            ));
        }
        if axum::http::HeaderName::try_from(&proxy.user_header).is_err() {
            let found = &proxy.user_header;
            return Err(BadConfig(format!("[access.trusted_proxy] user_header: expected the name of a header, found {found:?}")));
        }
        Ok(())
    }
}
