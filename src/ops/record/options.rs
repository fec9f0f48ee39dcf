//! What is recorded, as what, and for how long.

use crate::codec::BitrateMode;
use crate::error::{Error, ErrorKind};
use crate::media::{Codec, ContentHint, MediaKind};
use crate::ops::destination::Destination;
use crate::ops::media::{AudioEncoding, SourceOptions, VideoEncoding};
use crate::record::{ChunkPattern, Container, Existing, MimeType};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

/// The streams of the process, given by the binary.
#[derive(Default)]
pub struct Io {
    /// Where a source called `-` reads.
    pub input: Option<Box<dyn Read + Send>>,
    /// Where an output called `-` writes.
    pub output: Option<Box<dyn Write + Send>>,
}

/// Where a recording goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A file.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// A file for every timeslice, each of which plays alone.
    Chunks(ChunkPattern),
}

impl From<Destination> for Output {
    fn from(destination: Destination) -> Self {
        match destination {
            Destination::File(path) => Self::File(path),
            Destination::Stdout => Self::Stdout,
        }
    }
}

/// What is asked of a recording; mediastream-recording `MediaRecorderOptions`, and when it ends.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is recorded.
    pub sources: SourceOptions,
    /// Where to.
    pub output: Output,
    /// What to do with an output that exists.
    pub existing: Existing,
    /// Container and codecs; without it by the name of the output.
    pub mime_type: Option<MimeType>,
    /// Target for the audio.
    pub audio_bits_per_second: Option<u32>,
    /// Target for the video.
    pub video_bits_per_second: Option<u32>,
    /// Target for both together, for what the other two leave open.
    pub bits_per_second: Option<u32>,
    /// Whether the packets of audio are all of one size.
    pub audio_bitrate_mode: BitrateMode,
    /// A key frame whenever so much time has passed since the last.
    pub video_key_frame_interval_duration: Option<Duration>,
    /// A key frame after so many frames since the last.
    pub video_key_frame_interval_count: Option<u32>,
    /// The length of the slices that it is handed out in, each told of by an event.
    pub timeslice: Option<Duration>,
    /// How much is recorded; pauses do not count.
    pub duration: Option<Duration>,
    /// The recording ends before it is longer, in bytes.
    pub max_size: Option<u64>,
}

/// A shorter one would be all key frame and header.
const SHORTEST_SLICE: Duration = Duration::from_millis(100);
/// How far key frames are apart unless something else is asked for: how much a player decodes for nothing after a seek.
const KEY_FRAME_INTERVAL: Duration = Duration::from_secs(5);

impl Options {
    /// A recording to `output` that does nothing yet.
    pub fn new(output: impl Into<Output>) -> Self {
        Self {
            sources: SourceOptions::default(),
            output: output.into(),
            existing: Existing::default(),
            mime_type: None,
            audio_bits_per_second: None,
            video_bits_per_second: None,
            bits_per_second: None,
            audio_bitrate_mode: BitrateMode::Variable,
            video_key_frame_interval_duration: None,
            video_key_frame_interval_count: None,
            timeslice: None,
            duration: None,
            max_size: None,
        }
    }

    /// Container and codecs as far as they are asked for.
    ///
    /// # Errors
    /// When neither the options nor the name of the output tell the container.
    pub(super) fn asked_type(&self) -> Result<MimeType, Error> {
        let path = match (&self.mime_type, &self.output) {
            (Some(mime_type), _) => return Ok(*mime_type),
            (None, Output::Stdout) => return Ok(MimeType::of(Container::WebM)),
            (None, Output::File(path)) => path.clone(),
            (None, Output::Chunks(pattern)) => pattern.path(1),
        };
        Container::of_path(&path).map(MimeType::of).ok_or_else(|| {
            let message = format!("the name {} does not tell what to record as", path.display());
            let names: Vec<_> = Container::ALL.iter().map(|container| container.extensions()[0]).collect();
            Error::new(ErrorKind::Usage, "usage", message)
                .with_hint(format!("give a MIME type, or an extension: {}", names.join(", ")))
        })
    }

