//! What a recording is, in the words of `MediaRecorder.mimeType`: a container and its codecs (RFC 6381, RFC 9559).

use crate::error::{Classify, ErrorKind};
use crate::media::{Codec, MediaKind};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The containers that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Container {
    /// WebM.
    WebM,
    /// Matroska, RFC 9559.
    Matroska,
    /// Ogg, RFC 3533 and RFC 7845: Opus alone.
    Ogg,
    /// WAV: samples as they are, 16 bits each.
    Wav,
}

impl Container {
    /// All of them.
    pub const ALL: &[Self] = &[Self::WebM, Self::Matroska, Self::Ogg, Self::Wav];

    /// Media subtypes that mean it; the first is what we call it.
    const fn subtypes(self) -> &'static [&'static str] {
        match self {
            Self::WebM => &["webm"],
            // RFC 9559 registers the first; browsers say the second.
            Self::Matroska => &["matroska", "x-matroska"],
            Self::Ogg => &["ogg"],
            Self::Wav => &["wav", "x-wav", "wave", "vnd.wave"],
        }
    }

    /// File name extensions that mean it, in lower case.
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::WebM => &["webm", "weba"],
            Self::Matroska => &["mkv", "mka"],
            Self::Ogg => &["ogg", "opus", "oga"],
            Self::Wav => &["wav"],
        }
    }

    /// Codecs that it may hold, those that are used by default first.
    pub const fn codecs(self) -> &'static [Codec] {
        match self {
            Self::WebM => &[Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus],
            Self::Matroska => &[Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264, Codec::Opus],
            Self::Ogg => &[Codec::Opus],
            Self::Wav => &[],
        }
    }

    /// Whether it can hold a track of this codec.
    pub fn holds(self, codec: Codec) -> bool {
        self.codecs().contains(&codec)
    }

    /// Whether it can hold media of this kind at all, encoded or not.
    pub fn holds_kind(self, kind: MediaKind) -> bool {
        self.default_codec(kind).is_some() || (self == Self::Wav && kind == MediaKind::Audio)
    }

    /// What it holds of this kind unless something else is asked for; `None` where it holds none.
    pub fn default_codec(self, kind: MediaKind) -> Option<Codec> {
        self.codecs().iter().copied().find(|codec| codec.kind() == kind)
    }

    /// The container that the extension of this name stands for.
    pub fn of_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Self::ALL.iter().copied().find(|container| container.extensions().contains(&extension.as_str()))
    }
}

/// Codecs by the words of RFC 6381: the first word of each is what we call it; what follows a dot are profile and level.
const CODEC_WORDS: &[(Codec, &[&str])] = &[
    (Codec::Vp8, &["vp8"]),
    (Codec::Vp9, &["vp9", "vp09"]),
    (Codec::Av1, &["av1", "av01"]),
    (Codec::H264, &["h264", "avc1", "avc3"]),
    (Codec::Opus, &["opus"]),
];

/// What samples as they are are called in a WAV file: the format tag of RFC 2361, and the word.
const PCM_WORDS: [&str; 2] = ["1", "pcm"];

/// The codec that an element of a `codecs` parameter means.
fn codec_of(word: &str) -> Option<Codec> {
    let family = word.split('.').next().unwrap_or(word);
    CODEC_WORDS.iter().find(|(_, words)| words.iter().any(|known| known.eq_ignore_ascii_case(family))).map(|(c, _)| *c)
}

fn word_of(codec: Codec) -> &'static str {
    CODEC_WORDS.iter().find(|(known, _)| *known == codec).map_or("", |(_, words)| words[0])
}

/// A type that we can record: a container, and the codecs that were named.
///
/// Text forms are those of `MediaRecorder`: `video/webm`, `video/webm;codecs=vp8,opus`, `audio/webm; codecs="opus"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MimeType {
    /// The container.
    pub container: Container,
    /// Whether it is an `audio/` type.
    pub audio_only: bool,
    /// The video codec, if one is named.
    pub video: Option<Codec>,
    /// The audio codec, if one is named.
    pub audio: Option<Codec>,
}

/// Why a text is no type that we can record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot record '{text}': {why}")]
pub struct MimeTypeError {
    text: String,
    why: String,
}

impl Classify for MimeTypeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }

    fn name(&self) -> &'static str {
        "NotSupportedError"
    }

    fn hint(&self) -> Option<String> {
        let types: Vec<String> = Container::ALL
            .iter()
            .map(|&container| {
                let first = |kind| container.default_codec(kind);
                MimeType {
                    container,
                    audio_only: first(MediaKind::Video).is_none(),
                    video: first(MediaKind::Video),
                    audio: first(MediaKind::Audio),
                }
                .to_string()
            })
            .collect();
        Some(format!("what can be recorded is for example {}", types.join(", ")))
    }
}

impl MimeType {
    /// This container with whatever codecs fit.
    pub const fn of(container: Container) -> Self {
        Self { container, audio_only: false, video: None, audio: None }
    }

    /// The codec that is named for this kind.
    pub const fn named(&self, kind: MediaKind) -> Option<Codec> {
        match kind {
            MediaKind::Video => self.video,
            MediaKind::Audio => self.audio,
        }
    }

