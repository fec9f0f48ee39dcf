//! Commands to the tracks of a running operation: mute, unmute, stop, replaceTrack, state.

use super::decoded::{RawAudio, RawVideo};
use super::open::{Inputs, Opener};
use super::shifted::Shifted;
use super::switch::{Blank, Company, Switched, TrackSwitch, Vacancy};
use super::threads::Pace;
use crate::capture::{self, SourceSpec};
use crate::error::{Error, ErrorKind};
use crate::filter::Resampler;
use crate::media::{
    AudioFormat, AudioFrame, AudioSettings, Constraint, MediaKind, MediaStreamConstraints, ResizeMode, Source,
    VideoConstraints, VideoFormat, VideoFrame, VideoSettings,
};
use crate::ops::control::Request;
use crate::pipeline::Clock;
use crate::progress::Progress;
use crate::stop::Stop;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// The size of the pictures of a source that takes the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Fit {
    /// As it is.
    Own,
    /// Cropped and scaled to that of the source before.
    Same,
}

/// The hands on the tracks of an operation.
pub(in crate::ops) struct Tracks {
    video: Option<Track<VideoFrame, VideoFormat, VideoSettings>>,
    audio: Option<Track<AudioFrame, AudioFormat, AudioSettings>>,
    shared: Arc<Shared>,
    /// Replacements that are being opened.
    opening: JoinSet<()>,
}

/// A track: what it is, and what it is set to.
struct Track<T, Format, Settings> {
    switch: TrackSwitch<T>,
    format: Format,
    settings: Arc<Mutex<Settings>>,
}

impl<T, Format: Copy, Settings> Clone for Track<T, Format, Settings> {
    fn clone(&self) -> Self {
        let Self { switch, format, settings } = self;
        Self { switch: switch.clone(), format: *format, settings: Arc::clone(settings) }
    }
}

struct Shared {
    opener: Opener,
    clock: Clock,
    fit: Fit,
    company: Company,
    progress: Arc<dyn Progress>,
}

impl Tracks {
    /// What commands about tracks are called.
    pub(in crate::ops) const COMMANDS: [&str; 5] = ["mute", "unmute", "stop", "replaceTrack", "state"];

    /// None yet. Replacements are opened like `inputs`, on the timeline of `clock`.
    pub(in crate::ops) fn new(
        inputs: &Inputs,
        clock: Clock,
        fit: Fit,
        vacancy: Vacancy,
        progress: Arc<dyn Progress>,
    ) -> Self {
        let company = Company::new(vacancy);
        let shared = Arc::new(Shared { opener: inputs.opener(), clock, fit, company, progress });
        Self { video: None, audio: None, shared, opening: JoinSet::new() }
    }

    /// Puts a hand on the video, which has its pace already.
    pub(in crate::ops) fn video(
        &mut self,
        source: Box<dyn Source<VideoFrame>>,
        format: VideoFormat,
        settings: VideoSettings,
    ) -> Box<dyn Source<VideoFrame>> {
        let (track, source) = self.shared.track(source, MediaKind::Video, format, settings);
        self.video = Some(track);
        source
    }

    /// Puts a hand on the audio, which has its pace already.
    pub(in crate::ops) fn audio(
        &mut self,
        source: Box<dyn Source<AudioFrame>>,
        format: AudioFormat,
        settings: AudioSettings,
    ) -> Box<dyn Source<AudioFrame>> {
        let (track, source) = self.shared.track(source, MediaKind::Audio, format, settings);
        self.audio = Some(track);
        source
    }

    /// What the video is set to now.
    pub(in crate::ops) fn video_settings(&self) -> Option<VideoSettings> {
        self.video.as_ref().map(Track::settings)
    }

    /// What the audio is set to now.
    pub(in crate::ops) fn audio_settings(&self) -> Option<AudioSettings> {
        self.audio.as_ref().map(Track::settings)
    }

    /// Why a source failed whose place is still kept. Each failure is told once.
    pub(in crate::ops) fn failure(&self) -> Option<Error> {
        let video = self.video.as_ref().and_then(|track| track.switch.take_failure());
        video.or_else(|| self.audio.as_ref().and_then(|track| track.switch.take_failure()))
    }

