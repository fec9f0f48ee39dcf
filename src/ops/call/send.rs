//! The sending half: sources and encoders on threads of their own, one task per track behind them.
//!
//! ```text
//! raw      source thread -[Latest 2]-> encoder thread -[DropToKeyframe]-> LocalTrack task
//! encoded  source thread, paced ----------------------[DropToKeyframe]-> LocalTrack task
//! ```

use super::options::SendOptions;
use super::report::SentTrack;
use crate::capture::{self, OpenOptions, SourceSpec, Wanted};
use crate::codec::{self, AudioEncoderSettings, EncoderSettings};
use crate::error::{Error, ErrorKind};
use crate::filter::Resampler;
use crate::media::{
    AudioFormat, AudioFrame, AudioInput, Codec, EncodedFrame, EncoderControl, MediaInput, Source, VideoFormat,
    VideoFrame, VideoInput,
};
use crate::peer::{LocalTrack, PeerError, SentReport};
use crate::pipeline::queue::{Item, Overflow, QueueStats, Receiver, Sender, Sent, bounded};
use crate::pipeline::{Clock, Paced, Timed, Worker};
use crate::stop::Stop;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::task::JoinSet;

/// Encoded frames that may wait for the network: half a second of video.
const ENCODED_QUEUE: usize = 16;
/// Raw pictures that may wait for the encoder; older ones give way.
const RAW_QUEUE: usize = 2;
/// What Opus is fed with.
const OPUS_RATE: NonZeroU32 = NonZeroU32::new(48_000).expect("not zero");

/// The opened sources of a call.
pub(super) struct Inputs {
    video: Option<VideoInput>,
    audio: Option<AudioInput>,
}

impl Inputs {
    /// The codec that the video will be sent in.
    pub(super) fn video_codec(&self) -> Option<Codec> {
        self.video.as_ref().map(|input| match input {
            VideoInput::Raw { .. } => Codec::Vp8,
            VideoInput::Encoded { codec, .. } => *codec,
        })
    }

    /// The codec that the audio will be sent in.
    pub(super) fn audio_codec(&self) -> Option<Codec> {
        self.audio.as_ref().map(|input| match input {
            AudioInput::Raw { .. } => Codec::Opus,
            AudioInput::Encoded { codec, .. } => *codec,
        })
    }
}

/// Opens what `options` name, on a thread that may block.
pub(super) async fn open(options: SendOptions, stdin: Option<Box<dyn std::io::Read + Send>>) -> Result<Inputs, Error> {
    let opening = tokio::task::spawn_blocking(move || open_both(&options, stdin));
    opening.await.unwrap_or_else(|error| Err(internal(&error)))
}

fn open_both(options: &SendOptions, mut stdin: Option<Box<dyn std::io::Read + Send>>) -> Result<Inputs, Error> {
    let mut open = |spec: &SourceSpec, wanted: Wanted| -> Result<MediaInput, Error> {
        let stdin = if *spec == SourceSpec::Stdin { stdin.take() } else { None };
        open_one(options, spec, wanted, stdin, Instant::now())
    };
    if options.video == options.audio {
        let MediaInput { video, audio } = open(&options.video, Wanted { video: true, audio: true })?;
        return Ok(Inputs { video, audio });
    }
    let video = open(&options.video, Wanted { video: true, audio: false })?.video;
    let audio = open(&options.audio, Wanted { video: false, audio: true })?.audio;
    Ok(Inputs { video, audio })
}

fn open_one(
    options: &SendOptions,
    spec: &SourceSpec,
    wanted: Wanted,
    stdin: Option<Box<dyn std::io::Read + Send>>,
    origin: Instant,
) -> Result<MediaInput, Error> {
    let how = OpenOptions { repeat: options.repeat, stdin, origin };
    capture::open(spec, wanted, &options.video_constraints, &options.audio_constraints, how)
        .map_err(|error| Error::from(error).at("open"))
}

impl Inputs {
    /// The same with the synthetic sources begun anew: what they show begins with the call, not with its preparation.
    fn begun_at(self, origin: Instant, options: &SendOptions) -> Result<Self, Error> {
        let open = |wanted| open_one(options, &SourceSpec::Test, wanted, None, origin);
        let video = match &options.video {
            SourceSpec::Test => open(Wanted { video: true, audio: false })?.video,
            _ => self.video,
        };
        let audio = match &options.audio {
            SourceSpec::Test => open(Wanted { video: false, audio: true })?.audio,
            _ => self.audio,
        };
        Ok(Self { video, audio })
    }
}

