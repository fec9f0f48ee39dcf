//! Matroska and WebM, RFC 9559: VP8, VP9, H.264, AV1 and Opus tracks, passed through encoded.
//!
//! Walks the elements forwards and treats Segment and Cluster as transparent, so that unknown sizes, live streams and
//! files that were cut off need no special case. Block times have the track's CodecDelay taken off (section 5.1.4.1.25.8), so
//! that the times of both tracks are those at which they are presented.

use super::ebml::{self, elements, uint};
use super::input::Input;
use super::ivf::LARGEST_FRAME;
use super::opus;
use super::source::NANOS;
use crate::capture::CaptureError;
use crate::media::av1::temporal_unit;
use crate::media::h264::AvcConfiguration;
use crate::media::{Codec, EncodedFrame, MediaKind, MediaTime, frame_header, opus_packet_samples};
use std::collections::VecDeque;

mod id {
    pub(super) const EBML: u32 = 0x1A45_DFA3;
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const INFO: u32 = 0x1549_A966;
    pub(super) const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
    pub(super) const TRACKS: u32 = 0x1654_AE6B;
    pub(super) const TRACK_ENTRY: u32 = 0xAE;
    pub(super) const TRACK_NUMBER: u32 = 0xD7;
    pub(super) const TRACK_TYPE: u32 = 0x83;
    pub(super) const CODEC_ID: u32 = 0x86;
    pub(super) const CODEC_PRIVATE: u32 = 0x63A2;
    pub(super) const CODEC_DELAY: u32 = 0x56AA;
    pub(super) const DEFAULT_DURATION: u32 = 0x23_E383;
    pub(super) const VIDEO: u32 = 0xE0;
    pub(super) const PIXEL_WIDTH: u32 = 0xB0;
    pub(super) const PIXEL_HEIGHT: u32 = 0xBA;
    pub(super) const AUDIO: u32 = 0xE1;
    pub(super) const CHANNELS: u32 = 0x9F;
    pub(super) const CONTENT_ENCODINGS: u32 = 0x6D80;
    pub(super) const CLUSTER: u32 = 0x1F43_B675;
    pub(super) const TIMESTAMP: u32 = 0xE7;
    pub(super) const SIMPLE_BLOCK: u32 = 0xA3;
    pub(super) const BLOCK_GROUP: u32 = 0xA0;
    pub(super) const BLOCK: u32 = 0xA1;
}

/// A track that can be read.
#[derive(Clone, Debug)]
pub(super) struct Track {
    number: u64,
    pub(super) codec: Codec,
    /// Width and height of video.
    pub(super) size: Option<(u32, u32)>,
    /// Frames per second of video, where the file says so.
    pub(super) frame_rate: Option<f64>,
    /// Channels of audio.
    pub(super) channels: u16,
    delay: i64,
    duration: Option<i64>,
    /// The parameter sets of H.264, which its frames lack here.
    avc: Option<AvcConfiguration>,
}

/// The tracks of a file: the first of each kind that can be read, and the names of the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracks {
    pub(super) video: Option<Track>,
    pub(super) audio: Option<Track>,
    refused: Vec<(MediaKind, String)>,
}

impl Tracks {
    pub(super) fn of(&self, kind: MediaKind) -> Option<&Track> {
        match kind {
            MediaKind::Video => self.video.as_ref(),
            MediaKind::Audio => self.audio.as_ref(),
        }
    }

    /// Why there is no track of this kind.
    pub(super) fn missing(&self, name: &str, kind: MediaKind) -> CaptureError {
        let source_name = name.to_owned();
        match self.refused.iter().find(|refused| refused.0 == kind) {
            Some((_, codec)) => CaptureError::UnsupportedCodec { source_name, codec: format!("{kind} in {codec}") },
            None => CaptureError::NoTrack { source_name, kind },
        }
    }
}

/// Where a track has got to, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Progress {
    last: i64,
    length: i64,
}

/// A file read up to its first frames.
pub(super) struct Matroska {
    input: Input,
    tracks: Option<Tracks>,
    scale: i64,
    cluster: Option<i64>,
    /// Frames read and not yet given.
    ready: VecDeque<EncodedFrame>,
    progress: [Option<Progress>; 2],
    /// The time of the earliest frame.
    origin: i64,
    failed: Option<CaptureError>,
    over: bool,
}

impl Matroska {
    /// How much of the start is searched for the earliest frame.
    const LOOK_AHEAD: (i64, usize) = (1_000_000_000, 256);
    const LARGEST_HEADER: u64 = 16 * 1024 * 1024;

