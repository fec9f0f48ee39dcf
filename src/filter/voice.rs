//! What makes a voice fit for a conversation: the echo of the other side is taken out, and noise, and its level is kept;
//! mediacapture-main `echoCancellation`, `noiseSuppression`, `autoGainControl`.

use super::ResampleError;
use crate::media::{AudioFormat, AudioFrame};
use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, MaxProcessingRate, NoiseSuppression,
    NoiseSuppressionLevel, Pipeline,
};
use sonora::{AudioProcessing, Config, StreamConfig};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

/// What is done to the sound of a microphone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VoiceSettings {
    /// What the speakers play is taken out.
    pub echo_cancellation: bool,
    /// Noise is taken out.
    pub noise_suppression: bool,
    /// The level is kept.
    pub auto_gain_control: bool,
}

impl VoiceSettings {
    /// Whether anything is done.
    pub fn any(self) -> bool {
        self.echo_cancellation || self.noise_suppression || self.auto_gain_control
    }
}

/// What the speakers play, on its way to whoever takes its echo out. Clones share it.
#[derive(Clone, Default)]
pub struct FarEnd {
    /// Mono, at [`RATE`].
    played: Arc<Mutex<VecDeque<f32>>>,
}

/// What far ends are kept at, and decoders give.
const RATE: NonZeroU32 = NonZeroU32::new(48_000).expect("not zero");
/// Samples of 10 ms.
const BLOCK: usize = 480;

impl FarEnd {
    /// What nobody takes is forgotten after half a second.
    const MOST: usize = 24_000;

    /// Nothing played yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells what is played from now on. Other rates than 48 kHz are not understood, and left out.
    pub fn played(&self, frame: &AudioFrame) {
        if frame.format.sample_rate != RATE {
            return;
        }
        let channels = usize::from(frame.format.channels.max(1));
        let mut played = self.played.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::cast_precision_loss, reason = "a few channels")]
        played
            .extend(frame.samples.chunks_exact(channels).map(|samples| samples.iter().sum::<f32>() / channels as f32));
        let old = played.len().saturating_sub(Self::MOST);
        played.drain(..old);
    }

    /// The next 10 ms, if they were played.
    fn take(&self, block: &mut [f32; BLOCK]) -> bool {
        let mut played = self.played.lock().unwrap_or_else(PoisonError::into_inner);
        if played.len() < BLOCK {
            return false;
        }
        block.iter_mut().zip(played.drain(..BLOCK)).for_each(|(value, sample)| *value = sample);
        true
    }
}

/// Processes the sound of a microphone, 10 ms at a time; each frame comes out at once.
pub struct VoiceProcessor {
    engine: AudioProcessing,
    format: AudioFormat,
    far_end: FarEnd,
    /// The channels apart from each other: in, out.
    planes: [Vec<Vec<f32>>; 2],
}

impl VoiceProcessor {
    /// A processor for sound of this format.
    pub fn new(settings: VoiceSettings, format: AudioFormat, far_end: FarEnd) -> Self {
        let config = Config {
            pipeline: Pipeline {
                maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
                ..Pipeline::default()
            },
            high_pass_filter: settings.any().then(HighPassFilter::default),
            echo_canceller: settings.echo_cancellation.then(EchoCanceller::default),
            noise_suppression: settings
                .noise_suppression
                .then(|| NoiseSuppression { level: NoiseSuppressionLevel::High, ..NoiseSuppression::default() }),
            gain_controller2: settings.auto_gain_control.then(|| GainController2 {
                adaptive_digital: Some(AdaptiveDigital::default()),
                ..GainController2::default()
            }),
            ..Config::default()
        };
        let engine = AudioProcessing::builder()
            .config(config)
            .capture_config(StreamConfig::new(format.sample_rate.get(), format.channels))
            .render_config(StreamConfig::new(RATE.get(), 1))
            .build();
        let plane = || vec![vec![0.0; Self::block(format)]; usize::from(format.channels)];
        Self { engine, format, far_end, planes: [plane(), plane()] }
    }

