//! EBML as our WebM files need it, RFC 8794: element ids, and elements written with sizes of our choosing.

/// Element ids, RFC 9559 section 5, with their length marker.
pub(super) mod id {
    pub const EBML: u32 = 0x1A45_DFA3;
    pub const EBML_VERSION: u32 = 0x4286;
    pub const EBML_READ_VERSION: u32 = 0x42F7;
    pub const EBML_MAX_ID_LENGTH: u32 = 0x42F2;
    pub const EBML_MAX_SIZE_LENGTH: u32 = 0x42F3;
    pub const DOC_TYPE: u32 = 0x4282;
    pub const DOC_TYPE_VERSION: u32 = 0x4287;
    pub const DOC_TYPE_READ_VERSION: u32 = 0x4285;
    pub const VOID: u32 = 0xEC;
    pub const SEGMENT: u32 = 0x1853_8067;
    pub const SEEK_HEAD: u32 = 0x114D_9B74;
    pub const SEEK: u32 = 0x4DBB;
    pub const SEEK_ID: u32 = 0x53AB;
    pub const SEEK_POSITION: u32 = 0x53AC;
    pub const INFO: u32 = 0x1549_A966;
    pub const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
    pub const DURATION: u32 = 0x4489;
    pub const MUXING_APP: u32 = 0x4D80;
    pub const WRITING_APP: u32 = 0x5741;
    pub const TRACKS: u32 = 0x1654_AE6B;
    pub const TRACK_ENTRY: u32 = 0xAE;
    pub const TRACK_NUMBER: u32 = 0xD7;
    pub const TRACK_UID: u32 = 0x73C5;
    pub const TRACK_TYPE: u32 = 0x83;
    pub const FLAG_DEFAULT: u32 = 0x88;
    pub const FLAG_LACING: u32 = 0x9C;
    pub const LANGUAGE: u32 = 0x22_B59C;
    pub const CODEC_ID: u32 = 0x86;
    pub const CODEC_PRIVATE: u32 = 0x63A2;
    pub const CODEC_DELAY: u32 = 0x56AA;
    pub const SEEK_PRE_ROLL: u32 = 0x56BB;
    pub const VIDEO: u32 = 0xE0;
    pub const PIXEL_WIDTH: u32 = 0xB0;
    pub const PIXEL_HEIGHT: u32 = 0xBA;
    pub const AUDIO: u32 = 0xE1;
    pub const SAMPLING_FREQUENCY: u32 = 0xB5;
    pub const CHANNELS: u32 = 0x9F;
    pub const CLUSTER: u32 = 0x1F43_B675;
    pub const TIMESTAMP: u32 = 0xE7;
    pub const SIMPLE_BLOCK: u32 = 0xA3;
    pub const BLOCK_GROUP: u32 = 0xA0;
    pub const BLOCK: u32 = 0xA1;
    pub const REFERENCE_BLOCK: u32 = 0xFB;
    pub const TAGS: u32 = 0x1254_C367;
    pub const CHAPTERS: u32 = 0x1043_A770;
    pub const ATTACHMENTS: u32 = 0x1941_A469;
    pub const CRC_32: u32 = 0xBF;
    pub const CUES: u32 = 0x1C53_BB6B;
    pub const CUE_POINT: u32 = 0xBB;
    pub const CUE_TIME: u32 = 0xB3;
    pub const CUE_TRACK_POSITIONS: u32 = 0xB7;
    pub const CUE_TRACK: u32 = 0xF7;
    pub const CUE_CLUSTER_POSITION: u32 = 0xF1;
}

pub(super) use crate::media::ebml::{elements, uint, vint};

/// The size of an element whose end is not known yet, in eight bytes so that the real size fits in its place.
pub(super) const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

/// `size` in eight bytes.
pub(super) fn wide_size(size: u64) -> [u8; 8] {
    (size & 0x00FF_FFFF_FFFF_FFFF | 0x0100_0000_0000_0000).to_be_bytes()
}

