//! The bytes of a WebM file, RFC 9559 and the WebM container guidelines.
//!
//! ```text
//! EBML | Segment: Void, later SeekHead | Info | Tracks, Void | Cluster … | Cues
//! ```
//!
//! A file has the room for what is only known later (SeekHead, Duration, tracks that start late, sizes) from its first
//! byte on, so that it plays at any time and is completed in place. A stream has no such room: its segment has no
//! size, no duration and no cues.

use super::TrackInfo;
use super::interleave::Placed;
use crate::media::{Codec, MediaKind};
use crate::record::ebml::{self, id};
use crate::record::mime::Container;
use crate::record::opus_head::{OPUS_PRE_SKIP, opus_head};
use crate::record::output::{Finished, Output, OutputError};

/// One unit of file time: a millisecond, as the WebM guidelines want it.
const TIMESTAMP_SCALE_NS: u64 = 1_000_000;
/// A cluster ends after so much media. With the reorder window this bounds what a killed process loses.
const CLUSTER_MS: i64 = 500;
/// A cluster also ends here, so that memory is bounded at any bitrate.
const CLUSTER_BYTES: usize = 4 << 20;
/// Cues, and clusters begun for the sake of key frames, come no closer than this: the index of a day stays small.
const CUE_MS: i64 = 1000;
/// Holds three Seek elements of 21 bytes and their header.
const SEEK_HEAD_BYTES: usize = 80;
/// Id, size and eight bytes of float.
const DURATION_BYTES: usize = 11;
/// Id and size of a cluster; id and size of the cues; a cue: at most.
const CLUSTER_HEAD_BYTES: u64 = 12;
const CUES_HEAD_BYTES: u64 = 12;
const CUE_BYTES: u64 = 40;
/// The most that a track keeps apart from its frames: parameter sets take about 40.
const MOST_PRIVATE_BYTES: usize = 512;
/// The same, of a track that is added later.
const MOST_PRIVATE_BYTES_ADDED: usize = 128;
/// More than any track entry of ours takes (about 100), without what is private to its codec.
const TRACK_ENTRY_BYTES: usize = 160;
/// How long an Opus decoder needs to converge after a seek, RFC 7845 section 4.6.
const OPUS_SEEK_PRE_ROLL_NS: u64 = 80_000_000;
/// Declared in a stream for video that has not come yet and whose size nobody announced; decoders go by the frames.
const NOMINAL_SIZE: (u32, u32) = (640, 480);

pub(super) struct Muxer {
    output: Output,
    container: Container,
    tracks: Vec<Track>,
    /// How many of them were there from the beginning.
    announced: usize,
    /// How many may be added.
    room: usize,
    /// Where the places are that are filled in later, in bytes from the start of the file.
    layout: Option<Layout>,
    origin_ms: i64,
    cluster: Option<Cluster>,
    cues: Vec<Cue>,
    has_video: bool,
    end_ms: i64,
}

struct Track {
    info: TrackInfo,
    /// `CodecPrivate` of video.
    private: Vec<u8>,
    declared: bool,
    last_cue_ms: Option<i64>,
}

impl Track {
    fn new(info: &TrackInfo) -> Self {
        Self { info: info.clone(), private: Vec::new(), declared: false, last_cue_ms: None }
    }

    fn kind(&self) -> MediaKind {
        self.info.codec().kind()
    }
}

struct Layout {
    segment: u64,
    info: u64,
    duration: u64,
    tracks: u64,
    tracks_bytes: usize,
}

struct Cluster {
    start_ms: i64,
    /// Those from here on point to it.
    first_cue: usize,
    body: Vec<u8>,
}

struct Cue {
    ms: i64,
    track: usize,
    cluster: u64,
}

impl Cue {
    fn put(&self, out: &mut Vec<u8>) {
        ebml::put_cue(out, self.ms.unsigned_abs(), number_of(self.track), self.cluster);
    }
}

impl Muxer {
    pub fn new(output: Output, container: Container, tracks: &[TrackInfo]) -> Self {
        Self {
            output,
            container,
            announced: tracks.len(),
            room: 0,
            tracks: tracks.iter().map(Track::new).collect(),
            layout: None,
            origin_ms: 0,
            cluster: None,
            cues: Vec::new(),
            has_video: false,
            end_ms: 0,
        }
    }

    pub fn container(&self) -> Container {
        self.container
    }

