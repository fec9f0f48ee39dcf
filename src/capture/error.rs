//! What can go wrong with a source of media.

use super::screen::ScreenError;
use crate::error::{Classify, ErrorKind};
use crate::media::{MediaKind, Overconstrained};
use std::io;
use std::sync::Arc;

/// A source that could not be opened or read. `source_name` is the path, or `stdin`.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file could not be opened.
    #[error("cannot open {source_name}: {error}")]
    Open {
        /// The file.
        source_name: String,
        /// Why.
        #[source]
        error: Arc<io::Error>,
    },
    /// Reading failed half-way.
    #[error("cannot read {source_name}: {error}")]
    Read {
        /// The file.
        source_name: String,
        /// Why.
        #[source]
        error: Arc<io::Error>,
    },
    /// The content is of no format we know.
    #[error("{source_name} is none of y4m, ivf, webm, mkv, wav and ogg")]
    UnknownFormat {
        /// The file.
        source_name: String,
    },
    /// The content breaks its format.
    #[error("{source_name} is damaged {place}: {detail}")]
    Damaged {
        /// The file.
        source_name: String,
        /// Where: `at byte 1234`.
        place: String,
        /// What is wrong.
        detail: String,
    },
    /// The content is whole but of a kind we cannot use.
    #[error("{source_name} holds {codec}, which is not supported")]
    UnsupportedCodec {
        /// The file.
        source_name: String,
        /// The codec or variant, in the container's words.
        codec: String,
    },
    /// The file has no track of the wanted kind.
    #[error("{source_name} has no {kind}")]
    NoTrack {
        /// The file.
        source_name: String,
        /// What was wanted.
        kind: MediaKind,
    },
    /// A constraint cannot be met; mediacapture-main `OverconstrainedError`.
    #[error("{source_name}: {error}")]
    Overconstrained {
        /// The source.
        source_name: String,
        /// Which constraint, and what there is.
        #[source]
        error: Overconstrained,
    },
    /// A screen or window.
    #[error(transparent)]
    Screen(#[from] ScreenError),
    /// There is no device of that kind or name.
    #[error("no {what}: {detail}")]
    NoSuchDevice {
        /// The source as it was asked for.
        what: String,
        /// Why.
        detail: String,
    },
    /// Somebody else uses the device.
    #[error("{source_name} is in use by another program")]
    Busy {
        /// The device.
        source_name: String,
    },
    /// We may not use the device.
    #[error("{source_name} may not be used: {error}")]
    Denied {
        /// The device.
        source_name: String,
        /// Why.
        #[source]
        error: Arc<io::Error>,
    },
    /// The device was there and is gone.
    #[error("{source_name} was unplugged")]
    Unplugged {
        /// The device.
        source_name: String,
    },
    /// The device is there and gives nothing.
    #[error("{source_name} has stalled: no picture for {seconds} s")]
    Stalled {
        /// The device.
        source_name: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The device failed.
    #[error("{source_name} failed: {error}")]
    Device {
        /// The device.
        source_name: String,
        /// Why.
        #[source]
        error: Arc<io::Error>,
    },
    /// The device does something else than it promised.
    #[error("{source_name} cannot be used: {detail}")]
    Unusable {
        /// The device.
        source_name: String,
        /// What is wrong.
        detail: String,
    },
    /// This version has no such kind of source.
    #[error("no {what}: this version of rtckit reads test, files and stdin only")]
    NoDevice {
        /// The source as it was asked for.
        what: String,
    },
    /// Repeating needs a regular file.
    #[error("{source_name} cannot be repeated: it can be read only once")]
    NotRepeatable {
        /// The stream.
        source_name: String,
    },
    /// Standard input is in use by somebody else.
    #[error("stdin is not available as a source")]
    NoStdin,
    /// The text names no source.
    #[error("'{text}' is not a source: {detail}")]
    BadSpec {
        /// What was given.
        text: String,
        /// What is wrong.
        detail: &'static str,
    },
}

impl CaptureError {
    /// What the operating system means when it refuses a device.
    pub(super) fn of_device(name: &str, error: io::Error) -> Self {
        let source_name = name.to_owned();
        match error.raw_os_error() {
            Some(libc::EBUSY) => Self::Busy { source_name },
            Some(libc::EACCES | libc::EPERM) => Self::Denied { source_name, error: Arc::new(error) },
            Some(libc::ENODEV | libc::ENXIO | libc::ENOENT) => Self::Unplugged { source_name },
            _ => Self::Device { source_name, error: Arc::new(error) },
        }
    }
}

impl Classify for CaptureError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Screen(error) => error.kind(),
            Self::NoDevice { .. }
            | Self::NoSuchDevice { .. }
            | Self::Busy { .. }
            | Self::Denied { .. }
            | Self::Unplugged { .. }
            | Self::Stalled { .. }
            | Self::Device { .. }
            | Self::Unusable { .. } => ErrorKind::Device,
            Self::NotRepeatable { .. } | Self::NoStdin | Self::BadSpec { .. } => ErrorKind::Usage,
            _ => ErrorKind::InvalidInput,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Screen(error) => error.name(),
            Self::NoDevice { .. } | Self::NoSuchDevice { .. } | Self::NoTrack { .. } => "NotFoundError",
            Self::Denied { .. } => "NotAllowedError",
            Self::Busy { .. }
            | Self::Unplugged { .. }
            | Self::Stalled { .. }
            | Self::Device { .. }
            | Self::Unusable { .. } => "NotReadableError",
            Self::Open { error, .. } if error.kind() == io::ErrorKind::NotFound => "NotFoundError",
            Self::Open { .. } | Self::Read { .. } => "NotReadableError",
            Self::UnknownFormat { .. } | Self::UnsupportedCodec { .. } => "NotSupportedError",
            Self::Overconstrained { .. } => "OverconstrainedError",
            Self::NotRepeatable { .. } | Self::NoStdin | Self::BadSpec { .. } => "usage",
            Self::Damaged { .. } => "DataError",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Screen(error) => error.hint(),
            Self::NoDevice { .. } => Some("use the source 'test', or a file".to_owned()),
            Self::NoSuchDevice { .. } => {
                Some("'rtckit devices' lists what there is; the source 'test' is always there".to_owned())
            }
            Self::Busy { .. } => Some("end the program that uses it; 'fuser -v /dev/video*' names it".to_owned()),
            Self::Denied { .. } => Some("cameras belong to the group 'video': add yourself to it".to_owned()),
            Self::UnsupportedCodec { .. } => {
                Some("convert it: ffmpeg -i FILE -c:v libvpx -c:a libopus out.webm".to_owned())
            }
            _ => None,
        }
    }
}
