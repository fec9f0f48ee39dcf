//! One output, copied by wlr-screencopy.
//!
//! There are two buffers: the compositor copies into one, as soon as anything changes on the output, while the other is looked
//! at. What stands still is not copied.

use super::super::cursor::CursorCapture;
use super::super::memory::SharedMemory;
use super::super::picture::{Order, Pixels};
use super::super::source::{Grab, Look, Take};
use super::super::{Region, ScreenError, ScreenOptions};
use super::client::{Client, Frame, Outcome, Shape};
use super::upright::upright;
use std::os::fd::AsFd;
use std::time::Duration;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_output::{Transform, WlOutput};
use wayland_client::protocol::wl_shm::Format;
use wayland_client::{Proxy, WEnum};
use wayland_protocols_wlr::screencopy::v1::client::zwlr_screencopy_frame_v1::ZwlrScreencopyFrameV1;

/// How many copies in a row may fail.
const MOST_FAILURES: u32 = 50;

/// An output that is being captured.
pub(super) struct WlrGrab {
    client: Client,
    output: WlOutput,
    cursor: i32,
    region: Option<Region>,
    /// Asked for and not ready yet.
    pending: Option<Pending>,
    shown: Option<Shown>,
    spare: Option<Buffer>,
    turned: Vec<u8>,
    failures: u32,
}

struct Pending {
    frame: ZwlrScreencopyFrameV1,
    /// What it is copied into, once its shape is known.
    buffer: Option<Buffer>,
}

struct Shown {
    buffer: Buffer,
    order: Order,
    inverted: bool,
    transform: Transform,
}

/// Memory that the compositor copies into.
struct Buffer {
    proxy: WlBuffer,
    memory: SharedMemory,
    shape: Shape,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.proxy.destroy();
    }
}

impl WlrGrab {
    pub(super) fn new(client: Client, index: usize, options: &ScreenOptions) -> Result<Self, ScreenError> {
        let cursor = match options.cursor {
            CursorCapture::Always => 1,
            CursorCapture::Never => 0,
            CursorCapture::Motion => {
                return Err(ScreenError::NotSupported {
                    display: client.name,
                    detail: "the compositor does not say when the cursor moves: it is seen always or never".to_owned(),
                });
            }
        };
        let output = client.told.outputs.get(index).map(|output| output.proxy.clone());
        let output = output.ok_or_else(|| client.lost("the output is gone"))?;
        let region = options.region;
        let (pending, shown, spare) = (None, None, None);
        Ok(Self { client, output, cursor, region, pending, shown, spare, turned: Vec::new(), failures: 0 })
    }

    /// Asks for the next frame.
    fn ask(&mut self) -> Result<(), ScreenError> {
        let manager = self.client.told.manager.clone().ok_or_else(|| self.client.lost("the screencopy is gone"))?;
        self.client.told.frame = Frame::default();
        let frame = manager.capture_output(self.cursor, &self.output, &self.client.handle(), ());
        self.pending = Some(Pending { frame, buffer: None });
        // Its shape comes at once, the frame itself when something changes.
        self.client.wait(|told| told.frame.shaped || told.frame.outcome.is_some())?;
        let (Some(shape), None) = (self.client.told.frame.shape, self.client.told.frame.outcome) else {
            return Ok(());
        };
        let buffer = match self.spare.take().filter(|spare| spare.shape == shape) {
            Some(spare) => spare,
            None => self.buffer(shape)?,
        };
        if let Some(pending) = &mut self.pending {
            if pending.frame.version() >= 2 && self.shown.is_some() {
                pending.frame.copy_with_damage(&buffer.proxy);
            } else {
                pending.frame.copy(&buffer.proxy);
            }
            pending.buffer = Some(buffer);
        }
        self.client.pump(Duration::ZERO)
    }

