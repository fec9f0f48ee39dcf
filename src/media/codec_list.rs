//! Codecs of one kind of media in order of preference.

use super::{Codec, MediaKind, UnknownCodec};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::str::FromStr;

/// The kind of a list of codecs, as a type.
pub trait ListedKind: Clone + fmt::Debug + PartialEq + Eq {
    /// The kind of media.
    const KIND: MediaKind;
    /// All codecs of it, in the order in which calls offer them.
    const ALL: &'static [Codec];
}

/// Sound, as the kind of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sounds;

impl ListedKind for Sounds {
    const KIND: MediaKind = MediaKind::Audio;
    const ALL: &'static [Codec] = &Codec::AUDIO;
}

/// Pictures, as the kind of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pictures;

impl ListedKind for Pictures {
    const KIND: MediaKind = MediaKind::Video;
    const ALL: &'static [Codec] = &Codec::VIDEO;
}

/// Codecs of one kind, the preferred first, at least one and none twice; W3C `setCodecPreferences`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecList<K: ListedKind>(Vec<Codec>, PhantomData<K>);

/// What audio may be coded as.
pub type AudioCodecs = CodecList<Sounds>;
/// What video may be coded as.
pub type VideoCodecs = CodecList<Pictures>;

impl<K: ListedKind> CodecList<K> {
    /// Those of them that fit, in the same order; `None` when there are none.
    pub fn filtered(&self, fits: impl Fn(Codec) -> bool) -> Option<Self> {
        let codecs: Vec<Codec> = self.iter().copied().filter(|codec| fits(*codec)).collect();
        (!codecs.is_empty()).then_some(Self(codecs, PhantomData))
    }

    /// The same with this codec first, if it is among them.
    #[must_use]
    pub fn with_first(&self, first: Codec) -> Self {
        let mut codecs = self.0.clone();
        codecs.sort_by_key(|codec| *codec != first);
        Self(codecs, PhantomData)
    }
}

impl<K: ListedKind> Default for CodecList<K> {
    /// All of them.
    fn default() -> Self {
        Self(K::ALL.to_vec(), PhantomData)
    }
}

impl<K: ListedKind> From<Codec> for CodecList<K> {
    /// One alone. A codec of the other kind stands for all of this.
    fn from(codec: Codec) -> Self {
        if codec.kind() == K::KIND { Self(vec![codec], PhantomData) } else { Self::default() }
    }
}

impl<K: ListedKind> Deref for CodecList<K> {
    type Target = [Codec];

    fn deref(&self) -> &[Codec] {
        &self.0
    }
}

impl<K: ListedKind> fmt::Display for CodecList<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Codec::to_string).collect();
        f.write_str(&names.join(","))
    }
}

/// Why a text is no list of codecs of one kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecListError {
    /// A name of no codec.
    #[error(transparent)]
    Unknown(#[from] UnknownCodec),
    /// A codec of the other kind of media.
    #[error("{codec} is no {wanted} codec: those are {}", names(*wanted))]
    #[expect(missing_docs, reason = "named in the message")]
    OtherKind { codec: Codec, wanted: MediaKind },
    /// A codec that is named again.
    #[error("{0} is named twice")]
    Twice(Codec),
}

fn names(kind: MediaKind) -> String {
    match kind {
        MediaKind::Audio => AudioCodecs::default().to_string(),
        MediaKind::Video => VideoCodecs::default().to_string(),
    }
}

impl<K: ListedKind> FromStr for CodecList<K> {
    type Err = CodecListError;

    /// Names with commas between them.
    fn from_str(text: &str) -> Result<Self, CodecListError> {
        let mut codecs = Vec::new();
        for name in text.split(',') {
            let codec: Codec = name.trim().parse()?;
            if codec.kind() != K::KIND {
                return Err(CodecListError::OtherKind { codec, wanted: K::KIND });
            }
            if codecs.contains(&codec) {
                return Err(CodecListError::Twice(codec));
            }
            codecs.push(codec);
        }
        Ok(Self(codecs, PhantomData))
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
        assert_eq!(*"pcmu,Opus".parse::<AudioCodecs>().unwrap(), [Codec::Pcmu, Codec::Opus]);
        assert_eq!(AudioCodecs::default().to_string(), "Opus,PCMU,PCMA");
    }

    #[test]
    fn what_is_no_list_of_this_kind_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "none of"),
            ("vp9,", "none of"),
            ("vp7", "VP8, VP9"),
            ("opus", "no video codec: those are VP8"),
            ("VP8,vp8", "twice"),
        ] {
            let error = text.parse::<VideoCodecs>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let error = "vp8".parse::<AudioCodecs>().unwrap_err().to_string();
        assert!(error.contains("no audio codec: those are Opus"), "{error}");
    }
}
