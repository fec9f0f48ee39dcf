//! Where a source ends: when its time is over.

use crate::error::Error;
use crate::media::{MediaTime, Source};
use crate::pipeline::Timed;
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A source that ends at a time on its timeline, if it has not before.
pub(in crate::ops) struct Ending<T> {
    source: Box<dyn Source<T>>,
    until: MediaTime,
    over: Arc<AtomicBool>,
}

impl<T: Timed + 'static> Ending<T> {
    /// `source`, no longer than `duration`; `over` becomes true when that is its end.
    pub(in crate::ops) fn boxed(
        source: Box<dyn Source<T>>,
        duration: Option<Duration>,
        over: &Arc<AtomicBool>,
    ) -> Box<dyn Source<T>> {
        match duration {
            Some(duration) => Box::new(Self { source, until: duration.into(), over: Arc::clone(over) }),
            None => source,
        }
    }
}

impl<T: Timed> Source<T> for Ending<T> {
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error> {
        let item = self.source.next(stop)?;
        let over = item.as_ref().is_some_and(|item| item.time() >= self.until);
        self.over.fetch_or(over, Ordering::Relaxed);
        Ok(item.filter(|_| !over))
    }

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        self.source.lost()
    }
}
