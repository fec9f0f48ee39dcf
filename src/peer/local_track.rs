//! A track that we send: encoded frames in, RTP out (see [`payload`](super::payload)).

use super::codecs::agreed_payload_type;
use super::error::PeerError;
use super::form::{Form, Said};
use super::payload::Packetiser;
use super::remote_track::Shared;
use super::rtcp::CaptureClock;
use super::traffic::Departures;
use crate::media::{Codec, EncodedFrame, EncoderControl, H264Level, MediaKind};
use crate::pipeline::queue::Receiver;
use rtc::rtp;
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::statistics::report::RTCStatsReport;
use serde::Serialize;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::rtp_transceiver::RtpSender;

/// What was sent on one track, in the words of webrtc-stats `outbound-rtp` and `remote-inbound-rtp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SentReport {
    /// `audio` or `video`.
    pub kind: String,
    /// The RTP media type.
    pub mime_type: String,
    /// The RTP stream.
    pub ssrc: u32,
    /// Packets handed to the network, retransmissions not counted.
    pub packets_sent: u64,
    /// Payload bytes of those packets.
    pub bytes_sent: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Key frames among them; video only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_frames_sent: Option<u64>,
    /// Key frames that the peer asked for; video only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pli_count: Option<u64>,
    /// Bits per second that the path has for this track at the end; video only, where the peer helps to know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_bitrate: Option<u32>,
    /// Seconds there and back, by the last report that allowed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_time: Option<f64>,
    /// Packets that the peer missed, by its count.
    pub packets_lost: i64,
    /// Part of the packets that the peer missed since the report before, 0 ..= 1.
    pub fraction_lost: f64,
    /// Interarrival jitter at the peer, in seconds.
    pub jitter: f64,
}

/// A track that we send. Made by a [`Session`](super::Session).
pub struct LocalTrack {
    track: Arc<TrackLocalStaticRTP>,
    sender: Arc<dyn RtpSender>,
    ssrc: u32,
    wished: Codec,
    agreed: Arc<OnceLock<Said>>,
    wanted: watch::Receiver<bool>,
    control: Arc<EncoderControl>,
    shared: Arc<Shared>,
    departures: Arc<Departures>,
}

impl LocalTrack {
    /// Bytes of RTP payload that fit every path: 1280 (IPv6) less IP, UDP, SRTP and header extensions.
    const PAYLOAD: u16 = 1170;
    /// Bytes of RTP with its extensions.
    const HEADER: usize = 20;
    /// A frame that takes longer to be sent makes the encoder wait for it.
    const LONG: Duration = Duration::from_millis(100);

    pub(super) fn new(
        track: Arc<TrackLocalStaticRTP>,
        sender: Arc<dyn RtpSender>,
        ssrc: u32,
        (wished, agreed, wanted): (Codec, Arc<OnceLock<Said>>, watch::Receiver<bool>),
        shared: Arc<Shared>,
        departures: Arc<Departures>,
    ) -> Self {
        let control = Arc::new(EncoderControl::new());
        shared.rtcp.steer(ssrc, Arc::clone(&control));
        shared.congestion.steer(ssrc, wished.kind(), Arc::clone(&control));
        Self { track, sender, ssrc, wished, agreed, wanted, control, shared, departures }
    }

    /// The same for an encoder that was there before, and obeys `control`.
    #[must_use]
    pub fn steering(self, control: Arc<EncoderControl>) -> Self {
        self.shared.rtcp.steer(self.ssrc, Arc::clone(&control));
        self.shared.congestion.steer(self.ssrc, self.wished.kind(), Arc::clone(&control));
        Self { control, ..self }
    }

    /// The codec that was agreed on with the peer; the one we would like best until then.
    pub fn codec(&self) -> Codec {
        self.agreed.get().map_or(self.wished, |agreed| agreed.form.codec)
    }

    /// What the peer can decode, as far as it was agreed on and it says so.
    pub fn level(&self) -> Option<H264Level> {
        self.agreed.get().and_then(Said::level)
    }

    /// The most bytes that a NAL unit may have, where the peer takes each in a packet of its own.
    pub fn most_unit_bytes(&self) -> Option<u32> {
        self.agreed.get().filter(|agreed| agreed.form.single_units).map(|_| Self::PAYLOAD.into())
    }

    /// Whether the peer takes one of its codecs.
    pub(super) fn is_agreed(&self) -> bool {
        self.agreed.get().is_some()
    }

    /// Whether the peer wants it now.
    pub(super) fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    pub(super) fn sender_id(&self) -> RTCRtpSenderId {
        self.sender.id()
    }

    /// Where the peer's wishes arrive: key frames, and the bitrate that the path carries.
    pub fn control(&self) -> Arc<EncoderControl> {
        Arc::clone(&self.control)
    }

