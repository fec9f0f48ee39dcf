//! Asks for packets that did not come.

use super::super::jitter::unwrap_near;
use super::super::traffic::RoundTrips;
use super::is_repaired;
use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is missing of one stream.
#[derive(Debug, Default)]
struct Stream {
    newest: Option<u64>,
    holes: BTreeMap<u64, Hole>,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    since: Instant,
    /// When it was last asked for, and how often.
    asked: Option<Instant>,
    times: u32,
}

impl Stream {
    /// A jump beyond this is another stream, or one that is not to be mended.
    const MOST_HOLES: u64 = 1000;
    /// Packets overtake each other.
    const PATIENCE: Duration = Duration::from_millis(10);
    /// A hole older than this no longer matters: the picture went on without it.
    const OLDEST: Duration = Duration::from_secs(2);
    const MOST_TIMES: u32 = 10;

    fn arrived(&mut self, sequence: u16, now: Instant) {
        let Some(newest) = self.newest else {
            self.newest = Some(u64::from(sequence) + (1 << 16));
            return;
        };
        let sequence = unwrap_near(newest, sequence);
        if sequence <= newest {
            self.holes.remove(&sequence);
            return;
        }
        self.newest = Some(sequence);
        if sequence - newest > Self::MOST_HOLES {
            self.holes.clear();
            return;
        }
        let hole = Hole { since: now, asked: None, times: 0 };
        self.holes.extend((newest + 1..sequence).map(|missing| (missing, hole)));
        while self.holes.len() as u64 > Self::MOST_HOLES {
            self.holes.pop_first();
        }
    }

    /// What is to be asked for now, once in a round trip each.
    fn due(&mut self, round_trip: Duration, now: Instant) -> Vec<u16> {
        self.holes.retain(|_, hole| now - hole.since < Self::OLDEST && hole.times < Self::MOST_TIMES);
        let mut due = Vec::new();
        for (sequence, hole) in &mut self.holes {
            let is_due = match hole.asked {
                None => now - hole.since >= Self::PATIENCE,
                Some(asked) => now - asked >= round_trip,
            };
            if is_due {
                (hole.asked, hole.times) = (Some(now), hole.times + 1);
                #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are meant")]
                due.push(*sequence as u16);
            }
        }
        due
    }
}

/// The interceptor.
pub(in crate::peer) struct Asker {
    round_trips: Arc<RoundTrips>,
    asks: bool,
    streams: HashMap<u32, Stream>,
    /// Repair streams, and which they mend.
    repairs: HashMap<u32, u32>,
    next: Option<Instant>,
    sender_ssrc: u32,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl Asker {
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    /// Nothing is asked for more often, on the shortest path as well: the answer takes its time in the peer.
    const LEAST_INTERVAL: Duration = Duration::from_millis(30);
    const UNKNOWN: Duration = Duration::from_millis(100);

    /// One that asks for nothing unless `asks`.
    pub(in crate::peer) fn new(round_trips: Arc<RoundTrips>, asks: bool) -> Self {
        Self {
            round_trips,
            asks,
            streams: HashMap::new(),
            repairs: HashMap::new(),
            next: None,
            sender_ssrc: super::super::local_track::random_u32(),
            inbound: VecDeque::new(),
            outbound: VecDeque::new(),
        }
    }

    fn ask(&mut self, now: Instant) {
        if !self.asks {
            return;
        }
        let round_trip = self.round_trips.last().unwrap_or(Self::UNKNOWN);
        let interval = (round_trip + round_trip / 4).max(Self::LEAST_INTERVAL);
        for (ssrc, stream) in &mut self.streams {
            let missing = stream.due(interval, now);
            if missing.is_empty() {
                continue;
            }
            let nack = TransportLayerNack {
                sender_ssrc: self.sender_ssrc,
                media_ssrc: *ssrc,
                nacks: nack_pairs_from_sequence_numbers(&missing),
            };
            self.outbound.push_back(TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: AttributedPacket::new(Packet::Rtcp(vec![Box::new(nack)])),
            });
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Asker {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &packet.message.packet {
            let ssrc = rtp.header.ssrc;
            if let Some(stream) = self.streams.get_mut(&ssrc) {
                stream.arrived(rtp.header.sequence_number, packet.now);
                if self.next.is_none() && !stream.holes.is_empty() {
                    self.next = Some(packet.now + Stream::PATIENCE);
                }
            } else if let Some(stream) = self.repairs.get(&ssrc).and_then(|media| self.streams.get_mut(media))
                && let [high, low, ..] = *rtp.payload
            {
                stream.arrived(u16::from_be_bytes([high, low]), packet.now);
            }
        }
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.next.is_some_and(|next| now >= next) {
            self.ask(now);
            let waits = self.streams.values().any(|stream| !stream.holes.is_empty());
            self.next = waits.then(|| now + Self::LOOK_EVERY);
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.next
    }
}

impl Interceptor for Asker {
    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        // A repair stream is bound as well, under the feedback of the stream that it mends.
        if is_repaired(info) && !self.repairs.contains_key(&info.ssrc) {
            self.streams.entry(info.ssrc).or_default();
            if let Some(repair) = info.ssrc_rtx {
                self.repairs.insert(repair, info.ssrc);
                self.streams.remove(&repair);
            }
        }
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.streams.remove(&info.ssrc);
        self.repairs.retain(|repair, media| *repair != info.ssrc && *media != info.ssrc);
    }

    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(100);

    #[test]
    fn a_hole_is_asked_for_once_in_a_round_trip_until_it_is_filled() {
        let begin = Instant::now();
        let ms = |ms| begin + Duration::from_millis(ms);
        let mut stream = Stream::default();
        for sequence in [65_533, 65_534, 1, 2] {
            stream.arrived(sequence, begin);
        }
        assert!(stream.due(ROUND_TRIP, ms(5)).is_empty(), "they may have been overtaken");
        assert_eq!(stream.due(ROUND_TRIP, ms(10)), [65_535, 0]);
        assert!(stream.due(ROUND_TRIP, ms(60)).is_empty());
        stream.arrived(65_535, ms(100));
        assert_eq!(stream.due(ROUND_TRIP, ms(110)), [0]);
        stream.arrived(0, ms(150));
        assert!(stream.due(ROUND_TRIP, ms(500)).is_empty());
    }

    #[test]
    fn what_is_too_old_or_asked_for_too_often_is_let_go() {
        let begin = Instant::now();
        let mut stream = Stream::default();
        stream.arrived(1, begin);
        stream.arrived(3, begin);
        let asked: Vec<_> = (1..100).map(|n| stream.due(ROUND_TRIP, begin + n * ROUND_TRIP).len()).collect();
        assert_eq!(asked.iter().sum::<usize>(), 10);
        assert!(stream.holes.is_empty());
        stream.arrived(30_000, begin);
        assert!(stream.holes.is_empty(), "another stream");
        for n in 0..3000u16 {
            stream.arrived(30_002u16.wrapping_add(n * 2), begin);
        }
        assert!(stream.holes.len() as u64 <= Stream::MOST_HOLES);
    }
}
