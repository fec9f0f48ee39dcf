//! A certificate of one's own for DTLS, so that a peer can know us again by its fingerprint.

use rtc::crypto::{self, SignatureScheme};
use rtc::peer_connection::certificate::RTCCertificate;
use std::fmt;
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate chain and its private key; W3C `RTCCertificate`.
#[derive(Clone, PartialEq)]
pub struct Identity(RTCCertificate);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is none in the text.
    #[error("no certificate is in it: a block '-----BEGIN CERTIFICATE-----' is wanted")]
    NoCertificate,
    /// It is none of X.509.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// Its time is over or has not come.
    #[error("the certificate is not valid now: {0}")]
    Time(String),
    /// There is none in the text.
    #[error("no private key is in it: a block '-----BEGIN PRIVATE KEY-----' is wanted")]
    NoKey,
    /// Only PKCS #8 is read.
    #[error("the private key is of another form than PKCS #8; openssl pkcs8 -topk8 -nodes makes it one")]
    KeyForm,
    /// DTLS of browsers speaks ECDSA P-256 and RSA, and few others.
    #[error("the private key is of no kind that is used: ECDSA P-256, Ed25519 or RSA are")]
    KeyKind,
    /// The key is that of another certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

impl IdentityError {
    /// Whether the private key is the trouble, and not the certificate.
    pub const fn is_of_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::KeyForm | Self::KeyKind | Self::Mismatch)
    }
}

impl Identity {
    /// Reads PEM: the certificate, with the chain above it if there is one, and its key in PKCS #8 (RFC 7468).
    ///
    /// # Errors
    /// When they cannot be used, with the reason.
    pub fn from_pem(certificate: &str, private_key: &str) -> Result<Self, IdentityError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let first = chain.first().ok_or(IdentityError::NoCertificate)?;
        let (_, parsed) =
            X509Certificate::from_der(first).map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let validity = parsed.validity();
        if !validity.is_valid() {
            return Err(IdentityError::Time(format!("from {} to {}", validity.not_before, validity.not_after)));
        }
        let seconds = u64::try_from(validity.not_after.timestamp()).unwrap_or(0);
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let key = match PrivateKeyDer::from_pem_slice(private_key.as_bytes()) {
            Ok(PrivateKeyDer::Pkcs8(key)) => key,
            Ok(_) => return Err(IdentityError::KeyForm),
            Err(_) => return Err(IdentityError::NoKey),
        };
        let provider = crypto::default_provider().map_err(|_| IdentityError::KeyKind)?;
        let schemes = [SignatureScheme::EcdsaP256Sha256, SignatureScheme::Ed25519, SignatureScheme::RsaPkcs1Sha256];
        let import = |scheme| provider.crypto().import_signing_key(scheme, key.secret_pkcs8_der()).ok();
        let signing = schemes.into_iter().find_map(import).ok_or(IdentityError::KeyKind)?;
        // Whatever the kind, the library gives the key as the certificate holds it.
        if signing.public_key().bytes != &*parsed.public_key().subject_public_key.data {
            return Err(IdentityError::Mismatch);
        }
        Ok(Self(RTCCertificate::from_signing_key(chain, signing, expires)))
    }

    pub(super) fn certificate(&self) -> RTCCertificate {
        self.0.clone()
    }
}
