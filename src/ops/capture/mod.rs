//! `capture`: what a camera or microphone gives, raw, to files, to standard output, or only counted.
//!
//! ```text
//! video    source -[pictures]-> writer: y4m, i420, rgb, a snapshot, the counts
//! audio    source -> writer: wav, the level
//! ```
//!
//! Encoded sources are decoded first. What was written before a source failed is completed and kept.

mod audio;
mod meter;
mod options;
mod report;
mod snapshot;
mod video;

pub use crate::capture::SourceSpec;
pub use crate::ops::call::Destination;
pub use crate::ops::media::TerminalScreen;
pub use crate::record::{Existing, ImageFormat};
pub use options::{Format, Options, Snapshot, Warmup};
pub use report::{AudioReport, Considered, Ended, Report, SnapshotReport, VideoReport, Written};

use crate::capture::camera;
use crate::error::{Error, ErrorKind};
use crate::media::{AudioSettings, VideoInput, VideoSettings};
use crate::ops::control::{Request, Requests};
use crate::ops::media::{
    Ending, Fit, Inputs, Pace, RawAudio, RawVideo, SourceOptions, Threads, Tracks, Vacancy, Viewing,
};
use crate::pipeline::Clock;
use crate::pipeline::queue::{Overflow, Receiver, bounded};
use crate::progress::{Event, Progress};
use crate::record::{ImageSink, Target, WavSink};
use crate::sound::Playout;
use crate::stop::{Stop, StopReason};
use audio::AudioWriter;
use meter::Meter;
use snapshot::Exposure;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use video::{Pending, SharedResults, VideoSink, VideoWriter};

/// Pictures that may wait for a slow disk; of a device older ones give way then.
const BACKLOG: usize = 6;
/// How long after its time a capture waits for pictures that were captured before.
const STRAGGLERS: Duration = Duration::from_secs(1);
/// How long sources may take to end.
const LETTING_GO: Duration = Duration::from_millis(500);
/// How long files may take to reach the disk.
const SYNCING: Duration = Duration::from_secs(60);
/// How often it is told how the capture goes.
const TICK: Duration = Duration::from_millis(250);

/// The streams of the process, given by the binary.
#[derive(Default)]
pub struct Io {
    /// Where a source called `-` reads.
    pub media_input: Option<Box<dyn Read + Send>>,
    /// Where an output called `-` writes.
    pub media_output: Option<Box<dyn Write + Send>>,
    /// Where a preview is shown if there is no window for it.
    pub screen: Option<TerminalScreen>,
}

/// What came of it, also when it failed.
pub struct Outcome {
    /// What was captured.
    pub report: Report,
    /// What went wrong.
    pub error: Option<Error>,
}

/// Captures until the time is over, the sources end, the snapshot is taken if that was all, or `stop` is asked for.
///
/// A track whose device fails ends with an `ended` event while the others go on; the failure is the outcome's error, whatever
/// ends the capture.
pub async fn run(options: Options, io: Io, requests: Requests, progress: Arc<dyn Progress>, stop: Stop) -> Outcome {
    let mut report = Report::default();
    let result = match options.check() {
        Ok(()) => Capture { options, progress, stop }.run(io, requests, &mut report).await,
        Err(error) => Err(error),
    };
    Outcome { report, error: result.err() }
}

struct Capture {
    options: Options,
    progress: Arc<dyn Progress>,
    stop: Stop,
}

/// Where it goes, open.
#[derive(Default)]
struct Outputs {
    video: Vec<VideoSink>,
    audio: Vec<WavSink>,
    pending: Option<Pending>,
    taken: Stop,
    preview: Option<Viewing>,
}

/// What is known of a running capture.
struct Running {
    sources: Threads,
    writers: Threads,
    meter: Arc<Meter>,
    results: SharedResults,
    pictures: Option<Arc<Receiver<crate::media::VideoFrame>>>,
    lost: Option<Arc<AtomicU64>>,
    lost_samples: Option<Arc<AtomicU64>>,
    tracks: Tracks,
    taken: Stop,
    closed: Stop,
    /// Whether a source gave more than was asked for.
    over: Arc<AtomicBool>,
}

