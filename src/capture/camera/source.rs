//! A running camera.
//!
//! The `v4l` crate owns the buffers. It hands out a picture only together with queueing the one before, and would wait for
//! ever, so readiness is polled for here first; and its stream panics when a camera refuses to stop, so it is stopped before
//! it is dropped.

use super::clock::KernelClock;
use super::convert::Layout;
use super::{Camera, PixelFormat};
use crate::capture::CaptureError;
use crate::error::Error;
use crate::media::{FramePool, FrameRate, Source, VideoFormat, VideoFrame, VideoMode};
use crate::stop::Stop;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use v4l::buffer::{Flags, Metadata, Type};
use v4l::format::{Colorspace, Quantization};
use v4l::io::traits::{CaptureStream, Stream};
use v4l::prelude::MmapStream;
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC, Fraction};

/// Pictures that the kernel may hold for us.
const BUFFERS: u32 = 6;
/// A camera that gives nothing for so long has stalled, unless its pictures are that far apart.
pub(in crate::capture) const STALLED: Duration = Duration::from_secs(5);
/// How often a waiting reader looks whether it was stopped.
const PATIENCE_MS: i32 = 50;

/// The pictures of one camera. Live: each comes when the camera has it, with the time at which the kernel says it was captured.
pub struct CameraSource {
    name: String,
    /// `None` once the camera is gone.
    stream: Option<MmapStream<'static>>,
    layout: Layout,
    format: VideoFormat,
    stalled_after: Duration,
    clock: KernelClock,
    pool: FramePool,
    last: Option<u32>,
    lost: Arc<AtomicU64>,
}

impl CameraSource {
    /// Sets the camera to `mode` and starts it. The timeline of its pictures begins at `origin`.
    ///
    /// # Errors
    /// When somebody else uses the camera, when it is gone, or when it will not be set to the mode.
    pub fn open(camera: &Camera, mode: &VideoMode, origin: Instant) -> Result<Self, CaptureError> {
        let name = camera.label.clone();
        let failed = |error: io::Error| CaptureError::of_device(&name, error);
        let unusable = |detail: String| CaptureError::Unusable { source_name: name.clone(), detail };
        let device = Device::with_path(&camera.path).map_err(failed)?;
        let pixels = PixelFormat::from_fourcc(&mode.pixel_format)
            .ok_or_else(|| unusable(format!("its pixels are {}", mode.pixel_format)))?;
        let mut code = [b' '; 4];
        code.copy_from_slice(pixels.fourcc().as_bytes());
        let wanted = Format::new(mode.width, mode.height, FourCC::new(&code));
        let set = device.set_format(&wanted).map_err(failed)?;
        if (set.width, set.height, set.fourcc) != (wanted.width, wanted.height, wanted.fourcc) {
            let (is, was) = (format!("{}x{} {}", set.width, set.height, set.fourcc), mode.pixel_format.as_str());
            return Err(unusable(format!("it is at {is}, where {}x{} {was} was wanted", mode.width, mode.height)));
        }
        let frame_rate = set_rate(&device, mode.frame_rate).map_err(failed)?;
        let mut stream = MmapStream::with_buffers(&device, Type::VideoCapture, BUFFERS).map_err(failed)?;
        start(&mut stream).map_err(failed)?;
        let format = VideoFormat { width: set.width, height: set.height, frame_rate };
        let layout = Layout {
            format: pixels,
            width: set.width,
            height: set.height,
            stride: if set.stride > 0 { set.stride } else { pixels.least_stride(set.width) },
            full_range: is_full_range(&set, pixels),
        };
        Ok(Self {
            name,
            stream: Some(stream),
            layout,
            format,
            stalled_after: STALLED.max(frame_rate.time_of(4).duration()),
            clock: KernelClock::new(origin),
            pool: FramePool::new(),
            last: None,
            lost: Arc::default(),
        })
    }

    /// The shape of its pictures.
    pub fn format(&self) -> VideoFormat {
        self.format
    }

