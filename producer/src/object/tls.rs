//! The cryptography of TLS.

/// Makes ring the process's provider, as for the connection to the broker. A provider that is there already stays.
pub(crate) fn install_tls() {
    drop(rustls::crypto::ring::default_provider().install_default());
}
