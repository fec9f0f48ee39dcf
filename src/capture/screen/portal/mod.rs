//! A surface that a person picks in the desktop's own dialog: the portal `org.freedesktop.portal.ScreenCast`, and PipeWire.
//!
//! ```text
//! permission.rs   the dialog, over D-Bus -> a PipeWire connection and the number of a node
//! stream.rs       that node -> pixels
//! ```
//!
//! Both live on threads of their own, which end with the capture.

mod permission;
mod stream;

use super::picture::Pixels;
use super::source::{Grab, Look, Take};
use super::{Region, ScreenError, ScreenOptions, Surface, SurfaceKind};
use permission::Permission;
use stream::{Picture, Stream};

/// The name of this display server in errors.
const NAME: &str = "portal";

fn lost(detail: impl ToString) -> ScreenError {
    ScreenError::Lost { display: NAME.to_owned(), detail: detail.to_string() }
}

/// Asks the person, and opens what they picked. Blocks until they have.
pub(super) fn open(kind: SurfaceKind, options: &ScreenOptions) -> Result<(Box<dyn Grab>, Surface), ScreenError> {
    let (permission, granted) = Permission::ask(kind, options)?;
    let stream = Stream::open(granted.remote, granted.node)?;
    let first = stream.first()?;
    let surface = Surface {
        id: granted.id.unwrap_or_else(|| format!("portal-{}", granted.node)),
        kind,
        label: format!("the {kind} that was picked"),
        application: None,
        x: granted.at.0,
        y: granted.at.1,
        width: first.width,
        height: first.height,
        primary: false,
    };
    let grab = PortalGrab { stream, permission, region: options.region, shown: None, first: Some(first) };
    Ok((Box::new(grab), surface))
}

struct PortalGrab {
    stream: Stream,
    permission: Permission,
    region: Option<Region>,
    shown: Option<Picture>,
    first: Option<Picture>,
}

impl Grab for PortalGrab {
    fn look(&mut self) -> Result<Look, ScreenError> {
        if let Some(picture) = self.stream.take().or_else(|| self.first.take()) {
            if let Some(old) = self.shown.replace(picture) {
                self.stream.recycle(old);
            }
            return Ok(Look::Changed);
        }
        if self.permission.is_over() || self.stream.is_over()? {
            return Ok(Look::Ended);
        }
        Ok(Look::Same)
    }

    fn show(&mut self, to: &mut Take<'_>) -> Result<(), ScreenError> {
        let picture = self.shown.as_ref().ok_or_else(|| lost("there is nothing to show"))?;
        let pixels = Pixels {
            data: &picture.bytes,
            stride: picture.stride,
            skip: 0,
            width: picture.width,
            height: picture.height,
            order: picture.order,
        };
        let pixels = pixels.cropped(self.region).ok_or_else(|| lost("the region is not on the surface any more"))?;
        to(pixels).map_err(lost)
    }
}
