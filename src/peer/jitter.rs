//! The jitter buffer: puts RTP packets back in order and frames together (RFC 3550 section 5, RFC 7741 section 4.4).
//!
//! A frame leaves as soon as all its packets and everything before it are there; nothing is delayed on a clean path.
//! A hole is waited for (retransmissions fill it, RFC 4585); when patience ends, video skips to the next key frame and
//! audio to the next packet. Memory is bounded.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One RTP packet, its payload freed of the codec's payload descriptor.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub sequence: u16,
    pub timestamp: u32,
    /// The last packet of its frame.
    pub last: bool,
    /// The first packet of its frame.
    pub first: bool,
    /// Whether a decoder can start at this frame; only looked at on the first packet.
    pub key: bool,
    /// Empty for padding.
    pub payload: Bytes,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// What the packets of a whole frame hold, in order. `timestamp` is unwrapped: it goes on beyond 32 bits.
    Frame { timestamp: i64, key: bool, parts: Vec<Bytes> },
    /// Frames are missing here and what follows needs a key frame (video) or concealment (audio).
    Loss,
}

#[derive(Debug)]
pub(super) struct JitterBuffer {
    frames_span_packets: bool,
    patience: Duration,
    packets: BTreeMap<u64, (Arrival, Instant)>,
    next: Option<u64>,
    emitted: bool,
    last_timestamp: Option<i64>,
    awaits_key: bool,
    loss_pending: bool,
    lost_packets: u64,
}

impl JitterBuffer {
    const MOST_PACKETS: usize = 2048;

    /// For video: frames of several packets, of which only some can be decoded alone.
    pub(super) fn video(patience: Duration) -> Self {
        Self::new(true, patience)
    }

    /// For audio: every packet is a frame.
    pub(super) fn audio(patience: Duration) -> Self {
        Self::new(false, patience)
    }

    fn new(frames_span_packets: bool, patience: Duration) -> Self {
        Self {
            frames_span_packets,
            patience,
            packets: BTreeMap::new(),
            next: None,
            emitted: false,
            last_timestamp: None,
            awaits_key: frames_span_packets,
            loss_pending: false,
            lost_packets: 0,
        }
    }

    /// Forgets what is not whole, since what comes from now on does not belong to it.
    pub(super) fn begin_anew(&mut self) {
        self.packets.clear();
        (self.next, self.emitted, self.loss_pending) = (None, false, false);
        self.awaits_key = self.frames_span_packets;
    }

    /// Waits so long for what is missing from now on.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Packets that were given up.
    pub(super) fn lost_packets(&self) -> u64 {
        self.lost_packets
    }

    /// Whether nothing can be given before a key frame comes.
    pub(super) fn awaits_key(&self) -> bool {
        self.awaits_key
    }

    /// Takes a packet; late and duplicate ones are dropped.
    pub(super) fn insert(&mut self, arrival: Arrival, now: Instant) {
        let newest = self.packets.last_key_value().map(|(sequence, _)| *sequence).or(self.next);
        let sequence = match newest {
            None => u64::from(arrival.sequence) + (1 << 16),
            Some(newest) => unwrap_near(newest, arrival.sequence),
        };
        match self.next {
            None => self.next = Some(sequence),
            Some(next) if sequence < next && !self.emitted => self.next = Some(sequence),
            Some(next) if sequence < next => return,
            Some(_) => {}
        }
        self.packets.entry(sequence).or_insert((arrival, now));
        if self.packets.len() > Self::MOST_PACKETS {
            self.give_up();
        }
    }