    /// Keeps room for so many tracks that are added later; before anything is written.
    pub fn keep_room(&mut self, tracks: usize) {
        if self.layout.is_none() {
            self.room = tracks;
        }
    }

    /// Adds a track where there is room for it; says why not.
    pub fn add_track(&mut self, info: &TrackInfo) -> Result<(), &'static str> {
        if self.layout.is_some() && !self.output.is_seekable() {
            return Err("the header of a stream is written once, at its beginning");
        }
        if self.tracks.len() >= self.announced + self.room {
            return Err("it holds as many as it has room for");
        }
        self.tracks.push(Track::new(info));
        Ok(())
    }

    pub fn output(&self) -> &Output {
        &self.output
    }

    pub fn output_mut(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Length of the file so far, in milliseconds.
    pub fn end_ms(&self) -> i64 {
        self.end_ms
    }

    /// Length in bytes if it was finished now.
    pub fn finished_bytes(&self) -> u64 {
        let cluster = self.cluster.as_ref().map_or(0, |cluster| cluster.body.len() as u64 + CLUSTER_HEAD_BYTES);
        let cues = if self.output.is_seekable() { CUES_HEAD_BYTES + self.cues.len() as u64 * CUE_BYTES } else { 0 };
        self.output.position() + cluster + cues
    }

    pub fn set_size(&mut self, track: usize, width: u32, height: u32) {
        if let TrackInfo::Video { size, .. } = &mut self.tracks[track].info {
            *size = Some((width, height));
        }
    }

    /// What a decoder must know before the first frame of a track of video; false when it is too long, or too late: a stream
    /// has written its header.
    pub fn set_private(&mut self, track: usize, private: Vec<u8>) -> bool {
        let most = if track < self.announced { MOST_PRIVATE_BYTES } else { MOST_PRIVATE_BYTES_ADDED };
        let track = &mut self.tracks[track];
        let fits = private.len() <= most && (private.is_empty() || !track.declared);
        if fits {
            track.private = private;
        }
        fits
    }

    /// Whether the codec of a track of video could still be changed.
    pub fn set_codec(&mut self, track: usize, new: Codec) -> bool {
        let track = &mut self.tracks[track];
        match &mut track.info {
            TrackInfo::Video { codec, .. } if !track.declared => {
                *codec = new;
                true
            }
            _ => false,
        }
    }

    /// The place of the first frame, in milliseconds on the timeline of the capture; `None` before it was written.
    pub fn origin_ms(&self) -> Option<i64> {
        self.layout.is_some().then_some(self.origin_ms)
    }

    /// Writes one frame that sounds or shows for `duration_ms`; the times of successive frames never go back. Returns its
    /// time in the file, in milliseconds.
    pub fn put(&mut self, placed: &Placed, duration_ms: i64) -> Result<i64, OutputError> {
        if self.layout.is_none() {
            self.origin_ms = placed.ms;
            self.begin(placed.track)?;
        } else if !self.tracks[placed.track].declared {
            self.declare_late(placed.track)?;
        }
        let ms = placed.ms - self.origin_ms;
        let track = &mut self.tracks[placed.track];
        let is_video = track.kind() == MediaKind::Video;
        self.has_video |= is_video;
        let can_seek_here = if is_video { placed.frame.key } else { !self.has_video };
        let cue =
            self.output.is_seekable() && can_seek_here && track.last_cue_ms.is_none_or(|last| ms - last >= CUE_MS);
        if cue {
            track.last_cue_ms = Some(ms);
        }
        let full = self
            .cluster
            .as_ref()
            .is_some_and(|cluster| ms - cluster.start_ms >= CLUSTER_MS || cluster.body.len() >= CLUSTER_BYTES);
        let splits_for_streams = is_video && placed.frame.key && !self.output.is_seekable();
        if full || (is_video && cue) || splits_for_streams {
            self.end_cluster()?;
        }
        let cluster = self.cluster.get_or_insert_with(|| {
            let mut body = Vec::new();
            ebml::put_uint(&mut body, id::TIMESTAMP, ms.unsigned_abs());
            Cluster { start_ms: ms, first_cue: self.cues.len(), body }
        });
        if cue {
            self.cues.push(Cue { ms, track: placed.track, cluster: 0 });
        }
        let number = number_of(placed.track);
        let since_cluster = i16::try_from(ms - cluster.start_ms).expect("a cluster is shorter than 32 s");
        ebml::put_id(&mut cluster.body, id::SIMPLE_BLOCK);
        ebml::put_size(&mut cluster.body, placed.frame.data.len() as u64 + 4);
        ebml::put_size(&mut cluster.body, number);
        cluster.body.extend_from_slice(&since_cluster.to_be_bytes());
        cluster.body.push(if placed.frame.key || !is_video { 0x80 } else { 0 });
        cluster.body.extend_from_slice(&placed.frame.data);
        self.end_ms = self.end_ms.max(ms + duration_ms);
        Ok(ms)
    }

    /// Hands what was put so far to the operating system.
    pub fn end_cluster(&mut self) -> Result<(), OutputError> {
        let (Some(cluster), Some(layout)) = (self.cluster.take(), &self.layout) else { return Ok(()) };
        let position = self.output.position() - layout.segment;
        self.cues[cluster.first_cue..].iter_mut().for_each(|cue| cue.cluster = position);
        let mut bytes = Vec::with_capacity(cluster.body.len() + 12);
        ebml::put_bytes(&mut bytes, id::CLUSTER, &cluster.body);
        self.output.write(&bytes)?;
        self.output.keep_unfinished();
        Ok(())
    }

    /// Completes the file in place and gives it its name.
    pub fn finish(mut self) -> Result<Finished, OutputError> {
        self.end_cluster()?;
        if let Some(layout) = self.layout.take().filter(|_| self.output.is_seekable()) {
            let cues = (!self.cues.is_empty()).then(|| self.output.position());
            let mut out = Vec::new();
            if cues.is_some() {
                ebml::put_master(&mut out, id::CUES, |out| self.cues.iter().for_each(|cue| cue.put(out)));
                self.output.write(&out)?;
            }
            let places = [(id::INFO, Some(layout.info)), (id::TRACKS, Some(layout.tracks)), (id::CUES, cues)];
            out.clear();
            ebml::put_master(&mut out, id::SEEK_HEAD, |out| {
                for (id, place) in places.into_iter().filter_map(|(id, place)| Some((id, place?))) {
                    ebml::put_seek(out, id, place - layout.segment);
                }
            });
            let rest = SEEK_HEAD_BYTES - out.len();
            ebml::put_void(&mut out, rest);
            self.output.write_at(layout.segment, &out)?;
            out.clear();
            ebml::put_float(&mut out, id::DURATION, self.end_ms as f64);
            self.output.write_at(layout.duration, &out)?;
            let size = self.output.position() - layout.segment;
            self.output.write_at(layout.segment - 8, &ebml::wide_size(size))?;
        }
        self.output.finish()
    }

    /// Writes all that stands before the first cluster. A stream declares every track now, a file those that have come.
    fn begin(&mut self, first: usize) -> Result<(), OutputError> {
        let seekable = self.output.is_seekable();
        for (index, track) in self.tracks.iter_mut().enumerate() {
            track.declared = index == first || !seekable;
        }
        let mut out = Vec::new();
        ebml::put_master(&mut out, id::EBML, |out| {
            ebml::put_uint(out, id::EBML_VERSION, 1);
            ebml::put_uint(out, id::EBML_READ_VERSION, 1);
            ebml::put_uint(out, id::EBML_MAX_ID_LENGTH, 4);
            ebml::put_uint(out, id::EBML_MAX_SIZE_LENGTH, 8);
            let doc_type: &[u8] = if self.container == Container::Matroska { b"matroska" } else { b"webm" };
            ebml::put_bytes(out, id::DOC_TYPE, doc_type);
            // Version 4 has CodecDelay; version 2, SimpleBlock, is enough to play it.
            ebml::put_uint(out, id::DOC_TYPE_VERSION, 4);
            ebml::put_uint(out, id::DOC_TYPE_READ_VERSION, 2);
        });
        ebml::put_id(&mut out, id::SEGMENT);
        out.extend_from_slice(&ebml::UNKNOWN_SIZE);
        let segment = out.len();
        if seekable {
            ebml::put_void(&mut out, SEEK_HEAD_BYTES);
        }
        let info = out.len();
        ebml::put_master(&mut out, id::INFO, |out| {
            ebml::put_uint(out, id::TIMESTAMP_SCALE, TIMESTAMP_SCALE_NS);
            let app = concat!("rtckit ", env!("CARGO_PKG_VERSION"));
            ebml::put_bytes(out, id::MUXING_APP, app.as_bytes());
            ebml::put_bytes(out, id::WRITING_APP, app.as_bytes());
            if seekable {
                ebml::put_void(out, DURATION_BYTES);
            }
        });
        let (duration, tracks) = (out.len() - DURATION_BYTES, out.len());
        let announced_bytes = (TRACK_ENTRY_BYTES + MOST_PRIVATE_BYTES) * (self.announced + 1);
        let added_bytes = (TRACK_ENTRY_BYTES + MOST_PRIVATE_BYTES_ADDED) * self.room;
        let tracks_bytes = if seekable { announced_bytes + added_bytes } else { 0 };
        out.extend(self.tracks_element(tracks_bytes));
        let start = self.output.position();
        self.layout = Some(Layout {
            segment: start + segment as u64,
            info: start + info as u64,
            duration: start + duration as u64,
            tracks: start + tracks as u64,
            tracks_bytes,
        });
        self.output.write(&out)
    }

    /// A track whose first frame came after the header was written: its entry goes into the room kept for it.
    fn declare_late(&mut self, track: usize) -> Result<(), OutputError> {
        self.tracks[track].declared = true;
        let Some(layout) = &self.layout else { return Ok(()) };
        let bytes = self.tracks_element(layout.tracks_bytes);
        self.output.write_at(layout.tracks, &bytes)
    }

    /// Tracks, and a Void up to `room` bytes if that is not 0.
    fn tracks_element(&self, room: usize) -> Vec<u8> {
        let mut out = Vec::new();
        ebml::put_master(&mut out, id::TRACKS, |out| {
            for (index, track) in self.tracks.iter().enumerate().filter(|(_, track)| track.declared) {
                let is_further =
                    self.tracks[..index].iter().any(|other| other.declared && other.kind() == track.kind());
                ebml::put_master(out, id::TRACK_ENTRY, |out| {
                    put_track(out, number_of(index), &track.info, &track.private);
                    if is_further {
                        // A player takes the first of a kind, and this one when it is told to.
                        ebml::put_uint(out, id::FLAG_DEFAULT, 0);
                    }
                });
            }
        });
        if room > 0 {
            let rest = room - out.len();
            ebml::put_void(&mut out, rest);
        }
        out
    }
}

