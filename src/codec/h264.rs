//! H.264 in Constrained Baseline by OpenH264, with the settings that calls need: constant bitrate, one slice unless units are
//! to be small, key frames on demand. Frames are access units of a byte stream; each key frame begins with its parameter sets.
//!
//! Pictures are of an even width and height: 4:2:0 cannot be cropped to odd ones (ITU-T H.264 section 7.4.2.1.1), so the last
//! column or row of others is left out, as browsers do.
#![allow(unsafe_code)] // The bitrate of a running encoder can only be set through its raw interface.

use super::picture_clock::PictureClock;
use super::settings::check_size;
use super::{BitrateMode, CodecError, EncoderSettings};
use crate::error::Error;
use crate::media::h264::{h264_sequence, nal, nal_units};
use crate::media::{
    Codec, ContentHint, EncodedFrame, FramePool, FrameRate, I420, VideoDecoder, VideoEncoder, VideoFormat, VideoFrame,
    frame_header,
};
use openh264::decoder::{DecodedYUV, Decoder};
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameType, IntraFramePeriod, Profile, QpRange, RateControlMode,
    UsageType,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};
use openh264_sys2::{
    ENCODER_OPTION_BITRATE, ENCODER_OPTION_MAX_BITRATE, ENCODER_OPTION_TRACE_LEVEL, SPATIAL_LAYER_0, SPATIAL_LAYER_ALL,
    TagBitrateInfo, WELS_LOG_QUIET,
};

/// What OpenH264 encodes at most, either way round, and at least (level 5.2).
const MOST_EXTENTS: (u32, u32) = (3840, 2160);
const LEAST_EXTENT: u32 = 16;
/// What it decodes at most.
const MOST_DECODED_EXTENT: u32 = 8192;
/// Bits per second that its arithmetic holds.
const BITRATES: std::ops::RangeInclusive<u32> = 10_000..=240_000_000;
/// What a slice must at least be allowed: a macroblock and its headers.
const LEAST_UNIT_BYTES: u32 = 500;
/// Steps of speed: 2 is the fastest.
const SPEED: u8 = 2;

fn library(error: &openh264::Error) -> CodecError {
    CodecError::Library { codec: Codec::H264, detail: error.to_string() }
}

fn check_extents(width: u32, height: u32) -> Result<(), CodecError> {
    let (long, short) = (width.max(height), width.min(height));
    if short >= LEAST_EXTENT && long <= MOST_EXTENTS.0 && short <= MOST_EXTENTS.1 {
        Ok(())
    } else {
        Err(CodecError::Size { codec: Codec::H264, width, height })
    }
}

fn checked_bitrate(bits_per_second: u32) -> Result<u32, CodecError> {
    match bits_per_second {
        0 => Err(CodecError::Bitrate { codec: Codec::H264, bits_per_second }),
        bits => Ok(bits.clamp(*BITRATES.start(), *BITRATES.end())),
    }
}

/// Encodes in real time. A key frame comes first, after a change of size, and when asked for; never else. With frame dropping
/// on (see [`EncoderSettings::drop_below`]) a picture may give no frame.
pub(super) struct H264Encoder {
    encoder: Encoder,
    settings: EncoderSettings,
    frame_rate: FrameRate,
    size: (u32, u32),
    clock: PictureClock,
    /// Whether the encoder is initialised, which its first picture does.
    running: bool,
    /// A key frame was asked for and has not come yet.
    key: bool,
}

impl H264Encoder {
    /// An encoder for pictures of `format`. Pictures of other sizes are taken too, each change at the cost of a key frame.
    pub(super) fn new(format: &VideoFormat, settings: EncoderSettings) -> Result<Self, CodecError> {
        check_extents(format.width, format.height)?;
        let encoder = open(format.frame_rate, &settings)?;
        Ok(Self {
            encoder,
            settings,
            frame_rate: format.frame_rate,
            size: (format.width, format.height),
            clock: PictureClock::new(format.frame_rate),
            running: false,
            key: true,
        })
    }

    fn reopen(&mut self) -> Result<(), CodecError> {
        self.encoder = open(self.frame_rate, &self.settings)?;
        (self.running, self.key) = (false, true);
        Ok(())
    }
}

