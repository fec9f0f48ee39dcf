//! The receiving half: one task per track for the network, one thread per track for disk and decoder.
//!
//! ```text
//! RemoteTrack task -[DropToKeyframe]-> thread: recorder (shared by the tracks) and decoder -> y4m | wav | measure | play
//! ```

use super::measure::{Measure, Measured};
use super::options::ReceiveOptions;
use super::player::Player;
use super::report::{OutputReport, Received, ReceivedTrack};
use crate::codec::{self, AudioEncoderSettings};
use crate::error::{Error, ErrorKind};
use crate::filter::Resampler;
use crate::media::{
    AudioDecoder, AudioEncoder, AudioFormat, AudioFrame, Codec, EncodedFrame, FrameRate, Loss, MediaKind, MediaTime,
    VideoDecoder, VideoFrame,
};
use crate::ops::destination::Destination;
use crate::ops::media::{Hearing, Viewing};
use crate::peer::{KeyFrameRequester, Mark, MediaPlan, ReceivedReport, RemoteTrack, Timing};
use crate::pipeline::Worker;
use crate::pipeline::queue::{Overflow, Receiver, Sender, bounded};
use crate::record::{Container, Existing, Finished, Target, TrackInfo, WavSink, WebmRecorder, Y4mSink};
use std::io::Write;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Frames that may wait for disk and decoder: seconds, so that a slow disk costs nothing.
const QUEUE: usize = 256;
/// What decoded audio is written as.
pub(super) const AUDIO: AudioFormat =
    AudioFormat { sample_rate: NonZeroU32::new(48_000).expect("not zero"), channels: 2 };
/// What sound is recorded as; G.711, which no container of ours holds, is encoded again.
const RECORDED_SOUND: Codec = Codec::Opus;
/// The constant rate of decoded video on disk.
const Y4M_RATE: FrameRate = FrameRate::new(30, 1).expect("not zero");
/// A hole in audio longer than this is not concealed: the stream paused.
const MOST_CONCEALED: MediaTime = MediaTime::from_micros(1_000_000);

/// When the files of a call begin, where it is told.
pub(super) type Begun = watch::Sender<Option<Instant>>;

type SharedRecorder = Arc<Mutex<Option<WebmRecorder>>>;

/// What a thread leaves behind when its track is over.
struct Done {
    kind: MediaKind,
    decoded: Option<u64>,
    output: Option<Finished>,
}

struct VideoSinks {
    y4m: Option<Y4mSink>,
    viewing: Option<Viewing>,
    measure: Option<Arc<Measure>>,
}

struct AudioSinks {
    wav: Option<WavSink>,
    hearing: Option<Hearing>,
    measure: Option<Arc<Measure>>,
}

/// What leads to the thread of one kind of media.
struct Feed {
    kind: MediaKind,
    /// As it came first; the recording holds no other.
    codec: Codec,
    frames: Arc<Sender<EncodedFrame>>,
    key_frames: KeyFrameRequester,
    /// Frames decoded so far.
    decoded: Arc<AtomicU64>,
    /// The streams that came, and how many frames had been decoded before each.
    streams: Vec<(u32, u64)>,
}

/// The running half.
pub(super) struct Receiving {
    recorder: Option<SharedRecorder>,
    video: Option<VideoSinks>,
    audio: Option<AudioSinks>,
    measure: Option<Arc<Measure>>,
    timing: Arc<Timing>,
    /// When the files begin.
    begun: Begun,
    tracks: JoinSet<(ReceivedReport, u64)>,
    threads: JoinSet<Result<Done, Error>>,
    /// What has come by the connection that is up.
    taken: Vec<MediaKind>,
    /// Whether there are outputs, or it is shown.
    used: bool,
    /// What leads to the outputs, by whichever connection it comes.
    feeds: Vec<Feed>,
    ended: Vec<Done>,
    failure: Option<Error>,
}

