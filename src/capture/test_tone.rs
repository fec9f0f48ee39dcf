//! The synthetic microphone: a quiet 440 Hz tone and a loud [chirp](crate::media::chirp) at each whole second, which starts with
//! the flash of the [test pattern](super::TestPattern). Live: it paces itself.

use super::CaptureError;
use crate::error::Error;
use crate::media::{
    self, AudioConstraints, AudioFormat, AudioFrame, AudioSettings, MediaTime, Overconstrained, Property, Source,
    chirp, pick_whole,
};
use crate::stop::Stop;
use std::f64::consts::TAU;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Sound on a schedule, 20 ms at a time; like a microphone's, a frame is due when its last sample has sounded.
///
/// A reader that is late by less than 200 ms gets the missed frames at once; one that is later loses them, and the times say so.
pub struct TestTone {
    format: AudioFormat,
    origin: Instant,
    /// One second, mono.
    second: Vec<f32>,
    next: Option<u64>,
    paced: bool,
    skipped: Arc<AtomicU64>,
}

impl TestTone {
    const FRAMES_PER_SECOND: u64 = 50;
    const MOST_BEHIND: u64 = 10;

    /// What the constraints make of 48 kHz stereo: 8 to 192 kHz, one or two channels.
    ///
    /// # Errors
    /// [`CaptureError::Overconstrained`] when a bound lies outside of that.
    pub fn format(constraints: &AudioConstraints) -> Result<AudioFormat, CaptureError> {
        let settled = constraints.settled(|set| Self::shape(set).is_ok());
        Self::shape(&settled).map_err(|error| CaptureError::Overconstrained { source_name: "test".to_owned(), error })
    }

    fn shape(constraints: &AudioConstraints) -> Result<AudioFormat, Overconstrained> {
        let rates = f64::from(chirp::LOWEST_SAMPLE_RATE)..=192_000.0;
        let sample_rate = pick_whole(Property::SampleRate, constraints.sample_rate, 48_000.0, rates)?;
        let channels = pick_whole(Property::ChannelCount, constraints.channel_count, 2.0, 1.0..=2.0)?;
        let channel_count = u16::try_from(channels).expect("picked from 1 to 2");
        let untouched = Some(false);
        let settings = AudioSettings {
            sample_rate,
            channel_count,
            echo_cancellation: untouched,
            auto_gain_control: untouched,
            noise_suppression: untouched,
            device_id: "test".to_owned(),
            ..AudioSettings::default()
        };
        media::check(&settings, constraints)?;
        let sample_rate = NonZeroU32::new(sample_rate).expect("picked from a range above zero");
        Ok(AudioFormat { sample_rate, channels: channel_count })
    }

    /// A tone whose timeline begins at `origin`, past or to come.
    pub fn new(format: AudioFormat, origin: Instant) -> Self {
        let rate = format.sample_rate.get();
        #[expect(clippy::cast_possible_truncation, reason = "sample values, where rounding is meant")]
        let second = (0..rate)
            .map(|n| f64::from(n) / f64::from(rate))
            .map(|t| (0.04 * (TAU * 440.0 * t).sin() + 0.7 * chirp::sample(t)) as f32)
            .collect();
        Self { format, origin, second, next: None, paced: true, skipped: Arc::default() }
    }

    /// The same sound as fast as it is read.
    #[must_use]
    pub fn unpaced(self) -> Self {
        Self { paced: false, ..self }
    }

    /// Counts the 20 ms frames that were skipped because the reader came too late; readable while it runs.
    pub fn skipped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.skipped)
    }

    /// The number of the first sample of frame `n`. Exact, so rates that are no multiple of 100 do not drift.
    fn start_of(&self, n: u64) -> u64 {
        n * u64::from(self.format.sample_rate.get()) / Self::FRAMES_PER_SECOND
    }

    fn time_of(&self, sample: u64) -> MediaTime {
        MediaTime::new(i64::try_from(sample).unwrap_or(i64::MAX), self.format.sample_rate)
    }
}

