//! Screens and windows as sources of video; W3C screen-capture (`getDisplayMedia`).
//!
//! ```text
//! SurfaceKind + ID -> open -> grab (X11, Wayland) -> ScreenSource -VideoFrame-> pipeline
//! ```
//!
//! A grab knows one display server: it fetches what changed and lends the pixels. [`ScreenSource`] is the same for all of them:
//! pace, constant size, what happens while nothing changes. Nothing here records or encodes, and no sound is captured.

mod cursor;
mod error;
mod format;
mod geometry;
#[cfg(target_os = "linux")]
mod memory;
mod picture;
#[cfg(target_os = "linux")]
mod portal;
#[cfg_attr(not(target_os = "linux"), path = "server_none.rs")]
mod server;
mod snapshot;
mod source;
mod surface;
#[cfg(target_os = "linux")]
mod wayland;
#[cfg(target_os = "linux")]
mod x11;

pub use cursor::CursorCapture;
pub use error::ScreenError;
pub use format::FRAME_RATES;
pub use geometry::{Region, RegionError};
pub use snapshot::Snapshot;
pub use source::{ScreenSource, ScreenStats};
pub use surface::{Surface, SurfaceKind};

use super::CaptureError;
use crate::media::VideoConstraints;
use crate::stop::Stop;
use std::path::PathBuf;
use std::time::Instant;

/// What is asked of the capture of a screen besides constraints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScreenOptions {
    /// The part of the surface that is captured; without it all of it.
    pub region: Option<Region>,
    /// Whether the cursor is seen.
    pub cursor: CursorCapture,
    /// The file in which the permission of the desktop portal is kept, so that nobody is asked again. With it the portal is used
    /// even where there is another way.
    pub restore_token: Option<PathBuf>,
    /// The X server to ask, e.g. `:1`; without it the display server of this session.
    pub display: Option<String>,
}

/// All monitors, then all windows, as the display server of this session lists them. A Wayland compositor lists no windows.
///
/// # Errors
/// When there is no display server, or it cannot be asked.
pub fn surfaces() -> Result<Vec<Surface>, ScreenError> {
    server::surfaces()
}

/// Opens a surface. Without `wanted` it is the primary monitor; a window must be named, by its ID, its title or a part of it that
/// no other has. Times count from `origin`.
///
/// # Errors
/// When there is no display server or no such surface, or a constraint cannot be met.
pub fn open(
    kind: SurfaceKind,
    wanted: Option<&str>,
    options: &ScreenOptions,
    constraints: &VideoConstraints,
    origin: Instant,
) -> Result<ScreenSource, CaptureError> {
    let (grab, surface) = grab(kind, wanted, options)?;
    let size = options.region.map_or((surface.width, surface.height), |region| (region.width, region.height));
    let format = format::choose(&surface.id, size, constraints)?;
    Ok(ScreenSource::new(grab, surface, format, origin))
}

/// One picture of a surface as it is now, every pixel of it; `None` when stopped before. Blocks, and what a portal asks takes a
/// person's time.
///
/// # Errors
/// When there is no display server or no such surface, or it shows nothing.
pub fn snapshot(
    kind: SurfaceKind,
    wanted: Option<&str>,
    options: &ScreenOptions,
    stop: &Stop,
) -> Result<Option<Snapshot>, ScreenError> {
    let (mut grab, surface) = grab(kind, wanted, options)?;
    snapshot::take(&mut *grab, &surface, stop)
}

/// Opens a surface that has the region which is asked for, and says which it is.
fn grab(
    kind: SurfaceKind,
    wanted: Option<&str>,
    options: &ScreenOptions,
) -> Result<(Box<dyn source::Grab>, Surface), ScreenError> {
    let (grab, surface) = server::open(kind, wanted, options)?;
    let Surface { width, height, .. } = surface;
    match options.region {
        Some(region) if !region.inside(width, height) => {
            Err(ScreenError::Region { region, surface: surface.id, width, height })
        }
        _ => Ok((grab, surface)),
    }
}
