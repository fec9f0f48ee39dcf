//! One of the connections that content goes by.

use super::channel::{Connection, Frame, Silence};
use super::growth::FAR;
use crate::error::Error;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long content may take through the queue of one connection: as long as it takes until the peer has acknowledged twice as
/// much, so that a window that opens is filled, and these bounds.
const LEAST_TIME: Duration = Duration::from_millis(100);
const MOST_TIME: Duration = Duration::from_millis(500);
/// Bytes that may be in it before its pace is known, and at least.
const FIRST_QUEUE: usize = 64 << 10;
const LEAST_QUEUE: usize = 96 << 10;
/// And at most: on a short path what is in it only takes memory, on a long one it fills the path.
const MOST_NEAR: usize = 1 << 20;
const MOST_FAR: usize = 4 << 20;
/// What of a queue is kept at least from one look to the next, since some intervals see nothing acknowledged.
const KEPT: f64 = 0.8;
/// How often to look whether a connection has room: one that is fast, and one that is slow.
const ROOM_EVERY: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(8)];
/// How long a connection may have nothing acknowledged of what is outstanding, at most and at least: an association that gave
/// up says nothing, and one that still tries waits up to 32 times its first time-out, of two round trips, between its attempts.
pub(super) const STALLED: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });
const LEAST_STALLED: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 8 });
const ATTEMPT: u32 = 64;
/// The same within the machine, by packets that the path may not take: an answer takes no time.
const STALLED_NEAR: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 2000 });
/// When not even checks of connectivity come for so long, it is the path that is interrupted, for however long that is. They
/// come every second.
const INTERRUPTED: Duration = Duration::from_secs(3);

/// A connection that content goes by.
pub(super) struct Lane {
    pub connection: Box<dyn Connection>,
    sent: AtomicU64,
    /// Bytes that may be outstanding.
    queue: AtomicUsize,
    acknowledged: AtomicU64,
    /// Bytes that had left when it was last measured.
    left: AtomicU64,
    /// Whether it stays within the machine, with packets that may be too large for its path.
    large: bool,
}

impl Lane {
    pub(super) fn new(connection: Box<dyn Connection>, large: bool) -> Self {
        Self {
            connection,
            large,
            sent: AtomicU64::new(0),
            queue: AtomicUsize::new(FIRST_QUEUE),
            acknowledged: AtomicU64::new(0),
            left: AtomicU64::new(0),
        }
    }

    /// Waits until it has room. One that is closed has: sending says so.
    pub(super) async fn room(&self) {
        loop {
            let queue = self.queue.load(Ordering::Relaxed);
            if self.connection.outstanding().await.is_none_or(|bytes| bytes < queue) {
                return;
            }
            tokio::time::sleep(ROOM_EVERY[usize::from(queue < MOST_NEAR / 2)]).await;
        }
    }

    pub(super) async fn send(&self, frame: Frame) -> Result<(), Error> {
        let length = match &frame {
            Frame::Text(text) => text.len(),
            Frame::Binary(message) => message.len(),
        };
        self.sent.fetch_add(length as u64, Ordering::Relaxed);
        self.connection.send(frame).await
    }

    /// Whether the peer may lack something of what was sent.
    pub(super) async fn owes(&self) -> bool {
        match self.connection.outstanding().await {
            Some(outstanding) => outstanding > 0,
            None => self.sent.load(Ordering::Relaxed) > self.acknowledged.load(Ordering::Relaxed),
        }
    }

    /// Waits until it is clear that what is outstanding will never be acknowledged, although the path is there.
    pub(super) async fn stalls(&self) {
        let round_trip = self.connection.round_trip().unwrap_or_default();
        let patience = (round_trip * ATTEMPT).clamp(LEAST_STALLED, STALLED);
        self.stands_still(if self.large { STALLED_NEAR } else { patience }).await;
    }

    /// Waits until nothing of what is outstanding was acknowledged for `patience`, nor anything else came but connectivity checks.
    pub(super) async fn stands_still(&self, patience: Duration) {
        let (mut since, mut last) = (Instant::now(), 0);
        loop {
            tokio::time::sleep(patience / 20).await;
            let outstanding = self.connection.outstanding().await.unwrap_or(0);
            let acknowledged = self.sent.load(Ordering::Relaxed).saturating_sub(outstanding as u64);
            let silence = self.connection.silence();
            let interrupted = silence.is_some_and(|silence| silence.all >= INTERRUPTED.min(patience / 4 * 3));
            if acknowledged != last || outstanding == 0 || interrupted {
                (since, last) = (Instant::now(), acknowledged);
            }
            // Checks that came in the later half show that the path is there.
            let fails = |silence: Silence| silence.data >= patience / 2 && silence.all <= silence.data / 2;
            if since.elapsed() >= patience && silence.is_none_or(fails) {
                return;
            }
        }
    }

    /// Bytes acknowledged since the last time, by which the queue is measured, bytes that left, and bytes outstanding.
    pub(super) async fn measure(&self, seconds: f64) -> (u64, u64, usize) {
        let sent = self.connection.bytes_sent();
        let left = sent - self.left.swap(sent, Ordering::Relaxed);
        let Some(outstanding) = self.connection.outstanding().await else { return (0, left, 0) };
        let acknowledged = self.sent.load(Ordering::Relaxed).saturating_sub(outstanding as u64);
        let before = self.acknowledged.swap(acknowledged, Ordering::Relaxed);
        let gained = acknowledged.saturating_sub(before);
        if gained > 0 {
            let round_trip = self.connection.round_trip().unwrap_or_default();
            let most = if round_trip >= FAR { MOST_FAR } else { MOST_NEAR };
            let time = (round_trip * 2).clamp(LEAST_TIME, MOST_TIME);
            let last = self.queue.load(Ordering::Relaxed) as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate is neither negative nor huge"
            )]
            let fits = (gained as f64 / seconds.max(1e-3) * time.as_secs_f64()).max(last * KEPT) as usize;
            self.queue.store(fits.clamp(LEAST_QUEUE, most), Ordering::Relaxed);
        }
        (gained, left, outstanding)
    }
}
