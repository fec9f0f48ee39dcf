//! AV1 (AV1 bitstream and decoding process specification) as bytes: open bitstream units, and the little of their headers that
//! says where decoding can start and what pictures it is about.
//!
//! A frame here is a temporal unit in the low-overhead format, each unit with its size, without the temporal delimiter, as
//! Matroska has it.

use super::bits::Bits;
use bytes::{BufMut, Bytes, BytesMut};

/// Types of units, `obu_type`.
pub mod obu {
    /// What holds for all frames until the next.
    pub const SEQUENCE_HEADER: u8 = 1;
    /// The beginning of a temporal unit.
    pub const TEMPORAL_DELIMITER: u8 = 2;
    /// A frame's header, without its tiles.
    pub const FRAME_HEADER: u8 = 3;
    /// A frame's header and tiles.
    pub const FRAME: u8 = 6;
    /// For another kind of decoder.
    pub const TILE_LIST: u8 = 8;
    /// Nothing.
    pub const PADDING: u8 = 15;
    /// Bits of the header.
    pub const HAS_EXTENSION: u8 = 0x04;
    /// Whether a size follows the header.
    pub const HAS_SIZE: u8 = 0x02;

    /// The type of the unit with this header.
    pub const fn kind(header: u8) -> u8 {
        header >> 3 & 0xf
    }
}

/// An open bitstream unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obu<'a> {
    /// Its first byte.
    pub header: u8,
    /// Temporal and spatial layer, where it says so.
    pub extension: Option<u8>,
    /// What it holds.
    pub payload: &'a [u8],
}

impl<'a> Obu<'a> {
    /// Its type, one of [`obu`].
    pub const fn kind(&self) -> u8 {
        obu::kind(self.header)
    }

    /// Reads the unit at the start of `data` and gives what follows it; without a size it is all there is. `None` when it
    /// breaks off.
    pub fn read(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&header, mut rest) = data.split_first()?;
        let forbidden = header & 0x80 != 0;
        let mut extension = None;
        if header & obu::HAS_EXTENSION != 0 {
            let (&byte, after) = rest.split_first()?;
            (extension, rest) = (Some(byte), after);
        }
        let mut size = rest.len();
        if header & obu::HAS_SIZE != 0 {
            (size, rest) = read_leb128(rest)?;
        }
        let (payload, rest) = rest.split_at_checked(size)?;
        (!forbidden).then_some((Self { header, extension, payload }, rest))
    }

    /// Appends the unit, with its size.
    pub fn put(&self, out: &mut BytesMut) {
        out.put_u8(self.header | obu::HAS_SIZE);
        out.extend(self.extension);
        put_leb128(out, self.payload.len());
        out.put_slice(self.payload);
    }

    /// Whether a frame has no use for it.
    const fn is_left_out(&self) -> bool {
        matches!(self.kind(), obu::TEMPORAL_DELIMITER | obu::TILE_LIST | obu::PADDING)
    }
}

/// The units of a temporal unit, up to where it breaks off.
pub fn obus(data: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (unit, after) = Obu::read(rest)?;
        rest = after;
        Some(unit)
    })
}

/// A frame as it is handed on: without delimiters and padding, and each unit with its size. `None` when it breaks off.
pub fn temporal_unit(data: &[u8]) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(data.len() + 4);
    let mut rest = data;
    while !rest.is_empty() {
        let (unit, after) = Obu::read(rest)?;
        rest = after;
        if !unit.is_left_out() {
            unit.put(&mut out);
        }
    }
    Some(out.freeze())
}

/// Reads a number in the format of section 4.10.5, and gives what follows it.
pub fn read_leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (at, &byte) in data.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((usize::try_from(value).ok()?, &data[at + 1..]));
        }
    }
    None
}

/// Appends a number in the format of section 4.10.5.
pub fn put_leb128(out: &mut BytesMut, value: usize) {
    let mut rest = value;
    loop {
        let low = u8::try_from(rest & 0x7f).expect("seven bits");
        rest >>= 7;
        out.put_u8(if rest == 0 { low } else { low | 0x80 });
        if rest == 0 {
            return;
        }
    }
}

