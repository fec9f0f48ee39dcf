//! VP9 over RTP, RFC 9628.

use crate::media::{vp9_frame_header, vp9_frames};
use crate::peer::local_track::random_u32;
use bytes::{BufMut, Bytes, BytesMut};

/// Bits of the first octet of the payload descriptor, section 4.2.
mod flag {
    pub const PICTURE_ID: u8 = 0x80;
    pub const INTER_PREDICTED: u8 = 0x40;
    pub const LAYERS: u8 = 0x20;
    pub const FLEXIBLE: u8 = 0x10;
    pub const BEGIN: u8 = 0x08;
    pub const END: u8 = 0x04;
    pub const SCALABILITY: u8 = 0x02;
}

/// Says that a picture refers to the one before, and to no further one.
const ONE_BACK: u8 = 1 << 1;
/// A scalability structure of one layer whose size follows.
const ONE_LAYER_WITH_SIZE: u8 = 0x10;

/// Takes frames of one layer apart, in flexible mode: each refers to the one before. That it may refer to older ones
/// besides need not be said, since those precede the one before.
pub struct Packetiser {
    picture_id: u16,
}

impl Packetiser {
    pub fn new() -> Self {
        Self { picture_id: u16::try_from(random_u32() >> 17).expect("shifted to 15 bits") }
    }

    pub fn payloads(&mut self, frame: &Bytes, most: usize) -> Vec<Bytes> {
        let Some(header) = vp9_frames(frame).next().and_then(vp9_frame_header) else { return Vec::new() };
        let mut descriptor = BytesMut::with_capacity(16);
        descriptor.put_u8(flag::PICTURE_ID | flag::FLEXIBLE | if header.key { 0 } else { flag::INTER_PREDICTED });
        descriptor.put_u16(0x8000 | self.picture_id);
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        if !header.key {
            descriptor.put_u8(ONE_BACK);
        }
        let room = most.saturating_sub(descriptor.len()).max(1);
        // 65536 pixels an edge cannot be said.
        let size = header.width.zip(header.height).filter(|_| header.key);
        let size = size.and_then(|(width, height)| Some((u16::try_from(width).ok()?, u16::try_from(height).ok()?)));
        let structure = size.map(|(width, height)| {
            let mut structure = BytesMut::with_capacity(5);
            structure.put_u8(ONE_LAYER_WITH_SIZE);
            structure.put_u16(width);
            structure.put_u16(height);
            structure
        });
        let mut payloads = Vec::with_capacity(frame.len() / room + 1);
        let mut at = 0;
        while at < frame.len() {
            let structure = structure.as_ref().filter(|_| at == 0);
            let room = room.saturating_sub(structure.map_or(0, |structure| structure.len())).max(1);
            let end = frame.len().min(at + room);
            let mut payload = BytesMut::with_capacity(descriptor.len() + 5 + end - at);
            payload.extend_from_slice(&descriptor);
            payload[0] |= if at == 0 { flag::BEGIN } else { 0 };
            payload[0] |= if end == frame.len() { flag::END } else { 0 };
            if let Some(structure) = structure {
                payload[0] |= flag::SCALABILITY;
                payload.extend_from_slice(structure);
            }
            payload.extend_from_slice(&frame[at..end]);
            payloads.push(payload.freeze());
            at = end;
        }
        payloads
    }
}

/// What one packet holds.
#[derive(Debug)]
pub struct Part {
    /// Whether its picture begins here; the layers above the lowest go on with it.
    pub first: bool,
    /// Whether decoding can start with its picture; known of the first packet alone.
    pub key: bool,
    pub data: Bytes,
}

/// Takes the descriptor off a payload; `None` when it breaks off.
pub fn depacketise(payload: &Bytes) -> Option<Part> {
    let mut rest = payload.iter().copied();
    let flags = rest.next()?;
    if flags & flag::PICTURE_ID != 0 && rest.next()? & 0x80 != 0 {
        rest.next()?;
    }
    let mut spatial_layer = 0;
    if flags & flag::LAYERS != 0 {
        spatial_layer = rest.next()? >> 1 & 7;
        if flags & flag::FLEXIBLE == 0 {
            // The index of the temporal base layer's picture.
            rest.next()?;
        }
    }
    if flags & flag::INTER_PREDICTED != 0 && flags & flag::FLEXIBLE != 0 {
        const MOST_REFERENCES: usize = 3;
        let mut references = 1;
        while rest.next()? & 1 != 0 {
            references += 1;
            if references > MOST_REFERENCES {
                return None;
            }
        }
    }
    if flags & flag::SCALABILITY != 0 {
        skip_scalability_structure(&mut rest)?;
    }
    let data = payload.slice(payload.len() - rest.len()..);
    if data.is_empty() {
        return None;
    }
    let first = flags & flag::BEGIN != 0 && spatial_layer == 0;
    let key = first && vp9_frame_header(&data).is_some_and(|header| header.key);
    Some(Part { first, key, data })
}

