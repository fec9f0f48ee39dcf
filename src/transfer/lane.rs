//! One of the connections that content goes by, and what is kept of it until the receiver has it.

use super::channel::{Connection, Frame};
use crate::error::Error;
use bytes::{Buf, Bytes};
use std::collections::{BTreeMap, VecDeque};
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
/// How long a connection may have nothing acknowledged of what is outstanding: an association that gave up says nothing, and
/// one that was cut off for as long as it may be takes some time to go on.
pub(super) const STALLED: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });
/// The same where nothing was acknowledged yet and the path may not take the packets at all: an answer from within the machine
/// takes no time.
const UNPROVEN: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 2000 });
/// Bytes that are kept at most; a receiver that lets more come together does not say what it has.
const MOST_KEPT: usize = 24 << 20;

/// A connection that content goes by.
pub(super) struct Lane {
    pub connection: Box<dyn Connection>,
    sent: AtomicU64,
    /// Bytes that may be outstanding.
    queue: AtomicUsize,
    acknowledged: AtomicU64,
    /// Whether its packets may be too large for its path.
    unproven: bool,
}

impl Lane {
    pub(super) fn new(connection: Box<dyn Connection>, unproven: bool) -> Self {
        Self {
            connection,
            unproven,
            sent: AtomicU64::new(0),
            queue: AtomicUsize::new(FIRST_QUEUE),
            acknowledged: AtomicU64::new(0),
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

    pub(super) async fn send(&self, message: Bytes) -> Result<(), Error> {
        self.sent.fetch_add(message.len() as u64, Ordering::Relaxed);
        self.connection.send(Frame::Binary(message)).await
    }

    /// Whether the peer may lack something of what was sent.
    pub(super) async fn owes(&self) -> bool {
        match self.connection.outstanding().await {
            Some(outstanding) => outstanding > 0,
            None => self.sent.load(Ordering::Relaxed) > self.acknowledged.load(Ordering::Relaxed),
        }
    }

    /// Waits until it is clear that what is outstanding will never be acknowledged.
    pub(super) async fn stalls(&self) {
        let (mut since, mut last) = (Instant::now(), 0);
        loop {
            let patience = if self.unproven && last == 0 { UNPROVEN } else { STALLED };
            if since.elapsed() >= patience {
                return;
            }
            tokio::time::sleep(patience / 20).await;
            let acknowledged = self.acknowledged.load(Ordering::Relaxed);
            if acknowledged != last || self.connection.outstanding().await.is_none_or(|bytes| bytes == 0) {
                (since, last) = (Instant::now(), acknowledged);
            }
        }
    }

    /// Bytes acknowledged since the last time, by which the queue is measured.
    pub(super) async fn measure(&self, seconds: f64, far: bool) -> u64 {
        let Some(outstanding) = self.connection.outstanding().await else { return 0 };
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
        gained
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
    kept: BTreeMap<u64, (usize, Content)>,
    bytes: usize,
    /// To be sent again.
    again: VecDeque<Content>,
    /// More came together than is kept.
    incomplete: bool,
}

impl Keeper {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what goes by the connection `lane`.
    pub(super) fn keep(&self, lane: usize, content: &Content) {
        let Some(sequence) = sequence(&content.message) else { return };
        let mut state = self.state();
        state.bytes += content.message.len();
        state.kept.insert(sequence, (lane, content.clone()));
        if state.bytes > MOST_KEPT {
            *state = State { incomplete: true, ..State::default() };
        }
    }

    /// The receiver has taken so many bytes of files.
    pub(super) fn taken(&self, bytes: u64) {
        let mut state = self.state();
        // What ends a file comes behind its last byte, so only what follows shows that it was taken.
        while let Some(first) = state.kept.first_entry().filter(|first| first.get().1.through < bytes) {
            let (_, content) = first.remove();
            state.bytes -= content.message.len();
        }
    }

    /// Has everything sent again that went by the connection `lane`; false when it was not all kept.
    pub(super) fn lost(&self, lane: usize) -> bool {
        let mut state = self.state();
        let State { kept, bytes, again, .. } = &mut *state;
        kept.retain(|_, (by, content)| {
            if *by == lane {
                *bytes -= content.message.len();
                again.push_back(content.clone());
            }
            *by != lane
        });
        self.more.notify_waiters();
        !state.incomplete
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
            keeper.keep(usize::try_from(number % 2).unwrap(), &content(number, number * 10 + 10));
        }
        // The third may end a file whose last byte is the thirtieth.
        keeper.taken(30);
        assert!(keeper.lost(0));
        for number in [2, 4] {
            assert_eq!(sequence(&keeper.again().await.message), Some(number));
        }
        let waiting = tokio::time::timeout(Duration::from_millis(1), keeper.again());
        assert!(waiting.await.is_err(), "the other connection is still there");
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
