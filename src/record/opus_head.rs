//! `OpusHead`, RFC 7845 section 5.1: what Ogg and Matroska say of an Opus track.

use std::num::NonZeroU32;

/// What libopus puts in front of its output, at 48 kHz: 6.5 ms. Packets keep their capture time and the reader takes
/// this off again, RFC 7845 section 4.2 and `CodecDelay`.
pub(super) const OPUS_PRE_SKIP: u16 = 312;

/// Version 1, no gain, mapping family 0. `sample_rate` is that of the source, for information only.
pub(super) fn opus_head(channels: u16, sample_rate: NonZeroU32) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(u8::try_from(channels).unwrap_or(2));
    head.extend_from_slice(&OPUS_PRE_SKIP.to_le_bytes());
    head.extend_from_slice(&sample_rate.get().to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    head
}
