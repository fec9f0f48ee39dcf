//! H.264 (ITU-T H.264, ISO/IEC 14496-10) as bytes: NAL units in a byte stream (annex B) and in files (ISO/IEC 14496-15), and
//! the little of the sequence parameter set that says what pictures it is about.

use super::bits::Bits;
use bytes::{BufMut, Bytes, BytesMut};

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// What a NAL unit holds: `nal_unit_type`, table 7-1.
pub mod nal {
    /// A slice of a picture that builds on others.
    pub const SLICE: u8 = 1;
    /// A slice of a picture at which decoding can start.
    pub const IDR_SLICE: u8 = 5;
    /// Sequence parameter set.
    pub const SPS: u8 = 7;
    /// Picture parameter set.
    pub const PPS: u8 = 8;
    /// Access unit delimiter.
    pub const DELIMITER: u8 = 9;

    /// The type of the unit that begins with this byte.
    pub const fn kind(header: u8) -> u8 {
        header & 0x1f
    }
}

/// The NAL units of a byte stream, without their start codes; none is empty.
pub fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = start_code(stream).map(|at| &stream[at + 3..]);
    std::iter::from_fn(move || {
        let from = rest?;
        let end = start_code(from);
        rest = end.map(|at| &from[at + 3..]);
        Some(&from[..end.unwrap_or(from.len())])
    })
    // A start code may have more zeros, and a unit never ends in one.
    .map(|unit| &unit[..unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)])
    .filter(|unit| !unit.is_empty())
}

fn start_code(stream: &[u8]) -> Option<usize> {
    stream.windows(3).position(|bytes| bytes == [0, 0, 1])
}

/// Appends a NAL unit to a byte stream.
pub fn put_nal_unit(stream: &mut BytesMut, unit: &[u8]) {
    stream.put_slice(&START_CODE);
    stream.put_slice(unit);
}

/// What a sequence parameter set says of its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H264Sequence {
    /// `profile_idc`: 66 is Baseline, 77 Main, 100 High.
    pub profile: u8,
    /// `chroma_format_idc`: 1 is 4:2:0.
    pub chroma_format: u32,
    /// Bits of a sample.
    pub bit_depth: u32,
    /// Width in pixels, of what is shown.
    pub width: u32,
    /// Height in pixels, of what is shown.
    pub height: u32,
}

