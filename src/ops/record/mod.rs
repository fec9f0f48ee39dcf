//! `record`: any source to a file or stream; W3C mediastream-recording for the shell.
//!
//! ```text
//! source -> gate -> [pictures] -> encoder -[Block]-> writing thread ┐
//! source -> gate ---------------> encoder -[Block]-> writing thread ┴-> recorder -> file, files, stdout
//! ```
//!
//! `plan.rs` settles what each track is encoded as, `gate.rs` what is recorded and when it stands in the file, `writer.rs`
//! writes it. `check.rs` reads it again.

mod check;
mod gate;
mod lockstep;
mod options;
mod plan;
mod report;
mod standing;
mod writer;

pub use check::{AvSkew, Checked, CheckedTrack, check};
pub use options::{Io, Options, Output};
pub use report::{Chunk, Ended, Outcome, Report};

// What the options are made of.
pub use crate::capture::SourceSpec;
pub use crate::codec::BitrateMode;
pub use crate::ops::destination::Destination;
pub use crate::ops::media::SourceOptions;
pub use crate::record::{ChunkPattern, Container, Existing, MimeType, Place, Recorded, Repaired};

use crate::error::{Error, ErrorKind};
use crate::media::{AudioInput, Codec, EncoderControl, MediaKind, VideoInput};
use crate::ops::control::{Request, Requests};
use crate::ops::media::{AudioTrack, Inputs, Pace, PictureStats, Threads, VideoTrack};
use crate::pipeline::Clock;
use crate::pipeline::queue::{Overflow, Receiver, bounded};
use crate::progress::{Event, Progress};
use crate::record::{self, Target};
use crate::stop::{Stop, StopReason};
use gate::Gate;
use plan::Plan;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use writer::{Facts, Recordable, Slicing, Status, Writing};

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
const COMMANDS: [&str; 6] = ["pause", "resume", "togglePause", "requestData", "stop", "state"];

/// Records until `stop` is asked for, all sources have ended, or it is as long or large as was asked for.
///
/// # Errors
/// In the outcome. The file is complete whenever there is one under its final name.
pub async fn run(options: Options, io: Io, requests: Requests, progress: Arc<dyn Progress>, stop: Stop) -> Outcome {
    let mut report = Report::default();
    let result = open_and_run(options, io, requests, progress, &stop, &mut report).await;
    Outcome { report, error: result.err() }
}

/// Gives a WebM or Matroska file that was cut off, or that is a live stream, its duration and cues. Blocks.
///
/// # Errors
/// When nothing in it can be saved or the output fails; the file is as it was then.
pub fn repair(path: &Path, place: &Place, existing: Existing) -> Result<Repaired, Error> {
    record::repair(path, place, existing).map_err(Error::from)
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

impl Recording {
    fn start(
        inputs: Inputs,
        options: &Options,
        stdout: Option<Box<dyn std::io::Write + Send>>,
        progress: &Arc<dyn Progress>,
    ) -> Result<Self, Error> {
        let content_hint = inputs.content_hint();
        let live = inputs.is_live();
        let clock = live.then(Clock::start);
        let inputs = match &clock {
            Some(clock) => inputs.begun_at(clock.origin())?,
            None => inputs,
        };
        let pipes = !live || matches!(inputs.video, Some(VideoInput::Encoded { .. }));
        let Plan { mime_type, video, audio, layout } = plan::plan(inputs, options)?;
        let (has_video, has_audio) = (video.is_some(), audio.is_some());
        let leader = if has_video { MediaKind::Video } else { MediaKind::Audio };
        let gate = Gate::new(clock, leader, options.duration);
        let (video, audio) = (video.map(|input| gate.video(input)), audio.map(|input| gate.audio(input)));
        let (target, pattern) = match &options.output {
            Output::File(path) => (Some(Target::File(path.clone())), None),
            Output::Stdout => {
                let absent = || Error::new(ErrorKind::Usage, "usage", "standard output is not there");
                (Some(Target::Stream(stdout.ok_or_else(absent)?, "-".to_owned())), None)
            }
            Output::Chunks(pattern) => (None, Some(pattern.clone())),
        };
        let slicing = Slicing { timeslice: options.timeslice, pattern };
        let control = Arc::new(EncoderControl::new());
        let facts = Facts {
            tracks: usize::from(has_video) + usize::from(has_audio),
            has_video,
            in_step: !live,
            max_bytes: options.max_size,
            control: Arc::clone(&control),
        };
        let writing = Writing::create(layout, target, options.existing, slicing, facts, Arc::clone(progress))?;
        let writing = Arc::new(writing);
        progress.event(Event::Start { path: writing.name(), mime_type: mime_type.to_string() });

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
        if let Some(input) = video {
            let (encoded, frames) = bounded(queue, Overflow::Block);
            let encoding = options.video_encoding(mime_type.video.unwrap_or(Codec::Vp8), has_audio, content_hint);
            let video = VideoTrack { input, encoding, stages: Vec::new(), limits: None, control, backlog: RAW_QUEUE };
            recording.pictures = video.start(&mut recording.threads, Pace::AsRead, encoded)?;
            recording.write("write-video", 0, frames)?;
        }
        let track = usize::from(has_video);
        match (audio, mime_type.audio) {
            (Some(AudioInput::Raw { source, .. }), None) => {
                let (sound, frames) = bounded(queue, Overflow::Block);
                recording.threads.feed("audio-source", source, sound)?;
                recording.write("write-audio", track, frames)?;
            }
            (Some(input), codec) => {
                let (encoded, frames) = bounded(queue, Overflow::Block);
                let encoding = options.audio_encoding(codec.unwrap_or(Codec::Opus), has_video);
                let audio = AudioTrack { input, encoding, stages: Vec::new(), control: None };
                audio.start(&mut recording.threads, Pace::AsRead, encoded)?;
                recording.write("write-audio", track, frames)?;
            }
            (None, _) => {}
        }
        Ok(recording)
    }

    fn write<T: Recordable>(&mut self, name: &'static str, track: usize, frames: Receiver<T>) -> Result<(), Error> {
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
        let finished = finished.map(|written| {
            report.recording = written.recording;
            report.chunks = written.chunks;
        });
        // The first failure is the reason of those that follow it.
        let ended = ended?;
        writers.and(sources).and(finished)?;
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
            audio_level: self.gate.take_level(),
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
            "requestData" => {
                if let Err(error) = self.writing.request_data() {
                    request.answer(Err(error));
                    return None;
                }
            }
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
