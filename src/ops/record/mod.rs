//! `record`: any source to a file or stream; W3C mediastream-recording for the shell.
//!
//! ```text
//! source -> gate -> [pictures] -> encoder -[Block]-> writing thread ┐
//! source -> gate ---------------> encoder -[Block]-> writing thread ┴-> recorder -> file, stdout
//! ```
//!
//! `gate.rs` decides what is recorded and when it stands in the file; `writer.rs` writes it.

mod gate;
mod options;
mod report;
mod standing;
mod writer;

pub use options::{Io, Options};
pub use report::{Ended, Outcome, Report};

// What the options are made of.
pub use crate::capture::SourceSpec;
pub use crate::codec::BitrateMode;
pub use crate::ops::destination::Destination;
pub use crate::ops::media::SourceOptions;
pub use crate::record::{Container, Existing, MimeType, Recorded};

use crate::error::{Error, ErrorKind};
use crate::media::{AudioInput, Codec, ContentHint, EncoderControl, MediaKind, VideoInput};
use crate::ops::control::{Request, Requests};
use crate::ops::media::{AudioTrack, Inputs, Pace, PictureStats, Threads, VideoTrack};
use crate::pipeline::Clock;
use crate::pipeline::queue::{Overflow, Receiver, Sender, bounded};
use crate::progress::{Event, Progress};
use crate::record::{Target, TrackInfo, WebmRecorder};
use crate::stop::{Stop, StopReason};
use gate::Gate;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};
use writer::{Status, Writing};

/// Raw pictures of a live source that may wait for the encoder; older ones give way.
const RAW_QUEUE: usize = 8;
/// Encoded frames that may wait for the disk: seconds, so that a slow moment of it costs nothing.
const LIVE_QUEUE: usize = 256;
/// The same where the source waits anyhow.
const FILE_QUEUE: usize = 4;
/// How often the state of affairs is told.
const TELL: Duration = Duration::from_millis(500);
/// How long what was captured may take to reach the output once the end was asked for.
const DRAIN: Duration = Duration::from_secs(30);
/// The same where a source may be a pipe that nobody writes to, which nothing interrupts.
const DRAIN_PIPE: Duration = Duration::from_secs(2);
/// A live source that gives nothing any more is not waited for longer than this after the length that was asked for.
const OVERDUE: Duration = Duration::from_millis(500);
/// What is asked of us while it runs; `MediaRecorder`'s methods, and what a key or signal needs.
const COMMANDS: [&str; 5] = ["pause", "resume", "togglePause", "stop", "state"];

/// Records until `stop` is asked for, all sources have ended, or it is as long or large as was asked for.
///
/// # Errors
/// In the outcome. The file is complete whenever there is one under its final name.
pub async fn run(options: Options, io: Io, requests: Requests, progress: Arc<dyn Progress>, stop: Stop) -> Outcome {
    let mut report = Report::default();
    let result = open_and_run(options, io, requests, progress, &stop, &mut report).await;
    Outcome { report, error: result.err() }
}

async fn open_and_run(
    options: Options,
    io: Io,
    requests: Requests,
    progress: Arc<dyn Progress>,
    stop: &Stop,
    report: &mut Report,
) -> Result<(), Error> {
    options.check()?;
    let inputs = tokio::select! {
        biased;
        () = stop.stopped() => {
            report.ended = stop.reason().map(Ended::from);
            return Ok(());
        }
        inputs = Inputs::open(options.sources.clone(), io.input) => inputs?,
    };
    of(inputs, &options, io.output, requests, progress, stop, report).await
}

/// Records sources that are open.
pub(in crate::ops) async fn of(
    inputs: Inputs,
    options: &Options,
    stdout: Option<Box<dyn std::io::Write + Send>>,
    requests: Requests,
    progress: Arc<dyn Progress>,
    stop: &Stop,
    report: &mut Report,
) -> Result<(), Error> {
    let began = Instant::now();
    let recording = Recording::start(inputs, options, stdout, &progress)?;
    report.mime_type = Some(recording.mime_type.to_string());
    let result = recording.run(requests, &progress, stop, report).await;
    report.seconds = began.elapsed().as_secs_f64();
    match &result {
        Ok(()) => progress.event(Event::Stop),
        Err(error) => {
            progress.event(Event::Error { name: error.name().to_owned(), message: error.to_string() });
        }
    }
    result
}

