//! Sources on another timeline than they were made for: a device is opened, and runs, before it is known when its media counts
//! from; a file that takes the place of another source begins in the middle.

use crate::error::Error;
use crate::media::{AudioFrame, MediaTime, Source, VideoFrame};
use crate::stop::Stop;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A source whose times are moved back, so that 0 is `begun` after its own 0. What was captured before is dropped.
pub(super) struct Shifted<S> {
    source: S,
    begun: MediaTime,
    standing: bool,
}

/// At the rate of the pictures the difference would be rounded to whole pictures.
const NANOS: NonZeroU32 = NonZeroU32::new(1_000_000_000).expect("not zero");

impl<S> Shifted<S> {
    pub(super) fn new(source: S, begun: MediaTime) -> Self {
        Self { source, begun, standing: false }
    }

    /// The same for a source that gives a picture only when something changes: one from before the beginning is what is seen
    /// at the beginning.
    pub(super) fn standing(source: S, begun: MediaTime) -> Self {
        Self { source, begun, standing: true }
    }

    /// `source` from `now` on.
    pub(super) fn later(source: S, now: MediaTime) -> Self {
        Self::new(source, MediaTime::ZERO.minus(now))
    }
}

impl<S: Source<VideoFrame>> Source<VideoFrame> for Shifted<S> {
    fn next(&mut self, stop: &Stop) -> Result<Option<VideoFrame>, Error> {
        while let Some(frame) = self.source.next(stop)? {
            let time = frame.time.rescale(NANOS).minus(self.begun);
            if time >= MediaTime::ZERO || self.standing {
                return Ok(Some(VideoFrame { time: time.max(MediaTime::ZERO), ..frame }));
            }
        }
        Ok(None)
    }

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        self.source.lost()
    }
}

impl<S: Source<AudioFrame>> Source<AudioFrame> for Shifted<S> {
    fn next(&mut self, stop: &Stop) -> Result<Option<AudioFrame>, Error> {
        while let Some(frame) = self.source.next(stop)? {
            let time = frame.time.minus(self.begun);
            if time >= MediaTime::ZERO {
                return Ok(Some(AudioFrame { time, ..frame }));
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
    use crate::media::{AudioFormat, FrameRate, I420};

    struct Every20Ms(i64);

    impl Source<VideoFrame> for Every20Ms {
        fn next(&mut self, _: &Stop) -> Result<Option<VideoFrame>, Error> {
            self.0 += 1;
            // In whole pictures, as devices count.
            let time = FrameRate::new(50, 1).unwrap().time_of(u64::try_from(self.0).unwrap());
            Ok(Some(VideoFrame::new(time, I420::new(2, 2))))
        }
    }

    impl Source<AudioFrame> for Every20Ms {
        fn next(&mut self, _: &Stop) -> Result<Option<AudioFrame>, Error> {
            self.0 += 20_000;
            let format = AudioFormat { sample_rate: MediaTime::MICROS, channels: 1 };
            Ok(Some(AudioFrame { time: MediaTime::from_micros(self.0), format, samples: vec![0.0; 20_000] }))
        }
    }

    fn times<T>(mut source: impl Source<T>, time: impl Fn(&T) -> MediaTime) -> [i64; 4] {
        std::array::from_fn(|_| time(&source.next(&Stop::new()).unwrap().unwrap()).micros())
    }

    fn pictures(source: impl Source<VideoFrame>) -> [i64; 4] {
        times(source, |frame| frame.time)
    }

    #[test]
    fn media_counts_from_the_beginning_and_what_is_from_before_is_dropped_unless_it_stands() {
        let begun = MediaTime::from_micros(50_000);
        assert_eq!(pictures(Shifted::standing(Every20Ms(0), begun)), [0, 0, 10_000, 30_000]);
        assert_eq!(pictures(Shifted::new(Every20Ms(0), begun)), [10_000, 30_000, 50_000, 70_000]);
        let heard = times(Shifted::new(Every20Ms(0), begun), |frame: &AudioFrame| frame.time);
        assert_eq!(heard, [10_000, 30_000, 50_000, 70_000]);
    }

    #[test]
    fn what_begins_later_begins_then() {
        let now = MediaTime::from_micros(7_005_000);
        assert_eq!(pictures(Shifted::later(Every20Ms(-1), now)), [7_005_000, 7_025_000, 7_045_000, 7_065_000]);
    }
}
