//! Opus (RFC 6716) by libopus.
//!
//! The clock of Opus is 48 kHz whatever rate it is fed at, so packet times and decoded sound count in 48,000ths.

use super::packets::Packets;
use super::{BitrateMode, CodecError};
use crate::error::Error;
use crate::media::{
    AudioDecoder, AudioEncoder, AudioFormat, AudioFrame, Codec, EncodedFrame, Loss, MediaTime, SampleClock,
    opus_packet_samples,
};
use bytes::Bytes;
use opusic_c::{Application, Bitrate, Channels, Decoder, Encoder, ErrorCode, InbandFec, SampleRate};
use std::num::NonZeroU32;

const RATE: NonZeroU32 = Codec::Opus.clock_rate();
/// Larger than any packet of 60 ms at the highest bitrate.
const MOST_PACKET: usize = 4000;

/// What the sound is, which decides how Opus codes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AudioApplication {
    /// Anything, faithfully.
    #[default]
    Audio,
    /// Speech, intelligibly; forward error correction works at ordinary bitrates only here.
    Voip,
}

/// How long a packet sounds; W3C `RTCRtpCodec` and RFC 7587 call it ptime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PacketTime {
    /// 10 ms: least delay, most overhead.
    Ms10,
    /// 20 ms, as calls use.
    #[default]
    Ms20,
    /// 40 ms.
    Ms40,
    /// 60 ms: least overhead.
    Ms60,
}

impl PacketTime {
    /// The time in milliseconds.
    pub const fn milliseconds(self) -> u32 {
        match self {
            Self::Ms10 => 10,
            Self::Ms20 => 20,
            Self::Ms40 => 40,
            Self::Ms60 => 60,
        }
    }
}

/// What an audio encoder is told besides the shape of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioEncoderSettings {
    /// Target in bits per second, 500 ..= 512,000; also changed at run time by [`AudioEncoder::set_bitrate`].
    pub bitrate: u32,
    /// Whether all packets are of one size.
    pub bitrate_mode: BitrateMode,
    /// What the sound is.
    pub application: AudioApplication,
    /// How long a packet sounds.
    pub packet_time: PacketTime,
    /// Effort, 0 ..= 10.
    pub complexity: u8,
    /// Whether packets carry a coarse copy of the packet before them; used once `expected_loss` is above 0.
    pub fec: bool,
    /// Packets expected to be lost, in percent.
    pub expected_loss: u8,
    /// Whether silence is sent as rare, tiny packets.
    pub dtx: bool,
}

impl Default for AudioEncoderSettings {
    fn default() -> Self {
        Self {
            bitrate: 64_000,
            bitrate_mode: BitrateMode::Variable,
            application: AudioApplication::Audio,
            packet_time: PacketTime::Ms20,
            complexity: 5,
            fec: true,
            expected_loss: 0,
            dtx: false,
        }
    }
}

fn library(code: ErrorCode) -> CodecError {
    CodecError::Library { codec: Codec::Opus, detail: code.message().to_owned() }
}

fn channels(format: AudioFormat) -> Result<Channels, CodecError> {
    match format.channels {
        1 => Ok(Channels::Mono),
        2 => Ok(Channels::Stereo),
        _ => Err(refused(format)),
    }
}

fn refused(format: AudioFormat) -> CodecError {
    CodecError::AudioFormat { codec: Codec::Opus, sample_rate: format.sample_rate.get(), channels: format.channels }
}

/// Encodes Opus.
///
/// Packet times count samples from the first frame, so they neither jitter nor drift; a hole of more than 50 ms in the
/// input completes a packet with silence and counts on from the time after the hole. A packet's time is that of the
/// first sample that went into it; decoders give that sample [`look_ahead`](Self::look_ahead) later.
pub struct OpusEncoder {
    encoder: Encoder,
    packets: Packets,
    buffer: Box<[u8]>,
}

impl OpusEncoder {
    /// An encoder for samples of `format`: 1 or 2 channels at 8, 12, 16, 24 or 48 kHz.
    ///
    /// # Errors
    /// [`CodecError::AudioFormat`] for other formats, [`CodecError::Bitrate`] for 0.
    pub fn new(format: AudioFormat, settings: AudioEncoderSettings) -> Result<Self, CodecError> {
        let rate = match format.sample_rate.get() {
            8_000 => SampleRate::Hz8000,
            12_000 => SampleRate::Hz12000,
            16_000 => SampleRate::Hz16000,
            24_000 => SampleRate::Hz24000,
            48_000 => SampleRate::Hz48000,
            _ => return Err(refused(format)),
        };
        let application = match settings.application {
            AudioApplication::Audio => Application::Audio,
            AudioApplication::Voip => Application::Voip,
        };
        let encoder = Encoder::new(channels(format)?, rate, application).map_err(library)?;
        let packets = Packets::new(format, settings.packet_time.milliseconds());
        let mut this = Self { encoder, packets, buffer: vec![0; MOST_PACKET].into() };
        this.aim(settings.bitrate)?;
        this.encoder.set_vbr(settings.bitrate_mode == BitrateMode::Variable).map_err(library)?;
        this.encoder.set_complexity(settings.complexity.min(10)).map_err(library)?;
        let fec = if settings.fec { InbandFec::Mode1 } else { InbandFec::Off };
        this.encoder.set_inband_fec(fec).map_err(library)?;
        this.encoder.set_dtx(settings.dtx).map_err(library)?;
        this.set_expected_loss(settings.expected_loss)?;
        Ok(this)
    }

    /// By how much decoded sound lags behind the packet times, in samples at the rate of the input.
    ///
    /// # Errors
    /// When libopus fails.
    pub fn look_ahead(&mut self) -> Result<u32, CodecError> {
        self.encoder.get_look_ahead().map_err(library)
    }

