//! What a capture counts while it runs: pictures and levels.

use crate::media::{AudioFrame, FrameRate, MediaTime};
use std::sync::{Mutex, PoisonError};

/// A picture that comes so many periods after the one before is late.
const LATE: f64 = 1.5;

/// Counts of one capture, shared by its threads and whoever watches.
#[derive(Debug, Default)]
pub(super) struct Meter {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    pictures: u64,
    late: u64,
    last: Option<MediaTime>,
    samples: u64,
    whole: Level,
    recent: Level,
}

/// How loud samples are.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    peak: f64,
    squares: f64,
    count: u64,
}

/// Counts at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) pictures: u64,
    pub(super) late: u64,
    /// Samples per channel.
    pub(super) samples: u64,
    /// Since the start, in dBFS.
    pub(super) whole: Loudness,
    /// Since it was last asked for, in dBFS.
    pub(super) recent: Loudness,
}

/// A level in dBFS: 0 is the loudest that can be, and there is none where nothing sounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Loudness {
    pub(super) peak: Option<f64>,
    pub(super) rms: Option<f64>,
}

impl Level {
    fn take(&mut self, samples: &[f32]) {
        for sample in samples {
            let sample = f64::from(*sample);
            self.peak = self.peak.max(sample.abs());
            self.squares += sample * sample;
        }
        self.count += samples.len() as u64;
    }

    fn loudness(&self) -> Loudness {
        let decibel = |amplitude: f64| (amplitude > 0.0).then(|| 20.0 * amplitude.log10());
        let rms = if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() };
        Loudness { peak: decibel(self.peak), rms: decibel(rms) }
    }
}

impl Meter {
    /// A picture came, of a source with this `rate` if it has a pace of its own.
    pub(super) fn picture(&self, time: MediaTime, rate: Option<FrameRate>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pictures += 1;
        let late = |last: MediaTime| rate.is_some_and(|rate| time.minus(last).seconds() * rate.as_f64() > LATE);
        state.late += u64::from(state.last.is_some_and(late));
        state.last = Some(time);
    }

    /// Samples came.
    pub(super) fn sound(&self, frame: &AudioFrame) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.samples += frame.len() as u64;
        state.whole.take(&frame.samples);
        state.recent.take(&frame.samples);
    }

    /// The counts now; the recent level begins anew.
    pub(super) fn read(&self) -> Counts {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = std::mem::take(&mut state.recent);
        Counts {
            pictures: state.pictures,
            late: state.late,
            samples: state.samples,
            whole: state.whole.loudness(),
            recent: recent.loudness(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::AudioFormat;
    use std::num::NonZeroU32;

    fn sound(samples: Vec<f32>) -> AudioFrame {
        let format = AudioFormat { sample_rate: NonZeroU32::new(48_000).unwrap(), channels: 1 };
        AudioFrame { time: MediaTime::ZERO, format, samples }
    }

    #[test]
    fn a_full_sine_peaks_at_0_dbfs_and_is_3_db_below_in_power() {
        let meter = Meter::default();
        let sine = (0..48_000).map(|n| (n as f32 / 48.0 * std::f32::consts::TAU).sin()).collect();
        meter.sound(&sound(sine));
        let Loudness { peak: Some(peak), rms: Some(rms) } = meter.read().recent else { panic!("it sounds") };
        assert!(peak.abs() < 0.01 && (rms + 3.01).abs() < 0.01, "{peak} {rms}");
        assert_eq!(meter.read().recent, Loudness::default(), "the recent level begins anew");
        assert!(meter.read().whole.peak.is_some());
    }

    #[test]
    fn silence_has_no_level() {
        let meter = Meter::default();
        meter.sound(&sound(vec![0.0; 480]));
        assert_eq!(meter.read().whole, Loudness::default());
        assert_eq!(meter.read().samples, 480);
    }

    #[test]
    fn a_picture_after_a_hole_is_late_and_jitter_is_not() {
        let (meter, rate) = (Meter::default(), FrameRate::new(10, 1));
        for ms in [0, 100, 230, 300, 500, 600] {
            meter.picture(MediaTime::from_micros(ms * 1000), rate);
        }
        let counts = meter.read();
        assert_eq!((counts.pictures, counts.late), (6, 1));
    }
}
