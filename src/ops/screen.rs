//! `screen`: what can be captured, and one picture of it. Recording it is what [`record`](super::record) does.

pub use crate::capture::screen::{ScreenOptions, Surface, SurfaceKind};
pub use crate::record::{Existing, ImageFormat};

use super::destination::Destination;
use crate::capture::screen;
use crate::error::{Error, ErrorKind};
use crate::record::{ImageSink, Target};
use crate::stop::{Stop, StopReason};
use serde::Serialize;
use std::io::Write;

/// What can be captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Monitors, then windows.
    pub surfaces: Vec<Surface>,
}

/// A picture that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// The file, under the name it got, or `-`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// What a picture is taken of, and where it goes.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Monitor or window.
    pub kind: SurfaceKind,
    /// Which; without it the main monitor.
    pub select: Option<String>,
    /// How it is captured.
    pub screen: ScreenOptions,
    /// Where it goes.
    pub to: Destination,
    /// As what.
    pub format: ImageFormat,
    /// What to do with an output that exists.
    pub existing: Existing,
}

/// Lists the surfaces of one kind, or of all.
///
/// # Errors
/// When there is no display server, or it cannot be asked.
pub async fn list(kind: Option<SurfaceKind>) -> Result<Report, Error> {
    let mut surfaces = blocking(|| screen::surfaces().map_err(|error| Error::from(error).at("open"))).await?;
    surfaces.retain(|surface| kind.is_none_or(|kind| surface.kind == kind));
    Ok(Report { surfaces })
}

/// Takes a picture of a surface as it is now, every pixel as it is shown.
///
/// # Errors
/// When there is no such surface, when the output fails, or when it is stopped before; no file is left then.
pub async fn snapshot(asked: Snapshot, stdout: Option<Box<dyn Write + Send>>, stop: Stop) -> Result<Taken, Error> {
    blocking(move || {
        let Snapshot { kind, select, screen, to, format, existing } = asked;
        let (target, name) = match to {
            Destination::File(path) => (Target::File(path), None),
            Destination::Stdout => {
                let absent = || Error::new(ErrorKind::Usage, "usage", "standard output is not there");
                (Target::Stream(stdout.ok_or_else(absent)?, "-".to_owned()), Some("-".to_owned()))
            }
        };
        let at_output = |error| Error::from(error).at("output");
        // Whether it can be written is known before anybody is asked for a permission.
        let image = ImageSink::create(target, existing, format).map_err(at_output)?;
        let taken = screen::snapshot(kind, select.as_deref(), &screen, &stop);
        let Some(taken) = taken.map_err(|error| Error::from(error).at("open"))? else {
            let kind = match stop.reason() {
                Some(StopReason::Terminate) => ErrorKind::Terminated,
                _ => ErrorKind::Interrupted,
            };
            return Err(Error::new(kind, "AbortError", "stopped before there was a picture"));
        };
        let screen::Snapshot { width, height, rgb } = taken;
        let finished = image.write_rgb(&rgb, width, height).map_err(at_output)?;
        let path = name.unwrap_or_else(|| finished.path.map_or_else(String::new, |path| path.display().to_string()));
        Ok(Taken { path, bytes: finished.bytes, width, height })
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "OperationError", error.to_string())))
}
