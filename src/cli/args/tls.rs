//! TLS of what listens.

use clap::Args;
use rtckit::error::{Error, ErrorKind};
use rtckit::ops::signal::Security;
use std::path::PathBuf;

/// `--tls-cert`, `--tls-key`, `--self-signed`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS of what listens")]
pub struct TlsArgs {
    /// Serve over TLS with this certificate (PEM, its chain behind it); it is read again when it has changed
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "self_signed")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve over TLS with a certificate of an authority of your own, which is made once; rtckit signal --print-ca gives what other machines must trust
    #[arg(long)]
    self_signed: bool,
}

impl TlsArgs {
    /// What these ask for.
    pub fn security(self) -> Result<Security, Error> {
        Ok(match (self.tls_cert, self.tls_key, self.self_signed) {
            (Some(certificate), Some(key), _) => Security::Files { certificate, key },
            (_, _, true) => Security::SelfSigned { folder: authority_folder()? },
            _ => Security::None,
        })
    }
}

/// `$XDG_DATA_HOME/rtckit`, by default in `~/.local/share`.
pub fn authority_folder() -> Result<PathBuf, Error> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    base.map(|base| base.join("rtckit")).ok_or_else(|| {
        let message = "there is no place for the authority of --self-signed: neither HOME nor XDG_DATA_HOME is set";
        Error::new(ErrorKind::Usage, "usage", message)
    })
}
