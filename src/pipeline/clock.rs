//! The clock that the tracks of one capture share, and pacing by it.

use crate::error::Error;
use crate::media::{AudioFrame, EncodedFrame, MediaTime, Source, VideoFrame};
use crate::stop::Stop;
use std::time::{Duration, Instant};

/// A timeline that began at an instant. Audio and video of one capture get copies of the same clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A timeline that begins now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The instant at which it began.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// The time now, in microseconds.
    pub fn now(&self) -> MediaTime {
        self.origin.elapsed().into()
    }

    /// The instant at which `time` is due.
    pub fn instant_of(&self, time: MediaTime) -> Instant {
        self.origin + time.duration()
    }
}

/// Something that has its place on a timeline.
pub trait Timed {
    /// Where it begins.
    fn time(&self) -> MediaTime;
}

impl Timed for VideoFrame {
    fn time(&self) -> MediaTime {
        self.time
    }
}

impl Timed for AudioFrame {
    fn time(&self) -> MediaTime {
        self.time
    }
}

impl Timed for EncodedFrame {
    fn time(&self) -> MediaTime {
        self.time
    }
}

/// Gives the items of a file at the pace of the clock. A reader that falls behind by more than a second moves its
/// schedule instead of flooding what follows.
pub struct Paced<S> {
    source: S,
    clock: Clock,
    slipped: Duration,
}

impl<S> Paced<S> {
    const MOST_BEHIND: Duration = Duration::from_secs(1);

    /// `source`, held back to `clock`.
    pub fn new(source: S, clock: Clock) -> Self {
        Self { source, clock, slipped: Duration::ZERO }
    }
}

impl<T: Timed, S: Source<T>> Source<T> for Paced<S> {
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error> {
        let Some(item) = self.source.next(stop)? else { return Ok(None) };
        let due = self.clock.instant_of(item.time()) + self.slipped;
        let late = Instant::now().saturating_duration_since(due);
        if late > Self::MOST_BEHIND {
            self.slipped += late;
        } else if stop.wait_until(due) {
            return Ok(None);
        }
        Ok(Some(item))
    }
}
