//! Systems whose display server we do not know.

use super::source::Grab;
use super::{ScreenError, ScreenOptions, Surface, SurfaceKind};

pub(super) fn surfaces() -> Result<Vec<Surface>, ScreenError> {
    Err(ScreenError::NoDisplay)
}

pub(super) fn open(
    _: SurfaceKind,
    _: Option<&str>,
    _: &ScreenOptions,
) -> Result<(Box<dyn Grab>, Surface), ScreenError> {
    Err(ScreenError::NoDisplay)
}
