//! The kernel's clock on the timeline of a capture: cameras stamp their pictures with CLOCK_MONOTONIC.

use crate::media::MediaTime;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Where a capture began, on the clock of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelClock {
    origin: Duration,
}

impl KernelClock {
    /// For a timeline that begins at `origin`, past or to come.
    pub(super) fn new(origin: Instant) -> Self {
        let now = Self::now();
        let instant = Instant::now();
        let origin = match origin.checked_duration_since(instant) {
            Some(ahead) => now + ahead,
            None => now.saturating_sub(instant.duration_since(origin)),
        };
        Self { origin }
    }

    /// A stamp of the kernel, on the timeline. Before its origin it is negative.
    pub(super) fn time(&self, stamp: Duration) -> MediaTime {
        MediaTime::from(stamp).minus(MediaTime::from(self.origin))
    }

    /// Now, as the kernel would stamp it.
    pub(super) fn now() -> Duration {
        let now = clock_gettime(ClockId::Monotonic);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_of_now_lies_as_far_behind_the_origin_as_the_clock_of_rust_says() {
        let origin = Instant::now().checked_sub(Duration::from_secs(3)).unwrap();
        let clock = KernelClock::new(origin);
        let before = origin.elapsed();
        let time = clock.time(KernelClock::now()).duration();
        let after = origin.elapsed();
        let slack = Duration::from_millis(5);
        assert!(time + slack >= before && time <= after + slack, "{before:?} {time:?} {after:?}");
        let to_come = KernelClock::new(Instant::now() + Duration::from_secs(10));
        assert!(to_come.time(KernelClock::now()).seconds() < -9.0);
    }
}
