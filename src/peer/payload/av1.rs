//! AV1 over RTP, the AV1 RTP payload specification of AOMedia: its aggregation header, and units that begin in one packet and
//! end in another. Ours and not the library's, which does not survive a unit that claims to be longer than its frame.

use crate::media::av1::{Obu, obu, obus, put_leb128, read_leb128};
use bytes::{BufMut, Bytes, BytesMut};

/// Bits of the aggregation header, section 4.4.
mod flag {
    /// The first element goes on with a unit of the packet before.
    pub const CONTINUES: u8 = 0x80;
    /// The last element goes on in the next packet.
    pub const UNFINISHED: u8 = 0x40;
    /// The first packet of a coded video sequence.
    pub const NEW_SEQUENCE: u8 = 0x08;
    /// Where the number of elements stands; 0 has each begin with its length.
    pub const COUNT_SHIFT: u8 = 4;
}

/// The payloads of one temporal unit, of at most `most` bytes each.
pub fn payloads(frame: &Bytes, most: usize) -> Vec<Bytes> {
    let units: Vec<Bytes> = obus(frame).map(|unit| element(&unit)).collect();
    let begins_sequence = obus(frame).any(|unit| unit.kind() == obu::SEQUENCE_HEADER);
    let mut packets = Packets { most: most.max(8), done: Vec::new(), open: BytesMut::new(), last: None, count: 0 };
    for unit in &units {
        packets.put(unit);
    }
    packets.close(false);
    if let Some(first) = packets.done.first_mut().filter(|_| begins_sequence) {
        first[0] |= flag::NEW_SEQUENCE;
    }
    packets.done.into_iter().map(BytesMut::freeze).collect()
}

/// A unit as packets have it: without its size.
fn element(unit: &Obu<'_>) -> Bytes {
    let mut out = BytesMut::with_capacity(unit.payload.len() + 2);
    out.put_u8(unit.header & !obu::HAS_SIZE);
    out.extend(unit.extension);
    out.put_slice(unit.payload);
    out.freeze()
}

struct Packets {
    most: usize,
    done: Vec<BytesMut>,
    /// The packet that is being filled: its header, and each element but the last with its length.
    open: BytesMut,
    /// The last element of it, which needs no length while it is the last.
    last: Option<Bytes>,
    count: u8,
}

impl Packets {
    /// Elements that the header can count; the last of them is written without its length.
    const MOST_ELEMENTS: u8 = 3;

    fn begin(&mut self, continues: bool) {
        self.open = BytesMut::with_capacity(self.most);
        self.open.put_u8(if continues { flag::CONTINUES } else { 0 });
        self.count = 0;
    }

    fn put(&mut self, unit: &Bytes) {
        if self.open.is_empty() {
            self.begin(false);
        }
        let mut rest = unit.clone();
        loop {
            // The element before gets its length now that it is not the last.
            let before = self.last.as_ref().map_or(0, |last| last.len() + leb128_len(last.len()));
            let room = self.most.saturating_sub(self.open.len() + before);
            // A piece of a few bytes is not worth its head.
            let worth = rest.len().min(16).min(self.most / 2);
            if self.count < Self::MOST_ELEMENTS && room >= worth {
                self.settle();
                let piece = rest.split_to(rest.len().min(room));
                self.last = Some(piece);
                self.count += 1;
                if rest.is_empty() {
                    return;
                }
                self.close(true);
                self.begin(true);
            } else {
                self.close(false);
                self.begin(false);
            }
        }
    }

    /// Writes the last element with its length.
    fn settle(&mut self) {
        if let Some(last) = self.last.take() {
            put_leb128(&mut self.open, last.len());
            self.open.put_slice(&last);
        }
    }

    fn close(&mut self, unfinished: bool) {
        let Some(last) = self.last.take() else { return };
        self.open.put_slice(&last);
        let mut packet = std::mem::take(&mut self.open);
        packet[0] |= self.count << flag::COUNT_SHIFT | if unfinished { flag::UNFINISHED } else { 0 };
        self.done.push(packet);
    }
}

fn leb128_len(value: usize) -> usize {
    (usize::BITS - value.leading_zeros()).div_ceil(7).max(1) as usize
}

