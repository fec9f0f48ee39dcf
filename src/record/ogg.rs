//! Writes Opus packets as Ogg: RFC 3533 for the pages, RFC 7845 for what is in them.
//!
//! A page holds half a second at most, and needs nothing that comes after it: a file that was cut off plays up to its last
//! whole page. Time is told by counting samples, so a hole is filled with packets that decoders conceal.

use super::opus_head::{OPUS_PRE_SKIP, opus_head};
use super::output::{Existing, Output, OutputError, Target};
use super::webm::{Recorded, RecordedTrack};
use crate::error::{Classify, ErrorKind};
use crate::media::{Codec, EncodedFrame, MediaTime, opus_packet_samples};
use std::num::NonZeroU32;
use std::path::PathBuf;

const RATE: NonZeroU32 = NonZeroU32::new(48_000).expect("not zero");
/// A page ends after so many samples: half a second.
const PAGE_SAMPLES: i64 = 24_000;
/// What a page costs besides its packets and their lacing.
const PAGE_HEAD_BYTES: u64 = 27;
/// The length of the packets that fill holes: 20 ms.
const FILLER_SAMPLES: i64 = 960;
/// A hole below this is jitter of the clock.
const JITTER_SAMPLES: i64 = 960;
/// The one logical stream.
const SERIAL: u32 = 1;

/// Why an Ogg file failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OggError {
    /// The file or stream failed.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Only Opus in one or two channels is written.
    #[error("Ogg cannot hold this: {what}")]
    Unsupported {
        /// What it is.
        what: String,
    },
    /// No packet came.
    #[error("{path}: nothing was recorded")]
    Empty {
        /// The output; it is not there.
        path: PathBuf,
    },
}

impl Classify for OggError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unsupported { .. } => ErrorKind::InvalidInput,
            Self::Output(_) | Self::Empty { .. } => ErrorKind::Output,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Output(error) => error.hint(),
            _ => None,
        }
    }
}

/// Writes one Ogg Opus file or stream. Blocks on the disk or pipe behind it.
///
/// Dropping it without [`finish`](Self::finish) leaves a `.part` that plays, if anything was written.
pub struct OggRecorder {
    output: Output,
    channels: u16,
    page: Page,
    sequence: u32,
    /// Of the first packet.
    origin: Option<MediaTime>,
    /// Samples so far, and those that are on finished pages.
    samples: i64,
    paged: i64,
    packets: u64,
    bytes: u64,
    filled: u64,
}

#[derive(Default)]
struct Page {
    lacing: Vec<u8>,
    body: Vec<u8>,
}

impl OggRecorder {
    /// Opens the output and writes its headers. `sample_rate` is that of the sound before it was encoded, for information.
    ///
    /// # Errors
    /// When the output cannot be created, and for other than one or two channels.
    pub fn create(
        target: Target,
        existing: Existing,
        channels: u16,
        sample_rate: NonZeroU32,
    ) -> Result<Self, OggError> {
        if !(1..=2).contains(&channels) {
            return Err(OggError::Unsupported { what: format!("{channels} channels") });
        }
        let output = Output::create(target, existing)?;
        let mut this = Self {
            output,
            channels,
            page: Page::default(),
            sequence: 0,
            origin: None,
            samples: 0,
            paged: 0,
            packets: 0,
            bytes: 0,
            filled: 0,
        };
        this.page.add(&opus_head(channels, sample_rate));
        this.end_page(Flags::BEGIN)?;
        let vendor = concat!("rtckit ", env!("CARGO_PKG_VERSION"));
        let mut tags = b"OpusTags".to_vec();
        tags.extend(u32::try_from(vendor.len()).unwrap_or(0).to_le_bytes());
        tags.extend(vendor.as_bytes());
        tags.extend(0u32.to_le_bytes());
        this.page.add(&tags);
        this.end_page(Flags::NONE)?;
        Ok(this)
    }

    /// The output that is being written.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// See [`Output::keep_durable`].
    pub fn keep_durable(&mut self) {
        self.output.keep_durable();
    }

    /// The most bytes that the output can have if it is finished now.
    pub fn finished_bytes(&self) -> u64 {
        self.output.position() + PAGE_HEAD_BYTES + self.page.lacing.len() as u64 + self.page.body.len() as u64
    }

