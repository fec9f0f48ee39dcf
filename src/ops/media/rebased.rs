//! Cameras run before the operation that uses them begins: their times are moved to its timeline, and pictures from before are
//! dropped, where a [screen](super::shifted) keeps the last.

use crate::error::Error;
use crate::media::{MediaTime, Source, VideoFrame, VideoInput};
use crate::stop::Stop;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The pictures of a device on a timeline that began `earlier` later. What was captured before is dropped.
pub(super) fn video(input: VideoInput, earlier: MediaTime) -> VideoInput {
    match input {
        VideoInput::Raw { format, live: true, source } => {
            VideoInput::Raw { format, live: true, source: Box::new(Rebased { source, by: earlier }) }
        }
        other => other,
    }
}

const NANOS: NonZeroU32 = NonZeroU32::new(1_000_000_000).expect("not zero");

struct Rebased {
    source: Box<dyn Source<VideoFrame>>,
    by: MediaTime,
}

impl Source<VideoFrame> for Rebased {
    fn next(&mut self, stop: &Stop) -> Result<Option<VideoFrame>, Error> {
        while let Some(mut frame) = self.source.next(stop)? {
            // At its own rate the difference would be rounded to whole pictures.
            frame.time = frame.time.rescale(NANOS).minus(self.by);
            if frame.time >= MediaTime::ZERO {
                return Ok(Some(frame));
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
    use crate::media::{FrameRate, I420, VideoFormat};

    struct Pictures(u64);

    impl Source<VideoFrame> for Pictures {
        fn next(&mut self, _stop: &Stop) -> Result<Option<VideoFrame>, Error> {
            self.0 += 1;
            let time = FrameRate::new(10, 1).unwrap().time_of(self.0);
            Ok((self.0 < 20).then(|| VideoFrame::new(time, I420::new(16, 16))))
        }
    }

    #[test]
    fn what_was_captured_before_the_beginning_is_dropped() {
        let format = VideoFormat { width: 16, height: 16, frame_rate: FrameRate::new(10, 1).unwrap() };
        let input = VideoInput::Raw { format, live: true, source: Box::new(Pictures(0)) };
        let VideoInput::Raw { mut source, .. } = video(input, MediaTime::from_micros(1_450_000)) else { panic!("raw") };
        let first = source.next(&Stop::new()).unwrap().unwrap();
        assert!((first.time.seconds() - 0.05).abs() < 1e-6, "{:?}", first.time);
        let mut count = 1;
        while source.next(&Stop::new()).unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 5);
    }
}
