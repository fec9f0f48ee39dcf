//! Gives a WebM or Matroska file what it lacks when its writer was killed, cut off, or wrote a live stream: its duration, the
//! cues by which it is seeked, and the sizes of its clusters. No frame is touched. WAV files get their sizes.
//!
//! ```text
//! EBML, Tracks, Tags … as they are; Info without its duration; every whole block of every cluster
//!     -> EBML | Segment: SeekHead | Info with Duration | Tracks | Cluster … | Cues
//! ```
//!
//! What cannot be read is passed over up to the next cluster. The file is written anew beside the old one, whose place it
//! takes only when it is whole.

mod reader;
#[cfg(test)]
mod tests;
mod wav;

use super::ebml::{self, id};
use super::output::{self, Existing, Output, OutputError, Target};
use crate::error::{Classify, ErrorKind};
use crate::media::opus_packet_samples;
use reader::{Head, Reader};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

/// Header elements that claim more are damaged.
const MOST_HEADER_BYTES: u64 = 64 << 20;
/// Clusters that claim more are damaged.
const MOST_CLUSTER_BYTES: usize = 512 << 20;
/// What is copied at once.
const COPY_BYTES: usize = 1 << 20;
/// Holds three Seek elements of 21 bytes and their header.
const SEEK_HEAD_BYTES: usize = 80;
/// Id, size and eight bytes of float.
const DURATION_BYTES: usize = 11;
/// Cues come no closer than this.
const CUE_SECONDS: f64 = 1.0;

/// Why a file could not be repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Nothing in it plays.
    #[error("{path}: cannot be repaired: {what}")]
    Hopeless {
        /// Which.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// It is of a kind that has nothing to be repaired.
    #[error("{path}: {what} needs no repair: it plays up to where it was cut off")]
    Needless {
        /// Which.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The repaired file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Classify for RepairError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } | Self::Needless { .. } => ErrorKind::InvalidInput,
            Self::Hopeless { .. } => ErrorKind::Integrity,
            Self::Output(_) => ErrorKind::Output,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Output(error) => error.hint(),
            Self::Needless { path, .. } if path.extension().is_some_and(|extension| extension == "part") => {
                Some(format!("only its name is missing: mv {} {}", path.display(), path.with_extension("").display()))
            }
            _ => None,
        }
    }
}

/// What was repaired.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repaired {
    /// The whole file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its length in seconds.
    pub duration: f64,
    /// Its frames, all tracks together; of a WAV file its samples per channel.
    pub frames: u64,
    /// The points it can be seeked to.
    pub cues: u64,
    /// Bytes of the old file that could not be used.
    pub bytes_left_out: u64,
}

/// Where the repaired file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// To the place of the old one; `NAME.part` becomes `NAME`.
    Same,
    /// To another file.
    File(PathBuf),
}

/// Repairs the file at `path`. Blocks; takes as much room again until it is done.
///
/// # Errors
/// When it cannot be read, holds no frame that could be saved, is just being written, or the output fails. The old file is
/// as it was then.
pub fn repair(path: &Path, place: &Place, existing: Existing) -> Result<Repaired, RepairError> {
    let io = |source| RepairError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    if matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return Err(OutputError::Busy { path: path.to_owned() }.into());
    }
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic).map_err(io)?;
    file.rewind().map_err(io)?;
    if magic == b"OggS" {
        return Err(RepairError::Needless { path: path.to_owned(), what: "an Ogg file" });
    }
    let (target, existing_there) = match place {
        Place::Same => (path.to_owned(), Existing::Overwrite),
        Place::File(other) => (other.clone(), existing),
    };
    let length = file.metadata().map_err(io)?.len();
    let output = Output::create(Target::File(target), existing_there)?;
    let mended = match wav::is_wav(&magic) {
        true => wav::mend(&mut file, length, output),
        false => Mending::mend(file, length, output),
    };
    let mut repaired = mended.map_err(|trouble| match trouble {
        Trouble::Io(source) => io(source),
        Trouble::Output(error) => error.into(),
        Trouble::Hopeless(what) => RepairError::Hopeless { path: path.to_owned(), what },
    })?;
    if let (Place::Same, Some("part")) = (place, path.extension().and_then(|extension| extension.to_str())) {
        repaired.path = output::give_name(path, &path.with_extension(""), existing)?;
    }
    Ok(repaired)
}

