//! The receiving half: one task per track for the network, one thread per track for disk and decoder.
//!
//! ```text
//! RemoteTrack task -[DropToKeyframe]-> thread: recorder (shared by the tracks) and decoder -> y4m | wav | measure | play
//! ```

use super::measure::{Measure, Measured};
use super::options::ReceiveOptions;
use super::outputs::{AUDIO, AudioSinks, Begun, Done, RECORDED_SOUND, Recording, SharedRecorder, VideoSinks};
use super::outputs::{receive_audio, receive_video, track_info};
use super::player::Player;
use super::report::{OutputReport, Received, ReceivedTrack};
use crate::error::{Error, ErrorKind};
use crate::media::{Codec, EncodedFrame, FrameRate, MediaKind, MediaTime};
use crate::ops::destination::Destination;
use crate::peer::{KeyFrameRequester, MediaPlan, ReceivedReport, RemoteTrack, Timing};
use crate::pipeline::Worker;
use crate::pipeline::queue::{Overflow, Sender, bounded};
use crate::progress::{Event, Progress};
use crate::record::{Container, Existing, Target, WavSink, WebmRecorder, Y4mSink};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// Frames that may wait for disk and decoder: seconds, so that a slow disk costs nothing.
const QUEUE: usize = 256;
/// The constant rate of decoded video on disk.
const Y4M_RATE: FrameRate = FrameRate::new(30, 1).expect("not zero");
/// Tracks that a recording takes beside the first of each kind: no peer needs more, and each costs room, memory and a thread.
const FURTHER: usize = 14;

/// What leads to the thread of a track.
struct Feed {
    kind: MediaKind,
    /// The media section that it came by.
    section: Option<String>,
    /// As it came first.
    codec: Codec,
    /// Its place in the recording.
    place: Option<usize>,
    /// Whether something of the connection that is up leads to it.
    is_taken: bool,
    frames: Arc<Sender<EncodedFrame>>,
    key_frames: KeyFrameRequester,
    /// Frames decoded so far.
    decoded: Arc<AtomicU64>,
    /// The streams that came, and how many frames had been decoded before each.
    streams: Vec<(u32, u64)>,
}

