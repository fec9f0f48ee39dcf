//! Pictures as bytes without any header: I420 planes, or R, G and B of each pixel. Every picture that comes is written once,
//! whatever its time.

use super::image::rgb;
use super::output::{Existing, Finished, Output, OutputError, Target};
use crate::error::{Classify, ErrorKind};
use crate::media::VideoFrame;

/// What the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawPixels {
    /// Planes of Y, U and V, limited range.
    I420,
    /// R, G and B of each pixel, full range.
    Rgb,
}

/// Why pictures were not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RawError {
    /// The file or stream failed.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A picture has another size than the first, which nothing would tell the reader.
    #[error("the pictures became {now:?} after {first:?}, which raw video cannot say")]
    SizeChanged {
        /// Width and height of the first picture.
        first: (u32, u32),
        /// Those of this one.
        now: (u32, u32),
    },
    /// The pixels could not be turned.
    #[error("pixels cannot be converted: {0}")]
    Convert(String),
}

impl Classify for RawError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Output(_) => ErrorKind::Output,
            _ => ErrorKind::InvalidInput,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Output(error) => error.hint(),
            _ => None,
        }
    }
}

/// Writes pictures one behind the other.
pub struct RawVideoSink {
    output: Output,
    pixels: RawPixels,
    size: Option<(u32, u32)>,
}

impl RawVideoSink {
    /// Opens the output.
    ///
    /// # Errors
    /// When the output cannot be created.
    pub fn create(target: Target, existing: Existing, pixels: RawPixels) -> Result<Self, RawError> {
        Ok(Self { output: Output::create(target, existing)?, pixels, size: None })
    }

    /// Takes a picture.
    ///
    /// # Errors
    /// When the output fails, or the picture has another size than the first.
    pub fn write(&mut self, frame: &VideoFrame) -> Result<(), RawError> {
        let now = (frame.width(), frame.height());
        let first = *self.size.get_or_insert(now);
        if first != now {
            return Err(RawError::SizeChanged { first, now });
        }
        match self.pixels {
            RawPixels::I420 => self.output.write(frame.data())?,
            RawPixels::Rgb => {
                let pixels = rgb(&frame.picture).map_err(|error| RawError::Convert(error.to_string()))?;
                self.output.write(&pixels)?;
            }
        }
        self.output.keep_unfinished();
        Ok(())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// When the output fails.
    pub fn finish(self) -> Result<Finished, RawError> {
        Ok(self.output.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{I420, MediaTime};
    use crate::record::foreign;

    #[test]
    fn raw_pictures_are_as_long_as_their_pixels_and_of_one_size() {
        for (pixels, bytes) in [(RawPixels::I420, 17 * 9 + 2 * 9 * 5), (RawPixels::Rgb, 17 * 9 * 3)] {
            let stream = foreign::Shared::default();
            let target = Target::Stream(Box::new(stream.clone()), "-".to_owned());
            let mut sink = RawVideoSink::create(target, Existing::Refuse, pixels).unwrap();
            let frame = |width| VideoFrame::new(MediaTime::ZERO, I420::new(width, 9));
            sink.write(&frame(17)).unwrap();
            sink.write(&frame(17)).unwrap();
            assert!(matches!(sink.write(&frame(18)), Err(RawError::SizeChanged { .. })));
            assert_eq!(stream.take().len(), 2 * bytes);
        }
    }
}
