//! What RTCP tells us (RFC 3550 section 6, RFC 4585, RFC 5104).
//!
//! The library keeps inbound RTCP for its own interceptors and leaves round-trip time and remote loss at zero, so this
//! tap sits closest to the wire and reads every report both ways. It puts the capture time into our own sender reports, and
//! sends one ahead of the first packet of each track: the peer knows from its first frame on what belongs together, where it
//! would go by what came first for a second.

use crate::media::EncoderControl;
use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How the peer receives one of our streams.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ReceptionState {
    /// Round-trip time of the last report that allowed one.
    pub round_trip_time: Option<Duration>,
    /// All round-trip times, summed, and how many there were.
    pub total_round_trip_time: Duration,
    pub round_trip_time_measurements: u64,
    /// Lost of all packets so far, by the peer's count.
    pub packets_lost: i64,
    /// Lost of the packets since the report before, 0 ..= 1.
    pub fraction_lost: f64,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
}

/// The mapping of a remote stream's RTP clock to its sender's wall clock, from a sender report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SenderClock {
    /// Seconds of the sender's NTP clock.
    pub ntp_seconds: f64,
    /// The RTP timestamp of that moment.
    pub rtp_time: u32,
}

/// What was read so far; shared between the tap and the tracks.
#[derive(Debug, Default)]
pub(super) struct RtcpState {
    inner: Mutex<Inner>,
}

/// The RTP clock of a stream that we send: which timestamp was captured at which moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct CaptureClock {
    pub captured_at: SystemTime,
    pub rtp_time: u32,
    pub clock_rate: f64,
}

/// Seconds from the zero of NTP to that of Unix.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// A moment as NTP has it: seconds, with 32 bits behind the point.
fn ntp_of(moment: SystemTime) -> Option<u64> {
    let since = moment.duration_since(UNIX_EPOCH).ok()?;
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    Some(((since.as_secs() + NTP_TO_UNIX) << 32) | fraction)
}

impl CaptureClock {
    /// The timestamp of what is captured at an NTP time.
    fn at(&self, ntp_time: u64) -> Option<u32> {
        let captured_at = self.captured_at.duration_since(UNIX_EPOCH).ok()?.as_secs_f64() + NTP_TO_UNIX as f64;
        let elapsed = ntp_time as f64 / 4_294_967_296.0 - captured_at;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "RTP time wraps at 32 bits")]
        let ticks = (elapsed * self.clock_rate).round() as i64 as u32;
        Some(self.rtp_time.wrapping_add(ticks))
    }
}

#[derive(Debug, Default)]
struct Inner {
    capture_clocks: HashMap<u32, CaptureClock>,
    encoders: HashMap<u32, Arc<EncoderControl>>,
    receptions: HashMap<u32, ReceptionState>,
    clocks: HashMap<u32, SenderClock>,
    reports_sent: HashMap<u32, VecDeque<(u32, Instant)>>,
    key_frame_requests: HashMap<u32, u64>,
    /// Requests to send again, both ways.
    nacks: HashMap<u32, u32>,
    /// When a request was last passed on.
    key_frame_wanted_at: HashMap<u32, Instant>,
    transport_feedback: u64,
}

impl RtcpState {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Key-frame requests for `ssrc` go to `control` from now on.
    pub(super) fn steer(&self, ssrc: u32, control: Arc<EncoderControl>) {
        self.lock().encoders.insert(ssrc, control);
    }

    /// Sender reports of `ssrc` tell this clock from now on.
    pub(super) fn tell_clock(&self, ssrc: u32, clock: CaptureClock) {
        self.lock().capture_clocks.insert(ssrc, clock);
    }

    /// How the peer receives our stream.
    pub(super) fn reception(&self, ssrc: u32) -> Option<ReceptionState> {
        self.lock().receptions.get(&ssrc).copied()
    }

    /// The sender's clock of a stream that we receive.
    pub(super) fn sender_clock(&self, ssrc: u32) -> Option<SenderClock> {
        self.lock().clocks.get(&ssrc).copied()
    }

    /// PLI and FIR received for our stream.
    pub(super) fn key_frame_requests(&self, ssrc: u32) -> u64 {
        self.lock().key_frame_requests.get(&ssrc).copied().unwrap_or(0)
    }

