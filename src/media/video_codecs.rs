//! Video codecs in order of preference.

use super::{Codec, MediaKind, UnknownCodec};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

/// Video codecs, the preferred first, at least one and none twice; W3C `setCodecPreferences`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoCodecs(Vec<Codec>);

impl VideoCodecs {
    /// Those of them that fit, in the same order; `None` when there are none.
    pub fn filtered(&self, fits: impl Fn(Codec) -> bool) -> Option<Self> {
        let codecs: Vec<Codec> = self.iter().copied().filter(|codec| fits(*codec)).collect();
        (!codecs.is_empty()).then_some(Self(codecs))
    }
}

impl Default for VideoCodecs {
    /// All of them.
    fn default() -> Self {
        Self(Codec::VIDEO.to_vec())
    }
}

impl From<Codec> for VideoCodecs {
    /// One alone. An audio codec stands for all of video.
    fn from(codec: Codec) -> Self {
        if codec.kind() == MediaKind::Video { Self(vec![codec]) } else { Self::default() }
    }
}

impl Deref for VideoCodecs {
    type Target = [Codec];

    fn deref(&self) -> &[Codec] {
        &self.0
    }
}

impl fmt::Display for VideoCodecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Codec::to_string).collect();
        f.write_str(&names.join(","))
    }
}

/// Why a text is no list of video codecs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VideoCodecsError {
    /// A name of no codec.
    #[error(transparent)]
    Unknown(#[from] UnknownCodec),
    /// A codec of sound.
    #[error("{0} is no video codec: those are {all}", all = VideoCodecs::default())]
    NotVideo(Codec),
    /// A codec that is named again.
    #[error("{0} is named twice")]
    Twice(Codec),
}

impl FromStr for VideoCodecs {
    type Err = VideoCodecsError;

    /// Names with commas between them.
    fn from_str(text: &str) -> Result<Self, VideoCodecsError> {
        let mut codecs = Vec::new();
        for name in text.split(',') {
            let codec: Codec = name.trim().parse()?;
            if codec.kind() != MediaKind::Video {
                return Err(VideoCodecsError::NotVideo(codec));
            }
            if codecs.contains(&codec) {
                return Err(VideoCodecsError::Twice(codec));
            }
            codecs.push(codec);
        }
        Ok(Self(codecs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_written_and_keeps_its_order() {
        let codecs: VideoCodecs = "vp9, video/VP8".parse().unwrap();
        assert_eq!(*codecs, [Codec::Vp9, Codec::Vp8]);
        assert_eq!(codecs.to_string(), "VP9,VP8");
        assert_eq!(VideoCodecs::default().to_string().parse(), Ok(VideoCodecs::default()));
    }

    #[test]
    fn what_is_no_list_of_video_codecs_is_refused_with_the_reason() {
        for (text, reason) in
            [("", "none of"), ("vp9,", "none of"), ("vp7", "VP8, VP9"), ("opus", "no video"), ("VP8,vp8", "twice")]
        {
            let error = text.parse::<VideoCodecs>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