/// The place of each kind in the recorder's list of tracks.
const RECORDED: [MediaKind; 2] = [MediaKind::Video, MediaKind::Audio];

impl Receiving {
    /// Opens all outputs, so that what cannot be written fails before the call.
    pub(super) fn prepare(
        options: &ReceiveOptions,
        plan: &MediaPlan,
        video_codecs: &[Codec],
        mut stdout: Option<Box<dyn Write + Send>>,
        player: Player,
        timing: Arc<Timing>,
        begun: Begun,
    ) -> Result<Self, Error> {
        let mut target = |to: &Destination| match to {
            Destination::File(path) => Ok(Target::File(path.clone())),
            Destination::Stdout => {
                let stream = stdout.take().ok_or_else(|| {
                    Error::new(ErrorKind::Usage, "usage", "standard output is not there to be written to")
                })?;
                Ok::<_, Error>(Target::Stream(stream, "-".to_owned()))
            }
        };
        let existing: Existing = options.existing;
        let recorder = match &options.record {
            None => None,
            Some(to) => {
                let container = options.container().unwrap_or(Container::WebM);
                let expected = video_codecs.first().copied().unwrap_or(Codec::Vp8);
                let tracks = [
                    TrackInfo::Video { codec: expected, size: None },
                    TrackInfo::Audio { codec: RECORDED_SOUND, channels: 2, sample_rate: AUDIO.sample_rate },
                ];
                Some(Arc::new(Mutex::new(Some(WebmRecorder::create_as(container, target(to)?, existing, &tracks)?))))
            }
        };
        // Both outputs begin at the zero of the session, so that they stay in step.
        let origin = Some(MediaTime::ZERO);
        let y4m = match &options.video_output {
            None => None,
            Some(to) => Some(Y4mSink::create(target(to)?, existing, Y4M_RATE, origin)?),
        };
        let wav = match &options.audio_output {
            None => None,
            Some(to) => Some(WavSink::create(target(to)?, existing, AUDIO, origin)?),
        };
        let measure = options.measure.then(|| Arc::new(Measure::new()));
        Ok(Self {
            recorder,
            video: Some(VideoSinks { y4m, viewing: player.viewing, measure: measure.clone() })
                .filter(|_| plan.receive_video),
            audio: Some(AudioSinks { wav, hearing: player.hearing, measure: measure.clone() })
                .filter(|_| plan.receive_audio),
            measure,
            timing,
            begun,
            tracks: JoinSet::new(),
            threads: JoinSet::new(),
            taken: Vec::new(),
            used: options.has_files() || options.play,
            feeds: Vec::new(),
            ended: Vec::new(),
            failure: None,
        })
    }

    /// What video is recorded as, once any has come.
    pub(super) fn recorded_video(&self) -> Option<Codec> {
        self.feeds.iter().find(|feed| feed.kind == MediaKind::Video).map(|feed| feed.codec)
    }

    /// What comes from now on comes by another connection: the first track of each kind leads to the same outputs.
    pub(super) fn go_on(&mut self) {
        self.taken.clear();
    }

    /// Whether a track of this kind would be counted only, although others are used.
    pub(super) fn is_spare(&self, kind: MediaKind) -> bool {
        self.used && self.taken.contains(&kind)
    }

    /// Starts to receive a track. The first of each kind gets the outputs; others are counted only.
    ///
    /// # Errors
    /// When it cannot go on in the recording that was begun.
    pub(super) fn take_track(&mut self, track: RemoteTrack) -> Result<(), Error> {
        let (kind, codec) = (track.kind(), track.codec());
        let first = !self.taken.contains(&kind);
        self.taken.push(kind);
        let known = self.feeds.iter_mut().find(|feed| feed.kind == kind && first);
        let (frames, key_frames) = match known {
            Some(feed) if kind == MediaKind::Video && self.recorder.is_some() && feed.codec != codec => {
                return Err(another_codec(feed.codec, codec));
            }
            Some(feed) => {
                feed.streams.push((track.ssrc(), feed.decoded.load(Ordering::Relaxed)));
                (Arc::clone(&feed.frames), feed.key_frames.clone())
            }
            None => self.begin(&track, first)?,
        };
        let track = track.asked_by(key_frames);
        self.tracks.spawn(async move {
            let before = frames.stats().dropped;
            let report = track.run(Arc::clone(&frames)).await;
            (report, frames.stats().dropped - before)
        });
        Ok(())
    }