    /// Takes one packet.
    ///
    /// # Errors
    /// When the output fails, and when it is no Opus packet.
    pub fn write(&mut self, frame: &EncodedFrame) -> Result<(), OggError> {
        let samples = opus_packet_samples(&frame.data).filter(|_| frame.codec == Codec::Opus);
        let Some(samples) = samples else {
            return Err(OggError::Unsupported { what: format!("a packet of {}", frame.codec) });
        };
        let origin = *self.origin.get_or_insert(frame.time);
        let place = frame.time.minus(origin).rescale(RATE).ticks();
        if place - self.samples > JITTER_SAMPLES {
            // 20 ms of full-band CELT without content: a decoder conceals it, which soon is silence.
            let filler = [0xF8 | if self.channels == 2 { 4 } else { 0 }];
            while place - self.samples >= FILLER_SAMPLES {
                self.put(&filler, FILLER_SAMPLES)?;
                self.filled += 1;
            }
        }
        self.put(&frame.data, samples as i64)?;
        self.packets += 1;
        self.bytes += frame.data.len() as u64;
        Ok(())
    }

    fn put(&mut self, packet: &[u8], samples: i64) -> Result<(), OggError> {
        // Only now, so that the last page is never empty.
        if self.samples - self.paged >= PAGE_SAMPLES || self.page.lacing.len() + packet.len() / 255 + 1 > 255 {
            self.end_page(Flags::NONE)?;
        }
        if packet.len() / 255 + 1 > 255 {
            return Err(OggError::Unsupported { what: format!("a packet of {} bytes", packet.len()) });
        }
        self.page.add(packet);
        self.samples += samples;
        Ok(())
    }

    /// Hands all packets taken so far to the operating system.
    ///
    /// # Errors
    /// When the output fails.
    pub fn flush(&mut self) -> Result<(), OggError> {
        if self.page.lacing.is_empty() { Ok(()) } else { self.end_page(Flags::NONE) }
    }

    /// Ends the stream, completes the file and gives it its name.
    ///
    /// # Errors
    /// When the output fails, which leaves a `.part` that plays, and when no packet was recorded.
    pub fn finish(mut self) -> Result<Recorded, OggError> {
        if self.packets == 0 {
            return Err(OggError::Empty { path: self.output.name().to_owned() });
        }
        self.end_page(Flags::END)?;
        let heard = (self.samples - i64::from(OPUS_PRE_SKIP)).max(0) as f64 / 48_000.0;
        let track = RecordedTrack {
            number: 1,
            kind: Codec::Opus.kind().as_str(),
            mime_type: Codec::Opus.mime_type(),
            frames: self.packets,
            key_frames: self.packets,
            bytes: self.bytes,
            start: Some(0.0),
            end: Some(heard),
            before_first_key_frame: 0,
            moved: 0,
        };
        let finished = self.output.finish()?;
        Ok(Recorded { path: finished.path, bytes: finished.bytes, duration: heard, tracks: vec![track] })
    }

    fn end_page(&mut self, flags: Flags) -> Result<(), OggError> {
        let Page { lacing, body } = std::mem::take(&mut self.page);
        let mut page = Vec::with_capacity(27 + lacing.len() + body.len());
        page.extend(*b"OggS\0");
        page.push(flags.0);
        page.extend(self.samples.to_le_bytes());
        page.extend(SERIAL.to_le_bytes());
        page.extend(self.sequence.to_le_bytes());
        page.extend([0; 4]);
        page.push(u8::try_from(lacing.len()).unwrap_or(u8::MAX));
        page.extend(lacing);
        page.extend(body);
        let sum = checksum(&page);
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        self.output.write(&page)?;
        if self.packets > 0 {
            self.output.keep_unfinished();
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.paged = self.samples;
        Ok(())
    }
}

impl Page {
    fn add(&mut self, packet: &[u8]) {
        self.lacing.extend(std::iter::repeat_n(255, packet.len() / 255));
        self.lacing.push(u8::try_from(packet.len() % 255).unwrap_or(0));
        self.body.extend_from_slice(packet);
    }
}

/// The header type flag of a page.
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const NONE: Self = Self(0);
    const BEGIN: Self = Self(2);
    const END: Self = Self(4);
}

