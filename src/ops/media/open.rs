//! The sources that a user named, opened.

use super::shifted::Shifted;
use super::{changed, decoded_audio, decoded_video, sound};
use crate::capture::screen::ScreenOptions;
use crate::capture::{self, OpenOptions, SourceSpec, Wanted};
use crate::error::{Error, ErrorKind};
use crate::filter::{FarEnd, FilterList, Volume};
use crate::media::{
    AudioConstraints, AudioInput, AudioSettings, Codec, ContentHint, DeviceSalt, MediaInput, MediaTime,
    VideoConstraints, VideoInput, VideoSettings,
};
use std::io::Read;
use std::time::Instant;

/// Which sources, and what is asked of them.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceOptions {
    /// The video source.
    pub video: SourceSpec,
    /// The audio source.
    pub audio: SourceSpec,
    /// What the video should be like.
    pub video_constraints: VideoConstraints,
    /// What the audio should be like.
    pub audio_constraints: AudioConstraints,
    /// Whether files begin again when they end.
    pub repeat: bool,
    /// What device IDs are made with.
    pub salt: DeviceSalt,
    /// Whether synthetic media comes as fast as it is used instead of live.
    pub unpaced: bool,
    /// What is done to the pictures. Encoded video is decoded for it.
    pub filter: FilterList,
    /// How loud the sound is made. Encoded audio is decoded for any but the full volume.
    pub volume: Volume,
    /// How a screen or window is captured.
    pub screen: ScreenOptions,
    /// What the pictures show; without it as far as their source tells. `MediaStreamTrack.contentHint`.
    pub content_hint: Option<ContentHint>,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            video: SourceSpec::None,
            audio: SourceSpec::None,
            video_constraints: VideoConstraints::default(),
            audio_constraints: AudioConstraints::default(),
            repeat: false,
            salt: DeviceSalt::default(),
            unpaced: false,
            filter: FilterList::default(),
            volume: Volume::FULL,
            screen: ScreenOptions::default(),
            content_hint: None,
        }
    }
}

impl SourceOptions {
    /// Whether there is anything to open.
    pub fn any(&self) -> bool {
        self.video != SourceSpec::None || self.audio != SourceSpec::None
    }

    /// Whether one of them is standard input.
    pub fn reads_stdin(&self) -> bool {
        self.video == SourceSpec::Stdin || self.audio == SourceSpec::Stdin
    }

    fn open(
        &self,
        spec: &SourceSpec,
        wanted: Wanted,
        how: OpenOptions,
        far_end: Option<&FarEnd>,
    ) -> Result<MediaInput, Error> {
        if let Some(opened) = sound::open(spec, wanted, &self.audio_constraints, &self.salt, how.origin, far_end) {
            let (audio, settings) = opened?;
            return Ok(MediaInput {
                audio: Some(changed::audio(audio, self.volume)?),
                audio_settings: Some(settings),
                ..MediaInput::default()
            });
        }
        let input = capture::open(spec, wanted, &self.video_constraints, &self.audio_constraints, how)
            .map_err(|error| Error::from(error).at("open"))?;
        Ok(MediaInput {
            video: input.video.map(|video| changed::video(video, &self.filter)).transpose()?,
            audio: input.audio.map(|audio| changed::audio(audio, self.volume)).transpose()?,
            ..input
        })
    }

    fn how(&self, origin: Instant) -> OpenOptions {
        OpenOptions {
            repeat: self.repeat,
            salt: self.salt,
            stdin: None,
            screen: self.screen.clone(),
            origin,
            unpaced: self.unpaced,
        }
    }

    /// Whether what is asked for fits together.
    fn check(&self) -> Result<(), Error> {
        let usage = |message: &str| Err(Error::new(ErrorKind::Usage, "usage", message));
        if !self.filter.is_empty() && self.video == SourceSpec::None {
            return usage("there is no video to filter");
        }
        if self.volume != Volume::FULL && self.audio == SourceSpec::None {
            return usage("there is no audio whose volume could be changed");
        }
        Ok(())
    }

    fn open_both(
        &self,
        mut stdin: Option<Box<dyn Read + Send>>,
        far_end: Option<&FarEnd>,
        origin: Instant,
    ) -> Result<MediaInput, Error> {
        self.check()?;
        let mut open = |spec: &SourceSpec, wanted: Wanted| {
            let stdin = if *spec == SourceSpec::Stdin { stdin.take() } else { None };
            self.open(spec, wanted, OpenOptions { stdin, ..self.how(origin) }, far_end)
        };
        if self.video == self.audio {
            return open(&self.video, Wanted { video: true, audio: true });
        }
        let MediaInput { video, video_settings, .. } = open(&self.video, Wanted { video: true, audio: false })?;
        let MediaInput { audio, audio_settings, .. } = open(&self.audio, Wanted { video: false, audio: true })?;
        Ok(MediaInput { video, audio, video_settings, audio_settings })
    }
}

/// Opened sources.
pub(in crate::ops) struct Inputs {
    pub(in crate::ops) video: Option<VideoInput>,
    pub(in crate::ops) audio: Option<AudioInput>,
    pub(in crate::ops) video_settings: Option<VideoSettings>,
    pub(in crate::ops) audio_settings: Option<AudioSettings>,
    options: SourceOptions,
    far_end: Option<FarEnd>,
    /// Where the times of live sources count from.
    opened: Instant,
}

/// Opens further sources like those of an operation. Blocks.
pub(super) struct Opener {
    options: SourceOptions,
    far_end: Option<FarEnd>,
}

