//! Reads a WebM or Matroska file back, and says what is in it: whether it is whole, how long, which tracks, how far they
//! are apart. Live, unfinished and cut files are read as far as they go.
//!
//! The file is walked here, RFC 9559 section 5, in one pass; nothing is decoded and no frame is held in memory. The
//! `matroska` crate would read the headers alone, refuses files that were never finished, and panics on or allocates what
//! damaged ones claim; it serves the tests as a second reader.

use super::ebml::id;
use crate::error::{Classify, ErrorKind};
use crate::media::opus_packet_samples;
use mkv_element::prelude::{Element, Tracks};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// Header elements are small; one that claims more is damaged.
const MOST_HEADER_BYTES: u64 = 1 << 20;

/// Why a file could not be inspected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is something else, or damaged in its header.
    #[error("{path}: not a WebM or Matroska file: {what}")]
    NotMatroska {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Classify for InspectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::InvalidInput,
            Self::NotMatroska { .. } => ErrorKind::Integrity,
        }
    }
}

/// What a file holds. Times are in seconds from the start of the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// Whether it was finished: it has a duration, all its sizes are known, and nothing is cut off.
    pub complete: bool,
    /// Whether the file ends within an element.
    pub truncated: bool,
    /// The program that wrote it.
    pub writing_app: Option<String>,
    /// The duration it declares.
    pub declared_duration: Option<f64>,
    /// The end of its last frame.
    pub duration: f64,
    /// Its clusters.
    pub clusters: u64,
    /// The points it can be seeked to.
    pub cues: u64,
    /// Its tracks, by number.
    pub tracks: Vec<TrackInspection>,
    /// How much later the sound begins than the picture; negative when it begins earlier.
    pub audio_start_offset: Option<f64>,
    /// How much later the sound ends than the picture; negative when it ends earlier.
    pub audio_end_offset: Option<f64>,
}

/// What a track holds. Times are in seconds from the start of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackInspection {
    /// Its number in the file.
    pub number: u64,
    /// `audio`, `video` or `other`.
    pub kind: &'static str,
    /// The Matroska codec id, e.g. `V_VP8`.
    pub codec: String,
    /// In pixels.
    pub width: Option<u64>,
    /// In pixels.
    pub height: Option<u64>,
    /// Samples per second.
    pub sample_rate: Option<f64>,
    /// 1 is mono.
    pub channels: Option<u64>,
    /// Its frames.
    pub frames: u64,
    /// How many of them decoding can start from.
    pub key_frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Time of the first frame.
    pub first: Option<f64>,
    /// Time of the last frame.
    pub last: Option<f64>,
    /// End of the last frame: of known length for Opus, else as long as the one before.
    pub end: Option<f64>,
    /// The longest time from one frame to the next.
    pub largest_gap: f64,
    /// Frames whose time is not after that of the one before.
    pub backwards: u64,
}

/// Reads the file at `path`, in one pass.
///
/// # Errors
/// When it cannot be read or is no Matroska file. A file that was cut after its header is no error.
pub fn inspect(path: &Path) -> Result<Inspection, InspectError> {
    let io = |source| InspectError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut walk = Walk::new(file, length);
    match walk.run() {
        Ok(()) => {}
        Err(Stop::End) => walk.truncated = true,
        Err(Stop::Io(error)) => return Err(io(error)),
        Err(Stop::Damaged(what)) if walk.tracks.is_empty() => {
            return Err(InspectError::NotMatroska { path: path.to_owned(), what: what.to_owned() });
        }
        Err(Stop::Damaged(_)) => walk.truncated = true,
    }
    Ok(walk.report())
}

enum Stop {
    End,
    Io(io::Error),
    Damaged(&'static str),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::End } else { Self::Io(error) }
    }
}

struct Walk<R> {
    reader: BufReader<R>,
    position: u64,
    length: u64,
    scale_ns: u64,
    /// As declared, in units of the scale.
    duration: Option<f64>,
    writing_app: Option<String>,
    cluster_ticks: i64,
    clusters: u64,
    cues: u64,
    truncated: bool,
    unknown_size: bool,
    tracks: BTreeMap<u64, Track>,
    /// The track of the last block, for what its group says after it.
    last_block: Option<u64>,
}