    pub(super) fn new(input: Input) -> Result<Self, CaptureError> {
        let mut file = Self {
            input,
            tracks: None,
            scale: 1_000_000,
            cluster: None,
            ready: VecDeque::new(),
            progress: [None; 2],
            origin: 0,
            failed: None,
            over: false,
        };
        // Tracks interleave roughly by time: once both were seen, or a second has passed, the earliest is known.
        while !file.over && !file.looked_far_enough() {
            match file.element() {
                Ok(more) => file.over = !more,
                Err(error) if file.ready.is_empty() => return Err(error),
                Err(error) => (file.failed, file.over) = (Some(error), true),
            }
        }
        if file.tracks.is_none() {
            return Err(file.input.damaged("it ends before its tracks"));
        }
        file.origin = file.ready.iter().map(|frame| frame.time.ticks()).min().unwrap_or(0);
        Ok(file)
    }

    fn looked_far_enough(&self) -> bool {
        let Some(tracks) = &self.tracks else { return false };
        let both = [MediaKind::Video, MediaKind::Audio]
            .into_iter()
            .all(|kind| tracks.of(kind).is_none() || self.progress[kind as usize].is_some());
        let Some((first, last)) = self.ready.front().zip(self.ready.back()) else { return both };
        both || last.time.ticks() - first.time.ticks() > Self::LOOK_AHEAD.0 || self.ready.len() > Self::LOOK_AHEAD.1
    }

    pub(super) fn tracks(&self) -> Tracks {
        self.tracks.clone().unwrap_or_default()
    }