    /// When [`pop`](Self::pop) is due again if nothing arrives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.packets.values().map(|(_, at)| *at).min().map(|at| at + self.patience)
    }

    /// The next frame, if one is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Departure> {
        loop {
            if std::mem::take(&mut self.loss_pending) {
                return Some(Departure::Loss);
            }
            if let Some(frame) = self.whole_frame() {
                return Some(frame);
            }
            if self.discard_head() {
                continue;
            }
            if self.deadline().is_none_or(|deadline| now < deadline) {
                return None;
            }
            self.give_up();
        }
    }

    /// The frame at `next`, if it is whole and may be given.
    fn whole_frame(&mut self) -> Option<Departure> {
        let next = self.next?;
        let (head, _) = self.packets.get(&next)?;
        if head.payload.is_empty() || !head.first || (self.awaits_key && !head.key) {
            return None;
        }
        let (key, timestamp) = (head.key, head.timestamp);
        let mut end = next;
        loop {
            let (packet, _) = self.packets.get(&end)?;
            if packet.timestamp != timestamp {
                return None;
            }
            end += 1;
            if packet.last {
                break;
            }
        }
        let parts = (next..end)
            .filter_map(|sequence| self.packets.remove(&sequence))
            .map(|(packet, _)| packet.payload)
            .filter(|payload| !payload.is_empty())
            .collect();
        self.next = Some(end);
        self.emitted = true;
        self.awaits_key = false;
        let timestamp = match self.last_timestamp {
            None => i64::from(timestamp),
            Some(last) => unwrap_timestamp(last, timestamp),
        };
        self.last_timestamp = Some(timestamp);
        Some(Departure::Frame { timestamp, key, parts })
    }

    /// Drops the packet at `next` when it can never begin a frame that we may give: padding, the rest of a frame whose
    /// beginning is gone, a frame before the key frame that we wait for.
    fn discard_head(&mut self) -> bool {
        let Some(next) = self.next else { return false };
        let Some((head, _)) = self.packets.get(&next) else { return false };
        if head.payload.is_empty() || !head.first || (self.awaits_key && !head.key) {
            self.packets.remove(&next);
            self.next = Some(next + 1);
            self.emitted = true;
            return true;
        }
        // The frame changes before its last packet came: its end is lost for good only if the next frame is here.
        let timestamp = head.timestamp;
        let mut at = next;
        while let Some((packet, _)) = self.packets.get(&at) {
            if packet.timestamp != timestamp {
                self.packets = self.packets.split_off(&at);
                self.next = Some(at);
                self.note_loss();
                return true;
            }
            at += 1;
        }
        false
    }

    /// Patience is over: goes on behind the first hole.
    fn give_up(&mut self) {
        let Some(next) = self.next else { return };
        let mut at = next;
        while self.packets.remove(&at).is_some() {
            at += 1;
        }
        if let Some((&after, _)) = self.packets.first_key_value() {
            self.lost_packets += after - at;
            self.next = Some(after);
        } else {
            self.next = Some(at);
        }
        self.emitted = true;
        self.note_loss();
    }

    fn note_loss(&mut self) {
        self.loss_pending = true;
        self.awaits_key = self.frames_span_packets;
    }
}

/// The 64-bit sequence number nearest to `near` with these low 16 bits.
pub(super) fn unwrap_near(near: u64, sequence: u16) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are meant")]
    let step = sequence.wrapping_sub(near as u16).cast_signed();
    near.saturating_add_signed(i64::from(step))
}

