//! Why a description or a message could not be read, or the road failed.

use super::code::CodeError;
use super::room::RoomError;
use super::sdp::SdpError;
use crate::error::{Classify, ErrorKind};
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why signaling failed. The text is one line; what came from outside is escaped and shortened in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalingError {
    /// The input ended before anything but white space came.
    #[error("no description: the input was empty")]
    Empty,
    /// The input ended in the middle of a description.
    #[error("truncated {form}: the input ended before the description was complete")]
    Truncated {
        /// `JSON`, `base64` or `compact description`.
        form: &'static str,
    },
    /// A description is not what its form demands.
    #[error("damaged {form}: {reason}")]
    Damaged {
        /// `JSON`, `base64` or `compact description`.
        form: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// JSON of another shape than a signaling message.
    #[error("JSON that is no signaling message: {reason}")]
    Shape {
        /// The member that is missing or wrong.
        reason: String,
    },
    /// Nothing that could begin a description.
    #[error("not a session description: it begins with '{found}'")]
    NotSdp {
        /// Its first 40 characters, escaped.
        found: String,
    },
    /// SDP whose beginning is missing.
    #[error("SDP without v=0: it begins with '{found}'")]
    NoVersion {
        /// Its first 40 characters, escaped.
        found: String,
    },
    /// More than [`MAX_MESSAGE_BYTES`](super::MAX_MESSAGE_BYTES) without an end.
    #[error("description longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// SDP that lacks something.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// The input failed.
    #[error("cannot read from the signaling input: {0}")]
    Input(#[source] io::Error),
    /// The output failed.
    #[error("cannot write to the signaling output: {0}")]
    Output(#[source] io::Error),
    /// The command that should carry the signaling could not be started.
    #[error("cannot start '{command}': {source}")]
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The command that carried the signaling failed.
    #[error("'{command}' failed: {status}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit code or signal.
        status: ExitStatus,
    },
    /// A file that carries the signaling cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another caller waits in the folder.
    #[error("{path}: another caller is waiting here")]
    Taken {
        /// Its offer.
        path: PathBuf,
    },
    /// A code does not hold.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// A room failed.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// An address that cannot be listened on.
    #[error("cannot listen on '{address}': {source}")]
    Listen {
        /// As given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The other end is gone.
    #[error("the other side has closed the signaling")]
    Closed,
}

impl Classify for SignalingError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Output(_) | Self::File { .. } | Self::Taken { .. } => ErrorKind::Output,
            Self::Room(error) => error.kind(),
            Self::Code(error) => error.kind(),
            Self::Closed => ErrorKind::Refused,
            Self::Start { .. } | Self::Listen { .. } => ErrorKind::Usage,
            Self::Command { status, .. } => ErrorKind::of_exit_code(status.code()),
            _ => ErrorKind::InvalidInput,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::NotSdp { .. } | Self::NoVersion { .. } | Self::Sdp(_) => "sdp-syntax-error",
            Self::Output(_) | Self::File { .. } | Self::Taken { .. } => "output",
            Self::Room(error) => error.name(),
            Self::Code(error) => error.name(),
            Self::Closed => "refused",
            Self::Listen { .. } => "usage",
            Self::Start { .. } | Self::Command { .. } => "signaling-command",
            _ => "DataError",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Room(error) => return error.hint(),
            Self::Code(error) => return error.hint(),
            Self::Command { status, .. } if status.code() == Some(127) => "the shell did not find it",
            Self::Taken { .. } => "let the two of one call have a folder of their own",
            Self::Empty => "give the other side's description on standard input: JSON, SDP, base64 or compact",
            Self::Truncated { .. } | Self::Damaged { .. } => {
                "copy the whole description again, from its first character to its last"
            }
            Self::Shape { .. } => {
                r#"expected {"type":"offer","sdp":"v=0…"}, as JSON.stringify(pc.localDescription) gives it"#
            }
            Self::NotSdp { .. } => {
                "expected JSON {\"type\",\"sdp\"}, SDP that begins with v=0, base64 of either, or rtckit1:…"
            }
            Self::NoVersion { .. } => "the first lines are missing: copy it again from v=0 on",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// The first 40 characters of `bytes`, fit to be shown: escaped, one line, never a control character.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let text = text.trim();
    let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}
