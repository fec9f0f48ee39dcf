//! Why a transfer, or one file of it, failed; and the codes by which the two sides tell each other.

use crate::error::{Classify, Error, ErrorKind};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// What one side tells the other of a failure: member `code` of the message `error`, and of a FAIL record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Code {
    /// The version is not spoken here.
    Version,
    /// A message that the protocol does not allow here.
    Protocol,
    /// A hash did not match.
    Integrity,
    /// A file was changed or removed while it was sent.
    Changed,
    /// The sender cannot read a file.
    Read,
    /// The receiver cannot write.
    Write,
    /// The receiver has no room.
    NoSpace,
    /// A file of that name exists.
    Exists,
    /// The manifest is not acceptable: names, sizes, counts.
    Manifest,
    /// The person at the other side said no.
    Declined,
    /// The other side was stopped.
    Cancelled,
    /// Anything else, and whatever a later version adds.
    #[serde(other)]
    Other,
}

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A source cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A source cannot be sent as it is.
    #[error("{path}: {why}")]
    Source {
        /// Which.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// The same name would be sent twice.
    #[error("two of the files would be sent as '{path}'")]
    SameName {
        /// The name.
        path: String,
    },
    /// A file was changed or removed while it was sent.
    #[error("{path}: {why} while it was sent")]
    Changed {
        /// Which.
        path: String,
        /// `changed` or `removed`.
        why: &'static str,
    },
    /// An output exists.
    #[error("{path}: the file exists")]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// An output cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An output cannot be written where it should be.
    #[error("{path}: {why}")]
    Place {
        /// Which.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// Not enough room.
    #[error("{path}: {needed} bytes are needed, {free} are free")]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// Bytes still to come.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The content is not what the sender hashed.
    #[error("{path}: its BLAKE3 hash is not what was sent")]
    Hash {
        /// Which.
        path: String,
    },
    /// The peer breaks the protocol.
    #[error("the peer breaks the transfer protocol: {why}")]
    Protocol {
        /// What is wrong.
        why: String,
    },
    /// A manifest that is refused.
    #[error("the sender's list of files is refused: {why}")]
    Manifest {
        /// What is wrong.
        why: String,
    },
    /// The peer speaks another version.
    #[error("the peer speaks version {theirs} of the transfer protocol, we speak {ours}")]
    Version {
        /// What it said.
        theirs: u64,
        /// What we speak.
        ours: u64,
    },
    /// The peer ended the transfer.
    #[error("the {who} ended the transfer: {message}")]
    Peer {
        /// `sender` or `receiver`.
        who: &'static str,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        message: String,
    },
    /// The peer could not send a file.
    #[error("{message}")]
    PeerFile {
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        message: String,
    },
    /// The user at this side said no.
    #[error("declined")]
    Declined,
    /// Some files did not make it.
    #[error("{failed} of {files} files failed: {first}")]
    Partial {
        /// How many.
        failed: usize,
        /// Of how many.
        files: usize,
        /// What happened to the first of them.
        first: String,
        /// Of which class.
        code: Code,
    },
    /// The channel closed before everything was done.
    #[error("the connection ended before the transfer was complete")]
    Closed,
    /// Stopped by the user.
    #[error("stopped before the transfer was complete")]
    Stopped,
    /// The channel failed.
    #[error("{0}")]
    Channel(Error),
    /// A thread of ours is gone.
    #[error("{0}")]
    Internal(&'static str),
}

impl TransferError {
    /// The code that tells the peer of it; `None` when there is nobody to tell.
    pub fn code(&self) -> Option<Code> {
        Some(match self {
            Self::Read { .. } | Self::Source { .. } | Self::SameName { .. } => Code::Read,
            Self::Changed { .. } => Code::Changed,
            Self::Exists { .. } => Code::Exists,
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => Code::NoSpace,
            Self::Write { .. } | Self::Place { .. } => Code::Write,
            Self::NoSpace { .. } => Code::NoSpace,
            Self::Hash { .. } => Code::Integrity,
            Self::Protocol { .. } => Code::Protocol,
            Self::Manifest { .. } => Code::Manifest,
            Self::Version { .. } => Code::Version,
            Self::Declined => Code::Declined,
            Self::Partial { code, .. } | Self::PeerFile { code, .. } => *code,
            Self::Stopped => Code::Cancelled,
            Self::Internal(_) => Code::Other,
            Self::Peer { .. } | Self::Closed | Self::Channel(_) => return None,
        })
    }

    /// Wraps what the system said of an output.
    pub(super) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Write { path, source }
    }

    /// Wraps what the system said of a source.
    pub(super) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Read { path, source }
    }

    pub(super) fn protocol(why: impl Into<String>) -> Self {
        Self::Protocol { why: why.into() }
    }
}

impl Classify for TransferError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Source { .. } | Self::SameName { .. } => ErrorKind::InvalidInput,
            Self::Changed { .. } | Self::Hash { .. } => ErrorKind::Integrity,
            Self::Exists { .. } | Self::Write { .. } | Self::Place { .. } | Self::NoSpace { .. } => ErrorKind::Output,
            Self::Protocol { .. } | Self::Version { .. } | Self::Manifest { .. } | Self::Declined => ErrorKind::Refused,
            Self::Peer { code: Code::Integrity, .. } => ErrorKind::Integrity,
            Self::Peer { .. } => ErrorKind::Refused,
            Self::Partial { code, .. } | Self::PeerFile { code, .. } => match code {
                Code::Read => ErrorKind::InvalidInput,
                Code::Write | Code::NoSpace | Code::Exists => ErrorKind::Output,
                _ => ErrorKind::Integrity,
            },
            Self::Closed => ErrorKind::SessionLost,
            Self::Stopped => ErrorKind::Interrupted,
            Self::Channel(error) => error.kind(),
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => "NotFoundError",
            Self::Read { .. } => "NotReadableError",
            Self::Source { .. } | Self::SameName { .. } => "DataError",
            Self::Changed { .. } | Self::Hash { .. } | Self::Partial { .. } | Self::PeerFile { .. } => "integrity",
            Self::Exists { .. } | Self::Write { .. } | Self::Place { .. } => "output",
            Self::NoSpace { .. } => "QuotaExceededError",
            Self::Protocol { .. } | Self::Manifest { .. } => "protocol",
            Self::Version { .. } => "version",
            Self::Peer { .. } => "refused",
            Self::Declined | Self::Stopped => "AbortError",
            Self::Closed => "NetworkError",
            Self::Channel(error) => error.name(),
            Self::Internal(_) => "OperationError",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Exists { .. } => "--overwrite, --rename or --skip-existing says what to do with it",
            Self::Closed => "start both sides again: what was received is kept, and the transfer goes on from there",
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room and start both sides again: what was received is kept"
            }
            Self::Version { .. } => "the same release of rtckit on both sides will do",
            Self::SameName { .. } => "send them one by one, or from the folder above them",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
