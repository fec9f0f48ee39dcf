//! ITU-T G.711, the sound of telephones: a byte for each of 8000 samples a second, on a scale that is fine where it is quiet.
//!
//! Both laws divide the loudness into eight segments, each twice as wide as the one before and of sixteen steps; a byte is sign,
//! segment and step. Lost packets are filled with the last period of the voice, fading, in the manner of the recommendation's
//! appendix I.

use super::packets::Packets;
use super::{AudioEncoderSettings, CodecError};
use crate::error::Error;
use crate::media::{
    AudioDecoder, AudioEncoder, AudioFormat, AudioFrame, Codec, EncodedFrame, Loss, MediaTime, SampleClock,
};
use bytes::Bytes;
use std::num::NonZeroU32;

/// The only format.
pub(super) const FORMAT: AudioFormat =
    AudioFormat { sample_rate: NonZeroU32::new(8_000).expect("not zero"), channels: 1 };
/// The only bitrate.
const BITRATE: u32 = 64_000;

/// How loudness is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Law {
    /// μ, sent with all bits inverted.
    Mu,
    /// A, sent with every other bit inverted.
    A,
}

impl Law {
    /// What is added by the μ-law so that all segments begin at powers of two.
    const BIAS: i32 = 132;
    const SIGN: u8 = 0x80;
    const EVEN_BITS: u8 = 0x55;

    fn of(codec: Codec) -> Option<Self> {
        match codec {
            Codec::Pcmu => Some(Self::Mu),
            Codec::Pcma => Some(Self::A),
            _ => None,
        }
    }

    const fn codec(self) -> Codec {
        match self {
            Self::Mu => Codec::Pcmu,
            Self::A => Codec::Pcma,
        }
    }

    fn encode(self, sample: i16) -> u8 {
        let sample = i32::from(sample);
        match self {
            Self::Mu => {
                let (sign, loudness) = if sample < 0 { (Self::SIGN, -sample) } else { (0, sample) };
                !(sign | segment_and_step((loudness + Self::BIAS).min(i32::from(i16::MAX)), 0))
            }
            Self::A => {
                let (sign, loudness) = if sample < 0 { (0, -sample - 1) } else { (Self::SIGN, sample) };
                (sign | segment_and_step(loudness, 4)) ^ Self::EVEN_BITS
            }
        }
    }

    /// The middle of the step.
    fn decode(self, byte: u8) -> i16 {
        let byte = if self == Self::Mu { !byte } else { byte ^ Self::EVEN_BITS };
        let (segment, step) = (i32::from(byte >> 4 & 7), i32::from(byte & 15));
        let loudness = match (self, segment) {
            (Self::Mu, _) => ((2 * step + 33) << (segment + 2)) - Self::BIAS,
            (Self::A, 0) => (2 * step + 1) << 3,
            (Self::A, _) => (2 * step + 33) << (segment + 2),
        };
        let positive = (byte & Self::SIGN == 0) == (self == Self::Mu);
        i16::try_from(if positive { loudness } else { -loudness }).expect("at most 32256")
    }
}

/// Segment and step of a loudness of 15 bits, of which so many of the lowest do not count in the lowest segment.
fn segment_and_step(loudness: i32, least_shift: u32) -> u8 {
    let segment = (loudness >> 7).checked_ilog2().unwrap_or(0);
    let step = loudness >> (segment + 3).max(least_shift) & 15;
    u8::try_from(segment << 4).expect("eight segments") | u8::try_from(step).expect("four bits")
}

/// A sample in 16 bits.
fn quantised(sample: f32) -> i16 {
    #[expect(clippy::cast_possible_truncation, reason = "a float to int cast saturates")]
    let rounded = (sample * 32_768.0).round() as i16;
    rounded
}

fn other(format: AudioFormat, codec: Codec) -> CodecError {
    CodecError::AudioFormat { codec, sample_rate: format.sample_rate.get(), channels: format.channels }
}

/// Encodes by one of the laws.
pub(super) struct G711Encoder {
    law: Law,
    packets: Packets,
}

