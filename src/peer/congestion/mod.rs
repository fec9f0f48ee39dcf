//! Congestion control: what is sent keeps to what the path carries (RFC 8836; draft-holmer-rmcat-transport-wide-cc-extensions).
//!
//! Every packet that leaves, retransmissions included, is numbered for the whole transport. The peer's feedback on these
//! numbers becomes an [`Estimator`]; that and what the peer says by itself (REMB) set the bitrates of the encoders and
//! the pace of the packets. Of a peer that gives neither, the receiver reports say what is lost ([`LossBased`]).

mod estimator;
mod loss;
mod pacer;

use super::bandwidth::Bandwidth;
use crate::media::{EncoderControl, MediaKind};
use estimator::{Estimator, Fate};
use loss::LossBased;
use pacer::Pacer;
use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket, convert_twcc};
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtp;
use rtc::rtp::extension::transport_cc_extension::TransportCcExtension;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::marshal::{Marshal, MarshalSize};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a packet on the wire besides RTP: the tag of SRTP, UDP and IPv4.
const BELOW_RTP: usize = 10 + 8 + 20;

/// What one session knows of its path, and those whom that steers.
#[derive(Debug)]
pub(super) struct Congestion {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    estimator: Estimator,
    pacer: Pacer,
    /// Whether the peer tells of every packet.
    transport_wide: bool,
    /// What the peer says that it can take, in bits per second.
    remb: Option<f64>,
    /// For peers that say neither.
    loss: LossBased,
    /// What its description allows.
    allowed: Bandwidth,
    videos: Vec<(u32, Arc<EncoderControl>)>,
    sounds: Vec<(u32, Arc<EncoderControl>)>,
}

impl Congestion {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            inner: Mutex::new(Inner {
                estimator: Estimator::new(now),
                pacer: Pacer::new(now),
                transport_wide: false,
                remb: None,
                loss: LossBased::new(now),
                allowed: Bandwidth::default(),
                videos: Vec::new(),
                sounds: Vec::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream that is sent: its bitrate is set from now on, that of sound by what the peer allows alone.
    pub(super) fn steer(&self, ssrc: u32, kind: MediaKind, control: Arc<EncoderControl>) {
        let mut inner = self.lock();
        let steered = match kind {
            MediaKind::Audio => &mut inner.sounds,
            MediaKind::Video => &mut inner.videos,
        };
        steered.retain(|(other, _)| *other != ssrc);
        steered.push((ssrc, control));
        inner.keep_to_allowed(false);
    }

    /// The peer's description allows so much.
    pub(super) fn allow(&self, allowed: Bandwidth) {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.allowed, allowed) != allowed {
            inner.keep_to_allowed(true);
        }
    }

    /// What the path has for a video of ours, in bits per second.
    pub(super) fn target_of(&self, ssrc: u32) -> Option<u32> {
        self.lock().videos.iter().find(|(other, _)| *other == ssrc).and_then(|(_, control)| control.bitrate())
    }

    /// What the path carries, in bits per second, where the peer helps to know it.
    pub(super) fn available(&self) -> Option<f64> {
        self.lock().available(Instant::now())
    }

    /// Takes a packet with so many bytes of RTP; how long to wait before it goes.
    pub(super) fn take(&self, bytes: usize) -> Duration {
        let (mut inner, now) = (self.lock(), Instant::now());
        let Some(available) = inner.available(now) else { return Duration::ZERO };
        inner.share_out(available);
        let pace = inner.pace(available);
        inner.pacer.take(bytes + BELOW_RTP, pace, now)
    }

    /// How long so many bytes take to be sent.
    pub(super) fn time_for(&self, bytes: usize) -> Duration {
        let inner = self.lock();
        let Some(available) = inner.available(Instant::now()) else { return Duration::ZERO };
        Duration::from_secs_f64(inner.pacer.time_for(bytes, inner.pace(available)).min(60.0))
    }

    /// Whether a packet may be sent again.
    pub(super) fn may_resend(&self, bytes: usize) -> bool {
        let (mut inner, now) = (self.lock(), Instant::now());
        let Some(available) = inner.available(now) else { return true };
        let pace = inner.pace(available);
        inner.pacer.may_resend(bytes + BELOW_RTP, pace, now)
    }
}

impl Inner {
    /// What a stream of sound takes at most, in bits per second, with its headers.
    const SOUND: f64 = 80_000.0;
    /// The pace, in bits per second, at which a path is tried that was never seen to be full.
    const TRIAL: f64 = 20e6;
    /// Changes of less than one part of so many are not told to encoders.
    const STEP: u32 = 32;
    /// The part of the packets of a video that is not headers.
    const PAYLOAD: f64 = 0.93;

