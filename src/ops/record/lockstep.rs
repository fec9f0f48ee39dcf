//! Keeps tracks together that are read as fast as they go, so that neither has to wait in memory for the other.

use crate::media::MediaTime;
use crate::stop::Stop;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One lane per track.
pub(super) struct Lockstep {
    lanes: Mutex<Vec<Lane>>,
    moved: Condvar,
}

#[derive(Clone, Copy)]
enum Lane {
    /// Nothing has come yet.
    Fresh,
    /// Its newest frame.
    At(MediaTime),
    /// It was waited for in vain: nobody waits for it again until it moves.
    Stalled,
    Over,
}

/// While it lives, others wait for this track.
pub(super) struct Turn<'a> {
    lockstep: &'a Lockstep,
    track: usize,
}

impl Lockstep {
    /// How far a track may be ahead.
    const AHEAD: MediaTime = MediaTime::from_micros(200_000);
    /// How long a track that does not move at all is waited for.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// How often who waits looks whether it was stopped.
    const LOOK: Duration = Duration::from_millis(50);

    pub(super) fn new(tracks: usize) -> Self {
        Self { lanes: Mutex::new(vec![Lane::Fresh; tracks]), moved: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes part as `track`, until what this gives is dropped.
    pub(super) fn join(&self, track: usize) -> Turn<'_> {
        Turn { lockstep: self, track }
    }
}

impl Turn<'_> {
    /// Waits until what is of `time` may be written.
    pub(super) fn wait(&self, time: MediaTime, stop: &Stop) {
        let Self { lockstep, track } = self;
        let mut lanes = lockstep.lock();
        lanes[*track] = Lane::At(time);
        lockstep.moved.notify_all();
        let limit = time.minus(Lockstep::AHEAD);
        let began = Instant::now();
        while !stop.is_stopped() {
            let behind = |(number, lane): (usize, &Lane)| {
                number != *track
                    && match lane {
                        Lane::Fresh => true,
                        Lane::At(at) => *at < limit,
                        Lane::Stalled | Lane::Over => false,
                    }
            };
            if !lanes.iter().enumerate().any(behind) {
                return;
            }
            if began.elapsed() > Lockstep::PATIENCE {
                for number in 0..lanes.len() {
                    if behind((number, &lanes[number])) {
                        lanes[number] = Lane::Stalled;
                    }
                }
                return;
            }
            let waited = lockstep.moved.wait_timeout(lanes, Lockstep::LOOK);
            lanes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.lockstep.lock()[self.track] = Lane::Over;
        self.lockstep.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::StopReason;

    fn ms(millis: i64) -> MediaTime {
        MediaTime::from_micros(millis * 1000)
    }

    #[test]
    fn a_fast_track_is_never_far_ahead_of_a_slow_one_and_goes_on_when_that_is_over() {
        let lockstep = Lockstep::new(2);
        let slow_at = Mutex::new(ms(0));
        let stop = Stop::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let turn = lockstep.join(1);
                for n in 0..50 {
                    *slow_at.lock().unwrap() = ms(n * 40);
                    turn.wait(ms(n * 40), &stop);
                }
            });
            let turn = lockstep.join(0);
            for n in 0..400 {
                turn.wait(ms(n * 10), &stop);
                let ahead = ms(n * 10).minus(*slow_at.lock().unwrap());
                assert!(ahead <= Lockstep::AHEAD || n * 10 > 49 * 40, "{ahead:?}");
            }
        });
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let lockstep = Lockstep::new(2);
        let stop = Stop::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lockstep.join(0).wait(ms(0), &stop));
            stop.stop(StopReason::Done);
            waiting.join().unwrap();
        });
    }
}
