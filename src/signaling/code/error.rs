//! Why a code does not hold.

use crate::error::{Classify, ErrorKind};

/// Why a code does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// It does not look like one.
    #[error("'{code}' is no code: one looks like 7-crossword-apollo")]
    Shape {
        /// What was given, shortened.
        code: String,
    },
    /// A word that is in no code.
    #[error("'{word}' is no word of a code{}", .near.map(|near| format!(", did you mean '{near}'?")).unwrap_or_default())]
    Word {
        /// The word.
        word: String,
        /// One that is.
        near: Option<&'static str>,
    },
    /// The system gave no random numbers.
    #[error("no random numbers for a code")]
    NoRandom,
    /// Every number that was tried is in use.
    #[error("no code is free on this server")]
    NoneFree,
    /// The receiver's view of two codes that differ.
    #[error("the other side has another code, or somebody in between has meddled")]
    Wrong,
    /// The sender's view of it.
    #[error("somebody tried another code: this one is used up")]
    Guessed,
    /// What came is not what the other end said.
    #[error("somebody in between has meddled: {what}")]
    Tampered {
        /// What was wrong with it.
        what: &'static str,
    },
    /// A person said that the check strings differ, or did not answer.
    #[error("the check strings were not confirmed")]
    Unconfirmed,
    /// The other end said so.
    #[error("the check strings were not confirmed at the other side")]
    UnconfirmedThere,
    /// The other end went before it had proved anything.
    #[error("the other side went away")]
    Gone,
    /// It proved nothing in time.
    #[error("the other side did not show in time that it has the code")]
    Silent,
}

impl Classify for CodeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Shape { .. } | Self::Word { .. } => ErrorKind::Usage,
            Self::NoRandom => ErrorKind::Internal,
            Self::NoneFree | Self::Gone => ErrorKind::Refused,
            Self::Silent => ErrorKind::Timeout,
            Self::Wrong | Self::Guessed | Self::Tampered { .. } | Self::Unconfirmed | Self::UnconfirmedThere => {
                ErrorKind::Auth
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Shape { .. } | Self::Word { .. } => "SyntaxError",
            Self::NoRandom => "OperationError",
            Self::NoneFree | Self::Gone => "refused",
            Self::Silent => "TimeoutError",
            Self::Wrong | Self::Guessed => "wrong-code",
            Self::Tampered { .. } => "tampered",
            Self::Unconfirmed | Self::UnconfirmedThere => "NotAllowedError",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Wrong | Self::Guessed | Self::Tampered { .. } => {
                Some("start send-file again and give its new code to the other side".to_owned())
            }
            _ => None,
        }
    }
}