    /// Samples per channel of 10 ms.
    fn block(format: AudioFormat) -> usize {
        (format.sample_rate.get() / 100) as usize
    }

    /// Processes a frame of 10 ms. A shorter one, the last of a stream, passes as it is.
    ///
    /// # Errors
    /// [`ResampleError::FormatChanged`] when the frame has another format than the processor was made for.
    pub fn process(&mut self, mut frame: AudioFrame) -> Result<AudioFrame, ResampleError> {
        if frame.format != self.format {
            return Err(ResampleError::FormatChanged { found: frame.format });
        }
        let mut block = [0.0; BLOCK];
        while self.far_end.take(&mut block) {
            let mut unused = [0.0; BLOCK];
            let heard = self.engine.process_render_f32(&[&block], &mut [&mut unused]);
            heard.map_err(|error| ResampleError::Library(format!("far end: {error:?}")))?;
        }
        if frame.len() != Self::block(self.format) {
            return Ok(frame);
        }
        let channels = usize::from(self.format.channels);
        let [near, clean] = &mut self.planes;
        for (channel, plane) in near.iter_mut().enumerate() {
            plane.iter_mut().zip(frame.samples[channel..].iter().step_by(channels)).for_each(|(to, from)| *to = *from);
        }
        let input: Vec<&[f32]> = near.iter().map(Vec::as_slice).collect();
        let mut output: Vec<&mut [f32]> = clean.iter_mut().map(Vec::as_mut_slice).collect();
        let done = self.engine.process_capture_f32(&input, &mut output);
        done.map_err(|error| ResampleError::Library(format!("near end: {error:?}")))?;
        for (channel, plane) in clean.iter().enumerate() {
            frame.samples[channel..].iter_mut().step_by(channels).zip(plane).for_each(|(to, from)| *to = *from);
        }
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::MediaTime;

    /// A repeatable noise.
    struct Noise(u32);

    impl Noise {
        fn next(&mut self) -> f32 {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) as f32 / 8_388_608.0 - 1.0
        }
    }

    fn format(channels: u16) -> AudioFormat {
        AudioFormat { sample_rate: RATE, channels }
    }

    fn frame(channels: u16, number: usize, mut sample: impl FnMut(usize) -> f32) -> AudioFrame {
        let samples = (0..BLOCK).flat_map(|at| vec![sample(number * BLOCK + at); usize::from(channels)]).collect();
        AudioFrame { time: MediaTime::new((number * BLOCK) as i64, RATE), format: format(channels), samples }
    }

    fn power(samples: &[f32]) -> f64 {
        samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64
    }

    fn decibels(of: f64, to: f64) -> f64 {
        10.0 * (of / to).log10()
    }

    /// How loud a tone is in mono sound.
    fn tone(samples: &[f32], hz: f64) -> f64 {
        let (mut sin, mut cos) = (0.0, 0.0);
        for (at, sample) in samples.iter().enumerate() {
            let angle = at as f64 * hz / 48_000.0 * std::f64::consts::TAU;
            sin += f64::from(*sample) * angle.sin();
            cos += f64::from(*sample) * angle.cos();
        }
        (sin.hypot(cos) * 2.0 / samples.len() as f64).powi(2) / 2.0
    }

    /// The echo of noise that swells like speech, in the last 2 of 8 s, with and without its cancellation.
    fn echo(echo_cancellation: bool) -> f64 {
        let far_end = FarEnd::new();
        let settings = VoiceSettings { echo_cancellation, ..VoiceSettings::default() };
        let mut processor = VoiceProcessor::new(settings, format(1), far_end.clone());
        let (mut noise, mut heard, mut rest) = (Noise(1), VecDeque::from(vec![0.0f32; 3000]), Vec::new());
        for number in 0..800 {
            let swell = (number as f32 / 17.0).sin().abs();
            let played = frame(1, number, |_| noise.next() * 0.3 * swell);
            far_end.played(&played);
            heard.extend(&played.samples);
            // It comes back 62 ms later, quieter.
            let near = frame(1, number, |_| 0.4 * heard.pop_front().unwrap());
            let clean = processor.process(near).unwrap();
            if number >= 600 {
                rest.extend(clean.samples);
            }
        }
        power(&rest)
    }