impl Capture {
    async fn run(self, io: Io, mut requests: Requests, report: &mut Report) -> Result<(), Error> {
        if self.options.explain {
            report.considered = Some(explain(self.options.sources.clone()).await?);
        }
        let inputs = tokio::select! {
            biased;
            // The first bytes of a pipe may never come.
            () = self.stop.stopped() => {
                report.ended = self.stop.reason().map(Ended::from);
                return Ok(());
            }
            inputs = Inputs::open(self.options.sources.clone(), io.media_input) => inputs?,
        };
        let inputs = if self.options.controlled { inputs.decoded().await? } else { inputs };
        let mut outputs = self.open_outputs(&inputs, io.media_output)?;
        if self.options.preview {
            let nowhere = || {
                let message = "there is neither a display nor a terminal that a preview could be shown on";
                Error::new(ErrorKind::Device, "NotFoundError", message).at("preview")
            };
            outputs.preview = Some(Viewing::start("rtckit capture", io.screen, Playout::new())?.ok_or_else(nowhere)?);
        }
        let inner = Stop::new();
        // What takes time is done: the first picture is not late.
        let clock = Clock::start();
        let mut running = self.start(inputs.begun_at(clock.origin())?, outputs, clock, &inner, report)?;
        let (ended, failure) = self.until_end(&mut running, &mut requests, clock).await;
        let failure = failure.or_else(|| running.tracks.failure());
        inner.stop(StopReason::Done);
        let sources = running.sources.finish(Instant::now() + LETTING_GO).await;
        let writers = running.writers.finish(Instant::now() + SYNCING).await;
        report.ended = Some(ended);
        report.seconds = clock.origin().elapsed().as_secs_f64();
        running.describe(report);
        // Whoever is stopped has no failure to tell of.
        let sources = if ended == Ended::InputEnded { sources } else { Ok(()) };
        failure.map_or(Ok(()), Err).and(writers).and(sources)
    }

    fn open_outputs(&self, inputs: &Inputs, mut media_output: Option<Box<dyn Write + Send>>) -> Result<Outputs, Error> {
        let Options { outputs, snapshot, existing, .. } = &self.options;
        let mut target = |to: &Destination| match to {
            Destination::File(path) => Ok((Target::File(path.clone()), path.display().to_string())),
            Destination::Stdout => match media_output.take() {
                Some(writer) => Ok((Target::Stream(writer, "-".to_owned()), "-".to_owned())),
                None => Err(Error::new(ErrorKind::Usage, "usage", "standard output is not available")),
            },
        };
        let mut opened = Outputs::default();
        let at_output = |error: Error| error.at("output");
        for (to, kind) in outputs {
            let (target, path) = target(to)?;
            match (kind, &inputs.video, &inputs.audio) {
                (Format::Wav, _, Some(input)) => {
                    let format = RawAudio::format_of(input);
                    let sink = WavSink::create(target, *existing, format, None);
                    opened.audio.push(sink.map_err(|error| at_output(error.into()))?);
                }
                (_, Some(input), _) => {
                    let rate = RawVideo::format_of(input).frame_rate;
                    opened.video.push(VideoSink::create(target, *existing, *kind, rate).map_err(at_output)?);
                }
                _ => {}
            }
            self.progress.event(Event::Output { path });
        }
        if let Some(snapshot) = snapshot {
            let live = matches!(inputs.video, Some(VideoInput::Raw { live: true, .. }));
            let image = ImageSink::create(target(&snapshot.to)?.0, *existing, snapshot.format);
            let image = image.map_err(|error| at_output(error.into()))?;
            let exposure = Exposure::new(snapshot.warmup, live);
            opened.pending = Some(Pending { image, exposure, taken: opened.taken.clone(), newest: None });
        }
        Ok(opened)
    }

