//! Ogg with Opus: RFC 3533 and RFC 7845. Packets pass through encoded; their times come from their own lengths, and from the
//! granule positions where packets are missing.
//!
//! The packets of the pre-skip are given too, as a decoder needs them: time 0 is where the first packet starts.

use super::input::Input;
use super::opus;
use super::source::Pass;
use crate::capture::CaptureError;
use crate::media::{Codec, EncodedFrame, MediaTime, opus_packet_samples};
use crate::stop::Stop;
use std::collections::VecDeque;

const CONTINUED: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// An ogg file of which the `OpusHead` is read. Streams that are chained end to end follow each other.
pub(super) struct Ogg {
    input: Input,
    channels: u16,
    serial: Option<u32>,
    /// Header packets to pass over: `OpusTags`.
    headers: u8,
    partial: Option<Vec<u8>>,
    /// The end of the last packet, in samples at 48 kHz.
    position: i64,
    /// The granule position of `position == 0` in this link of the chain.
    base: Option<i64>,
    ready: VecDeque<EncodedFrame>,
}

struct Page {
    flags: u8,
    granule: i64,
    serial: u32,
    segments: Vec<u8>,
    body: Vec<u8>,
}

impl Ogg {
    const LARGEST_PACKET: usize = 1 << 20;

    pub(super) fn new(input: Input) -> Result<Self, CaptureError> {
        let mut ogg = Self {
            input,
            channels: 0,
            serial: None,
            headers: 0,
            partial: None,
            position: 0,
            base: None,
            ready: VecDeque::new(),
        };
        let mut others = Vec::new();
        while ogg.serial.is_none() {
            match ogg.page()? {
                Some(page) if page.flags & FIRST != 0 => {
                    if !ogg.begin(&page)? {
                        others.push(codec_name(&page.body));
                    }
                }
                Some(_) if !others.is_empty() => return Err(ogg.input.unsupported(&others.join(" and "))),
                _ => return Err(ogg.input.damaged("no stream begins")),
            }
        }
        Ok(ogg)
    }

    pub(super) fn channels(&self) -> u16 {
        self.channels
    }

    /// Takes up the stream that begins on this page, if it is Opus.
    fn begin(&mut self, page: &Page) -> Result<bool, CaptureError> {
        if !page.body.starts_with(b"OpusHead") {
            return Ok(false);
        }
        let channels = opus::head_channels(&page.body).map_err(|detail| self.input.unsupported(&detail))?;
        if self.channels == 0 {
            self.channels = channels;
        }
        self.serial = Some(page.serial);
        (self.headers, self.partial, self.base) = (1, None, None);
        Ok(true)
    }

    fn page(&mut self) -> Result<Option<Page>, CaptureError> {
        let Some(mut header) = self.input.array::<27>()? else { return Ok(None) };
        if !header.starts_with(b"OggS\0") {
            return Err(self.input.damaged("a page does not begin with OggS"));
        }
        let [_, _, _, _, _, flags, g0, g1, g2, g3, g4, g5, g6, g7, s0, s1, s2, s3, ..] = header;
        let stated = u32::from_le_bytes([header[22], header[23], header[24], header[25]]);
        header[22..26].fill(0);
        let parts = match self.input.bytes(header[26].into(), 255)? {
            Some(segments) => {
                let len = segments.iter().map(|len| u64::from(*len)).sum();
                self.input.bytes(len, 255 * 255)?.map(|body| (segments, body))
            }
            None => None,
        };
        let Some((segments, body)) = parts else {
            self.input.broke_off();
            return Ok(None);
        };
        let crc = [&header[..], &segments, &body].into_iter().fold(0, crc32);
        if crc != stated {
            return Err(self.input.damaged("the checksum of a page is wrong"));
        }
        Ok(Some(Page {
            flags,
            granule: i64::from_le_bytes([g0, g1, g2, g3, g4, g5, g6, g7]),
            serial: u32::from_le_bytes([s0, s1, s2, s3]),
            segments,
            body,
        }))
    }

