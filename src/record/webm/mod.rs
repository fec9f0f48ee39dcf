//! Records encoded tracks to WebM without transcoding.
//!
//! Frames come in per track, each with its capture time on one shared timeline; a short reorder window brings them into
//! one order. The file is complete in every cluster (half a second) and gets duration, cues and seek head when it is
//! finished.
//!
//! The bytes are written here and not by the `webm` crate (libwebm), which ends clusters only at key frames, has no
//! CodecDelay and SeekPreRoll, and cannot add a track whose first frame comes late; nor by `mkv-element`, whose strings
//! end in NUL, so that a strict reader does not know the codec. Format: RFC 9559 and the WebM container guidelines.

mod interleave;
mod mux;
#[cfg(test)]
mod tests;

use super::mime::{Container, MimeType};
use super::output::{Existing, Output, OutputError, Target};
use crate::error::{Classify, Error, ErrorKind};
use crate::media::av1::av1_configuration;
use crate::media::h264::AvcConfiguration;
use crate::media::{Codec, EncodedFrame, MediaKind, MediaTime, Sink, frame_header, opus_packet_samples};
use interleave::{Interleaver, Placed};
use mux::{Muxer, number_of};
use serde::Serialize;
use std::num::NonZeroU32;
use std::path::PathBuf;

const MILLIS: NonZeroU32 = NonZeroU32::new(1000).expect("not zero");
/// How long a stream waits for the first frame of every track: its header cannot be changed later.
const STREAM_HEADER_MS: i64 = 2000;
/// A picture that is followed later than this stood still, whatever the frame rate.
const STOOD_MS: i64 = 100;

/// A track that is announced. It need not get a frame; a track without one is not in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackInfo {
    /// Pictures.
    Video {
        /// VP8, VP9, AV1, or in Matroska H.264.
        codec: Codec,
        /// Width and height in pixels, where known. The first key frame knows better.
        size: Option<(u32, u32)>,
    },
    /// Sound.
    Audio {
        /// Opus.
        codec: Codec,
        /// 1 or 2.
        channels: u16,
        /// Of the source before it was encoded; for information only.
        sample_rate: NonZeroU32,
    },
}

impl TrackInfo {
    /// How its frames are coded.
    pub fn codec(&self) -> Codec {
        match self {
            Self::Video { codec, .. } | Self::Audio { codec, .. } => *codec,
        }
    }
}

/// Why a recording failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebmError {
    /// The file or stream failed.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A track of this kind cannot be in a WebM file of ours.
    #[error("track {track}: WebM cannot hold this: {what}")]
    Unsupported {
        /// Its place in the list of tracks.
        track: usize,
        /// What it is.
        what: String,
    },
    /// A frame for a track that was not announced, or in another codec.
    #[error("track {track}: a frame of {codec}, which was not announced")]
    Unannounced {
        /// The track it was for.
        track: usize,
        /// Its codec.
        codec: Codec,
    },
    /// The container takes no further track.
    #[error("no track can be added to the recording: {why}")]
    NoFurther {
        /// Why not.
        why: &'static str,
    },
    /// No frame came that could be recorded.
    #[error("{path}: nothing was recorded, since no frame arrived that decoding can start from")]
    Empty {
        /// The output; it is not there.
        path: PathBuf,
    },
    /// It failed earlier and was used again.
    #[error("{path}: the recording has failed already")]
    Failed {
        /// The output.
        path: PathBuf,
    },
}

impl Classify for WebmError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unsupported { .. } | Self::Unannounced { .. } | Self::NoFurther { .. } => ErrorKind::InvalidInput,
            Self::Output(_) | Self::Empty { .. } | Self::Failed { .. } => ErrorKind::Output,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Output(error) => error.hint(),
            _ => None,
        }
    }
}

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// The file, under the name it got; `None` for a stream.
    pub path: Option<PathBuf>,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its length in seconds.
    pub duration: f64,
    /// Its tracks, in the order they were announced in.
    pub tracks: Vec<RecordedTrack>,
}