    /// Obeys a command, and answers it when it is done. `others` are the commands that the operation knows besides.
    pub(in crate::ops) fn obey(&mut self, request: Request, others: &[&str]) {
        if !Self::COMMANDS.contains(&request.command.as_str()) {
            return request.refuse(&[&Self::COMMANDS, others].concat());
        }
        let (video, audio) = match self.meant(&request.arguments) {
            Ok((video, audio)) => (self.video.clone().filter(|_| video), self.audio.clone().filter(|_| audio)),
            Err(error) => return request.answer(Err(error)),
        };
        let mute = |muted| {
            video.iter().for_each(|track| track.switch.mute(muted));
            audio.iter().for_each(|track| track.switch.mute(muted));
        };
        match request.command.as_str() {
            "replaceTrack" => return self.replace(request, video, audio),
            "mute" => mute(true),
            "unmute" => mute(false),
            "stop" => {
                video.iter().for_each(|track| track.switch.stop());
                audio.iter().for_each(|track| track.switch.stop());
            }
            _ => {}
        }
        let video = video.iter().map(|track| track.state(MediaKind::Video));
        let tracks: Vec<Value> = video.chain(audio.iter().map(|track| track.state(MediaKind::Audio))).collect();
        request.answer(Ok(json!({ "tracks": tracks })));
    }

    /// Which tracks a command is about, video and audio: those of its `kind`, else all.
    fn meant(&self, arguments: &Map<String, Value>) -> Result<(bool, bool), Error> {
        let (video, audio) = match arguments.get("kind").map(Value::as_str) {
            None => (true, true),
            Some(Some("video")) => (true, false),
            Some(Some("audio")) => (false, true),
            Some(_) => return Err(wrong("TypeError", "'kind' is \"video\" or \"audio\"")),
        };
        if (!video || self.video.is_none()) && (!audio || self.audio.is_none()) {
            return Err(wrong("InvalidStateError", "there is no such track"));
        }
        Ok((video, audio))
    }

    fn replace(
        &mut self,
        request: Request,
        video: Option<Track<VideoFrame, VideoFormat, VideoSettings>>,
        audio: Option<Track<AudioFrame, AudioFormat, AudioSettings>>,
    ) {
        let spec = match wanted_source(&request.arguments) {
            Ok(spec) => spec,
            Err(error) => return request.answer(Err(error)),
        };
        let shared = Arc::clone(&self.shared);
        let arguments = request.arguments.clone();
        while self.opening.try_join_next().is_some() {}
        self.opening.spawn(async move {
            let opening = tokio::task::spawn_blocking(move || match (video, audio) {
                (Some(track), None) => shared.replace_video(&track, &spec, &arguments),
                (None, Some(track)) => shared.replace_audio(&track, &spec, &arguments),
                _ => Err(wrong("TypeError", "say which track: 'kind' is \"video\" or \"audio\"")),
            });
            let failed =
                |error: tokio::task::JoinError| Error::new(ErrorKind::Internal, "OperationError", error.to_string());
            request.answer(opening.await.unwrap_or_else(|error| Err(failed(error))));
        });
    }
}

impl<T, Format, Settings: Clone + Serialize> Track<T, Format, Settings> {
    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self, kind: MediaKind) -> Value {
        json!({
            "kind": kind.as_str(),
            "readyState": if self.switch.is_over() { "ended" } else { "live" },
            "muted": self.switch.is_muted(),
            "settings": self.settings(),
        })
    }

    fn replace(&self, kind: MediaKind, source: Box<dyn Source<T>>, settings: Settings) -> Result<Value, Error> {
        if !self.switch.replace(source) {
            return Err(wrong("InvalidStateError", &format!("the {kind} has ended, and nothing else goes on")));
        }
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        Ok(json!({ "tracks": [self.state(kind)] }))
    }
}

