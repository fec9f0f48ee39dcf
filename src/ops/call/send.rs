//! The sending half: sources and encoders on threads of their own, one task per track behind them.
//!
//! ```text
//! ops::media -[DropToKeyframe]-> LocalTrack task, or a Fan to those of several viewers
//! ```

use super::fan::Fan;
use super::report::SentTrack;
use super::suiting::Suiting;
use crate::error::{Error, ErrorKind};
use crate::media::{
    AudioInput, AudioSettings, Codec, EncodedFrame, EncoderControl, H264Level, VideoInput, VideoSettings,
};
use crate::ops::control::Request;
use crate::ops::media::{
    AudioEncoding, AudioTrack, Fit, Inputs, Pace, PictureStats, RawVideo, SendLimits, Threads, Tracks, Vacancy,
    VideoEncoding, VideoTrack, decoded_audio,
};
use crate::peer::{LocalTrack, PeerError};
use crate::pipeline::Clock;
use crate::pipeline::queue::{Overflow, QueueStats, Receiver, Sender, bounded};
use crate::progress::{Event, Progress};
use crate::stop::Stop;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Encoded frames that may wait for the network: half a second of video.
pub(super) const ENCODED_QUEUE: usize = 16;
/// Raw pictures that may wait for the encoder; older ones give way.
const RAW_QUEUE: usize = 2;
/// How video is encoded for a call.
const VIDEO: VideoEncoding = VideoEncoding::live(Codec::Vp8);
/// How audio is encoded for a call.
const AUDIO: AudioEncoding = AudioEncoding::new(Codec::Opus);

/// How long threads and tracks may take to end once they were asked to. The peer waits to be told.
pub(super) const LETTING_GO: Duration = Duration::from_millis(500);

/// Where what is encoded goes.
pub(super) enum Outlet {
    Peer(LocalTrack),
    Viewers(Arc<Fan>),
}

impl Outlet {
    fn codec(&self) -> Codec {
        match self {
            Self::Peer(track) => track.codec(),
            Self::Viewers(fan) => fan.codec(),
        }
    }

    /// What the other side can decode, and the most bytes of a NAL unit, where it says so.
    fn h264(&self) -> (Option<H264Level>, Option<u32>) {
        match self {
            Self::Peer(track) => (track.level(), track.most_unit_bytes()),
            Self::Viewers(_) => (None, None),
        }
    }

    fn control(&self) -> Arc<EncoderControl> {
        match self {
            Self::Peer(track) => track.control(),
            Self::Viewers(fan) => fan.control(),
        }
    }
}

/// What is encoded for a peer, whichever connection it goes by.
struct Lane {
    codec: Codec,
    most_unit_bytes: Option<u32>,
    next: mpsc::Sender<LocalTrack>,
}

/// The running half.
pub(super) struct Sending {
    threads: Threads,
    tracks: JoinSet<Result<Vec<SentTrack>, PeerError>>,
    /// How tracks of the next connection get there, where there may be one.
    lanes: Vec<Lane>,
    may_go_on: bool,
    /// What the tracks send.
    queues: Vec<Weak<Receiver<EncodedFrame>>>,
    sent: Vec<SentTrack>,
    failure: Option<Error>,
    active: bool,
    began: SystemTime,
    /// What sources feed the tracks, and how.
    sources: Tracks,
}

impl Sending {
    /// Starts the threads and tasks. The timeline of all tracks begins now. `vacancy` is for sources that end, `may_go_on` for
    /// connections that are followed by others.
    #[expect(clippy::too_many_arguments, reason = "each is an end of what is sent")]
    pub(super) fn start(
        inputs: Inputs,
        limits: SendLimits,
        video: Option<Outlet>,
        audio: Option<Outlet>,
        vacancy: Vacancy,
        may_go_on: bool,
        progress: Arc<dyn Progress>,
        stop: &Stop,
    ) -> Result<Self, Error> {
        let clock = Clock::start();
        let content_hint = inputs.content_hint();
        let sources = Tracks::new(&inputs, clock, Fit::Own, vacancy, Arc::clone(&progress));
        let inputs = inputs.begun_at(clock.origin())?;
        let mut sending = Self {
            threads: Threads::new(stop),
            tracks: JoinSet::new(),
            lanes: Vec::new(),
            may_go_on,
            queues: Vec::new(),
            sent: Vec::new(),
            failure: None,
            active: false,
            began: SystemTime::now(),
            sources,
        };
        if let (Some(input), Some(track)) = (inputs.video, video) {
            let (level, most_unit_bytes) = track.h264();
            // The units of a file are as large as they are.
            let input = if most_unit_bytes.is_some() { RawVideo::of(input)?.into() } else { input };
            let input = match input {
                VideoInput::Encoded { codec: Codec::H264, size, source } if track.codec() == Codec::H264 => {
                    let source = Box::new(Suiting::new(source, level, Arc::clone(&progress)));
                    VideoInput::Encoded { codec: Codec::H264, size, source }
                }
                input => input,
            };
            let limits = SendLimits { level, ..limits };
            tell_reduction(&limits, &input, &*progress);
            let input = sending.hold_video(input, inputs.video_settings, clock);
            let encoding = VideoEncoding {
                codec: track.codec(),
                bitrate: limits.max_bitrate,
                content_hint,
                most_unit_bytes,
                ..VIDEO
            };
            sending.start_video(input, limits, track, Pace::Clock(clock), encoding)?;
        }
        if let (Some(input), Some(track)) = (inputs.audio, audio) {
            let input = match input {
                AudioInput::Encoded { codec, .. } if codec != track.codec() => decoded_audio(input)?,
                input => input,
            };
            let input = sending.hold_audio(input, inputs.audio_settings, clock);
            sending.start_audio(input, track, Pace::Clock(clock))?;
        }
        Ok(sending)
    }

