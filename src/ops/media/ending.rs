//! Where a source ends: when its time is over.

use crate::error::Error;
use crate::media::{MediaTime, Source};
use crate::pipeline::Timed;
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A source that ends at a time on its timeline, if it has not before.
pub(in crate::ops) struct Ending<T> {
    source: Box<dyn Source<T>>,
    until: MediaTime,
}

impl<T: Timed + 'static> Ending<T> {
    /// `source`, no longer than `duration`.
    pub(in crate::ops) fn boxed(source: Box<dyn Source<T>>, duration: Option<Duration>) -> Box<dyn Source<T>> {
        match duration {
            Some(duration) => Box::new(Self { source, until: duration.into() }),
            None => source,
        }
    }
}

impl<T: Timed> Source<T> for Ending<T> {
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error> {
        Ok(self.source.next(stop)?.filter(|item| item.time() < self.until))
    }

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        self.source.lost()
    }
}
