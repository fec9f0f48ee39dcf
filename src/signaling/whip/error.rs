//! Why a WHIP or WHEP server was of no use.

use super::Protocol;
use crate::error::{Classify, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

/// Why an exchange over HTTP failed. URLs are shown without what may be secret in them: user names, queries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhipError {
    /// Not a URL that can be asked.
    #[error("'{url}': {why}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of authorities that is of no use.
    #[error("{}: {why}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A token that no HTTP header can carry.
    #[error("the token holds something else than visible ASCII characters")]
    Token,
    /// The name has no address.
    #[error("cannot resolve {host}: {why}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// No connection, or it broke.
    #[error("{url}: {why}")]
    Connect {
        /// What was asked.
        url: String,
        /// What the system said.
        why: String,
    },
    /// No TLS.
    #[error("{url}: no TLS: {why}")]
    Tls {
        /// What was asked.
        url: String,
        /// What is wrong with the certificate or the handshake.
        why: String,
    },
    /// The server said no.
    #[error("{protocol} server: {status}{}{}", in_words(.said), later(.retry_after))]
    Refused {
        /// Which protocol it was asked by.
        protocol: Protocol,
        /// Code and words.
        status: String,
        /// The code alone.
        code: u16,
        /// What its body says, in one line.
        said: Option<String>,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The server answered with something else than the protocol has.
    #[error("{protocol} server: {why}")]
    Breach {
        /// Which protocol it was asked by.
        protocol: Protocol,
        /// What it did.
        why: String,
    },
}

fn in_words(said: &Option<String>) -> String {
    said.as_ref().map_or_else(String::new, |said| format!(": {said}"))
}

fn later(after: &Option<Duration>) -> String {
    after.map_or_else(String::new, |after| format!(" (to be asked again in {} s)", after.as_secs()))
}

impl Classify for WhipError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url { .. } | Self::Token => ErrorKind::InvalidInput,
            Self::Authorities { .. } => ErrorKind::Usage,
            Self::Dns { .. } => ErrorKind::Dns,
            Self::Connect { .. } => ErrorKind::Unreachable,
            Self::Tls { .. } => ErrorKind::Dtls,
            Self::Refused { code: 401 | 403 | 407, .. } => ErrorKind::Auth,
            Self::Refused { .. } | Self::Breach { .. } => ErrorKind::Refused,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Url { .. } | Self::Token => "SyntaxError",
            Self::Authorities { .. } => "usage",
            Self::Dns { .. } => "dns",
            Self::Connect { .. } => "unreachable",
            Self::Tls { .. } => "tls",
            Self::Refused { code: 401 | 403 | 407, .. } => "NotAllowedError",
            Self::Refused { .. } => "refused",
            Self::Breach { .. } => "protocol",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Tls { .. } => "--ca-file names authorities of your own, e.g. what 'rtckit signal --print-ca' writes",
            Self::Refused { code: 401 | 403, .. } => "give its token in a file, --token-file, or in RTCKIT_TOKEN",
            Self::Refused { code: 404, .. } => "the path of the URL usually names the stream",
            Self::Refused { retry_after: Some(_), .. } => "with a longer --timeout it is asked again",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