fn open(frame_rate: FrameRate, settings: &EncoderSettings) -> Result<Encoder, CodecError> {
    let bitrate = checked_bitrate(settings.bitrate)?;
    let (rate_control, qp) = match settings.bitrate_mode {
        BitrateMode::Constant => (RateControlMode::Bitrate, QpRange::new(12, 51)),
        BitrateMode::Variable => (RateControlMode::Quality, QpRange::new(12, 42)),
    };
    #[expect(clippy::cast_possible_truncation, reason = "a frame rate does not need more than 24 bits")]
    let frames_per_second = frame_rate.as_f64() as f32;
    let config = EncoderConfig::new()
        .bitrate(BitRate::from_bps(bitrate))
        .max_frame_rate(openh264::encoder::FrameRate::from_hz(frames_per_second))
        .rate_control_mode(rate_control)
        .qp(qp)
        .skip_frames(settings.drop_threshold() > 0)
        .usage_type(match settings.content {
            ContentHint::Motion | ContentHint::Detail => UsageType::CameraVideoRealTime,
            ContentHint::Text => UsageType::ScreenContentRealTime,
        })
        .complexity(match settings.speed.unwrap_or(SPEED) {
            0 => Complexity::High,
            1 => Complexity::Medium,
            _ => Complexity::Low,
        })
        .profile(Profile::Baseline)
        // It would make key frames that nobody asked for.
        .scene_change_detect(false)
        .intra_frame_period(IntraFramePeriod::from_num_frames(0))
        .num_threads(1);
    let config = match settings.most_unit_bytes {
        Some(bytes) => config.max_slice_len(bytes.max(LEAST_UNIT_BYTES)),
        None => config,
    };
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config).map_err(|error| library(&error))?;
    let mut quiet = WELS_LOG_QUIET;
    // SAFETY: this option is one of those that may be set before the encoder is initialised, and reads one integer. The
    // crate only sets it afterwards, when warnings have gone to stderr already.
    unsafe { encoder.raw_api().set_option(ENCODER_OPTION_TRACE_LEVEL, (&raw mut quiet).cast()) };
    Ok(encoder)
}

/// The even part of a picture.
struct Even<'a>(&'a I420);

impl YUVSource for Even<'_> {
    fn dimensions(&self) -> (usize, usize) {
        ((self.0.width() & !1) as usize, (self.0.height() & !1) as usize)
    }

    fn strides(&self) -> (usize, usize, usize) {
        let chroma = self.0.chroma_width() as usize;
        (self.0.width() as usize, chroma, chroma)
    }

    fn y(&self) -> &[u8] {
        self.0.planes()[0]
    }

    fn u(&self) -> &[u8] {
        self.0.planes()[1]
    }

    fn v(&self) -> &[u8] {
        self.0.planes()[2]
    }
}

impl VideoEncoder for H264Encoder {
    fn codec(&self) -> Codec {
        Codec::H264
    }

    fn encode(&mut self, frame: &VideoFrame, key: bool, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error> {
        let size = (frame.width(), frame.height());
        if size != self.size {
            check_extents(size.0, size.1)?;
            self.size = size;
            self.reopen()?;
        }
        self.key |= key;
        let (time, _) = self.clock.advance(frame.time);
        let time = Timestamp::from_millis(time.unsigned_abs() / 90);
        if self.key && self.running {
            self.encoder.force_intra_frame();
        }
        let picture = Even(&frame.picture);
        let encoded = self.encoder.encode_at(&picture, time).map_err(|error| library(&error))?;
        self.running = true;
        if matches!(encoded.frame_type(), FrameType::Skip | FrameType::Invalid) {
            return Ok(());
        }
        let is_key = encoded.frame_type() == FrameType::IDR;
        let data = encoded.to_vec();
        self.key &= !is_key;
        if !data.is_empty() {
            out(EncodedFrame { codec: Codec::H264, time: frame.time, key: is_key, data: data.into() });
        }
        Ok(())
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), Error> {
        if bits_per_second == self.settings.bitrate {
            return Ok(());
        }
        let bitrate = checked_bitrate(bits_per_second)?;
        if !self.running {
            self.settings.bitrate = bits_per_second;
            return Ok(self.reopen()?);
        }
        let rises = bits_per_second > std::mem::replace(&mut self.settings.bitrate, bits_per_second);
        let bitrate = i32::try_from(bitrate).unwrap_or(i32::MAX);
        // The greatest bitrate is one of the layer, and must not be below the target at any time.
        let most = (ENCODER_OPTION_MAX_BITRATE, TagBitrateInfo { iLayer: SPATIAL_LAYER_0, iBitrate: bitrate });
        let target = (ENCODER_OPTION_BITRATE, TagBitrateInfo { iLayer: SPATIAL_LAYER_ALL, iBitrate: bitrate });
        for (option, mut info) in if rises { [most, target] } else { [target, most] } {
            // SAFETY: the encoder is initialised, and both options read one such structure, which they do not keep.
            let code = unsafe { self.encoder.raw_api().set_option(option, (&raw mut info).cast()) };
            if code != 0 {
                let detail = format!("it refuses {bits_per_second} bits per second (code {code})");
                return Err(CodecError::Library { codec: Codec::H264, detail }.into());
            }
        }
        Ok(())
    }
}

/// Decodes Constrained Baseline, and of Main and High what OpenH264 can. Pictures come from a pool of its own.
///
/// After damage it refuses everything up to the next key frame, so it never shows a picture built on a damaged one.
pub(super) struct H264Decoder {
    decoder: Decoder,
    pool: FramePool,
    needs_key: bool,
}

impl H264Decoder {
    /// A decoder that waits for its first key frame.
    pub(super) fn new() -> Result<Self, CodecError> {
        let decoder = Decoder::new().map_err(|error| library(&error))?;
        Ok(Self { decoder, pool: FramePool::new(), needs_key: true })
    }

