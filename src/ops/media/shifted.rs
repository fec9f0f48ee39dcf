//! Live sources on a timeline that begins later than they did: a device is opened before it is known when its media counts from.

use crate::error::Error;
use crate::media::{AudioFrame, MediaTime, Source, VideoFrame};
use crate::stop::Stop;

/// A source whose times are moved back, so that 0 is `begun` after its own 0.
pub(super) struct Shifted<S> {
    source: S,
    begun: MediaTime,
}

impl<S> Shifted<S> {
    pub(super) fn new(source: S, begun: MediaTime) -> Self {
        Self { source, begun }
    }
}

impl<S: Source<VideoFrame>> Source<VideoFrame> for Shifted<S> {
    fn next(&mut self, stop: &Stop) -> Result<Option<VideoFrame>, Error> {
        let frame = self.source.next(stop)?;
        // A picture from just before the beginning is what is seen at the beginning.
        Ok(frame.map(|frame| VideoFrame { time: frame.time.minus(self.begun).max(MediaTime::ZERO), ..frame }))
    }
}

impl<S: Source<AudioFrame>> Source<AudioFrame> for Shifted<S> {
    fn next(&mut self, stop: &Stop) -> Result<Option<AudioFrame>, Error> {
        while let Some(frame) = self.source.next(stop)? {
            let time = frame.time.minus(self.begun);
            // What sounded before the beginning is over.
            if time >= MediaTime::ZERO {
                return Ok(Some(AudioFrame { time, ..frame }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{AudioFormat, I420};

    struct Every20Ms(i64);

    impl Source<VideoFrame> for Every20Ms {
        fn next(&mut self, _: &Stop) -> Result<Option<VideoFrame>, Error> {
            self.0 += 20_000;
            Ok(Some(VideoFrame::new(MediaTime::from_micros(self.0), I420::new(2, 2))))
        }
    }

    impl Source<AudioFrame> for Every20Ms {
        fn next(&mut self, _: &Stop) -> Result<Option<AudioFrame>, Error> {
            self.0 += 20_000;
            let format = AudioFormat { sample_rate: MediaTime::MICROS, channels: 1 };
            Ok(Some(AudioFrame { time: MediaTime::from_micros(self.0), format, samples: vec![0.0; 20_000] }))
        }
    }

    #[test]
    fn pictures_and_sound_count_from_the_beginning_and_only_sound_from_before_is_left_out() {
        let begun = MediaTime::from_micros(50_000);
        let mut pictures = Shifted::new(Every20Ms(0), begun);
        let mut picture = || Source::<VideoFrame>::next(&mut pictures, &Stop::new()).unwrap().unwrap().time.micros();
        assert_eq!([picture(), picture(), picture(), picture()], [0, 0, 10_000, 30_000]);
        let mut sound = Shifted::new(Every20Ms(0), begun);
        let mut heard = || Source::<AudioFrame>::next(&mut sound, &Stop::new()).unwrap().unwrap().time.micros();
        assert_eq!([heard(), heard()], [10_000, 30_000]);
    }
}