    /// The next picture that can be used; `None` after a stop.
    fn picture(&mut self, stop: &Stop) -> Result<Option<VideoFrame>, CaptureError> {
        let failed = |name: &str, error: io::Error| CaptureError::of_device(name, error);
        let mut deadline = Instant::now() + self.stalled_after;
        loop {
            let Some(stream) = &mut self.stream else { return Ok(None) };
            if stop.is_stopped() {
                return Ok(None);
            }
            match stream.handle().poll(libc::POLLIN, PATIENCE_MS) {
                Ok(0) if Instant::now() < deadline => continue,
                Ok(0) => {
                    let seconds = self.stalled_after.as_secs();
                    return Err(CaptureError::Stalled { source_name: self.name.clone(), seconds });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(&self.name, error)),
                Ok(_) => {}
            }
            let (bytes, facts) = stream.next().map_err(|error| failed(&self.name, error))?;
            let facts = *facts;
            count_lost(&mut self.last, facts.sequence, &self.lost);
            let used = bytes.get(..facts.bytesused as usize).unwrap_or(bytes);
            let mut picture = self.pool.take(self.layout.width, self.layout.height);
            let converted = if facts.flags.contains(Flags::ERROR) {
                Err("the driver says that it is damaged".to_owned())
            } else {
                self.layout.convert(used, &mut picture).map_err(|error| error.to_string())
            };
            match converted {
                Ok(()) => return Ok(Some(VideoFrame::new(self.clock.time(stamp(&facts)), picture))),
                // Common in the first pictures of cheap cameras.
                Err(why) => {
                    tracing::debug!("{}: picture {} is left out: {why}", self.name, facts.sequence);
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            if Instant::now() >= deadline {
                let seconds = self.stalled_after.as_secs();
                return Err(CaptureError::Stalled { source_name: self.name.clone(), seconds });
            }
            deadline = deadline.max(Instant::now());
        }
    }
}

impl Source<VideoFrame> for CameraSource {
    fn next(&mut self, stop: &Stop) -> Result<Option<VideoFrame>, Error> {
        let picture = self.picture(stop);
        if picture.is_err() {
            self.close();
        }
        Ok(picture?)
    }

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        Some(Arc::clone(&self.lost))
    }
}

impl CameraSource {
    fn close(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        match stream.stop() {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
            // Dropping it would panic; the kernel takes everything back when the process ends.
            Err(error) => {
                tracing::warn!("{} cannot be stopped: {error}", self.name);
                std::mem::forget(stream);
            }
        }
    }
}

impl Drop for CameraSource {
    fn drop(&mut self) {
        self.close();
    }
}

/// Queues all buffers but the first, which the stream queues itself with its first picture.
fn start(stream: &mut MmapStream<'static>) -> io::Result<()> {
    // There is no count to ask for: the driver may have given fewer buffers, or more.
    let mut queued = 0;
    for index in 1..64 {
        match CaptureStream::queue(stream, index) {
            Ok(()) => queued += 1,
            Err(_) if queued > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Stream::start(stream)
}

fn set_rate(device: &Device, wanted: FrameRate) -> io::Result<FrameRate> {
    let interval = Fraction::new(wanted.denominator.get(), wanted.numerator.get());
    match device.set_params(&Parameters::new(interval)) {
        Ok(set) => Ok(FrameRate::new(set.interval.denominator, set.interval.numerator).unwrap_or(wanted)),
        // Some drivers have one rate and no way to ask for it.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)) => Ok(wanted),
        Err(error) => Err(error),
    }
}

/// V4L2's rule: what the driver says, else full range for what has no YCbCr encoding or comes from JPEG, and limited range for
/// the rest.
fn is_full_range(format: &Format, pixels: PixelFormat) -> bool {
    match format.quantization {
        Quantization::FullRange => true,
        Quantization::LimitedRange => false,
        Quantization::Default => matches!(format.colorspace, Colorspace::JPEG) || pixels == PixelFormat::Grey,
    }
}

/// The kernel numbers pictures also when it has no buffer for them.
fn count_lost(last: &mut Option<u32>, sequence: u32, lost: &AtomicU64) {
    if let Some(last) = *last {
        let skipped = sequence.wrapping_sub(last).wrapping_sub(1);
        // Numbers that go back are a driver's own affair.
        if skipped < u32::MAX / 2 {
            lost.fetch_add(u64::from(skipped), Ordering::Relaxed);
        }
    }
    *last = Some(sequence);
}

fn stamp(facts: &Metadata) -> Duration {
    let stamp = facts.timestamp;
    match (facts.flags.contains(Flags::TIMESTAMP_MONOTONIC), u64::try_from(stamp.sec), u32::try_from(stamp.usec)) {
        (true, Ok(seconds), Ok(micros)) if micros < 1_000_000 => Duration::new(seconds, micros * 1000),
        _ => KernelClock::now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_in_the_numbers_are_lost_pictures() {
        let (mut last, lost) = (None, AtomicU64::new(0));
        for sequence in [7, 8, 11, 12, 12, 3, 4] {
            count_lost(&mut last, sequence, &lost);
        }
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        let mut last = Some(u32::MAX);
        count_lost(&mut last, 1, &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 3, "the number begins anew");
    }
}