/// A bitrate for live video of this shape: 0.07 bit per pixel, so 650 kbit/s at 640x480 and 1.9 Mbit/s
/// at 1280x720, 30 pictures a second each.
fn default_bitrate(format: &VideoFormat) -> u32 {
    let pixels_per_second = f64::from(format.width) * f64::from(format.height) * format.frame_rate.as_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 32 bits")]
    let rate = (pixels_per_second * 0.07).clamp(100_000.0, 8_000_000.0) as u32;
    rate
}

/// How long threads and tracks may take to end once they were asked to. The peer waits to be told.
const LETTING_GO: Duration = Duration::from_millis(500);

type RawStats = Box<dyn Fn() -> QueueStats + Send>;

/// The running half.
pub(super) struct Sending {
    workers: JoinSet<Result<(), Error>>,
    tracks: JoinSet<Result<SentTrack, PeerError>>,
    sent: Vec<SentTrack>,
    failure: Option<Error>,
    active: bool,
    began: SystemTime,
}

impl Sending {
    /// Starts the threads and tasks. The timeline of all tracks begins now.
    pub(super) fn start(
        inputs: Inputs,
        options: &SendOptions,
        video: Option<LocalTrack>,
        audio: Option<LocalTrack>,
        stop: &Stop,
    ) -> Result<Self, Error> {
        let clock = Clock::start();
        let inputs = inputs.begun_at(clock.origin(), options)?;
        let mut sending = Self {
            workers: JoinSet::new(),
            tracks: JoinSet::new(),
            sent: Vec::new(),
            failure: None,
            active: false,
            began: SystemTime::now(),
        };
        if let (Some(input), Some(track)) = (inputs.video, video) {
            sending.start_video(input, track, clock, stop)?;
        }
        if let (Some(input), Some(track)) = (inputs.audio, audio) {
            sending.start_audio(input, track, clock, stop)?;
        }
        Ok(sending)
    }

    /// Whether anything is being sent.
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    fn start_video(&mut self, input: VideoInput, track: LocalTrack, clock: Clock, stop: &Stop) -> Result<(), Error> {
        let (encoded, frames) = bounded(ENCODED_QUEUE, Overflow::DropToKeyframe);
        match input {
            VideoInput::Encoded { source, .. } => {
                self.pass_through("video-source", Paced::new(source, clock), encoded, stop)?;
                self.send(track, frames, None);
            }
            VideoInput::Raw { format, live, source } => {
                let source: Box<dyn Source<VideoFrame>> =
                    if live { source } else { Box::new(Paced::new(source, clock)) };
                let settings = EncoderSettings { bitrate: default_bitrate(&format), ..EncoderSettings::default() };
                let encoder = codec::video_encoder(track.codec(), &format, settings)?;
                let control = track.control();
                let (raw, pictures) = bounded(RAW_QUEUE, Overflow::Latest);
                self.feed("video-source", source, raw, stop)?;
                let pictures = Arc::new(pictures);
                let counted = Arc::clone(&pictures);
                self.work("video-encode", move || encode_video(encoder, &pictures, &encoded, &control))?;
                self.send(track, frames, Some(Box::new(move || counted.stats())));
            }
        }
        Ok(())
    }

    fn start_audio(&mut self, input: AudioInput, track: LocalTrack, clock: Clock, stop: &Stop) -> Result<(), Error> {
        let (encoded, frames) = bounded(ENCODED_QUEUE, Overflow::DropToKeyframe);
        match input {
            AudioInput::Encoded { source, .. } => {
                self.pass_through("audio-source", Paced::new(source, clock), encoded, stop)?;
            }
            AudioInput::Raw { format, live, source } => {
                let source: Box<dyn Source<AudioFrame>> =
                    if live { source } else { Box::new(Paced::new(source, clock)) };
                let wanted = AudioFormat { sample_rate: OPUS_RATE, channels: format.channels.clamp(1, 2) };
                let resampler = if format == wanted { None } else { Some(Resampler::new(format, wanted)?) };
                let encoder = codec::audio_encoder(track.codec(), wanted, AudioEncoderSettings::default())?;
                let stop = stop.clone();
                self.work("audio-encode", move || encode_audio(source, resampler, encoder, &encoded, &stop))?;
            }
        }
        self.send(track, frames, None);
        Ok(())
    }