/// The 64-bit timestamp nearest to `near` with these low 32 bits.
pub(super) fn unwrap_timestamp(near: i64, timestamp: u32) -> i64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the low 32 bits are meant")]
    let step = timestamp.wrapping_sub(near as u32).cast_signed();
    near + i64::from(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    /// Frame `n` in `of` packets from `sequence` on; each payload is the frame's number.
    fn frame(sequence: u16, n: u32, of: u16, key: bool) -> Vec<Arrival> {
        (0..of)
            .map(|i| Arrival {
                sequence: sequence.wrapping_add(i),
                timestamp: n.wrapping_mul(3000),
                first: i == 0,
                last: i + 1 == of,
                key,
                payload: Bytes::from(vec![u8::try_from(n & 0xFF).unwrap()]),
            })
            .collect()
    }

    fn frames(buffer: &mut JitterBuffer, now: Instant) -> Vec<(i64, usize)> {
        std::iter::from_fn(|| buffer.pop(now))
            .map(|departure| match departure {
                Departure::Frame { timestamp, parts, .. } => (timestamp / 3000, parts.iter().map(Bytes::len).sum()),
                Departure::Loss => (-1, 0),
            })
            .collect()
    }

    #[test]
    fn any_order_of_packets_gives_the_frames_in_order_across_both_wraps() {
        let now = Instant::now();
        let first = u32::MAX / 3000 - 2;
        let mut arrivals: Vec<Arrival> =
            (0..6u16).flat_map(|n| frame(65_530u16.wrapping_add(n * 3), first + u32::from(n), 3, n == 0)).collect();
        for round in 0..50 {
            let mut buffer = JitterBuffer::video(PATIENCE);
            // A fixed shuffle per round that keeps every packet within a few places of its own.
            for i in 0..arrivals.len() - 4 {
                arrivals.swap(i, i + (i * 7 + round) % 4);
            }
            arrivals.iter().for_each(|arrival| buffer.insert(arrival.clone(), now));
            let out = frames(&mut buffer, now);
            assert_eq!(out.len(), 6, "round {round}");
            assert!(out.windows(2).all(|pair| pair[1].0 >= pair[0].0) && out.iter().all(|(_, len)| *len == 3));
            arrivals.sort_by_key(|arrival| arrival.sequence.wrapping_sub(65_530));
        }
    }

    #[test]
    fn a_hole_is_waited_for_and_filled_by_a_retransmission() {
        let now = Instant::now();
        let mut buffer = JitterBuffer::video(PATIENCE);
        let mut packets = frame(10, 1, 3, true);
        let missing = packets.remove(1);
        packets.extend(frame(13, 2, 1, false));
        packets.into_iter().for_each(|packet| buffer.insert(packet, now));
        assert_eq!(frames(&mut buffer, now), []);
        buffer.insert(missing, now + PATIENCE / 2);
        assert_eq!(frames(&mut buffer, now + PATIENCE / 2), [(1, 3), (2, 1)]);
        assert_eq!(buffer.lost_packets(), 0);
    }

    #[test]
    fn after_a_loss_nothing_but_a_key_frame_goes_on() {
        let now = Instant::now();
        let mut buffer = JitterBuffer::video(PATIENCE);
        let lose = |packets: Vec<Arrival>| packets.into_iter().skip(1);
        for packet in frame(0, 1, 1, true).into_iter().chain(lose(frame(1, 2, 2, false))).chain(frame(3, 3, 1, false)) {
            buffer.insert(packet, now);
        }
        assert_eq!(frames(&mut buffer, now), [(1, 1)]);
        assert_eq!(frames(&mut buffer, now + PATIENCE), [(-1, 0)]);
        assert!(buffer.awaits_key());
        buffer.insert(frame(4, 4, 1, true).remove(0), now + PATIENCE);
        assert_eq!(frames(&mut buffer, now + PATIENCE), [(4, 1)]);
        assert_eq!(buffer.lost_packets(), 1);
    }

    #[test]
    fn padding_takes_sequence_numbers_but_gives_nothing() {
        let now = Instant::now();
        let mut buffer = JitterBuffer::video(PATIENCE);
        buffer.insert(frame(0, 1, 1, true).remove(0), now);
        for sequence in 1..4 {
            let mut padding = frame(sequence, 1, 1, false).remove(0);
            (padding.payload, padding.first, padding.last) = (Bytes::new(), false, false);
            buffer.insert(padding, now);
        }
        buffer.insert(frame(4, 2, 1, false).remove(0), now);
        assert_eq!(frames(&mut buffer, now), [(1, 1), (2, 1)]);
    }

    #[test]
    fn lost_audio_costs_that_packet_only() {
        let now = Instant::now();
        let mut buffer = JitterBuffer::audio(PATIENCE);
        for n in [1u16, 2, 4, 5] {
            buffer.insert(frame(n, u32::from(n), 1, true).remove(0), now);
        }
        assert_eq!(frames(&mut buffer, now), [(1, 1), (2, 1)]);
        assert_eq!(frames(&mut buffer, now + PATIENCE), [(-1, 0), (4, 1), (5, 1)]);
    }

    #[test]
    fn a_flood_without_a_frame_stays_bounded() {
        let now = Instant::now();
        let mut buffer = JitterBuffer::video(Duration::from_secs(3600));
        buffer.insert(frame(0, 1, 1, true).remove(0), now);
        for n in 0..20_000u16 {
            buffer.insert(frame(n.wrapping_mul(2).wrapping_add(2), u32::from(n), 2, false).remove(0), now);
            while buffer.pop(now).is_some() {}
            assert!(buffer.packets.len() <= JitterBuffer::MOST_PACKETS + 1);
        }
    }

    #[test]
    fn hostile_sequences_never_panic() {
        let now = Instant::now();
        let mut state = 0x2545_F491u32;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        for make in [JitterBuffer::video as fn(Duration) -> JitterBuffer, JitterBuffer::audio] {
            let mut buffer = make(PATIENCE);
            for step in 0..50_000u32 {
                let bits = random();
                let arrival = Arrival {
                    sequence: u16::try_from(random() & 0xFFFF).unwrap(),
                    timestamp: random(),
                    first: bits & 1 != 0,
                    last: bits & 2 != 0,
                    key: bits & 4 != 0,
                    payload: Bytes::from(vec![0; (bits >> 3 & 3) as usize]),
                };
                let at = now + Duration::from_millis(u64::from(step));
                buffer.insert(arrival, at);
                while buffer.pop(at).is_some() {}
                assert!(buffer.packets.len() <= JitterBuffer::MOST_PACKETS + 1);
            }
        }
    }
}