    fn available(&self, now: Instant) -> Option<f64> {
        let estimate = self.transport_wide.then(|| self.estimator.target(now));
        let seen = match (estimate, self.remb) {
            (Some(estimate), Some(remb)) => Some(estimate.min(remb)),
            (None, None) => self.loss.target(),
            (estimate, remb) => estimate.or(remb),
        };
        [seen, self.allowed.session].into_iter().flatten().reduce(f64::min)
    }

    /// Tells encoders what the peer's description allows, before anything is known of the path; `anew` also where that is nothing.
    fn keep_to_allowed(&self, anew: bool) {
        let tell = |control: &EncoderControl, allowed: Option<f64>| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
            let bits = allowed.map(|bits| bits as u32).or(anew.then_some(u32::MAX));
            bits.inspect(|bits| control.set_bitrate(*bits));
        };
        self.sounds.iter().for_each(|(_, control)| tell(control, self.allowed.audio));
        match self.available(Instant::now()) {
            Some(available) => self.share_out(available),
            None => {
                let video = self.allowed.video.map(|video| video * Self::PAYLOAD);
                self.videos.iter().for_each(|(_, control)| tell(control, video));
            }
        }
    }

    /// Takes what the peer says of streams of ours.
    fn reported(&mut self, blocks: &[ReceptionReport]) {
        let of_video = |block: &&ReceptionReport| self.videos.iter().any(|(ssrc, _)| *ssrc == block.ssrc);
        let worst = blocks.iter().filter(of_video).map(|block| f64::from(block.fraction_lost) / 256.0).reduce(f64::max);
        if let Some(lost) = worst.filter(|_| !self.transport_wide && self.remb.is_none()) {
            self.loss.report(lost);
            if let Some(available) = self.loss.target() {
                self.share_out(available);
            }
        }
    }

    /// How fast packets go on a path that carries so much: a first frame need not wait on a path that is wide.
    fn pace(&self, available: f64) -> f64 {
        let unknown = self.transport_wide && !self.estimator.was_full();
        if unknown { available.max(Self::TRIAL) } else { available }
    }

    /// Gives the encoders of video what the path carries besides the sound.
    fn share_out(&self, available: f64) {
        let sounds = (self.sounds.len() as f64 * Self::SOUND).min(available / 3.0);
        let share = (available - sounds) / (self.videos.len() as f64).max(1.0);
        let share = self.allowed.video.map_or(share, |video| share.min(video)) * Self::PAYLOAD;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let bits = share.max(1.0) as u32;
        for (_, control) in &self.videos {
            // An encoder that is told another number with every picture never comes to rest.
            let near = control.bitrate().is_some_and(|now| now.abs_diff(bits) < now / Self::STEP);
            if !near {
                control.set_bitrate(bits);
            }
        }
    }
}

/// Numbers what leaves and reads what the peer says of it. Closer to the wire than all that makes packets.
pub(super) struct CongestionTap {
    state: Arc<Congestion>,
    /// The header extension of the number, once a stream was agreed on that has it.
    extension: Option<u8>,
    next: u16,
    under_way: VecDeque<UnderWay>,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

struct UnderWay {
    number: u16,
    departure: Instant,
    bytes: usize,
}

impl CongestionTap {
    /// Packets of which nothing was heard for so long are forgotten.
    const HORIZON: Duration = Duration::from_secs(5);

    pub(super) fn new(state: Arc<Congestion>) -> Self {
        Self {
            state,
            extension: None,
            next: 0,
            under_way: VecDeque::new(),
            inbound: VecDeque::new(),
            outbound: VecDeque::new(),
        }
    }