    /// Starts the threads.
    fn start(
        &self,
        inputs: Inputs,
        outputs: Outputs,
        clock: Clock,
        inner: &Stop,
        report: &mut Report,
    ) -> Result<Running, Error> {
        let duration = self.options.duration;
        let any_live = inputs.is_live() || self.options.controlled;
        let pace = if any_live { Pace::Clock(clock) } else { Pace::AsRead };
        let vacancy = if self.options.controlled { Vacancy::WithOthers } else { Vacancy::Closed };
        let mut running = Running {
            tracks: Tracks::new(&inputs, clock, Fit::Same, vacancy, Arc::clone(&self.progress)),
            closed: Stop::new(),
            sources: Threads::new(inner),
            writers: Threads::new(inner),
            meter: Arc::default(),
            results: SharedResults::default(),
            pictures: None,
            lost: None,
            lost_samples: None,
            taken: outputs.taken,
            over: Arc::default(),
        };
        let (video_settings, audio_settings) = (inputs.video_settings, inputs.audio_settings);
        let video = inputs.video.map(RawVideo::of).transpose()?;
        let audio = inputs.audio.map(RawAudio::of).transpose()?;
        if let Some(RawVideo { format, live, source }) = video {
            let settings = video_settings.unwrap_or_else(|| VideoSettings::of_format("", &format));
            let source = running.tracks.video(pace.of(live, source), format, settings.clone());
            running.lost = source.lost();
            let source = Ending::boxed(source, duration, &running.over);
            let (sender, pictures) = bounded(BACKLOG, if any_live { Overflow::Latest } else { Overflow::Block });
            let pictures = Arc::new(pictures);
            running.pictures = Some(Arc::clone(&pictures));
            let writer = VideoWriter {
                sinks: outputs.video,
                pending: outputs.pending,
                // Files are never late.
                rate: live.then_some(format.frame_rate),
                any: false,
                preview: outputs.preview,
                closed: running.closed.clone(),
                meter: Arc::clone(&running.meter),
                results: Arc::clone(&running.results),
                progress: Arc::clone(&self.progress),
            };
            running.sources.feed("video-source", source, sender)?;
            let stop = inner.clone();
            running.writers.work("video-write", move || writer.run(&pictures, &stop))?;
            report.video = Some(VideoReport::of(settings));
        }
        if let Some(RawAudio { format, live, source }) = audio {
            let settings = audio_settings.unwrap_or_else(|| AudioSettings::of_format(&format));
            let source = running.tracks.audio(pace.of(live, source), format, settings.clone());
            running.lost_samples = source.lost();
            let source = Ending::boxed(source, duration, &running.over);
            let (meter, results) = (Arc::clone(&running.meter), Arc::clone(&running.results));
            let stop = inner.clone();
            let writer = AudioWriter { source, sinks: outputs.audio, any: false, meter, results };
            running.writers.work("audio-write", move || writer.run(&stop))?;
            report.audio = Some(AudioReport { settings, samples: 0, lost_samples: 0, peak: None, rms: None });
        }
        Ok(running)
    }

    /// Waits for the end, and gives the failure that caused it, if one did.
    async fn until_end(&self, running: &mut Running, requests: &mut Requests, clock: Clock) -> (Ended, Option<Error>) {
        let over = self.options.duration.map(|duration| clock.origin() + duration + STRAGGLERS);
        let far = Instant::now() + Duration::from_secs(u64::MAX >> 32);
        let over = tokio::time::sleep_until(over.unwrap_or(far).into());
        tokio::pin!(over);
        let mut tick = tokio::time::interval(TICK);
        let (taken, closed) = (running.taken.clone(), running.closed.clone());
        let mut failure = None;
        let mut last = (0, Instant::now());
        loop {
            tokio::select! {
                () = self.stop.stopped() => return (self.stop.reason().map_or(Ended::Interrupt, Ended::from), failure),
                () = &mut over => return (Ended::Duration, failure),
                () = taken.stopped(), if self.options.ends_with_snapshot() => return (Ended::Snapshot, failure),
                () = closed.stopped() => return (Ended::Stopped, failure),
                request = requests.next() => {
                    if let Some(ended) = obey(&mut running.tracks, request) {
                        return (ended, failure);
                    }
                }
                Some(done) = running.sources.ended() => {
                    // The first that fails says why, when nothing is left.
                    failure = failure.or(done.err());
                    if running.writers.is_empty() {
                        return (self.at_end(running, clock), failure);
                    }
                }
                Some(done) = running.writers.ended() => {
                    match done {
                        // A disk that is full ends everything, a device only its own track.
                        Err(error) if error.kind() == ErrorKind::Output => return (Ended::InputEnded, Some(error)),
                        done => failure = failure.or(done.err()),
                    }
                    if running.writers.is_empty() {
                        return (self.at_end(running, clock), failure);
                    }
                }
                _ = tick.tick() => last = running.tell(&*self.progress, clock, last),
            }
        }
    }

