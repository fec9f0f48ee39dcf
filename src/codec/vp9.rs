//! VP9 in profile 0 by libvpx, with the settings that calls need: constant bitrate, no look-ahead, one layer, key frames on
//! demand.

use super::library_video::{LibraryDecoder, LibraryEncoder, library};
use super::settings::check_size;
use super::vpx::{self, Control, Interface};
use super::{CodecError, EncoderSettings};
use crate::media::{Codec, ContentHint, VideoFormat, vp9_frame_header, vp9_frames};

/// As large as pictures get elsewhere here; the format would go on to 65536.
const MOST_EXTENT: u32 = 16_384;
/// libvpx's cpu-used for pictures up to 352x288, where speed costs quality that shows, and for larger ones.
const SPEED_SMALL: u8 = 7;
const SPEED: u8 = 9;

/// An encoder for pictures of `format`.
pub(super) fn encoder(
    format: &VideoFormat,
    settings: EncoderSettings,
) -> Result<LibraryEncoder<vpx::Encoder>, CodecError> {
    LibraryEncoder::new(Codec::Vp9, open, format, settings)
}

/// A decoder that waits for its first key frame.
pub(super) fn decoder() -> Result<LibraryDecoder<vpx::Decoder>, CodecError> {
    let decoder = vpx::Decoder::open(Interface::Vp9, 1).map_err(library(Codec::Vp9))?;
    Ok(LibraryDecoder::new(Codec::Vp9, decoder, check))
}

fn open(format: &VideoFormat, settings: &EncoderSettings) -> Result<vpx::Encoder, CodecError> {
    let VideoFormat { width, height, .. } = *format;
    check_size(Codec::Vp9, width, height, MOST_EXTENT)?;
    let threads = settings.threads_for(width, height);
    let small = u64::from(width) * u64::from(height) <= 352 * 288;
    let speed = settings.speed.unwrap_or(if small { SPEED_SMALL } else { SPEED }).min(9);
    const CYCLIC_REFRESH: i32 = 3;
    let controls = [
        (Control::CpuUsed, i32::from(speed)),
        (Control::NoiseSensitivityVp9, 0),
        (Control::StaticThreshold, 1),
        (Control::TuneContent, i32::from(settings.content == ContentHint::Text)),
        (Control::AqMode, CYCLIC_REFRESH),
        (Control::TileColumns, threads.ilog2().min(6).cast_signed()),
        (Control::RowMt, i32::from(threads > 1)),
        // Contexts that adapt from frame to frame save bits; a lost frame needs a key frame anyway.
        (Control::FrameParallelDecoding, 0),
    ];
    vpx::Encoder::open(Interface::Vp9, format, settings, &controls)
}

/// Refuses what would cost more memory than its bytes can justify, and what is not profile 0.
fn check(data: &[u8]) -> Result<(), CodecError> {
    for header in vp9_frames(data).filter_map(vp9_frame_header) {
        if header.profile != 0 {
            let detail = format!("profile {} is not supported, only 8 bits and 4:2:0", header.profile);
            return Err(CodecError::Damaged { codec: Codec::Vp9, detail });
        }
        let Some((width, height)) = header.width.zip(header.height) else { continue };
        check_size(Codec::Vp9, width, height, MOST_EXTENT)?;
        // A frame of one colour takes about ten bits for each block of 64x64 pixels in real time, and less with patience.
        let blocks = u64::from(width.div_ceil(64)) * u64::from(height.div_ceil(64));
        if header.key && (data.len() as u64) < blocks / 64 {
            let detail = format!("{} bytes cannot hold {width}x{height} pixels", data.len());
            return Err(CodecError::Damaged { codec: Codec::Vp9, detail });
        }
    }
    Ok(())
}