    /// The packets that end on this page.
    fn packets(&mut self, page: &Page) -> Result<Vec<Vec<u8>>, CaptureError> {
        let mut packets = Vec::new();
        let mut start = 0;
        // A packet whose beginning is lost is passed over.
        let mut current = if page.flags & CONTINUED != 0 { self.partial.take() } else { Some(Vec::new()) };
        for len in &page.segments {
            let end = start + usize::from(*len);
            if let Some(packet) = &mut current {
                packet.extend_from_slice(&page.body[start..end]);
                if packet.len() > Self::LARGEST_PACKET {
                    return Err(self.input.damaged("a packet does not end"));
                }
            }
            start = end;
            if *len < 255 {
                packets.extend(current.replace(Vec::new()));
            }
        }
        self.partial = if page.segments.last() == Some(&255) { current } else { None };
        Ok(packets)
    }

    fn take_page(&mut self, page: &Page) -> Result<(), CaptureError> {
        let mut packets = self.packets(page)?;
        let headers = usize::from(self.headers).min(packets.len());
        packets.drain(..headers);
        self.headers -= u8::try_from(headers).unwrap_or(0);
        packets.retain(|packet| !packet.is_empty());
        let mut timed = Vec::with_capacity(packets.len());
        let mut sum = 0_i64;
        for packet in packets {
            let samples =
                opus_packet_samples(&packet).ok_or_else(|| self.input.damaged("a packet is not valid Opus"))?;
            let samples = i64::try_from(samples).unwrap_or(0);
            timed.push((packet, samples));
            sum += samples;
        }
        if page.granule >= 0 && !timed.is_empty() {
            let start = page.granule.saturating_sub(sum);
            let base = *self.base.get_or_insert(start.saturating_sub(self.position));
            // Later than expected: packets are missing. Earlier: the end of the stream is trimmed.
            self.position = start.saturating_sub(base).clamp(self.position, i64::MAX / 1_000_000);
        }
        for (packet, samples) in timed {
            let time = MediaTime::new(self.position, Codec::Opus.clock_rate());
            self.position += samples;
            self.ready.push_back(EncodedFrame { codec: Codec::Opus, time, key: true, data: packet.into() });
        }
        Ok(())
    }
}

impl Pass<EncodedFrame> for Ogg {
    fn read(&mut self, _stop: &Stop) -> Result<Option<EncodedFrame>, CaptureError> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            let Some(page) = self.page()? else { return Ok(None) };
            if page.flags & FIRST != 0 {
                if self.serial.is_none() {
                    self.begin(&page)?;
                }
            } else if self.serial == Some(page.serial) {
                self.take_page(&page)?;
                if page.flags & LAST != 0 {
                    self.serial = None;
                }
            }
        }
    }

    fn end(&self) -> MediaTime {
        MediaTime::new(self.position, Codec::Opus.clock_rate())
    }
}

/// What a first packet that is not Opus announces.
fn codec_name(body: &[u8]) -> String {
    const NAMES: [(&[u8], &str); 7] = [
        (b"\x01vorbis", "Vorbis"),
        (b"\x80theora", "Theora"),
        (b"\x7FFLAC", "FLAC"),
        (b"Speex", "Speex"),
        (b"OVP80", "VP8 in Ogg"),
        (b"fishead", "Ogg Skeleton"),
        (b"BBCD", "Dirac"),
    ];
    let name = NAMES.iter().find(|(magic, _)| body.starts_with(magic)).map(|(_, name)| *name);
    name.unwrap_or("an unknown Ogg stream").to_owned()
}

/// The CRC of RFC 3533: polynomial 0x04C11DB7, nothing reflected, initial value 0.
fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n: u32 = 0;
        while n < 256 {
            let mut crc = n << 24;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04C1_1DB7 };
                bit += 1;
            }
            table[n as usize] = crc;
            n += 1;
        }
        table
    };
    bytes.iter().fold(crc, |crc, byte| crc << 8 ^ TABLE[usize::from(crc.to_be_bytes()[0] ^ byte)])
}
