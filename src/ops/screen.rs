//! `screen`: what can be captured. Capturing it is what [`record`](super::record) does.

pub use crate::capture::screen::{Surface, SurfaceKind};

use crate::capture::screen;
use crate::error::{Error, ErrorKind};
use serde::Serialize;

/// What can be captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Monitors, then windows.
    pub surfaces: Vec<Surface>,
}

/// Lists the surfaces of one kind, or of all.
///
/// # Errors
/// When there is no display server, or it cannot be asked.
pub async fn list(kind: Option<SurfaceKind>) -> Result<Report, Error> {
    let listing = tokio::task::spawn_blocking(screen::surfaces);
    let listed = listing.await.map_err(|error| Error::new(ErrorKind::Internal, "OperationError", error.to_string()))?;
    let mut surfaces = listed.map_err(|error| Error::from(error).at("open"))?;
    surfaces.retain(|surface| kind.is_none_or(|kind| surface.kind == kind));
    Ok(Report { surfaces })
}