/// Reads a sequence parameter set, a NAL unit with its header; `None` when it breaks off or makes no sense.
pub fn h264_sequence(unit: &[u8]) -> Option<H264Sequence> {
    const HAVE_CHROMA_FORMAT: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
    let (header, payload) = unit.split_first()?;
    if nal::kind(*header) != nal::SPS {
        return None;
    }
    let payload = without_emulation_prevention(payload);
    let bits = &mut Bits::new(&payload);
    let profile = u8::try_from(bits.uint(8)?).ok()?;
    bits.skip(16)?;
    bits.exp_golomb()?;
    let (mut chroma_format, mut bit_depth) = (1, 8);
    if HAVE_CHROMA_FORMAT.contains(&profile) {
        chroma_format = bits.exp_golomb().filter(|format| *format <= 3)?;
        if chroma_format == 3 {
            bits.skip(1)?;
        }
        bit_depth = 8 + bits.exp_golomb()?.max(bits.exp_golomb()?).min(6);
        bits.skip(1)?;
        if bits.bit()? {
            for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                if bits.bit()? {
                    skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.exp_golomb()?;
    match bits.exp_golomb()? {
        0 => drop(bits.exp_golomb()?),
        1 => {
            bits.skip(1)?;
            bits.exp_golomb()?;
            bits.exp_golomb()?;
            for _ in 0..bits.exp_golomb().filter(|count| *count <= 255)? {
                bits.exp_golomb()?;
            }
        }
        _ => {}
    }
    bits.exp_golomb()?;
    bits.skip(1)?;
    let most = 1 << 16;
    let columns = bits.exp_golomb().filter(|count| *count < most)? + 1;
    let rows = bits.exp_golomb().filter(|count| *count < most)? + 1;
    let fields = if bits.bit()? { 1 } else { 2 };
    if fields == 2 {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let mut crop = [0; 4];
    if bits.bit()? {
        for side in &mut crop {
            *side = bits.exp_golomb().filter(|count| *count < most)?;
        }
    }
    let [left, right, top, bottom] = crop;
    let across = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
    let down = if chroma_format == 1 { 2 } else { 1 } * fields;
    let width = (columns * 16).checked_sub(across * (left + right)).filter(|width| *width > 0)?;
    let height = (rows * 16 * fields).checked_sub(down * (top + bottom)).filter(|height| *height > 0)?;
    Some(H264Sequence { profile, chroma_format, bit_depth, width, height })
}

fn skip_scaling_list(bits: &mut Bits<'_>, entries: u32) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..entries {
        if next != 0 {
            let code = i64::from(bits.exp_golomb()?);
            let delta = if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) };
            next = (last + delta).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn without_emulation_prevention(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len());
    let mut zeros = 0;
    for &byte in payload {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// The parameter sets of a stream as files keep them: `AVCDecoderConfigurationRecord`, ISO/IEC 14496-15 section 5.3.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvcConfiguration {
    /// Sequence parameter sets, whole NAL units.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, whole NAL units.
    pub pps: Vec<Bytes>,
    /// Bytes of the length before each NAL unit of a frame: 1, 2 or 4.
    pub length_bytes: usize,
}

impl AvcConfiguration {
    /// The parameter sets in an access unit of a byte stream; `None` unless it has both kinds.
    pub fn of_access_unit(stream: &[u8]) -> Option<Self> {
        let sets = |kind| -> Vec<Bytes> {
            nal_units(stream).filter(|unit| nal::kind(unit[0]) == kind).map(Bytes::copy_from_slice).collect()
        };
        let (sps, pps) = (sets(nal::SPS), sets(nal::PPS));
        let whole = sps.first().is_some_and(|sps| sps.len() >= 4) && !pps.is_empty();
        (whole && sps.len() < 32 && pps.len() < 256).then_some(Self { sps, pps, length_bytes: 4 })
    }

    /// Reads a record; `None` when it breaks off.
    pub fn parse(record: &[u8]) -> Option<Self> {
        let [1, _, _, _, length, count, rest @ ..] = record else { return None };
        let length_bytes = match length & 3 {
            2 => return None,
            less_one => usize::from(less_one) + 1,
        };
        let mut rest = rest;
        let sps = read_sets(&mut rest, count & 0x1f)?;
        let (count, after) = rest.split_first()?;
        rest = after;
        let pps = read_sets(&mut rest, *count)?;
        Some(Self { sps, pps, length_bytes })
    }

    /// The record, for frames whose lengths have four bytes.
    pub fn record(&self) -> Vec<u8> {
        let first = &self.sps[0];
        let mut out = vec![1, first[1], first[2], first[3], 0xff];
        for (sets, marker) in [(&self.sps, 0xe0), (&self.pps, 0)] {
            out.push(u8::try_from(sets.len()).unwrap_or(u8::MAX) | marker);
            for set in sets {
                out.extend_from_slice(&u16::try_from(set.len()).unwrap_or(u16::MAX).to_be_bytes());
                out.extend_from_slice(set);
            }
        }
        if let Some(sequence) = h264_sequence(first).filter(|sequence| [100, 110, 122, 144].contains(&sequence.profile))
        {
            let depth = u8::try_from(sequence.bit_depth - 8).unwrap_or(0);
            out.extend([0xfc | u8::try_from(sequence.chroma_format).unwrap_or(1), 0xf8 | depth, 0xf8 | depth, 0]);
        }
        out
    }

    /// An access unit as files have it: a length of four bytes before each NAL unit, and without the delimiters and
    /// parameter sets that the record holds.
    pub fn to_file(&self, stream: &[u8]) -> Bytes {
        let known = |unit: &[u8]| match nal::kind(unit[0]) {
            nal::DELIMITER => true,
            nal::SPS => self.sps.iter().any(|set| set == unit),
            nal::PPS => self.pps.iter().any(|set| set == unit),
            _ => false,
        };
        let mut out = BytesMut::with_capacity(stream.len() + 16);
        for unit in nal_units(stream).filter(|unit| !known(unit)) {
            out.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
            out.put_slice(unit);
        }
        out.freeze()
    }

    /// An access unit as a byte stream; one at which decoding can start has the parameter sets in front. `None` when its
    /// lengths contradict it.
    pub fn to_stream(&self, frame: &[u8]) -> Option<Bytes> {
        let mut units = Vec::new();
        let mut rest = frame;
        while !rest.is_empty() {
            let (length, after) = rest.split_at_checked(self.length_bytes)?;
            let length = length.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
            let (unit, after) = after.split_at_checked(length)?;
            units.extend(Some(unit).filter(|unit| !unit.is_empty()));
            rest = after;
        }
        let has = |kind| units.iter().any(|unit| nal::kind(unit[0]) == kind);
        let mut out = BytesMut::with_capacity(frame.len() + 128);
        if has(nal::IDR_SLICE) && !has(nal::SPS) {
            self.sps.iter().chain(&self.pps).for_each(|set| put_nal_unit(&mut out, set));
        }
        units.into_iter().for_each(|unit| put_nal_unit(&mut out, unit));
        Some(out.freeze())
    }
}

fn read_sets(rest: &mut &[u8], count: u8) -> Option<Vec<Bytes>> {
    (0..count)
        .map(|_| {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (set, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
            *rest = after;
            Some(Bytes::copy_from_slice(set)).filter(|set| !set.is_empty())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As OpenH264 and x264 write them: 1280x720 Constrained Baseline; 1920x1080 High, cropped.
    const SPS_720: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x28, 0x02, 0xdd, 0x00, 0xf0, 0x88, 0x45, 0x38];
    const SPS_1080: &[u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04,
        0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];

    #[test]
    fn a_byte_stream_comes_apart_at_start_codes_of_either_length() {
        let stream = [0, 0, 0, 1, 9, 0x10, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 0, 1, 0x65, 0x88, 0, 0, 3, 1];
        let units: Vec<_> = nal_units(&stream).collect();
        assert_eq!(units, [&[9, 0x10][..], &[0x67, 1, 2], &[0x65, 0x88, 0, 0, 3, 1]]);
        assert_eq!(nal_units(&[1, 2, 3]).count(), 0);
        assert_eq!(nal_units(&[0, 0, 1]).count(), 0);
    }

    #[test]
    fn a_sequence_tells_the_size_of_what_is_shown() {
        let size = |unit| h264_sequence(unit).map(|sequence| (sequence.width, sequence.height, sequence.profile));
        assert_eq!(size(SPS_1080), Some((1920, 1080, 100)));
        assert_eq!(size(SPS_720), Some((1280, 720, 66)));
        for len in 0..9 {
            assert_eq!(size(&SPS_720[..len]), None, "{len} bytes");
        }
        assert_eq!(size(&[0x68, 0x42]), None);
    }

    #[test]
    fn what_goes_into_a_file_comes_out_of_it() {
        let mut stream = BytesMut::new();
        let pps: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
        let slice: &[u8] = &[0x65, 0x88, 0x84, 0x21];
        [&[9, 0x10], SPS_1080, pps, slice].into_iter().for_each(|unit| put_nal_unit(&mut stream, unit));
        let configuration = AvcConfiguration::of_access_unit(&stream).unwrap();
        let record = configuration.record();
        assert_eq!(AvcConfiguration::parse(&record), Some(configuration.clone()));
        assert_eq!(&record[..6], [1, 0x64, 0, 0x28, 0xff, 0xe1]);
        let file = configuration.to_file(&stream);
        assert_eq!(file[..], [&[0, 0, 0, 4], slice].concat());
        let back = configuration.to_stream(&file).unwrap();
        assert_eq!(nal_units(&back).collect::<Vec<_>>(), [SPS_1080, pps, slice]);
        let other = [&[0, 0, 0, 2][..], &[0x41, 0x9a]].concat();
        assert_eq!(configuration.to_stream(&other).unwrap()[..], [0, 0, 0, 1, 0x41, 0x9a]);
        assert_eq!(configuration.to_stream(&[0, 0, 0, 9, 1]), None);
        for len in 0..record.len() - 4 {
            assert_eq!(AvcConfiguration::parse(&record[..len]), None, "{len} bytes");
        }
    }
}