    /// Sends frames until their queue ends or the connection does. Call it once the connection is up. `captured_at` is
    /// the moment at which time 0 of the frames was captured: sender reports tell the peer, which keeps sound and
    /// picture together by it.
    ///
    /// # Errors
    /// When the peer did not accept the codec.
    pub async fn run(
        self,
        frames: Arc<Receiver<EncodedFrame>>,
        captured_at: SystemTime,
    ) -> Result<SentReport, PeerError> {
        let codec = self.codec();
        let form = self.agreed.get().map(|agreed| agreed.form);
        let form = form.or_else(|| Form::of(codec).next()).expect("every codec has a form");
        let payload_type = self.negotiated_payload_type(form).await?;
        let clock_rate = codec.clock_rate();
        let mut packetiser = Packetiser::new(form);
        let mut sequence = u16::try_from(random_u32() >> 17).expect("shifted to 15 bits");
        let first_timestamp = random_u32();
        let clock = CaptureClock { captured_at, rtp_time: first_timestamp, clock_rate: f64::from(clock_rate.get()) };
        self.shared.rtcp.tell_clock(self.ssrc, clock);
        let mut report = SentReport {
            kind: codec.kind().to_string(),
            mime_type: codec.mime_type().to_owned(),
            ssrc: self.ssrc,
            key_frames_sent: (codec.kind() == MediaKind::Video).then_some(0),
            ..SentReport::default()
        };
        let mut wanted = self.wanted.clone();
        let mut rests = !*wanted.borrow_and_update();
        self.control.hold(rests);
        'frames: loop {
            let frame = tokio::select! {
                frame = frames.recv_async() => frame,
                Ok(()) = wanted.changed() => {
                    // Nothing is encoded for nobody.
                    self.control.hold(!*wanted.borrow());
                    self.control.request_key_frame();
                    continue;
                }
            };
            let Some(frame) = frame else { break };
            if !*wanted.borrow() {
                rests = true;
                continue;
            }
            if rests && codec.kind() == MediaKind::Video && !frame.key {
                self.control.request_key_frame();
                continue;
            }
            rests = false;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "RTP time wraps at 32 bits")]
            let timestamp = first_timestamp.wrapping_add(frame.time.rescale(clock_rate).ticks() as u32);
            let payloads = packetiser.payloads(&frame.data, Self::PAYLOAD.into());
            let last = payloads.len().saturating_sub(1);
            let bytes = payloads.iter().map(|payload| payload.len() + Self::HEADER).sum();
            self.hold(&frames, self.shared.congestion.time_for(bytes) > Self::LONG);
            for (index, payload) in payloads.into_iter().enumerate() {
                report.packets_sent += 1;
                report.bytes_sent += payload.len() as u64;
                let header = rtp::Header {
                    version: 2,
                    marker: index == last && codec.kind() == MediaKind::Video,
                    payload_type,
                    sequence_number: sequence,
                    timestamp,
                    ssrc: self.ssrc,
                    ..Default::default()
                };
                sequence = sequence.wrapping_add(1);
                let wait = self.shared.congestion.take(payload.len() + Self::HEADER);
                // Sound is little, and nobody waits for a picture to hear it.
                if codec.kind() == MediaKind::Video && !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                if self.track.write_rtp(rtp::Packet { header, payload }).await.is_err() {
                    break 'frames;
                }
            }
            self.hold(&frames, false);
            report.frames_sent += 1;
            if let Some(count) = report.key_frames_sent.as_mut().filter(|_| frame.key) {
                *count += 1;
            }
            self.shared.live.note_sent(&report);
        }
        self.handed_over(report.packets_sent).await;
        Ok(self.with_reception(report))
    }

    /// Makes the encoder wait while `long` or while frames pile up: each would only be late, and a queue that runs over
    /// costs a key frame.
    fn hold(&self, frames: &Receiver<EncodedFrame>, long: bool) {
        const FEW: usize = 1;
        self.control.hold(long || frames.waiting() > FEW);
    }

    /// Waits until the kernel has what was written to the library. It queues packets, and forgets the queue when the
    /// connection is closed: the last frames of a file would be lost.
    async fn handed_over(&self, packets: u64) {
        const LOOK_EVERY: Duration = Duration::from_millis(1);
        const PATIENCE: Duration = Duration::from_millis(200);
        const SETTLING: Duration = Duration::from_millis(50);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let left = self.departures.of(self.ssrc);
            // Through a relay nothing is seen to leave; then the library's own count, which is a moment early, has to do.
            let over = if left == 0 { self.taken(begin).await } else { Some(left) };
            if over.is_none_or(|over| over >= packets) {
                // A goodbye on the heels of the last packet overtakes it inside of a busy peer.
                tokio::time::sleep(SETTLING).await;
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Packets that the library counts as sent.
    async fn taken(&self, now: Instant) -> Option<u64> {
        let stats = self.sender.get_stats(now).await.ok()?;
        taken_of(&stats, self.ssrc)
    }

    async fn negotiated_payload_type(&self, form: Form) -> Result<u8, PeerError> {
        let parameters =
            self.sender.get_parameters().await.map_err(PeerError::library("reading the negotiated codecs"))?;
        agreed_payload_type(&parameters.rtp_parameters.codecs, form).ok_or_else(|| PeerError::Description {
            what: "answer",
            why: format!("the peer does not take {}", form.codec.mime_type()),
        })
    }

    fn with_reception(&self, mut report: SentReport) -> SentReport {
        if let Some(reception) = self.shared.rtcp.reception(self.ssrc) {
            report.round_trip_time = reception.round_trip_time.map(|time| time.as_secs_f64());
            report.packets_lost = reception.packets_lost;
            report.fraction_lost = reception.fraction_lost;
            report.jitter = f64::from(reception.jitter) / f64::from(self.codec().clock_rate().get());
        }
        if self.codec().kind() == MediaKind::Video {
            report.pli_count = Some(self.shared.rtcp.key_frame_requests(self.ssrc));
            report.target_bitrate = self.control.bitrate();
        }
        report
    }
}

fn taken_of(stats: &RTCStatsReport, ssrc: u32) -> Option<u64> {
    let mut streams = stats.outbound_rtp_streams().map(|stream| &stream.sent_rtp_stream_stats);
    streams.find(|stream| stream.rtp_stream_stats.ssrc == ssrc).map(|stream| stream.packets_sent)
}

/// A number that an outsider cannot guess, as RFC 3550 wants for SSRC, first sequence number and first timestamp.
pub(super) fn random_u32() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    u32::try_from(RandomState::new().hash_one(0u8) >> 32).expect("shifted to 32 bits")
}
