//! Encoders and decoders: raw media to encoded frames and back, in real time.
//!
//! One file per codec, each behind the traits of [`media`](crate::media); all pass one conformance suite
//! (`conformance.rs`, `conformance_audio.rs`), which is also the list of what they promise. Everything blocks and computes on the caller's thread.
//! Nothing here reads files or speaks RTP: [`EncodedFrame`](crate::media::EncodedFrame)s have the codec's own framing.

mod aom;
mod av1;
mod g711;
mod h264;
mod key_interval;
mod library_video;
mod opus;
mod packets;
mod picture_clock;
mod settings;
mod vp8;
mod vp9;
mod vpx;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod conformance_audio;
#[cfg(test)]
mod screen_content;
#[cfg(test)]
mod synthetic;

pub use opus::{AudioApplication, AudioEncoderSettings, OpusDecoder, OpusEncoder, PacketTime};
pub use settings::{BitrateMode, EncoderSettings};

use g711::{G711Decoder, G711Encoder};
use key_interval::KeyInterval;

use crate::error::{Classify, ErrorKind};
use crate::media::{
    AudioDecoder, AudioEncoder, AudioFormat, Codec, MediaKind, VideoDecoder, VideoEncoder, VideoFormat,
};

/// What goes wrong in a codec.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Pictures of this size cannot be coded.
    #[error("{codec} cannot code pictures of {width}x{height} pixels")]
    #[expect(missing_docs, reason = "named in the message")]
    Size { codec: Codec, width: u32, height: u32 },
    /// A bitrate that is none.
    #[error("{codec} cannot aim at {bits_per_second} bits per second")]
    #[expect(missing_docs, reason = "named in the message")]
    Bitrate { codec: Codec, bits_per_second: u32 },
    /// Audio in a format that the codec does not take.
    #[error("{codec} does not take {channels} channels at {sample_rate} Hz")]
    #[expect(missing_docs, reason = "named in the message")]
    AudioFormat { codec: Codec, sample_rate: u32, channels: u16 },
    /// Samples in another format than the encoder was made for.
    #[error("audio changed to {} channels at {} Hz in mid-stream", found.channels, found.sample_rate)]
    #[expect(missing_docs, reason = "named in the message")]
    FormatChanged { found: AudioFormat },
    /// A frame of another codec.
    #[error("a {found} frame was given to a {codec} decoder")]
    #[expect(missing_docs, reason = "named in the message")]
    WrongCodec { codec: Codec, found: Codec },
    /// The codec codes the other kind of media.
    #[error("{codec} is no {kind} codec")]
    #[expect(missing_docs, reason = "named in the message")]
    WrongKind { codec: Codec, kind: MediaKind },
    /// The bytes are not what the codec's specification allows.
    #[error("damaged {codec} frame: {detail}")]
    #[expect(missing_docs, reason = "named in the message")]
    Damaged { codec: Codec, detail: String },
    /// Decoding can only start, or go on after damage, at a key frame.
    #[error("the {codec} decoder waits for a key frame")]
    #[expect(missing_docs, reason = "named in the message")]
    NeedsKey { codec: Codec },
    /// The library behind the codec failed.
    #[error("{codec} library: {detail}")]
    #[expect(missing_docs, reason = "named in the message")]
    Library { codec: Codec, detail: String },
}

impl Classify for CodecError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Library { .. } => ErrorKind::Internal,
            _ => ErrorKind::InvalidInput,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Library { .. } => "OperationError",
            Self::Damaged { .. } | Self::NeedsKey { .. } => "EncodingError",
            _ => "NotSupportedError",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::AudioFormat { codec: Codec::Opus, .. } => {
                Some("Opus takes mono or stereo at 8000, 12000, 16000, 24000 or 48000 Hz: resample first".to_owned())
            }
            Self::AudioFormat { codec: Codec::Pcmu | Codec::Pcma, .. } => {
                Some("G.711 takes mono at 8000 Hz: resample first".to_owned())
            }
            _ => None,
        }
    }
}

/// An encoder for pictures of `format`.
///
/// # Errors
/// When `codec` is no video codec, or refuses the size or the settings.
pub fn video_encoder(
    codec: Codec,
    format: &VideoFormat,
    settings: EncoderSettings,
) -> Result<Box<dyn VideoEncoder>, CodecError> {
    let encoder: Box<dyn VideoEncoder> = match codec {
        Codec::Vp8 => Box::new(vp8::encoder(format, settings)?),
        Codec::Vp9 => Box::new(vp9::encoder(format, settings)?),
        Codec::Av1 => Box::new(av1::encoder(format, settings)?),
        Codec::H264 => Box::new(h264::H264Encoder::new(format, settings)?),
        Codec::Opus | Codec::Pcmu | Codec::Pcma => {
            return Err(CodecError::WrongKind { codec, kind: MediaKind::Video });
        }
    };
    Ok(if settings.has_key_frame_interval() { Box::new(KeyInterval::new(encoder, &settings)) } else { encoder })
}

/// A decoder, waiting for its first key frame.
///
/// # Errors
/// When `codec` is no video codec, or its library fails.
pub fn video_decoder(codec: Codec) -> Result<Box<dyn VideoDecoder>, CodecError> {
    match codec {
        Codec::Vp8 => Ok(Box::new(vp8::decoder()?)),
        Codec::Vp9 => Ok(Box::new(vp9::decoder()?)),
        Codec::Av1 => Ok(Box::new(av1::decoder()?)),
        Codec::H264 => Ok(Box::new(h264::H264Decoder::new()?)),
        Codec::Opus | Codec::Pcmu | Codec::Pcma => Err(CodecError::WrongKind { codec, kind: MediaKind::Video }),
    }
}

/// An encoder for samples of `format`. Opus takes 1 or 2 channels at 8, 12, 16, 24 or 48 kHz, G.711 one at 8 kHz; resample
/// others first.
///
/// # Errors
/// When `codec` is no audio codec, or refuses the format or the settings.
pub fn audio_encoder(
    codec: Codec,
    format: AudioFormat,
    settings: AudioEncoderSettings,
) -> Result<Box<dyn AudioEncoder>, CodecError> {
    match codec {
        Codec::Opus => Ok(Box::new(OpusEncoder::new(format, settings)?)),
        _ => match G711Encoder::new(codec, format, &settings) {
            Some(encoder) => Ok(Box::new(encoder?)),
            None => Err(CodecError::WrongKind { codec, kind: MediaKind::Audio }),
        },
    }
}

/// What a decoder of sound gives that is asked for so many channels.
pub fn decoded_format(codec: Codec, channels: u16) -> AudioFormat {
    match codec {
        Codec::Pcmu | Codec::Pcma => g711::FORMAT,
        _ => AudioFormat { sample_rate: Codec::Opus.clock_rate(), channels },
    }
}

/// A decoder that gives, of Opus, `channels` (1 or 2) at 48 kHz, whatever the packets hold; of G.711, one at 8 kHz.
///
/// # Errors
/// When `codec` is no audio codec or cannot give so many channels.
pub fn audio_decoder(codec: Codec, channels: u16) -> Result<Box<dyn AudioDecoder>, CodecError> {
    match codec {
        Codec::Opus => Ok(Box::new(OpusDecoder::new(channels)?)),
        _ => match G711Decoder::new(codec) {
            Some(decoder) => Ok(Box::new(decoder)),
            None => Err(CodecError::WrongKind { codec, kind: MediaKind::Audio }),
        },
    }
}
