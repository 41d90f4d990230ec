//! TLS with a certificate from files, which are read again when they change.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::super::config::TlsFiles;
use crate::error::ProducerError;

/// How often to look whether the files have changed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Accepts TLS with the certificate of these files.
///
/// # Errors
/// [`ProducerError::Usage`] with the file that is wrong.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ProducerError> {
    let certificate = FromFiles {
        files: files.clone(),
        current: Mutex::new(Current { key: Arc::new(load(files)?), modified: modified(files), looked: Instant::now() }),
    };
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ProducerError::System(format!("TLS: {error}")))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[derive(Debug)]
struct FromFiles {
    files: TlsFiles,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    modified: [Option<SystemTime>; 2],
    looked: Instant,
}

impl ResolvesServerCert for FromFiles {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK_AGAIN_AFTER {
            current.looked = Instant::now();
            let modified = modified(&self.files);
            if modified != current.modified {
                match load(&self.files) {
                    Ok(key) => {
                        (current.key, current.modified) = (Arc::new(key), modified);
                        tracing::info!(event = "certificate_reloaded", "read the certificate again");
                    }
                    // One of the two files may not be there yet.
                    Err(error) => {
                        tracing::warn!(event = "certificate_unreadable", %error, "cannot read the certificate again; the one from before holds");
                    }
                }
            }
        }
        Some(Arc::clone(&current.key))
    }
}

fn load(files: &TlsFiles) -> Result<CertifiedKey, ProducerError> {
    let wrong = |path: &Path, error: &dyn std::fmt::Display| {
        ProducerError::Usage(format!(
            "{}: expected a certificate and its key in PEM, found {error}; check [http.tls]",
            path.display()
        ))
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong(&files.certificate, &"no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, &error))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| wrong(&files.key, &error))
}

fn modified(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key].map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
}