    /// Whether anything is being sent.
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// Obeys a command about a track. `others` are the commands that the call knows besides.
    pub(super) fn obey(&mut self, request: Request, others: &[&str]) {
        self.sources.obey(request, others);
    }

    fn hold_video(&mut self, input: VideoInput, settings: Option<VideoSettings>, clock: Clock) -> VideoInput {
        let VideoInput::Raw { format, live, source } = input else { return input };
        let settings = settings.unwrap_or_else(|| VideoSettings::of_format("", &format));
        let source = self.sources.video(Pace::Clock(clock).of(live, source), format, settings);
        VideoInput::Raw { format, live: true, source }
    }

    fn hold_audio(&mut self, input: AudioInput, settings: Option<AudioSettings>, clock: Clock) -> AudioInput {
        let AudioInput::Raw { format, live, source } = input else { return input };
        let settings = settings.unwrap_or_else(|| AudioSettings::of_format(&format));
        let source = self.sources.audio(Pace::Clock(clock).of(live, source), format, settings);
        AudioInput::Raw { format, live: true, source }
    }

    fn start_video(
        &mut self,
        input: VideoInput,
        limits: SendLimits,
        track: Outlet,
        pace: Pace,
        encoding: VideoEncoding,
    ) -> Result<(), Error> {
        let (encoded, frames) = queue();
        let video = VideoTrack {
            input,
            encoding,
            stages: Vec::new(),
            limits: Some(limits),
            control: track.control(),
            backlog: RAW_QUEUE,
        };
        let pictures = video.start(&mut self.threads, pace, encoded)?;
        self.send(track, frames, pictures);
        Ok(())
    }

    fn start_audio(&mut self, input: AudioInput, track: Outlet, pace: Pace) -> Result<(), Error> {
        let encoding = AudioEncoding { codec: track.codec(), ..AUDIO };
        let (encoded, frames) = queue();
        let control = Some(track.control());
        AudioTrack { input, encoding, stages: Vec::new(), control }.start(&mut self.threads, pace, encoded)?;
        self.send(track, frames, None);
        Ok(())
    }

    fn send(&mut self, outlet: Outlet, frames: Receiver<EncodedFrame>, pictures: Option<PictureStats>) {
        self.active = true;
        let captured_at = self.began;
        let frames = Arc::new(frames);
        self.queues.push(Arc::downgrade(&frames));
        let lane = match &outlet {
            Outlet::Peer(track) if self.may_go_on => Some(self.open_lane(track)),
            _ => None,
        };
        self.tracks.spawn(async move {
            match outlet {
                Outlet::Peer(track) => {
                    let mut sent = send_by_each(track, lane, &frames, captured_at).await?;
                    if let Some(last) = sent.last_mut() {
                        let raw = pictures.map(|pictures| pictures.get());
                        *last = SentTrack::new(std::mem::take(&mut last.rtp), raw, frames.stats());
                    }
                    Ok(sent)
                }
                Outlet::Viewers(fan) => {
                    fan.run(frames, captured_at).await;
                    Ok(Vec::new())
                }
            }
        });
    }

    fn open_lane(&mut self, track: &LocalTrack) -> mpsc::Receiver<LocalTrack> {
        let (next, lane) = mpsc::channel(1);
        self.lanes.push(Lane { codec: track.codec(), most_unit_bytes: track.most_unit_bytes(), next });
        lane
    }

    /// The codecs in which something is encoded: the next connection takes it in these.
    pub(super) fn codecs(&self) -> Vec<Codec> {
        self.lanes.iter().map(|lane| lane.codec).collect()
    }