    /// Starts the thread of a track.
    fn begin(
        &mut self,
        track: &RemoteTrack,
        first: bool,
    ) -> Result<(Arc<Sender<EncodedFrame>>, KeyFrameRequester), Error> {
        let (kind, codec, key_frames) = (track.kind(), track.codec(), track.key_frames());
        let (sender, frames) = bounded(QUEUE, Overflow::DropToKeyframe);
        let sender = Arc::new(sender);
        let place = RECORDED.iter().position(|recorded| *recorded == kind).unwrap_or(0);
        let recorder = self.recorder.clone().filter(|_| first);
        if let (Some(recorder), MediaKind::Video) = (&recorder, kind)
            && let Some(recorder) = &mut *recorder.lock().unwrap_or_else(PoisonError::into_inner)
        {
            recorder.set_codec(place, codec);
        }
        let decoded = Arc::new(AtomicU64::new(0));
        let (timing, count, asking) = (Arc::clone(&self.timing), Arc::clone(&decoded), key_frames.clone());
        let begun = first.then(|| (self.begun.clone(), Box::new(track.zero()) as _));
        let recording = Recording { recorder, track: place, begun };
        let video = if kind == MediaKind::Video { self.video.take() } else { None };
        let audio = if kind == MediaKind::Audio { self.audio.take() } else { None };
        let work = move || match kind {
            MediaKind::Video => receive_video(codec, &frames, &recording, video, &asking, (&timing, &count)),
            MediaKind::Audio => receive_audio(codec, &frames, &recording, audio, (&timing, &count)),
        };
        self.threads.spawn(Worker::spawn(thread_name(kind), work)?.finished());
        if first {
            let streams = vec![(track.ssrc(), 0)];
            let (frames, key_frames) = (Arc::clone(&sender), key_frames.clone());
            self.feeds.push(Feed { kind, codec, frames, key_frames, decoded, streams });
        }
        Ok((sender, key_frames))
    }

    /// Completes when an output fails. Cancel-safe.
    pub(super) async fn failed(&mut self) -> Error {
        loop {
            if let Some(error) = self.failure.take() {
                return error;
            }
            match self.threads.join_next().await {
                Some(done) => self.take_thread(done),
                None => std::future::pending().await,
            }
        }
    }

    fn take_thread(&mut self, done: Result<Result<Done, Error>, tokio::task::JoinError>) {
        match done {
            Ok(Ok(done)) => self.ended.push(done),
            // The first failure tells why; what follows from it does not.
            Ok(Err(error)) => {
                self.failure.get_or_insert(error);
            }
            Err(error) => {
                self.failure.get_or_insert(Error::new(ErrorKind::Internal, "OperationError", error.to_string()));
            }
        }
    }

