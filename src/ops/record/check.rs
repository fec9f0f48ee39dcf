//! `record --check`: reads a recording again, to its last frame, and says what is in it and whether it plays.
//!
//! ```text
//! WebM, Matroska -> record::inspect (the structure) ┐
//! any file -> capture -> decoder -------------------┴-> tracks, gaps, damage, sync of `test` media
//! ```

use crate::capture::{self, CaptureError, OpenOptions, SourceSpec, Wanted};
use crate::codec;
use crate::error::{Error, ErrorKind};
use crate::media::chirp::ChirpDetector;
use crate::media::{
    AudioConstraints, AudioDecoder, AudioFrame, AudioInput, Codec, EncodedFrame, MediaInput, MediaKind, MediaTime,
    Source, VideoConstraints, VideoDecoder, VideoFrame, VideoInput, barcode, opus_packet_samples,
};
use crate::ops::call::skew;
use crate::record::{InspectError, inspect};
use crate::stop::Stop;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What a file holds. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Whether a player could play it.
    pub plays: bool,
    /// Whether it was finished: nothing is cut off, and it says how long it is.
    pub complete: bool,
    /// The duration it declares; absent where the container has none, or does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared_duration: Option<f64>,
    /// The end of its last frame.
    pub duration: f64,
    /// The points it can be seeked to; absent where the container knows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cues: Option<u64>,
    /// Its tracks.
    pub tracks: Vec<CheckedTrack>,
    /// How much later the sound begins than the picture; negative when it begins earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_start_offset: Option<f64>,
    /// How much later the sound ends than the picture; negative when it ends earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_end_offset: Option<f64>,
    /// Of `test` media: how much later the picture is than its sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub av_skew: Option<AvSkew>,
    /// What is wrong with it, in words.
    pub problems: Vec<String>,
}

/// How much later the picture of `test` media is than its sound, by its flashes and chirps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AvSkew {
    /// The median over the first ten seconds.
    pub begin: f64,
    /// The median over all.
    pub median: f64,
    /// The median over the last ten seconds.
    pub end: f64,
}

/// A track of a file that was read to its end. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedTrack {
    /// `audio`, `video` or `other`.
    pub kind: &'static str,
    /// The RTP media type, or what the container calls it; `raw` for pictures and samples.
    pub codec: String,
    /// Its frames.
    pub frames: u64,
    /// How many of them decoding can start from.
    pub key_frames: u64,
    /// Time of the first frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// End of the last frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
    /// The longest time from one frame to the next.
    pub largest_gap: f64,
    /// Frames whose time is not after that of the one before.
    pub backwards: u64,
    /// Frames that could be decoded; absent where we have no decoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoded: Option<u64>,
    /// Frames that could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<u64>,
}

/// Reads the file at `path`. Blocks, for as long as decoding takes.
///
/// # Errors
/// When it cannot be read. A file that would not play is told in what is given; see [`Checked::verdict`].
pub fn check(path: &Path) -> Result<Checked, Error> {
    let unreadable = |error: std::io::Error| {
        Error::new(ErrorKind::InvalidInput, "NotFoundError", format!("{}: {error}", path.display()))
    };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    let mut checked = Checked { path: path.to_owned(), bytes, ..Checked::default() };
    let mut head = [0; 4];
    let is_matroska = std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head))
        .is_ok_and(|()| head == [0x1A, 0x45, 0xDF, 0xA3]);
    if is_matroska && !take_structure(&mut checked)? {
        return Ok(checked);
    }
    let mut sync = Sync { detector: ChirpDetector::new(), lit: None, flashes: Vec::new(), chirps: Vec::new() };
    for kind in [MediaKind::Video, MediaKind::Audio] {
        match open(path, kind) {
            Ok(input) => read(input, kind, &mut checked, &mut sync, is_matroska),
            Err(CaptureError::NoTrack { .. }) => {}
            Err(error) if checked.tracks.iter().any(|track| track.kind == kind.as_str()) || !is_matroska => {
                note(&mut checked, &error.to_string());
            }
            Err(_) => {}
        }
    }
    judge(&mut checked, is_matroska);
    checked.av_skew = sync.result();
    Ok(checked)
}

impl Checked {
    /// The error of a file that would not play.
    ///
    /// # Errors
    /// That one, of the kind `Integrity`.
    pub fn verdict(&self) -> Result<(), Error> {
        if self.plays {
            return Ok(());
        }
        let why = self.problems.first().map_or("nothing in it plays", String::as_str);
        let path = self.path.display();
        let why = why.strip_prefix(&format!("{path}: ")).unwrap_or(why);
        Err(Error::new(ErrorKind::Integrity, "integrity", format!("{path} would not play: {why}")))
    }
}