    /// Sets how many packets are expected to be lost, in percent: more makes packets carry more of their predecessor.
    ///
    /// # Errors
    /// When libopus fails.
    pub fn set_expected_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        self.encoder.set_packet_loss(percent.min(100)).map_err(library)
    }

    fn aim(&mut self, bits_per_second: u32) -> Result<(), CodecError> {
        match bits_per_second {
            0 => Err(CodecError::Bitrate { codec: Codec::Opus, bits_per_second }),
            bits => self.encoder.set_bitrate(Bitrate::Value(bits.clamp(500, 512_000))).map_err(library),
        }
    }
}

/// One packet of these samples.
fn packet(
    encoder: &mut Encoder,
    buffer: &mut [u8],
    time: MediaTime,
    samples: &[f32],
) -> Result<EncodedFrame, CodecError> {
    let len = encoder.encode_float_to_slice(samples, buffer).map_err(library)?;
    let data = Bytes::copy_from_slice(&buffer[..len]);
    Ok(EncodedFrame { codec: Codec::Opus, time: time.rescale(RATE), key: true, data })
}

impl AudioEncoder for OpusEncoder {
    fn codec(&self) -> Codec {
        Codec::Opus
    }

    fn encode(&mut self, frame: &AudioFrame, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error> {
        let Self { encoder, packets, buffer } = self;
        Ok(packets.take(frame, &mut |time, samples| packet(encoder, buffer, time, samples).map(&mut *out))?)
    }

    fn flush(&mut self, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error> {
        let Self { encoder, packets, buffer } = self;
        Ok(packets.flush(&mut |time, samples| packet(encoder, buffer, time, samples).map(&mut *out))?)
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), Error> {
        Ok(self.aim(bits_per_second)?)
    }
}

/// Decodes Opus at 48 kHz.
pub struct OpusDecoder {
    decoder: Decoder,
    format: AudioFormat,
}

impl OpusDecoder {
    /// A frame of 120 ms per channel, the longest that libopus takes in one call.
    const MOST_SAMPLES: usize = 5760;
    /// Concealment has faded to silence long before this.
    const MOST_CONCEALED: usize = 48_000;
    /// libopus conceals in units of 2.5 ms.
    const UNIT: usize = 120;

    /// A decoder that gives `channels` (1 or 2) whatever the packets hold.
    ///
    /// # Errors
    /// [`CodecError::AudioFormat`] for other numbers of channels.
    pub fn new(channels: u16) -> Result<Self, CodecError> {
        let format = AudioFormat { sample_rate: RATE, channels };
        let decoder = Decoder::new(self::channels(format)?, SampleRate::Hz48000).map_err(library)?;
        Ok(Self { decoder, format })
    }

    fn run(&mut self, packet: &[u8], samples: usize, fec: bool) -> Result<Vec<f32>, ErrorCode> {
        let channels = usize::from(self.format.channels);
        let mut pcm = vec![0.0; samples * channels];
        let decoded = self.decoder.decode_float_to_slice(packet, &mut pcm, fec)?;
        pcm.truncate(decoded * channels);
        Ok(pcm)
    }
}

impl AudioDecoder for OpusDecoder {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn decode(&mut self, frame: &EncodedFrame, out: &mut dyn FnMut(AudioFrame)) -> Result<(), Error> {
        if frame.codec != Codec::Opus {
            return Err(CodecError::WrongCodec { codec: Codec::Opus, found: frame.codec }.into());
        }
        let damaged = |detail: &str| CodecError::Damaged { codec: Codec::Opus, detail: detail.to_owned() };
        let samples = opus_packet_samples(&frame.data).ok_or_else(|| damaged("no packet header"))?;
        let samples = self.run(&frame.data, samples, false).map_err(|code| damaged(code.message()))?;
        out(AudioFrame { time: frame.time, format: self.format, samples });
        Ok(())
    }

    fn conceal(&mut self, loss: Loss<'_>, out: &mut dyn FnMut(AudioFrame)) -> Result<(), Error> {
        let channels = usize::from(self.format.channels);
        // `next` can only tell of as much as one packet of its own length; the rest before it is guessed.
        let recoverable = loss
            .next
            .and_then(|next| opus_packet_samples(&next.data).map(|samples| (samples, &next.data)))
            .filter(|&(samples, _)| samples <= loss.samples);
        let mut guessed = loss.samples - recoverable.map_or(0, |(samples, _)| samples);
        let mut clock = SampleClock::new(RATE);
        clock.start(loss.time);
        let mut emit = |clock: &mut SampleClock, samples: Vec<f32>| {
            let frame = AudioFrame { time: clock.now(), format: self.format, samples };
            clock.advance(frame.len());
            out(frame);
        };
        let mut budget = Self::MOST_CONCEALED;
        while guessed > 0 {
            let len = guessed.min(Self::MOST_SAMPLES);
            let mut samples = if budget >= len {
                let mut pcm = vec![0.0; len.next_multiple_of(Self::UNIT) * channels];
                self.decoder.decode_float_to_slice(&[], &mut pcm, false).map_err(library)?;
                pcm
            } else {
                vec![0.0; len * channels]
            };
            samples.truncate(len * channels);
            emit(&mut clock, samples);
            budget = budget.saturating_sub(len);
            guessed -= len;
        }
        if let Some((len, packet)) = recoverable {
            let mut pcm = vec![0.0; len * channels];
            // A damaged `next` is reported when it is decoded; here it only means that there is nothing to recover.
            if self.decoder.decode_float_to_slice(packet, &mut pcm, true).is_err() {
                self.decoder.decode_float_to_slice(&[], &mut pcm, false).map_err(library)?;
            }
            emit(&mut clock, pcm);
        }
        Ok(())
    }
}
