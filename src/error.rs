//! What went wrong, in the classes that exit codes and error JSON are made of.
//!
//! Every module has its own `thiserror` enum with the path, address or codec in it, and implements
//! [`Classify`] for it. Where a trait or an operation must carry the error of any module, it is [`Error`]: the
//! same facts, erased. Nothing here prints or exits; the binary maps [`ErrorKind`] to an exit code.

use std::fmt;

/// The classes of failure that a script can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A bug of ours.
    Internal,
    /// The command line contradicts itself.
    Usage,
    /// Input that cannot be used: SDP, JSON, media, a constraint that cannot be met, an unknown codec.
    InvalidInput,
    /// A device is missing, busy, denied or gone.
    Device,
    /// The other side said no, or broke its protocol.
    Refused,
    /// A name could not be resolved.
    Dns,
    /// No answer from a server.
    Unreachable,
    /// Credentials were wrong or missing.
    Auth,
    /// ICE found no path.
    Ice,
    /// DTLS, SRTP or a certificate fingerprint failed.
    Dtls,
    /// The session was up and then lost.
    SessionLost,
    /// A hash did not match, a file would not play.
    Integrity,
    /// Output exists already or cannot be written.
    Output,
    /// An expectation or threshold did not hold.
    Threshold,
    /// The time to connect ran out.
    Timeout,
    /// Ended by Ctrl-C before its work was done.
    Interrupted,
    /// Ended by SIGTERM before its work was done.
    Terminated,
}

impl ErrorKind {
    /// The class that an exit code of rtckit stands for, told by a command that often is rtckit on another machine. Any
    /// other code, or a signal, only says that the other side would not.
    pub fn of_exit_code(code: Option<i32>) -> Self {
        match code {
            Some(3) => Self::InvalidInput,
            Some(4) => Self::Device,
            Some(6) => Self::Dns,
            Some(7) => Self::Unreachable,
            Some(8) => Self::Auth,
            Some(9) => Self::Ice,
            Some(10) => Self::Dtls,
            Some(11) => Self::SessionLost,
            Some(12) => Self::Integrity,
            Some(13) => Self::Output,
            Some(14) => Self::Threshold,
            Some(124) => Self::Timeout,
            _ => Self::Refused,
        }
    }
}

/// An error that knows its class.
pub trait Classify: std::error::Error + Send + Sync + 'static {
    /// Its class.
    fn kind(&self) -> ErrorKind;

    /// Its name: from W3C `DOMException` or `RTCErrorDetailType` where one fits, else a word of ours.
    fn name(&self) -> &'static str {
        match self.kind() {
            ErrorKind::Internal => "OperationError",
            ErrorKind::Usage => "usage",
            ErrorKind::InvalidInput => "DataError",
            ErrorKind::Device => "NotReadableError",
            ErrorKind::Refused => "refused",
            ErrorKind::Dns => "dns",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::Auth => "NotAllowedError",
            ErrorKind::Ice => "ice-failure",
            ErrorKind::Dtls => "dtls-failure",
            ErrorKind::SessionLost => "NetworkError",
            ErrorKind::Integrity => "integrity",
            ErrorKind::Output => "output",
            ErrorKind::Threshold => "threshold",
            ErrorKind::Timeout => "TimeoutError",
            ErrorKind::Interrupted | ErrorKind::Terminated => "AbortError",
        }
    }

    /// What the user could do about it, where we know.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// The error of any module, erased to what a user is shown.
pub struct Error {
    facts: Box<Facts>,
}

struct Facts {
    kind: ErrorKind,
    name: &'static str,
    stage: &'static str,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of ours that no module's enum has a case for.
    pub fn new(kind: ErrorKind, name: &'static str, message: impl Into<String>) -> Self {
        Self { facts: Box::new(Facts { kind, name, stage: "", message: message.into(), hint: None, source: None }) }
    }

    /// The same error, known to have happened in `stage` (e.g. `signaling`, `ice`, `encode`).
    #[must_use]
    pub fn at(mut self, stage: &'static str) -> Self {
        if self.facts.stage.is_empty() {
            self.facts.stage = stage;
        }
        self
    }

    /// The same error with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.facts.hint = Some(hint.into());
        self
    }

    /// Its class.
    pub fn kind(&self) -> ErrorKind {
        self.facts.kind
    }

    /// Its name, as in error JSON.
    pub fn name(&self) -> &'static str {
        self.facts.name
    }

    /// The stage it happened in; empty when nobody said.
    pub fn stage(&self) -> &'static str {
        self.facts.stage
    }

    /// What the user could do about it.
    pub fn hint(&self) -> Option<&str> {
        self.facts.hint.as_deref()
    }
}

impl<E: Classify> From<E> for Error {
    fn from(error: E) -> Self {
        let (kind, name, hint) = (error.kind(), error.name(), error.hint());
        Self {
            facts: Box::new(Facts {
                kind,
                name,
                stage: "",
                message: error.to_string(),
                hint,
                source: Some(Box::new(error)),
            }),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.facts.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.facts.kind)
            .field("name", &self.facts.name)
            .field("stage", &self.facts.stage)
            .field("message", &self.facts.message)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.facts.source.as_deref().map(|source| source as _)
    }
}