enum Trouble {
    Io(io::Error),
    Output(OutputError),
    Hopeless(&'static str),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<OutputError> for Trouble {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}

/// What is known of a track.
#[derive(Default)]
struct Track {
    is_video: bool,
    is_opus: bool,
    last: Option<i64>,
    /// From the last frame to the one before it.
    step: i64,
    /// Of the last frame, where its bytes say so.
    samples: Option<usize>,
}

/// The file that is being made.
struct Mending {
    output: Output,
    ebml: Vec<u8>,
    info: Vec<u8>,
    tracks_body: Vec<u8>,
    scale_ns: u64,
    tracks: BTreeMap<u64, Track>,
    /// Where segment content, Info, Duration and Tracks begin, once they are written.
    layout: Option<[u64; 4]>,
    cues: Vec<(u64, u64, u64)>,
    last_cue: Option<i64>,
    frames: u64,
}

impl Mending {
    fn new(output: Output) -> Self {
        Self {
            output,
            ebml: Vec::new(),
            info: Vec::new(),
            tracks_body: Vec::new(),
            scale_ns: 1_000_000,
            tracks: BTreeMap::new(),
            layout: None,
            cues: Vec::new(),
            last_cue: None,
            frames: 0,
        }
    }

    fn mend(file: File, length: u64, output: Output) -> Result<Repaired, Trouble> {
        let mut mending = Self::new(output);
        let mut reader = Reader::new(file, length);
        mending.take_all(&mut reader)?;
        mending.finish(reader.left_out)
    }

    fn take_all(&mut self, reader: &mut Reader) -> Result<(), Trouble> {
        let foreign = Trouble::Hopeless("it does not begin as a WebM or Matroska file does");
        match reader.head()? {
            Some(head) if head.id == id::EBML => match reader.body(head.size, MOST_HEADER_BYTES)? {
                Some(body) => ebml::put_bytes(&mut self.ebml, id::EBML, &body),
                None => return Err(foreign),
            },
            _ => return Err(foreign),
        }
        let mut next = None;
        loop {
            let begin = reader.position;
            let head = match next.take() {
                Some(head) => Some(head),
                None => reader.head()?,
            };
            let known = match head {
                None => false,
                Some(head) => match head.id {
                    id::SEGMENT => true,
                    id::CLUSTER => {
                        next = self.take_cluster(reader, head.size)?;
                        true
                    }
                    id::SEEK_HEAD | id::CUES | id::VOID | id::CRC_32 => match head.size {
                        Some(size) if size <= reader.rest() => {
                            reader.skip(size)?;
                            true
                        }
                        _ => false,
                    },
                    id::INFO | id::TRACKS | id::TAGS | id::CHAPTERS | id::ATTACHMENTS => {
                        match reader.body(head.size, MOST_HEADER_BYTES)? {
                            Some(body) => {
                                self.take_header(head.id, body)?;
                                true
                            }
                            None => false,
                        }
                    }
                    _ => false,
                },
            };
            if !known {
                reader.left_out += reader.position - begin;
                if !reader.find_cluster()? {
                    break;
                }
                next = Some(Head { id: id::CLUSTER, size: reader.size()? });
            }
        }
        if self.frames == 0 {
            return Err(Trouble::Hopeless("it holds no whole frame of a track that it describes"));
        }
        Ok(())
    }

    fn take_header(&mut self, element: u32, body: Vec<u8>) -> Result<(), Trouble> {
        match element {
            id::INFO if self.layout.is_none() => {
                self.info.clear();
                for (id, content) in ebml::elements(&body) {
                    match id {
                        id::DURATION | id::VOID | id::CRC_32 => continue,
                        id::TIMESTAMP_SCALE => self.scale_ns = ebml::uint(content).unwrap_or(1_000_000).max(1),
                        _ => {}
                    }
                    ebml::put_bytes(&mut self.info, id, content);
                }
            }
            id::TRACKS if self.layout.is_none() => {
                for (_, entry) in ebml::elements(&body).filter(|(id, _)| *id == id::TRACK_ENTRY) {
                    let field =
                        |wanted| ebml::elements(entry).find(|(id, _)| *id == wanted).map(|(_, content)| content);
                    if let Some(number) = field(id::TRACK_NUMBER).and_then(ebml::uint) {
                        let is_video = field(id::TRACK_TYPE).and_then(ebml::uint) == Some(1);
                        let is_opus = field(id::CODEC_ID).is_some_and(|codec| codec.starts_with(b"A_OPUS"));
                        self.tracks.insert(number, Track { is_video, is_opus, ..Track::default() });
                    }
                }
                self.tracks_body = body;
            }
            id::INFO | id::TRACKS => {}
            _ => {
                self.begin()?;
                let mut bytes = Vec::with_capacity(body.len() + 12);
                ebml::put_bytes(&mut bytes, element, &body);
                self.output.write(&bytes)?;
            }
        }
        Ok(())
    }

    /// Writes all that stands before the first cluster.
    fn begin(&mut self) -> Result<(), Trouble> {
        if self.layout.is_some() {
            return Ok(());
        }
        if self.tracks.is_empty() {
            return Err(Trouble::Hopeless("the description of its tracks is not there"));
        }
        let mut out = std::mem::take(&mut self.ebml);
        ebml::put_id(&mut out, id::SEGMENT);
        out.extend_from_slice(&ebml::UNKNOWN_SIZE);
        let segment = out.len() as u64;
        ebml::put_void(&mut out, SEEK_HEAD_BYTES);
        let info = out.len() as u64;
        ebml::put_master(&mut out, id::INFO, |out| {
            out.extend_from_slice(&self.info);
            ebml::put_float(out, id::DURATION, 0.0);
        });
        let tracks = out.len() as u64;
        let duration = tracks - DURATION_BYTES as u64;
        ebml::put_bytes(&mut out, id::TRACKS, &std::mem::take(&mut self.tracks_body));
        self.layout = Some([segment, info, duration, tracks]);
        Ok(self.output.write(&out)?)
    }

    /// Takes the whole blocks of a cluster. Gives the head that ended one of unknown size.
    fn take_cluster(&mut self, reader: &mut Reader, size: Option<u64>) -> Result<Option<Head>, Trouble> {
        let end = size.map_or(reader.length, |size| reader.position.saturating_add(size).min(reader.length));
        let mut cluster = Cluster::default();
        let mut next = None;
        while reader.position < end {
            let begin = reader.position;
            let Some(head) = reader.head()? else {
                reader.left_out += reader.position - begin;
                break;
            };
            if size.is_none() && is_top_level(head.id) {
                next = Some(head);
                break;
            }
            let most = (MOST_CLUSTER_BYTES - cluster.body.len()) as u64;
            let Some(body) = reader.body(head.size, most)? else {
                // Cut off here, or damaged: what follows is searched for the next cluster.
                reader.left_out += reader.position - begin;
                break;
            };
            match head.id {
                id::TIMESTAMP => {
                    cluster.ticks = ebml::uint(&body).and_then(|ticks| i64::try_from(ticks).ok()).unwrap_or(0);
                    ebml::put_bytes(&mut cluster.body, head.id, &body);
                }
                id::SIMPLE_BLOCK | id::BLOCK_GROUP => self.take_block(&mut cluster, head.id, &body),
                _ => {}
            }
        }
        if cluster.frames > 0 {
            self.begin()?;
            if let (Some((ticks, track)), Some([segment, ..])) = (cluster.cue, self.layout) {
                let since = self.last_cue.map_or(f64::MAX, |last| self.seconds(ticks - last));
                if since >= CUE_SECONDS {
                    self.cues.push((ticks.unsigned_abs(), track, self.output.position() - segment));
                    self.last_cue = Some(ticks);
                }
            }
            let mut bytes = Vec::with_capacity(cluster.body.len() + 12);
            ebml::put_bytes(&mut bytes, id::CLUSTER, &cluster.body);
            self.output.write(&bytes)?;
            self.frames += cluster.frames;
        }
        Ok(next)
    }

    fn take_block(&mut self, cluster: &mut Cluster, element: u32, body: &[u8]) {
        let group = (element == id::BLOCK_GROUP).then_some(body);
        let block = match group {
            Some(group) => ebml::elements(group).find(|(id, _)| *id == id::BLOCK).map(|(_, block)| block),
            None => Some(body),
        };
        let Some((Some(number), at)) = block.and_then(ebml::vint) else { return };
        let (Some(block), Some(track)) = (block, self.tracks.get_mut(&number)) else { return };
        let Some([high, low, flags, rest @ ..]) = block.get(at..) else { return };
        let ticks = cluster.ticks + i64::from(i16::from_be_bytes([*high, *low]));
        let key = match group {
            Some(group) => ebml::elements(group).all(|(id, _)| id != id::REFERENCE_BLOCK),
            None => flags & 0x80 != 0,
        };
        if let Some(last) = track.last {
            track.step = (ticks - last).max(0);
        }
        track.last = Some(track.last.map_or(ticks, |last| last.max(ticks)));
        track.samples = opus_packet_samples(rest).filter(|_| track.is_opus && flags & 0x06 == 0);
        let is_video = track.is_video;
        let any_video = self.tracks.values().any(|track| track.is_video);
        if cluster.cue.is_none() && key && (is_video || !any_video) {
            cluster.cue = Some((ticks, number));
        }
        cluster.frames += 1;
        ebml::put_bytes(&mut cluster.body, element, body);
    }

    fn seconds(&self, ticks: i64) -> f64 {
        ticks as f64 * self.scale_ns as f64 / 1e9
    }

    /// The end of the last frame, in seconds.
    fn duration(&self) -> f64 {
        let end = |track: &Track| {
            let last = self.seconds(track.last?);
            Some(last + track.samples.map_or(self.seconds(track.step), |samples| samples as f64 / 48_000.0))
        };
        self.tracks.values().filter_map(end).fold(0.0, f64::max)
    }

    fn finish(mut self, bytes_left_out: u64) -> Result<Repaired, Trouble> {
        let duration = self.duration();
        let Some([segment, info, duration_at, tracks]) = self.layout else {
            return Err(Trouble::Hopeless("it is empty"));
        };
        let cues_at = self.output.position();
        let mut out = Vec::new();
        if !self.cues.is_empty() {
            ebml::put_master(&mut out, id::CUES, |out| {
                for (ticks, track, cluster) in &self.cues {
                    ebml::put_cue(out, *ticks, *track, *cluster);
                }
            });
            self.output.write(&out)?;
        }
        out.clear();
        ebml::put_master(&mut out, id::SEEK_HEAD, |out| {
            ebml::put_seek(out, id::INFO, info - segment);
            ebml::put_seek(out, id::TRACKS, tracks - segment);
            if !self.cues.is_empty() {
                ebml::put_seek(out, id::CUES, cues_at - segment);
            }
        });
        let rest = SEEK_HEAD_BYTES - out.len();
        ebml::put_void(&mut out, rest);
        self.output.write_at(segment, &out)?;
        out.clear();
        ebml::put_float(&mut out, id::DURATION, duration * 1e9 / self.scale_ns as f64);
        self.output.write_at(duration_at, &out)?;
        let size = self.output.position() - segment;
        self.output.write_at(segment - 8, &ebml::wide_size(size))?;
        let cues = self.cues.len() as u64;
        let finished = self.output.finish()?;
        Ok(Repaired {
            path: finished.path.unwrap_or_default(),
            bytes: finished.bytes,
            duration,
            frames: self.frames,
            cues,
            bytes_left_out,
        })
    }
}

#[derive(Default)]
struct Cluster {
    ticks: i64,
    body: Vec<u8>,
    frames: u64,
    /// Time and track of the first frame that can be seeked to.
    cue: Option<(i64, u64)>,
}

fn is_top_level(element: u32) -> bool {
    [id::SEGMENT, id::SEEK_HEAD, id::INFO, id::TRACKS, id::CLUSTER, id::CUES, id::TAGS, id::CHAPTERS, id::ATTACHMENTS]
        .contains(&element)
}
