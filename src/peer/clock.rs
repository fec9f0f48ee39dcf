//! The clock that the protocol core is told.
//!
//! The core sees time only through its runtime. Its timers are made for the worst path: connectivity checks every
//! 200 ms, writes that wait for the next timer, a retransmission time-out of 1 s. For the first moments of a connection
//! this clock runs faster than real time, most while a path on the same network would answer; it falls back to real
//! time before media flows, because RTCP reports and transport-wide feedback are measured with it. Where no media flows it
//! may go on hurrying as far as the round-trip time allows: a lost packet at the end of a burst costs a retransmission
//! time-out, which is a second of the core's time at least.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A clock that can hurry for a while and never goes back.
#[derive(Debug)]
pub(super) struct ProtocolClock {
    state: Mutex<State>,
}

/// Runs through `hurry` from `real` on, then in step with real time.
#[derive(Clone, Copy, Debug)]
struct State {
    real: Instant,
    shown: Instant,
    hurry: Hurry,
}

/// How long to go at which speed, one after the other.
type Hurry = [(Duration, u32); 3];

const REAL_TIME: (Duration, u32) = (Duration::ZERO, 1);

impl State {
    fn at(&self, real: Instant) -> Instant {
        let mut left = real.saturating_duration_since(self.real);
        let mut shown = self.shown;
        for (length, speed) in self.hurry {
            let part = left.min(length);
            shown += part * speed;
            left -= part;
        }
        shown + left
    }

    fn speed_at(&self, real: Instant) -> u32 {
        let mut elapsed = real.saturating_duration_since(self.real);
        for (length, speed) in self.hurry {
            if elapsed < length {
                return speed;
            }
            elapsed -= length;
        }
        1
    }
}

impl ProtocolClock {
    /// How a connection's set-up hurries: a check every 4 ms while a peer on the same network would answer, then every
    /// 10 ms, then every 50 ms.
    const SETUP: Hurry =
        [(Duration::from_millis(60), 50), (Duration::from_millis(240), 20), (Duration::from_millis(1200), 4)];
    /// What follows the set-up: data channels open in a round trip, but SCTP's first timers must not be waited for.
    const SETTLE: Hurry = [(Duration::from_millis(60), 50), REAL_TIME, REAL_TIME];

    /// What follows a restart: SCTP has doubled its time-out while the path was dead, and would wait on.
    const RESETTLE: Hurry = [(Duration::from_millis(60), 50), (Duration::from_millis(400), 20), REAL_TIME];

    /// A clock in step with real time.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { state: Mutex::new(State { real: now, shown: now, hurry: [REAL_TIME; 3] }) }
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, hurry: Hurry) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let real = Instant::now();
        *state = State { real, shown: state.at(real), hurry };
    }

    /// The time it shows.
    pub(super) fn now(&self) -> Instant {
        self.state().at(Instant::now())
    }

    /// Both descriptions are known: hurry.
    pub(super) fn begin_setup(&self) {
        self.follow(Self::SETUP);
    }

    /// The connection is up and carries data alone: back to real time soon.
    pub(super) fn settle(&self) {
        self.follow(Self::SETTLE);
    }

    /// The connection has a path again and carries data alone: what waits for a time-out goes out soon.
    pub(super) fn resettle(&self) {
        self.follow(Self::RESETTLE);
    }

    /// For a connection that carries data alone and has this round-trip time: so fast that the least retransmission
    /// time-out is two round trips. Not faster than the set-up, since a busy machine answers late as well.
    pub(super) fn suit(&self, round_trip: Duration) {
        const LEAST_TIMEOUT: Duration = Duration::from_secs(1);
        const FASTEST: u128 = 50;
        const LONG: Duration = Duration::from_secs(365 * 24 * 3600);
        let two = (round_trip * 2).as_micros().max(1);
        let speed = u32::try_from((LEAST_TIMEOUT.as_micros() / two).clamp(1, FASTEST)).unwrap_or(1);
        if self.state().speed_at(Instant::now()) != speed {
            self.follow([(LONG, speed), REAL_TIME, REAL_TIME]);
        }
    }

    /// Back to real time at once.
    pub(super) fn stop_hurrying(&self) {
        self.follow([REAL_TIME; 3]);
    }

    /// How long it has been in step with real time.
    pub(super) fn true_for(&self) -> Duration {
        let state = self.state();
        let hurry: Duration = state.hurry.iter().map(|(length, _)| *length).sum();
        state.real.elapsed().saturating_sub(hurry)
    }

    /// How long `shown` of its time lasts in real time, at the speed it has now. When it slows down meanwhile a sleep of
    /// that length ends early, which the core tolerates.
    pub(super) fn real_duration(&self, shown: Duration) -> Duration {
        shown / self.state().speed_at(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back_whatever_is_asked_of_it() {
        let clock = ProtocolClock::new();
        let mut last = clock.now();
        for step in 0..6 {
            if step % 2 == 0 {
                clock.begin_setup()
            } else {
                clock.settle()
            }
            for _ in 0..100 {
                let now = clock.now();
                assert!(now >= last);
                last = now;
            }
        }
    }

    #[test]
    fn after_a_restart_it_is_past_the_time_outs_of_an_outage_within_half_a_second() {
        let real = Instant::now();
        let state = State { real, shown: real, hurry: ProtocolClock::RESETTLE };
        let half = Duration::from_millis(500);
        // Of the third time-out, 1 + 2 + 4 s, the last in ten seconds, what follows it is no more than 8 s away.
        assert!(state.at(real + half) - real > Duration::from_secs(8));
        assert_eq!(state.speed_at(real + half), 1);
    }

    #[test]
    fn it_hurries_as_far_as_the_round_trip_allows() {
        let clock = ProtocolClock::new();
        for (millis, speed) in [(0, 50), (1, 50), (20, 25), (50, 10), (200, 2), (900, 1), (30_000, 1)] {
            clock.suit(Duration::from_millis(millis));
            assert_eq!(clock.state().speed_at(Instant::now()), speed, "{millis} ms");
        }
    }

    #[test]
    fn hurry_adds_up_and_then_ends() {
        let real = Instant::now();
        let ms = Duration::from_millis;
        let state = State { real, shown: real, hurry: [(ms(100), 20), (ms(100), 5), REAL_TIME] };
        assert_eq!(state.at(real + ms(50)) - real, ms(1000));
        assert_eq!(state.at(real + ms(150)) - real, ms(2250));
        assert_eq!(state.at(real + ms(1200)) - real, ms(2500 + 1000));
        assert_eq!([50, 150, 250].map(|at| state.speed_at(real + ms(at))), [20, 5, 1]);
    }
}
