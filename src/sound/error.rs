//! What can go wrong with microphones and speakers.

use crate::error::{Classify, ErrorKind};
use crate::media::Overconstrained;

/// A microphone or speaker that cannot be used. `what` is the source or sink as it was asked for, `label` what people
/// call the device.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "named in the messages")]
pub enum SoundError {
    /// There is none.
    #[error("there is no {what}")]
    NotFound { what: String },
    /// Several answer to the name.
    #[error("{what} could be any of: {labels}")]
    Ambiguous { what: String, labels: String },
    /// Somebody else has it.
    #[error("{label} is in use by another program")]
    Busy { label: String },
    /// We may not use it.
    #[error("{label} may not be used: {message}")]
    Denied { label: String, message: String },
    /// The audio system refused it.
    #[error("{label} cannot be opened: {message}")]
    Open { label: String, message: String },
    /// It was unplugged, or the audio server ended.
    #[error("{label} is gone: {message}")]
    Gone { label: String, message: String },
    /// It gives or takes no sound, without saying why.
    #[error("{label} has stalled: no sound for {seconds} s")]
    Stalled { label: String, seconds: u64 },
    /// A constraint cannot be met; mediacapture-main `OverconstrainedError`.
    #[error("{label}: {error}")]
    Overconstrained {
        label: String,
        #[source]
        error: Overconstrained,
    },
}

impl Classify for SoundError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Overconstrained { .. } => ErrorKind::InvalidInput,
            _ => ErrorKind::Device,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::NotFound { .. } | Self::Ambiguous { .. } => "NotFoundError",
            Self::Denied { .. } => "NotAllowedError",
            Self::Overconstrained { .. } => "OverconstrainedError",
            _ => "NotReadableError",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("'rtckit devices' lists what is there".to_owned()),
            Self::Ambiguous { .. } => Some("use its deviceId, which 'rtckit devices' shows".to_owned()),
            _ => None,
        }
    }
}

impl SoundError {
    /// What the audio system said on opening.
    pub(super) fn of_opening(label: &str, error: &cpal::Error) -> Self {
        let (label, message) = (label.to_owned(), error.to_string());
        match error.kind() {
            cpal::ErrorKind::DeviceBusy => Self::Busy { label },
            cpal::ErrorKind::PermissionDenied => Self::Denied { label, message },
            cpal::ErrorKind::DeviceNotAvailable => Self::Gone { label, message },
            _ => Self::Open { label, message },
        }
    }
}