    /// Completes the outputs once the session is closed, and tells what was received.
    pub(super) async fn finish(mut self) -> (Received, Result<(), Error>) {
        let mut received = Received::default();
        while let Some(Ok((rtp, frames_dropped))) = self.tracks.join_next().await {
            received.tracks.push(ReceivedTrack { rtp, frames_decoded: None, frames_dropped });
        }
        // The threads end with what leads to them.
        let streams: Vec<_> = self.feeds.drain(..).map(|feed| (feed.kind, feed.streams)).collect();
        received.tracks.sort_by(|a, b| b.rtp.kind.cmp(&a.rtp.kind));
        while let Some(done) = self.threads.join_next().await {
            self.take_thread(done);
        }
        let mut failure = self.failure.take();
        for done in std::mem::take(&mut self.ended) {
            if let Some(total) = done.decoded {
                let mut until = total;
                let of_kind =
                    streams.iter().filter(|(kind, _)| *kind == done.kind).flat_map(|(_, streams)| streams.iter().rev());
                for (ssrc, before) in of_kind {
                    if let Some(track) = received.tracks.iter_mut().find(|track| track.rtp.ssrc == *ssrc) {
                        track.frames_decoded = Some(until - before);
                    }
                    until = *before;
                }
            }
            let output = done.output.map(|finished| OutputReport {
                path: finished.path.map_or_else(|| "-".to_owned(), |path| path.display().to_string()),
                bytes: finished.bytes,
            });
            match done.kind {
                MediaKind::Video => received.video_output = received.video_output.or(output),
                MediaKind::Audio => received.audio_output = received.audio_output.or(output),
            }
        }
        if let Some(recorder) = self.recorder.take().and_then(take_recorder) {
            let finished = tokio::task::spawn_blocking(move || recorder.finish()).await;
            match finished {
                Ok(Ok(recorded)) => received.recording = Some(recorded),
                Ok(Err(error)) => failure = failure.or(Some(Error::from(error).at("record"))),
                Err(error) => {
                    failure = failure.or(Some(Error::new(ErrorKind::Internal, "OperationError", error.to_string())));
                }
            }
        }
        received.measured = self.measure.take().map(|measure| -> Measured { measure.result() });
        (received, failure.map_or(Ok(()), Err))
    }

    /// Gives up outputs that nothing was written to, because the call never came up.
    pub(super) async fn discard(self) {
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

fn thread_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Video => "receive-video",
        MediaKind::Audio => "receive-audio",
    }
}

fn another_codec(recorded: Codec, came: Codec) -> Error {
    let (recorded, came) = (recorded.mime_type(), came.mime_type());
    let message = format!("the peer came back with {came}, and the recording that it left holds {recorded}");
    let name = recorded.trim_start_matches("video/").to_ascii_lowercase();
    Error::new(ErrorKind::SessionLost, "NotSupportedError", message)
        .at("record")
        .with_hint(format!("what came before is in the file; --video-codec {name} lets the peer send nothing else"))
}

fn take_recorder(shared: SharedRecorder) -> Option<WebmRecorder> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// When the timeline of a recording begins, once it does.
type ZeroOfTimeline = Box<dyn Fn() -> Option<Instant> + Send>;

struct Recording {
    recorder: Option<SharedRecorder>,
    track: usize,
    /// Where it is told when the files begin, if this is what they are made of, and the zero of its timeline.
    begun: Option<(Begun, ZeroOfTimeline)>,
}

impl Recording {
    fn write(&self, frame: &EncodedFrame) -> Result<(), Error> {
        let Some(shared) = &self.recorder else {
            // What is decoded begins at the zero of the session.
            self.note_begin(MediaTime::ZERO);
            return Ok(());
        };
        let mut recorder = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(working) = recorder.as_mut() else { return Ok(()) };
        let written = working.write(self.track, frame);
        working.begins_at().into_iter().for_each(|time| self.note_begin(time));
        if written.is_err() {
            // Closed as it is: the other track must not report that it found a broken recorder, and hide what broke it.
            *recorder = None;
        }
        written.map_err(|error| Error::from(error).at("record"))
    }

    fn note_begin(&self, time: MediaTime) {
        let Some((begun, zero)) = &self.begun else { return };
        begun.send_if_modified(|begun| {
            let is_news = begun.is_none();
            *begun = begun.or_else(|| Some(zero()? + time.duration()));
            is_news
        });
    }
}

