//! The chirp: a short sweep at each whole second of a test tone, and the detector that finds it again.
//!
//! It starts when the picture's [flash](super::barcode::flash) turns white, so that the distance between the two at the far
//! end is the A/V skew. The detector correlates with the sweep, which tolerates coding, gain and the tone beneath.

use super::{AudioFormat, AudioFrame, MediaTime};
use std::f64::consts::TAU;
use std::num::NonZeroU32;

/// How long the chirp sounds, in seconds.
pub const SECONDS: f64 = 0.05;
/// Where the sweep starts and ends, in hertz.
pub const SWEEP_HZ: (f64, f64) = (1000.0, 3000.0);
/// The least sample rate that carries the sweep.
pub const LOWEST_SAMPLE_RATE: u32 = 8000;

/// The phase of the sweep `t` seconds after its start, in radians, and its envelope.
fn sweep(t: f64) -> (f64, f64) {
    const RAMP: f64 = 0.002;
    let phase = TAU * (SWEEP_HZ.0 + (SWEEP_HZ.1 - SWEEP_HZ.0) * t / (2.0 * SECONDS)) * t;
    (phase, (t.min(SECONDS - t) / RAMP).clamp(0.0, 1.0))
}

/// The chirp `t` seconds after its start, in -1.0 ..= 1.0; silence outside it.
pub fn sample(t: f64) -> f64 {
    if !(0.0..SECONDS).contains(&t) {
        return 0.0;
    }
    let (phase, envelope) = sweep(t);
    envelope * phase.sin()
}

/// Finds where chirps start in a stream of audio.
///
/// Works on one mono channel at about 8 kHz, so it costs some million multiplications a second; holds about 100 ms.
#[derive(Debug, Default)]
pub struct ChirpDetector {
    stream: Option<Stream>,
}

impl ChirpDetector {
    /// A detector that has heard nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next samples, of any length, and calls `onset` with the time at which each chirp started. A chirp is reported
    /// some 80 ms after its start. A hole in the times or a new format begins afresh. Audio below
    /// [`LOWEST_SAMPLE_RATE`] has no chirps.
    pub fn push(&mut self, frame: &AudioFrame, onset: &mut dyn FnMut(MediaTime)) {
        if frame.format.channels == 0 || frame.format.sample_rate.get() < LOWEST_SAMPLE_RATE {
            return;
        }
        let follows = self.stream.as_ref().is_some_and(|stream| stream.is_followed_by(frame));
        if !follows {
            self.stream = Some(Stream::new(frame.format, frame.time));
        }
        if let Some(stream) = &mut self.stream {
            stream.push(frame, onset);
        }
    }
}

/// Audio without holes.
#[derive(Debug)]
struct Stream {
    format: AudioFormat,
    /// The time of sample `counted`, the first of the newest frame.
    time: MediaTime,
    counted: i64,
    /// Samples per channel so far.
    heard: i64,
    /// How many samples make one decimated sample.
    step: usize,
    partial: (f32, usize),
    /// The sweep and the same a quarter period later, decimated.
    template: Vec<(f32, f32)>,
    energy: f32,
    /// Decimated samples not yet passed; the first is number `first`.
    window: Vec<f32>,
    first: i64,
    best: Option<(i64, f32)>,
}

impl Stream {
    /// The least normalised correlation that counts, and the least mean power.
    const LEAST_LIKENESS: f32 = 0.4;
    const LEAST_POWER: f32 = 1e-5;
    /// In decimated samples: how far apart positions are tried.
    const HOP: usize = 2;

    fn new(format: AudioFormat, time: MediaTime) -> Self {
        let step = (format.sample_rate.get() / LOWEST_SAMPLE_RATE).max(1) as usize;
        let rate = f64::from(format.sample_rate.get()) / step as f64;
        // A decimated sample is the mean of `step` samples, so it stands for the middle of them.
        let middle = (step - 1) as f64 / 2.0 / f64::from(format.sample_rate.get());
        #[expect(clippy::cast_possible_truncation, reason = "sample values, where rounding is meant")]
        let template: Vec<(f32, f32)> = (0_u32..)
            .map(|n| f64::from(n) / rate + middle)
            .take_while(|t| *t < SECONDS)
            .map(sweep)
            .map(|(phase, envelope)| ((envelope * phase.sin()) as f32, (envelope * phase.cos()) as f32))
            .collect();
        let energy = template.iter().map(|(sine, _)| sine * sine).sum();
        Self {
            format,
            time,
            counted: 0,
            heard: 0,
            step,
            partial: (0.0, 0),
            template,
            energy,
            window: Vec::new(),
            first: 0,
            best: None,
        }
    }

    fn time_of(&self, sample: i64) -> MediaTime {
        self.time.plus(MediaTime::new(sample - self.counted, self.format.sample_rate))
    }

    fn is_followed_by(&self, frame: &AudioFrame) -> bool {
        let gap = frame.time.minus(self.time_of(self.heard)).micros().abs();
        self.format == frame.format && gap < 3_000
    }