#[derive(Default)]
struct Track {
    facts: TrackInspection,
    first: Option<i64>,
    last: i64,
    gap: i64,
    largest_gap: i64,
    /// Of the last frame, in samples at 48 kHz.
    opus_samples: Option<usize>,
}

impl<R: Read + Seek> Walk<R> {
    fn new(reader: R, length: u64) -> Self {
        Self {
            reader: BufReader::with_capacity(1 << 16, reader),
            position: 0,
            length,
            scale_ns: 1_000_000,
            duration: None,
            writing_app: None,
            cluster_ticks: 0,
            clusters: 0,
            cues: 0,
            truncated: false,
            unknown_size: false,
            tracks: BTreeMap::new(),
            last_block: None,
        }
    }

    /// Goes through the file as one flat list: of masters that matter only the head is taken, and their children
    /// follow. So it does not matter where a cluster of unknown size ends.
    fn run(&mut self) -> Result<(), Stop> {
        if self.header()?.0 != id::EBML {
            return Err(Stop::Damaged("it does not begin with an EBML header"));
        }
        self.seek(0)?;
        while self.position < self.length {
            let (element, size) = self.header()?;
            match element {
                id::SEGMENT | id::CLUSTER | id::BLOCK_GROUP | id::INFO | id::CUES => {
                    self.clusters += u64::from(element == id::CLUSTER);
                    self.unknown_size |= size.is_none();
                    self.truncated |= size.is_some_and(|size| self.position.saturating_add(size) > self.length);
                    continue;
                }
                _ => {}
            }
            let Some(size) = size else { return Err(Stop::Damaged("an element of unknown size")) };
            let end = self.position.saturating_add(size);
            if end > self.length {
                return Err(Stop::End);
            }
            match element {
                id::TIMESTAMP_SCALE => self.scale_ns = self.uint(size)?.max(1),
                id::TIMESTAMP => self.cluster_ticks = i64::try_from(self.uint(size)?).unwrap_or(i64::MAX),
                id::DURATION => self.duration = self.float(size)?,
                id::WRITING_APP => {
                    let text = self.small(size)?;
                    self.writing_app = Some(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned());
                }
                id::CUE_POINT => self.cues += 1,
                id::TRACKS => self.tracks(size)?,
                id::SIMPLE_BLOCK | id::BLOCK => self.block(element, size)?,
                id::REFERENCE_BLOCK => {
                    if let Some(track) = self.last_block.take().and_then(|number| self.tracks.get_mut(&number)) {
                        track.facts.key_frames = track.facts.key_frames.saturating_sub(1);
                    }
                }
                _ => {}
            }
            self.seek(end)?;
        }
        Ok(())
    }

    fn tracks(&mut self, size: u64) -> Result<(), Stop> {
        let body = self.small(size)?;
        let tracks = Tracks::decode_body(&mut &body[..]).map_err(|_| Stop::Damaged("its list of tracks is damaged"))?;
        for entry in tracks.track_entry {
            let facts = TrackInspection {
                number: *entry.track_number,
                kind: match *entry.track_type {
                    1 => "video",
                    2 => "audio",
                    _ => "other",
                },
                codec: entry.codec_id.to_string(),
                width: entry.video.as_ref().map(|video| *video.pixel_width),
                height: entry.video.as_ref().map(|video| *video.pixel_height),
                sample_rate: entry.audio.as_ref().map(|audio| *audio.sampling_frequency),
                channels: entry.audio.as_ref().map(|audio| *audio.channels),
                ..TrackInspection::default()
            };
            self.tracks.insert(facts.number, Track { facts, ..Track::default() });
        }
        Ok(())
    }