/// What a call has for what it receives, besides its options.
pub(super) struct Means {
    pub stdout: Option<Box<dyn Write + Send>>,
    pub player: Player,
    pub timing: Arc<Timing>,
    /// When the files begin.
    pub begun: Begun,
    pub progress: Arc<dyn Progress>,
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
    progress: Arc<dyn Progress>,
    /// Each with the place of its feed, unless it is counted only.
    tracks: JoinSet<(Option<usize>, ReceivedReport, u64)>,
    threads: JoinSet<Result<Done, Error>>,
    /// Of each kind, whether the first is shown, heard, decoded to a file or measured.
    is_used: [bool; 2],
    /// Places in the recording for tracks that are announced and have not come.
    awaited: Vec<(MediaKind, usize)>,
    /// In the order in which their first tracks came, by whichever connection. The first of each kind leads to all outputs, the
    /// others to the recording.
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
        means: Means,
    ) -> Result<Self, Error> {
        let Means { mut stdout, player, timing, begun, progress } = means;
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
                let tracks = RECORDED.map(|kind| track_info(kind, expected));
                let mut recorder = WebmRecorder::create_as(container, target(to)?, existing, &tracks)?;
                recorder.keep_room(FURTHER);
                Some(Arc::new(Mutex::new(Some(recorder))))
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
            is_used: [
                options.video_output.is_some() || options.measure || player.viewing.is_some(),
                options.audio_output.is_some() || options.measure || player.hearing.is_some(),
            ],
            video: Some(VideoSinks { y4m, viewing: player.viewing, measure: measure.clone() })
                .filter(|_| plan.receive_video),
            audio: Some(AudioSinks { wav, hearing: player.hearing, measure: measure.clone() })
                .filter(|_| plan.receive_audio),
            measure,
            timing,
            begun,
            progress,
            tracks: JoinSet::new(),
            threads: JoinSet::new(),
            awaited: Vec::new(),
            feeds: Vec::new(),
            ended: Vec::new(),
            failure: None,
        })
    }

    /// What video is recorded as, once any has come.
    pub(super) fn recorded_video(&self) -> Option<Codec> {
        self.feeds.iter().find(|feed| feed.kind == MediaKind::Video).map(|feed| feed.codec)
    }

    /// What comes from now on comes by another connection: its tracks lead to where those of the one before it led.
    pub(super) fn go_on(&mut self) {
        self.feeds.iter_mut().for_each(|feed| feed.is_taken = false);
    }

    /// What the peer announced that it sends. The header of a stream names all of it.
    pub(super) fn expect(&mut self, announced: &[MediaKind]) {
        let Some(shared) = &self.recorder else { return };
        let mut recorder = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(recorder) = recorder.as_mut().filter(|recorder| !recorder.output().is_seekable()) else { return };
        for kind in RECORDED {
            let awaited = self.awaited.iter().filter(|(awaited, _)| *awaited == kind).count();
            let known = self.count(kind).max(1) + awaited;
            for _ in announced.iter().filter(|announced| **announced == kind).skip(known) {
                // Where there is no room, that is told when it comes.
                let info = track_info(kind, Codec::Vp8);
                self.awaited.extend(recorder.add_track(info).ok().map(|place| (kind, place)));
            }
        }
    }

    fn count(&self, kind: MediaKind) -> usize {
        self.feeds.iter().filter(|feed| feed.kind == kind).count()
    }

    /// Starts to receive a track. The first of each kind gets the outputs; others are recorded, or counted only.
    ///
    /// # Errors
    /// When it cannot go on in the recording that was begun.
    pub(super) fn take_track(&mut self, track: RemoteTrack) -> Result<(), Error> {
        let (kind, codec) = (track.kind(), track.codec());
        let is_free = |(_, feed): &(usize, &Feed)| feed.kind == kind && !feed.is_taken;
        let of_section = |(_, feed): &(usize, &Feed)| feed.section.as_deref() == track.section();
        let free = || self.feeds.iter().enumerate().filter(is_free);
        let index = match free().find(of_section).or_else(|| free().next()).map(|(index, _)| index) {
            Some(index) => {
                let feed = &mut self.feeds[index];
                feed.streams.push((track.ssrc(), feed.decoded.load(Ordering::Relaxed)));
                feed.section = track.section().map(str::to_owned);
                feed.is_taken = true;
                index
            }
            None => {
                let is_first = self.count(kind) == 0;
                match self.place(kind, codec, is_first) {
                    None if !is_first => {
                        self.count_only(track);
                        return Ok(());
                    }
                    place => self.begin(&track, place, is_first)?,
                }
            }
        };
        let frames = Arc::clone(&self.feeds[index].frames);
        let track = track.asked_by(self.feeds[index].key_frames.clone());
        self.tracks.spawn(async move {
            let before = frames.stats().dropped;
            let report = track.run(Arc::clone(&frames)).await;
            (Some(index), report, frames.stats().dropped - before)
        });
        Ok(())
    }

    fn count_only(&mut self, track: RemoteTrack) {
        self.tracks.spawn(async move {
            // What is there is none of what is lost.
            let (sender, _kept) = bounded(1, Overflow::Latest);
            (None, track.run(Arc::new(sender)).await, 0)
        });
    }

    /// Starts the thread of a track, and gives the place of what leads to it.
    fn begin(&mut self, track: &RemoteTrack, place: Option<usize>, is_first: bool) -> Result<usize, Error> {
        let (kind, codec, key_frames) = (track.kind(), track.codec(), track.key_frames());
        let (sender, frames) = bounded(QUEUE, Overflow::DropToKeyframe);
        let decoded = Arc::new(AtomicU64::new(0));
        let (timing, count, asking) = (Arc::clone(&self.timing), Arc::clone(&decoded), key_frames.clone());
        let begun = is_first.then(|| (self.begun.clone(), Box::new(track.zero()) as _));
        let recorder = self.recorder.clone().filter(|_| place.is_some());
        let recorded_as = if kind == MediaKind::Video { codec } else { RECORDED_SOUND };
        let placed = (recorded_as, place.unwrap_or_default());
        let recording = match is_first {
            true => Recording::new(recorder, placed, begun),
            false => Recording::optional(recorder, placed, Arc::clone(&self.progress)),
        };
        let video = if kind == MediaKind::Video { self.video.take() } else { None };
        let audio = if kind == MediaKind::Audio { self.audio.take() } else { None };
        let feed = self.feeds.len();
        let work = move || {
            let (decoded, output) = match kind {
                MediaKind::Video => receive_video(codec, &frames, &recording, video, &asking, (&timing, &count))?,
                MediaKind::Audio => receive_audio(codec, &frames, &recording, audio, (&timing, &count))?,
            };
            Ok(Done { feed, decoded, output, places: recording.places() })
        };
        self.threads.spawn(Worker::spawn(thread_name(kind), work)?.finished());
        self.feeds.push(Feed {
            kind,
            section: track.section().map(str::to_owned),
            codec,
            place,
            is_taken: true,
            frames: Arc::new(sender),
            key_frames,
            decoded,
            streams: vec![(track.ssrc(), 0)],
        });
        Ok(feed)
    }

    /// The place of a track in the recording; where it has none although others have, or is not used as they are, that is told.
    fn place(&mut self, kind: MediaKind, codec: Codec, is_first: bool) -> Option<usize> {
        let of_kind = RECORDED.iter().position(|recorded| *recorded == kind)?;
        let is_used = self.is_used[of_kind];
        let shared = self.recorder.clone();
        let mut guard = shared.as_ref().map(|shared| shared.lock().unwrap_or_else(PoisonError::into_inner));
        let recorder = guard.as_deref_mut().and_then(Option::as_mut);
        let (place, told) = match recorder {
            Some(recorder) if is_first => {
                recorder.set_codec(of_kind, codec);
                (Some(of_kind), None)
            }
            Some(recorder) => {
                let awaited = self.awaited.iter().position(|(awaited, _)| *awaited == kind);
                let place = match awaited.map(|index| self.awaited.remove(index).1) {
                    Some(place) => {
                        recorder.set_codec(place, codec);
                        Ok(place)
                    }
                    None => recorder.add_track(track_info(kind, codec)),
                };
                match place {
                    Ok(place) if is_used => {
                        (Some(place), Some("it is recorded; only the first is used otherwise".to_owned()))
                    }
                    Ok(place) => (Some(place), None),
                    Err(error) => (None, Some(format!("it is only counted: {error}"))),
                }
            }
            None if is_used && !is_first => (None, Some("the first is used, and this one only counted".to_owned())),
            None => (None, None),
        };
        if let Some(told) = told {
            self.progress.event(Event::Warning { message: format!("another {kind} comes: {told}") });
        }
        place
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
        let mut tracks = Vec::new();
        while let Some(Ok((feed, rtp, frames_dropped))) = self.tracks.join_next().await {
            tracks
                .push((feed, ReceivedTrack { rtp, frames_decoded: None, frames_dropped, recorded_tracks: Vec::new() }));
        }
        // The threads end with what leads to them.
        let mut feeds: Vec<_> = self
            .feeds
            .drain(..)
            .map(|feed| (feed.kind, feed.place.into_iter().collect::<Vec<_>>(), feed.streams))
            .collect();
        tracks.sort_by_key(|(feed, track)| {
            let streams = feed.map_or(&[][..], |feed| &feeds[feed].2);
            let nth = streams.iter().position(|(ssrc, _)| *ssrc == track.rtp.ssrc);
            (track.rtp.key_frames_received.is_none(), feed.is_none(), *feed, nth)
        });
        while let Some(done) = self.threads.join_next().await {
            self.take_thread(done);
        }
        let mut failure = self.failure.take();
        for done in std::mem::take(&mut self.ended) {
            let (kind, places, streams) = &mut feeds[done.feed];
            *places = done.places;
            if let Some(total) = done.decoded {
                let mut until = total;
                for (ssrc, before) in streams.iter().rev() {
                    let its = |(feed, track): &&mut (Option<usize>, ReceivedTrack)| {
                        *feed == Some(done.feed) && track.rtp.ssrc == *ssrc
                    };
                    if let Some((_, track)) = tracks.iter_mut().find(its) {
                        track.frames_decoded = Some(until - before);
                    }
                    until = *before;
                }
            }
            let output = done.output.map(|finished| OutputReport {
                path: finished.path.map_or_else(|| "-".to_owned(), |path| path.display().to_string()),
                bytes: finished.bytes,
            });
            match kind {
                MediaKind::Video => received.video_output = received.video_output.or(output),
                MediaKind::Audio => received.audio_output = received.audio_output.or(output),
            }
        }
        if let Some(recorder) =
            self.recorder.take().and_then(|shared| shared.lock().unwrap_or_else(PoisonError::into_inner).take())
        {
            let finished = tokio::task::spawn_blocking(move || recorder.finish()).await;
            match finished {
                Ok(Ok(recorded)) => received.recording = Some(recorded),
                Ok(Err(error)) => failure = failure.or(Some(Error::from(error).at("record"))),
                Err(error) => {
                    failure = failure.or(Some(Error::new(ErrorKind::Internal, "OperationError", error.to_string())));
                }
            }
        }
        let numbers = |feed: Option<usize>| -> Vec<u64> {
            let places = feed.map_or(&[][..], |feed| &feeds[feed].1);
            let recorded = received.recording.iter().flat_map(|recording| &recording.tracks).enumerate();
            let held = recorded.filter(|(place, track)| places.contains(place) && track.frames > 0);
            held.map(|(_, track)| track.number).collect()
        };
        let tracks = tracks.into_iter().map(|(feed, track)| ReceivedTrack { recorded_tracks: numbers(feed), ..track });
        received.tracks = tracks.collect();
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
