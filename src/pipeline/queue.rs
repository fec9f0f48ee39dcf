//! Bounded queues between stages, usable from threads and from async code on either side.
//!
//! A queue never grows past its capacity; its [`Overflow`] policy says what gives way, and it counts what was
//! dropped. Dropping the [`Sender`] ends the stream after what is queued; dropping the [`Receiver`] makes every
//! `send` fail with [`Closed`].

use crate::media::{AudioFrame, EncodedFrame, VideoFrame};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What gives way when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest item: live pictures, where only the newest matters.
    Latest,
    /// The sender waits: files, where nothing may be lost.
    Block,
    /// New items, until one from which decoding can start; that one replaces all that is queued.
    DropToKeyframe,
}

/// What can be queued.
pub trait Item: Send + 'static {
    /// Whether a receiver can begin here. Matters to [`Overflow::DropToKeyframe`].
    fn is_key(&self) -> bool {
        true
    }
}

impl Item for VideoFrame {}
impl Item for AudioFrame {}

impl Item for EncodedFrame {
    fn is_key(&self) -> bool {
        self.key
    }
}

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receiving end of the queue is gone")]
pub struct Closed;

/// What became of an item that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is queued.
    Queued,
    /// It was dropped, and so will be all that follow until a key item: ask the encoder for one.
    NeedsKey,
}

/// What a queue has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Items that the receiver has taken.
    pub delivered: u64,
    /// Items that gave way.
    pub dropped: u64,
    /// The most items that were queued at once.
    pub peak: usize,
}

/// A queue of at most `capacity` items (at least 1).
pub fn bounded<T: Item>(capacity: usize, overflow: Overflow) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        capacity: capacity.max(1),
        overflow,
        state: Mutex::new(State {
            items: VecDeque::with_capacity(capacity.max(1)),
            awaits_key: false,
            sender_gone: false,
            receiver_gone: false,
            stats: QueueStats::default(),
        }),
        filled: Condvar::new(),
        drained: Condvar::new(),
        filled_async: Notify::new(),
        drained_async: Notify::new(),
    });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

struct Shared<T> {
    capacity: usize,
    overflow: Overflow,
    state: Mutex<State<T>>,
    filled: Condvar,
    drained: Condvar,
    filled_async: Notify,
    drained_async: Notify,
}

struct State<T> {
    items: VecDeque<T>,
    awaits_key: bool,
    sender_gone: bool,
    receiver_gone: bool,
    stats: QueueStats,
}

enum Offer<T> {
    Done(Result<Sent, Closed>),
    Full(T),
}

impl<T: Item> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offer(&self, state: &mut State<T>, item: T) -> Offer<T> {
        if state.receiver_gone {
            return Offer::Done(Err(Closed));
        }
        let full = state.items.len() >= self.capacity;
        match self.overflow {
            Overflow::Block if full => return Offer::Full(item),
            Overflow::Latest if full => {
                state.items.pop_front();
                state.stats.dropped += 1;
            }
            Overflow::DropToKeyframe if (full || state.awaits_key) && !item.is_key() => {
                state.awaits_key = true;
                state.stats.dropped += 1;
                return Offer::Done(Ok(Sent::NeedsKey));
            }
            Overflow::DropToKeyframe if full => {
                state.stats.dropped += state.items.len() as u64;
                state.items.clear();
            }
            _ => {}
        }
        state.awaits_key = false;
        state.items.push_back(item);
        state.stats.peak = state.stats.peak.max(state.items.len());
        self.filled.notify_one();
        self.filled_async.notify_one();
        Offer::Done(Ok(Sent::Queued))
    }

    fn take(&self, state: &mut State<T>) -> Option<T> {
        let item = state.items.pop_front()?;
        state.stats.delivered += 1;
        self.drained.notify_one();
        self.drained_async.notify_one();
        Some(item)
    }
}

/// The giving end.
pub struct Sender<T: Item> {
    shared: Arc<Shared<T>>,
}