    fn block(&mut self, element: u32, size: u64) -> Result<(), Stop> {
        let start = self.position;
        let number = self.vint()?.ok_or(Stop::Damaged("a block without a track number"))?;
        let mut head = [0; 3];
        self.read(&mut head)?;
        let ticks = self.cluster_ticks.saturating_add(i16::from_be_bytes([head[0], head[1]]).into());
        let flags = head[2];
        let lacing = flags & 0x06;
        let left = size.saturating_sub(self.position - start);
        let mut first = [0; 2];
        let known = usize::try_from(left).unwrap_or(2).min(2);
        self.read(&mut first[..known])?;
        self.last_block = (element == id::BLOCK).then_some(number);
        let Some(track) = self.tracks.get_mut(&number) else { return Ok(()) };
        let frames = if lacing == 0 { 1 } else { u64::from(first[0]) + 1 };
        track.facts.frames += frames;
        track.facts.key_frames += if element == id::BLOCK || flags & 0x80 != 0 { frames } else { 0 };
        track.facts.bytes += left;
        if track.first.is_some() {
            track.gap = ticks.saturating_sub(track.last);
            track.largest_gap = track.largest_gap.max(track.gap);
            track.facts.backwards += u64::from(track.gap <= 0);
        }
        track.first.get_or_insert(ticks);
        track.last = ticks;
        track.opus_samples =
            opus_packet_samples(&first[..known]).filter(|_| lacing == 0 && track.facts.codec == "A_OPUS");
        Ok(())
    }

    fn report(self) -> Inspection {
        let seconds = |ticks: i64| ticks as f64 * self.scale_ns as f64 / 1e9;
        let finish = |track: Track| {
            let Track { facts, first, last, gap, largest_gap, opus_samples } = track;
            let long = opus_samples.map_or(seconds(gap), |samples| samples as f64 / 48_000.0);
            TrackInspection {
                first: first.map(seconds),
                last: first.map(|_| seconds(last)),
                end: first.map(|_| seconds(last) + long),
                largest_gap: seconds(largest_gap),
                ..facts
            }
        };
        let tracks: Vec<_> = self.tracks.into_values().map(finish).collect();
        let of = |kind| tracks.iter().find(|track| track.kind == kind && track.frames > 0);
        let apart = |time: fn(&TrackInspection) -> Option<f64>| Some(time(of("audio")?)? - time(of("video")?)?);
        Inspection {
            complete: self.duration.is_some() && !self.truncated && !self.unknown_size,
            truncated: self.truncated,
            writing_app: self.writing_app,
            declared_duration: self.duration.map(|duration| duration * self.scale_ns as f64 / 1e9),
            duration: tracks.iter().filter_map(|track| track.end).fold(0.0, f64::max),
            clusters: self.clusters,
            cues: self.cues,
            audio_start_offset: apart(|track| track.first),
            audio_end_offset: apart(|track| track.end),
            tracks,
        }
    }

    fn read(&mut self, out: &mut [u8]) -> Result<(), Stop> {
        self.reader.read_exact(out)?;
        self.position += out.len() as u64;
        Ok(())
    }

    fn seek(&mut self, to: u64) -> Result<(), Stop> {
        match i64::try_from(i128::from(to) - i128::from(self.position)) {
            Ok(by) => self.reader.seek_relative(by)?,
            Err(_) => return Err(Stop::Damaged("an element beyond any file")),
        }
        self.position = to;
        Ok(())
    }

    /// Id, with its length marker, and size; `None` when the size is not known.
    fn header(&mut self) -> Result<(u32, Option<u64>), Stop> {
        let mut bytes = [0; 4];
        self.read(&mut bytes[..1])?;
        let length = bytes[0].leading_zeros() as usize + 1;
        if length > 4 {
            return Err(Stop::Damaged("an element without an id"));
        }
        self.read(&mut bytes[1..length])?;
        Ok((u32::from_be_bytes(bytes) >> (8 * (4 - length)), self.vint()?))
    }

    /// A variable-size integer; `None` for the reserved one that means unknown.
    fn vint(&mut self) -> Result<Option<u64>, Stop> {
        let mut bytes = [0; 8];
        self.read(&mut bytes[..1])?;
        let length = bytes[0].leading_zeros() as usize + 1;
        if length > 8 {
            return Err(Stop::Damaged("an element without a size"));
        }
        self.read(&mut bytes[1..length])?;
        let value = u64::from_be_bytes(bytes) >> (8 * (8 - length));
        let mask = (1u64 << (7 * length)) - 1;
        Ok(Some(value & mask).filter(|&value| value != mask))
    }

