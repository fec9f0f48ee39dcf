//! The timestamps that encoders are given: always growing, whatever the times of the pictures do.

use crate::media::{FrameRate, MediaTime};
use std::num::NonZeroU32;

/// Ticks per second of what [`PictureClock`] gives.
pub(super) const TICKS: NonZeroU32 = NonZeroU32::new(90_000).expect("not zero");

/// Counts the time that passes from picture to picture.
pub(super) struct PictureClock {
    frame_rate: FrameRate,
    last: Option<MediaTime>,
    now: i64,
}

impl PictureClock {
    pub(super) fn new(frame_rate: FrameRate) -> Self {
        Self { frame_rate, last: None, now: 0 }
    }

    /// The timestamp of the picture captured at `time`, and how long it is to be seen: a frame. When the next one comes is not
    /// known yet, and libvpx takes the rate of the pictures, by which it spends, from the ends of what it is told.
    ///
    /// Times that stand still or go back, as looped files have them, count as one frame; a pause counts as a second, since
    /// rate controls average over it.
    pub(super) fn advance(&mut self, time: MediaTime) -> (i64, u32) {
        let second = i64::from(TICKS.get());
        let period = self.frame_rate.time_of(1).rescale(TICKS).ticks().clamp(1, second);
        let step = match self.last.replace(time) {
            None => 0,
            Some(last) => match time.rescale(TICKS).minus(last.rescale(TICKS)).ticks() {
                ..=0 => period,
                ticks => ticks.min(second),
            },
        };
        self.now += step;
        (self.now, u32::try_from(period).unwrap_or(1))
    }
}
