//! Sample rates and channels of sound, changed.

use crate::error::{Classify, ErrorKind};
use crate::media::{AudioFormat, AudioFrame, SampleClock};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, Fft, FixedAsync, FixedSync, SincInterpolationParameters, SincInterpolationType, WindowFunction};

/// What goes wrong in a resampler.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResampleError {
    /// A conversion that cannot be made.
    #[error("cannot convert {} channels at {} Hz to {} channels at {} Hz", from.channels, from.sample_rate, to.channels, to.sample_rate)]
    #[expect(missing_docs, reason = "named in the message")]
    Formats { from: AudioFormat, to: AudioFormat },
    /// Samples in another format than the resampler was made for.
    #[error("audio changed to {} channels at {} Hz in mid-stream", found.channels, found.sample_rate)]
    #[expect(missing_docs, reason = "named in the message")]
    FormatChanged { found: AudioFormat },
    /// The resampling library failed.
    #[error("resampler: {0}")]
    Library(String),
}

impl Classify for ResampleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Library(_) => ErrorKind::Internal,
            _ => ErrorKind::InvalidInput,
        }
    }
}

/// Changes the rate and the channels of audio.
///
/// Times stay true: the delay of the filter is cut off, not passed on, and times count samples from the first frame. A
/// hole of more than 50 ms in the input ends one run, with all its sound, and starts another at its own time.
///
/// Channels mix as W3C Web Audio section 4 has it between mono and stereo. More channels go to mono as their mean, and
/// are cut or filled with silence otherwise.
pub struct Resampler {
    from: AudioFormat,
    to: AudioFormat,
    /// The channels that are resampled: the fewer of the two.
    channels: usize,
    engine: Option<Box<dyn rubato::Resampler<f32>>>,
    input: SampleClock,
    output: SampleClock,
    pending: Vec<f32>,
    /// Samples per channel taken and given in this run.
    taken: u64,
    given: u64,
    /// Samples per channel of filter delay yet to be cut.
    delay: usize,
}

impl Resampler {
    /// The most channels and the highest rate that are believed.
    const MOST_CHANNELS: u16 = 64;
    const RATES: std::ops::RangeInclusive<u32> = 1000..=768_000;

    /// A resampler. Where only channels differ, or nothing does, frames pass at once; else about 10 ms later.
    ///
    /// # Errors
    /// [`ResampleError::Formats`] for no channels or more than 64, and rates outside 1 ..= 768 kHz.
    pub fn new(from: AudioFormat, to: AudioFormat) -> Result<Self, ResampleError> {
        for format in [from, to] {
            if !(1..=Self::MOST_CHANNELS).contains(&format.channels) || !Self::RATES.contains(&format.sample_rate.get())
            {
                return Err(ResampleError::Formats { from, to });
            }
        }
        let channels = usize::from(from.channels.min(to.channels));
        let engine = Self::engine(from.sample_rate.get(), to.sample_rate.get(), channels)?;
        let delay = engine.as_ref().map_or(0, |engine| engine.output_delay());
        Ok(Self {
            from,
            to,
            channels,
            engine,
            input: SampleClock::new(from.sample_rate),
            output: SampleClock::new(to.sample_rate),
            pending: Vec::new(),
            taken: 0,
            given: 0,
            delay,
        })
    }

