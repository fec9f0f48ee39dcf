//! What can go wrong with a screen.

use super::{Region, SurfaceKind};
use crate::error::{Classify, ErrorKind};
use std::path::PathBuf;

/// A screen or window that could not be found, opened or read. `display` is the display server's name, as `DISPLAY` or
/// `WAYLAND_DISPLAY` has it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScreenError {
    /// There is no display server to ask.
    #[error("no screen: neither WAYLAND_DISPLAY nor DISPLAY is set")]
    NoDisplay,
    /// The display server could not be reached, or refused us.
    #[error("cannot use the display {display}: {detail}")]
    Display {
        /// The display server.
        display: String,
        /// Why.
        detail: String,
    },
    /// The display server has no way to capture what it shows.
    #[error("the display {display} cannot be captured: {detail}")]
    NotSupported {
        /// The display server.
        display: String,
        /// What is missing.
        detail: String,
    },
    /// Whoever was asked did not allow it.
    #[error("the display {display} may not be captured: {detail}")]
    Denied {
        /// The display server.
        display: String,
        /// What was said.
        detail: String,
    },
    /// The file that keeps a permission could not be read or written.
    #[error("cannot keep the restore token in {}: {detail}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// The display server failed while it was captured.
    #[error("the display {display} was lost: {detail}")]
    Lost {
        /// The display server.
        display: String,
        /// Why.
        detail: String,
    },
    /// There is no such surface.
    #[error("no {kind} '{wanted}': {found}")]
    NotFound {
        /// What was looked for.
        kind: SurfaceKind,
        /// What was given.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// A window was asked for, and not said which.
    #[error("which window? {found}")]
    Unnamed {
        /// What there is.
        found: String,
    },
    /// More than one surface fits.
    #[error("'{wanted}' is more than one {kind}: {found}")]
    Ambiguous {
        /// What was looked for.
        kind: SurfaceKind,
        /// What was given.
        wanted: String,
        /// What fits.
        found: String,
    },
    /// The region reaches beyond the surface.
    #[error("the region {region} is not inside of {surface}, which is {width}x{height}")]
    Region {
        /// What was given.
        region: Region,
        /// The surface.
        surface: String,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
    },
}

impl Classify for ScreenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Region { .. } => ErrorKind::InvalidInput,
            Self::Unnamed { .. } => ErrorKind::Usage,
            Self::Token { .. } => ErrorKind::Output,
            _ => ErrorKind::Device,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::NoDisplay | Self::NotFound { .. } | Self::Ambiguous { .. } => "NotFoundError",
            Self::Display { .. } | Self::Lost { .. } => "NotReadableError",
            Self::NotSupported { .. } => "NotSupportedError",
            Self::Region { .. } => "OverconstrainedError",
            Self::Denied { .. } => "NotAllowedError",
            Self::Unnamed { .. } => "usage",
            Self::Token { .. } => "output",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoDisplay => Some("run it in a graphical session, or set DISPLAY, e.g. DISPLAY=:0".to_owned()),
            Self::Display { detail, .. } if detail.contains("uthoriz") => {
                Some("run it as the user who owns the session, or set XAUTHORITY".to_owned())
            }
            Self::Ambiguous { .. } => Some("give the ID".to_owned()),
            _ => None,
        }
    }
}
