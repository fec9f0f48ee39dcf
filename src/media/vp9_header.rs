//! What a VP9 frame says of itself before any decoding: the uncompressed header, VP9 bitstream specification 6.2, and the
//! superframe index, annex B.

use super::bits::Bits;

/// The beginning of the uncompressed header of a VP9 frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp9Header {
    /// Whether decoding can start here.
    pub key: bool,
    /// 0 is 8 bits and 4:2:0; the others have more of either.
    pub profile: u8,
    /// Width in pixels, 1 ..= 65536, of key frames and others that state it anew; `None` where it is that of a frame before.
    pub width: Option<u32>,
    /// Height in pixels, likewise.
    pub height: Option<u32>,
    /// Whether the frame is to be shown.
    pub show: bool,
}

/// Reads the header of the VP9 frame at the start of `frame`; `None` when it is too short or lacks a marker that it must
/// have.
pub fn vp9_frame_header(frame: &[u8]) -> Option<Vp9Header> {
    let bits = &mut Bits::new(frame);
    if bits.uint(2)? != 2 {
        return None;
    }
    let (low, high) = (bits.bit()?, bits.bit()?);
    let profile = u8::from(low) | u8::from(high) << 1;
    if profile == 3 && bits.bit()? {
        return None;
    }
    let mut header = Vp9Header { key: false, profile, width: None, height: None, show: true };
    let shows_existing_frame = bits.bit()?;
    if shows_existing_frame {
        return Some(header);
    }
    header.key = !bits.bit()?;
    header.show = bits.bit()?;
    let error_resilient = bits.bit()?;
    if header.key {
        sync_code(bits)?;
        color_config(bits, profile)?;
        return sized(header, bits);
    }
    let intra_only = !header.show && bits.bit()?;
    if !error_resilient {
        bits.skip(2)?;
    }
    if intra_only {
        sync_code(bits)?;
        if profile > 0 {
            color_config(bits, profile)?;
        }
        bits.skip(8)?;
        return sized(header, bits);
    }
    // What it refreshes, and three references of three bits with their sign biases.
    bits.skip(8 + 3 * 4)?;
    for _ in 0..3 {
        if bits.bit()? {
            return Some(header);
        }
    }
    sized(header, bits)
}

fn sync_code(bits: &mut Bits<'_>) -> Option<()> {
    (bits.uint(24)? == 0x49_83_42).then_some(())
}

fn color_config(bits: &mut Bits<'_>, profile: u8) -> Option<()> {
    const RGB: u32 = 7;
    if profile >= 2 {
        bits.skip(1)?;
    }
    let rgb = bits.uint(3)? == RGB;
    let subsampled = profile == 1 || profile == 3;
    match (rgb, subsampled) {
        (false, true) => bits.skip(4),
        (false, false) | (true, true) => bits.skip(1),
        (true, false) => None,
    }
}

fn sized(header: Vp9Header, bits: &mut Bits<'_>) -> Option<Vp9Header> {
    let (width, height) = (bits.uint(16)? + 1, bits.uint(16)? + 1);
    Some(Vp9Header { width: Some(width), height: Some(height), ..header })
}

/// The frames of a superframe: those that are not shown and the one that is, which share one packet. A frame alone is
/// given as it is.
pub fn vp9_frames(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let sizes = superframe_sizes(data).unwrap_or_else(|| vec![data.len()]);
    let mut rest = data;
    sizes.into_iter().map_while(move |size| {
        let (frame, after) = rest.split_at_checked(size)?;
        rest = after;
        Some(frame)
    })
}

fn superframe_sizes(data: &[u8]) -> Option<Vec<usize>> {
    let marker = *data.last()?;
    if marker & 0xe0 != 0xc0 {
        return None;
    }
    let (count, bytes) = (usize::from(marker & 7) + 1, usize::from(marker >> 3 & 3) + 1);
    let index = data.len().checked_sub(2 + count * bytes).and_then(|start| data.get(start..data.len() - 1))?;
    let (first, sizes) = index.split_first()?;
    if *first != marker {
        return None;
    }
    let size = |bytes: &[u8]| bytes.iter().rev().fold(0usize, |size, byte| size << 8 | usize::from(*byte));
    Some(sizes.chunks_exact(bytes).map(size).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs `(value, bits)` pairs.
    fn pack(fields: &[(u32, u32)]) -> Vec<u8> {
        let bits: Vec<u8> = fields
            .iter()
            .flat_map(|&(value, count)| (0..count).rev().map(move |at| u8::from(value >> at & 1 == 1)))
            .collect();
        bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |all, (at, bit)| all | bit << (7 - at))).collect()
    }

    /// Marker, profile 0, a new frame, then the three flags.
    fn begin(inter: u32, show: u32, resilient: u32) -> Vec<(u32, u32)> {
        vec![(2, 2), (0, 2), (0, 1), (inter, 1), (show, 1), (resilient, 1)]
    }

    #[test]
    fn a_key_frame_tells_its_size() {
        let mut fields = begin(0, 1, 0);
        fields.extend([(0x49_83_42, 24), (2, 3), (0, 1), (1279, 16), (719, 16)]);
        let data = pack(&fields);
        let expected = Vp9Header { key: true, profile: 0, width: Some(1280), height: Some(720), show: true };
        assert_eq!(vp9_frame_header(&data), Some(expected));
        for len in 0..data.len() - 1 {
            assert_eq!(vp9_frame_header(&data[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn other_frames_tell_a_size_only_where_they_change_it() {
        let sizes = |fields: Vec<(u32, u32)>| {
            let header = vp9_frame_header(&pack(&fields)).unwrap();
            assert!(!header.key);
            header.width.zip(header.height)
        };
        let references = [(0, 2), (1, 8), (0, 12)];
        let as_before = [begin(1, 1, 0), references.to_vec(), vec![(0, 1), (1, 1), (0, 8)]].concat();
        assert_eq!(sizes(as_before), None);
        let anew = [begin(1, 1, 0), references.to_vec(), vec![(0, 3), (319, 16), (239, 16)]].concat();
        assert_eq!(sizes(anew), Some((320, 240)));
        let intra_only = [begin(1, 0, 1), vec![(1, 1), (0x49_83_42, 24), (1, 8), (63, 16), (31, 16)]].concat();
        assert_eq!(sizes(intra_only), Some((64, 32)));
        assert_eq!(sizes(vec![(2, 2), (0, 2), (1, 1), (3, 3)]), None, "an existing frame is shown");
    }

    #[test]
    fn a_superframe_comes_apart_and_damage_makes_no_more_of_it_than_there_is() {
        let whole = [&[0x82; 5][..], &[0x86; 3], &[0xc1, 5, 3, 0xc1]].concat();
        let frames: Vec<_> = vp9_frames(&whole).collect();
        assert_eq!(frames, [&[0x82; 5][..], &[0x86; 3]]);
        let liar = [&[0x82; 5][..], &[0xc1, 5, 200, 0xc1]].concat();
        assert_eq!(vp9_frames(&liar).count(), 1);
        assert_eq!(vp9_frames(&[0xc7]).collect::<Vec<_>>(), [[0xc7]]);
        assert_eq!(vp9_frames(&[]).map(<[u8]>::len).sum::<usize>(), 0);
    }
}
