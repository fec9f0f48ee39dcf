//! Screens and windows of an X server: MIT-SHM, RandR, Composite, XFixes and Damage, each with something to fall back on.
//!
//! Everything that concerns one frame is asked in one or two round trips; what did not change is not fetched.

mod damage;
mod display;
mod grab;
mod image;
mod pointer;
mod stream;
mod surfaces;

use super::source::Grab;
use super::surface::{find, there_are};
use super::{ScreenError, ScreenOptions, Surface, SurfaceKind};
use display::Display;
use grab::X11Grab;

/// All monitors, then all windows.
pub(super) fn surfaces() -> Result<Vec<Surface>, ScreenError> {
    let display = Display::open(None)?;
    let mut surfaces = display.monitors()?;
    surfaces.extend(display.windows()?);
    Ok(surfaces)
}

/// Opens a surface, and says which it is.
pub(super) fn open(
    kind: SurfaceKind,
    wanted: Option<&str>,
    options: &ScreenOptions,
) -> Result<(Box<dyn Grab>, Surface), ScreenError> {
    let display = Display::open(options.display.as_deref())?;
    let surface = match (kind, wanted) {
        (SurfaceKind::Monitor, None) => {
            let monitors = display.monitors()?;
            let main = monitors.iter().find(|monitor| monitor.primary).or(monitors.first()).cloned();
            main.ok_or_else(|| display.lost("it has no monitor".to_owned()))?
        }
        (SurfaceKind::Monitor, Some(wanted)) => find(&display.monitors()?, kind, wanted)?,
        (SurfaceKind::Window, Some(wanted)) => display.window(wanted)?,
        (SurfaceKind::Window, None) => {
            let windows = display.windows()?;
            return Err(ScreenError::Unnamed { found: there_are(&windows.iter().collect::<Vec<_>>()) });
        }
    };
    let grab = X11Grab::new(display, &surface, options)?;
    Ok((Box::new(grab), surface))
}