impl Shared {
    fn track<T: Blank + 'static, Format, Settings>(
        &self,
        source: Box<dyn Source<T>>,
        kind: MediaKind,
        format: Format,
        settings: Settings,
    ) -> (Track<T, Format, Settings>, Box<dyn Source<T>>) {
        let (source, switch) = Switched::new(source, kind, Arc::clone(&self.progress), self.company.clone());
        (Track { switch, format, settings: Arc::new(Mutex::new(settings)) }, Box::new(source))
    }

    fn replace_video(
        &self,
        track: &Track<VideoFrame, VideoFormat, VideoSettings>,
        spec: &SourceSpec,
        arguments: &Map<String, Value>,
    ) -> Result<Value, Error> {
        let VideoFormat { width, height, frame_rate } = track.format;
        // Like the source before, as far as it can be.
        let alike = VideoConstraints {
            width: Some(Constraint::ideal(f64::from(width))),
            height: Some(Constraint::ideal(f64::from(height))),
            frame_rate: Some(Constraint::ideal(frame_rate.as_f64())),
            ..VideoConstraints::default()
        };
        let asked = asked(arguments, "video")?.video.unwrap_or_default();
        let input = self.opener.video(spec, asked.or(alike), self.clock.origin())?;
        let raw = RawVideo::of(input.video.ok_or_else(|| lacks(spec, MediaKind::Video))?)?;
        let own = raw.format;
        let mut settings = input.video_settings.unwrap_or_else(|| VideoSettings::of_format("", &own));
        let mut source = self.in_time(raw.live, raw.source, |source, now| Box::new(Shifted::later(source, now)));
        if self.fit == Fit::Same {
            source = capture::crop_and_scale(source, own, VideoFormat { frame_rate: own.frame_rate, ..track.format });
            if (own.width, own.height) != (width, height) {
                (settings.width, settings.height, settings.resize_mode) = (width, height, ResizeMode::CropAndScale);
            }
        }
        track.replace(MediaKind::Video, source, settings)
    }

    /// Samples in the format that the track has.
    fn replace_audio(
        &self,
        track: &Track<AudioFrame, AudioFormat, AudioSettings>,
        spec: &SourceSpec,
        arguments: &Map<String, Value>,
    ) -> Result<Value, Error> {
        let asked = asked(arguments, "audio")?.audio.unwrap_or_default();
        let input = self.opener.audio(spec, asked, self.clock.origin())?;
        let raw = RawAudio::of(input.audio.ok_or_else(|| lacks(spec, MediaKind::Audio))?)?;
        let settings = input.audio_settings.unwrap_or_else(|| AudioSettings::of_format(&raw.format));
        let mut source = self.in_time(raw.live, raw.source, |source, now| Box::new(Shifted::later(source, now)));
        if raw.format != track.format {
            let resampler = Resampler::new(raw.format, track.format)?;
            source = Box::new(Resampled { source, resampler, ready: VecDeque::new() });
        }
        track.replace(MediaKind::Audio, source, settings)
    }

    /// A file begins now, at its own pace; a device is on the timeline already.
    fn in_time<T: crate::pipeline::Timed + 'static>(
        &self,
        live: bool,
        source: Box<dyn Source<T>>,
        later: impl FnOnce(Box<dyn Source<T>>, crate::media::MediaTime) -> Box<dyn Source<T>>,
    ) -> Box<dyn Source<T>> {
        if live { source } else { later(Pace::Clock(Clock::start()).of(false, source), self.clock.now()) }
    }
}

/// What `replaceTrack` is to take.
fn wanted_source(arguments: &Map<String, Value>) -> Result<SourceSpec, Error> {
    let usable = "'source' is what --video and --audio take, but not \"-\" and \"none\"";
    let spec = arguments.get("source").and_then(Value::as_str).ok_or_else(|| wrong("TypeError", usable))?;
    match spec.parse()? {
        SourceSpec::None | SourceSpec::Stdin => Err(wrong("TypeError", usable)),
        spec => Ok(spec),
    }
}

/// The `constraints` of a command, as `getUserMedia` takes them for one kind.
fn asked(arguments: &Map<String, Value>, kind: &str) -> Result<MediaStreamConstraints, Error> {
    let Some(constraints) = arguments.get("constraints") else { return Ok(MediaStreamConstraints::default()) };
    let parsed = json!({ kind: constraints }).to_string().parse();
    parsed.map_err(|error: crate::media::ConstraintError| wrong("TypeError", &error.to_string()))
}

struct Resampled {
    source: Box<dyn Source<AudioFrame>>,
    resampler: Resampler,
    ready: VecDeque<AudioFrame>,
}

impl Source<AudioFrame> for Resampled {
    fn next(&mut self, stop: &Stop) -> Result<Option<AudioFrame>, Error> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            let Some(frame) = self.source.next(stop)? else { return Ok(None) };
            let ready = &mut self.ready;
            self.resampler.process(&frame, &mut |frame| ready.push_back(frame))?;
        }
    }

    fn lost(&self) -> Option<Arc<std::sync::atomic::AtomicU64>> {
        self.source.lost()
    }
}

fn wrong(name: &'static str, message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, name, message)
}

fn lacks(spec: &SourceSpec, kind: MediaKind) -> Error {
    wrong("NotFoundError", &format!("{spec} has no {kind}"))
}
