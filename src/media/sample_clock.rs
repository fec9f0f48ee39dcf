//! Times of samples by counting them, so that they never drift.

use super::MediaTime;
use std::num::NonZeroU32;

/// Gives every sample of a stream its exact time: that of the first sample plus the samples since.
///
/// The times that come with frames carry the jitter of their device, so they are only believed where a run of samples
/// begins: at the start, and after a hole longer than [`GAP`](Self::GAP). A time behind the count is never believed,
/// so times never go back.
#[derive(Clone, Copy, Debug)]
pub struct SampleClock {
    rate: NonZeroU32,
    origin: Option<MediaTime>,
    samples: i64,
}

impl SampleClock {
    /// The longest hole that counts as jitter: what lip-sync forgives.
    pub const GAP: MediaTime = MediaTime::from_micros(50_000);

    /// A clock of samples at `rate`, not yet started.
    pub const fn new(rate: NonZeroU32) -> Self {
        Self { rate, origin: None, samples: 0 }
    }

    /// Whether a frame at `time` begins a new run: nothing was counted yet, or there is a hole before it.
    pub fn breaks_at(&self, time: MediaTime) -> bool {
        self.origin.is_none() || time > self.now().plus(Self::GAP)
    }

    /// Begins a run whose first sample is at `time`.
    pub fn start(&mut self, time: MediaTime) {
        self.origin = Some(time.rescale(self.rate));
        self.samples = 0;
    }

    /// Counts samples per channel.
    pub fn advance(&mut self, samples: usize) {
        self.samples = self.samples.saturating_add(i64::try_from(samples).unwrap_or(i64::MAX));
    }

    /// The time of the next sample, in ticks of the sample rate; zero before the first run.
    pub fn now(&self) -> MediaTime {
        self.origin.unwrap_or(MediaTime::new(0, self.rate)).plus(MediaTime::new(self.samples, self.rate))
    }

    /// Forgets the run: the next frame begins another.
    pub fn stop(&mut self) {
        *self = Self::new(self.rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_smoothed_and_holes_are_kept() {
        let mut clock = SampleClock::new(NonZeroU32::new(48_000).unwrap());
        assert!(clock.breaks_at(MediaTime::from_micros(7)));
        clock.start(MediaTime::from_micros(1_000_000));
        clock.advance(480);
        assert_eq!(clock.now().micros(), 1_010_000);
        for micros in [0, 990_000, 1_012_000, 1_060_000] {
            assert!(!clock.breaks_at(MediaTime::from_micros(micros)), "{micros}");
        }
        assert!(clock.breaks_at(MediaTime::from_micros(1_061_000)));
    }
}
