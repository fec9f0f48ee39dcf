//! Codecs and formats: what a track carries.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Audio or video; W3C `MediaStreamTrack.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl MediaKind {
    /// `audio` or `video`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A coding format that rtckit encodes, decodes and carries over RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// VP8, RFC 6386, over RTP by RFC 7741.
    Vp8,
    /// VP9 in profile 0 (8 bits, 4:2:0), over RTP by RFC 9628.
    Vp9,
    /// H.264 in Constrained Baseline, over RTP by RFC 6184.
    H264,
    /// AV1 in its Main profile with 8 bits, over RTP by AOMedia's specification.
    Av1,
    /// Opus, RFC 6716, over RTP by RFC 7587.
    Opus,
    /// ITU-T G.711 by the μ-law, over RTP by RFC 3551: telephony in North America and Japan.
    Pcmu,
    /// ITU-T G.711 by the A-law, over RTP by RFC 3551: telephony elsewhere.
    Pcma,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Vp8, Self::Vp9, Self::H264, Self::Av1, Self::Opus, Self::Pcmu, Self::Pcma];
    /// Those that code pictures, in the order in which calls offer them.
    pub const VIDEO: [Self; 4] = [Self::Vp8, Self::Vp9, Self::H264, Self::Av1];
    /// Those that code sound, likewise; RFC 7874 asks for all three.
    pub const AUDIO: [Self; 3] = [Self::Opus, Self::Pcmu, Self::Pcma];

    /// The kind of media it codes.
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => MediaKind::Video,
            Self::Opus | Self::Pcmu | Self::Pcma => MediaKind::Audio,
        }
    }

    /// The RTP media type as SDP and webrtc-stats write it, e.g. `video/VP8`.
    pub const fn mime_type(self) -> &'static str {
        match self {
            Self::Vp8 => "video/VP8",
            Self::Vp9 => "video/VP9",
            Self::H264 => "video/H264",
            Self::Av1 => "video/AV1",
            Self::Opus => "audio/opus",
            Self::Pcmu => "audio/PCMU",
            Self::Pcma => "audio/PCMA",
        }
    }

    /// The codec with this RTP media type; letter case does not matter (RFC 6838).
    pub fn from_mime_type(mime_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.mime_type().eq_ignore_ascii_case(mime_type))
    }

    /// The RTP clock in hertz.
    pub const fn clock_rate(self) -> NonZeroU32 {
        let hertz = match self {
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => 90_000,
            Self::Opus => 48_000,
            Self::Pcmu | Self::Pcma => 8_000,
        };
        NonZeroU32::new(hertz).expect("not zero")
    }

    /// The channels that SDP says a codec of sound has; Opus says two whatever its packets hold (RFC 7587 section 7). None of
    /// pictures.
    pub const fn channels(self) -> Option<u16> {
        match self {
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => None,
            Self::Opus => Some(2),
            Self::Pcmu | Self::Pcma => Some(1),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::Av1 => "AV1",
            Self::Opus => "Opus",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        })
    }
}

/// A name that is no codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is none of {list}", list = Codec::ALL.map(|codec| codec.to_string()).join(", "))]
pub struct UnknownCodec(String);

impl FromStr for Codec {
    type Err = UnknownCodec;

    /// Its name in any letter case, or its RTP media type.
    fn from_str(text: &str) -> Result<Self, UnknownCodec> {
        let named = Self::ALL.into_iter().find(|codec| codec.to_string().eq_ignore_ascii_case(text));
        named.or_else(|| Self::from_mime_type(text)).ok_or_else(|| UnknownCodec(text.to_owned()))
    }
}

/// What pictures show, which decides what an encoder saves on; W3C mst-content-hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ContentHint {
    /// Something that moves, as a camera sees it: smooth before sharp.
    #[default]
    Motion,
    /// A painting or a page that is filmed: sharp before smooth, and what stands still costs nothing.
    Detail,
    /// Text and graphics, as on a screen: the same, by the tools that codecs have for sharp edges and plain areas.
    Text,
}

impl ContentHint {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Motion, Self::Detail, Self::Text];

    /// The word of the standard.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Motion => "motion",
            Self::Detail => "detail",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for ContentHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ContentHint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|hint| hint.as_str() == text);
        found.ok_or_else(|| format!("'{text}' is none of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// Frames per second as an exact fraction, e.g. 30000/1001.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameRate {
    /// Frames in [`denominator`](Self::denominator) seconds.
    pub numerator: NonZeroU32,
    /// Seconds in which [`numerator`](Self::numerator) frames pass.
    pub denominator: NonZeroU32,
}

impl FrameRate {
    /// `numerator / denominator` frames per second; `None` when either is zero.
    pub const fn new(numerator: u32, denominator: u32) -> Option<Self> {
        match (NonZeroU32::new(numerator), NonZeroU32::new(denominator)) {
            (Some(numerator), Some(denominator)) => Some(Self { numerator, denominator }),
            _ => None,
        }
    }

    /// The closest fraction with a denominator of 1 or 1001, else thousandths. `None` outside 0.001 ..= 1000.
    pub fn from_f64(fps: f64) -> Option<Self> {
        if !(0.001..=1000.0).contains(&fps) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked above")]
        let whole = |x: f64| x.round() as u32;
        if (fps - fps.round()).abs() < 1e-6 {
            Self::new(whole(fps), 1)
        } else if (fps * 1.001 - (fps * 1.001).round()).abs() < 5e-4 {
            Self::new(whole(fps * 1.001) * 1000, 1001)
        } else {
            Self::new(whole(fps * 1000.0), 1000)
        }
    }

    /// Frames per second.
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator.get()) / f64::from(self.denominator.get())
    }

    /// The time at which frame `n` is due, counted in ticks of `1 / numerator` seconds: exact, so it never drifts.
    pub fn time_of(self, n: u64) -> super::MediaTime {
        let ticks = i64::try_from(n.saturating_mul(u64::from(self.denominator.get()))).unwrap_or(i64::MAX);
        super::MediaTime::new(ticks, self.numerator)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.denominator.get() == 1 { write!(f, "{}", self.numerator) } else { write!(f, "{:.3}", self.as_f64()) }
    }
}

/// The shape of a raw video track. Pixels are always I420 (see [`I420`](super::I420)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    /// Width in pixels, 1 ..= 16384; odd widths round chroma up.
    pub width: u32,
    /// Height in pixels, 1 ..= 16384; odd heights round chroma up.
    pub height: u32,
    /// Nominal rate; the times of the frames are what counts.
    pub frame_rate: FrameRate,
}

/// The shape of a raw audio track. Samples are interleaved 32-bit floats in -1.0 ..= 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// Samples per second and channel.
    pub sample_rate: NonZeroU32,
    /// 1 is mono, 2 is left, right.
    pub channels: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_rates_keep_their_usual_fractions() {
        assert_eq!(FrameRate::from_f64(30.0), FrameRate::new(30, 1));
        assert_eq!(FrameRate::from_f64(29.97), FrameRate::new(30_000, 1001));
        assert_eq!(FrameRate::from_f64(12.5), FrameRate::new(12_500, 1000));
        assert_eq!(FrameRate::from_f64(f64::NAN), None);
        assert_eq!(FrameRate::from_f64(0.0), None);
    }

    #[test]
    fn ten_hours_of_ntsc_frames_do_not_drift() {
        let rate = FrameRate::new(30_000, 1001).unwrap();
        assert_eq!(rate.time_of(30_000 * 36).seconds(), 1001.0 * 36.0);
    }
}