/// Whether a temporal unit may begin with this payload, and whether decoding can start there.
pub fn begins(payload: &[u8]) -> (bool, bool) {
    let header = payload.first().copied().unwrap_or(flag::CONTINUES);
    let first = header & flag::CONTINUES == 0;
    (first, first && header & flag::NEW_SEQUENCE != 0)
}

/// Puts the payloads of a temporal unit together; `None` when they contradict themselves.
pub fn assemble(payloads: &[Bytes]) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(payloads.iter().map(Bytes::len).sum::<usize>() + 16);
    let mut unfinished: Option<BytesMut> = None;
    for payload in payloads {
        let (&header, mut rest) = payload.split_first()?;
        let count = header >> flag::COUNT_SHIFT & 3;
        if (header & flag::CONTINUES != 0) != unfinished.is_some() {
            return None;
        }
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let mut length = rest.len();
            if count == 0 || number < count {
                (length, rest) = read_leb128(rest)?;
            }
            let (element, after) = rest.split_at_checked(length)?;
            rest = after;
            let is_last = rest.is_empty();
            let mut unit = unfinished.take().unwrap_or_default();
            unit.extend_from_slice(element);
            if is_last && header & flag::UNFINISHED != 0 {
                unfinished = Some(unit);
            } else if !unit.is_empty() {
                let (unit, _) = Obu::read(&unit)?;
                if !matches!(unit.kind(), obu::TEMPORAL_DELIMITER | obu::TILE_LIST | obu::PADDING) {
                    unit.put(&mut out);
                }
            }
        }
        if count != 0 && number != count {
            return None;
        }
    }
    (unfinished.is_none() && !out.is_empty()).then(|| out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(header: u8, len: usize) -> Vec<u8> {
        let mut out = BytesMut::new();
        let payload: Vec<u8> = (0..len).map(|at| u8::try_from(at % 250).unwrap()).collect();
        Obu { header, extension: None, payload: &payload }.put(&mut out);
        out.to_vec()
    }

    const SEQUENCE: u8 = obu::SEQUENCE_HEADER << 3;
    const FRAME: u8 = obu::FRAME << 3;
    const METADATA: u8 = 5 << 3;

    #[test]
    fn temporal_units_of_every_shape_come_back_as_they_were() {
        for sizes in
            [vec![3], vec![1169], vec![1170], vec![1171], vec![5000], vec![10, 3000], vec![10, 20, 30, 40, 50, 60]]
        {
            for extra in 0..40 {
                let mut frame = unit(SEQUENCE, 11);
                for (at, size) in sizes.iter().enumerate() {
                    frame.extend(unit(if at % 2 == 0 { FRAME } else { METADATA }, size + extra));
                }
                let frame = Bytes::from(frame);
                let payloads = payloads(&frame, 1170);
                assert!(payloads.iter().all(|payload| payload.len() <= 1170 && payload.len() > 1), "{sizes:?} {extra}");
                assert_eq!(begins(&payloads[0]), (true, true));
                assert!(payloads[1..].iter().all(|payload| !begins(payload).1));
                assert_eq!(assemble(&payloads).unwrap(), frame, "{sizes:?} {extra}");
            }
        }
        let inter = Bytes::from(unit(FRAME, 20));
        assert_eq!(begins(&payloads(&inter, 1170)[0]), (true, false));
    }

    #[test]
    fn elements_with_their_lengths_are_read_too() {
        // Not counted: each has its length; a temporal delimiter among them; two packets, the second goes on.
        let first = Bytes::from_static(&[0x48, 1, 0x10, 3, 0x08, 1, 2, 2, 0x30, 7]);
        let second = Bytes::from_static(&[0x90, 8, 9]);
        assert_eq!(assemble(&[first.clone(), second.clone()]).unwrap()[..], [0x0a, 2, 1, 2, 0x32, 3, 7, 8, 9]);
        assert_eq!(assemble(&[first]), None, "it does not end");
        assert_eq!(assemble(&[second]), None, "it does not begin");
        for damaged in [&[][..], &[0x20, 9, 1], &[0x00, 0xff], &[0x20, 1, 0x30], &[0x10]] {
            assert_eq!(assemble(&[Bytes::copy_from_slice(damaged)]), None, "{damaged:?}");
        }
    }
}