    /// The next frame of any track, in the order of the file.
    pub(super) fn next(&mut self) -> Result<Option<EncodedFrame>, CaptureError> {
        loop {
            if let Some(mut frame) = self.ready.pop_front() {
                frame.time = MediaTime::new((frame.time.ticks() - self.origin).max(0), NANOS);
                return Ok(Some(frame));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.over {
                return Ok(None);
            }
            self.over = !self.element()?;
        }
    }

    /// Where the last frame so far ends.
    pub(super) fn end(&self) -> MediaTime {
        let end = self.progress.iter().flatten().map(|progress| progress.last + progress.length).max();
        MediaTime::new((end.unwrap_or(0) - self.origin).max(0), NANOS)
    }

    /// Reads one element; false at the end.
    fn element(&mut self) -> Result<bool, CaptureError> {
        let Some(head) = ebml::read_head(&mut self.input)? else { return Ok(false) };
        let limit = match head.id {
            // A second header begins another file, as when recordings are concatenated.
            id::EBML if self.tracks.is_some() => return Ok(false),
            id::SEGMENT => return Ok(true),
            id::CLUSTER => {
                self.cluster = None;
                return Ok(true);
            }
            // Zeros are what a crash leaves behind.
            0 if self.cluster.is_some() => {
                self.input.broke_off();
                return Ok(false);
            }
            0 => return Err(self.input.damaged("no element begins")),
            id::INFO | id::TRACKS => Self::LARGEST_HEADER,
            id::TIMESTAMP => 8,
            id::SIMPLE_BLOCK | id::BLOCK_GROUP => LARGEST_FRAME,
            _ => 0,
        };
        let size = head.size.ok_or_else(|| self.input.damaged("an element of unknown size"))?;
        if limit == 0 {
            let whole = self.input.skip(size)?;
            if !whole {
                self.input.broke_off();
            }
            return Ok(whole);
        }
        let Some(body) = self.input.bytes(size, limit)? else {
            self.input.broke_off();
            return Ok(false);
        };
        match head.id {
            id::INFO => {
                if let Some((_, scale)) = elements(&body).find(|(id, _)| *id == id::TIMESTAMP_SCALE) {
                    let scale = uint(scale).and_then(|scale| i64::try_from(scale).ok());
                    self.scale = scale
                        .filter(|scale| (1..=1_000_000_000).contains(scale))
                        .ok_or_else(|| self.input.damaged("an impossible TimestampScale"))?;
                }
            }
            // Live streams may repeat their tracks.
            id::TRACKS => _ = self.tracks.get_or_insert_with(|| read_tracks(&body)),
            id::TIMESTAMP => {
                let time = uint(&body).and_then(|ticks| i64::try_from(ticks).ok()?.checked_mul(self.scale));
                let time = time.filter(|time| *time < i64::MAX / 4);
                self.cluster = Some(time.ok_or_else(|| self.input.damaged("an impossible Timestamp"))?);
            }
            id::SIMPLE_BLOCK => self.block(&body)?,
            _ => {
                if let Some((_, block)) = elements(&body).find(|(id, _)| *id == id::BLOCK) {
                    self.block(block)?;
                }
            }
        }
        Ok(true)
    }

    fn block(&mut self, block: &[u8]) -> Result<(), CaptureError> {
        let damaged = |detail| self.input.damaged(detail);
        let tracks = self.tracks.as_ref().ok_or_else(|| damaged("a block comes before the tracks"))?;
        let cluster = self.cluster.ok_or_else(|| damaged("a block comes before its cluster's Timestamp"))?;
        let (number, len) = ebml::vint(block).ok_or_else(|| damaged("a block without a track"))?;
        let track = [&tracks.video, &tracks.audio].into_iter().flatten().find(|track| Some(track.number) == number);
        let Some(track) = track else { return Ok(()) };
        let [t0, t1, flags, payload @ ..] = &block[len..] else { return Err(damaged("a block is too short")) };
        let relative = i64::from(i16::from_be_bytes([*t0, *t1])) * self.scale;
        let frames = laces(flags >> 1 & 3, payload).ok_or_else(|| damaged("the lacing of a block is wrong"))?;
        let mut time = cluster + relative - track.delay;
        for data in frames {
            // An empty frame stands for one that was dropped.
            if data.is_empty() {
                continue;
            }
            let data = match &track.avc {
                None if track.codec == Codec::Av1 => {
                    temporal_unit(data).ok_or_else(|| damaged("a temporal unit breaks off"))?
                }
                None => bytes::Bytes::copy_from_slice(data),
                Some(avc) => avc.to_stream(data).ok_or_else(|| damaged("a frame is no sequence of NAL units"))?,
            };
            let progress = &mut self.progress[track.codec.kind() as usize];
            let last = progress.map_or(i64::MIN, |progress| progress.last);
            time = time.max(last);
            let (key, length) = match track.codec {
                Codec::Opus => {
                    let samples = opus_packet_samples(&data).ok_or_else(|| damaged("a packet is not valid Opus"))?;
                    (true, i64::try_from(samples).unwrap_or(0) * 1_000_000_000 / 48_000)
                }
                codec => {
                    let seen = progress.map(|progress| (time - progress.last).clamp(1_000_000, 1_000_000_000));
                    (
                        frame_header(codec, &data).is_some_and(|header| header.key),
                        track.duration.or(seen).unwrap_or(33_333_333),
                    )
                }
            };
            *progress = Some(Progress { last: time, length });
            self.ready.push_back(EncodedFrame { codec: track.codec, time: MediaTime::new(time, NANOS), key, data });
            time += length;
        }
        Ok(())
    }
}

/// The frames of a block, RFC 9559 section 10.3: `lacing` is 0 none, 1 Xiph, 2 fixed size, 3 EBML.
fn laces(lacing: u8, payload: &[u8]) -> Option<Vec<&[u8]>> {
    if lacing == 0 {
        return Some(vec![payload]);
    }
    let (count, mut rest) = payload.split_first()?;
    let count = usize::from(*count) + 1;
    let mut sizes: Vec<usize> = Vec::with_capacity(count);
    match lacing {
        1 => {
            while sizes.len() + 1 < count {
                let mut size = 0;
                loop {
                    let (byte, after) = rest.split_first()?;
                    rest = after;
                    size += usize::from(*byte);
                    if *byte < 255 {
                        break;
                    }
                }
                sizes.push(size);
            }
        }
        2 => {
            if rest.len() % count != 0 {
                return None;
            }
            sizes = vec![rest.len() / count; count - 1];
        }
        _ => {
            while sizes.len() + 1 < count {
                let (value, len) = ebml::vint(rest)?;
                rest = &rest[len..];
                let value = i64::try_from(value?).ok()?;
                // All but the first are differences, stored from the middle of their range.
                let size = match sizes.last() {
                    None => value,
                    Some(last) => {
                        let middle = (1_i64 << (7 * len - 1)) - 1;
                        i64::try_from(*last).ok()?.checked_add(value - middle)?
                    }
                };
                sizes.push(usize::try_from(size).ok()?);
            }
        }
    }
    let mut frames = Vec::with_capacity(count);
    for size in sizes {
        let (frame, after) = rest.split_at_checked(size)?;
        frames.push(frame);
        rest = after;
    }
    frames.push(rest);
    Some(frames)
}

fn read_tracks(body: &[u8]) -> Tracks {
    let mut tracks = Tracks::default();
    for (_, entry) in elements(body).filter(|(id, _)| *id == id::TRACK_ENTRY) {
        let field = |wanted| elements(entry).find(|(id, _)| *id == wanted).map(|(_, content)| content);
        let number = |wanted| field(wanted).and_then(uint);
        let kind = match number(id::TRACK_TYPE) {
            Some(1) => MediaKind::Video,
            Some(2) => MediaKind::Audio,
            _ => continue,
        };
        let name = field(id::CODEC_ID).unwrap_or_default();
        let name = String::from_utf8_lossy(name).trim_end_matches('\0').escape_default().to_string();
        let child = |parent, wanted| elements(field(parent)?).find(|(id, _)| *id == wanted).and_then(|(_, c)| uint(c));
        let mut channels = 0;
        let mut avc = None;
        let codec = match (kind, name.as_str()) {
            _ if field(id::CONTENT_ENCODINGS).is_some() => {
                Err(format!("{name} compressed or encrypted by the container"))
            }
            (MediaKind::Video, "V_VP8") => Ok(Codec::Vp8),
            (MediaKind::Video, "V_VP9") => Ok(Codec::Vp9),
            (MediaKind::Video, "V_AV1") => Ok(Codec::Av1),
            (MediaKind::Video, "V_MPEG4/ISO/AVC") => {
                avc = field(id::CODEC_PRIVATE).and_then(AvcConfiguration::parse);
                avc.as_ref().map(|_| Codec::H264).ok_or_else(|| format!("{name} without its parameter sets"))
            }
            (MediaKind::Audio, "A_OPUS") => match field(id::CODEC_PRIVATE) {
                Some(head) => opus::head_channels(head).map(|count| channels = count).map(|()| Codec::Opus),
                None => {
                    channels = child(id::AUDIO, id::CHANNELS).and_then(|n| u16::try_from(n).ok()).unwrap_or(1);
                    if channels <= 2 { Ok(Codec::Opus) } else { Err(format!("Opus in {channels} channels")) }
                }
            },
            _ => Err(name),
        };
        let nanos = |wanted| number(wanted).and_then(|n| i64::try_from(n).ok()).filter(|n| *n <= 10_000_000_000);
        let slot = match kind {
            MediaKind::Video => &mut tracks.video,
            MediaKind::Audio => &mut tracks.audio,
        };
        match (codec, number(id::TRACK_NUMBER)) {
            (Ok(codec), Some(number)) => {
                let side = |wanted| child(id::VIDEO, wanted).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
                let duration = nanos(id::DEFAULT_DURATION).filter(|n| *n > 0);
                slot.get_or_insert(Track {
                    number,
                    codec,
                    size: side(id::PIXEL_WIDTH).zip(side(id::PIXEL_HEIGHT)),
                    frame_rate: duration.map(|nanos| 1e9 / nanos as f64),
                    channels,
                    delay: nanos(id::CODEC_DELAY).unwrap_or(0),
                    duration,
                    avc,
                });
            }
            (Err(name), _) => tracks.refused.push((kind, name)),
            (Ok(_), None) => tracks.refused.push((kind, "a track without a number".to_owned())),
        }
    }
    tracks
}

#[cfg(test)]
mod tests {
    use super::laces;