    /// The body of a header element.
    fn small(&mut self, size: u64) -> Result<Vec<u8>, Stop> {
        if size > MOST_HEADER_BYTES {
            return Err(Stop::Damaged("a header element is too long"));
        }
        let mut body = vec![0; usize::try_from(size).unwrap_or(0)];
        self.read(&mut body)?;
        Ok(body)
    }

    fn float(&mut self, size: u64) -> Result<Option<f64>, Stop> {
        let body = self.small(size)?;
        let wide = body.as_slice().try_into().map(f64::from_be_bytes).ok();
        let value = wide.or_else(|| body.as_slice().try_into().map(f32::from_be_bytes).map(f64::from).ok());
        Ok(value.filter(|value| value.is_finite()))
    }

    fn uint(&mut self, size: u64) -> Result<u64, Stop> {
        let mut bytes = [0; 8];
        let size = usize::try_from(size).ok().filter(|&size| size <= 8).ok_or(Stop::Damaged("an integer too long"))?;
        self.read(&mut bytes[8 - size..])?;
        Ok(u64::from_be_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;
    use crate::record::{Existing, Target, TrackInfo, WebmRecorder, foreign};

    fn inspect_bytes(bytes: &[u8]) -> Result<Inspection, InspectError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.webm");
        std::fs::write(&path, bytes).unwrap();
        inspect(&path)
    }

    #[test]
    fn what_is_no_matroska_file_is_an_integrity_error_that_says_so() {
        for bytes in [&b""[..], b"RIFF....WAVEfmt ", &[0; 64], &[0xFF; 64], &[0x1A, 0x45, 0xDF, 0xA3, 0xFF]] {
            match inspect_bytes(bytes) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Integrity, "{bytes:?}"),
                Ok(found) => assert!(found.tracks.is_empty() && !found.complete, "{bytes:?}: {found:?}"),
            }
        }
        assert_eq!(inspect(Path::new("does/not/exist")).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn files_of_another_muxer_are_read_alike() {
        let Some(_) = foreign::ffmpeg() else { return };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mkv");
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let mut command = std::process::Command::new("ffmpeg");
        command
            .args(["-v", "error", "-i"])
            .arg(data.join("record-vp8.ivf"))
            .arg("-i")
            .arg(data.join("record-opus.ogg"));
        assert!(command.args(["-c", "copy"]).arg(&path).status().unwrap().success());
        let found = inspect(&path).unwrap();
        assert!(found.complete, "{found:?}");
        assert!(found.writing_app.as_deref().is_some_and(|app| app.starts_with("Lavf")), "{found:?}");
        let [video, audio] = &found.tracks[..] else { panic!("two tracks: {found:?}") };
        assert_eq!((video.codec.as_str(), video.frames, video.key_frames), ("V_VP8", 90, 3));
        assert_eq!((video.width, video.height), (Some(160), Some(120)));
        assert_eq!((audio.codec.as_str(), audio.channels, audio.sample_rate), ("A_OPUS", Some(1), Some(48_000.0)));
        assert!((found.duration - found.declared_duration.unwrap()).abs() < 0.04, "{found:?}");
    }

    #[test]
    fn damage_never_panics_hangs_or_costs_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.webm");
        let sample_rate = std::num::NonZeroU32::new(48_000).unwrap();
        let sound = TrackInfo::Audio { codec: Codec::Opus, channels: 1, sample_rate };
        let tracks = [TrackInfo::Video { codec: Codec::Vp8, size: None }, sound];
        let mut recorder = WebmRecorder::create(Target::File(path.clone()), Existing::Refuse, &tracks).unwrap();
        for (track, frames) in [foreign::vp8(0, 3), foreign::opus(0, 5)].iter().enumerate() {
            frames.iter().for_each(|frame| recorder.write(track, frame).unwrap());
        }
        recorder.finish().unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut seed = 1u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % below
        };
        let mut survived = 0;
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random(6) {
                // Most of the structure is in the first kilobyte.
                let span = if random(2) == 0 { 1024 } else { whole.len() };
                let at = random(span);
                bytes[at] = random(256).to_le_bytes()[0];
            }
            let length = bytes.len() as u64;
            let mut walk = Walk::new(io::Cursor::new(bytes), length);
            survived += usize::from(walk.run().is_ok());
            walk.report();
        }
        assert!((1_000..19_000).contains(&survived), "{survived}");
    }
}