    fn departs(&mut self, packet: &mut rtp::Packet, now: Instant) {
        let Some(extension) = self.extension else {
            return self.state.lock().loss.departed(packet.marshal_size() + BELOW_RTP, now);
        };
        let number = TransportCcExtension { transport_sequence: self.next };
        let written = number.marshal().map(|number| packet.header.set_extension(extension, number.freeze()));
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
        let bytes = packet.marshal_size() + BELOW_RTP;
        self.under_way.push_back(UnderWay { number: self.next, departure: now, bytes });
        self.next = self.next.wrapping_add(1);
        while self.under_way.front().is_some_and(|oldest| now - oldest.departure > Self::HORIZON) {
            self.under_way.pop_front();
        }
        self.state.lock().estimator.departed(bytes, now);
    }

    /// Takes what the peer says of the path.
    fn hear(&mut self, packets: &[Box<dyn rtc::rtcp::Packet>]) {
        for packet in packets {
            let packet = packet.as_any();
            if let Some(feedback) = packet.downcast_ref::<TransportLayerCc>() {
                self.feedback(feedback, Instant::now());
            } else if let Some(estimate) = packet.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
                let bits = Some(f64::from(estimate.bitrate)).filter(|bits| bits.is_finite() && *bits > 0.0);
                self.state.lock().remb = bits;
            } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
                self.state.lock().reported(&report.reports);
            } else if let Some(report) = packet.downcast_ref::<SenderReport>() {
                self.state.lock().reported(&report.reports);
            }
        }
    }

    fn feedback(&mut self, feedback: &TransportLayerCc, now: Instant) {
        let mut fates = Vec::new();
        for acknowledgement in convert_twcc(feedback) {
            let Some(oldest) = self.under_way.front().map(|oldest| oldest.number) else { break };
            let index = usize::from(acknowledgement.sequence_number.wrapping_sub(oldest));
            // A packet that is said to be lost may still come, but it is told once.
            if let Some(packet) = self.under_way.get_mut(index).filter(|packet| packet.bytes > 0) {
                let arrival = acknowledgement.arrival.filter(|_| acknowledgement.arrived);
                fates.push(Fate { departure: packet.departure, bytes: packet.bytes, arrival });
                packet.bytes = 0;
            }
        }
        while self.under_way.front().is_some_and(|oldest| oldest.bytes == 0) {
            self.under_way.pop_front();
        }
        let mut state = self.state.lock();
        state.estimator.feedback(&fates, now);
        if let Some(available) = state.available(now) {
            state.share_out(available);
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for CongestionTap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            self.hear(packets);
        }
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(packet) = &mut packet.message.packet {
            self.departs(packet, Instant::now());
        }
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }
}

impl Interceptor for CongestionTap {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        let extension = info.rtp_header_extensions.iter().find(|extension| extension.uri == TRANSPORT_CC_URI);
        let feedback = info.rtcp_feedback.iter().any(|feedback| feedback.typ == "transport-cc");
        if let Some(id) = extension.filter(|_| feedback).and_then(|extension| u8::try_from(extension.id).ok()) {
            self.extension = Some(id).filter(|id| *id != 0);
            self.state.lock().transport_wide = self.extension.is_some();
        }
    }

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

/// The header extension that carries the number.
const TRANSPORT_CC_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

#[cfg(test)]
mod tests {
    use super::*;

    /// What a peer says of a video of ours.
    fn report(tap: &mut CongestionTap, fraction_lost: u8) {
        let block = ReceptionReport { ssrc: 7, fraction_lost, ..Default::default() };
        let report = ReceiverReport { reports: vec![block], ..Default::default() };
        tap.hear(&[Box::new(report) as _]);
    }

    #[test]
    fn who_tells_nothing_but_losses_is_sent_less_when_there_are_some() {
        let state = Arc::new(Congestion::new());
        let control = Arc::new(EncoderControl::new());
        state.steer(7, MediaKind::Video, Arc::clone(&control));
        let mut tap = CongestionTap::new(Arc::clone(&state));
        assert_eq!(state.available(), None);
        report(&mut tap, 0);
        let before = control.bitrate().unwrap();
        report(&mut tap, 128);
        let after = control.bitrate().unwrap();
        assert!(after < before * 4 / 5, "{after} of {before}");
        // What a peer says by itself goes before.
        state.lock().remb = Some(2e6);
        report(&mut tap, 255);
        assert_eq!(state.available(), Some(2e6));
    }
}