    /// Requests for retransmission: of the peer for a stream of ours, of ours for one of the peer's.
    pub(super) fn nack_count(&self, ssrc: u32) -> u32 {
        self.lock().nacks.get(&ssrc).copied().unwrap_or(0)
    }

    /// Transport-wide congestion-control reports received.
    pub(super) fn transport_feedback(&self) -> u64 {
        self.lock().transport_feedback
    }

    pub(super) fn received(&self, packets: &[Box<dyn rtc::rtcp::Packet>], now: Instant) {
        let mut inner = self.lock();
        for packet in packets {
            let packet = packet.as_any();
            if let Some(report) = packet.downcast_ref::<SenderReport>() {
                let ntp_seconds = report.ntp_time as f64 / 4_294_967_296.0;
                inner.take_clock(report.ssrc, SenderClock { ntp_seconds, rtp_time: report.rtp_time });
                report.reports.iter().for_each(|block| inner.reception_report(block, now));
            } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
                report.reports.iter().for_each(|block| inner.reception_report(block, now));
            } else if let Some(request) = packet.downcast_ref::<PictureLossIndication>() {
                inner.key_frame_wanted(request.media_ssrc, now);
            } else if let Some(request) = packet.downcast_ref::<FullIntraRequest>() {
                request.fir.iter().for_each(|entry| inner.key_frame_wanted(entry.ssrc, now));
            } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
                if inner.encoders.contains_key(&nack.media_ssrc) {
                    *inner.nacks.entry(nack.media_ssrc).or_default() += 1;
                }
            } else if packet.is::<TransportLayerCc>() {
                inner.transport_feedback += 1;
            }
        }
    }

    /// The report that goes ahead of the first packet of a stream of ours, if its clock was told.
    fn introduction(&self, ssrc: u32) -> Option<SenderReport> {
        let ntp_time = ntp_of(SystemTime::now())?;
        let rtp_time = self.lock().capture_clocks.get(&ssrc)?.at(ntp_time)?;
        Some(SenderReport { ssrc, ntp_time, rtp_time, ..SenderReport::default() })
    }

    /// Notes the reports that leave, and puts into them when their media was captured: the library only knows when it
    /// was sent, which is later for an audio packet than for a picture by as long as the packet sounds.
    fn sent(&self, packets: &mut [Box<dyn rtc::rtcp::Packet>], now: Instant) {
        for packet in packets {
            if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
                let mut report = report.clone();
                let mut inner = self.lock();
                if let Some(rtp_time) =
                    inner.capture_clocks.get(&report.ssrc).and_then(|clock| clock.at(report.ntp_time))
                {
                    report.rtp_time = rtp_time;
                    *packet = Box::new(report.clone());
                }
                let sent = inner.reports_sent.entry(report.ssrc).or_default();
                sent.push_back((middle_bits(report.ntp_time), now));
                if sent.len() > Inner::REPORTS_REMEMBERED {
                    sent.pop_front();
                }
            } else if let Some(nack) = packet.as_any().downcast_ref::<TransportLayerNack>() {
                *self.lock().nacks.entry(nack.media_ssrc).or_default() += 1;
            }
        }
    }
}

/// The middle 32 bits of an NTP time, as receiver reports echo it.
fn middle_bits(ntp_time: u64) -> u32 {
    u32::try_from((ntp_time >> 16) & 0xFFFF_FFFF).expect("masked to 32 bits")
}

impl Inner {
    const REPORTS_REMEMBERED: usize = 32;

    /// A key frame takes a while to arrive, and a peer that asks again meanwhile means the same one. One that is lost on the
    /// way is asked for again after that.
    const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(300);

    /// Streams of which the clock is known: reports of more are nobody's.
    const MOST_CLOCKS: usize = 256;

    fn take_clock(&mut self, ssrc: u32, clock: SenderClock) {
        if self.clocks.len() < Self::MOST_CLOCKS || self.clocks.contains_key(&ssrc) {
            self.clocks.insert(ssrc, clock);
        }
    }

