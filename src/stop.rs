//! A token that asks everything holding it to finish in order.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Why a run is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// Its own end was reached: `--duration`, end of input, a hang-up.
    Done,
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Asks the threads and tasks of one run to finish. Clones share it; the first reason stays.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    reason: Mutex<Option<StopReason>>,
    changed: Condvar,
    token: CancellationToken,
    parts: Mutex<Vec<Weak<Inner>>>,
}

impl Stop {
    /// A token nobody has stopped yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token for a part of the run: it is stopped with this one, and can be stopped before.
    #[must_use]
    pub fn part(&self) -> Self {
        let part = Self::new();
        {
            let mut parts = self.inner.parts.lock().unwrap_or_else(PoisonError::into_inner);
            parts.retain(|part| part.strong_count() > 0);
            parts.push(Arc::downgrade(&part.inner));
        }
        // Asked for just now, or long ago: then nobody tells the new one.
        if let Some(reason) = self.reason() {
            part.stop(reason);
        }
        part
    }

    /// Asks for the end. Later calls change nothing.
    pub fn stop(&self, reason: StopReason) {
        {
            let mut slot = self.inner.reason.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.is_some() {
                return;
            }
            *slot = Some(reason);
            self.inner.changed.notify_all();
            self.inner.token.cancel();
        }
        let parts = std::mem::take(&mut *self.inner.parts.lock().unwrap_or_else(PoisonError::into_inner));
        for inner in parts.iter().filter_map(Weak::upgrade) {
            Self { inner }.stop(reason);
        }
    }

    /// Whether the end was asked for.
    pub fn is_stopped(&self) -> bool {
        self.inner.token.is_cancelled()
    }

    /// Why the end was asked for.
    pub fn reason(&self) -> Option<StopReason> {
        *self.inner.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end, in async code.
    pub async fn stopped(&self) {
        self.inner.token.cancelled().await;
    }

    /// Blocks until `deadline` or the end, whichever comes first; true when the end came.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        let mut slot = self.inner.reason.lock().unwrap_or_else(PoisonError::into_inner);
        while slot.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            slot = self.inner.changed.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Blocks for `duration` or until the end, whichever comes first; true when the end came.
    pub fn wait_for(&self, duration: Duration) -> bool {
        self.wait_until(Instant::now() + duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays_and_wakes_a_blocked_thread() {
        let stop = Stop::new();
        let waiter = {
            let stop = stop.clone();
            std::thread::spawn(move || stop.wait_for(Duration::from_secs(60)))
        };
        stop.stop(StopReason::Interrupt);
        stop.stop(StopReason::Done);
        assert!(waiter.join().unwrap());
        assert_eq!(stop.reason(), Some(StopReason::Interrupt));
    }

    #[test]
    fn a_part_ends_with_the_whole_and_not_the_other_way_round() {
        let whole = Stop::new();
        let (first, second) = (whole.part(), whole.part());
        first.stop(StopReason::Done);
        assert!(!whole.is_stopped() && !second.is_stopped());
        whole.stop(StopReason::Interrupt);
        assert_eq!((first.reason(), second.reason()), (Some(StopReason::Done), Some(StopReason::Interrupt)));
        assert_eq!(whole.part().reason(), Some(StopReason::Interrupt));
    }

    #[test]
    fn a_deadline_passes_without_a_stop() {
        assert!(!Stop::new().wait_for(Duration::from_millis(1)));
    }
}
