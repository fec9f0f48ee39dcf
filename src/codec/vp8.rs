//! VP8 (RFC 6386) by libvpx, with the settings that calls need: constant bitrate, no look-ahead, key frames on demand.

use super::library_video::{LibraryDecoder, LibraryEncoder, library};
use super::settings::{check_size, kilobits};
use super::vpx::{self, Control, Interface};
use super::{BitrateMode, CodecError, EncoderSettings};
use crate::media::{Codec, ContentHint, FrameRate, VideoFormat, vp8_frame_header};

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

fn open(
    width: u32,
    height: u32,
    frame_rate: FrameRate,
    settings: &EncoderSettings,
) -> Result<vpx::Encoder, CodecError> {
    check_size(Codec::Vp8, width, height, MOST_EXTENT)?;
    let bitrate = kilobits(Codec::Vp8, settings.bitrate)?;
    let threads = settings.threads_for(width, height);
    let detail = settings.content == ContentHint::Detail;
    // What follows is what libwebrtc sets for a camera in a call.
    const OPTIMAL_BUFFER_MS: u32 = 600;
    let mut encoder = vpx::Encoder::open(Interface::Vp8, |config| {
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
        config.rc_undershoot_pct = 100;
        config.rc_overshoot_pct = 15;
        config.rc_buf_sz = 1000;
        config.rc_buf_initial_sz = 500;
        config.rc_buf_optimal_sz = OPTIMAL_BUFFER_MS;
        config.kf_mode = vpx_sys::vpx_kf_mode::VPX_KF_DISABLED;
    })
    .map_err(library(Codec::Vp8))?;
    for (control, value) in [
        (Control::CpuUsed, -i32::from(settings.speed.unwrap_or(SPEED).min(16))),
        (Control::NoiseSensitivity, 0),
        (Control::StaticThreshold, if detail { 100 } else { 1 }),
        (Control::ScreenContentMode, i32::from(detail)),
        (Control::TokenPartitions, threads.ilog2().min(3).cast_signed()),
        (Control::MaxIntraBitratePct, vpx::most_intra_percent(OPTIMAL_BUFFER_MS, frame_rate)),
    ] {
        encoder.control(control, value).map_err(library(Codec::Vp8))?;
    }
    Ok(encoder)
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
