//! VP8 (RFC 6386) by libvpx, with the settings that calls need: constant bitrate, no look-ahead, key frames on demand.

use super::library_video::{LibraryDecoder, LibraryEncoder, library};
use super::settings::check_size;
use super::vpx::{self, Control, Interface};
use super::{CodecError, EncoderSettings};
use crate::media::{Codec, ContentHint, VideoFormat, vp8_frame_header};

/// 14 bits hold the extent of a VP8 frame.
const MOST_EXTENT: u32 = 16_383;
/// libvpx's cpu-used, negated.
const SPEED: u8 = 8;

/// An encoder for pictures of `format`.
pub(super) fn encoder(
    format: &VideoFormat,
    settings: EncoderSettings,
) -> Result<LibraryEncoder<vpx::Encoder>, CodecError> {
    LibraryEncoder::new(Codec::Vp8, open, format, settings)
}

/// A decoder that waits for its first key frame.
pub(super) fn decoder() -> Result<LibraryDecoder<vpx::Decoder>, CodecError> {
    let decoder = vpx::Decoder::open(Interface::Vp8, 1).map_err(library(Codec::Vp8))?;
    Ok(LibraryDecoder::new(Codec::Vp8, decoder, check))
}

fn open(format: &VideoFormat, settings: &EncoderSettings) -> Result<vpx::Encoder, CodecError> {
    let VideoFormat { width, height, .. } = *format;
    check_size(Codec::Vp8, width, height, MOST_EXTENT)?;
    let text = settings.content == ContentHint::Text;
    let controls = [
        (Control::CpuUsed, -i32::from(settings.speed.unwrap_or(SPEED).min(16))),
        (Control::NoiseSensitivity, 0),
        (Control::StaticThreshold, if text { 100 } else { 1 }),
        (Control::ScreenContentMode, i32::from(text)),
        (Control::TokenPartitions, settings.threads_for(width, height).ilog2().min(3).cast_signed()),
    ];
    vpx::Encoder::open(Interface::Vp8, format, settings, &controls)
}

/// Refuses what would cost more memory than its bytes can justify.
fn check(data: &[u8]) -> Result<(), CodecError> {
    let Some((width, height)) = vp8_frame_header(data).and_then(|header| header.width.zip(header.height)) else {
        return Ok(());
    };
    check_size(Codec::Vp8, width, height, MOST_EXTENT)?;
    // The prediction modes of a macroblock cost more than two bits of a key frame, whatever is in it.
    let macroblocks = u64::from(width.div_ceil(16)) * u64::from(height.div_ceil(16));
    if (data.len() as u64) < macroblocks / 8 {
        let detail = format!("{} bytes cannot hold {width}x{height} pixels", data.len());
        return Err(CodecError::Damaged { codec: Codec::Vp8, detail });
    }
    Ok(())
}
