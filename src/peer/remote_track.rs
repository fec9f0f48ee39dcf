//! A track that we receive: RTP in, encoded frames out, on a timeline that all tracks of the session share.

use super::congestion::Congestion;
use super::jitter::{Departure, JitterBuffer};
use super::payload::{assemble, depacketise};
use super::rtcp::RtcpState;
use super::statistics::Live;
use super::timing::{Mark, Timing};
use super::traffic::RoundTrips;
use crate::media::{Codec, EncodedFrame, MediaKind, MediaTime, opus_packet_samples};
use crate::pipeline::queue::{Sender, Sent};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use serde::Serialize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

/// What was received on one track, in the words of webrtc-stats `inbound-rtp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedReport {
    /// `audio` or `video`.
    pub kind: String,
    /// The RTP media type.
    pub mime_type: String,
    /// The RTP stream.
    pub ssrc: u32,
    /// Packets received, padding and retransmissions included.
    pub packets_received: u64,
    /// Payload bytes of those packets.
    pub bytes_received: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// Whole frames received.
    pub frames_received: u64,
    /// Key frames among them; video only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_frames_received: Option<u64>,
    /// Key frames that we asked for; video only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pli_count: Option<u64>,
    /// Interarrival jitter in seconds (RFC 3550 section 6.4.1).
    pub jitter: f64,
}

/// Asks the sender of a track for a key frame. Clones ask the same one.
#[derive(Clone, Debug, Default)]
pub struct KeyFrameRequester {
    notify: Arc<Notify>,
}

impl KeyFrameRequester {
    /// Asks. Requests in quick succession are merged.
    pub fn request(&self) {
        self.notify.notify_one();
    }
}

/// What all tracks of one session share.
#[derive(Debug)]
pub(super) struct Shared {
    pub rtcp: Arc<RtcpState>,
    pub congestion: Arc<Congestion>,
    pub round_trips: Arc<RoundTrips>,
    pub timing: Arc<Timing>,
    pub live: Live,
    /// When the first packet of any track came: the zero of the session's timeline.
    pub origin: OnceLock<Instant>,
    /// The track that others are aligned to: its first packet's arrival and its clock. The first that came, until there is sound.
    pub reference: Mutex<Option<Reference>>,
}

/// Where the timeline and the RTP clock of the reference track met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    kind: MediaKind,
    ssrc: u32,
    timestamp: i64,
    clock_rate: f64,
    seconds: f64,
}

/// A track that we receive. Comes out of [`Session::next_track`](super::Session::next_track).
pub struct RemoteTrack {
    track: Arc<dyn TrackRemote>,
    ssrc: u32,
    section: Option<String>,
    codec: Codec,
    /// What it may be coded as, by payload type.
    codecs: Vec<(u8, Codec)>,
    shared: Arc<Shared>,
    key_frames: KeyFrameRequester,
}

impl RemoteTrack {
    /// How long a missing packet is waited for at first.
    const PATIENCE: Duration = Duration::from_millis(300);
    /// The longest that a picture stands still for it.
    const MOST_PATIENCE: Duration = Duration::from_millis(800);
    /// A sender begins with a key frame; it gets this long to complete.
    const FIRST_KEY_FRAME: Duration = Duration::from_millis(200);
    /// At most so often is a key frame asked for.
    const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(500);

    pub(super) fn new(track: Arc<dyn TrackRemote>, ssrc: u32, codec: Codec, shared: Arc<Shared>) -> Self {
        Self { track, ssrc, section: None, codec, codecs: Vec::new(), shared, key_frames: KeyFrameRequester::default() }
    }

    /// Says by which media section it comes.
    pub(super) fn of_section(self, section: Option<String>) -> Self {
        Self { section, ..self }
    }

    /// Says what it may be coded as: a sender may change that at any time.
    pub(super) fn which_may_be(self, codecs: Vec<(u8, Codec)>) -> Self {
        Self { codecs, ..self }
    }

    /// The name of the media section that it comes by (RFC 5888 `mid`), where that is known.
    pub fn section(&self) -> Option<&str> {
        self.section.as_deref()
    }

    /// How its frames are coded, at first.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The RTP stream that it comes by.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Tells the zero of the timeline of its frames, once any came.
    pub fn zero(&self) -> impl Fn() -> Option<Instant> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.origin.get().copied()
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    /// The way back to its sender.
    pub fn key_frames(&self) -> KeyFrameRequester {
        self.key_frames.clone()
    }

    /// The same, asked for key frames by who asked another before it.
    #[must_use]
    pub fn asked_by(self, key_frames: KeyFrameRequester) -> Self {
        Self { key_frames, ..self }
    }

