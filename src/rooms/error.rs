//! Why a server of rooms could not be set up.

use crate::error::{Classify, ErrorKind};
use std::io;
use std::path::PathBuf;

/// Why a server of rooms could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoomsError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A certificate, a key or a folder cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key that cannot be used.
    #[error("{what}: {reason}")]
    Certificate {
        /// The file, or what else it is.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of authorities that cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Authorities {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No URL of a Redis. It may hold a password, so it is not here.
    #[error("that is no URL of a Redis: {reason}")]
    RedisUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// A Redis that cannot be used.
    #[error("cannot use Redis at {address}: {reason}")]
    Redis {
        /// Where, without credentials.
        address: String,
        /// Why.
        reason: String,
        /// What kind of failure it is, where that is known.
        kind: Option<ErrorKind>,
    },
}

impl Classify for RoomsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { .. } => ErrorKind::Device,
            Self::Read { .. } => ErrorKind::Usage,
            Self::Write { .. } => ErrorKind::Output,
            Self::Certificate { .. } => ErrorKind::InvalidInput,
            Self::RedisUrl { .. } | Self::Authorities { .. } => ErrorKind::Usage,
            Self::Redis { kind, .. } => kind.unwrap_or(ErrorKind::Internal),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => "NotAllowedError",
            Self::Listen { .. } => "NotReadableError",
            Self::Read { .. } => "usage",
            Self::Write { .. } => "output",
            Self::Certificate { .. } => "InvalidAccessError",
            Self::RedisUrl { .. } | Self::Authorities { .. } => "usage",
            Self::Redis { kind: Some(ErrorKind::Auth), .. } => "NotAllowedError",
            Self::Redis { kind: Some(ErrorKind::Dns), .. } => "dns",
            Self::Redis { kind: Some(ErrorKind::Dtls), .. } => "tls",
            Self::Redis { .. } => "unreachable",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("something listens there already: give another port, or 0 for any that is free".to_owned())
            }
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("ports below 1024 are for root: give another, e.g. 8443".to_owned())
            }
            Self::RedisUrl { .. } => Some(
                "e.g. redis://127.0.0.1, rediss://:PASSWORD@redis.example:6380/1, redis+unix:///run/redis.sock"
                    .to_owned(),
            ),
            Self::Redis { kind: Some(ErrorKind::Auth), .. } => Some(
                "the password belongs into the URL, redis://:PASSWORD@HOST: RTCKIT_REDIS keeps it from other users"
                    .to_owned(),
            ),
            Self::Redis { kind: Some(ErrorKind::Dtls), .. } => {
                Some("whoever signed its certificate is trusted with --redis-ca-file".to_owned())
            }
            _ => None,
        }
    }
}
