//! VP8 (RFC 6386) by libvpx, with the settings that calls need: constant bitrate, no look-ahead, key frames on demand.

use super::settings::kilobits;
use super::vpx::{self, Control, VpxError};
use super::{BitrateMode, CodecError, EncoderSettings};
use crate::error::Error;
use crate::media::{
    Codec, ContentHint, EncodedFrame, FramePool, FrameRate, MediaTime, VideoDecoder, VideoEncoder, VideoFormat,
    VideoFrame, vp8_frame_header,
};
use bytes::Bytes;

/// 14 bits hold the extent of a VP8 frame.
const MOST_EXTENT: u32 = 16_383;
/// 100 MiB of pixels. A decoder holds about five such pictures.
const MOST_PIXELS: u64 = 8192 * 8192;
/// libvpx's cpu-used, negated.
const SPEED: u8 = 8;

fn check_size(width: u32, height: u32) -> Result<(), CodecError> {
    let extents = 1..=MOST_EXTENT;
    if extents.contains(&width) && extents.contains(&height) && u64::from(width) * u64::from(height) <= MOST_PIXELS {
        Ok(())
    } else {
        Err(CodecError::Size { codec: Codec::Vp8, width, height })
    }
}

fn library(error: VpxError) -> CodecError {
    CodecError::Library { codec: Codec::Vp8, detail: error.to_string() }
}

fn damaged(detail: impl Into<String>) -> CodecError {
    CodecError::Damaged { codec: Codec::Vp8, detail: detail.into() }
}

/// Encodes VP8 in real time.
///
/// A key frame comes first, after a change of size, and when asked for; never else. With frame dropping on (see
/// [`EncoderSettings::drop_below`]) a picture may give no frame.
pub struct Vp8Encoder {
    encoder: vpx::Encoder,
    settings: EncoderSettings,
    frame_rate: FrameRate,
    width: u32,
    height: u32,
    last: Option<MediaTime>,
    pts: i64,
    /// A key frame was asked for and has not come yet.
    key: bool,
}

impl Vp8Encoder {
    /// An encoder for pictures of `format`. Pictures of other sizes are taken too, each change at the cost of a key frame.
    ///
    /// # Errors
    /// [`CodecError::Size`] beyond 16383 pixels an edge or 64 Mi pixels; [`CodecError::Bitrate`] for 0.
    pub fn new(format: &VideoFormat, settings: EncoderSettings) -> Result<Self, CodecError> {
        let (width, height) = (format.width, format.height);
        let encoder = open(width, height, format.frame_rate, &settings)?;
        let frame_rate = format.frame_rate;
        Ok(Self { encoder, settings, frame_rate, width, height, last: None, pts: 0, key: true })
    }

    /// Ticks from the last picture to this one, for the rate control. Times that stand still or go back, as looped files
    /// have them, count as one frame; a pause counts as a second, for libvpx averages over it.
    fn step(&self, time: MediaTime) -> i64 {
        let clock = Codec::Vp8.clock_rate();
        let nominal = self.frame_rate.time_of(1).rescale(clock).ticks().clamp(1, i64::from(clock.get()));
        match self.last {
            None => 0,
            Some(last) => match time.rescale(clock).minus(last.rescale(clock)).ticks() {
                ..=0 => nominal,
                ticks => ticks.min(i64::from(clock.get())),
            },
        }
    }
}