    /// Gives whole frames to `frames` until the connection ends or the receiver is gone.
    pub async fn run(self, frames: Arc<Sender<EncodedFrame>>) -> ReceivedReport {
        let video = self.kind() == MediaKind::Video;
        let mut report = ReceivedReport {
            kind: self.kind().to_string(),
            mime_type: self.codec.mime_type().to_owned(),
            ssrc: self.ssrc,
            key_frames_received: video.then_some(0),
            pli_count: video.then_some(0),
            ..ReceivedReport::default()
        };
        let mut codec = self.codec;
        let mut buffer = if video { JitterBuffer::video(Self::PATIENCE) } else { JitterBuffer::audio(Self::PATIENCE) };
        let mut timeline = None;
        let mut jitter = Jitter::default();
        let mut asked: Option<Instant> = None;
        let mut first_packet = None;
        let (mut payload_type, mut newest) = (None, None);
        let mut over = false;
        while !over {
            let deadline = buffer.deadline();
            let mut wants_key = false;
            tokio::select! {
                event = self.track.poll() => match event {
                    Some(TrackRemoteEvent::OnRtpPacket(mut packet)) => {
                        let now = Instant::now();
                        first_packet.get_or_insert(now);
                        report.packets_received += 1;
                        report.bytes_received += packet.payload.len() as u64;
                        let (kind, sequence) = (packet.header.payload_type, packet.header.sequence_number);
                        let said = self.codecs.iter().find(|(agreed, _)| *agreed == kind).map(|(_, codec)| *codec);
                        let is_newest = newest.is_none_or(|newest: u16| sequence.wrapping_sub(newest) < 1 << 15);
                        match said {
                            Some(other) if other != codec && is_newest => {
                                if other.clock_rate() != codec.clock_rate() {
                                    timeline = None;
                                    jitter = Jitter::default();
                                }
                                buffer.begin_anew();
                                codec = other;
                                wants_key |= video;
                            }
                            Some(other) if other == codec => {}
                            None if self.codecs.is_empty() && *payload_type.get_or_insert(kind) == kind => {}
                            // Of something else that the stream carries, or of before a change: it only takes a sequence number.
                            _ => packet.payload.clear(),
                        }
                        if is_newest {
                            newest = Some(sequence);
                        }
                        jitter.note(packet.header.timestamp, codec, now);
                        buffer.set_patience(self.patience(&jitter, codec));
                        if let Some(arrival) = depacketise(codec, packet) {
                            timeline.get_or_insert_with(|| {
                                let held = sound_in(codec, &arrival.payload);
                                Timeline::begin(&self.shared, self.ssrc, codec, now - held)
                            });
                            buffer.insert(arrival, now);
                        }
                    }
                    Some(TrackRemoteEvent::OnEnded | TrackRemoteEvent::OnError) | None => over = true,
                    Some(_) => {}
                },
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {}
                () = self.key_frames.notify.notified(), if video => wants_key = true,
            }
            // Nothing more comes to fill a gap: what is behind it goes out at once.
            let now = if over { Instant::now() + Self::MOST_PATIENCE } else { Instant::now() };
            while let Some(departure) = buffer.pop(now) {
                match (departure, &mut timeline) {
                    (Departure::Frame { timestamp, key, parts }, Some(timeline)) => {
                        let Some(data) = assemble(codec, parts) else {
                            wants_key |= video;
                            continue;
                        };
                        if report.frames_received == 0 {
                            self.shared.timing.mark(Mark::FirstFrameReceived);
                        }
                        report.frames_received += 1;
                        if let Some(count) = report.key_frames_received.as_mut().filter(|_| key) {
                            *count += 1;
                        }
                        let time = timeline.time_of(timestamp);
                        match frames.send(EncodedFrame { codec, time, key, data }) {
                            Ok(Sent::Queued) => {}
                            Ok(Sent::NeedsKey) => wants_key = true,
                            Err(_) => return finished(report, &buffer, &jitter, codec),
                        }
                    }
                    _ => wants_key |= video,
                }
            }
            self.shared.live.note_received(&finished(report.clone(), &buffer, &jitter, codec));
            wants_key |=
                buffer.awaits_key() && first_packet.is_some_and(|at: Instant| at.elapsed() > Self::FIRST_KEY_FRAME);
            if wants_key && asked.is_none_or(|at| at.elapsed() >= Self::KEY_FRAME_INTERVAL) {
                asked = Some(Instant::now());
                *report.pli_count.get_or_insert(0) += 1;
                let request = PictureLossIndication { sender_ssrc: 0, media_ssrc: self.ssrc };
                if let Err(error) = self.track.write_rtcp(vec![Box::new(request)]).await {
                    tracing::debug!("cannot ask for a key frame: {error}");
                }
            }
        }
        finished(report, &buffer, &jitter, codec)
    }
}