pub(super) fn put_id(out: &mut Vec<u8>, id: u32) {
    let bytes = id.to_be_bytes();
    out.extend_from_slice(&bytes[id.leading_zeros() as usize / 8..]);
}

/// `size` in as few bytes as it takes.
pub(super) fn put_size(out: &mut Vec<u8>, size: u64) {
    // All ones is reserved for the unknown size, hence `<` and not `<=`.
    let length = (1..8u32).find(|n| size < (1 << (7 * n)) - 1).unwrap_or(8);
    let marked = size | 1 << (7 * length);
    out.extend_from_slice(&marked.to_be_bytes()[8 - length as usize..]);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, id: u32, body: &[u8]) {
    put_id(out, id);
    put_size(out, body.len() as u64);
    out.extend_from_slice(body);
}

/// An unsigned integer in as few bytes as it takes, at least one.
pub(super) fn put_uint(out: &mut Vec<u8>, id: u32, value: u64) {
    let bytes = value.to_be_bytes();
    put_bytes(out, id, &bytes[(value.leading_zeros() as usize / 8).min(7)..]);
}

pub(super) fn put_float(out: &mut Vec<u8>, id: u32, value: f64) {
    put_bytes(out, id, &value.to_be_bytes());
}

pub(super) fn put_master(out: &mut Vec<u8>, id: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    fill(&mut body);
    put_bytes(out, id, &body);
}

/// A point that can be seeked to: its time in ticks, its track, and its cluster's place in the segment.
pub(super) fn put_cue(out: &mut Vec<u8>, ticks: u64, track: u64, cluster: u64) {
    put_master(out, id::CUE_POINT, |out| {
        put_uint(out, id::CUE_TIME, ticks);
        put_master(out, id::CUE_TRACK_POSITIONS, |out| {
            put_uint(out, id::CUE_TRACK, track);
            put_uint(out, id::CUE_CLUSTER_POSITION, cluster);
        });
    });
}

/// Where in the segment an element is. Always 21 bytes.
pub(super) fn put_seek(out: &mut Vec<u8>, id: u32, position: u64) {
    put_master(out, id::SEEK, |out| {
        put_bytes(out, id::SEEK_ID, &id.to_be_bytes());
        put_bytes(out, id::SEEK_POSITION, &position.to_be_bytes());
    });
}

/// An element of exactly `length` bytes, 2 or 9 and more, that readers skip.
pub(super) fn put_void(out: &mut Vec<u8>, length: usize) {
    let end = out.len() + length;
    put_id(out, id::VOID);
    if length >= 9 {
        out.extend_from_slice(&wide_size(length as u64 - 9));
    } else {
        put_size(out, length.saturating_sub(2) as u64);
    }
    out.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_minimal_and_never_the_reserved_unknown() {
        let size = |value| {
            let mut out = Vec::new();
            put_size(&mut out, value);
            out
        };
        assert_eq!(size(0), [0x80]);
        assert_eq!(size(126), [0xFE]);
        assert_eq!(size(127), [0x40, 0x7F]);
        assert_eq!(size(0x3FFE), [0x7F, 0xFE]);
        assert_eq!(size(0x3FFF), [0x20, 0x3F, 0xFF]);
        assert_eq!(wide_size(127), [1, 0, 0, 0, 0, 0, 0, 127]);
    }

    #[test]
    fn a_void_has_exactly_the_length_it_was_asked_for() {
        for length in (2..9).chain(9..300) {
            let mut out = Vec::new();
            put_void(&mut out, length);
            assert_eq!(out.len(), length);
            let declared = if length >= 9 { out[2..9].iter().fold(0, |n, &b| n << 8 | u64::from(b)) + 9 } else { 0 };
            assert!(length < 9 || declared == length as u64, "{length}");
        }
    }
}
