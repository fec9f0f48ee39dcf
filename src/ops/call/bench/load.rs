//! What is sent as fast as it may be, and how it is counted.

use super::{BenchMode, BenchReport, CODEC, PingReport, rate, tell};
use crate::error::{Error, ErrorKind};
use crate::media::{EncodedFrame, MediaTime};
use crate::peer::{DataChannel, DataMessage, LocalTrack, PeerError, RemoteTrack, Session, StatsKind};
use crate::pipeline::queue::{Overflow, Sent as Queued, bounded};
use crate::progress::Progress;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Bytes of a message: enough datagrams for one system call to send many.
const MESSAGE: usize = 64 << 10;
/// How long what waits to be sent may take: more only makes everything else late.
const BACKLOG: f64 = 0.25;
/// The least and the most that may wait, in bytes.
const LEAST_BACKLOG: f64 = 256e3;
const MOST_BACKLOG: f64 = 4e6;
/// RTP is sent in bursts of this, as pictures are.
const TICK: Duration = Duration::from_millis(20);
/// What is sent at first, in bits per second, where nobody knows more.
const START: u32 = 400_000;
/// The most bytes of one burst: a tick at the most that congestion control allows, and some that were missed.
const MOST_BURST: usize = 1 << 20;
/// How long the last packets may take.
const STRAGGLERS: Duration = Duration::from_millis(500);
/// How often it is looked how much has come.
const SECOND: Duration = Duration::from_secs(1);

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// Payload.
    pub bytes: u64,
    /// RTP packets.
    pub packets: u64,
    /// What congestion control allowed at the end.
    pub target: Option<u32>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counted {
    bytes: u64,
    seconds: f64,
    intervals: Vec<f64>,
    packets: u64,
    jitter: f64,
}

impl Counted {
    /// The report of whoever sent it.
    pub fn report(self, mode: BenchMode, sent: &Sent, ping: PingReport) -> BenchReport {
        let Self { bytes, seconds, intervals, packets, jitter } = self;
        let rtp = mode == BenchMode::Rtp;
        let lost = sent.packets.saturating_sub(packets);
        BenchReport {
            mode,
            direction: "send".to_owned(),
            seconds,
            bytes,
            bits_per_second: rate(bytes, seconds),
            intervals,
            packets_sent: rtp.then_some(sent.packets),
            packets_lost: rtp.then_some(lost),
            fraction_lost: (rtp && sent.packets > 0).then(|| lost as f64 / sent.packets as f64),
            jitter: rtp.then_some(jitter),
            target_bitrate: sent.target,
            ping,
        }
    }
}

/// Counts by the second.
struct Meter<'a> {
    progress: &'a dyn Progress,
    began: Option<Instant>,
    last: Instant,
    bytes: u64,
    told: (Instant, u64),
    intervals: Vec<f64>,
}

impl<'a> Meter<'a> {
    fn new(progress: &'a dyn Progress) -> Self {
        let now = Instant::now();
        Self { progress, began: None, last: now, bytes: 0, told: (now, 0), intervals: Vec::new() }
    }

    /// So much is there now.
    fn reach(&mut self, bytes: u64, now: Instant) {
        if bytes > self.bytes {
            let began = *self.began.get_or_insert(now);
            (self.bytes, self.last) = (bytes, now);
            if began == now {
                self.told.0 = now;
            }
        }
        if self.began.is_some() && now - self.told.0 >= SECOND {
            self.end_interval(now);
        }
    }

    fn end_interval(&mut self, now: Instant) {
        let (since, before) = std::mem::replace(&mut self.told, (now, self.bytes));
        let bits = rate(self.bytes - before, (now - since).as_secs_f64());
        self.intervals.push(bits);
        tell(self.progress, self.seconds(now), bits);
    }

    fn seconds(&self, now: Instant) -> f64 {
        self.began.map_or(0.0, |began| (now - began).as_secs_f64())
    }