    fn engine(from: u32, to: u32, channels: usize) -> Result<Option<Box<dyn rubato::Resampler<f32>>>, ResampleError> {
        if from == to {
            return Ok(None);
        }
        let library = |error: rubato::ResamplerConstructionError| ResampleError::Library(error.to_string());
        // The FFT works in whole multiples of the smallest block that both rates share: short for all usual rates, but
        // a second for 44101 Hz, where interpolation must do. An odd length would delay by half a sample more than told.
        let block = from / gcd(from, to);
        if block <= from / 50 {
            let blocks = (from / 125 / block).max(1);
            let chunk = block * (blocks + (blocks * block) % 2);
            let fft =
                Fft::new(from as usize, to as usize, chunk as usize, channels, FixedSync::Both).map_err(library)?;
            return Ok(Some(Box::new(fft)));
        }
        let chunk = (from / 100) as usize;
        let parameters = SincInterpolationParameters {
            sinc_len: 128,
            f_cutoff: None,
            oversampling_factor: 256,
            interpolation: SincInterpolationType::Quadratic,
            window: WindowFunction::BlackmanHarris2,
        };
        let ratio = f64::from(to) / f64::from(from);
        let sinc = Async::new_sinc(ratio, 1.0, &parameters, chunk, channels, FixedAsync::Input).map_err(library)?;
        Ok(Some(Box::new(sinc)))
    }

    /// The format of what it gives.
    pub fn format(&self) -> AudioFormat {
        self.to
    }

    /// Takes a frame of any length and calls `out` with each frame that it completes.
    ///
    /// # Errors
    /// [`ResampleError::FormatChanged`] when the frame has another format than the resampler was made for.
    pub fn process(&mut self, frame: &AudioFrame, out: &mut dyn FnMut(AudioFrame)) -> Result<(), ResampleError> {
        if frame.format != self.from {
            return Err(ResampleError::FormatChanged { found: frame.format });
        }
        if self.input.breaks_at(frame.time) {
            self.flush(out)?;
            self.input.start(frame.time);
            self.output.start(frame.time);
        }
        self.input.advance(frame.len());
        self.taken += frame.len() as u64;
        if self.engine.is_none() {
            self.give(&frame.samples, usize::from(self.from.channels), out);
            return Ok(());
        }
        mix(&frame.samples, usize::from(self.from.channels), self.channels, &mut self.pending);
        self.run(u64::MAX, out)
    }

    /// Gives what the filter still holds. The next frame begins another run.
    ///
    /// # Errors
    /// When the resampling library fails.
    pub fn flush(&mut self, out: &mut dyn FnMut(AudioFrame)) -> Result<(), ResampleError> {
        if self.engine.is_some() && self.taken > 0 {
            let (from, to) = (u64::from(self.from.sample_rate.get()), u64::from(self.to.sample_rate.get()));
            let due = (self.taken * to).div_ceil(from);
            while self.given < due {
                let need = self.engine.as_ref().map_or(0, |engine| engine.input_frames_next());
                self.pending.resize(self.pending.len().max(need * self.channels), 0.0);
                self.run(due, out)?;
            }
        }
        if let Some(engine) = &mut self.engine {
            engine.reset();
            self.delay = engine.output_delay();
        }
        self.pending.clear();
        (self.taken, self.given) = (0, 0);
        self.input.stop();
        self.output.stop();
        Ok(())
    }

    /// Resamples what is pending, in whole chunks, up to `due` samples in this run.
    fn run(&mut self, due: u64, out: &mut dyn FnMut(AudioFrame)) -> Result<(), ResampleError> {
        let channels = self.channels;
        let library = |error: &dyn std::fmt::Display| ResampleError::Library(error.to_string());
        let mut used = 0;
        while let Some(engine) = &mut self.engine {
            let (need, most) = (engine.input_frames_next(), engine.output_frames_next());
            let Some(chunk) = self.pending.get(used..used + need * channels) else { break };
            let mut resampled = vec![0.0; most * channels];
            let source = InterleavedSlice::new(chunk, channels, need).map_err(|e| library(&e))?;
            let mut target = InterleavedSlice::new_mut(&mut resampled, channels, most).map_err(|e| library(&e))?;
            let (_, made) = engine.process_into_buffer(&source, &mut target, None).map_err(|e| library(&e))?;
            used += need * channels;
            let cut = self.delay.min(made);
            self.delay -= cut;
            let wanted = usize::try_from(due - self.given).unwrap_or(usize::MAX).min(made - cut);
            self.give(&resampled[cut * channels..(cut + wanted) * channels], channels, out);
        }
        self.pending.drain(..used);
        Ok(())
    }