fn open(
    width: u32,
    height: u32,
    frame_rate: FrameRate,
    settings: &EncoderSettings,
) -> Result<vpx::Encoder, CodecError> {
    check_size(width, height)?;
    let bitrate = kilobits(Codec::Vp8, settings.bitrate)?;
    let threads = settings.threads_for(width, height);
    let detail = settings.content == ContentHint::Detail;
    // What follows is what libwebrtc sets for a camera in a call.
    const OPTIMAL_BUFFER_MS: u32 = 600;
    let mut encoder = vpx::Encoder::open(|config| {
        config.g_w = width;
        config.g_h = height;
        config.g_threads = threads;
        config.g_timebase = vpx_sys::vpx_rational { num: 1, den: 90_000 };
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
    .map_err(library)?;
    // A key frame may take half the optimal buffer, in percent of a frame's share, but at least three shares.
    #[expect(clippy::cast_possible_truncation, reason = "a float to int cast saturates, and the product is small")]
    let intra = (f64::from(OPTIMAL_BUFFER_MS) * 0.5 * frame_rate.as_f64() / 10.0).clamp(300.0, 10_000.0) as i32;
    for (control, value) in [
        (Control::CpuUsed, -i32::from(settings.speed.unwrap_or(SPEED).min(16))),
        (Control::NoiseSensitivity, 0),
        (Control::StaticThreshold, if detail { 100 } else { 1 }),
        (Control::ScreenContentMode, i32::from(detail)),
        (Control::TokenPartitions, threads.ilog2().min(3).cast_signed()),
        (Control::MaxIntraBitratePct, intra),
    ] {
        encoder.control(control, value).map_err(library)?;
    }
    Ok(encoder)
}

impl VideoEncoder for Vp8Encoder {
    fn codec(&self) -> Codec {
        Codec::Vp8
    }

    fn encode(&mut self, frame: &VideoFrame, key: bool, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error> {
        let (width, height) = (frame.width(), frame.height());
        if (width, height) != (self.width, self.height) {
            self.encoder = open(width, height, self.frame_rate, &self.settings)?;
            (self.width, self.height, self.key) = (width, height, true);
        }
        self.key |= key;
        let step = self.step(frame.time);
        self.pts += step;
        self.last = Some(frame.time);
        let duration = u32::try_from(step.max(1)).unwrap_or(1);
        let wanted = &mut self.key;
        self.encoder
            .encode(&frame.picture, self.pts, duration, *wanted, |packet| {
                *wanted &= !packet.key;
                out(EncodedFrame {
                    codec: Codec::Vp8,
                    time: frame.time,
                    key: packet.key,
                    data: Bytes::copy_from_slice(packet.data),
                });
            })
            .map_err(library)?;
        Ok(())
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), Error> {
        if bits_per_second != self.settings.bitrate {
            let kilobits = kilobits(Codec::Vp8, bits_per_second)?;
            self.encoder.reconfigure(|config| config.rc_target_bitrate = kilobits).map_err(library)?;
            self.settings.bitrate = bits_per_second;
        }
        Ok(())
    }
}

/// Decodes VP8. Pictures come from a pool of its own.
///
/// After damage it refuses everything up to the next key frame, so it never shows a picture built on a damaged one.
pub struct Vp8Decoder {
    decoder: vpx::Decoder,
    pool: FramePool,
    needs_key: bool,
}

impl Vp8Decoder {
    /// A decoder that waits for its first key frame.
    ///
    /// # Errors
    /// When libvpx has no memory or no VP8.
    pub fn new() -> Result<Self, CodecError> {
        let decoder = vpx::Decoder::open(1).map_err(library)?;
        Ok(Self { decoder, pool: FramePool::new(), needs_key: true })
    }

    /// Refuses what would cost more memory than its bytes can justify.
    fn check(&self, data: &[u8]) -> Result<(), CodecError> {
        let header = vp8_frame_header(data).ok_or_else(|| damaged("no frame header"))?;
        let (Some(width), Some(height)) = (header.width, header.height) else {
            return if self.needs_key { Err(CodecError::NeedsKey { codec: Codec::Vp8 }) } else { Ok(()) };
        };
        check_size(width, height)?;
        // The prediction modes of a macroblock cost more than two bits of a key frame, whatever is in it.
        let macroblocks = u64::from(width.div_ceil(16)) * u64::from(height.div_ceil(16));
        if (data.len() as u64) < macroblocks / 8 {
            return Err(damaged(format!("{} bytes cannot hold {width}x{height} pixels", data.len())));
        }
        Ok(())
    }
}

impl VideoDecoder for Vp8Decoder {
    fn decode(&mut self, frame: &EncodedFrame, out: &mut dyn FnMut(VideoFrame)) -> Result<(), Error> {
        if frame.codec != Codec::Vp8 {
            return Err(CodecError::WrongCodec { codec: Codec::Vp8, found: frame.codec }.into());
        }
        if let Err(error) = self.check(&frame.data) {
            self.needs_key = true;
            return Err(error.into());
        }
        self.needs_key = true;
        let mut picture = None;
        self.decoder
            .decode(&frame.data, &self.pool, |shown| picture = Some(shown))
            .map_err(|error| damaged(error.to_string()))?;
        if self.decoder.corrupted() {
            return Err(damaged("its data ends early").into());
        }
        self.needs_key = false;
        if let Some(picture) = picture {
            out(VideoFrame::new(frame.time, picture));
        }
        Ok(())
    }
}