/// One track of a recording.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedTrack {
    /// Its number in the file, counted from 1 (Matroska `TrackNumber`).
    pub number: u64,
    /// `audio` or `video`.
    pub kind: &'static str,
    /// The RTP media type, e.g. `video/VP8`.
    pub mime_type: &'static str,
    /// Frames written.
    pub frames: u64,
    /// How many of them decoding can start from.
    pub key_frames: u64,
    /// Their bytes, without the container.
    pub bytes: u64,
    /// Time of the first frame, in seconds from the start of the file.
    pub start: Option<f64>,
    /// End of the last frame, in seconds from the start of the file.
    pub end: Option<f64>,
    /// Frames left out since no key frame had come before them; for sound, since it came just before the first picture.
    pub before_first_key_frame: u64,
    /// Frames that came too late for their time and were written at a later one.
    pub moved: u64,
}

/// Writes one WebM file or stream. Blocks on the disk or pipe behind it.
///
/// Dropping it without [`finish`](Self::finish) leaves a `.part` that plays, if anything was written.
pub struct WebmRecorder {
    mux: Muxer,
    interleaver: Interleaver,
    tracks: Vec<Track>,
    started: bool,
    failed: bool,
}

struct Track {
    info: TrackInfo,
    /// The parameter sets that the file keeps apart from the frames of H.264.
    avc: Option<AvcConfiguration>,
    has_come: bool,
    frames: u64,
    key_frames: u64,
    bytes: u64,
    before_key: u64,
    start_ms: Option<i64>,
    last_ms: i64,
    end_ms: i64,
    /// The shortest time between two of its frames.
    shortest_ms: Option<i64>,
}

impl WebmRecorder {
    /// Opens the output, so that what cannot be written fails now. Frames name their track by its place in `tracks`.
    ///
    /// # Errors
    /// When the output cannot be created, and when there is no track or one that WebM cannot hold.
    pub fn create(target: Target, existing: Existing, tracks: &[TrackInfo]) -> Result<Self, WebmError> {
        Self::create_as(Container::WebM, target, existing, tracks)
    }

    /// The same, as a WebM or a Matroska file.
    ///
    /// # Errors
    /// As [`create`](Self::create), and for other containers.
    pub fn create_as(
        container: Container,
        target: Target,
        existing: Existing,
        tracks: &[TrackInfo],
    ) -> Result<Self, WebmError> {
        if tracks.is_empty() {
            return Err(WebmError::Unsupported { track: 0, what: "no track at all".to_owned() });
        }
        for (track, info) in tracks.iter().enumerate() {
            check(container, track, info)?;
        }
        let mux = Muxer::new(Output::create(target, existing)?, container, tracks);
        let tracks: Vec<_> = tracks.iter().cloned().map(Track::new).collect();
        let interleaver = Interleaver::new(tracks.len());
        Ok(Self { mux, interleaver, tracks, started: false, failed: false })
    }

    /// Keeps room for so many tracks that may be [added](Self::add_track); before the first frame.
    pub fn keep_room(&mut self, tracks: usize) {
        self.mux.keep_room(tracks);
    }

    /// Adds a track, whose place in the list of tracks it returns. A file takes it at any time, a stream until its header is
    /// written.
    ///
    /// # Errors
    /// When there is no room for it, and when the container cannot hold it. The recording goes on as it was.
    pub fn add_track(&mut self, info: TrackInfo) -> Result<usize, WebmError> {
        let place = self.tracks.len();
        check(self.mux.container(), place, &info)?;
        self.mux.add_track(&info).map_err(|why| WebmError::NoFurther { why })?;
        self.interleaver.add_track();
        self.tracks.push(Track::new(info));
        Ok(place)
    }

    /// Says how the frames of track number `track` are coded, where that was not known when it was announced. Only before its
    /// first frame; in a stream only before the header is written.
    pub fn set_codec(&mut self, track: usize, codec: Codec) {
        let Some(state) = self.tracks.get_mut(track).filter(|state| !state.has_come) else { return };
        let TrackInfo::Video { codec: announced, .. } = &mut state.info else { return };
        if codec.kind() == MediaKind::Video && self.mux.set_codec(track, codec) {
            *announced = codec;
        }
    }

    /// The output that is being written.
    pub fn output(&self) -> &Output {
        self.mux.output()
    }

    /// See [`Output::keep_durable`].
    pub fn keep_durable(&mut self) {
        self.mux.output_mut().keep_durable();
    }

    /// The most bytes that the output can have if it is finished now.
    pub fn finished_bytes(&self) -> u64 {
        self.mux.finished_bytes() + self.interleaver.bytes()
    }

