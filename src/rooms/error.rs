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
}

impl Classify for RoomsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { .. } => ErrorKind::Device,
            Self::Read { .. } => ErrorKind::Usage,
            Self::Write { .. } => ErrorKind::Output,
            Self::Certificate { .. } => ErrorKind::InvalidInput,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => "NotAllowedError",
            Self::Listen { .. } => "NotReadableError",
            Self::Read { .. } => "usage",
            Self::Write { .. } => "output",
            Self::Certificate { .. } => "InvalidAccessError",
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
            _ => None,
        }
    }
}