    #[test]
    fn the_echo_of_the_other_side_is_taken_out() {
        let gone = decibels(echo(false), echo(true));
        assert!(gone >= 20.0, "{gone:.1} dB");
    }

    #[test]
    fn noise_becomes_quieter_and_a_voice_does_not() {
        let run = |noise_suppression| {
            let settings = VoiceSettings { noise_suppression, ..VoiceSettings::default() };
            let mut processor = VoiceProcessor::new(settings, format(2), FarEnd::new());
            let (mut noise, mut silence, mut voice) = (Noise(3), Vec::new(), Vec::new());
            for number in 0..600 {
                // Syllables of a tone, in steady noise.
                let speaks = number % 40 < 15;
                let sample = |at: usize| {
                    let tone = (at as f32 * 700.0 / 48_000.0 * std::f32::consts::TAU).sin();
                    0.02 * noise.next() + if speaks { 0.3 * tone } else { 0.0 }
                };
                let clean = processor.process(frame(2, number, sample)).unwrap();
                let left: Vec<f32> = clean.samples.iter().step_by(2).copied().collect();
                match number {
                    400.. if number % 40 >= 25 => silence.extend(left),
                    400.. if (3..12).contains(&(number % 40)) => voice.push(tone(&left, 700.0)),
                    _ => {}
                }
            }
            (power(&silence), voice.iter().sum::<f64>() / voice.len() as f64)
        };
        let (plain, suppressed) = (run(false), run(true));
        let (noise, voice) = (decibels(plain.0, suppressed.0), decibels(plain.1, suppressed.1));
        assert!(noise >= 10.0, "noise by {noise:.1} dB");
        assert!(voice.abs() <= 3.0, "voice by {voice:.1} dB");
    }

    #[test]
    fn a_quiet_voice_becomes_louder_and_nothing_passes_full_scale() {
        let run = |auto_gain_control, level: f32| {
            let settings = VoiceSettings { auto_gain_control, ..VoiceSettings::default() };
            let mut processor = VoiceProcessor::new(settings, format(1), FarEnd::new());
            let (mut last, mut peak) = (Vec::new(), 0.0f32);
            for number in 0..800 {
                let speaks = number % 40 < 25;
                let sample = |at: usize| {
                    let voice: f32 = (1..9)
                        .map(|n| (at as f32 * 140.0 * n as f32 / 48_000.0 * std::f32::consts::TAU).sin() / n as f32)
                        .sum();
                    if speaks { level * voice } else { 0.0 }
                };
                let clean = processor.process(frame(1, number, sample)).unwrap();
                peak = clean.samples.iter().fold(peak, |peak, sample| peak.max(sample.abs()));
                if number >= 600 && number % 40 < 25 {
                    last.extend(clean.samples);
                }
            }
            assert!(peak <= 1.0, "{peak}");
            power(&last)
        };
        let louder = decibels(run(true, 0.01), run(false, 0.01));
        assert!(louder >= 6.0, "{louder:.1} dB");
        run(true, 0.6);
    }

    #[test]
    fn with_everything_off_what_goes_in_comes_out() {
        let mut processor = VoiceProcessor::new(VoiceSettings::default(), format(2), FarEnd::new());
        let mut noise = Noise(9);
        for number in 0..3 {
            let sound = frame(2, number, |_| noise.next() * 0.5);
            let same = processor.process(sound.clone()).unwrap();
            let far = sound.samples.iter().zip(&same.samples).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-3, "{far}");
        }
    }
}