    /// Whether what is asked for fits together.
    pub(super) fn check(&self) -> Result<(), Error> {
        let usage = |message: &str| Err(Error::new(ErrorKind::Usage, "usage", message));
        if !self.sources.any() {
            return usage("nothing to record: give a video or an audio source");
        }
        let rates = [self.audio_bits_per_second, self.video_bits_per_second, self.bits_per_second];
        if rates.contains(&Some(0)) {
            return usage("zero bits per second are too few");
        }
        if self.timeslice.is_some_and(|slice| slice < SHORTEST_SLICE) {
            return usage("a timeslice is 100 ms at least");
        }
        if self.timeslice.is_none() && matches!(self.output, Output::Chunks(_)) {
            return usage("a pattern for chunks needs a timeslice: how long is a chunk?");
        }
        self.asked_type().map(|_| ())
    }

    /// How video is encoded, beside sound or alone.
    pub(super) fn video_encoding(&self, codec: Codec, beside_audio: bool, content_hint: ContentHint) -> VideoEncoding {
        let by_default = self.video_key_frame_interval_count.is_none();
        let interval = self.video_key_frame_interval_duration.or(by_default.then_some(KEY_FRAME_INTERVAL));
        VideoEncoding {
            bitrate: self.share(MediaKind::Video, beside_audio),
            bitrate_mode: BitrateMode::Variable,
            content_hint,
            key_frame_interval_duration: interval,
            spares_stills: self.video_key_frame_interval_duration.is_none(),
            key_frame_interval_count: self.video_key_frame_interval_count,
            may_drop: false,
            ..VideoEncoding::live(codec)
        }
    }

    /// How audio is encoded, beside pictures or alone.
    pub(super) fn audio_encoding(&self, codec: Codec, beside_video: bool) -> AudioEncoding {
        AudioEncoding {
            bitrate: self.share(MediaKind::Audio, beside_video),
            bitrate_mode: self.audio_bitrate_mode,
            ..AudioEncoding::new(codec)
        }
    }

    /// Whether raw media of this kind would have to be encoded in a certain way, so that encoded media cannot pass as it is.
    pub(super) fn shapes(&self, kind: MediaKind) -> bool {
        match kind {
            MediaKind::Video => {
                self.video_bits_per_second.is_some()
                    || self.video_key_frame_interval_duration.is_some()
                    || self.video_key_frame_interval_count.is_some()
            }
            MediaKind::Audio => self.audio_bits_per_second.is_some(),
        }
    }

    /// The target of one kind: its own, or its part of that of both. Audio gets a tenth, 16 to 128 kbit/s.
    fn share(&self, kind: MediaKind, both: bool) -> Option<u32> {
        let (own, other) = match kind {
            MediaKind::Video => (self.video_bits_per_second, self.audio_bits_per_second),
            MediaKind::Audio => (self.audio_bits_per_second, self.video_bits_per_second),
        };
        let divide = |all: u32| {
            let for_audio = (all / 10).clamp(16_000, 128_000).min(all / 2);
            match (both, other, kind) {
                (false, ..) => all,
                (true, Some(other), _) => all.saturating_sub(other).max(1000),
                (true, None, MediaKind::Audio) => for_audio,
                (true, None, MediaKind::Video) => all - for_audio,
            }
        };
        own.or(self.bits_per_second.map(divide))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_of_both_is_shared_and_own_targets_win() {
        let options = |audio, video, both| Options {
            audio_bits_per_second: audio,
            video_bits_per_second: video,
            bits_per_second: both,
            ..Options::new(Destination::Stdout)
        };
        let shares = |options: &Options| [MediaKind::Audio, MediaKind::Video].map(|kind| options.share(kind, true));
        assert_eq!(shares(&options(None, None, None)), [None, None]);
        assert_eq!(shares(&options(None, None, Some(1_000_000))), [Some(100_000), Some(900_000)]);
        assert_eq!(shares(&options(None, None, Some(20_000_000))), [Some(128_000), Some(19_872_000)]);
        assert_eq!(shares(&options(Some(64_000), None, Some(1_000_000))), [Some(64_000), Some(936_000)]);
        assert_eq!(shares(&options(Some(64_000), Some(500_000), Some(1))), [Some(64_000), Some(500_000)]);
        assert_eq!(options(None, None, Some(96_000)).share(MediaKind::Audio, false), Some(96_000));
    }

    #[test]
    fn the_container_is_asked_for_or_told_by_the_name() {
        let mut options = Options::new(Destination::File("a.mkv".into()));
        assert_eq!(options.asked_type().unwrap().container, Container::Matroska);
        options.mime_type = Some(MimeType::of(Container::WebM));
        assert_eq!(options.asked_type().unwrap().container, Container::WebM);
        options = Options::new(Destination::File("a".into()));
        assert_eq!(options.asked_type().unwrap_err().kind(), ErrorKind::Usage);
    }
}