/// What a sequence header says of its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Av1Sequence {
    /// 0 is Main: 8 or 10 bits, 4:2:0 or monochrome.
    pub profile: u8,
    /// `seq_level_idx` of the first operating point: 5 is level 3.1, 8 is level 4.0.
    pub level: u8,
    /// The tier of the first operating point.
    pub tier: bool,
    /// More than 8 bits.
    pub high_bit_depth: bool,
    /// Twelve bits.
    pub twelve_bit: bool,
    /// Without colours.
    pub monochrome: bool,
    /// Whether chroma has half the columns, and half the rows.
    pub subsampling: (bool, bool),
    /// Where chroma lies.
    pub chroma_sample_position: u8,
    /// Width in pixels, at most.
    pub width: u32,
    /// Height in pixels, at most.
    pub height: u32,
    reduced: bool,
}

/// Reads the payload of a sequence header, section 5.5; `None` when it breaks off.
pub fn av1_sequence(payload: &[u8]) -> Option<Av1Sequence> {
    let bits = &mut Bits::new(payload);
    let byte = |value: u32| u8::try_from(value).ok();
    let profile = byte(bits.uint(3)?)?;
    bits.skip(1)?;
    let reduced = bits.bit()?;
    let (mut level, mut tier) = (0, false);
    if reduced {
        level = byte(bits.uint(5)?)?;
    } else {
        let mut delay_bits = None;
        if bits.bit()? {
            bits.skip(64)?;
            if bits.bit()? {
                skip_uvlc(bits)?;
            }
            if bits.bit()? {
                delay_bits = Some(bits.uint(5)? + 1);
                bits.skip(32 + 5 + 5)?;
            }
        }
        let has_display_delay = bits.bit()?;
        for point in 0..=bits.uint(5)? {
            bits.skip(12)?;
            let this_level = byte(bits.uint(5)?)?;
            let this_tier = this_level > 7 && bits.bit()?;
            if point == 0 {
                (level, tier) = (this_level, this_tier);
            }
            if let Some(count) = delay_bits
                && bits.bit()?
            {
                bits.skip(2 * count as usize + 1)?;
            }
            if has_display_delay && bits.bit()? {
                bits.skip(4)?;
            }
        }
    }
    let (width_bits, height_bits) = (bits.uint(4)? + 1, bits.uint(4)? + 1);
    let (width, height) = (bits.uint(width_bits)? + 1, bits.uint(height_bits)? + 1);
    if !reduced && bits.bit()? {
        bits.skip(7)?;
    }
    bits.skip(3)?;
    if !reduced {
        skip_tools(bits)?;
    }
    bits.skip(3)?;
    let high_bit_depth = bits.bit()?;
    let twelve_bit = profile == 2 && high_bit_depth && bits.bit()?;
    let monochrome = profile != 1 && bits.bit()?;
    let colours = if bits.bit()? { [bits.uint(8)?, bits.uint(8)?, bits.uint(8)?] } else { [2, 2, 2] };
    const SRGB: [u32; 3] = [1, 13, 0];
    let mut chroma_sample_position = 0;
    let mut subsampling = (true, true);
    if monochrome {
        bits.skip(1)?;
    } else if colours == SRGB {
        subsampling = (false, false);
    } else {
        bits.skip(1)?;
        subsampling = match (profile, twelve_bit) {
            (0, _) => (true, true),
            (1, _) => (false, false),
            (_, false) => (true, false),
            (_, true) => {
                let across = bits.bit()?;
                (across, across && bits.bit()?)
            }
        };
        if subsampling == (true, true) {
            chroma_sample_position = byte(bits.uint(2)?)?;
        }
    }
    Some(Av1Sequence {
        profile,
        level,
        tier,
        high_bit_depth,
        twelve_bit,
        monochrome,
        subsampling,
        chroma_sample_position,
        width,
        height,
        reduced,
    })
}

fn skip_uvlc(bits: &mut Bits<'_>) -> Option<()> {
    let mut zeros = 0;
    while !bits.bit()? {
        zeros += 1;
        if zeros >= 32 {
            return Some(());
        }
    }
    bits.skip(zeros)
}

/// The tools that a sequence that is no still picture may use.
fn skip_tools(bits: &mut Bits<'_>) -> Option<()> {
    bits.skip(4)?;
    let has_order_hint = bits.bit()?;
    if has_order_hint {
        bits.skip(2)?;
    }
    let chooses_screen_tools = bits.bit()?;
    if chooses_screen_tools || bits.bit()? {
        let chooses_integer_vectors = bits.bit()?;
        if !chooses_integer_vectors {
            bits.skip(1)?;
        }
    }
    if has_order_hint {
        bits.skip(3)?;
    }
    Some(())
}