    fn key_frame_wanted(&mut self, ssrc: u32, now: Instant) {
        let Some(control) = self.encoders.get(&ssrc) else { return };
        *self.key_frame_requests.entry(ssrc).or_default() += 1;
        let last = self.key_frame_wanted_at.get(&ssrc);
        if last.is_none_or(|at| now.saturating_duration_since(*at) >= Self::KEY_FRAME_INTERVAL) {
            control.request_key_frame();
            self.key_frame_wanted_at.insert(ssrc, now);
        }
    }

    fn reception_report(&mut self, block: &ReceptionReport, now: Instant) {
        if !self.encoders.contains_key(&block.ssrc) {
            return;
        }
        let round_trip_time = (block.last_sender_report != 0)
            .then(|| self.reports_sent.get(&block.ssrc))
            .flatten()
            .and_then(|sent| sent.iter().find(|(echo, _)| *echo == block.last_sender_report))
            .map(|(_, at)| {
                let held = Duration::from_secs_f64(f64::from(block.delay) / 65_536.0);
                now.saturating_duration_since(*at).saturating_sub(held)
            });
        let state = self.receptions.entry(block.ssrc).or_default();
        if let Some(time) = round_trip_time {
            state.round_trip_time = Some(time);
            state.total_round_trip_time += time;
            state.round_trip_time_measurements += 1;
        }
        // 24 bits, signed: duplicates can make it negative (RFC 3550 section 6.4.1).
        let lost = i64::from(block.total_lost & 0x00FF_FFFF);
        state.packets_lost = if lost >= 0x0080_0000 { lost - 0x0100_0000 } else { lost };
        state.fraction_lost = f64::from(block.fraction_lost) / 256.0;
        state.jitter = block.jitter;
    }
}

/// The interceptor that feeds an [`RtcpState`].
pub(super) struct RtcpTap {
    state: Arc<RtcpState>,
    /// The streams of which a packet has left.
    introduced: HashSet<u32>,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl RtcpTap {
    /// Its distance from the wire: closer than everything else.
    pub(super) const SLOT: usize = 500;

    pub(super) fn new(state: Arc<RtcpState>) -> Self {
        Self { state, introduced: HashSet::new(), inbound: VecDeque::new(), outbound: VecDeque::new() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for RtcpTap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            self.state.received(packets, Instant::now());
        }
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        match &mut packet.message.packet {
            Packet::Rtcp(packets) => self.state.sent(packets, Instant::now()),
            Packet::Rtp(media) => {
                let ssrc = media.header.ssrc;
                if self.introduced.insert(ssrc)
                    && let Some(report) = self.state.introduction(ssrc)
                {
                    let mut packets: Vec<Box<dyn rtc::rtcp::Packet>> = vec![Box::new(report)];
                    self.state.sent(&mut packets, Instant::now());
                    let message = AttributedPacket::new(Packet::Rtcp(packets));
                    let transport = TransportContext::default();
                    self.outbound.push_back(TaggedPacket { now: packet.now, transport, message });
                }
            }
            _ => {}
        }
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }
}

impl Interceptor for RtcpTap {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.introduced.remove(&info.ssrc);
    }
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(packet: impl rtc::rtcp::Packet + 'static) -> Vec<Box<dyn rtc::rtcp::Packet>> {
        vec![Box::new(packet)]
    }

    #[test]
    fn a_picture_loss_indication_reaches_the_encoder_of_that_stream_alone() {
        let state = RtcpState::default();
        let (ours, other) = (Arc::new(EncoderControl::new()), Arc::new(EncoderControl::new()));
        state.steer(1, Arc::clone(&ours));
        state.steer(2, Arc::clone(&other));
        let request = PictureLossIndication { sender_ssrc: 9, media_ssrc: 1 };
        state.received(&boxed(request), Instant::now());
        assert!(ours.take_key_frame_request() && !other.take_key_frame_request());
        assert_eq!((state.key_frame_requests(1), state.key_frame_requests(2)), (1, 0));
    }

    #[test]
    fn a_peer_that_asks_and_asks_gets_a_few_key_frames_a_second() {
        let (state, control) = (RtcpState::default(), Arc::new(EncoderControl::new()));
        state.steer(1, Arc::clone(&control));
        let begin = Instant::now();
        let given = (0..100).filter(|n| {
            let request = PictureLossIndication { sender_ssrc: 9, media_ssrc: 1 };
            state.received(&boxed(request), begin + Duration::from_millis(n * 10));
            control.take_key_frame_request()
        });
        assert_eq!(given.count(), 4);
        assert_eq!(state.key_frame_requests(1), 100, "all are counted");
    }