fn receive_video(
    codec: Codec,
    frames: &Receiver<EncodedFrame>,
    recording: &Recording,
    sinks: Option<VideoSinks>,
    key_frames: &KeyFrameRequester,
    (timing, count): (&Timing, &AtomicU64),
) -> Result<Done, Error> {
    let mut codec = codec;
    let mut sinks = sinks.filter(|sinks| sinks.y4m.is_some() || sinks.viewing.is_some() || sinks.measure.is_some());
    let mut decoder: Option<Box<dyn VideoDecoder>> = match &sinks {
        Some(_) => Some(codec::video_decoder(codec)?),
        None => None,
    };
    let mut decoded = 0;
    while let Some(frame) = frames.recv() {
        recording.write(&frame)?;
        let (Some(decoder), Some(sinks)) = (&mut decoder, &mut sinks) else { continue };
        if frame.codec != std::mem::replace(&mut codec, frame.codec) {
            *decoder = codec::video_decoder(codec)?;
        }
        let mut written = Ok(());
        let result = decoder.decode(&frame, &mut |picture: VideoFrame| {
            if decoded == 0 {
                timing.mark(Mark::FirstFrameDecoded);
            }
            decoded += 1;
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(measure) = &sinks.measure {
                measure.picture(&picture);
            }
            if let Some(viewing) = &mut sinks.viewing {
                viewing.show(&picture);
            }
            if let (Some(y4m), Ok(())) = (&mut sinks.y4m, &written) {
                written = y4m.write(&picture).map_err(|error| Error::from(error).at("video-output"));
            }
        });
        written?;
        if let Err(error) = result {
            tracing::debug!("{error}");
            key_frames.request();
        }
    }
    let output = match sinks.and_then(|sinks| sinks.y4m).filter(|_| decoded > 0) {
        Some(y4m) => Some(y4m.finish().map_err(|error| Error::from(error).at("video-output"))?),
        None => None,
    };
    Ok(Done { kind: MediaKind::Video, decoded: decoder.map(|_| decoded), output })
}

/// A decoder, and what takes its sound.
type Decoding = (Box<dyn AudioDecoder>, Listening);

/// Takes decoded sound to where it goes.
struct Listening {
    sinks: AudioSinks,
    /// What the recording cannot hold as it came is encoded again for it.
    recoding: Option<Box<dyn AudioEncoder>>,
    /// To [`AUDIO`].
    resampler: Resampler,
}

impl Listening {
    fn hear(&mut self, sound: &AudioFrame, recording: &Recording) -> Result<(), Error> {
        let Self { sinks, recoding, resampler } = self;
        let mut taken = Ok(());
        resampler.process(sound, &mut |sound| {
            if taken.is_ok() {
                taken = take_sound(sinks, recoding.as_deref_mut(), &sound, recording);
            }
        })?;
        taken
    }

    /// What decodes this codec and listens to it; `None` where nobody wants to hear it.
    fn begin(codec: Codec, sinks: AudioSinks, recording: &Recording) -> Result<Option<Decoding>, Error> {
        let recoding = match recording.recorder.is_some() && codec != RECORDED_SOUND {
            true => Some(codec::audio_encoder(RECORDED_SOUND, AUDIO, AudioEncoderSettings::default())?),
            false => None,
        };
        if sinks.wav.is_none() && sinks.hearing.is_none() && sinks.measure.is_none() && recoding.is_none() {
            return Ok(None);
        }
        let decoder = codec::audio_decoder(codec, AUDIO.channels)?;
        let resampler = Resampler::new(decoder.format(), AUDIO)?;
        Ok(Some((decoder, Self { sinks, recoding, resampler })))
    }