    fn counted(mut self, packets: u64, jitter: f64) -> Counted {
        const SCRAP: Duration = Duration::from_millis(100);
        if self.bytes > self.told.1 && self.last > self.told.0 + SCRAP {
            self.end_interval(self.last);
        }
        let seconds = self.seconds(self.last);
        Counted { bytes: self.bytes, seconds, intervals: self.intervals, packets, jitter }
    }
}

/// Sends messages for so long, no more of them at a time than the path takes soon.
pub(super) async fn send_messages(
    channel: &DataChannel,
    duration: Duration,
    progress: &dyn Progress,
) -> Result<Sent, Error> {
    const LOOK_EVERY: Duration = Duration::from_millis(1);
    let size = MESSAGE.min(channel.max_message_size());
    let message = Bytes::from(vec![0x5a; size]);
    let (began, mut sent, mut meter) = (Instant::now(), Sent::default(), Meter::new(progress));
    while began.elapsed() < duration {
        let waiting = channel.outstanding().await.ok_or_else(|| PeerError::HungUp.erase())? as u64;
        let arrived = sent.bytes.saturating_sub(waiting);
        meter.reach(arrived, Instant::now());
        let carried = arrived as f64 / began.elapsed().as_secs_f64();
        if waiting as f64 > (carried * BACKLOG).clamp(LEAST_BACKLOG, MOST_BACKLOG) {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        channel.send_owned(DataMessage::Binary(message.clone())).await.map_err(PeerError::erase)?;
        sent.bytes += size as u64;
    }
    Ok(sent)
}

/// Counts messages until all that the sender tells of in the `end` are there.
pub(super) async fn count_messages(
    channel: &DataChannel,
    end: impl Future<Output = Result<Sent, Error>>,
    progress: &dyn Progress,
) -> Result<Counted, Error> {
    let mut end = std::pin::pin!(end);
    let (mut meter, mut bytes, mut due) = (Meter::new(progress), 0, None::<u64>);
    while due.is_none_or(|due| bytes < due) {
        tokio::select! {
            message = channel.receive() => {
                bytes += message.ok_or_else(|| PeerError::HungUp.erase())?.len() as u64;
                meter.reach(bytes, Instant::now());
            }
            sent = &mut end, if due.is_none() => due = Some(sent?.bytes),
        }
    }
    Ok(meter.counted(0, 0.0))
}

/// Sends RTP for so long, as much as congestion control and `most` allow.
pub(super) async fn send_rtp(
    track: LocalTrack,
    duration: Duration,
    most: Option<u32>,
    progress: &dyn Progress,
) -> Result<Sent, Error> {
    // Few wait: the encoder that this stands for would make none meanwhile.
    const WAITING: usize = 2;
    let control = track.control();
    let (queue, frames) = bounded(WAITING, Overflow::DropToKeyframe);
    let (began, mut last) = (Instant::now(), Instant::now());
    let running = tokio::spawn(track.run(Arc::new(frames), SystemTime::now()));
    let pictures = [false, true].map(picture);
    let (mut meter, mut made) = (Meter::new(progress), 0);
    let mut tick = tokio::time::interval(TICK);
    let mut begun = false;
    while began.elapsed() < duration && !running.is_finished() {
        tick.tick().await;
        let now = Instant::now();
        let since = std::mem::replace(&mut last, now);
        let allowed = control.bitrate().unwrap_or(START).min(most.unwrap_or(u32::MAX));
        if control.is_held() {
            continue;
        }
        let key = control.take_key_frame_request() || !begun;
        begun = true;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "limited to a burst")]
        let size = (f64::from(allowed) / 8.0 * (now - since).max(TICK / 2).as_secs_f64()) as usize;
        let data = pictures[usize::from(key)].slice(..size.clamp(HEADER, MOST_BURST));
        let size = data.len() as u64;
        let micros = i64::try_from((now - began).as_micros()).unwrap_or(i64::MAX);
        let frame = EncodedFrame { codec: CODEC, time: MediaTime::from_micros(micros), key, data };
        match queue.send(frame) {
            Ok(Queued::Queued) => made += size,
            Ok(Queued::NeedsKey) => begun = false,
            Err(_) => break,
        }
        meter.reach(made, now);
    }
    drop(queue);
    let report = match running.await {
        Ok(report) => report.map_err(PeerError::erase)?,
        Err(error) => return Err(Error::new(ErrorKind::Internal, "OperationError", error.to_string())),
    };
    Ok(Sent { bytes: report.bytes_sent, packets: report.packets_sent, target: control.bitrate() })
}