impl Opener {
    /// A video source on the timeline that began at `origin`.
    pub(super) fn video(
        &self,
        spec: &SourceSpec,
        constraints: VideoConstraints,
        origin: Instant,
    ) -> Result<MediaInput, Error> {
        let options = SourceOptions { video_constraints: constraints, ..self.options.clone() };
        options.open(spec, Wanted { video: true, audio: false }, options.how(origin), None)
    }

    /// The same for sound.
    pub(super) fn audio(
        &self,
        spec: &SourceSpec,
        constraints: AudioConstraints,
        origin: Instant,
    ) -> Result<MediaInput, Error> {
        let options = SourceOptions { audio_constraints: constraints, ..self.options.clone() };
        options.open(spec, Wanted { video: false, audio: true }, options.how(origin), self.far_end.as_ref())
    }
}

impl Inputs {
    /// Opens what `options` name, on a thread that may block. Once a device is open, it is running.
    pub(in crate::ops) async fn open(
        options: SourceOptions,
        stdin: Option<Box<dyn Read + Send>>,
    ) -> Result<Self, Error> {
        Self::open_beside(options, stdin, None).await
    }

    /// The same for a conversation: of a microphone the voice is processed where nobody wants it otherwise, and what `far_end`
    /// is told to have been played is taken out of it.
    pub(in crate::ops) async fn open_for_conversation(
        options: SourceOptions,
        stdin: Option<Box<dyn Read + Send>>,
        far_end: FarEnd,
    ) -> Result<Self, Error> {
        Self::open_beside(options, stdin, Some(far_end)).await
    }

    async fn open_beside(
        options: SourceOptions,
        stdin: Option<Box<dyn Read + Send>>,
        far_end: Option<FarEnd>,
    ) -> Result<Self, Error> {
        let opening = tokio::task::spawn_blocking(move || {
            let opened = Instant::now();
            let MediaInput { video, audio, video_settings, audio_settings } =
                options.open_both(stdin, far_end.as_ref(), opened)?;
            Ok(Self { video, audio, video_settings, audio_settings, options, far_end, opened })
        });
        opening.await.unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "OperationError", error.to_string())))
    }

    /// The same with what is encoded decoded, so that another source can take its place.
    pub(in crate::ops) async fn decoded(self) -> Result<Self, Error> {
        let inputs = self.with_video_decoded().await?;
        Ok(Self { audio: inputs.audio.map(decoded_audio).transpose()?, ..inputs })
    }

    /// The same with pictures that can be encoded anew.
    pub(in crate::ops) async fn with_video_decoded(self) -> Result<Self, Error> {
        let decoding = tokio::task::spawn_blocking(move || {
            let video = self.video.map(decoded_video).transpose()?;
            Ok(Self { video, ..self })
        });
        decoding.await.unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "OperationError", error.to_string())))
    }

    /// Whether one of them comes at its own pace, to which the others then keep.
    pub(in crate::ops) fn is_live(&self) -> bool {
        matches!(self.video, Some(VideoInput::Raw { live: true, .. }))
            || matches!(self.audio, Some(AudioInput::Raw { live: true, .. }))
    }

    /// What opens more sources like these.
    pub(super) fn opener(&self) -> Opener {
        Opener { options: self.options.clone(), far_end: self.far_end.clone() }
    }

    /// What the video may be coded as: what is `preferred` if it still has to be encoded, else what it is. Empty without
    /// video.
    ///
    /// # Errors
    /// When it is encoded already, as none of `preferred`.
    pub(in crate::ops) fn video_codecs(&self, preferred: &[Codec]) -> Result<Vec<Codec>, Error> {
        match &self.video {
            None => Ok(Vec::new()),
            Some(VideoInput::Raw { .. }) => Ok(preferred.to_vec()),
            Some(VideoInput::Encoded { codec, .. }) if preferred.contains(codec) => Ok(vec![*codec]),
            Some(VideoInput::Encoded { codec, .. }) => {
                let names: Vec<_> = preferred.iter().map(Codec::to_string).collect();
                let message = format!("{} is {codec}, which is not among {}", self.options.video, names.join(", "));
                Err(Error::new(ErrorKind::InvalidInput, "NotSupportedError", message).at("open"))
            }
        }
    }

    /// What the pictures show.
    pub(in crate::ops) fn content_hint(&self) -> ContentHint {
        self.options.content_hint.unwrap_or(match self.options.video {
            SourceSpec::Screen(_) | SourceSpec::Window(_) => ContentHint::Text,
            _ => ContentHint::Motion,
        })
    }

    /// The same on the operation's timeline, which begins at `origin`, not with its preparation. The synthetic sources begin
    /// anew with it; devices go on, and their times count from it.
    pub(in crate::ops) fn begun_at(mut self, origin: Instant) -> Result<Self, Error> {
        let begun = MediaTime::from(origin.saturating_duration_since(self.opened));
        let anew = |wanted| {
            self.options.open(&SourceSpec::Test, wanted, OpenOptions { origin, ..OpenOptions::default() }, None)
        };
        if self.options.video == SourceSpec::Test {
            self.video = anew(Wanted { video: true, audio: false })?.video;
        } else if let Some(VideoInput::Raw { format, live: true, source }) = self.video {
            let shifted = match self.options.video {
                SourceSpec::Screen(_) | SourceSpec::Window(_) => Shifted::standing(source, begun),
                _ => Shifted::new(source, begun),
            };
            self.video = Some(VideoInput::Raw { format, live: true, source: Box::new(shifted) });
        }
        if self.options.audio == SourceSpec::Test {
            self.audio = anew(Wanted { video: false, audio: true })?.audio;
        } else if let Some(AudioInput::Raw { format, live: true, source }) = self.audio {
            let source = Box::new(Shifted::new(source, begun));
            self.audio = Some(AudioInput::Raw { format, live: true, source });
        }
        Ok(self)
    }
}
