//! The clock that the protocol core is told.
//!
//! The core sees time only through its runtime. Its timers are made for the worst path: connectivity checks every
//! 200 ms, writes that wait for the next timer, a retransmission time-out of 1 s. While a connection is being set up
//! this clock may run faster than real time; it falls back to real time before media flows, because RTCP reports and
//! transport-wide feedback are measured with it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A clock whose speed can change but which never goes back.
#[derive(Debug)]
pub(super) struct ProtocolClock {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    real: Instant,
    shown: Instant,
    speed: u32,
}

impl State {
    fn at(&self, real: Instant) -> Instant {
        self.shown + real.saturating_duration_since(self.real) * self.speed
    }
}

impl ProtocolClock {
    /// A clock in step with real time.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { state: Mutex::new(State { real: now, shown: now, speed: 1 }) }
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time it shows.
    pub(super) fn now(&self) -> Instant {
        self.state().at(Instant::now())
    }

    /// Runs `speed` times as fast as real time from now on. Sleeps that are under way keep the length they had:
    /// slowing down only makes them early, which the core tolerates.
    pub(super) fn set_speed(&self, speed: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let real = Instant::now();
        *state = State { real, shown: state.at(real), speed: speed.max(1) };
    }

    /// How long `shown` of its time lasts in real time.
    pub(super) fn real_duration(&self, shown: Duration) -> Duration {
        shown / self.state().speed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back_when_the_speed_changes() {
        let clock = ProtocolClock::new();
        let mut last = clock.now();
        for speed in [1, 50, 1, 20, 3, 1] {
            clock.set_speed(speed);
            for _ in 0..100 {
                let now = clock.now();
                assert!(now >= last);
                last = now;
            }
        }
    }

    #[test]
    fn it_runs_as_many_times_faster_as_asked() {
        let clock = ProtocolClock::new();
        clock.set_speed(100);
        assert_eq!(clock.real_duration(Duration::from_millis(200)), Duration::from_millis(2));
        let (real, shown) = (Instant::now(), clock.now());
        while real.elapsed() < Duration::from_millis(5) {}
        assert!(clock.now() - shown >= Duration::from_millis(500));
    }
}