    fn push(&mut self, frame: &AudioFrame, onset: &mut dyn FnMut(MediaTime)) {
        self.time = frame.time.rescale(NonZeroU32::new(1_000_000_000).expect("not zero"));
        self.counted = self.heard;
        for sample in frame.samples.chunks_exact(usize::from(self.format.channels)) {
            self.heard += 1;
            self.partial.0 += sample.iter().sum::<f32>();
            self.partial.1 += 1;
            if self.partial.1 == self.step {
                self.window.push(self.partial.0 / (self.step * sample.len()) as f32);
                self.partial = (0.0, 0);
                if self.window.len() >= self.template.len() + Self::HOP {
                    self.try_position(onset);
                    self.window.drain(..Self::HOP);
                    self.first += 2;
                }
            }
        }
    }

    fn try_position(&mut self, onset: &mut dyn FnMut(MediaTime)) {
        let (mut in_phase, mut quadrature, mut power) = (0.0_f32, 0.0_f32, 0.0_f32);
        for (sample, (sine, cosine)) in self.window.iter().zip(&self.template) {
            in_phase += sample * sine;
            quadrature += sample * cosine;
            power += sample * sample;
        }
        let likeness = (in_phase * in_phase + quadrature * quadrature) / (self.energy * power.max(f32::MIN_POSITIVE));
        let loud = power > Self::LEAST_POWER * self.template.len() as f32;
        if loud && likeness > self.best.map_or(Self::LEAST_LIKENESS, |(_, best)| best) {
            self.best = Some((self.first, likeness));
        }
        // A peak is one once nothing better came for half a chirp.
        if let Some((position, _)) = self.best
            && (self.first - position).cast_unsigned() > self.template.len() as u64 / 2
        {
            self.best = None;
            onset(self.time_of(position * i64::try_from(self.step).unwrap_or(1)));
        }
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test values are small")]
mod tests {
    use super::*;

    /// `seconds` of 440 Hz with chirps at `starts`, in frames of `frame` samples.
    fn audio(rate: u32, channels: u16, seconds: f64, starts: &[f64], frame: usize, gain: f64) -> Vec<AudioFrame> {
        let sample_rate = NonZeroU32::new(rate).unwrap();
        let mono: Vec<f32> = (0..(f64::from(rate) * seconds) as u32)
            .map(|n| {
                let t = f64::from(n) / f64::from(rate);
                let chirps: f64 = starts.iter().map(|start| sample(t - start)).sum();
                (gain * (0.05 * (TAU * 440.0 * t).sin() + 0.7 * chirps)) as f32
            })
            .collect();
        mono.chunks(frame)
            .enumerate()
            .map(|(n, chunk)| AudioFrame {
                time: MediaTime::new((n * frame) as i64, sample_rate),
                format: AudioFormat { sample_rate, channels },
                samples: chunk.iter().flat_map(|s| std::iter::repeat_n(*s, usize::from(channels))).collect(),
            })
            .collect()
    }

    fn onsets(frames: &[AudioFrame]) -> Vec<f64> {
        let (mut detector, mut found) = (ChirpDetector::new(), Vec::new());
        frames.iter().for_each(|frame| detector.push(frame, &mut |time| found.push(time.seconds())));
        found
    }

    fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < tolerance, "{what}: {found} instead of {expected}");
        }
    }

    #[test]
    fn every_chirp_is_found_within_a_millisecond_at_any_rate_and_framing() {
        let starts = [0.0, 1.0, 1.7305, 2.4];
        for (rate, channels, frame) in
            [(48_000, 2, 480), (44_100, 1, 441), (8000, 1, 80), (16_000, 2, 1), (96_000, 1, 50_000)]
        {
            for gain in [1.0, 0.05] {
                let found = onsets(&audio(rate, channels, 3.0, &starts, frame, gain));
                assert_near(&found, &starts, 0.001, &format!("{rate} Hz, gain {gain}"));
            }
        }
    }

    #[test]
    fn tone_noise_and_silence_hold_no_chirp() {
        assert!(onsets(&audio(48_000, 1, 2.0, &[], 480, 1.0)).is_empty());
        assert!(onsets(&audio(48_000, 1, 1.0, &[0.2], 480, 0.0)).is_empty());
        let mut noise = audio(48_000, 1, 5.0, &[], 480, 1.0);
        let mut state = 1_u32;
        for sample in noise.iter_mut().flat_map(|frame| &mut frame.samples) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = f32::from(state.to_be_bytes()[0]) / 128.0 - 1.0;
        }
        assert!(onsets(&noise).is_empty());
    }

    #[test]
    fn after_a_hole_times_are_those_of_the_new_frames() {
        let mut frames = audio(48_000, 1, 2.0, &[0.5, 1.5], 480, 1.0);
        frames.drain(80..110);
        for frame in &mut frames[80..] {
            frame.time = frame.time.plus(MediaTime::from_micros(10_000_000));
        }
        assert_near(&onsets(&frames), &[0.5, 11.5], 0.001, "hole");
    }
}