impl<T: Item> Sender<T> {
    /// Queues an item; under [`Overflow::Block`] waits for room.
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone.
    pub fn send(&self, item: T) -> Result<Sent, Closed> {
        let mut state = self.shared.lock();
        let mut item = item;
        loop {
            match self.shared.offer(&mut state, item) {
                Offer::Done(result) => return result,
                Offer::Full(back) => item = back,
            }
            state = self.shared.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// [`send`](Self::send) for async code.
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone.
    pub async fn send_async(&self, item: T) -> Result<Sent, Closed> {
        let mut item = item;
        loop {
            let room = self.shared.drained_async.notified();
            match self.shared.offer(&mut self.shared.lock(), item) {
                Offer::Done(result) => return result,
                Offer::Full(back) => item = back,
            }
            room.await;
        }
    }

    /// What the queue has carried so far.
    pub fn stats(&self) -> QueueStats {
        self.shared.lock().stats
    }
}

impl<T: Item> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.lock().sender_gone = true;
        self.shared.filled.notify_all();
        self.shared.filled_async.notify_one();
    }
}

/// The taking end.
pub struct Receiver<T: Item> {
    shared: Arc<Shared<T>>,
}

impl<T: Item> Receiver<T> {
    /// The next item; blocks for it. `None` when the sender is gone and all is taken.
    pub fn recv(&self) -> Option<T> {
        let mut state = self.shared.lock();
        loop {
            if let Some(item) = self.shared.take(&mut state) {
                return Some(item);
            }
            if state.sender_gone {
                return None;
            }
            state = self.shared.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next item if it comes within `patience`; `Ok(None)` at the end of the stream.
    ///
    /// # Errors
    /// [`Elapsed`] when nothing came in time.
    pub fn recv_timeout(&self, patience: Duration) -> Result<Option<T>, Elapsed> {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        loop {
            if let Some(item) = self.shared.take(&mut state) {
                return Ok(Some(item));
            }
            if state.sender_gone {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Elapsed);
            }
            state = self.shared.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// [`recv`](Self::recv) for async code. Dropping the future loses nothing.
    pub async fn recv_async(&self) -> Option<T> {
        loop {
            let arrival = self.shared.filled_async.notified();
            {
                let mut state = self.shared.lock();
                if let Some(item) = self.shared.take(&mut state) {
                    return Some(item);
                }
                if state.sender_gone {
                    return None;
                }
            }
            arrival.await;
        }
    }

    /// The next item if one is queued now.
    pub fn try_recv(&self) -> Option<T> {
        self.shared.take(&mut self.shared.lock())
    }

    /// Whether nothing will come any more.
    pub fn is_over(&self) -> bool {
        let state = self.shared.lock();
        state.sender_gone && state.items.is_empty()
    }

    /// Items that wait at the moment.
    pub fn waiting(&self) -> usize {
        self.shared.lock().items.len()
    }

    /// Ends the stream here: what is queued counts as dropped, whoever waits for more gets `None`, and senders find the
    /// receiver gone.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        (state.receiver_gone, state.sender_gone) = (true, true);
        state.stats.dropped += state.items.len() as u64;
        state.items.clear();
        drop(state);
        for side in [&self.shared.filled, &self.shared.drained] {
            side.notify_all();
        }
        for side in [&self.shared.filled_async, &self.shared.drained_async] {
            side.notify_one();
        }
    }

    /// What the queue has carried so far.
    pub fn stats(&self) -> QueueStats {
        self.shared.lock().stats
    }
}

impl<T: Item> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Nothing came in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing came in time")]
pub struct Elapsed;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Coded(u32, bool);

    impl Item for Coded {
        fn is_key(&self) -> bool {
            self.1
        }
    }

    fn drain<T: Item>(receiver: &Receiver<T>) -> Vec<T> {
        std::iter::from_fn(|| receiver.try_recv()).collect()
    }

    #[test]
    fn latest_keeps_the_newest_and_counts_the_rest() {
        let (sender, receiver) = bounded(2, Overflow::Latest);
        for n in 0..5 {
            sender.send(Coded(n, true)).unwrap();
        }
        assert_eq!(drain(&receiver), [Coded(3, true), Coded(4, true)]);
        assert_eq!(receiver.stats(), QueueStats { delivered: 2, dropped: 3, peak: 2 });
    }

    #[test]
    fn drop_to_keyframe_never_delivers_a_frame_whose_reference_was_dropped() {
        let (sender, receiver) = bounded(2, Overflow::DropToKeyframe);
        assert_eq!(sender.send(Coded(0, true)), Ok(Sent::Queued));
        assert_eq!(sender.send(Coded(1, false)), Ok(Sent::Queued));
        assert_eq!(sender.send(Coded(2, false)), Ok(Sent::NeedsKey));
        assert_eq!(receiver.try_recv(), Some(Coded(0, true)));
        assert_eq!(sender.send(Coded(3, false)), Ok(Sent::NeedsKey), "room again, but frame 2 is missing");
        assert_eq!(sender.send(Coded(4, true)), Ok(Sent::Queued));
        assert_eq!(sender.send(Coded(5, true)), Ok(Sent::Queued), "a key frame replaces what is queued");
        assert_eq!(drain(&receiver), [Coded(5, true)]);
        assert_eq!(receiver.stats().dropped, 4);
    }

    #[test]
    fn block_loses_nothing_and_the_end_follows_the_last_item() {
        let (sender, receiver) = bounded(2, Overflow::Block);
        let giver = std::thread::spawn(move || (0..1000).for_each(|n| assert!(sender.send(Coded(n, true)).is_ok())));
        let taken: Vec<_> = std::iter::from_fn(|| receiver.recv()).map(|item| item.0).collect();
        giver.join().unwrap();
        assert_eq!(taken, (0..1000).collect::<Vec<_>>());
        assert_eq!(receiver.stats().dropped, 0);
    }

    #[tokio::test]
    async fn a_stream_that_is_closed_ends_for_both_sides_and_what_was_queued_counts_as_dropped() {
        let (sender, receiver) = bounded(4, Overflow::Block);
        let receiver = Arc::new(receiver);
        let waiting = tokio::spawn({
            let receiver = Arc::clone(&receiver);
            async move { receiver.recv_async().await.is_none() }
        });
        tokio::task::yield_now().await;
        receiver.close();
        assert!(waiting.await.unwrap());
        assert!(sender.send(Coded(1, true)).is_err());

        let (sender, receiver) = bounded(4, Overflow::Block);
        sender.send(Coded(1, true)).unwrap();
        receiver.close();
        assert_eq!((receiver.recv(), receiver.stats().dropped), (None, 1));
    }

    #[test]
    fn a_sender_blocked_on_a_full_queue_learns_that_the_receiver_is_gone() {
        let (sender, receiver) = bounded(1, Overflow::Block);
        sender.send(Coded(0, true)).unwrap();
        let giver = std::thread::spawn(move || sender.send(Coded(1, true)));
        drop(receiver);
        assert_eq!(giver.join().unwrap(), Err(Closed));
    }

    #[tokio::test]
    async fn async_and_blocking_ends_meet() {
        let (sender, receiver) = bounded(3, Overflow::Block);
        let giver = std::thread::spawn(move || (0..500).for_each(|n| assert!(sender.send(Coded(n, true)).is_ok())));
        let mut sum = 0;
        while let Some(item) = receiver.recv_async().await {
            sum += item.0;
        }
        giver.join().unwrap();
        assert_eq!(sum, 500 * 499 / 2);

        let (sender, receiver) = bounded(3, Overflow::Block);
        let taker = std::thread::spawn(move || std::iter::from_fn(|| receiver.recv()).count());
        for n in 0..500 {
            sender.send_async(Coded(n, true)).await.unwrap();
        }
        drop(sender);
        assert_eq!(taker.join().unwrap(), 500);
    }
}
