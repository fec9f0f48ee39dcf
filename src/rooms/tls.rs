//! The server's certificate and key.

use super::{Authority, RoomsError};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// What TLS connections are accepted with.
#[derive(Clone)]
pub struct Tls(pub(super) TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(…)")
    }
}

impl Tls {
    /// A certificate, with its chain behind it, and its key: PEM files. Reads them.
    ///
    /// # Errors
    /// When they cannot be read, hold nothing of the kind, or do not belong together.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, RoomsError> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|source| RoomsError::Read { path: path.to_owned(), source });
        let refuse = |path: &Path, reason: String| RoomsError::Certificate { what: path.display().to_string(), reason };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|error| refuse(certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(refuse(certificate, "no certificate in it: it must be PEM".to_owned()));
        }
        let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|error| refuse(key, format!("no private key in it that can be used: {error}")))?;
        Self::new(chain, secret).map_err(|reason| refuse(certificate, reason))
    }

    /// A new certificate of `authority` for `names`, host names and addresses.
    ///
    /// # Errors
    /// When a name is none.
    pub fn issued(authority: &Authority, names: &[String]) -> Result<Self, RoomsError> {
        let (chain, key) = authority.issue(names)?;
        let what = "the certificate of --self-signed".to_owned();
        Self::new(chain, key).map_err(|reason| RoomsError::Certificate { what, reason })
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, String> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default protocol versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| error.to_string())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}
