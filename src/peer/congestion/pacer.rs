//! Spreads packets over time, so that a large frame does not fill the queues of the path.

use std::time::{Duration, Instant};

/// What may go now: for all streams together, those that are sent again included.
#[derive(Debug)]
pub(super) struct Pacer {
    burst: Bucket,
    average: Bucket,
    again: Bucket,
    at: Instant,
}

/// Bytes that may go at once; below zero they are owed.
#[derive(Debug, Default)]
struct Bucket {
    bytes: f64,
}

impl Bucket {
    fn refill(&mut self, bits_per_second: f64, holds_seconds: f64, elapsed: f64) {
        let rate = bits_per_second / 8.0;
        self.bytes = (self.bytes + elapsed * rate).min(rate * holds_seconds);
    }

    /// How long until nothing is owed once so many bytes are taken.
    fn owes(&self, bytes: f64, bits_per_second: f64) -> f64 {
        ((bytes - self.bytes) * 8.0 / bits_per_second.max(1.0)).max(0.0)
    }
}

impl Pacer {
    /// How much faster than the estimate packets may go for a moment: a key frame must not hold up what follows for long, nor
    /// fill the path's queue. In the long run it is the estimate, whatever the encoder makes of it.
    const HEADROOM: f64 = 1.5;
    const BURST_SECONDS: f64 = 0.04;
    const AVERAGE_SECONDS: f64 = 0.4;
    /// The part of the estimate that packets sent again may take.
    const AGAIN: f64 = 0.4;
    const AGAIN_SECONDS: f64 = 0.3;
    /// Below this no timer is worth its while.
    const LEAST_WAIT: Duration = Duration::from_millis(2);
    const MOST_WAIT: f64 = 1.0;

    pub(super) fn new(now: Instant) -> Self {
        Self { burst: Bucket::default(), average: Bucket::default(), again: Bucket::default(), at: now }
    }

    fn refill(&mut self, estimate: f64, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.burst.refill(estimate * Self::HEADROOM, Self::BURST_SECONDS, elapsed);
        self.average.refill(estimate, Self::AVERAGE_SECONDS, elapsed);
        self.again.refill(estimate * Self::AGAIN, Self::AGAIN_SECONDS, elapsed);
    }

    fn spend(&mut self, bytes: f64) {
        self.burst.bytes -= bytes;
        self.average.bytes -= bytes;
    }

    /// How long so many bytes take to go, after what is owed already.
    pub(super) fn time_for(&self, bytes: usize, estimate: f64) -> f64 {
        let bytes = bytes as f64;
        self.burst.owes(bytes, estimate * Self::HEADROOM).max(self.average.owes(bytes, estimate))
    }

    /// Takes a packet of `bytes` on a path of `estimate` bits per second; how long to wait before it goes.
    pub(super) fn take(&mut self, bytes: usize, estimate: f64, now: Instant) -> Duration {
        self.refill(estimate, now);
        self.spend(bytes as f64);
        let owed = Duration::from_secs_f64(self.time_for(0, estimate).min(Self::MOST_WAIT));
        if owed < Self::LEAST_WAIT { Duration::ZERO } else { owed }
    }

    /// Whether a packet may be sent again now, ahead of what waits.
    pub(super) fn may_resend(&mut self, bytes: usize, estimate: f64, now: Instant) -> bool {
        self.refill(estimate, now);
        let bytes = bytes as f64;
        let may = self.again.bytes >= bytes;
        if may {
            self.again.bytes -= bytes;
            self.spend(bytes);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTIMATE: f64 = 500_000.0;

    /// Bytes a second of `count` packets after another.
    fn rate(pacer: &mut Pacer, now: &mut Instant, count: u32) -> f64 {
        let begin = *now;
        for _ in 0..count {
            *now += pacer.take(1200, ESTIMATE, *now);
        }
        f64::from(count) * 1200.0 / (*now - begin).as_secs_f64()
    }

    #[test]
    fn packets_go_with_headroom_for_a_moment_and_at_the_estimate_in_the_long_run() {
        let begin = Instant::now();
        let mut pacer = Pacer::new(begin);
        let mut now = begin + Duration::from_secs(1);
        // 62,500 bytes a second, half as much again for a moment, and 3,750 of them at once.
        for _ in 0..3 {
            assert_eq!(pacer.take(1200, ESTIMATE, now), Duration::ZERO);
        }
        let frame = rate(&mut pacer, &mut now, 20);
        assert!((88_000.0..98_000.0).contains(&frame), "{frame} bytes a second");
        let long = rate(&mut pacer, &mut now, 500);
        assert!((60_000.0..70_000.0).contains(&long), "{long} bytes a second");
        assert!(pacer.time_for(62_500, ESTIMATE) >= 1.0);
    }

    #[test]
    fn what_is_sent_again_is_a_part_of_the_whole_and_never_all_of_it() {
        let begin = Instant::now();
        let mut pacer = Pacer::new(begin);
        let resent = (1..=1000).filter(|ms| {
            let now = begin + Duration::from_millis(*ms);
            pacer.may_resend(1200, ESTIMATE, now)
        });
        let bytes = resent.count() * 1200;
        assert!((20_000..=25_000).contains(&bytes), "{bytes} of 62,500 a second");
        let wait = pacer.take(1200, ESTIMATE, begin + Duration::from_secs(1));
        assert!(wait < Duration::from_millis(50), "{wait:?}");
    }
}