    #[test]
    fn every_lacing_gives_the_frames_of_the_standards_examples() {
        // RFC 9559 section 10.3: frames of 800, 500 and 1000 bytes.
        let frames = [vec![1; 800], vec![2; 500], vec![3; 1000]];
        let bytes = frames.concat();
        let xiph = [&[2, 255, 255, 255, 35, 255, 245][..], &bytes].concat();
        let ebml = [&[2, 0x43, 0x20, 0x5E, 0xD3][..], &bytes].concat();
        assert_eq!(laces(1, &xiph).unwrap(), frames);
        assert_eq!(laces(3, &ebml).unwrap(), frames);
        let equal = [&[2][..], &[7; 2400]].concat();
        assert_eq!(laces(2, &equal).unwrap(), [[7; 800]; 3]);
        assert_eq!(laces(0, &[5, 6]).unwrap(), [[5, 6]]);
    }

    #[test]
    fn lacing_that_claims_more_than_there_is_gives_nothing() {
        assert!(laces(1, &[2, 255, 255]).is_none());
        assert!(laces(1, &[1, 9, 0]).is_none());
        assert!(laces(2, &[2, 0, 0]).is_none());
        assert!(laces(3, &[2, 0x41, 0, 0x40, 0]).is_none());
        assert!(laces(3, &[]).is_none());
    }
}
