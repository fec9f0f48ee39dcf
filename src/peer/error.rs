//! What can go wrong with a connection.

use super::server_watch::{ServerTrouble, Trouble};
use crate::error::{Classify, Error, ErrorKind};
use std::time::Duration;

/// Why a connection could not be made or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The description or candidate cannot be used.
    #[error("{what}: {why}")]
    Description {
        /// Which: `offer`, `answer`, `candidate`.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The other side sent something else than what was due.
    #[error("expected {expected}, got {got}")]
    Unexpected {
        /// What was due.
        expected: &'static str,
        /// What came.
        got: &'static str,
    },
    /// The signaling ended before it had given what was due.
    #[error("signaling ended before {expected} came")]
    SignalingEnded {
        /// What was due.
        expected: &'static str,
    },
    /// Nobody answered in time.
    #[error("{expected} did not come within {:.1} s", .after.as_secs_f64())]
    Timeout {
        /// What was due.
        expected: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// ICE found no pair of addresses that works.
    #[error("ICE found no path to the peer in {:.1} s: {detail}", .after.as_secs_f64())]
    IceFailed {
        /// How long checks ran.
        after: Duration,
        /// The candidates on both sides, in words.
        detail: String,
    },
    /// Gathering gave no candidate of ours.
    #[error("no candidate of ours: no TURN server gave a relay address{}", listed(.servers))]
    NoCandidates {
        /// What was wrong with each server.
        servers: Vec<ServerTrouble>,
    },
    /// ICE has a pair but DTLS did not come up.
    #[error("the DTLS handshake did not complete: {detail}")]
    DtlsFailed {
        /// What is known.
        detail: String,
    },
    /// The peer hung up before the session was up.
    #[error("the peer hung up")]
    HungUp,
    /// Nothing has come from the peer any more.
    #[error("the peer vanished: nothing received for {:.1} s", .silence.as_secs_f64())]
    Lost {
        /// How long.
        silence: Duration,
    },
    /// No local address to use.
    #[error("no network interface to use: {detail}")]
    NoInterface {
        /// What was looked for.
        detail: String,
    },
    /// A data channel refused a message.
    #[error("data channel '{label}': {why}")]
    DataChannel {
        /// Its label.
        label: String,
        /// Why.
        why: String,
    },
    /// The peer has no section for data channels, or refuses ours.
    #[error("data channel '{label}': the peer takes no data channels")]
    NoDataChannels {
        /// Its label.
        label: String,
    },
    /// A data channel does not open, although the connection is up.
    #[error("data channel '{label}' did not open within {:.0} s, although the connection is up", .after.as_secs_f64())]
    Unopened {
        /// Its label.
        label: String,
        /// How long we waited.
        after: Duration,
    },
    /// The library underneath failed in a way we did not foresee.
    #[error("{doing}: {source}")]
    Library {
        /// What we were doing.
        doing: &'static str,
        /// What it said.
        source: webrtc::error::Error,
    },
    /// The signaling itself failed.
    #[error("{0}")]
    Signaling(Error),
    /// The user ended it.
    #[error("stopped before the connection was up")]
    Stopped,
}

fn listed(servers: &[ServerTrouble]) -> String {
    servers.iter().map(|server| format!("; {server}")).collect()
}

/// The class of failure that tells most about what to change.
fn worst(servers: &[ServerTrouble]) -> ErrorKind {
    let has = |wanted: fn(&Trouble) -> bool| servers.iter().any(|server| wanted(&server.trouble));
    if has(|trouble| matches!(trouble, Trouble::Refused { .. })) {
        ErrorKind::Auth
    } else if has(|trouble| matches!(trouble, Trouble::Tls(_))) {
        ErrorKind::Dtls
    } else if has(|trouble| matches!(trouble, Trouble::Silent | Trouble::Connect(_))) {
        ErrorKind::Unreachable
    } else if has(|trouble| matches!(trouble, Trouble::Dns(_))) {
        ErrorKind::Dns
    } else {
        ErrorKind::Ice
    }
}

impl PeerError {
    /// Wraps what the library underneath said while it was `doing`.
    pub(super) fn library(doing: &'static str) -> impl FnOnce(webrtc::error::Error) -> Self {
        move |source| Self::Library { doing, source }
    }

    /// The erased form: a signaling error keeps its own class.
    pub fn erase(self) -> Error {
        match self {
            Self::Signaling(error) => error.at("signaling"),
            other => {
                let stage = other.stage();
                Error::from(other).at(stage)
            }
        }
    }

    fn stage(&self) -> &'static str {
        match self {
            Self::Description { .. } | Self::Unexpected { .. } => "negotiate",
            Self::SignalingEnded { .. } | Self::Timeout { .. } | Self::Signaling(_) => "signaling",
            Self::IceFailed { .. } | Self::NoCandidates { .. } | Self::NoInterface { .. } => "ice",
            Self::DtlsFailed { .. } => "dtls",
            Self::DataChannel { .. } | Self::NoDataChannels { .. } | Self::Unopened { .. } => "data-channel",
            Self::HungUp | Self::Lost { .. } | Self::Library { .. } | Self::Stopped => "session",
        }
    }
}

impl Classify for PeerError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Description { .. }
            | Self::Unexpected { .. }
            | Self::SignalingEnded { .. }
            | Self::DataChannel { .. } => ErrorKind::InvalidInput,
            Self::Timeout { .. } | Self::Unopened { .. } => ErrorKind::Timeout,
            Self::NoDataChannels { .. } => ErrorKind::Refused,
            Self::NoCandidates { servers } => worst(servers),
            Self::IceFailed { .. } | Self::NoInterface { .. } => ErrorKind::Ice,
            Self::DtlsFailed { .. } => ErrorKind::Dtls,
            Self::HungUp | Self::Lost { .. } => ErrorKind::SessionLost,
            Self::Signaling(error) => error.kind(),
            Self::Library { .. } => ErrorKind::Internal,
            Self::Stopped => ErrorKind::Interrupted,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Description { .. } => "sdp-syntax-error",
            Self::Unexpected { .. } => "InvalidStateError",
            Self::SignalingEnded { .. } => "DataError",
            Self::DataChannel { .. } | Self::NoDataChannels { .. } => "data-channel-failure",
            Self::Timeout { .. } | Self::Unopened { .. } => "TimeoutError",
            Self::IceFailed { .. } | Self::NoCandidates { .. } | Self::NoInterface { .. } => "ice-failure",
            Self::DtlsFailed { .. } => "dtls-failure",
            Self::HungUp | Self::Lost { .. } => "NetworkError",
            Self::Signaling(error) => error.name(),
            Self::Library { .. } => "OperationError",
            Self::Stopped => "AbortError",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::IceFailed { .. } => Some(
                "both sides need a route to each other; across NATs give --ice-server stun:… or turn:… on both".into(),
            ),
            Self::SignalingEnded { expected: "the answer" } => {
                Some("the peer's answer is read from standard input; keep it open until the answer is pasted".into())
            }
            Self::NoCandidates { servers } if servers.is_empty() => {
                Some("--ice-transport-policy relay needs a TURN server: give --ice-server turn:…".into())
            }
            Self::NoCandidates { .. } => Some("rtckit turn-probe tells more about a server".into()),
            Self::DtlsFailed { .. } => {
                Some("was the description changed on its way? its a=fingerprint must be the peer's".into())
            }
            Self::Unopened { .. } => {
                Some("a peer that waits for us to begin SCTP must be the one that offers: run rtckit answer".into())
            }
            Self::Timeout { .. } => Some("--timeout bounds the time to connect".into()),
            _ => None,
        }
    }
}