    /// Whether media of this kind belongs in it: where codecs are named, those of its kinds alone.
    pub fn holds(&self, kind: MediaKind) -> bool {
        let none_named = self.video.is_none() && self.audio.is_none();
        self.container.holds_kind(kind)
            && (none_named || self.named(kind).is_some())
            && !(self.audio_only && kind == MediaKind::Video)
    }

    /// Whether the text is a type that we can record: `MediaRecorder.isTypeSupported`. As there, the empty text is.
    pub fn is_supported(text: &str) -> bool {
        text.is_empty() || text.parse::<Self>().is_ok()
    }
}

impl FromStr for MimeType {
    type Err = MimeTypeError;

    fn from_str(text: &str) -> Result<Self, MimeTypeError> {
        let fail = |why: String| MimeTypeError { text: text.to_owned(), why };
        let mut parts = text.split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let (top, sub) = essence.split_once('/').ok_or_else(|| fail("it is no media type".to_owned()))?;
        let container = Container::ALL.iter().copied().find(|container| container.subtypes().contains(&sub));
        let container = container.ok_or_else(|| fail(format!("'{sub}' is no container that we write")))?;
        let audio_only = match top {
            "audio" => true,
            "video" if container.holds_kind(MediaKind::Video) => false,
            _ => return Err(fail(format!("there is no {top}/{sub}"))),
        };
        let mut found = Self { container, audio_only, video: None, audio: None };
        for parameter in parts {
            let Some((name, value)) = parameter.split_once('=') else {
                return Err(fail(format!("'{}' is no parameter", parameter.trim())));
            };
            if !name.trim().eq_ignore_ascii_case("codecs") {
                continue;
            }
            for word in value.trim().trim_matches('"').split(',').map(str::trim) {
                if container == Container::Wav && PCM_WORDS.contains(&word) {
                    continue;
                }
                let codec = codec_of(word).ok_or_else(|| fail(format!("'{word}' is no codec of ours")))?;
                if !container.holds(codec) || (audio_only && codec.kind() == MediaKind::Video) {
                    return Err(fail(format!("{essence} does not hold {codec}")));
                }
                let slot = match codec.kind() {
                    MediaKind::Video => &mut found.video,
                    MediaKind::Audio => &mut found.audio,
                };
                if slot.replace(codec).is_some() {
                    return Err(fail(format!("it names two codecs for {}", codec.kind())));
                }
            }
        }
        Ok(found)
    }
}

impl fmt::Display for MimeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let top = if self.audio_only { "audio" } else { "video" };
        write!(f, "{top}/{}", self.container.subtypes()[0])?;
        let words: Vec<&str> = [self.video, self.audio].into_iter().flatten().map(word_of).collect();
        if words.is_empty() { Ok(()) } else { write!(f, ";codecs={}", words.join(",")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_as_browsers_write_them() {
        for (text, canonical) in [
            ("video/webm", "video/webm"),
            ("video/webm;codecs=vp8,opus", "video/webm;codecs=vp8,opus"),
            ("Video/WebM; Codecs=\"opus, VP8\"", "video/webm;codecs=vp8,opus"),
            ("video/webm;codecs=vp8.0", "video/webm;codecs=vp8"),
            ("video/webm;codecs=vp09.00.10.08", "video/webm;codecs=vp9"),
            ("audio/webm;codecs=opus", "audio/webm;codecs=opus"),
            ("video/x-matroska;codecs=vp8", "video/matroska;codecs=vp8"),
            ("audio/ogg; codecs=opus", "audio/ogg;codecs=opus"),
            ("audio/wav;codecs=1", "audio/wav"),
            ("audio/vnd.wave", "audio/wav"),
        ] {
            let parsed: MimeType = text.parse().unwrap();
            assert_eq!(parsed.to_string(), canonical);
            assert_eq!(canonical.parse::<MimeType>().unwrap(), parsed);
        }
    }

    #[test]
    fn what_cannot_be_recorded_is_refused_with_its_reason() {
        for (text, why) in [
            ("webm", "no media type"),
            ("video/quicktime", "'quicktime' is no container"),
            ("text/webm", "no text/webm"),
            ("video/ogg", "no video/ogg"),
            ("audio/ogg;codecs=vp8", "does not hold VP8"),
            ("audio/wav;codecs=opus", "does not hold Opus"),
            ("video/webm;codecs=theora", "'theora' is no codec"),
            ("audio/webm;codecs=vp8", "does not hold VP8"),
            ("video/webm;codecs=vp8,vp8", "two codecs for video"),
            ("video/webm;codecs", "no parameter"),
            ("video/webm;codecs=", "'' is no codec"),
        ] {
            let error = text.parse::<MimeType>().unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert_eq!((error.kind(), error.name()), (ErrorKind::InvalidInput, "NotSupportedError"));
            assert!(!MimeType::is_supported(text));
        }
        assert!(MimeType::is_supported(""), "as the standard has it");
    }

    #[test]
    fn names_of_files_tell_their_container() {
        let of = |name: &str| Container::of_path(Path::new(name));
        assert_eq!(
            [of("a.webm"), of("b/c.MKV"), of("a"), of("a.txt")],
            [Some(Container::WebM), Some(Container::Matroska), None, None]
        );
    }

    #[test]
    fn every_codec_of_a_container_has_a_word() {
        for container in Container::ALL {
            assert!(container.codecs().iter().all(|codec| codec_of(word_of(*codec)) == Some(*codec)));
        }
    }
}