impl RemoteTrack {
    /// Of video, three rounds of retransmission. Of sound, which is not sent again, as late as packets come here.
    fn patience(&self, jitter: &Jitter, codec: Codec) -> Duration {
        match self.kind() {
            MediaKind::Video => {
                let round_trip = self.shared.round_trips.last().unwrap_or_default();
                (round_trip * 4 + Duration::from_millis(100)).clamp(Self::PATIENCE, Self::MOST_PATIENCE)
            }
            MediaKind::Audio => {
                const LEAST: Duration = Duration::from_millis(60);
                let seconds = jitter.ticks / f64::from(codec.clock_rate().get());
                Duration::from_secs_f64(seconds * 6.0).clamp(LEAST, Self::PATIENCE)
            }
        }
    }
}

/// How long before its arrival the beginning of a packet was captured, at the least: audio waits for its own end.
fn sound_in(codec: Codec, payload: &[u8]) -> Duration {
    let samples = match codec {
        Codec::Opus => opus_packet_samples(payload).unwrap_or(0),
        Codec::Pcmu | Codec::Pcma => payload.len(),
        Codec::Vp8 | Codec::Vp9 | Codec::H264 | Codec::Av1 => 0,
    };
    Duration::from_secs_f64(samples as f64 / f64::from(codec.clock_rate().get()))
}

fn finished(mut report: ReceivedReport, buffer: &JitterBuffer, jitter: &Jitter, codec: Codec) -> ReceivedReport {
    report.packets_lost = buffer.lost_packets();
    report.jitter = jitter.ticks / f64::from(codec.clock_rate().get());
    report
}

/// Interarrival jitter, RFC 3550 appendix A.8.
#[derive(Debug, Default)]
struct Jitter {
    last: Option<(u32, Instant)>,
    ticks: f64,
}

impl Jitter {
    fn note(&mut self, timestamp: u32, codec: Codec, now: Instant) {
        if let Some((last_timestamp, last_arrival)) = self.last {
            let sent = f64::from(timestamp.wrapping_sub(last_timestamp).cast_signed());
            let arrived = now.duration_since(last_arrival).as_secs_f64() * f64::from(codec.clock_rate().get());
            self.ticks += ((arrived - sent).abs() - self.ticks) / 16.0;
        }
        self.last = Some((timestamp, now));
    }
}

/// Maps a track's RTP timestamps to the session's timeline: this is the one place where remote time gets its origin.
///
/// By the common clock of this track and the reference track where sender reports of both are in by the first frame, as ours are.
/// Else at first by the arrival of the first packet, and later that clock corrects it, a little with each frame so that time never
/// jumps: pictures rather than sound.
struct Timeline {
    shared: Arc<Shared>,
    kind: MediaKind,
    ssrc: u32,
    clock_rate: f64,
    began_seconds: f64,
    first: Option<i64>,
    correction: f64,
}

impl Timeline {
    /// The zero lies this far before the first packet, so that a track found to have begun earlier has room.
    const LEAD: Duration = Duration::from_millis(20);
    /// The most that one frame moves against its neighbour: what is not heard, and what is not seen.
    const fn slew(kind: MediaKind) -> f64 {
        match kind {
            MediaKind::Audio => 0.002,
            MediaKind::Video => 0.006,
        }
    }

    /// Beyond this the two clocks do not belong together.
    const MOST_SKEW: f64 = 2.0;

    fn begin(shared: &Arc<Shared>, ssrc: u32, codec: Codec, now: Instant) -> Self {
        let origin = *shared.origin.get_or_init(|| now - Self::LEAD);
        Self {
            shared: Arc::clone(shared),
            kind: codec.kind(),
            ssrc,
            clock_rate: f64::from(codec.clock_rate().get()),
            began_seconds: now.saturating_duration_since(origin).as_secs_f64(),
            first: None,
            correction: 0.0,
        }
    }