/// CRC-32 with the polynomial 0x04C11DB7, from the highest bit, without inversions.
fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0u32;
        while index < 256 {
            let mut value = index << 24;
            let mut bit = 0;
            while bit < 8 {
                value = value << 1 ^ if value >> 31 == 1 { 0x04C1_1DB7 } else { 0 };
                bit += 1;
            }
            table[index as usize] = value;
            index += 1;
        }
        table
    };
    bytes.iter().fold(0, |sum, byte| sum << 8 ^ TABLE[(sum >> 24) as usize ^ usize::from(*byte)])
}

#[cfg(test)]
mod tests {
    use super::super::foreign;
    use super::*;
    use std::fs;

    fn create(path: &std::path::Path) -> OggRecorder {
        OggRecorder::create(Target::File(path.to_owned()), Existing::Refuse, 1, RATE).unwrap()
    }

    #[test]
    fn foreign_readers_find_every_packet_and_the_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.opus");
        let packets = foreign::opus(0, 500);
        let mut recorder = create(&path);
        packets.iter().for_each(|packet| recorder.write(packet).unwrap());
        let recorded = recorder.finish().unwrap();
        assert!((recorded.duration - 10.0).abs() < 0.01, "{recorded:?}");
        // Reads every checksum, sequence number and lacing.
        let mut reader = ogg::PacketReader::new(fs::File::open(&path).unwrap());
        let mut found = Vec::new();
        while let Some(packet) = reader.read_packet().unwrap() {
            found.push((packet.data.clone(), packet.absgp_page(), packet.last_in_stream()));
        }
        assert_eq!(found.len(), 502);
        assert!(found[2..].iter().zip(&packets).all(|((data, ..), packet)| data[..] == packet.data[..]));
        assert_eq!((found[501].1, found[501].2), (480_000, true));
        let Some(tools) = foreign::ffmpeg() else { return };
        tools.assert_clean(&path);
        assert!((tools.duration(&path) - 10.0).abs() < 0.01);
    }

    #[test]
    fn a_file_cut_anywhere_plays_up_to_half_a_second_before_the_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.opus");
        let mut recorder = create(&path);
        foreign::opus(0, 500).iter().for_each(|packet| recorder.write(packet).unwrap());
        drop(recorder);
        let whole = fs::read(folder.path().join("a.opus.part")).unwrap();
        let Some(tools) = foreign::ffmpeg() else { return };
        let cut = folder.path().join("cut.opus");
        for percent in [20, 41, 63, 99] {
            fs::write(&cut, &whole[..whole.len() * percent / 100]).unwrap();
            let expected = 10.0 * percent as f64 / 100.0;
            let end = tools.decoded_end(&cut).unwrap();
            assert!((expected - 1.0..expected + 0.5).contains(&end), "{percent} %: {end}");
        }
    }

    #[test]
    fn a_hole_keeps_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.opus");
        let mut recorder = create(&path);
        let packets: Vec<_> = [foreign::opus(0, 50), foreign::opus(3_000, 50)].concat();
        packets.iter().for_each(|packet| recorder.write(packet).unwrap());
        let recorded = recorder.finish().unwrap();
        assert!((recorded.duration - 4.0).abs() < 0.02, "{recorded:?}");
        assert_eq!(recorded.tracks[0].frames, 100, "fillers are no frames");
        let Some(tools) = foreign::ffmpeg() else { return };
        tools.assert_clean(&path);
        assert!((tools.duration(&path) - 4.0).abs() < 0.02);
    }

    #[test]
    fn nothing_is_no_file_and_other_codecs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.opus");
        assert!(matches!(create(&path).finish(), Err(OggError::Empty { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut recorder = create(&path);
        assert!(matches!(recorder.write(&foreign::vp8(0, 1)[0]), Err(OggError::Unsupported { .. })));
        let six = OggRecorder::create(Target::File(path), Existing::Refuse, 6, RATE);
        assert!(matches!(six, Err(OggError::Unsupported { .. })));
    }
}
