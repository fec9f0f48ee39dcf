//! Where a source ends: when its time is over, and with word of it when it ends by itself.

use crate::error::Error;
use crate::media::{MediaKind, MediaTime, Source};
use crate::pipeline::Timed;
use crate::progress::{Event, Progress};
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A source that ends at a time on its timeline, and tells when it ends earlier (`ended` of mediacapture-main).
pub(in crate::ops) struct Ending<T> {
    source: Box<dyn Source<T>>,
    kind: MediaKind,
    until: Option<MediaTime>,
    progress: Arc<dyn Progress>,
}

impl<T: Timed + 'static> Ending<T> {
    /// `source`, of this kind, no longer than `duration`.
    pub(in crate::ops) fn boxed(
        source: Box<dyn Source<T>>,
        kind: MediaKind,
        duration: Option<Duration>,
        progress: Arc<dyn Progress>,
    ) -> Box<dyn Source<T>> {
        Box::new(Self { source, kind, until: duration.map(MediaTime::from), progress })
    }
}

impl<T: Timed> Source<T> for Ending<T> {
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error> {
        let why = match self.source.next(stop) {
            Ok(Some(item)) => {
                let in_time = self.until.is_none_or(|until| item.time() < until);
                return Ok(in_time.then_some(item));
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if !stop.is_stopped() {
            let message = why.as_ref().err().map(ToString::to_string);
            self.progress.event(Event::Ended { kind: self.kind.to_string(), message });
        }
        why
    }

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        self.source.lost()
    }
}