    /// Sends by a track of the next connection; false where what is encoded does not suit it.
    pub(super) fn go_on(&self, track: LocalTrack) -> bool {
        let suits = |lane: &&Lane| lane.codec == track.codec() && lane.most_unit_bytes == track.most_unit_bytes();
        match self.lanes.iter().find(suits) {
            Some(lane) => lane.next.try_send(track).is_ok(),
            None => false,
        }
    }

    /// Completes when every track has sent all it had, or with the first failure of an encoder or track. A device that fails
    /// only ends its own track: that is the result once nothing is sent any more, and of [`finish`](Self::finish). Never, if
    /// nothing is sent. Cancel-safe.
    pub(super) async fn over(&mut self) -> Result<(), Error> {
        loop {
            if let Some(error) = self.failure.take_if(|error| error.kind() != ErrorKind::Device) {
                return Err(error);
            }
            if self.tracks.is_empty() && self.threads.is_empty() {
                return match std::mem::take(&mut self.active) {
                    true => self.failure.take().map_or(Ok(()), Err),
                    false => std::future::pending().await,
                };
            }
            self.collect().await;
        }
    }

    /// The call goes on without what failed; it is still what [`finish`](Self::finish) tells.
    pub(super) fn go_on_without(&mut self, failure: Error) {
        self.failure.get_or_insert(failure);
    }

    async fn collect(&mut self) {
        tokio::select! {
            Some(done) = self.tracks.join_next() => self.take(done),
            Some(done) = self.threads.ended() => self.failure = self.failure.take().or(done.err()),
            else => {}
        }
    }

    fn take(&mut self, done: Result<Result<Vec<SentTrack>, PeerError>, tokio::task::JoinError>) {
        match done {
            Ok(Ok(tracks)) => self.sent.extend(tracks),
            Ok(Err(error)) => {
                self.failure.get_or_insert(error.erase());
            }
            Err(error) => {
                self.failure.get_or_insert(Error::new(ErrorKind::Internal, "OperationError", error.to_string()));
            }
        }
    }

    /// Ends after the stop was asked for: joins the threads, lets `hang_up` run while the tracks drain, and gives what
    /// each track sent.
    pub(super) async fn finish(mut self, hang_up: impl Future<Output = ()>) -> (Vec<SentTrack>, Result<(), Error>) {
        let deadline = Instant::now() + LETTING_GO;
        self.lanes.clear();
        let threads = self.threads.finish(deadline).await;
        self.failure = self.failure.take().or(threads.err());
        self.drain(deadline).await;
        // What has not left by now never does; of what has, every track still gives its count.
        self.queues.iter().filter_map(Weak::upgrade).for_each(|frames| frames.close());
        self.drain(Instant::now() + LETTING_GO).await;
        hang_up.await;
        self.sent.sort_by(|a, b| b.kind.cmp(&a.kind));
        (self.sent, self.failure.map_or(Ok(()), Err))
    }

    /// Joins the tracks that end until `deadline`.
    async fn drain(&mut self, deadline: Instant) {
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline.into(), self.tracks.join_next()).await {
            self.take(done);
        }
    }
}

/// Sends what is encoded by one connection after the other, as they come by `lane`, until it ends or there is no other. In between
/// the encoder waits.
async fn send_by_each(
    mut track: LocalTrack,
    lane: Option<mpsc::Receiver<LocalTrack>>,
    frames: &Arc<Receiver<EncodedFrame>>,
    captured_at: SystemTime,
) -> Result<Vec<SentTrack>, PeerError> {
    let control = track.control();
    let mut sent = Vec::new();
    let Some(mut lane) = lane else {
        let report = track.run(Arc::clone(frames), captured_at).await?;
        return Ok(vec![SentTrack::new(report, None, QueueStats::default())]);
    };
    loop {
        let report = track.run(Arc::clone(frames), captured_at).await?;
        sent.push(SentTrack::new(report, None, QueueStats::default()));
        if frames.is_over() {
            return Ok(sent);
        }
        control.hold(true);
        let Some(next) = lane.recv().await else { return Ok(sent) };
        track = next.steering(Arc::clone(&control));
        while frames.try_recv().is_some() {}
        control.request_key_frame();
        control.hold(false);
    }
}

/// Says so where the other side can decode less than the user wants to send.
fn tell_reduction(limits: &SendLimits, input: &VideoInput, progress: &dyn Progress) {
    let VideoInput::Raw { format, .. } = input else { return };
    let Some((level, sent)) = limits.reduced_by_level(format) else { return };
    let message = format!(
        "the peer decodes H.264 up to level {level}: {}x{} is sent as {}x{}, {:.1} pictures a second",
        format.width,
        format.height,
        sent.width,
        sent.height,
        sent.frame_rate.as_f64()
    );
    progress.event(Event::Warning { message });
}

fn queue() -> (Sender<EncodedFrame>, Receiver<EncodedFrame>) {
    bounded(ENCODED_QUEUE, Overflow::DropToKeyframe)
}
