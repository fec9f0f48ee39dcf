//! What a video encoder is told besides the shape of its pictures.

use super::CodecError;
use crate::media::{Codec, ContentHint, FrameRate};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How steadily the bitrate is held; W3C mediastream-recording `BitrateMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BitrateMode {
    /// At every moment, as a network path needs it. Pictures may be dropped to hold it.
    #[default]
    Constant,
    /// On average, as a file allows: hard scenes get more. No picture is dropped.
    Variable,
}

impl fmt::Display for BitrateMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Variable => "variable",
        })
    }
}

impl FromStr for BitrateMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Constant, Self::Variable]
            .into_iter()
            .find(|mode| mode.to_string() == text)
            .ok_or_else(|| format!("'{text}' is none of constant, variable"))
    }
}

/// What a video encoder is told besides the shape of its pictures. Later fields may be added: fill up with
/// `..EncoderSettings::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Target in bits per second; also changed at run time by
    /// [`VideoEncoder::set_bitrate`](crate::media::VideoEncoder::set_bitrate).
    pub bitrate: u32,
    /// How steadily it is held.
    pub bitrate_mode: BitrateMode,
    /// What the pictures show.
    pub content: ContentHint,
    /// A key frame at the latest this many pictures after the last; 0: only when asked for.
    pub key_frame_interval_count: u32,
    /// A key frame at the latest this long after the last, by the times of the pictures; zero: only when asked for.
    pub key_frame_interval_duration: Duration,
    /// Whether a picture that is given again waits with the key frame of that duration for the next change, up to a minute:
    /// decoding what stands costs next to nothing, a key frame costs as much as a change of everything.
    pub spares_stills: bool,
    /// Threads to encode with; 0 chooses by picture size and processors (one up to 640x480).
    pub threads: u32,
    /// How much quality is given up for speed, in the codec's own steps, larger is faster (libvpx's and libaom's cpu-used;
    /// openh264 knows 0 ..= 2); `None` is the codec's usual in a call.
    pub speed: Option<u8>,
    /// Fullness of the rate buffer in percent below which pictures are dropped to hold a constant bitrate; 0 never drops
    /// one. H.264 only knows whether.
    pub drop_below: u32,
    /// The most bytes that a NAL unit of H.264 may have, 500 or more: pictures are cut into slices. Other codecs have no such
    /// units.
    pub most_unit_bytes: Option<u32>,
}

impl Default for EncoderSettings {
    /// A call at 1 Mbit/s.
    fn default() -> Self {
        Self {
            bitrate: 1_000_000,
            bitrate_mode: BitrateMode::Constant,
            content: ContentHint::Motion,
            key_frame_interval_count: 0,
            key_frame_interval_duration: Duration::ZERO,
            spares_stills: false,
            threads: 0,
            speed: None,
            drop_below: 30,
            most_unit_bytes: None,
        }
    }
}

impl EncoderSettings {
    /// Whether key frames come by themselves.
    pub(super) fn has_key_frame_interval(&self) -> bool {
        self.key_frame_interval_count > 0 || !self.key_frame_interval_duration.is_zero()
    }

    /// The threshold of dropping as it applies: a variable bitrate drops nothing.
    pub(super) fn drop_threshold(&self) -> u32 {
        if self.bitrate_mode == BitrateMode::Variable { 0 } else { self.drop_below.min(100) }
    }

    /// How the bits are spread over pictures at this rate.
    pub(super) fn rate_control(&self, frame_rate: FrameRate) -> RateControl {
        // A camera never stands still, and every picture may be a fine one. A screen that stands comes to rest at the
        // finest quantiser and costs nothing from then on. Its text cannot be read until it is sharp, so it may be late
        // instead: in a file there is no such thing as late.
        let (finest, initial_ms, optimal_ms, no_limit) = match self.content {
            ContentHint::Motion => (2, 500, 600, false),
            ContentHint::Detail | ContentHint::Text => (12, 1000, 1000, self.bitrate_mode == BitrateMode::Variable),
        };
        // Half of what the buffer holds at its best, but at least three shares.
        #[expect(clippy::cast_possible_truncation, reason = "a float to int cast saturates, and the product is small")]
        let percent = (f64::from(optimal_ms) * 0.5 * frame_rate.as_f64() / 10.0).clamp(300.0, 10_000.0) as i32;
        RateControl { finest, initial_ms, optimal_ms, most_intra_percent: if no_limit { 0 } else { percent } }
    }

    /// Threads for pictures of this size.
    pub(super) fn threads_for(&self, width: u32, height: u32) -> u32 {
        let most = match (self.threads, u64::from(width) * u64::from(height)) {
            (0, ..=307_200) => 1,
            (0, ..=921_600) => 2,
            (0, _) => 4,
            (wanted, _) => return wanted.min(16),
        };
        let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(most));
        cores.min(most)
    }
}

/// How libvpx and libaom spread the bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateControl {
    /// The finest quantiser, of 0 ..= 63. Below 12 the noise of a picture costs more than anybody sees of it.
    pub(super) finest: u32,
    /// What the rate buffer holds at the start, in milliseconds at the target bitrate.
    pub(super) initial_ms: u32,
    /// What it is steered to.
    pub(super) optimal_ms: u32,
    /// The most that a key frame may take, in percent of a frame's share; 0 is no limit.
    pub(super) most_intra_percent: i32,
}

impl RateControl {
    /// The coarsest quantiser.
    pub(super) const COARSEST: u32 = 56;
    /// What the rate buffer holds at most.
    pub(super) const MOST_MS: u32 = 1000;
}

/// Kilobits a second, as libvpx and libaom count, in a range that their arithmetic holds.
pub(super) fn kilobits(codec: Codec, bits_per_second: u32) -> Result<u32, CodecError> {
    match bits_per_second {
        0 => Err(CodecError::Bitrate { codec, bits_per_second }),
        bits => Ok(bits.div_ceil(1000).min(2_000_000)),
    }
}

/// Refuses pictures with an edge beyond `most_extent`, and those that no program should be talked into by a few bytes.
pub(super) fn check_size(codec: Codec, width: u32, height: u32, most_extent: u32) -> Result<(), CodecError> {
    /// 100 MiB of pixels. A decoder holds about five such pictures.
    const MOST_PIXELS: u64 = 8192 * 8192;
    let extents = 1..=most_extent;
    if extents.contains(&width) && extents.contains(&height) && u64::from(width) * u64::from(height) <= MOST_PIXELS {
        Ok(())
    } else {
        Err(CodecError::Size { codec, width, height })
    }
}