impl G711Encoder {
    /// An encoder for mono at 8 kHz; `None` for other codecs. Of the settings only the time of a packet matters.
    pub(super) fn new(
        codec: Codec,
        format: AudioFormat,
        settings: &AudioEncoderSettings,
    ) -> Option<Result<Self, CodecError>> {
        let law = Law::of(codec)?;
        if format != FORMAT {
            return Some(Err(other(format, codec)));
        }
        Some(Ok(Self { law, packets: Packets::new(format, settings.packet_time.milliseconds()) }))
    }

    fn packet(law: Law, time: MediaTime, samples: &[f32]) -> EncodedFrame {
        let data: Bytes = samples.iter().map(|sample| law.encode(quantised(*sample))).collect();
        EncodedFrame { codec: law.codec(), time, key: true, data }
    }
}

impl AudioEncoder for G711Encoder {
    fn codec(&self) -> Codec {
        self.law.codec()
    }

    fn encode(&mut self, frame: &AudioFrame, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error> {
        let law = self.law;
        Ok(self.packets.take(frame, &mut |time, samples| {
            out(Self::packet(law, time, samples));
            Ok(())
        })?)
    }

    fn flush(&mut self, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error> {
        let law = self.law;
        Ok(self.packets.flush(&mut |time, samples| {
            out(Self::packet(law, time, samples));
            Ok(())
        })?)
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), Error> {
        match bits_per_second {
            BITRATE => Ok(()),
            _ => Err(CodecError::Bitrate { codec: self.law.codec(), bits_per_second }.into()),
        }
    }
}

/// Decodes by one of the laws.
pub(super) struct G711Decoder {
    law: Law,
    /// What was heard last.
    heard: Vec<f32>,
    /// How the guess would go on behind a hole, for a soft way back.
    guess: Option<Guess>,
}

impl G711Decoder {
    /// Samples that are remembered: three of the longest periods.
    const MEMORY: usize = 3 * Guess::LONGEST;
    /// Samples in which the guess gives way to what comes.
    const BLEND: usize = 32;

    /// A decoder; `None` for other codecs.
    pub(super) fn new(codec: Codec) -> Option<Self> {
        Law::of(codec).map(|law| Self { law, heard: Vec::new(), guess: None })
    }

    fn remember(&mut self, samples: &[f32]) {
        self.heard.extend_from_slice(samples);
        let excess = self.heard.len().saturating_sub(Self::MEMORY);
        self.heard.drain(..excess);
    }
}

impl AudioDecoder for G711Decoder {
    fn format(&self) -> AudioFormat {
        FORMAT
    }

    fn decode(&mut self, frame: &EncodedFrame, out: &mut dyn FnMut(AudioFrame)) -> Result<(), Error> {
        if frame.codec != self.law.codec() {
            return Err(CodecError::WrongCodec { codec: self.law.codec(), found: frame.codec }.into());
        }
        let mut samples: Vec<f32> =
            frame.data.iter().map(|byte| f32::from(self.law.decode(*byte)) / 32_768.0).collect();
        if let Some(mut guess) = self.guess.take() {
            for (n, sample) in samples.iter_mut().take(Self::BLEND).enumerate() {
                let part = (n + 1) as f32 / (Self::BLEND + 1) as f32;
                *sample = *sample * part + guess.next() * (1.0 - part);
            }
        }
        self.remember(&samples);
        out(AudioFrame { time: frame.time, format: FORMAT, samples });
        Ok(())
    }

    fn conceal(&mut self, loss: Loss<'_>, out: &mut dyn FnMut(AudioFrame)) -> Result<(), Error> {
        let mut clock = SampleClock::new(FORMAT.sample_rate);
        clock.start(loss.time);
        let mut guess = self.guess.take().unwrap_or_else(|| Guess::after(&self.heard));
        let samples: Vec<f32> = (0..loss.samples).map(|_| guess.next()).collect();
        self.guess = Some(guess);
        self.remember(&samples);
        if !samples.is_empty() {
            out(AudioFrame { time: clock.now(), format: FORMAT, samples });
        }
        Ok(())
    }
}

/// The last period of a voice, again and again and ever softer.
struct Guess {
    period: Vec<f32>,
    given: usize,
}

impl Guess {
    /// Periods that are looked for: 200 to 66 Hz.
    const SHORTEST: usize = 40;
    const LONGEST: usize = 120;
    /// Samples at full volume, and until silence: 10 and 60 ms.
    const FULL: usize = 80;
    const SILENT: usize = 480;

    /// What may follow: the period at which the end of what was heard is most like what was before it.
    fn after(heard: &[f32]) -> Self {
        let likeness = |period: usize| {
            let end = &heard[heard.len() - Self::LONGEST..];
            let before = &heard[heard.len() - Self::LONGEST - period..heard.len() - period];
            let energy: f32 = before.iter().map(|sample| sample * sample).sum();
            end.iter().zip(before).map(|(a, b)| a * b).sum::<f32>() / energy.max(f32::MIN_POSITIVE).sqrt()
        };
        let length = if heard.len() < 2 * Self::LONGEST {
            heard.len()
        } else {
            let periods = Self::SHORTEST..=Self::LONGEST;
            periods.max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap_or(Self::LONGEST)
        };
        Self { period: heard[heard.len() - length..].to_vec(), given: 0 }
    }

    fn next(&mut self) -> f32 {
        let Some(sample) = self.given.checked_rem(self.period.len()).map(|at| self.period[at]) else { return 0.0 };
        let left = Self::SILENT.saturating_sub(self.given.max(Self::FULL)) as f32;
        self.given += 1;
        sample * left / (Self::SILENT - Self::FULL) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{audio_decoder, audio_encoder};

    const LAWS: [Law; 2] = [Law::Mu, Law::A];

    fn tone(hz: f32, samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (n as f32 * hz / 8000.0 * std::f32::consts::TAU).sin() * 0.5).collect()
    }

    fn sound(ticks: usize, samples: Vec<f32>) -> AudioFrame {
        AudioFrame { time: MediaTime::new(ticks as i64, FORMAT.sample_rate), format: FORMAT, samples }
    }

    /// Signal to noise in decibels.
    fn quality(signal: &[f32], heard: &[f32]) -> f32 {
        let noise: f32 = signal.iter().zip(heard).map(|(a, b)| (a - b).powi(2)).sum();
        10.0 * (signal.iter().map(|a| a * a).sum::<f32>() / noise).log10()
    }

    #[test]
    fn the_values_are_those_of_the_recommendation() {
        // Tables 1a to 2b, in 16 bits: the ends of the scale, the ends of a segment, and silence.
        for (law, byte, value) in [
            (Law::Mu, 0x80, 32_124),
            (Law::Mu, 0x00, -32_124),
            (Law::Mu, 0x8f, 16_764),
            (Law::Mu, 0x90, 15_996),
            (Law::Mu, 0xff, 0),
            (Law::Mu, 0xfe, 8),
            (Law::Mu, 0x7e, -8),
            (Law::A, 0xaa, 32_256),
            (Law::A, 0x2a, -32_256),
            (Law::A, 0xd5, 8),
            (Law::A, 0x55, -8),
            (Law::A, 0xd4, 24),
            (Law::A, 0xba, 16_128),
        ] {
            assert_eq!(law.decode(byte), value, "{law:?} {byte:#04x}");
        }
    }

    #[test]
    fn every_sample_gets_the_step_that_it_is_in() {
        for law in LAWS {
            let mut steps: Vec<i16> = (0..=255).map(|byte| law.decode(byte)).collect();
            steps.sort_unstable();
            for sample in i16::MIN..=i16::MAX {
                let got = law.decode(law.encode(sample));
                let place = steps.partition_point(|step| *step < sample).clamp(1, steps.len() - 1);
                let (below, above) = (steps[place - 1], steps[place]);
                let width = (i32::from(above) - i32::from(below)).max(8);
                let off = (i32::from(got) - i32::from(sample)).abs();
                let clipped = i32::from(sample).abs() > 32_000;
                assert!(off <= width * 3 / 4 || clipped && off <= 700, "{law:?}: {sample} becomes {got}");
            }
            let back = |byte: u8| law.encode(law.decode(byte));
            // The μ-law has two zeros.
            assert!((0..=255).all(|byte| back(byte) == byte || (law == Law::Mu && byte == 0x7f && back(byte) == 0xff)));
        }
    }

    #[test]
    fn sound_survives_in_packets_of_20_ms() {
        let spoken = tone(440.0, 8000);
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let mut encoder = audio_encoder(codec, FORMAT, AudioEncoderSettings::default()).unwrap();
            let mut decoder = audio_decoder(codec, 2).unwrap();
            let (mut packets, mut heard) = (Vec::new(), Vec::new());
            for (n, part) in spoken.chunks(77).enumerate() {
                encoder.encode(&sound(n * 77, part.to_vec()), &mut |packet| packets.push(packet)).unwrap();
            }
            encoder.flush(&mut |packet| packets.push(packet)).unwrap();
            for (n, packet) in packets.iter().enumerate() {
                assert_eq!((packet.data.len(), packet.time.ticks(), packet.codec), (160, n as i64 * 160, codec));
                decoder.decode(packet, &mut |frame| heard.extend(frame.samples)).unwrap();
            }
            assert_eq!(heard.len(), 8000);
            let decibels = quality(&spoken, &heard);
            assert!(decibels > 35.0, "{codec}: {decibels} dB");
        }
    }

    #[test]
    fn a_lost_packet_of_a_voice_is_hardly_missed_and_a_long_hole_ends_in_silence() {
        let spoken = tone(130.0, 1600);
        let law = Law::Mu;
        let packet =
            |n: usize| G711Encoder::packet(law, MediaTime::new(n as i64, FORMAT.sample_rate), &spoken[n..n + 160]);
        let mut decoder = G711Decoder::new(law.codec()).unwrap();
        let mut heard = Vec::new();
        let mut take = |frame: AudioFrame| {
            assert_eq!(frame.time.ticks(), i64::try_from(heard.len()).unwrap());
            heard.extend(frame.samples);
        };
        for n in (0..800).step_by(160) {
            decoder.decode(&packet(n), &mut take).unwrap();
        }
        let time = MediaTime::new(800, FORMAT.sample_rate);
        decoder.conceal(Loss { time, samples: 160, next: None }, &mut take).unwrap();
        decoder.decode(&packet(960), &mut take).unwrap();
        let time = MediaTime::new(1120, FORMAT.sample_rate);
        decoder.conceal(Loss { time, samples: 1000, next: None }, &mut take).unwrap();
        let decibels = quality(&spoken[800..880], &heard[800..880]);
        assert!(decibels > 10.0, "{decibels} dB in the hole");
        let steps = |part: &[f32]| part.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steps(&heard[..1100]) < 2.0 * steps(&spoken), "no crack at the ends of the hole");
        assert!(heard[1120 + Guess::SILENT..].iter().all(|sample| *sample == 0.0));
        assert_eq!(heard.len(), 2120);
    }

    #[test]
    fn what_it_cannot_do_is_refused() {
        let stereo = AudioFormat { channels: 2, ..FORMAT };
        assert!(audio_encoder(Codec::Pcma, stereo, AudioEncoderSettings::default()).is_err());
        let mut encoder = audio_encoder(Codec::Pcma, FORMAT, AudioEncoderSettings::default()).unwrap();
        assert!(encoder.set_bitrate(32_000).is_err() && encoder.set_bitrate(64_000).is_ok());
        let mut decoder = audio_decoder(Codec::Pcmu, 1).unwrap();
        let other = G711Encoder::packet(Law::A, MediaTime::ZERO, &[0.0; 160]);
        assert!(decoder.decode(&other, &mut |_| ()).is_err());
        // Nothing was heard yet: nothing is guessed.
        let hole = Loss { time: MediaTime::ZERO, samples: 160, next: None };
        decoder.conceal(hole, &mut |frame| assert!(frame.samples == [0.0; 160])).unwrap();
    }
}