    fn admit(&self, data: &[u8]) -> Result<(), CodecError> {
        let damaged = |detail: String| CodecError::Damaged { codec: Codec::H264, detail };
        let header = frame_header(Codec::H264, data).ok_or_else(|| damaged("no picture".to_owned()))?;
        if self.needs_key && !header.key {
            return Err(CodecError::NeedsKey { codec: Codec::H264 });
        }
        for unit in nal_units(data).filter(|unit| nal::kind(unit[0]) == nal::SPS) {
            let sequence = h264_sequence(unit).ok_or_else(|| damaged("a damaged sequence parameter set".to_owned()))?;
            if (sequence.chroma_format, sequence.bit_depth) != (1, 8) {
                return Err(damaged("only 8 bits and 4:2:0 are supported".to_owned()));
            }
            let (width, height) = (sequence.width, sequence.height);
            check_size(Codec::H264, width, height, MOST_DECODED_EXTENT)?;
            // A macroblock of one colour takes about six bits of a key frame, and less with arithmetic coding.
            let macroblocks = u64::from(width.div_ceil(16)) * u64::from(height.div_ceil(16));
            if (data.len() as u64) < macroblocks / 64 {
                return Err(damaged(format!("{} bytes cannot hold {width}x{height} pixels", data.len())));
            }
        }
        Ok(())
    }
}

impl VideoDecoder for H264Decoder {
    fn decode(&mut self, frame: &EncodedFrame, out: &mut dyn FnMut(VideoFrame)) -> Result<(), Error> {
        if frame.codec != Codec::H264 {
            return Err(CodecError::WrongCodec { codec: Codec::H264, found: frame.codec }.into());
        }
        let admitted = self.admit(&frame.data);
        let needed_key = std::mem::replace(&mut self.needs_key, true);
        admitted?;
        if needed_key {
            // What is left of damage would come out with the key frame.
            *self = Self { pool: self.pool.clone(), ..Self::new()? };
        }
        let damaged = |detail: String| CodecError::Damaged { codec: Codec::H264, detail };
        let decoded = self.decoder.decode(&frame.data).map_err(|error| damaged(error.to_string()))?;
        if let Some(decoded) = decoded {
            let picture = copy(&decoded, &self.pool).ok_or_else(|| damaged("a picture without pixels".to_owned()))?;
            out(VideoFrame::new(frame.time, picture));
        }
        self.needs_key = false;
        Ok(())
    }
}

/// The picture without the decoder's borders.
fn copy(decoded: &DecodedYUV<'_>, pool: &FramePool) -> Option<I420> {
    let (width, height) = decoded.dimensions();
    let mut picture = pool.take(u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let (luma, cb, cr) = decoded.strides();
    let widths = [width, width.div_ceil(2), width.div_ceil(2)];
    let planes = [(decoded.y(), luma), (decoded.u(), cb), (decoded.v(), cr)];
    for ((to, width), (from, stride)) in picture.planes_mut().into_iter().zip(widths).zip(planes) {
        for (to, from) in to.chunks_exact_mut(width.max(1)).zip(from.chunks(stride.max(1))) {
            to.copy_from_slice(from.get(..width)?);
        }
    }
    Some(picture)
}
