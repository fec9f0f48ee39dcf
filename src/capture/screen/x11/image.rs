//! The pixels of a rectangle, fetched row by row: through shared memory, or over the connection where there is none.

use super::super::ScreenError;
use super::super::memory::SharedMemory;
use super::damage::Band;
use super::display::Display;
use std::os::fd::AsFd;
use x11rb::connection::Connection as _;
use x11rb::errors::ReplyError;
use x11rb::protocol::shm;
use x11rb::protocol::xproto::{ConnectionExt as _, Drawable, ImageFormat};

/// All planes of a pixel.
const ALL_PLANES: u32 = !0;

/// A rectangle of a drawable, in its coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: i16,
    pub(super) y: i16,
    pub(super) width: u16,
    pub(super) height: u16,
}

/// Memory for the pixels of an area, four bytes each, rows without gaps.
pub(super) struct Image {
    memory: Memory,
    pub(super) width: u16,
    pub(super) height: u16,
}

enum Memory {
    Shared { segment: shm::Seg, memory: SharedMemory },
    Own(Vec<u8>),
}

impl Image {
    pub(super) fn new(display: &Display, width: u16, height: u16) -> Result<Self, ScreenError> {
        let len = usize::from(width) * usize::from(height) * 4;
        let memory = share(display, len)?.unwrap_or_else(|why| {
            let name = &display.name;
            tracing::debug!("no memory is shared with the display {name}: {why}");
            Memory::Own(vec![0; len])
        });
        Ok(Self { memory, width, height })
    }

    /// Whether the server writes into it directly.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.memory, Memory::Shared { .. })
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Shared { memory, .. } => memory.bytes_mut(),
            Memory::Own(bytes) => bytes,
        }
    }

    /// Brings these rows up to date. `area` is as large as the image.
    pub(super) fn fetch(
        &mut self,
        display: &Display,
        drawable: Drawable,
        area: Area,
        bands: &[Band],
    ) -> Result<(), ReplyError> {
        let (connection, stride) = (&display.connection, usize::from(self.width) * 4);
        let row = |y: u16| area.y.saturating_add_unsigned(y);
        match &mut self.memory {
            Memory::Shared { segment, .. } => {
                let ask = |band: &Band| {
                    let (y, height) = (row(band.first), band.end - band.first);
                    let offset = u32::from(band.first) * u32::from(area.width) * 4;
                    let format = ImageFormat::Z_PIXMAP.into();
                    shm::get_image(
                        connection, drawable, area.x, y, area.width, height, ALL_PLANES, format, *segment, offset,
                    )
                };
                let asked: Vec<_> = bands.iter().map(ask).collect::<Result<_, _>>()?;
                asked.into_iter().try_for_each(|cookie| cookie.reply().map(drop))
            }
            Memory::Own(bytes) => {
                for band in bands {
                    let (y, height) = (row(band.first), band.end - band.first);
                    let format = ImageFormat::Z_PIXMAP;
                    let cookie = connection.get_image(format, drawable, area.x, y, area.width, height, ALL_PLANES)?;
                    let data = cookie.reply()?.data;
                    let rows = usize::from(band.first) * stride..usize::from(band.end) * stride;
                    for (into, from) in bytes[rows].iter_mut().zip(data) {
                        *into = from;
                    }
                }
                Ok(())
            }
        }
    }

    /// Gives the memory back to the server.
    pub(super) fn free(self, display: &Display) {
        if let Memory::Shared { segment, .. } = self.memory {
            // A connection that is gone has freed it already.
            let _ = shm::detach(&display.connection, segment);
        }
    }
}

/// Memory that the server and we share, or why there is none: most of all a server on another machine.
fn share(display: &Display, len: usize) -> Result<Result<Memory, String>, ScreenError> {
    if !display.has.shared_memory {
        return Ok(Err("it has no MIT-SHM 1.2".to_owned()));
    }
    let Ok(size) = u32::try_from(len) else { return Ok(Err(format!("{len} bytes are too many"))) };
    let connection = &display.connection;
    let segment = connection.generate_id().map_err(|error| display.lost(error))?;
    let asked = shm::create_segment(connection, segment, size, false).map_err(|error| display.lost(error))?;
    match asked.reply() {
        Ok(reply) => Ok(SharedMemory::map(reply.shm_fd.as_fd(), len)
            .map(|memory| Memory::Shared { segment, memory })
            .map_err(|error| error.to_string())),
        Err(ReplyError::X11Error(error)) => Ok(Err(format!("{:?}", error.error_kind))),
        Err(error) => Err(display.lost(error)),
    }
}