/// A running recording.
struct Recording {
    mime_type: MimeType,
    gate: Arc<Gate>,
    writing: Arc<Writing>,
    /// Sources and encoders.
    threads: Threads,
    writers: Threads,
    pictures: Option<PictureStats>,
    sources_stop: Stop,
    drain: Duration,
    pauses: u64,
}

/// What a track is made of once its encoding is settled.
struct Plan {
    mime_type: MimeType,
    video: Option<VideoInput>,
    audio: Option<AudioInput>,
}

impl Recording {
    fn start(
        inputs: Inputs,
        options: &Options,
        stdout: Option<Box<dyn std::io::Write + Send>>,
        progress: &Arc<dyn Progress>,
    ) -> Result<Self, Error> {
        let content_hint = inputs.content_hint();
        let live = is_live(&inputs);
        let clock = live.then(Clock::start);
        let inputs = match &clock {
            Some(clock) => inputs.begun_at(clock.origin())?,
            None => inputs,
        };
        let pipes = !live || matches!(inputs.video, Some(VideoInput::Encoded { .. }));
        let Plan { mime_type, video, audio } = plan(inputs, options)?;
        let both = video.is_some() && audio.is_some();
        let leader = if video.is_some() { MediaKind::Video } else { MediaKind::Audio };
        let gate = Gate::new(clock, leader, options.duration);
        let (video, audio) = (video.map(|input| gate.video(input)), audio.map(|input| gate.audio(input)));

        let tracks: Vec<TrackInfo> = [
            video.as_ref().map(|input| video_track(input, mime_type)),
            audio.as_ref().map(|input| audio_track(input, mime_type)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let target = match &options.output {
            Destination::File(path) => Target::File(path.clone()),
            Destination::Stdout => Target::Stream(
                stdout.ok_or_else(|| Error::new(ErrorKind::Usage, "usage", "standard output is not there"))?,
                "-".to_owned(),
            ),
        };
        let recorder = WebmRecorder::create_as(mime_type.container, target, options.existing, &tracks)?;
        let path = recorder.output().name().display().to_string();
        let writing = Arc::new(Writing::new(recorder, tracks.len(), !live, options.max_size));
        progress.event(Event::Start { path, mime_type: mime_type.to_string() });

        let sources_stop = Stop::new();
        let mut recording = Self {
            mime_type,
            gate,
            writing,
            threads: Threads::new(&sources_stop),
            writers: Threads::new(&sources_stop),
            pictures: None,
            sources_stop,
            drain: if pipes { DRAIN_PIPE } else { DRAIN },
            pauses: 0,
        };
        let queue = if live { LIVE_QUEUE } else { FILE_QUEUE };
        let mut track = 0;
        if let Some(input) = video {
            let codec = mime_type.video.unwrap_or(Codec::Vp8);
            let (encoded, frames) = bounded(queue, Overflow::Block);
            let mut encoding = options.video_encoding(codec, both);
            if encoding.content_hint == ContentHint::default() {
                encoding.content_hint = content_hint;
            }
            let control = Arc::new(EncoderControl::new());
            let video = VideoTrack { input, encoding, stages: Vec::new(), limits: None, control, backlog: RAW_QUEUE };
            recording.pictures = video.start(&mut recording.threads, Pace::AsRead, encoded)?;
            recording.write("write-video", track, frames)?;
            track += 1;
        }
        if let Some(input) = audio {
            let codec = mime_type.audio.unwrap_or(Codec::Opus);
            let (encoded, frames): (Sender<_>, Receiver<_>) = bounded(queue, Overflow::Block);
            let encoding = options.audio_encoding(codec, both);
            AudioTrack { input, encoding, stages: Vec::new() }.start(&mut recording.threads, Pace::AsRead, encoded)?;
            recording.write("write-audio", track, frames)?;
        }
        Ok(recording)
    }

    fn write(
        &mut self,
        name: &'static str,
        track: usize,
        frames: Receiver<crate::media::EncodedFrame>,
    ) -> Result<(), Error> {
        let (writing, stop) = (Arc::clone(&self.writing), self.sources_stop.clone());
        self.writers.work(name, move || writing.run(track, &frames, &stop))
    }

    async fn run(
        mut self,
        mut requests: Requests,
        progress: &Arc<dyn Progress>,
        stop: &Stop,
        report: &mut Report,
    ) -> Result<(), Error> {
        let ended = self.until_end(&mut requests, progress, stop).await;
        self.gate.resume();
        self.sources_stop.stop(StopReason::Done);
        let sources = self.threads.finish(Instant::now() + self.drain).await;
        let writers = if self.threads.is_empty() {
            // Whatever was captured is written, however slow the output is.
            self.writers.finish(Instant::now() + Duration::from_secs(u64::MAX >> 32)).await
        } else {
            Ok(())
        };
        let writing = Arc::clone(&self.writing);
        let finished = tokio::task::spawn_blocking(move || writing.finish()).await;
        let finished =
            finished.unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "OperationError", error.to_string())));
        report.pauses = self.pauses;
        report.paused_seconds = self.gate.paused_for().as_secs_f64();
        report.frames_dropped = self.pictures.as_ref().map_or(0, |pictures| pictures.get().dropped);
        let ended = ended?;
        // The first failure is the reason of those that follow it.
        writers.and(sources)?;
        report.recording = finished?;
        report.ended = Some(ended);
        Ok(())
    }

    async fn until_end(
        &mut self,
        requests: &mut Requests,
        progress: &Arc<dyn Progress>,
        stop: &Stop,
    ) -> Result<Ended, Error> {
        let mut tick = tokio::time::interval(TELL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told = self.writing.status();
        let mut told_at = Instant::now();
        loop {
            let due = self.gate.due().map(|due| due + OVERDUE);
            tokio::select! {
                () = stop.stopped() => return Ok(stop.reason().map_or(Ended::Stopped, Ended::from)),
                Some(done) = self.writers.ended() => {
                    done?;
                    if self.writing.is_full() {
                        return Ok(Ended::MaxSize);
                    }
                    if self.writers.is_empty() {
                        return Ok(if self.gate.is_full() { Ended::Duration } else { Ended::InputEnded });
                    }
                }
                Some(done) = self.threads.ended() => done?,
                request = requests.next() => {
                    if let Some(ended) = self.obey(request, progress) {
                        return Ok(ended);
                    }
                }
                () = wait_until(due) => return Ok(Ended::Duration),
                _ = tick.tick() => {
                    let now = self.writing.status();
                    self.tell(progress, told, now, told_at.elapsed());
                    (told, told_at) = (now, Instant::now());
                }
            }
        }
    }

    fn tell(&self, progress: &Arc<dyn Progress>, before: Status, now: Status, elapsed: Duration) {
        let frames = (now.video_frames - before.video_frames) as f64;
        progress.event(Event::Recording {
            seconds: now.seconds,
            bytes: now.bytes,
            frames_per_second: frames / elapsed.as_secs_f64().max(1e-3),
            frames_dropped: self.pictures.as_ref().map_or(0, |pictures| pictures.get().dropped),
            paused: self.gate.is_paused(),
        });
    }

    /// Does what is asked; the reason, if that is the end.
    fn obey(&mut self, request: Request, progress: &Arc<dyn Progress>) -> Option<Ended> {
        let paused = self.gate.is_paused();
        match request.command.as_str() {
            "pause" => self.pause(progress),
            "resume" => self.resume(progress),
            "togglePause" if paused => self.resume(progress),
            "togglePause" => self.pause(progress),
            "state" => {}
            "stop" => {
                request.answer(Ok(Value::Null));
                return Some(Ended::Stopped);
            }
            _ => {
                request.refuse(&COMMANDS);
                return None;
            }
        }
        let Status { seconds, bytes, .. } = self.writing.status();
        let state = if self.gate.is_paused() { "paused" } else { "recording" };
        request.answer(Ok(json!({ "state": state, "seconds": seconds, "bytes": bytes })));
        None
    }

    fn pause(&mut self, progress: &Arc<dyn Progress>) {
        if self.gate.pause() {
            self.pauses += 1;
            progress.event(Event::Pause { seconds: self.writing.status().seconds });
        }
    }

    fn resume(&self, progress: &Arc<dyn Progress>) {
        if self.gate.resume() {
            progress.event(Event::Resume { seconds: self.writing.status().seconds });
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether one of them comes at its own pace, to which the others then keep.
fn is_live(inputs: &Inputs) -> bool {
    matches!(inputs.video, Some(VideoInput::Raw { live: true, .. }))
        || matches!(inputs.audio, Some(AudioInput::Raw { live: true, .. }))
}

/// Settles the codec of each track: what the media has already where that fits, else what was asked for, else the
/// container's own.
fn plan(inputs: Inputs, options: &Options) -> Result<Plan, Error> {
    let asked = options.asked_type()?;
    let refuse = |what: String| Error::new(ErrorKind::InvalidInput, "NotSupportedError", what);
    let settle = |kind: MediaKind, has: Option<Codec>| -> Result<Codec, Error> {
        let named = asked.named(kind);
        let none_named = asked.video.is_none() && asked.audio.is_none();
        if asked.audio_only && kind == MediaKind::Video || named.is_none() && !none_named {
            return Err(refuse(format!("{asked} holds no {kind}, and there is a {kind} source")));
        }
        let wanted = named
            .or(has.filter(|codec| asked.container.holds(*codec) && !options.shapes(kind)))
            .or(asked.container.default_codec(kind))
            .ok_or_else(|| refuse(format!("{asked} holds no {kind}, and there is a {kind} source")))?;
        match has {
            Some(has) if has != wanted || options.shapes(kind) => {
                Err(refuse(format!("the {kind} is encoded as {has} already and cannot be encoded anew as {wanted}")))
            }
            _ => Ok(wanted),
        }
    };
    let mut mime_type = MimeType { video: None, audio: None, ..asked };
    if let Some(input) = &inputs.video {
        let has = match input {
            VideoInput::Raw { .. } => None,
            VideoInput::Encoded { codec, .. } => Some(*codec),
        };
        mime_type.video = Some(settle(MediaKind::Video, has)?);
    }
    if let Some(input) = &inputs.audio {
        let has = match input {
            AudioInput::Raw { .. } => None,
            AudioInput::Encoded { codec, .. } => Some(*codec),
        };
        mime_type.audio = Some(settle(MediaKind::Audio, has)?);
    }
    mime_type.audio_only = mime_type.video.is_none();
    Ok(Plan { mime_type, video: inputs.video, audio: inputs.audio })
}

fn video_track(input: &VideoInput, mime_type: MimeType) -> TrackInfo {
    let (codec, size) = match input {
        VideoInput::Raw { format, .. } => (mime_type.video.unwrap_or(Codec::Vp8), Some((format.width, format.height))),
        VideoInput::Encoded { codec, size, .. } => (*codec, *size),
    };
    TrackInfo::Video { codec, size }
}

fn audio_track(input: &AudioInput, mime_type: MimeType) -> TrackInfo {
    const OPUS_RATE: NonZeroU32 = NonZeroU32::new(48_000).expect("not zero");
    match input {
        AudioInput::Raw { format, .. } => TrackInfo::Audio {
            codec: mime_type.audio.unwrap_or(Codec::Opus),
            channels: format.channels.clamp(1, 2),
            sample_rate: format.sample_rate,
        },
        AudioInput::Encoded { codec, channels, .. } => {
            TrackInfo::Audio { codec: *codec, channels: *channels, sample_rate: OPUS_RATE }
        }
    }
}
