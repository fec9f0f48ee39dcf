//! H.264 over RTP, RFC 6184, in its single NAL unit mode and its non-interleaved mode. In the latter it is taken apart by the
//! library, put together here: the library's reader keeps what is left of a lost packet, and does not survive every payload.

use crate::media::h264::{nal, nal_units, put_nal_unit};
use bytes::{Bytes, BytesMut};

/// Types of payloads that are no single NAL unit, section 5.2.
const AGGREGATION: u8 = 24;
const FRAGMENTATION: u8 = 28;
/// Bits of the header of a fragmentation unit, section 5.8.
const START: u8 = 0x80;

/// What one packet holds.
#[derive(Debug)]
pub struct Part {
    /// Whether an access unit may begin here.
    pub first: bool,
    /// Whether decoding can start with it.
    pub key: bool,
    /// Its piece of the byte stream; those of an access unit in order are the access unit.
    pub data: Bytes,
}

/// The payloads of an access unit in single NAL unit mode: its units as they are, section 6.2.
pub fn single_units(frame: &Bytes) -> Vec<Bytes> {
    nal_units(frame).filter(|unit| nal::kind(unit[0]) != nal::DELIMITER).map(|unit| frame.slice_ref(unit)).collect()
}

/// Reads a payload; `None` when it is damaged or of the interleaved mode, which was not agreed on.
pub fn depacketise(payload: &Bytes) -> Option<Part> {
    let header = *payload.first()?;
    let mut data = BytesMut::with_capacity(payload.len() + 8);
    let (first, key) = match nal::kind(header) {
        // It would hide that a key frame begins behind it, and says nothing.
        nal::DELIMITER => (false, false),
        1..=23 => {
            put_nal_unit(&mut data, payload);
            begins(payload)
        }
        AGGREGATION => {
            let mut rest = &payload[1..];
            let (mut first, mut key) = (None, false);
            while !rest.is_empty() {
                let (length, after) = rest.split_first_chunk::<2>()?;
                let (unit, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
                rest = after;
                if unit.is_empty() || nal::kind(unit[0]) == nal::DELIMITER {
                    continue;
                }
                put_nal_unit(&mut data, unit);
                let begins = begins(unit);
                first.get_or_insert(begins.0);
                key |= begins.1;
            }
            (first.unwrap_or(false), key)
        }
        FRAGMENTATION => {
            let [_, fragment, rest @ ..] = &payload[..] else { return None };
            if rest.is_empty() {
                return None;
            }
            if fragment & START == 0 {
                data.extend_from_slice(rest);
                (false, false)
            } else {
                let head = [header & 0xe0 | nal::kind(*fragment), rest[0]];
                put_nal_unit(&mut data, &head[..1]);
                data.extend_from_slice(rest);
                begins(&head)
            }
        }
        _ => return None,
    };
    Some(Part { first, key, data: data.freeze() })
}

/// Whether an access unit may begin with this NAL unit, and whether decoding can start there: a sender puts its parameter sets
/// before each key frame.
fn begins(unit: &[u8]) -> (bool, bool) {
    match nal::kind(unit[0]) {
        // The first slice of a picture has its first macroblock, whose number is coded as a single one.
        nal::SLICE..=nal::IDR_SLICE => (unit.get(1).is_some_and(|byte| byte & 0x80 != 0), false),
        nal::SPS => (true, true),
        _ => (true, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::rtp::codec::h264::H264Payloader;
    use rtc::rtp::packetizer::Payloader;

    fn stream(units: &[&[u8]]) -> Bytes {
        let mut stream = BytesMut::new();
        units.iter().for_each(|unit| put_nal_unit(&mut stream, unit));
        stream.freeze()
    }

    #[test]
    fn access_units_come_back_as_they_were() {
        let long: Vec<u8> = [0x65, 0x88].into_iter().chain((1..=250u8).cycle().take(5000)).collect();
        let key = stream(&[&[0x67, 0x42, 0xc0, 0x1f, 0x8c], &[0x68, 0xce, 0x3c, 0x80], &long]);
        let inter = stream(&[&[0x41, 0x9a, 1, 2, 3]]);
        let mut payloader = H264Payloader::default();
        for (unit, is_key) in [(&key, true), (&inter, false), (&key, true)] {
            let payloads = payloader.payload(1170, unit).unwrap();
            assert!(payloads.iter().all(|payload| payload.len() <= 1170));
            let parts: Vec<_> = payloads.iter().map(|payload| depacketise(payload).unwrap()).collect();
            assert_eq!(parts.iter().flat_map(|part| part.data.to_vec()).collect::<Vec<_>>(), unit[..]);
            assert_eq!((parts[0].first, parts[0].key), (true, is_key));
        }
    }

    #[test]
    fn single_units_are_packets_and_come_back() {
        let units: [&[u8]; 4] = [&[0x67, 0x42, 0xc0, 0x1f], &[0x68, 0xce], &[0x65, 0x88, 1], &[0x65, 0x41, 2]];
        let payloads = single_units(&stream(&[&[&[9, 0x10][..]], &units[..]].concat()));
        assert_eq!(payloads, units);
        let parts: Vec<_> = payloads.iter().map(|payload| depacketise(payload).unwrap()).collect();
        let whole: Vec<u8> = parts.iter().flat_map(|part| part.data.to_vec()).collect();
        assert_eq!(whole, stream(&units));
        assert_eq!((parts[0].first, parts[0].key, parts[3].first), (true, true, false));
    }

    #[test]
    fn delimiters_are_left_out_and_damage_is_refused() {
        let read = |payload: &[u8]| depacketise(&Bytes::copy_from_slice(payload));
        assert!(read(&[0x09, 0x10]).unwrap().data.is_empty());
        let aggregated = read(&[0x78, 0, 2, 9, 0x10, 0, 2, 0x67, 1]).unwrap();
        assert!(aggregated.first && aggregated.key && aggregated.data[..] == [0, 0, 0, 1, 0x67, 1]);
        let second_slice = read(&[0x41, 0x40, 1]).unwrap();
        assert!(!second_slice.first);
        for damaged in [&[][..], &[0x78, 0], &[0x78, 0, 9, 1], &[0x7c], &[0x7c, 0x85], &[0x79, 0, 1], &[0]] {
            assert!(read(damaged).is_none(), "{damaged:?}");
        }
    }
}