fn skip_scalability_structure(rest: &mut impl Iterator<Item = u8>) -> Option<()> {
    let head = rest.next()?;
    let (layers, has_sizes, has_group) = ((head >> 5) + 1, head & 0x10 != 0, head & 0x08 != 0);
    if has_sizes {
        skip(rest, 4 * layers)?;
    }
    let pictures = if has_group { rest.next()? } else { 0 };
    for _ in 0..pictures {
        let references = rest.next()? >> 2 & 3;
        skip(rest, references)?;
    }
    Some(())
}

fn skip(rest: &mut impl Iterator<Item = u8>, count: u8) -> Option<()> {
    (0..count).try_for_each(|_| rest.next().map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of profile 0 with `len` bytes; a key frame is of 1280x720 pixels.
    fn frame(key: bool, len: usize) -> Bytes {
        let mut data = if key {
            vec![0x82, 0x49, 0x83, 0x42, 0x40, 0x4f, 0xf0, 0x2c, 0xf0]
        } else {
            vec![0x86, 0, 0x40, 0x92, 0x80]
        };
        data.extend((data.len()..len).map(|at| u8::try_from(at % 251).unwrap()));
        data.into()
    }

    #[test]
    fn frames_come_back_whole_and_key_frames_are_known() {
        let mut packetiser = Packetiser::new();
        for (key, len) in [(true, 3000), (false, 3000), (false, 20), (true, 9)] {
            let frame = frame(key, len);
            let payloads = packetiser.payloads(&frame, 1170);
            assert!(payloads.iter().all(|payload| payload.len() <= 1170), "{len}");
            let parts: Vec<_> = payloads.iter().map(|payload| depacketise(payload).unwrap()).collect();
            assert_eq!(parts.iter().flat_map(|part| part.data.to_vec()).collect::<Vec<_>>(), frame, "{len}");
            assert_eq!(parts.iter().filter(|part| part.first).count(), 1);
            assert_eq!((parts[0].first, parts[0].key), (true, key));
            let ends = payloads.iter().map(|payload| payload[0] & flag::END != 0);
            assert_eq!(ends.clone().position(|end| end), Some(payloads.len() - 1));
        }
        assert!(packetiser.payloads(&Bytes::new(), 1170).is_empty());
    }

    #[test]
    fn the_descriptor_is_that_of_the_standard() {
        let mut packetiser = Packetiser { picture_id: 0x7fff };
        let key = packetiser.payloads(&frame(true, 9), 1170);
        // I, F, B, E and V; a picture id of 15 bits; one layer of 1280x720.
        assert_eq!(key[0][..8], [0x9e, 0xff, 0xff, 0x10, 0x05, 0x00, 0x02, 0xd0]);
        let inter = packetiser.payloads(&frame(false, 20), 1170);
        // I, P, F, B and E; the id begins anew; the picture before is referred to.
        assert_eq!(inter[0][..4], [0xdc, 0x80, 0x00, 0x02]);
    }

    #[test]
    fn what_others_write_is_read() {
        let inter = frame(false, 20);
        let of = |descriptor: &[u8]| depacketise(&[descriptor, &inter].concat().into());
        // As Chromium does: not flexible, layer indices, and a scalability structure with a group of four pictures.
        let structure = [0x18, 0x05, 0x00, 0x02, 0xd0, 4, 0x04, 4, 0x44, 1, 0x24, 2, 0x48, 1, 2];
        let descriptor = [&[0xaa, 0x81, 0x02, 0x10, 0x07][..], &structure].concat();
        let part = of(&descriptor).unwrap();
        assert!(part.first && !part.key && part.data == inter);
        // Three references.
        assert!(of(&[0xdc, 0x81, 0x02, 0x03, 0x05, 0x06]).is_some_and(|part| part.data == inter));
        // A second spatial layer goes on with its picture.
        assert!(of(&[0xbc, 0x05, 0x02]).is_some_and(|part| !part.first && part.data == inter));
        assert!(of(&[0xdc, 0x81, 0x02, 0x03, 0x05, 0x07]).is_none(), "four references");
        for len in 0..=descriptor.len() {
            let cut: Bytes = descriptor[..len].to_vec().into();
            assert!(depacketise(&cut).is_none(), "{len} bytes");
        }
    }
}