fn note(checked: &mut Checked, problem: &str) {
    if !checked.problems.iter().any(|known| known == problem) {
        checked.problems.push(problem.to_owned());
    }
}

fn open(path: &Path, kind: MediaKind) -> Result<MediaInput, CaptureError> {
    let wanted = Wanted { video: kind == MediaKind::Video, audio: kind == MediaKind::Audio };
    let spec = SourceSpec::File(path.to_owned());
    capture::open(&spec, wanted, &VideoConstraints::default(), &AudioConstraints::default(), OpenOptions::default())
}

/// What the elements say; false when it is no Matroska file after all.
fn take_structure(checked: &mut Checked) -> Result<bool, Error> {
    let found = match inspect(&checked.path) {
        Ok(found) => found,
        Err(error @ InspectError::NotMatroska { .. }) => {
            note(checked, &error.to_string());
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    checked.complete = found.complete;
    checked.declared_duration = found.declared_duration;
    checked.duration = found.duration;
    checked.cues = Some(found.cues);
    checked.audio_start_offset = found.audio_start_offset;
    checked.audio_end_offset = found.audio_end_offset;
    if found.truncated {
        note(checked, "it is cut off");
    }
    if found.declared_duration.is_none() {
        note(checked, "it does not say how long it is");
    }
    if found.cues == 0 {
        note(checked, "it has no cues, so seeking is slow");
    }
    checked.tracks = found
        .tracks
        .into_iter()
        .map(|track| CheckedTrack {
            kind: track.kind,
            codec: track.codec,
            frames: track.frames,
            key_frames: track.key_frames,
            start: track.first,
            end: track.end,
            largest_gap: track.largest_gap,
            backwards: track.backwards,
            decoded: None,
            damaged: None,
        })
        .collect();
    Ok(true)
}

/// Reads and decodes a track, and enters what that gives.
fn read(input: MediaInput, kind: MediaKind, checked: &mut Checked, sync: &mut Sync, is_matroska: bool) {
    let (mut track, error) = match kind {
        MediaKind::Video => match input.video {
            Some(VideoInput::Encoded { codec, source, .. }) => decode(codec, source, sync),
            Some(VideoInput::Raw { mut source, .. }) => {
                let mut scan = Scan::new("raw".to_owned(), kind);
                let error = scan.all(&mut source, |picture| {
                    sync.picture(&picture);
                    (picture.time, None, true, true)
                });
                (scan.track, error)
            }
            None => return,
        },
        MediaKind::Audio => match input.audio {
            Some(AudioInput::Encoded { codec, source, .. }) => decode(codec, source, sync),
            Some(AudioInput::Raw { mut source, .. }) => {
                let mut scan = Scan::new("raw".to_owned(), kind);
                let error = scan.all(&mut source, |sound| {
                    sync.sound(&sound);
                    (sound.time, Some(sound.duration()), true, true)
                });
                (scan.track, error)
            }
            None => return,
        },
    };
    if let Some(error) = error {
        note(checked, &error.to_string());
    }
    // The first track of its kind is the one that was read. Its container knows its times better.
    match checked.tracks.iter_mut().find(|known| known.kind == kind.as_str()) {
        Some(known) => (known.decoded, known.damaged) = (track.decoded, track.damaged),
        None if !is_matroska => {
            checked.duration = track.end.map_or(checked.duration, |end| checked.duration.max(end));
            track.kind = kind.as_str();
            checked.tracks.push(track);
        }
        None => {}
    }
}

/// Reads an encoded track; what could be decoded goes to `sync`.
fn decode(codec: Codec, source: Box<dyn Source<EncodedFrame>>, sync: &mut Sync) -> (CheckedTrack, Option<Error>) {
    let mut scan = Scan::new(codec.mime_type().to_owned(), codec.kind());
    let decoder = Decoder::new(codec);
    let mut decoder = match decoder {
        Ok(decoder) => decoder,
        Err(error) => return (scan.track, Some(error)),
    };
    let mut source = source;
    let error = scan.all(&mut source, |frame| {
        let good = decoder.decode(&frame, sync);
        let samples = opus_packet_samples(&frame.data).filter(|_| codec == Codec::Opus);
        let length =
            samples.map(|samples| MediaTime::new(i64::try_from(samples).unwrap_or(0), Codec::Opus.clock_rate()));
        (frame.time, length, frame.key, good.is_ok())
    });
    (scan.track, error)
}

/// A decoder of either kind.
enum Decoder {
    Video(Box<dyn VideoDecoder>),
    Audio(Box<dyn AudioDecoder>),
}

impl Decoder {
    fn new(codec: Codec) -> Result<Self, Error> {
        Ok(match codec.kind() {
            MediaKind::Video => Self::Video(codec::video_decoder(codec)?),
            MediaKind::Audio => Self::Audio(codec::audio_decoder(codec, 2)?),
        })
    }

    fn decode(&mut self, frame: &EncodedFrame, sync: &mut Sync) -> Result<(), Error> {
        match self {
            Self::Video(decoder) => decoder.decode(frame, &mut |picture| sync.picture(&picture)),
            Self::Audio(decoder) => decoder.decode(frame, &mut |sound| sync.sound(&sound)),
        }
    }
}

/// Goes through a track.
struct Scan {
    track: CheckedTrack,
    last: Option<MediaTime>,
    gap: MediaTime,
}

impl Scan {
    fn new(codec: String, kind: MediaKind) -> Self {
        let track =
            CheckedTrack { kind: kind.as_str(), codec, decoded: Some(0), damaged: Some(0), ..CheckedTrack::default() };
        Self { track, last: None, gap: MediaTime::ZERO }
    }

    /// `take` gives the time of an item, its length where that is known, whether decoding can start with it, and whether it is
    /// sound.
    fn all<T>(
        &mut self,
        source: &mut Box<dyn Source<T>>,
        mut take: impl FnMut(T) -> (MediaTime, Option<MediaTime>, bool, bool),
    ) -> Option<Error> {
        let stop = Stop::new();
        loop {
            let item = match source.next(&stop) {
                Ok(Some(item)) => item,
                Ok(None) => return None,
                Err(error) => return Some(error),
            };
            let (time, length, key, good) = take(item);
            let track = &mut self.track;
            track.frames += 1;
            track.key_frames += u64::from(key);
            let count = if good { &mut track.decoded } else { &mut track.damaged };
            *count = count.map(|count| count + 1);
            track.start.get_or_insert(time.seconds());
            if let Some(last) = self.last.replace(time) {
                self.gap = time.minus(last);
                track.backwards += u64::from(time <= last);
                track.largest_gap = track.largest_gap.max(self.gap.seconds());
            }
            track.end = Some(time.plus(length.unwrap_or(self.gap)).seconds());
        }
    }
}

fn judge(checked: &mut Checked, is_matroska: bool) {
    if !is_matroska {
        let end = |kind: &str| checked.tracks.iter().find(|track| track.kind == kind).and_then(|track| track.end);
        checked.audio_end_offset = end("audio").zip(end("video")).map(|(audio, video)| audio - video);
        checked.complete = checked.problems.is_empty() && !checked.tracks.is_empty();
    }
    let mut plays = !checked.tracks.is_empty();
    let mut problems = Vec::new();
    for track in &checked.tracks {
        let what = format!("the {} track", track.kind);
        if track.frames == 0 {
            problems.push(format!("{what} is empty"));
        } else if track.kind == "video" && track.key_frames == 0 {
            problems.push(format!("{what} has no key frame"));
        } else if track.decoded == Some(0) {
            problems.push(format!("no frame of {what} can be decoded"));
        } else {
            if let Some(damaged @ 1..) = track.damaged {
                problems.push(format!("{damaged} of {} frames of {what} are damaged", track.frames));
            }
            if track.backwards > 0 {
                problems.push(format!("the times of {} frames of {what} do not go forwards", track.backwards));
            }
            continue;
        }
        plays = false;
    }
    if checked.tracks.is_empty() {
        problems.push("it has no track".to_owned());
    }
    problems.iter().for_each(|problem| note(checked, problem));
    checked.plays = plays;
}

/// The sync of `test` media, by its flashes and chirps.
struct Sync {
    detector: ChirpDetector,
    lit: Option<bool>,
    flashes: Vec<MediaTime>,
    chirps: Vec<MediaTime>,
}

impl Sync {
    fn picture(&mut self, picture: &VideoFrame) {
        // Without a barcode it is some other film, and what looks like a flash is none.
        let lit = barcode::flash(picture) && barcode::read(picture).is_some();
        if lit && self.lit == Some(false) {
            self.flashes.push(picture.time);
        }
        self.lit = Some(lit);
    }

    fn sound(&mut self, sound: &AudioFrame) {
        let chirps = &mut self.chirps;
        self.detector.push(sound, &mut |onset| chirps.push(onset));
    }

    fn result(&self) -> Option<AvSkew> {
        let within = |from: f64, to: f64| -> Vec<MediaTime> {
            self.flashes.iter().copied().filter(|time| (from..=to).contains(&time.seconds())).collect()
        };
        let last = self.flashes.last()?.seconds();
        let median = skew(&self.flashes, &self.chirps)?;
        let of = |flashes: Vec<MediaTime>| skew(&flashes, &self.chirps).unwrap_or(median);
        Some(AvSkew { begin: of(within(0.0, 10.0)), median, end: of(within(last - 10.0, last)) })
    }
}
