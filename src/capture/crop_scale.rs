//! `resizeMode: crop-and-scale` of mediacapture-main: the largest part of each picture that has the wanted shape, from its
//! middle, scaled; and pictures left out where fewer are wanted than come.

use crate::error::Error;
use crate::media::{MediaTime, Scaler, Source, VideoFormat, VideoFrame};
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A source whose pictures are brought to a size and rate.
pub(super) struct CropAndScale<S> {
    source: S,
    wanted: VideoFormat,
    /// Whether fewer pictures are wanted than come.
    thins: bool,
    due: Option<MediaTime>,
    scaler: Scaler,
}

impl<S: Source<VideoFrame>> CropAndScale<S> {
    /// Brings pictures of `native` shape to `wanted`.
    pub(super) fn new(source: S, native: VideoFormat, wanted: VideoFormat) -> Self {
        let thins = wanted.frame_rate.as_f64() < native.frame_rate.as_f64() * 0.9995;
        Self { source, wanted, thins, due: None, scaler: Scaler::default() }
    }

    /// Whether it is the turn of a picture of this time: as many are kept as are wanted, evenly.
    fn takes(&mut self, time: MediaTime) -> bool {
        // In a unit that is finer than any rate of pictures.
        let (time, period) = (time.rescale(MediaTime::MICROS), self.wanted.frame_rate.time_of(1));
        let due = *self.due.get_or_insert(time);
        // The picture nearest to its time, which may be a little early.
        if self.thins && time.plus(MediaTime::from_micros(2_000)) < due {
            return false;
        }
        let next = due.plus(period);
        self.due = Some(if next < time.minus(period) { time } else { next });
        true
    }
}

impl<S: Source<VideoFrame>> Source<VideoFrame> for CropAndScale<S> {
    fn next(&mut self, stop: &Stop) -> Result<Option<VideoFrame>, Error> {
        while let Some(frame) = self.source.next(stop)? {
            if self.takes(frame.time) {
                return Ok(Some(self.scaler.fill(&frame, self.wanted.width, self.wanted.height)?));
            }
        }
        Ok(None)
    }

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        self.source.lost()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{FrameRate, I420};

    struct Pictures(Vec<VideoFrame>);

    impl Source<VideoFrame> for Pictures {
        fn next(&mut self, _stop: &Stop) -> Result<Option<VideoFrame>, Error> {
            Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
        }
    }

    fn format(width: u32, height: u32, fps: f64) -> VideoFormat {
        VideoFormat { width, height, frame_rate: FrameRate::from_f64(fps).unwrap() }
    }

    fn all(mut source: impl Source<VideoFrame>) -> Vec<VideoFrame> {
        std::iter::from_fn(|| source.next(&Stop::new()).unwrap()).collect()
    }

    /// Left third black, middle white, right third black.
    fn striped(width: u32, height: u32) -> I420 {
        let mut picture = I420::new(width, height);
        let third = width as usize / 3;
        let [y, u, v] = picture.planes_mut();
        for (at, value) in y.iter_mut().enumerate() {
            *value = if (third..2 * third).contains(&(at % width as usize)) { 235 } else { 16 };
        }
        u.fill(90);
        v.fill(200);
        picture
    }

    #[test]
    fn a_wide_picture_made_square_keeps_its_middle() {
        let frame = VideoFrame::new(MediaTime::ZERO, striped(96, 32));
        let source = CropAndScale::new(Pictures(vec![frame]), format(96, 32, 30.0), format(16, 16, 30.0));
        let made = all(source).remove(0);
        assert_eq!((made.width(), made.height()), (16, 16));
        let [y, u, v] = made.planes();
        assert!(y.iter().all(|value| *value > 180), "only the white third is left: {y:?}");
        assert!(u.iter().all(|value| *value == 90) && v.iter().all(|value| *value == 200));
    }

    #[test]
    fn a_picture_of_the_same_shape_keeps_its_edges() {
        let frame = VideoFrame::new(MediaTime::ZERO, striped(96, 48));
        let source = CropAndScale::new(Pictures(vec![frame]), format(96, 48, 30.0), format(33, 17, 30.0));
        let made = all(source).remove(0);
        let line = &made.planes()[0][8 * 33..9 * 33];
        assert!(line[0] < 30 && line[32] < 30 && line[16] > 220, "{line:?}");
    }

    #[test]
    fn pictures_are_left_out_evenly() {
        for (native, wanted, jitter) in [(30.0, 20.0, 0), (30.0, 15.0, 900), (60.0, 1.0, 0), (25.0, 24.0, 500)] {
            let rate = FrameRate::from_f64(native).unwrap();
            let frames = (0..600).map(|n| {
                let early = MediaTime::from_micros(if n % 2 == 0 { jitter } else { 0 });
                VideoFrame::new(rate.time_of(n).minus(early), I420::new(16, 16))
            });
            let source = CropAndScale::new(Pictures(frames.collect()), format(16, 16, native), format(16, 16, wanted));
            let kept = all(source);
            let expected = 600.0 * wanted / native;
            assert!(
                (kept.len() as f64 - expected).abs() <= 1.0 + expected / 100.0,
                "{native} to {wanted}: {}",
                kept.len()
            );
            let gaps = kept.windows(2).map(|pair| pair[1].time.minus(pair[0].time).seconds());
            assert!(gaps.fold(0.0, f64::max) < 1.0 / wanted + 1.1 / native, "{native} to {wanted}");
        }
    }
}
