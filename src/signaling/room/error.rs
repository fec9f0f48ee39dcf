//! Why a room could not be used.

use crate::error::{Classify, ErrorKind};
use std::io;
use std::path::PathBuf;

/// Why a room could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// No URL of a room.
    #[error("'{url}' is no room: {why}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file with authorities cannot be used.
    #[error("{path}: {why}", path = path.display())]
    Authorities {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The name of the server could not be resolved.
    #[error("cannot resolve {host}: {source}")]
    Dns {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The server cannot be reached.
    #[error("cannot reach {url}: {why}")]
    Unreachable {
        /// The room.
        url: String,
        /// Why.
        why: String,
    },
    /// The server's certificate does not hold, or there is no TLS.
    #[error("cannot trust {host}: {why}")]
    Tls {
        /// The server.
        host: String,
        /// Why.
        why: String,
    },
    /// The server does not let us into rooms at all.
    #[error("{url}: {why}")]
    NoRoom {
        /// The room.
        url: String,
        /// What it said.
        why: String,
    },
    /// As many as may are in the room.
    #[error("room {room} is full: {max_peers} are in it")]
    Full {
        /// Its name.
        room: String,
        /// How many may be.
        max_peers: usize,
    },
    /// The server sent us away.
    #[error("the server closed the connection: {why}")]
    Closed {
        /// Why, in its words.
        why: String,
    },
    /// The connection was lost and did not come back.
    #[error("lost the connection to {url}: {why}")]
    Lost {
        /// The room.
        url: String,
        /// Why it cannot be made again.
        why: String,
    },
}

impl Classify for RoomError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url { .. } | Self::Authorities { .. } => ErrorKind::Usage,
            Self::Dns { .. } => ErrorKind::Dns,
            Self::Unreachable { .. } | Self::Lost { .. } => ErrorKind::Unreachable,
            Self::Tls { .. } => ErrorKind::Dtls,
            Self::NoRoom { .. } | Self::Full { .. } | Self::Closed { .. } => ErrorKind::Refused,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Url { .. } => "SyntaxError",
            Self::Authorities { .. } => "usage",
            Self::Dns { .. } => "dns",
            Self::Unreachable { .. } | Self::Lost { .. } => "unreachable",
            Self::Tls { .. } => "tls",
            Self::Full { .. } => "full",
            Self::NoRoom { .. } | Self::Closed { .. } => "refused",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Tls { why, .. } if why.contains("does not speak TLS") => "without TLS a room begins with ws:",
            Self::Tls { .. } => {
                "a server with --self-signed is trusted with --ca-file and what 'rtckit signal --print-ca' writes there"
            }
            Self::Full { .. } => "take a room of another name, or give the server a larger --max-peers",
            Self::NoRoom { .. } => "is that a server of 'rtckit signal'?",
            Self::Unreachable { .. } => "is 'rtckit signal' running there?",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