    fn buffer(&self, shape: Shape) -> Result<Buffer, ScreenError> {
        let lost = |error: std::io::Error| self.client.lost(error);
        let whole = |n: u32| i32::try_from(n).map_err(|error| self.client.lost(error));
        let memory = self.client.told.memory.as_ref().ok_or_else(|| self.client.lost("the shared memory is gone"))?;
        let WEnum::Value(format) = shape.format else { return Err(self.unknown(shape)) };
        if order(format).is_none()
            || !shape.stride.is_multiple_of(4)
            || u64::from(shape.stride) < u64::from(shape.width) * 4
        {
            return Err(self.unknown(shape));
        }
        let len = shape.stride as usize * shape.height as usize;
        let (mapped, file) = SharedMemory::new(len).map_err(lost)?;
        let handle = self.client.handle();
        let pool = memory.create_pool(file.as_fd(), i32::try_from(len).map_err(|e| self.client.lost(e))?, &handle, ());
        let (width, height, stride) = (whole(shape.width)?, whole(shape.height)?, whole(shape.stride)?);
        let proxy = pool.create_buffer(0, width, height, stride, format, &handle, ());
        pool.destroy();
        Ok(Buffer { proxy, memory: mapped, shape })
    }

    fn unknown(&self, shape: Shape) -> ScreenError {
        let detail = format!("its pixels have the form {:?}, which is not supported", shape.format);
        ScreenError::NotSupported { display: self.client.name.clone(), detail }
    }

    /// The frame that was asked for has come, or will not.
    fn finish(&mut self, outcome: Outcome) -> Result<Look, ScreenError> {
        let Some(Pending { frame, buffer }) = self.pending.take() else { return Ok(Look::Same) };
        frame.destroy();
        let Some(buffer) = buffer.filter(|_| outcome == Outcome::Ready) else {
            self.failures += 1;
            if self.failures > MOST_FAILURES {
                return Err(self.client.lost("the compositor does not copy the output"));
            }
            return Ok(Look::Same);
        };
        self.failures = 0;
        let order = buffer.shape.format.into_result().ok().and_then(order).ok_or_else(|| self.unknown(buffer.shape))?;
        let output = self.client.told.outputs.iter().find(|output| output.proxy == self.output);
        let transform = output.map_or(Transform::Normal, |output| output.transform);
        let inverted = self.client.told.frame.inverted;
        self.spare = self.shown.replace(Shown { buffer, order, inverted, transform }).map(|shown| shown.buffer);
        Ok(Look::Changed)
    }
}

impl Grab for WlrGrab {
    fn look(&mut self) -> Result<Look, ScreenError> {
        self.client.pump(Duration::ZERO)?;
        if !self.client.told.outputs.iter().any(|output| output.proxy == self.output) {
            return Ok(Look::Ended);
        }
        if self.pending.is_none() {
            self.ask()?;
        }
        if self.shown.is_none() {
            // The first one is copied without waiting for a change.
            self.client.wait(|told| told.frame.outcome.is_some())?;
        }
        match self.client.told.frame.outcome.take() {
            None => Ok(Look::Same),
            Some(outcome) => {
                let look = self.finish(outcome)?;
                if look == Look::Changed {
                    self.ask()?;
                }
                Ok(look)
            }
        }
    }

    fn show(&mut self, to: &mut Take<'_>) -> Result<(), ScreenError> {
        let Self { client, shown, turned, region, .. } = self;
        let fail = |detail: &str| client.lost(detail);
        let shown = shown.as_ref().ok_or_else(|| fail("there is nothing to show"))?;
        let Shape { width, height, stride, .. } = shown.buffer.shape;
        let (mut data, mut stride, mut size) = (shown.buffer.memory.bytes(), stride as usize, (width, height));
        if shown.transform != Transform::Normal || shown.inverted {
            let native = (width as usize, height as usize);
            let (wide, high) = upright(data, stride, native, shown.transform, shown.inverted, turned);
            let side = |n: usize| u32::try_from(n).map_err(|_| fail("the output is too large"));
            (data, stride, size) = (turned, wide * 4, (side(wide)?, side(high)?));
        }
        let pixels = Pixels { data, stride, skip: 0, width: size.0, height: size.1, order: shown.order };
        let pixels = pixels.cropped(*region).ok_or_else(|| fail("the region is not on the output any more"))?;
        to(pixels).map_err(|detail| client.lost(detail))
    }
}

impl Drop for WlrGrab {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            pending.frame.destroy();
        }
    }
}

/// How pixels of a format lie in memory; formats are named from the highest byte of a little-endian word down.
fn order(format: Format) -> Option<Order> {
    match format {
        Format::Xrgb8888 | Format::Argb8888 => Some(Order::Bgr),
        Format::Xbgr8888 | Format::Abgr8888 => Some(Order::Rgb),
        _ => None,
    }
}