/// Track numbers count from 1.
pub(super) fn number_of(track: usize) -> u64 {
    track as u64 + 1
}

fn put_track(out: &mut Vec<u8>, number: u64, info: &TrackInfo, private: &[u8]) {
    ebml::put_uint(out, id::TRACK_NUMBER, number);
    ebml::put_uint(out, id::TRACK_UID, number);
    ebml::put_uint(out, id::TRACK_TYPE, if info.codec().kind() == MediaKind::Video { 1 } else { 2 });
    ebml::put_uint(out, id::FLAG_LACING, 0);
    // Left out, it would mean English.
    ebml::put_bytes(out, id::LANGUAGE, b"und");
    let codec_id = match info.codec() {
        Codec::Vp8 => "V_VP8",
        Codec::Vp9 => "V_VP9",
        Codec::H264 => "V_MPEG4/ISO/AVC",
        Codec::Av1 => "V_AV1",
        Codec::Opus => "A_OPUS",
        Codec::Pcmu | Codec::Pcma => unreachable!("no container of ours holds them"),
    };
    ebml::put_bytes(out, id::CODEC_ID, codec_id.as_bytes());
    match info {
        TrackInfo::Video { size, .. } => {
            if !private.is_empty() {
                ebml::put_bytes(out, id::CODEC_PRIVATE, private);
            }
            let (width, height) = size.unwrap_or(NOMINAL_SIZE);
            ebml::put_master(out, id::VIDEO, |out| {
                ebml::put_uint(out, id::PIXEL_WIDTH, width.into());
                ebml::put_uint(out, id::PIXEL_HEIGHT, height.into());
            });
        }
        TrackInfo::Audio { channels, sample_rate, .. } => {
            ebml::put_bytes(out, id::CODEC_PRIVATE, &opus_head(*channels, *sample_rate));
            ebml::put_uint(out, id::CODEC_DELAY, u64::from(OPUS_PRE_SKIP) * 1_000_000_000 / 48_000);
            ebml::put_uint(out, id::SEEK_PRE_ROLL, OPUS_SEEK_PRE_ROLL_NS);
            ebml::put_master(out, id::AUDIO, |out| {
                // Opus decodes at 48 kHz, whatever the microphone ran at.
                ebml::put_float(out, id::SAMPLING_FREQUENCY, 48_000.0);
                ebml::put_uint(out, id::CHANNELS, (*channels).into());
            });
        }
    }
}
