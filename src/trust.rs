//! Whom this system trusts to sign certificates.

use tokio_rustls::rustls::RootCertStore;

/// The authorities of this system; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others. Reads files.
pub fn authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!("some certificates of this system cannot be read: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}
