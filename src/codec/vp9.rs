//! VP9 in profile 0 by libvpx, with the settings that calls need: constant bitrate, no look-ahead, one layer, key frames on
//! demand.

use super::library_video::{LibraryDecoder, LibraryEncoder, library};
use super::settings::{check_size, kilobits};
use super::vpx::{self, Control, Interface};
use super::{BitrateMode, CodecError, EncoderSettings};
use crate::media::{Codec, ContentHint, FrameRate, VideoFormat, vp9_frame_header, vp9_frames};

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

fn open(
    width: u32,
    height: u32,
    frame_rate: FrameRate,
    settings: &EncoderSettings,
) -> Result<vpx::Encoder, CodecError> {
    check_size(Codec::Vp9, width, height, MOST_EXTENT)?;
    let bitrate = kilobits(Codec::Vp9, settings.bitrate)?;
    let threads = settings.threads_for(width, height);
    let detail = settings.content == ContentHint::Detail;
    let small = u64::from(width) * u64::from(height) <= 352 * 288;
    let speed = settings.speed.unwrap_or(if small { SPEED_SMALL } else { SPEED }).min(9);
    const OPTIMAL_BUFFER_MS: u32 = 600;
    let mut encoder = vpx::Encoder::open(Interface::Vp9, |config| {
        config.g_profile = 0;
        config.g_w = width;
        config.g_h = height;
        config.g_threads = threads;
        config.g_timebase = vpx::TIMEBASE;
        config.g_error_resilient = 0;
        config.g_pass = vpx_sys::vpx_enc_pass::VPX_RC_ONE_PASS;
        config.g_lag_in_frames = 0;
        config.rc_dropframe_thresh = settings.drop_threshold();
        config.rc_resize_allowed = 0;
        config.rc_end_usage = match settings.bitrate_mode {
            BitrateMode::Constant => vpx_sys::vpx_rc_mode::VPX_CBR,
            BitrateMode::Variable => vpx_sys::vpx_rc_mode::VPX_VBR,
        };
        config.rc_target_bitrate = bitrate;
        config.rc_min_quantizer = 2;
        config.rc_max_quantizer = 56;
        config.rc_undershoot_pct = 50;
        config.rc_overshoot_pct = 50;
        config.rc_buf_sz = 1000;
        config.rc_buf_initial_sz = 500;
        config.rc_buf_optimal_sz = OPTIMAL_BUFFER_MS;
        config.kf_mode = vpx_sys::vpx_kf_mode::VPX_KF_DISABLED;
    })
    .map_err(library(Codec::Vp9))?;
    const CYCLIC_REFRESH: i32 = 3;
    for (control, value) in [
        (Control::CpuUsed, i32::from(speed)),
        (Control::NoiseSensitivityVp9, 0),
        (Control::StaticThreshold, 1),
        (Control::TuneContent, i32::from(detail)),
        (Control::AqMode, CYCLIC_REFRESH),
        (Control::TileColumns, threads.ilog2().min(6).cast_signed()),
        (Control::RowMt, i32::from(threads > 1)),
        // Contexts that adapt from frame to frame save bits; a lost frame needs a key frame anyway.
        (Control::FrameParallelDecoding, 0),
        (Control::MaxIntraBitratePct, vpx::most_intra_percent(OPTIMAL_BUFFER_MS, frame_rate)),
    ] {
        encoder.control(control, value).map_err(library(Codec::Vp9))?;
    }
    Ok(encoder)
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
