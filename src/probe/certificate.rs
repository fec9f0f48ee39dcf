//! The certificate of a server: whether it holds, and what a person wants to know about it.

use crate::trust;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: f64 = 86_400.0;

/// A server's certificate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Whom it is for.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The names and addresses it holds for.
    pub names: Vec<String>,
    /// When it begins to hold, in seconds since 1970.
    pub not_before: i64,
    /// When it ends to hold, in seconds since 1970.
    pub not_after: i64,
    /// Days from now until then; negative when it is over.
    pub days_left: f64,
    /// Certificates that the server sent along, its own among them.
    pub chain_length: usize,
    /// Whether it is signed by somebody this system trusts, holds now and for the name we asked for.
    pub verified: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whom to trust.
#[derive(Clone, Debug)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    /// Whether a certificate that does not hold ends the probe.
    pub insecure: bool,
}

impl Trust {
    /// Trusts whom this system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others. Reads files.
    pub fn of_system(insecure: bool) -> Self {
        Self { roots: Arc::new(trust::authorities()), insecure }
    }

    /// Trusts nobody.
    pub fn none() -> Self {
        Self { roots: Arc::new(RootCertStore::empty()), insecure: false }
    }
}

/// Judges the certificate of one server, and remembers it.
#[derive(Clone, Debug)]
pub(super) struct Witness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    name: ServerName<'static>,
    seen: Mutex<Option<Certificate>>,
}

impl Witness {
    pub(super) fn new(trust: &Trust, name: ServerName<'static>) -> Self {
        let provider = Arc::new(crypto::ring::default_provider());
        Self(Arc::new(Inner { trust: trust.clone(), provider, name, seen: Mutex::new(None) }))
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.0.provider)
    }

    /// The certificate that came.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Judges a chain, the server's own certificate first. An error ends the handshake.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<(), TlsError> {
        let Some((own, others)) = chain.split_first() else {
            return Err(TlsError::NoCertificatesPresented);
        };
        let roots = Arc::clone(&self.0.trust.roots);
        let verified = if roots.is_empty() {
            Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer))
        } else {
            match WebPkiServerVerifier::builder_with_provider(roots, self.provider()).build() {
                Ok(verifier) => {
                    verifier.verify_server_cert(own, others, &self.0.name, &[], UnixTime::now()).map(|_| ())
                }
                Err(error) => Err(TlsError::General(error.to_string())),
            }
        };
        let error = verified.as_ref().err().map(|error| explain(error, own));
        let certificate = describe(own, chain.len(), error);
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
        if self.0.trust.insecure { Ok(()) } else { verified }
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        self.judge(&chain).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a certificate does not hold, as a person would say it.
fn explain(error: &TlsError, own: &CertificateDer<'_>) -> String {
    let TlsError::InvalidCertificate(error) = error else { return error.to_string() };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it does not hold yet".to_owned()
        }
        CertificateError::NotValidForName => "it is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, .. } => {
            format!("it is not for '{}'", expected.to_str())
        }
        CertificateError::UnknownIssuer if is_self_signed(own) => {
            "it is self-signed, and this system does not trust it".to_owned()
        }
        CertificateError::BadSignature => "its signature is not that of the authority that it names".to_owned(),
        CertificateError::UnknownIssuer => "this system does not trust whoever signed it".to_owned(),
        other => other.to_string(),
    }
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| parsed.subject() == parsed.issuer())
}

fn describe(own: &CertificateDer<'_>, chain_length: usize, error: Option<String>) -> Certificate {
    let parsed = X509Certificate::from_der(own).ok().map(|(_, parsed)| parsed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64();
    let validity = parsed.as_ref().map(|parsed| parsed.validity());
    let not_after = validity.map_or(0, |validity| validity.not_after.timestamp());
    Certificate {
        subject: parsed.as_ref().map_or_else(String::new, |parsed| clean(&parsed.subject().to_string())),
        issuer: parsed.as_ref().map_or_else(String::new, |parsed| clean(&parsed.issuer().to_string())),
        names: parsed.as_ref().map(names).unwrap_or_default(),
        not_before: validity.map_or(0, |validity| validity.not_before.timestamp()),
        not_after,
        days_left: (not_after as f64 - now) / DAY,
        chain_length,
        verified: error.is_none(),
        error,
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let shown = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(clean(name)),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => Some(std::net::IpAddr::from(<[u8; 4]>::try_from(*octets).ok()?).to_string()),
            16 => Some(std::net::IpAddr::from(<[u8; 16]>::try_from(*octets).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    });
    shown.take(64).collect()
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
