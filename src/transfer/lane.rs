//! One of the connections that content goes by, and what is kept of it until the receiver has it.

use super::channel::{Connection, Frame, Silence};
use crate::error::Error;
use bytes::{Buf, Bytes};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long content may take through the queue of one connection.
const QUEUE: f64 = 0.25;
/// Bytes that may be in it before its pace is known, and at least.
const FIRST_QUEUE: usize = 128 << 10;
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
/// Bytes that are kept at most; a receiver that lets more come together does not say what it has.
const MOST_KEPT: usize = 24 << 20;

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

    /// Bytes acknowledged since the last time, by which the queue is measured, and bytes that left.
    pub(super) async fn measure(&self, seconds: f64, far: bool) -> (u64, u64) {
        let sent = self.connection.bytes_sent();
        let left = sent - self.left.swap(sent, Ordering::Relaxed);
        let Some(outstanding) = self.connection.outstanding().await else { return (0, left) };
        let acknowledged = self.sent.load(Ordering::Relaxed).saturating_sub(outstanding as u64);
        let before = self.acknowledged.swap(acknowledged, Ordering::Relaxed);
        let gained = acknowledged.saturating_sub(before);
        if gained > 0 {
            let most = if far { MOST_FAR } else { MOST_NEAR };
            let last = self.queue.load(Ordering::Relaxed) as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate is neither negative nor huge"
            )]
            let fits = (gained as f64 / seconds.max(1e-3) * QUEUE).max(last * KEPT) as usize;
            self.queue.store(fits.clamp(LEAST_QUEUE, most), Ordering::Relaxed);
        }
        (gained, left)
    }
}

/// Content on its way.
#[derive(Clone)]
pub(super) struct Content {
    pub message: Bytes,
    /// Bytes of files in it and in all before it.
    pub through: u64,
}

/// What went by connections that may be lost, until the receiver has taken it.
#[derive(Default)]
pub(super) struct Keeper {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Default)]
struct State {
    /// By sequence number: the connection it went by, and the content.
    kept: BTreeMap<u64, (u32, Content)>,
    bytes: usize,
    /// Bytes of files that the receiver has taken, and those that went by the first connection before anything was kept.
    taken: u64,
    unkept: u64,
    /// To be sent again.
    again: VecDeque<Content>,
    /// Connections that were lost.
    gone: BTreeSet<u32>,
    /// More came together than is kept.
    incomplete: bool,
}

impl State {
    fn covers(&self, lane: u32) -> bool {
        !self.incomplete && (lane > 0 || self.taken > self.unkept)
    }
}

impl Keeper {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on content is kept; `through` bytes of files were sent before.
    pub(super) fn begin(&self, through: u64) {
        self.state().unkept = through;
    }

    /// Keeps what is to go by the connection `lane`; false when that was lost, and another is to take it.
    pub(super) fn keep(&self, lane: u32, content: &Content) -> bool {
        let Some(sequence) = sequence(&content.message) else { return true };
        let mut state = self.state();
        if state.gone.contains(&lane) {
            state.again.push_back(content.clone());
            self.more.notify_waiters();
            return false;
        }
        state.bytes += content.message.len();
        state.kept.insert(sequence, (lane, content.clone()));
        if state.bytes > MOST_KEPT {
            state.kept.clear();
            (state.bytes, state.incomplete) = (0, true);
        }
        true
    }

    /// The connection `lane` is of use again.
    pub(super) fn regain(&self, lane: u32) {
        self.state().gone.remove(&lane);
    }

    /// The receiver has taken so many bytes of files.
    pub(super) fn taken(&self, bytes: u64) {
        let mut state = self.state();
        state.taken = state.taken.max(bytes);
        // What ends a file comes behind its last byte, so only what follows shows that it was taken.
        while let Some(first) = state.kept.first_entry().filter(|first| first.get().1.through < bytes) {
            let (_, content) = first.remove();
            state.bytes -= content.message.len();
        }
    }

    /// Has everything sent again that went by the connection `lane`; false when it was not all kept.
    pub(super) fn lost(&self, lane: u32) -> bool {
        let mut state = self.state();
        let State { kept, bytes, again, gone, .. } = &mut *state;
        gone.insert(lane);
        kept.retain(|_, (by, content)| {
            if *by == lane {
                *bytes -= content.message.len();
                again.push_back(content.clone());
            }
            *by != lane
        });
        self.more.notify_waiters();
        state.covers(lane)
    }

    /// Whether all that went by the connection `lane` is kept or was taken.
    #[cfg(test)]
    pub(super) fn covers(&self, lane: u32) -> bool {
        self.state().covers(lane)
    }

    /// What is to be sent again, as soon as there is something. Cancel-safe.
    pub(super) async fn again(&self) -> Content {
        loop {
            let more = self.more.notified();
            let content = self.state().again.pop_front();
            match content {
                Some(content) => return content,
                None => more.await,
            }
        }
    }
}

/// The number of a message of content.
pub(super) fn sequence(mut message: &[u8]) -> Option<u64> {
    message.try_get_u64().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(sequence: u64, through: u64) -> Content {
        Content { message: sequence.to_be_bytes().to_vec().into(), through }
    }

    #[tokio::test]
    async fn what_a_lost_connection_carried_is_sent_again_unless_it_was_taken() {
        let keeper = Keeper::default();
        for number in 0..6 {
            assert!(keeper.keep(u32::try_from(number % 2).unwrap(), &content(number, number * 10 + 10)));
        }
        // The third may end a file whose last byte is the thirtieth.
        keeper.taken(30);
        assert!(keeper.lost(0));
        assert!(keeper.lost(0), "there is no more of it, and all that was lost is known");
        for number in [2, 4] {
            assert_eq!(sequence(&keeper.again().await.message), Some(number));
        }
        let waiting = tokio::time::timeout(Duration::from_millis(1), keeper.again());
        assert!(waiting.await.is_err(), "the other connection is still there");
        assert!(!keeper.keep(0, &content(6, 70)), "what is about to go by the lost one goes by another");
        assert_eq!(sequence(&keeper.again().await.message), Some(6));
        keeper.regain(0);
        assert!(keeper.keep(0, &content(7, 80)));
    }

    #[test]
    fn what_went_before_anything_was_kept_must_have_been_taken() {
        let keeper = Keeper::default();
        keeper.begin(30);
        keeper.keep(0, &content(3, 40));
        keeper.taken(30);
        assert!(!keeper.lost(0), "the end of a file may be lost, behind its last byte");
        keeper.taken(31);
        assert!(keeper.lost(0));
    }

    #[test]
    fn a_receiver_that_never_says_what_it_has_costs_no_memory_for_ever() {
        let keeper = Keeper::default();
        for number in 0..40_u64 {
            let message = [&number.to_be_bytes()[..], &[0; 1 << 20]].concat();
            keeper.keep(1, &Content { message: message.into(), through: 0 });
        }
        assert!(keeper.state().bytes <= MOST_KEPT);
        assert!(!keeper.lost(1));
    }
}