    fn time_of(&mut self, timestamp: i64) -> MediaTime {
        let begins = self.first.is_none();
        let first = *self.first.get_or_insert(timestamp);
        let mut reference = self.shared.reference.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = reference.as_ref().filter(|other| other.ssrc != self.ssrc)
            && let Some(wanted) = self.wanted_correction(first, other)
        {
            let (most, left) = (Self::slew(self.kind), wanted - self.correction);
            self.correction += if begins { left } else { left.clamp(-most, most) };
        }
        if begins && reference.is_none_or(|other| other.kind == MediaKind::Video && self.kind == MediaKind::Audio) {
            let (kind, ssrc, clock_rate) = (self.kind, self.ssrc, self.clock_rate);
            let seconds = self.began_seconds + self.correction;
            *reference = Some(Reference { kind, ssrc, timestamp: first, clock_rate, seconds });
        }
        drop(reference);
        let seconds = self.began_seconds + self.correction + (timestamp - first) as f64 / self.clock_rate;
        #[expect(clippy::cast_possible_truncation, reason = "microseconds of a session fit 63 bits")]
        MediaTime::from_micros((seconds * 1e6).round().max(0.0) as i64)
    }

    /// How far the arrival of this track's first packet was off, by both senders' clocks.
    fn wanted_correction(&self, first: i64, reference: &Reference) -> Option<f64> {
        let ours = ntp_of(&self.shared.rtcp, self.ssrc, first, self.clock_rate)?;
        let theirs = ntp_of(&self.shared.rtcp, reference.ssrc, reference.timestamp, reference.clock_rate)?;
        let wanted = (ours - theirs) - (self.began_seconds - reference.seconds);
        (wanted.abs() <= Self::MOST_SKEW).then_some(wanted)
    }
}

fn ntp_of(rtcp: &RtcpState, ssrc: u32, timestamp: i64, clock_rate: f64) -> Option<f64> {
    let clock = rtcp.sender_clock(ssrc)?;
    let at_report = super::jitter::unwrap_timestamp(timestamp, clock.rtp_time);
    Some(clock.ntp_seconds + (timestamp - at_report) as f64 / clock_rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::rtcp::sender_report::SenderReport;

    const SOUND: u32 = 1;
    const PICTURES: u32 = 2;

    fn shared() -> Arc<Shared> {
        Arc::new(Shared {
            rtcp: Arc::default(),
            congestion: Arc::new(Congestion::new()),
            round_trips: Arc::default(),
            timing: Arc::new(Timing::new(Instant::now())),
            live: Live::default(),
            origin: OnceLock::new(),
            reference: Mutex::default(),
        })
    }

    /// Both clocks were at zero at the same moment.
    fn report(shared: &Shared) {
        for ssrc in [SOUND, PICTURES] {
            let report = SenderReport { ssrc, ntp_time: 4_000_000_000 << 32, ..SenderReport::default() };
            shared.rtcp.received(&[Box::new(report)], Instant::now());
        }
    }

    /// The first sound at once, and the first picture 200 ms after it, though it is as old.
    fn begun(shared: &Arc<Shared>) -> [Timeline; 2] {
        let now = Instant::now();
        let late = now + Duration::from_millis(200);
        [Timeline::begin(shared, SOUND, Codec::Opus, now), Timeline::begin(shared, PICTURES, Codec::Vp8, late)]
    }

    #[test]
    fn what_belongs_together_is_together_from_the_first_frame_on_where_reports_came_before_it() {
        for sound_first in [true, false] {
            let shared = shared();
            report(&shared);
            let [mut sound, mut pictures] = begun(&shared);
            let times = match sound_first {
                true => [sound.time_of(0), pictures.time_of(0)],
                false => {
                    let time = pictures.time_of(0);
                    [sound.time_of(0), time]
                }
            };
            assert!(times[0].minus(times[1]).micros().abs() < 10, "{times:?}");
            assert!(pictures.time_of(90_000).minus(sound.time_of(48_000)).micros().abs() < 10);
        }
    }

    #[test]
    fn where_reports_come_late_pictures_move_to_the_sound_a_little_with_each() {
        for sound_first in [true, false] {
            let shared = shared();
            let [mut sound, mut pictures] = begun(&shared);
            if sound_first {
                sound.time_of(0);
            }
            let first = pictures.time_of(0);
            let mut last = first;
            let begins = sound.time_of(0);
            assert_eq!(first.minus(begins).micros(), 200_000);
            report(&shared);
            for n in 1..=40_i64 {
                let time = pictures.time_of(n * 3_000);
                assert!((27_000..=33_400).contains(&time.minus(last).micros()), "{n}: {time:?} after {last:?}");
                last = time;
            }
            assert_eq!(sound.time_of(40 * 1_600), begins.plus(MediaTime::from_micros(40 * 1_000_000 / 30)));
            assert!(last.minus(sound.time_of(40 * 1_600)).micros().abs() < 10, "{last:?}");
        }
    }
}