    /// Sources that end when their time is over have not ended early. A picture may be stamped a little ahead of our clock.
    fn at_end(&self, running: &Running, clock: Clock) -> Ended {
        let passed = self.options.duration.is_some_and(|duration| clock.origin().elapsed() >= duration);
        let over = passed || running.over.load(Ordering::Relaxed);
        if over { Ended::Duration } else { Ended::InputEnded }
    }
}

/// Does what is asked; the reason, if that is the end.
fn obey(tracks: &mut Tracks, request: Request) -> Option<Ended> {
    // As for a recording: to stop, and not one of the tracks, is to end.
    let ended = (request.command == "stop" && !request.arguments.contains_key("kind")).then_some(Ended::Stopped);
    tracks.obey(request, &[]);
    ended
}

fn count(lost: Option<&Arc<AtomicU64>>) -> u64 {
    lost.map_or(0, |lost| lost.load(Ordering::Relaxed))
}

impl Running {
    /// Tells how it goes, and gives what the next telling needs.
    fn tell(&self, progress: &dyn Progress, clock: Clock, last: (u64, Instant)) -> (u64, Instant) {
        let counts = self.meter.read();
        let now = Instant::now();
        let passed = now.duration_since(last.1).as_secs_f64().max(1e-3);
        progress.event(Event::Capturing {
            seconds: clock.origin().elapsed().as_secs_f64(),
            delivered_frames: counts.pictures,
            discarded_frames: self.discarded(),
            lost_frames: self.lost(),
            late_frames: counts.late,
            frames_per_second: (counts.pictures - last.0) as f64 / passed,
            peak: counts.recent.peak,
            rms: counts.recent.rms,
        });
        (counts.pictures, now)
    }

    fn discarded(&self) -> u64 {
        self.pictures.as_ref().map_or(0, |pictures| pictures.stats().dropped)
    }

    fn lost(&self) -> u64 {
        count(self.lost.as_ref())
    }

    fn describe(&self, report: &mut Report) {
        let counts = self.meter.read();
        if let Some(video) = &mut report.video {
            video.settings = self.tracks.video_settings().unwrap_or_else(|| video.settings.clone());
            video.delivered_frames = counts.pictures;
            video.discarded_frames = self.discarded();
            video.lost_frames = self.lost();
            video.late_frames = counts.late;
            video.total_frames = video.delivered_frames + video.discarded_frames + video.lost_frames;
        }
        if let Some(audio) = &mut report.audio {
            audio.settings = self.tracks.audio_settings().unwrap_or_else(|| audio.settings.clone());
            audio.samples = counts.samples;
            audio.lost_samples = count(self.lost_samples.as_ref());
            audio.peak = counts.whole.peak;
            audio.rms = counts.whole.rms;
        }
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        report.outputs = std::mem::take(&mut results.outputs);
        report.snapshot = results.snapshot.take();
    }
}

/// How each way to set the cameras suits; empty where the source has no native modes.
async fn explain(sources: SourceOptions) -> Result<Vec<Considered>, Error> {
    let SourceSpec::Camera(id) = sources.video else { return Ok(Vec::new()) };
    let considering = move || {
        let selection = camera::consider(id.as_deref(), &sources.salt, &sources.video_constraints)?;
        let entry = |considered: &crate::media::ConsideredVideo| {
            let camera = &selection.cameras[considered.offer];
            Considered::new(&camera.label, &camera.path, considered)
        };
        Ok(selection.considered.iter().map(entry).collect())
    };
    let considered = tokio::task::spawn_blocking(considering).await;
    considered
        .unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "OperationError", error.to_string())))
        .map_err(|error: Error| error.at("open"))
}
