//! Sends again what the peer asks for: each packet once in a round trip and a few times in all, and all of them within what the path
//! carries.

use super::super::congestion::Congestion;
use super::super::traffic::RoundTrips;
use super::is_repaired;
use rtc::interceptor::{Attribute, AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use rtc::shared::marshal::MarshalSize;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What was sent of one stream.
#[derive(Debug)]
struct Stream {
    sent: VecDeque<Sent>,
    repair: Option<Repair>,
}

#[derive(Debug)]
struct Sent {
    packet: rtp::Packet,
    at: Instant,
    again: Option<Instant>,
    times: u8,
}

/// The stream under which packets are sent again, RFC 4588.
#[derive(Clone, Copy, Debug)]
struct Repair {
    ssrc: u32,
    payload_type: u8,
    next: u16,
}

impl Stream {
    const MOST_PACKETS: usize = 2048;
    /// What is older comes too late for every picture.
    const OLDEST: Duration = Duration::from_secs(3);
    /// Who does not have a packet then does not understand how it is sent again: some offer RFC 4588 and pass it over.
    const MOST_TIMES: u8 = 10;

    fn remember(&mut self, packet: rtp::Packet, now: Instant) {
        let is_next = |last: &Sent| last.packet.header.sequence_number.wrapping_add(1) == packet.header.sequence_number;
        if !self.sent.back().is_none_or(is_next) {
            self.sent.clear();
        }
        self.sent.push_back(Sent { packet, at: now, again: None, times: 0 });
        while self.sent.len() > Self::MOST_PACKETS
            || self.sent.front().is_some_and(|oldest| now.saturating_duration_since(oldest.at) > Self::OLDEST)
        {
            self.sent.pop_front();
        }
    }

    /// The packet with this number as it is sent again, if it is there and was sent neither a moment ago nor often.
    fn again(&mut self, sequence: u16, interval: Duration, now: Instant) -> Option<rtp::Packet> {
        let oldest = self.sent.front()?.packet.header.sequence_number;
        let sent = self.sent.get_mut(usize::from(sequence.wrapping_sub(oldest)))?;
        let lately = sent.again.is_some_and(|again| now.saturating_duration_since(again) < interval);
        if lately || sent.times == Self::MOST_TIMES {
            return None;
        }
        (sent.again, sent.times) = (Some(now), sent.times + 1);
        let original = &sent.packet;
        let Some(repair) = &mut self.repair else { return Some(original.clone()) };
        let header = rtp::Header {
            version: 2,
            ssrc: repair.ssrc,
            payload_type: repair.payload_type,
            sequence_number: repair.next,
            timestamp: original.header.timestamp,
            marker: original.header.marker,
            ..Default::default()
        };
        repair.next = repair.next.wrapping_add(1);
        let payload = [&sequence.to_be_bytes()[..], &original.payload].concat();
        Some(rtp::Packet { header, payload: payload.into() })
    }
}

/// The interceptor.
pub(in crate::peer) struct Resender {
    congestion: Arc<Congestion>,
    round_trips: Arc<RoundTrips>,
    streams: HashMap<u32, Stream>,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl Resender {
    const UNKNOWN: Duration = Duration::from_millis(50);
    const LEAST_INTERVAL: Duration = Duration::from_millis(10);

    pub(in crate::peer) fn new(congestion: Arc<Congestion>, round_trips: Arc<RoundTrips>) -> Self {
        Self { congestion, round_trips, streams: HashMap::new(), inbound: VecDeque::new(), outbound: VecDeque::new() }
    }

    fn answer(&mut self, nack: &TransportLayerNack, now: Instant) {
        let interval = self.round_trips.last().unwrap_or(Self::UNKNOWN).max(Self::LEAST_INTERVAL);
        let Some(stream) = self.streams.get_mut(&nack.media_ssrc) else { return };
        for sequence in nack.nacks.iter().flat_map(|pair| pair.packet_list()) {
            let Some(packet) = stream.again(sequence, interval, now) else { continue };
            if !self.congestion.may_resend(packet.marshal_size()) {
                return;
            }
            self.outbound.push_back(TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: AttributedPacket::new(Packet::Rtp(packet)).with(Attribute::Retransmission),
            });
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Resender {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            for nack in packets.iter().filter_map(|packet| packet.as_any().downcast_ref::<TransportLayerNack>()) {
                self.answer(nack, packet.now);
            }
        }
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &packet.message.packet
            && let Some(stream) = self.streams.get_mut(&rtp.header.ssrc)
        {
            stream.remember(rtp.clone(), packet.now);
        }
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }
}

impl Interceptor for Resender {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        if is_repaired(info) {
            let repair = info.ssrc_rtx.zip(info.payload_type_rtx);
            let repair = repair.map(|(ssrc, payload_type)| Repair { ssrc, payload_type, next: 1 });
            self.streams.insert(info.ssrc, Stream { sent: VecDeque::new(), repair });
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.streams.remove(&info.ssrc);
    }

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence_number: u16) -> rtp::Packet {
        let header = rtp::Header { version: 2, ssrc: 1, payload_type: 96, sequence_number, ..Default::default() };
        rtp::Packet { header, payload: vec![7, 8].into() }
    }

    #[test]
    fn a_packet_is_sent_again_once_in_a_round_trip_under_the_number_of_its_repair_stream() {
        let begin = Instant::now();
        let ms = Duration::from_millis;
        let repair = Some(Repair { ssrc: 2, payload_type: 97, next: 1 });
        let mut stream = Stream { sent: VecDeque::new(), repair };
        for sequence in [65_534, 65_535, 0, 1] {
            stream.remember(packet(sequence), begin);
        }
        let again = stream.again(0, ms(100), begin + ms(100)).unwrap();
        assert_eq!((again.header.ssrc, again.header.payload_type, again.header.version), (2, 97, 2));
        assert_eq!(&again.payload[..], [0, 0, 7, 8]);
        assert!(stream.again(0, ms(100), begin + ms(150)).is_none());
        assert_eq!(stream.again(0, ms(100), begin + ms(200)).unwrap().header.sequence_number, 2);
        assert!(stream.again(2, ms(100), begin).is_none() && stream.again(65_533, ms(100), begin).is_none());
        let asked = (3..30).filter_map(|time| stream.again(0, ms(100), begin + ms(100) * time));
        assert_eq!(asked.count(), 8, "twice before, and never again");
        stream.remember(packet(2), begin + Stream::OLDEST + ms(1));
        assert_eq!(stream.sent.len(), 1);
    }
}