    /// A thread that moves items from a source into a queue.
    fn feed<T: Item>(
        &mut self,
        name: &'static str,
        mut source: Box<dyn Source<T>>,
        queue: Sender<T>,
        stop: &Stop,
    ) -> Result<(), Error> {
        let stop = stop.clone();
        self.work(name, move || {
            while let Some(item) = source.next(&stop).map_err(|error| error.at("capture"))? {
                if stop.is_stopped() || queue.send(item).is_err() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// A thread that moves encoded frames as they are; frames that do not fit wait for the next key frame.
    fn pass_through<S>(
        &mut self,
        name: &'static str,
        source: Paced<S>,
        queue: Sender<EncodedFrame>,
        stop: &Stop,
    ) -> Result<(), Error>
    where
        Paced<S>: Source<EncodedFrame> + 'static,
        EncodedFrame: Timed,
    {
        self.feed(name, Box::new(source), queue, stop)
    }

    fn work(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.active = true;
        self.workers.spawn(Worker::spawn(name, work)?.finished());
        Ok(())
    }

    fn send(&mut self, track: LocalTrack, frames: Receiver<EncodedFrame>, raw: Option<RawStats>) {
        let captured_at = self.began;
        self.tracks.spawn(async move {
            let frames = Arc::new(frames);
            let result = track.run(Arc::clone(&frames), captured_at).await;
            let raw = raw.map(|stats| stats());
            result.map(|report: SentReport| SentTrack::new(report, raw, frames.stats()))
        });
    }

    /// Completes when every track has sent all it had, or with the first failure of a source, encoder or track. Never, if
    /// nothing is sent. Cancel-safe.
    pub(super) async fn over(&mut self) -> Result<(), Error> {
        loop {
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            if self.tracks.is_empty() && self.workers.is_empty() {
                return if std::mem::take(&mut self.active) { Ok(()) } else { std::future::pending().await };
            }
            self.collect().await;
        }
    }

    async fn collect(&mut self) {
        tokio::select! {
            Some(done) = self.tracks.join_next() => self.take(done),
            Some(done) = self.workers.join_next() => self.take_worker(done),
            else => {}
        }
    }

    fn take_worker(&mut self, done: Result<Result<(), Error>, tokio::task::JoinError>) {
        let result = done.unwrap_or_else(|error| Err(internal(&error)));
        self.failure = self.failure.take().or(result.err());
    }

    fn take(&mut self, done: Result<Result<SentTrack, PeerError>, tokio::task::JoinError>) {
        match done {
            Ok(Ok(track)) => self.sent.push(track),
            Ok(Err(error)) => {
                self.failure.get_or_insert(error.erase());
            }
            Err(error) => {
                self.failure.get_or_insert(internal(&error));
            }
        }
    }

    /// Ends after the stop was asked for: joins the threads, lets `hang_up` run while the tracks drain, and gives what
    /// each track sent.
    pub(super) async fn finish(mut self, hang_up: impl Future<Output = ()>) -> (Vec<SentTrack>, Result<(), Error>) {
        let deadline = Instant::now() + LETTING_GO;
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline.into(), self.workers.join_next()).await {
            self.take_worker(done);
        }
        if !self.workers.is_empty() {
            // Nothing interrupts a read from a pipe that nobody writes to; it ends with the process.
            tracing::debug!("{} threads still wait for their input", self.workers.len());
        }
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline.into(), self.tracks.join_next()).await {
            self.take(done);
        }
        hang_up.await;
        self.sent.sort_by(|a, b| b.kind.cmp(&a.kind));
        (self.sent, self.failure.map_or(Ok(()), Err))
    }
}

fn internal(error: &tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "OperationError", error.to_string())
}

fn encode_video(
    mut encoder: Box<dyn crate::media::VideoEncoder>,
    pictures: &Receiver<VideoFrame>,
    encoded: &Sender<EncodedFrame>,
    control: &EncoderControl,
) -> Result<(), Error> {
    let mut bitrate = None;
    while let Some(picture) = pictures.recv() {
        if let Some(wanted) = control.bitrate().filter(|wanted| bitrate != Some(*wanted)) {
            encoder.set_bitrate(wanted)?;
            bitrate = Some(wanted);
        }
        let mut gone = false;
        encoder.encode(&picture, control.take_key_frame_request(), &mut |frame| match encoded.send(frame) {
            Ok(Sent::Queued) => {}
            Ok(Sent::NeedsKey) => control.request_key_frame(),
            Err(_) => gone = true,
        })?;
        if gone {
            break;
        }
    }
    Ok(())
}

fn encode_audio(
    mut source: Box<dyn Source<AudioFrame>>,
    mut resampler: Option<Resampler>,
    mut encoder: Box<dyn crate::media::AudioEncoder>,
    encoded: &Sender<EncodedFrame>,
    stop: &Stop,
) -> Result<(), Error> {
    let mut gone = false;
    let mut deliver = |frame: EncodedFrame| gone |= encoded.send(frame).is_err();
    while let Some(frame) = source.next(stop).map_err(|error| error.at("capture"))? {
        match &mut resampler {
            None => encoder.encode(&frame, &mut deliver)?,
            Some(resampler) => {
                let mut ready = Vec::new();
                resampler.process(&frame, &mut |frame| ready.push(frame))?;
                for frame in &ready {
                    encoder.encode(frame, &mut deliver)?;
                }
            }
        }
        if stop.is_stopped() {
            break;
        }
    }
    encoder.flush(&mut deliver)
}
