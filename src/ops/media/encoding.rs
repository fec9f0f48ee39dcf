//! How raw media is to be encoded, in words that hold for every codec.

use crate::codec::{AudioEncoderSettings, BitrateMode, EncoderSettings};
use crate::media::{Codec, ContentHint, VideoFormat};
use std::time::Duration;

/// How pictures are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoEncoding {
    /// The codec.
    pub codec: Codec,
    /// Bits per second; without it a default for the size and rate of the pictures.
    pub bitrate: Option<u32>,
    /// Whether bits are spread evenly or where they are needed.
    pub bitrate_mode: BitrateMode,
    /// What the pictures are for.
    pub content_hint: ContentHint,
    /// A key frame whenever so much time has passed since the last; mediastream-recording's
    /// `videoKeyFrameIntervalDuration`.
    pub key_frame_interval_duration: Option<Duration>,
    /// A key frame after so many frames since the last; mediastream-recording's `videoKeyFrameIntervalCount`.
    pub key_frame_interval_count: Option<u32>,
    /// Whether a picture that stands waits with its key frame for the next change, up to a minute.
    pub spares_stills: bool,
    /// Whether the encoder may leave out pictures to hold its bitrate.
    pub may_drop: bool,
    /// The most bytes of a NAL unit, where the other side takes each in one packet; H.264 only.
    pub most_unit_bytes: Option<u32>,
}

impl VideoEncoding {
    /// As calls want it: an even bitrate, pictures left out rather than late, key frames only when asked for.
    pub const fn live(codec: Codec) -> Self {
        Self {
            codec,
            bitrate: None,
            bitrate_mode: BitrateMode::Constant,
            content_hint: ContentHint::Motion,
            key_frame_interval_duration: None,
            key_frame_interval_count: None,
            spares_stills: false,
            may_drop: true,
            most_unit_bytes: None,
        }
    }

    /// What the encoder is told for pictures of this shape.
    pub(super) fn settings(&self, format: &VideoFormat) -> EncoderSettings {
        let defaults = EncoderSettings::default();
        EncoderSettings {
            bitrate: self.bitrate.unwrap_or_else(|| default_bitrate(format)),
            bitrate_mode: self.bitrate_mode,
            content: self.content_hint,
            key_frame_interval_count: self.key_frame_interval_count.unwrap_or(0),
            key_frame_interval_duration: self.key_frame_interval_duration.unwrap_or_default(),
            spares_stills: self.spares_stills,
            drop_below: if self.may_drop { defaults.drop_below } else { 0 },
            most_unit_bytes: self.most_unit_bytes,
            ..defaults
        }
    }
}

/// A bitrate for video of this shape: 0.07 bit per pixel, so 650 kbit/s at 640x480 and 1.9 Mbit/s at 1280x720, 30
/// pictures a second each.
fn default_bitrate(format: &VideoFormat) -> u32 {
    let pixels_per_second = f64::from(format.width) * f64::from(format.height) * format.frame_rate.as_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 32 bits")]
    let rate = (pixels_per_second * 0.07).clamp(100_000.0, 8_000_000.0) as u32;
    rate
}

/// How sound is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioEncoding {
    /// The codec.
    pub codec: Codec,
    /// Bits per second; without it the codec's default.
    pub bitrate: Option<u32>,
    /// Whether all packets are of one size.
    pub bitrate_mode: BitrateMode,
}

impl AudioEncoding {
    /// As the codec has it by default.
    pub const fn new(codec: Codec) -> Self {
        Self { codec, bitrate: None, bitrate_mode: BitrateMode::Variable }
    }

    pub(super) fn settings(&self) -> AudioEncoderSettings {
        let defaults = AudioEncoderSettings::default();
        AudioEncoderSettings {
            bitrate: self.bitrate.unwrap_or(defaults.bitrate),
            bitrate_mode: self.bitrate_mode,
            ..defaults
        }
    }
}
