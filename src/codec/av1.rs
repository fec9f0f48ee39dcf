//! AV1 in its Main profile with 8 bits, by libaom in real-time mode, with the settings that calls need: constant bitrate, no
//! look-ahead, one layer, key frames on demand. A frame is a temporal unit without its delimiter.

use super::aom::{self, Control};
use super::library_video::{LibraryDecoder, LibraryEncoder, library};
use super::settings::{RateControl, check_size, kilobits};
use super::{BitrateMode, CodecError, EncoderSettings};
use crate::media::av1::{av1_frame_header, temporal_unit};
use crate::media::{Codec, ContentHint, VideoFormat};
use libaom_sys as sys;

/// As large as pictures get elsewhere here; the format would go on to 65536.
const MOST_EXTENT: u32 = 16_384;
/// libaom's cpu-used.
const SPEED: u8 = 10;

/// An encoder for pictures of `format`.
pub(super) fn encoder(
    format: &VideoFormat,
    settings: EncoderSettings,
) -> Result<LibraryEncoder<aom::Encoder>, CodecError> {
    Ok(LibraryEncoder::new(Codec::Av1, open, format, settings)?.reframed_by(temporal_unit))
}

/// A decoder that waits for its first key frame.
pub(super) fn decoder() -> Result<LibraryDecoder<aom::Decoder>, CodecError> {
    let decoder = aom::Decoder::open(1).map_err(library(Codec::Av1))?;
    Ok(LibraryDecoder::new(Codec::Av1, decoder, check))
}

fn open(format: &VideoFormat, settings: &EncoderSettings) -> Result<aom::Encoder, CodecError> {
    let VideoFormat { width, height, frame_rate } = *format;
    check_size(Codec::Av1, width, height, MOST_EXTENT)?;
    let bitrate = kilobits(Codec::Av1, settings.bitrate)?;
    let threads = settings.threads_for(width, height);
    let text = settings.content == ContentHint::Text;
    let rate = settings.rate_control(frame_rate);
    let mut encoder = aom::Encoder::open(|config| {
        config.g_profile = 0;
        config.g_w = width;
        config.g_h = height;
        config.g_threads = threads;
        config.g_timebase = aom::TIMEBASE;
        config.g_error_resilient = 0;
        config.g_pass = sys::AOM_RC_ONE_PASS;
        config.g_lag_in_frames = 0;
        config.rc_dropframe_thresh = settings.drop_threshold();
        config.rc_end_usage = match settings.bitrate_mode {
            BitrateMode::Constant => sys::AOM_CBR,
            BitrateMode::Variable => sys::AOM_VBR,
        };
        config.rc_target_bitrate = bitrate;
        config.rc_min_quantizer = rate.finest;
        config.rc_max_quantizer = RateControl::COARSEST;
        config.rc_undershoot_pct = 50;
        config.rc_overshoot_pct = 50;
        config.rc_buf_sz = RateControl::MOST_MS;
        config.rc_buf_initial_sz = rate.initial_ms;
        config.rc_buf_optimal_sz = rate.optimal_ms;
        config.kf_mode = sys::AOM_KF_DISABLED;
    })
    .map_err(library(Codec::Av1))?;
    const CYCLIC_REFRESH: i32 = 3;
    const SELDOM: i32 = 3;
    for (control, value) in [
        (Control::CpuUsed, i32::from(settings.speed.unwrap_or(SPEED).min(11))),
        (Control::AqMode, CYCLIC_REFRESH),
        (
            Control::MaxIntraBitratePct,
            if settings.content == ContentHint::Motion { 300 } else { rate.most_intra_percent },
        ),
        (Control::TuneContent, i32::from(text)),
        (Control::Palette, i32::from(text)),
        (Control::TileColumns, threads.ilog2().min(6).cast_signed()),
        (Control::RowMt, i32::from(threads > 1)),
        (Control::Cdef, 1),
        (Control::CoefficientCostUpdates, SELDOM),
        (Control::ModeCostUpdates, SELDOM),
        (Control::MotionVectorCostUpdates, SELDOM),
        // What costs more time than it saves bits, without a look into the future.
        (Control::TplModel, 0),
        (Control::DeltaQMode, 0),
        (Control::OrderHint, 0),
        (Control::Obmc, 0),
        (Control::WarpedMotion, 0),
        (Control::GlobalMotion, 0),
        (Control::ReferenceFrameMotionVectors, 0),
        (Control::IntraBlockCopy, 0),
    ] {
        encoder.control(control, value).map_err(library(Codec::Av1))?;
    }
    Ok(encoder)
}

/// Refuses what would cost more memory than its bytes can justify, and what has more than 8 bits or other chroma.
fn check(data: &[u8]) -> Result<(), CodecError> {
    let Some(sequence) = av1_frame_header(data).and_then(|header| header.sequence) else { return Ok(()) };
    let damaged = |detail: String| CodecError::Damaged { codec: Codec::Av1, detail };
    if sequence.profile != 0 || sequence.high_bit_depth {
        return Err(damaged("only 8 bits and 4:2:0 are supported".to_owned()));
    }
    let (width, height) = (sequence.width, sequence.height);
    check_size(Codec::Av1, width, height, MOST_EXTENT)?;
    // A frame of one colour takes about two thirds of a bit for each block of 64x64 pixels.
    let blocks = u64::from(width.div_ceil(64)) * u64::from(height.div_ceil(64));
    if (data.len() as u64) < blocks / 64 {
        return Err(damaged(format!("{} bytes cannot hold {width}x{height} pixels", data.len())));
    }
    Ok(())
}
