//! A certificate authority of the user's own: made once, and trusted by the machines on which they install its certificate.

use super::RoomsError;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Apple's systems take no certificate of a server for longer than 825 days, and others will follow.
const SERVER_DAYS: u32 = 397;
const AUTHORITY_DAYS: u32 = 3650;

/// The authority.
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: String,
}

impl Authority {
    /// Reads the authority in `folder`, or makes one there: `ca.pem`, and `ca-key.pem`, which its owner alone can read.
    ///
    /// # Errors
    /// When they cannot be read or written, are no PEM, or others can read the key.
    pub fn load_or_create(folder: &Path) -> Result<Self, RoomsError> {
        let (key_path, path) = (folder.join("ca-key.pem"), folder.join("ca.pem"));
        let made = || KeyPair::generate().map(|key| key.serialize_pem());
        let key = read_or_create(&key_path, 0o600, made)?;
        let mode = fs::metadata(&key_path).map_err(|source| read(&key_path, source))?.mode();
        if mode & 0o077 != 0 {
            let reason = "others can read it, so that it protects nothing: chmod 600, or remove it and ca.pem";
            return Err(refused(&key_path, reason));
        }
        let key = KeyPair::from_pem(&key).map_err(|error| refused(&key_path, error))?;
        let params = authority(&key);
        let certificate =
            read_or_create(&path, 0o644, || params.self_signed(&key).map(|certificate| certificate.pem()))?;
        Ok(Self { params, key, certificate })
    }

    /// Its certificate, which is to be installed where it shall be trusted: PEM.
    pub fn pem(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server, and its key.
    pub(super) fn issue(
        &self,
        names: &[String],
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), RoomsError> {
        let failed =
            |error: rcgen::Error| RoomsError::Certificate { what: names.join(", "), reason: error.to_string() };
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "rtckit signal");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        lasts(&mut params, SERVER_DAYS);
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("rcgen writes PKCS #8");
        Ok((vec![certificate.der().clone()], key))
    }
}

/// What the authority's certificate says: the same for the same key, so that it need not be read.
fn authority(key: &KeyPair) -> CertificateParams {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.der_bytes());
    let short: String = digest.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("rtckit local authority {short}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    lasts(&mut params, AUTHORITY_DAYS);
    params
}

fn lasts(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now();
    // Clocks of other machines may be behind.
    (params.not_before, params.not_after) = ((now - DAY).into(), (now + DAY * (days - 1)).into());
}

/// The file's text. Of two that make it at once the first one's stays, and nobody ever reads half of it.
fn read_or_create(
    path: &Path,
    mode: u32,
    make: impl FnOnce() -> Result<String, rcgen::Error>,
) -> Result<String, RoomsError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done.map_err(|source| read(path, source)),
    }
    let text = make().map_err(|error| refused(path, error))?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    };
    let written = write();
    let _ = fs::remove_file(&draft);
    written.map_err(|source| RoomsError::Write { path: path.to_owned(), source })?;
    fs::read_to_string(path).map_err(|source| read(path, source))
}

fn read(path: &Path, source: io::Error) -> RoomsError {
    RoomsError::Read { path: path.to_owned(), source }
}

fn refused(path: &Path, reason: impl ToString) -> RoomsError {
    RoomsError::Certificate { what: path.display().to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_once_and_nobody_else_can_read_its_key() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("rtckit");
        let first = Authority::load_or_create(&folder).unwrap();
        assert!(first.pem().starts_with("-----BEGIN CERTIFICATE-----"));
        let key = folder.join("ca-key.pem");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Authority::load_or_create(&folder).unwrap().pem(), first.pem());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "drafts stay behind");

        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Authority::load_or_create(&folder).err().expect("a key that others can read");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(scratch.path()).unwrap();
        assert!(authority.issue(&["böse".to_owned()]).is_err());
        assert!(authority.issue(&["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]).is_ok());
    }
}
