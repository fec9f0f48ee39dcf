//! The server's certificate and key.

use super::{Authority, RoomsError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// What TLS connections are accepted with.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(…)")
    }
}

impl Tls {
    /// A certificate, with its chain behind it, and its key: PEM files. Reads them, and again whenever they have changed:
    /// connections that come then get the new certificate. While the two cannot be used the old one stays.
    ///
    /// # Errors
    /// When they cannot be read, hold nothing of the kind, or do not belong together.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, RoomsError> {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let seen = [stamp(&certificate), stamp(&key)];
        let current = Arc::new(load(&certificate, &key)?);
        Ok(Self::new(Arc::new(Files { certificate, key, state: Mutex::new((seen, current)) })))
    }

    /// A new certificate of `authority` for `names`, host names and addresses.
    ///
    /// # Errors
    /// When a name is none.
    pub fn issued(authority: &Authority, names: &[String]) -> Result<Self, RoomsError> {
        let (chain, key) = authority.issue(names)?;
        let certified = certified(chain, key).map_err(|reason| RoomsError::Certificate {
            what: "the certificate of --self-signed".to_owned(),
            reason,
        })?;
        Ok(Self::new(Arc::new(SingleCertAndKey::from(certified))))
    }

    fn new(certificates: Arc<dyn ResolvesServerCert>) -> Self {
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default protocol versions")
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(TlsAcceptor::from(Arc::new(config)))
    }

    /// What makes TLS of a connection.
    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.0
    }
}

/// When a file was changed, which it is, and how long; `None` where there is none.
type Stamp = Option<(i64, i64, u64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let facts = std::fs::metadata(path).ok()?;
    Some((facts.mtime(), facts.mtime_nsec(), facts.ino(), facts.len()))
}

/// A certificate that is read again when its files have changed.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    state: Mutex<([Stamp; 2], Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, current) = &mut *state;
        let now = [stamp(&self.certificate), stamp(&self.key)];
        if *seen != now {
            *seen = now;
            match load(&self.certificate, &self.key) {
                Ok(fresh) => {
                    tracing::info!("{} has changed: new connections get that certificate", self.certificate.display());
                    *current = Arc::new(fresh);
                }
                Err(error) => tracing::warn!("{error}: the certificate of before stays in use"),
            }
        }
        Some(Arc::clone(current))
    }
}

fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, RoomsError> {
    let read = |path: &Path| std::fs::read(path).map_err(|source| RoomsError::Read { path: path.to_owned(), source });
    let refuse = |path: &Path, reason: String| RoomsError::Certificate { what: path.display().to_string(), reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(refuse(certificate, "no certificate in it: it must be PEM".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| refuse(key, format!("no private key in it that can be used: {error}")))?;
    certified(chain, secret).map_err(|reason| refuse(certificate, reason))
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, String> {
    CertifiedKey::from_der(chain, key, &crypto::ring::default_provider()).map_err(|error| error.to_string())
}
