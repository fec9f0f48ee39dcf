//! Which display server this session has. In a Wayland session there is often an X server beside the compositor, which shows
//! only the windows of old programs; so Wayland is asked first.

use super::source::Grab;
use super::{ScreenError, ScreenOptions, Surface, SurfaceKind, portal, wayland, x11};

fn is_wayland() -> bool {
    std::env::var_os("WAYLAND_DISPLAY").is_some_and(|name| !name.is_empty())
}

pub(super) fn surfaces() -> Result<Vec<Surface>, ScreenError> {
    if !is_wayland() {
        return x11::surfaces();
    }
    match wayland::surfaces() {
        // Where only the portal captures there is nothing to choose from before it asks.
        Err(ScreenError::NotSupported { .. }) => Ok(Vec::new()),
        listed => listed,
    }
}

/// Opens a surface, and says which it is.
pub(super) fn open(
    kind: SurfaceKind,
    wanted: Option<&str>,
    options: &ScreenOptions,
) -> Result<(Box<dyn Grab>, Surface), ScreenError> {
    if options.restore_token.is_some() {
        return portal::open(kind, options);
    }
    if options.display.is_some() || !is_wayland() {
        return x11::open(kind, wanted, options);
    }
    match wayland::open(kind, wanted, options) {
        // What the compositor does not give, the desktop may, if a person agrees; which surface, that person says.
        Err(without @ ScreenError::NotSupported { .. }) => match portal::open(kind, options) {
            Err(ScreenError::NotSupported { detail, .. } | ScreenError::Display { detail, .. }) => {
                Err(both(without, &detail))
            }
            done => done,
        },
        done => done,
    }
}

/// Neither way is there.
fn both(without: ScreenError, portal: &str) -> ScreenError {
    match without {
        ScreenError::NotSupported { display, detail } => {
            ScreenError::NotSupported { display, detail: format!("{detail}, and the portal says: {portal}") }
        }
        other => other,
    }
}