/// Bytes of the header of a key frame of VP8 (RFC 6386 section 9.1).
const HEADER: usize = 10;

/// The longest picture, of which any beginning is one as far as packets go.
fn picture(key: bool) -> Bytes {
    let mut bytes = vec![0x5a; MOST_BURST];
    // 16x16 pixels, shown.
    bytes[..HEADER].copy_from_slice(&[0x10, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0]);
    if !key {
        bytes[0] |= 1;
    }
    bytes.into()
}

/// Counts RTP until the sender tells that all is sent, and a moment longer.
pub(super) async fn count_rtp(
    session: &Session,
    tracks: &mut mpsc::Receiver<RemoteTrack>,
    end: impl Future<Output = Result<Sent, Error>>,
    progress: &dyn Progress,
) -> Result<Counted, Error> {
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    const QUEUE: usize = 64;
    let mut end = std::pin::pin!(end);
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut meter = Meter::new(progress);
    let mut over = None::<tokio::time::Instant>;
    let mut taking = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            Some(track) = tracks.recv() => {
                let (queue, frames) = bounded(QUEUE, Overflow::DropToKeyframe);
                taking.spawn(async move { while frames.recv_async().await.is_some() {} });
                taking.spawn(async move { drop(track.run(Arc::new(queue)).await) });
            }
            _ = look.tick() => {
                let (bytes, packets, jitter) = received(session).await;
                meter.reach(bytes, Instant::now());
                if over.is_some_and(|over| tokio::time::Instant::now() >= over) {
                    return Ok(meter.counted(packets, jitter));
                }
            }
            sent = &mut end, if over.is_none() => {
                sent?;
                over = Some(tokio::time::Instant::now() + STRAGGLERS);
            }
        }
    }
}

/// Payload bytes and packets of RTP that have come, and their jitter.
async fn received(session: &Session) -> (u64, u64, f64) {
    let mut all = (0, 0, 0.0);
    for object in session.stats().await {
        if let StatsKind::InboundRtp { bytes_received, packets_received, jitter, .. } = object.kind {
            all = (all.0 + bytes_received, all.1 + packets_received, jitter);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame_header;
    use crate::progress::Silent;

    #[test]
    fn seconds_are_counted_from_what_came_first_to_what_came_last() {
        let mut meter = Meter::new(&Silent);
        let began = Instant::now() + Duration::from_secs(5);
        let at = |millis| began + Duration::from_millis(millis);
        meter.reach(0, at(0));
        for (millis, bytes) in [(0, 1000), (500, 2000), (1000, 3000), (1900, 4000), (2000, 4000), (2500, 6000)] {
            meter.reach(bytes, at(millis));
        }
        let counted = meter.counted(6, 0.001);
        assert_eq!((counted.bytes, counted.seconds), (6000, 2.5));
        assert_eq!(counted.intervals, [24_000.0, 8_000.0, 32_000.0]);
        let sent = Sent { bytes: 8000, packets: 8, target: Some(1) };
        let report = counted.report(BenchMode::Rtp, &sent, PingReport::default());
        assert_eq!(
            (report.packets_lost, report.fraction_lost, report.bits_per_second),
            (Some(2), Some(0.25), 19_200.0)
        );
    }

    #[test]
    fn any_beginning_of_a_picture_is_one_of_its_kind() {
        for key in [false, true] {
            for size in [HEADER, MOST_BURST] {
                assert_eq!(frame_header(CODEC, &picture(key)[..size]).map(|header| header.key), Some(key), "{size}");
            }
        }
    }
}