impl Source<AudioFrame> for TestTone {
    fn next(&mut self, stop: &Stop) -> Result<Option<AudioFrame>, Error> {
        let elapsed = if self.paced { self.origin.elapsed() } else { Duration::ZERO };
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let running = elapsed.saturating_mul(Self::FRAMES_PER_SECOND) / 1000;
        let n = match self.next {
            Some(next) if next + Self::MOST_BEHIND >= running => next,
            Some(next) => {
                self.skipped.fetch_add(running - next, Ordering::Relaxed);
                running
            }
            None => running,
        };
        let (start, end) = (self.start_of(n), self.start_of(n + 1));
        if stop.is_stopped() || self.paced && stop.wait_until(self.origin + self.time_of(end).duration()) {
            return Ok(None);
        }
        self.next = Some(n + 1);
        let offset = usize::try_from(start % self.second.len() as u64).unwrap_or(0);
        let samples = (start..end)
            .zip(self.second.iter().cycle().skip(offset))
            .flat_map(|(_, sample)| std::iter::repeat_n(*sample, usize::from(self.format.channels)))
            .collect();
        Ok(Some(AudioFrame { time: self.time_of(start), format: self.format, samples }))
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test values are small")]
mod tests {
    use super::*;
    use crate::media::{Constraint, chirp::ChirpDetector};

    fn format(rate: u32, channels: u16) -> AudioFormat {
        AudioFormat { sample_rate: NonZeroU32::new(rate).unwrap(), channels }
    }

    #[test]
    fn frames_follow_each_other_without_a_hole_and_never_early() {
        for (rate, channels) in [(48_000, 2), (44_100, 1), (11_025, 2)] {
            let origin = Instant::now();
            let mut source = TestTone::new(format(rate, channels), origin);
            let mut expected = None;
            for _ in 0..8 {
                let frame = source.next(&Stop::new()).unwrap().unwrap();
                let end = frame.time.plus(frame.duration());
                assert!(origin.elapsed() >= end.duration());
                assert_eq!(frame.samples.len(), frame.len() * usize::from(channels));
                assert!(frame.len().abs_diff(rate as usize / 50) <= 1);
                if let Some(expected) = expected.replace(end) {
                    assert_eq!(frame.time, expected);
                }
            }
        }
    }

    #[test]
    fn a_chirp_starts_at_every_whole_second() {
        // 3 s of the past are due at once, in pieces that are under the limit of lateness.
        let mut detector = ChirpDetector::new();
        let mut found = Vec::new();
        let mut source = TestTone::new(format(44_100, 2), Instant::now());
        for n in 0..153 {
            source.next = Some(n);
            source.origin = Instant::now() - Duration::from_millis((n + 1) * 20);
            let frame = source.next(&Stop::new()).unwrap().unwrap();
            detector.push(&frame, &mut |time| found.push((time.seconds() * 1000.0).round()));
        }
        assert_eq!(found, [0.0, 1000.0, 2000.0]);
    }

    #[test]
    fn a_reader_that_is_very_late_loses_frames_and_the_times_say_so() {
        let mut source = TestTone::new(format(48_000, 1), Instant::now() - Duration::from_secs(5));
        source.next = Some(50);
        let frame = source.next(&Stop::new()).unwrap().unwrap();
        let jumped = source.skipped().load(Ordering::Relaxed);
        assert!(jumped >= 200, "{jumped}");
        assert_eq!((frame.time.seconds() * 50.0).round() as u64, 50 + jumped);
    }

    #[test]
    fn constraints_choose_the_format() {
        let parse = |text: &str| (!text.is_empty()).then(|| text.parse::<Constraint>().unwrap());
        let make = |rate, channels| {
            let (sample_rate, channel_count) = (parse(rate), parse(channels));
            let constraints = AudioConstraints { sample_rate, channel_count, ..AudioConstraints::default() };
            TestTone::format(&constraints).map(|f| (f.sample_rate.get(), f.channels))
        };
        assert_eq!(make("", "").unwrap(), (48_000, 2));
        assert_eq!(make("16000", "exact:1").unwrap(), (16_000, 1));
        assert!(make("", "exact:3").unwrap_err().to_string().contains("channelCount exact:3"));
    }
}
