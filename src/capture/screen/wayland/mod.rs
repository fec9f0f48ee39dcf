//! Outputs of a Wayland compositor that copies them for us: the protocol wlr-screencopy of wlroots compositors.

mod client;
mod upright;
mod wlr;

use super::source::Grab;
use super::surface::find;
use super::{ScreenError, ScreenOptions, Surface, SurfaceKind};
use client::Client;
use wlr::WlrGrab;

/// All outputs, where they can be captured.
pub(super) fn surfaces() -> Result<Vec<Surface>, ScreenError> {
    Ok(outputs(&offering()?))
}

/// Opens an output, and says which it is.
pub(super) fn open(
    kind: SurfaceKind,
    wanted: Option<&str>,
    options: &ScreenOptions,
) -> Result<(Box<dyn Grab>, Surface), ScreenError> {
    let client = offering()?;
    if kind == SurfaceKind::Window {
        let detail = "wlr-screencopy copies monitors, not windows".to_owned();
        return Err(ScreenError::NotSupported { display: client.name, detail });
    }
    let surfaces = outputs(&client);
    let surface = match (wanted, surfaces.first()) {
        (Some(wanted), _) => find(&surfaces, kind, wanted)?,
        (None, Some(first)) => first.clone(),
        (None, None) => return Err(client.lost("it has no output")),
    };
    let index = surfaces.iter().position(|other| other.id == surface.id).unwrap_or_default();
    let grab = WlrGrab::new(client, index, options)?;
    Ok((Box::new(grab), surface))
}

fn outputs(client: &Client) -> Vec<Surface> {
    client.told.outputs.iter().enumerate().map(|(index, output)| output.surface(index)).collect()
}

/// The compositor, if it copies its outputs for its clients.
fn offering() -> Result<Client, ScreenError> {
    let client = Client::open()?;
    if client.told.manager.is_some() && client.told.memory.is_some() {
        return Ok(client);
    }
    let detail = "the compositor has no wlr-screencopy".to_owned();
    Err(ScreenError::NotSupported { display: client.name, detail })
}