    /// Length so far, in seconds.
    pub fn seconds(&self) -> f64 {
        self.mux.end_ms() as f64 / 1000.0
    }

    /// When the file begins, on the timeline of its frames; `None` as long as an earlier frame may come.
    pub fn begins_at(&self) -> Option<MediaTime> {
        self.mux.origin_ms().map(|ms| MediaTime::from_micros(ms * 1000))
    }

    /// Takes one frame of track number `track`. Within a track, frames come in decoding order. Video begins with its
    /// first key frame; what comes before it is counted and left out. Empty frames are ignored.
    ///
    /// # Errors
    /// When the output fails, and when the frame does not belong to an announced track.
    pub fn write(&mut self, track: usize, frame: &EncodedFrame) -> Result<(), WebmError> {
        self.check_usable()?;
        let codec = frame.codec;
        let Some(state) = self.tracks.get_mut(track).filter(|state| state.info.codec() == codec) else {
            return Err(WebmError::Unannounced { track, codec });
        };
        if frame.data.is_empty() {
            return Ok(());
        }
        let mut frame = frame.clone();
        if codec.kind() == MediaKind::Video {
            let header = frame_header(codec, &frame.data);
            frame.key = header.is_some_and(|header| header.key);
            if !state.has_come {
                let key = header.filter(|header| header.key);
                let Some((width, height)) = key.and_then(|header| header.size) else {
                    state.before_key += 1;
                    return Ok(());
                };
                self.mux.set_size(track, width, height);
                let (avc, private) = match codec {
                    Codec::H264 => {
                        let avc = AvcConfiguration::of_access_unit(&frame.data);
                        let private = avc.as_ref().map(AvcConfiguration::record);
                        (avc, private)
                    }
                    Codec::Av1 => (None, av1_configuration(&frame.data)),
                    _ => (None, Some(Vec::new())),
                };
                if !private.is_some_and(|private| self.mux.set_private(track, private)) {
                    let what = format!("a key frame of {codec} whose parameter sets are missing or too long");
                    return Err(WebmError::Unsupported { track, what });
                }
                state.avc = avc;
            }
            if let Some(avc) = &state.avc {
                frame.data = avc.to_file(&frame.data);
                if frame.data.is_empty() {
                    return Ok(());
                }
            }
        }
        let ms = frame.time.rescale(MILLIS).ticks();
        self.interleaver.push(track, ms, frame);
        if codec.kind() == MediaKind::Video && !self.has_picture() {
            self.begin_together(ms);
        }
        self.tracks[track].has_come = true;
        self.started |= self.mux.output().is_seekable()
            || (0..self.tracks.len()).all(|track| self.interleaver.has_held(track))
            || self.interleaver.span_ms() >= STREAM_HEADER_MS
            || self.interleaver.is_over_full();
        while self.started
            && let Some(placed) = self.interleaver.pop()
        {
            self.put(&placed)?;
        }
        Ok(())
    }

    fn has_picture(&self) -> bool {
        self.tracks.iter().any(|track| track.has_come && track.info.codec().kind() == MediaKind::Video)
    }

    /// Leaves out the sound before the first picture, where there is no more of it than the window holds: the two begin
    /// together then. Sound that has been waiting for longer stays.
    fn begin_together(&mut self, ms: i64) {
        for (number, track) in self.tracks.iter_mut().enumerate() {
            if track.info.codec().kind() == MediaKind::Audio {
                track.before_key += self.interleaver.begin_at(number, ms);
            }
        }
    }

    /// Hands all frames taken so far to the operating system, e.g. because no more will come for a while. Frames that come
    /// later with an earlier time are moved.
    ///
    /// # Errors
    /// When the output fails.
    pub fn flush(&mut self) -> Result<(), WebmError> {
        self.check_usable()?;
        while let Some(placed) = self.interleaver.pop_any() {
            self.started = true;
            self.put(&placed)?;
        }
        self.mux.end_cluster().map_err(|error| self.fail(error))
    }

    /// Hands the frames that have their place in the file to the operating system.
    ///
    /// # Errors
    /// When the output fails.
    pub fn end_cluster(&mut self) -> Result<(), WebmError> {
        self.check_usable()?;
        self.mux.end_cluster().map_err(|error| self.fail(error))
    }