    /// Gives all of it to the sinks, which come back.
    fn finish(mut self, recording: &Recording) -> Result<AudioSinks, Error> {
        let Self { sinks, recoding, resampler } = &mut self;
        let mut taken = Ok(());
        resampler.flush(&mut |sound| {
            if taken.is_ok() {
                taken = take_sound(sinks, recoding.as_deref_mut(), &sound, recording);
            }
        })?;
        if let Some(encoder) = recoding {
            encoder.flush(&mut |packet| {
                if taken.is_ok() {
                    taken = recording.write(&packet);
                }
            })?;
        }
        taken.map(|()| self.sinks)
    }
}

fn take_sound(
    sinks: &mut AudioSinks,
    recoding: Option<&mut (dyn AudioEncoder + 'static)>,
    sound: &AudioFrame,
    recording: &Recording,
) -> Result<(), Error> {
    if let Some(measure) = &sinks.measure {
        measure.sound(sound);
    }
    if let Some(hearing) = &mut sinks.hearing {
        hearing.play(sound);
    }
    if let Some(wav) = &mut sinks.wav {
        wav.write(sound).map_err(|error| Error::from(error).at("audio-output"))?;
    }
    let mut written = Ok(());
    if let Some(encoder) = recoding {
        encoder.encode(sound, &mut |packet| {
            if written.is_ok() {
                written = recording.write(&packet);
            }
        })?;
    }
    written
}

fn receive_audio(
    codec: Codec,
    frames: &Receiver<EncodedFrame>,
    recording: &Recording,
    sinks: Option<AudioSinks>,
    (timing, count): (&Timing, &AtomicU64),
) -> Result<Done, Error> {
    let sinks = sinks.unwrap_or(AudioSinks { wav: None, hearing: None, measure: None });
    let mut codec = codec;
    let mut decoding = Listening::begin(codec, sinks, recording)?;
    let mut decoded = 0;
    let mut due: Option<MediaTime> = None;
    while let Some(frame) = frames.recv() {
        if frame.codec != std::mem::replace(&mut codec, frame.codec) {
            let sinks = match decoding {
                Some((_, listening)) => listening.finish(recording)?,
                None => AudioSinks { wav: None, hearing: None, measure: None },
            };
            decoding = Listening::begin(codec, sinks, recording)?;
            due = None;
        }
        if codec == RECORDED_SOUND {
            recording.write(&frame)?;
        }
        let Some((decoder, listening)) = &mut decoding else { continue };
        let mut heard = Ok(());
        let mut hear = |sound: AudioFrame| {
            if heard.is_ok() {
                heard = listening.hear(&sound, recording);
            }
        };
        let hole = due.map_or(MediaTime::ZERO, |due| frame.time.minus(due));
        if let Some(time) = due
            && hole > MediaTime::from_micros(5_000)
            && hole < MOST_CONCEALED
        {
            let samples = usize::try_from(hole.rescale(decoder.format().sample_rate).ticks()).unwrap_or(0);
            if let Err(error) = decoder.conceal(Loss { time, samples, next: Some(&frame) }, &mut hear) {
                tracing::debug!("{error}");
            }
        }
        match decoder.decode(&frame, &mut |sound: AudioFrame| {
            due = Some(sound.time.plus(sound.duration()));
            hear(sound);
        }) {
            Ok(()) => {
                decoded += 1;
                count.fetch_add(1, Ordering::Relaxed);
                timing.mark(Mark::FirstFrameDecoded);
            }
            Err(error) => tracing::debug!("{error}"),
        }
        heard?;
    }
    let has_decoded = decoding.is_some();
    let wav = match decoding {
        Some((_, listening)) => {
            let AudioSinks { wav, hearing, .. } = listening.finish(recording)?;
            hearing.into_iter().for_each(Hearing::finish);
            wav
        }
        None => None,
    };
    let output = match wav.filter(|_| decoded > 0) {
        Some(wav) => Some(wav.finish().map_err(|error| Error::from(error).at("audio-output"))?),
        None => None,
    };
    Ok(Done { kind: MediaKind::Audio, decoded: has_decoded.then_some(decoded), output })
}