/// What a temporal unit says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Av1Header {
    /// Whether decoding can start here: a sequence header, and a key frame that is shown.
    pub key: bool,
    /// Its sequence header, if it has one.
    pub sequence: Option<Av1Sequence>,
}

/// Reads the headers of a temporal unit; `None` when it has no frame.
pub fn av1_frame_header(data: &[u8]) -> Option<Av1Header> {
    let mut sequence = None;
    for unit in obus(data) {
        match unit.kind() {
            obu::SEQUENCE_HEADER => sequence = Some(av1_sequence(unit.payload)?),
            obu::FRAME | obu::FRAME_HEADER => {
                let bits = &mut Bits::new(unit.payload);
                const KEY_FRAME: u32 = 0;
                let starts = match sequence {
                    Some(Av1Sequence { reduced: true, .. }) => true,
                    // Not an existing frame that is shown, but a key frame, and shown.
                    _ => !bits.bit()? && bits.uint(2)? == KEY_FRAME && bits.bit()?,
                };
                return Some(Av1Header { key: starts && sequence.is_some(), sequence });
            }
            _ => {}
        }
    }
    None
}

/// The codec configuration that files keep, `AV1CodecConfigurationRecord`, made of a key frame; `None` when that has no
/// sequence header.
pub fn av1_configuration(frame: &[u8]) -> Option<Vec<u8>> {
    let unit = obus(frame).find(|unit| unit.kind() == obu::SEQUENCE_HEADER)?;
    let sequence = av1_sequence(unit.payload)?;
    let bit = |flag: bool, at: u8| u8::from(flag) << at;
    let mut out = BytesMut::with_capacity(unit.payload.len() + 8);
    out.put_u8(0x81);
    out.put_u8(sequence.profile << 5 | sequence.level);
    out.put_u8(
        bit(sequence.tier, 7)
            | bit(sequence.high_bit_depth, 6)
            | bit(sequence.twelve_bit, 5)
            | bit(sequence.monochrome, 4)
            | bit(sequence.subsampling.0, 3)
            | bit(sequence.subsampling.1, 2)
            | sequence.chroma_sample_position,
    );
    out.put_u8(0);
    unit.put(&mut out);
    Some(out.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libaom writes it for 64x48.
    const SEQUENCE: &[u8] = &[0x00, 0x00, 0x00, 0x02, 0xaf, 0xf7, 0x9b, 0x5f, 0x20, 0x08];

    #[test]
    fn numbers_read_back_as_written_and_end() {
        for value in [0, 1, 127, 128, 300, 1 << 20] {
            let mut out = BytesMut::new();
            put_leb128(&mut out, value);
            out.put_u8(9);
            assert_eq!(read_leb128(&out), Some((value, &[9][..])));
        }
        assert_eq!(read_leb128(&[0xff; 9]), None);
        assert_eq!(read_leb128(&[0x80]), None);
    }

    #[test]
    fn a_temporal_unit_loses_what_no_frame_needs_and_gets_sizes() {
        // A delimiter, padding, and a frame without a size.
        let data = [0x12, 0x00, 0x7a, 0x02, 1, 2, 0x30, 7, 8, 9];
        let unit = temporal_unit(&data).unwrap();
        assert_eq!(unit[..], [0x32, 3, 7, 8, 9]);
        assert_eq!(temporal_unit(&unit).unwrap(), unit);
        assert_eq!(temporal_unit(&[0x32, 9, 1]), None);
        assert_eq!(temporal_unit(&[0x80 | 0x32, 0]), None);
    }

    #[test]
    fn headers_that_break_off_are_not_read() {
        let sequence = av1_sequence(SEQUENCE).unwrap();
        assert_eq!((sequence.width, sequence.height, sequence.profile), (64, 48, 0));
        assert_eq!((sequence.subsampling, sequence.high_bit_depth, sequence.monochrome), ((true, true), false, false));
        for len in 0..8 {
            assert_eq!(av1_sequence(&SEQUENCE[..len]), None, "{len} bytes");
        }
        assert_eq!(av1_frame_header(&[]), None);
        assert_eq!(av1_frame_header(&[0x12, 0]), None, "a delimiter alone");
        // A frame that builds on others: not shown again, type 1, shown.
        let inter = av1_frame_header(&[0x32, 1, 0x30]).unwrap();
        assert!(!inter.key && inter.sequence.is_none());
    }
}