    fn give(&mut self, samples: &[f32], channels: usize, out: &mut dyn FnMut(AudioFrame)) {
        if samples.is_empty() {
            return;
        }
        let mut mixed = Vec::new();
        mix(samples, channels, usize::from(self.to.channels), &mut mixed);
        let frame = AudioFrame { time: self.output.now(), format: self.to, samples: mixed };
        self.output.advance(frame.len());
        self.given += frame.len() as u64;
        out(frame);
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Appends `samples`, interleaved over `from` channels, to `out` over `to` channels.
fn mix(samples: &[f32], from: usize, to: usize, out: &mut Vec<f32>) {
    if from == to {
        out.extend_from_slice(samples);
        return;
    }
    out.reserve(samples.len() / from * to);
    for sample in samples.chunks_exact(from) {
        match (from, to) {
            (1, 2) => out.extend([sample[0]; 2]),
            #[expect(clippy::cast_precision_loss, reason = "at most 64 channels")]
            (_, 1) => out.push(sample.iter().sum::<f32>() / from as f32),
            _ => out.extend((0..to).map(|channel| sample.get(channel).copied().unwrap_or(0.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::MediaTime;
    use std::num::NonZeroU32;

    fn format(rate: u32, channels: u16) -> AudioFormat {
        AudioFormat { sample_rate: NonZeroU32::new(rate).unwrap(), channels }
    }

    /// `seconds` of a tone in odd-sized frames, resampled; all that comes out, checked for seamless times.
    fn convert(from: AudioFormat, to: AudioFormat, hz: f32, start: MediaTime, seconds: u32) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to).unwrap();
        let total = from.sample_rate.get() * seconds;
        let (mut at, mut sound, mut expected) = (0, Vec::new(), start.rescale(to.sample_rate));
        let mut take = |frame: AudioFrame| {
            assert_eq!((frame.time.ticks(), frame.time.rate()), (expected.ticks(), to.sample_rate));
            assert_eq!(frame.format, to);
            expected = expected.plus(frame.duration());
            sound.extend(frame.samples);
        };
        while at < total {
            let len = 313.min(total - at);
            let tone = |i: u32| (i as f32 / from.sample_rate.get() as f32 * hz * std::f32::consts::TAU).sin() * 0.5;
            let samples = (at..at + len).flat_map(|i| vec![tone(i); usize::from(from.channels)]).collect();
            let time = start.plus(MediaTime::new(i64::from(at), from.sample_rate));
            resampler.process(&AudioFrame { time, format: from, samples }, &mut take).unwrap();
            at += len;
        }
        resampler.flush(&mut take).unwrap();
        sound
    }

    #[test]
    fn a_tone_keeps_its_pitch_its_length_and_its_place_in_time() {
        for (from, to) in
            [(44_100, 48_000), (48_000, 44_100), (16_000, 48_000), (48_000, 8_000), (44_101, 48_000), (11_025, 48_000)]
        {
            let sound = convert(format(from, 1), format(to, 1), 440.0, MediaTime::from_micros(123_456), 2);
            assert_eq!(sound.len(), to as usize * 2, "{from} to {to}");
            // What is not the tone is noise; the phase of the tone is its place in time.
            let middle = to as usize / 10..to as usize * 19 / 10;
            let angle = |i: usize| i as f64 / f64::from(to) * 440.0 * std::f64::consts::TAU;
            let (mut sin, mut cos) = (0.0f64, 0.0f64);
            for i in middle.clone() {
                sin += f64::from(sound[i]) * angle(i).sin();
                cos += f64::from(sound[i]) * angle(i).cos();
            }
            let (sin, cos) = (sin * 2.0 / middle.len() as f64, cos * 2.0 / middle.len() as f64);
            let delay = -cos.atan2(sin) / (440.0 * std::f64::consts::TAU) * f64::from(to);
            assert!(delay.abs() < 0.6, "{from} to {to}: {delay:.2} samples late");
            let ideal = |i: usize| sin * angle(i).sin() + cos * angle(i).cos();
            let noise: f64 = middle.clone().map(|i| (f64::from(sound[i]) - ideal(i)).powi(2)).sum();
            let snr = 10.0 * (0.125 * middle.len() as f64 / noise).log10();
            assert!((sin.hypot(cos) - 0.5).abs() < 0.005, "{from} to {to}: gain");
            assert!(snr > 60.0, "{from} to {to}: {snr:.1} dB");
        }
    }

    #[test]
    fn a_minute_does_not_drift_by_a_sample() {
        let (from, to) = (format(44_100, 1), format(48_000, 1));
        let mut resampler = Resampler::new(from, to).unwrap();
        let mut given = 0usize;
        for second in 0..60 {
            let frame = AudioFrame {
                time: MediaTime::new(second, MediaTime::new(0, NonZeroU32::MIN).rate()),
                format: from,
                samples: vec![0.0; 44_100],
            };
            resampler
                .process(&frame, &mut |frame| {
                    assert_eq!(frame.time.ticks(), given as i64);
                    given += frame.len();
                })
                .unwrap();
        }
        resampler.flush(&mut |frame| given += frame.len()).unwrap();
        assert_eq!(given, 60 * 48_000);
    }

    #[test]
    fn a_hole_is_kept_and_the_sound_before_it_is_complete() {
        let (from, to) = (format(44_100, 1), format(48_000, 2));
        let mut resampler = Resampler::new(from, to).unwrap();
        let frame =
            |micros| AudioFrame { time: MediaTime::from_micros(micros), format: from, samples: vec![0.25; 4410] };
        let mut runs: Vec<(i64, usize)> = Vec::new();
        let mut take = |frame: AudioFrame| match runs.last_mut() {
            Some((start, len)) if *start + *len as i64 == frame.time.ticks() => *len += frame.len(),
            _ => runs.push((frame.time.ticks(), frame.len())),
        };
        resampler.process(&frame(0), &mut take).unwrap();
        resampler.process(&frame(500_000), &mut take).unwrap();
        resampler.flush(&mut take).unwrap();
        assert_eq!(runs, [(0, 4800), (24_000, 4800)]);
    }

    #[test]
    fn channels_mix_and_frames_pass_at_once_where_the_rate_stays() {
        for (from, to, samples, expected) in [
            (1, 2, vec![0.1, 0.2], vec![0.1, 0.1, 0.2, 0.2]),
            (2, 1, vec![0.5, 0.0, 1.0, -1.0], vec![0.25, 0.0]),
            (2, 2, vec![0.5, 0.25], vec![0.5, 0.25]),
            (4, 2, vec![0.1, 0.2, 0.3, 0.4], vec![0.1, 0.2]),
            (2, 3, vec![0.1, 0.2], vec![0.1, 0.2, 0.0]),
        ] {
            let mut resampler = Resampler::new(format(48_000, from), format(48_000, to)).unwrap();
            let frame = AudioFrame { time: MediaTime::ZERO, format: format(48_000, from), samples };
            let mut got = Vec::new();
            resampler.process(&frame, &mut |frame| got.extend(frame.samples)).unwrap();
            assert_eq!(got, expected, "{from} to {to}");
        }
    }

    #[test]
    fn impossible_formats_are_refused() {
        for bad in [format(48_000, 0), format(48_000, 65), format(1, 1), format(u32::MAX, 1)] {
            assert!(Resampler::new(bad, format(48_000, 2)).is_err());
        }
        let mut resampler = Resampler::new(format(44_100, 1), format(48_000, 1)).unwrap();
        let other = AudioFrame { time: MediaTime::ZERO, format: format(44_100, 2), samples: vec![0.0; 2] };
        assert!(resampler.process(&other, &mut |_| ()).is_err());
    }
}