    #[test]
    fn what_is_said_of_streams_that_are_not_there_takes_no_memory() {
        let state = RtcpState::default();
        state.steer(1, Arc::new(EncoderControl::new()));
        for ssrc in 1..10_000 {
            state.received(&boxed(PictureLossIndication { sender_ssrc: 9, media_ssrc: ssrc }), Instant::now());
            state.received(&boxed(TransportLayerNack { media_ssrc: ssrc, ..Default::default() }), Instant::now());
            let block = ReceptionReport { ssrc, ..Default::default() };
            state.received(&boxed(SenderReport { ssrc, reports: vec![block], ..Default::default() }), Instant::now());
        }
        let inner = state.lock();
        let kept = [inner.key_frame_requests.len(), inner.nacks.len(), inner.receptions.len(), inner.clocks.len()];
        assert_eq!(kept, [1, 1, 1, Inner::MOST_CLOCKS]);
    }

    #[test]
    fn sender_reports_tell_when_media_was_captured() {
        let state = RtcpState::default();
        let captured_at = UNIX_EPOCH + Duration::from_secs(1_000);
        state.tell_clock(3, CaptureClock { captured_at, rtp_time: u32::MAX, clock_rate: 90_000.0 });
        let ntp_time = (2_208_988_800 + 1_001) << 32 | 1 << 31;
        let mut packets = boxed(SenderReport { ssrc: 3, ntp_time, rtp_time: 5, ..Default::default() });
        state.sent(&mut packets, Instant::now());
        let report = packets[0].as_any().downcast_ref::<SenderReport>().unwrap();
        assert_eq!(report.rtp_time, 135_000 - 1);
    }

    #[test]
    fn the_first_packet_of_a_track_follows_a_report_of_its_clock() {
        let state = Arc::new(RtcpState::default());
        state.tell_clock(3, CaptureClock { captured_at: SystemTime::now(), rtp_time: 7_000, clock_rate: 90_000.0 });
        let mut tap = RtcpTap::new(state);
        let mut leave = |ssrc: u32| {
            let header = rtc::rtp::Header { ssrc, ..Default::default() };
            let packet = Packet::Rtp(rtc::rtp::Packet { header, payload: bytes::Bytes::new() });
            let (now, transport) = (Instant::now(), TransportContext::default());
            tap.handle_write(TaggedPacket { now, transport, message: AttributedPacket::new(packet) }).unwrap();
            std::iter::from_fn(|| tap.poll_write()).map(|packet| packet.message.packet).collect::<Vec<_>>()
        };
        let first = leave(3);
        let [Packet::Rtcp(reports), Packet::Rtp(_)] = &first[..] else { panic!("{}", first.len()) };
        let report = reports[0].as_any().downcast_ref::<SenderReport>().unwrap();
        assert_eq!(report.ssrc, 3);
        assert!((7_000..7_000 + 90_000).contains(&report.rtp_time), "as captured just now: {report:?}");
        assert_eq!(leave(3).len(), 1);
        assert_eq!(leave(4).len(), 1, "nobody told its clock");
    }

    #[test]
    fn round_trip_time_is_what_is_left_after_the_peer_held_the_report() {
        let state = RtcpState::default();
        state.steer(7, Arc::new(EncoderControl::new()));
        let sent = Instant::now();
        let ntp_time = 0x0123_4567_89AB_CDEF;
        state.sent(&mut boxed(SenderReport { ssrc: 7, ntp_time, ..Default::default() }), sent);
        let block = ReceptionReport {
            ssrc: 7,
            last_sender_report: 0x4567_89AB,
            delay: 65_536 / 2,
            fraction_lost: 64,
            total_lost: 0x00FF_FFFE,
            ..Default::default()
        };
        let report = ReceiverReport { reports: vec![block], ..Default::default() };
        state.received(&boxed(report), sent + Duration::from_millis(580));
        let reception = state.reception(7).unwrap();
        assert_eq!(reception.round_trip_time, Some(Duration::from_millis(80)));
        assert_eq!(reception.packets_lost, -2);
        assert!((reception.fraction_lost - 0.25).abs() < 1e-9);
    }
}
