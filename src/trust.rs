//! Whom this system trusts to sign certificates, and by what it is trusted itself.

use std::path::{Path, PathBuf};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// How connections are secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    #[default]
    None,
    /// With a certificate, its chain behind it, and its key, in PEM.
    Files {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// With a new certificate of an authority of the user's own.
    SelfSigned {
        /// Where the authority is kept.
        folder: PathBuf,
    },
}

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

/// The same, and those in a file of the user's (PEM).
///
/// # Errors
/// Why the file is of no use.
pub fn authorities_and(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = authorities();
    if let Some(path) = file {
        add(&mut roots, path)?;
    }
    Ok(roots)
}

/// A file of authorities of the user's (PEM), in which there is one that can be used.
///
/// # Errors
/// Why the file is of no use.
pub fn read_authorities(path: &Path) -> Result<Vec<u8>, String> {
    add(&mut RootCertStore::empty(), path)
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<Vec<u8>, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| format!("no PEM: {error}"))?;
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err("there is no certificate in it that can be used".to_owned()),
        _ => Ok(text),
    }
}
