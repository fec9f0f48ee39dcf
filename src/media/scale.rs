//! The size of pictures.

use super::{FramePool, I420, VideoFrame};
use crate::error::{Classify, ErrorKind};
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

/// A picture could not be brought to another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a picture of {from:?} pixels cannot be scaled to {to:?}")]
pub struct ScaleError {
    /// Its width and height.
    pub from: (u32, u32),
    /// Those that were wanted.
    pub to: (u32, u32),
}

impl Classify for ScaleError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }
}

/// Brings pictures to another size. They come from a pool of its own.
#[derive(Default)]
pub struct Scaler {
    resizer: Resizer,
    pool: FramePool,
}

impl Scaler {
    /// The picture in this size, whatever that does to its shape; the same one if it has it.
    ///
    /// # Errors
    /// When either has no pixels.
    pub fn scale(&mut self, frame: &VideoFrame, width: u32, height: u32) -> Result<VideoFrame, ScaleError> {
        self.resize(frame, None, (width, height))
    }

    /// The largest part of the picture that has the shape of this size, from its middle, in this size; the same one if it
    /// has it.
    ///
    /// # Errors
    /// When either has no pixels.
    pub fn fill(&mut self, frame: &VideoFrame, width: u32, height: u32) -> Result<VideoFrame, ScaleError> {
        let whole = (f64::from(frame.width()), f64::from(frame.height()));
        let ratio = f64::from(width) / f64::from(height);
        let part = if whole.0 > whole.1 * ratio { (whole.1 * ratio, whole.1) } else { (whole.0, whole.0 / ratio) };
        self.resize(frame, Some(part), (width, height))
    }

    /// The `part` in the middle, in luma pixels, or the whole.
    fn resize(
        &mut self,
        frame: &VideoFrame,
        part: Option<(f64, f64)>,
        to: (u32, u32),
    ) -> Result<VideoFrame, ScaleError> {
        let from = (frame.width(), frame.height());
        if from == to {
            return Ok(frame.clone());
        }
        let failed = || ScaleError { from, to };
        if [from.0, from.1, to.0, to.1].contains(&0) {
            return Err(failed());
        }
        let mut out = self.pool.take(to.0, to.1);
        let sizes = |picture: &I420| {
            let chroma = (picture.chroma_width(), picture.chroma_height());
            [(picture.width(), picture.height()), chroma, chroma]
        };
        let (sources, targets) = (sizes(&frame.picture), sizes(&out));
        let planes = frame.planes().into_iter().zip(sources).zip(out.planes_mut().into_iter().zip(targets));
        for (((source, from), (target, to)), scale) in planes.zip([1.0, 0.5, 0.5]) {
            let mut options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
            if let Some((width, height)) = part {
                let plane = (f64::from(from.0), f64::from(from.1));
                let (width, height) = ((width * scale).min(plane.0), (height * scale).min(plane.1));
                options = options.crop((plane.0 - width) / 2.0, (plane.1 - height) / 2.0, width, height);
            }
            let source = TypedImageRef::<U8>::from_buffer(from.0, from.1, source).map_err(|_| failed())?;
            let mut target = TypedImage::<U8>::from_buffer(to.0, to.1, target).map_err(|_| failed())?;
            self.resizer.resize_typed(&source, &mut target, &options).map_err(|_| failed())?;
        }
        Ok(VideoFrame::new(frame.time, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::MediaTime;

    #[test]
    fn halves_and_planes_keep_their_places() {
        let mut picture = I420::new(64, 48);
        let [y, u, v] = picture.planes_mut();
        for row in y.chunks_exact_mut(64) {
            row[..32].fill(50);
            row[32..].fill(200);
        }
        u.fill(90);
        v.fill(160);
        let frame = VideoFrame::new(MediaTime::from_micros(7), picture);
        let small = Scaler::default().scale(&frame, 31, 25).unwrap();
        assert_eq!((small.width(), small.height(), small.time), (31, 25, frame.time));
        let [y, u, v] = small.planes();
        assert!(
            y.chunks_exact(31).all(|row| row[..14].iter().all(|p| *p == 50) && row[17..].iter().all(|p| *p == 200))
        );
        assert!(u.iter().all(|p| *p == 90) && v.iter().all(|p| *p == 160));
        assert_eq!(Scaler::default().scale(&frame, 0, 10).err(), Some(ScaleError { from: (64, 48), to: (0, 10) }));
    }
}