    /// Writes what is held, completes the file and gives it its name.
    ///
    /// # Errors
    /// When the output fails, which leaves a `.part` that plays, and when no frame was recorded.
    pub fn finish(mut self) -> Result<Recorded, WebmError> {
        self.flush()?;
        if self.tracks.iter().all(|track| track.frames == 0) {
            return Err(WebmError::Empty { path: self.mux.output().name().to_owned() });
        }
        let duration = self.mux.end_ms() as f64 / 1000.0;
        let moved = |track| self.interleaver.moved(track);
        let tracks = self.tracks.iter().enumerate().map(|(n, track)| track.report(n, moved(n))).collect();
        let finished = self.mux.finish()?;
        Ok(Recorded { path: finished.path, bytes: finished.bytes, duration, tracks })
    }

    fn check_usable(&self) -> Result<(), WebmError> {
        if self.failed { Err(WebmError::Failed { path: self.mux.output().name().to_owned() }) } else { Ok(()) }
    }

    fn fail(&mut self, error: OutputError) -> WebmError {
        self.failed = true;
        error.into()
    }

    fn put(&mut self, placed: &Placed) -> Result<(), WebmError> {
        let track = &mut self.tracks[placed.track];
        let duration_ms = match placed.frame.codec {
            Codec::Opus => opus_packet_samples(&placed.frame.data).map_or(0, |samples| (samples / 48) as i64),
            // A picture stays for as long as the one before it did. One that stood, as on a screen, says nothing of the next.
            _ if track.frames > 0 => {
                let gap = placed.ms - track.last_ms;
                let shortest = track.shortest_ms.map_or(gap, |shortest| shortest.min(gap));
                track.shortest_ms = Some(shortest);
                if gap > STOOD_MS { shortest } else { gap }
            }
            _ => 0,
        };
        track.last_ms = placed.ms;
        match self.mux.put(placed, duration_ms.min(1000)) {
            Ok(ms) => {
                track.frames += 1;
                track.key_frames += u64::from(placed.frame.key);
                track.bytes += placed.frame.data.len() as u64;
                track.start_ms.get_or_insert(ms);
                track.end_ms = ms + duration_ms.min(1000);
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }
}

/// Whether the container holds such a track.
fn check(container: Container, track: usize, info: &TrackInfo) -> Result<(), WebmError> {
    let unsupported = |what: String| Err(WebmError::Unsupported { track, what });
    match info {
        TrackInfo::Video { codec, .. } if codec.kind() != MediaKind::Video => {
            unsupported(format!("video coded as {codec}"))
        }
        TrackInfo::Audio { codec, .. } if codec.kind() != MediaKind::Audio => {
            unsupported(format!("audio coded as {codec}"))
        }
        _ if !container.holds(info.codec()) => unsupported(format!("{} in {}", info.codec(), MimeType::of(container))),
        TrackInfo::Audio { channels, .. } if !(1..=2).contains(channels) => unsupported(format!("{channels} channels")),
        _ => Ok(()),
    }
}

impl Track {
    fn new(info: TrackInfo) -> Self {
        Self {
            info,
            avc: None,
            has_come: false,
            frames: 0,
            key_frames: 0,
            bytes: 0,
            before_key: 0,
            start_ms: None,
            last_ms: 0,
            shortest_ms: None,
            end_ms: 0,
        }
    }

    fn report(&self, place: usize, moved: u64) -> RecordedTrack {
        let codec = self.info.codec();
        RecordedTrack {
            number: number_of(place),
            kind: codec.kind().as_str(),
            mime_type: codec.mime_type(),
            frames: self.frames,
            key_frames: self.key_frames,
            bytes: self.bytes,
            start: self.start_ms.map(|ms| ms as f64 / 1000.0),
            end: self.start_ms.map(|_| self.end_ms as f64 / 1000.0),
            before_first_key_frame: self.before_key,
            moved,
        }
    }
}

impl Sink<(usize, EncodedFrame)> for WebmRecorder {
    fn write(&mut self, item: &(usize, EncodedFrame)) -> Result<(), Error> {
        let (track, frame) = item;
        Ok(WebmRecorder::write(self, *track, frame)?)
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        WebmRecorder::finish(*self)?;
        Ok(())
    }
}
