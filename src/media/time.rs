//! Media time as a value: a count of ticks and the rate they tick at.

use std::cmp::Ordering;
use std::num::NonZeroU32;
use std::time::Duration;

/// A point on a media timeline, or a length along it: `ticks / rate` seconds after the timeline's origin.
///
/// All tracks of one capture share one origin, so times of different rates compare as instants do.
/// Equality and order are those of the instant: 1/2 s at 48 kHz equals 1/2 s at 90 kHz.
#[derive(Clone, Copy, Debug)]
pub struct MediaTime {
    ticks: i64,
    rate: NonZeroU32,
}

impl MediaTime {
    /// The rate of microsecond times.
    pub const MICROS: NonZeroU32 = NonZeroU32::new(1_000_000).expect("not zero");

    /// `ticks` ticks of `1 / rate` seconds.
    pub const fn new(ticks: i64, rate: NonZeroU32) -> Self {
        Self { ticks, rate }
    }

    /// The origin of a timeline, in microseconds.
    pub const ZERO: Self = Self::new(0, Self::MICROS);

    /// A time in whole microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self::new(micros, Self::MICROS)
    }

    /// Ticks since the origin, in units of [`rate`](Self::rate).
    pub const fn ticks(self) -> i64 {
        self.ticks
    }

    /// Ticks per second.
    pub const fn rate(self) -> NonZeroU32 {
        self.rate
    }

    /// The same instant counted at another rate, rounded to the nearest tick.
    pub fn rescale(self, rate: NonZeroU32) -> Self {
        if rate == self.rate {
            return self;
        }
        let from = i128::from(self.rate.get());
        let scaled = i128::from(self.ticks) * i128::from(rate.get());
        let rounded = (scaled + from / 2).div_euclid(from);
        Self::new(i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX }), rate)
    }

    /// Whole microseconds since the origin.
    pub fn micros(self) -> i64 {
        self.rescale(Self::MICROS).ticks
    }

    /// Seconds since the origin.
    pub fn seconds(self) -> f64 {
        self.ticks as f64 / f64::from(self.rate.get())
    }

    /// As an unsigned length of time; times before the origin give zero.
    pub fn duration(self) -> Duration {
        Duration::from_micros(u64::try_from(self.micros()).unwrap_or(0))
    }

    /// The sum, counted at this time's rate.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::new(self.ticks.saturating_add(other.rescale(self.rate).ticks), self.rate)
    }

    /// The difference, counted at this time's rate.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self::new(self.ticks.saturating_sub(other.rescale(self.rate).ticks), self.rate)
    }
}

impl From<Duration> for MediaTime {
    fn from(value: Duration) -> Self {
        Self::from_micros(i64::try_from(value.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Ord for MediaTime {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = i128::from(self.ticks) * i128::from(other.rate.get());
        let right = i128::from(other.ticks) * i128::from(self.rate.get());
        left.cmp(&right)
    }
}

impl PartialOrd for MediaTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for MediaTime {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MediaTime {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(hz: u32) -> NonZeroU32 {
        NonZeroU32::new(hz).unwrap()
    }

    #[test]
    fn the_same_instant_is_equal_at_any_rate() {
        assert_eq!(MediaTime::new(24_000, rate(48_000)), MediaTime::new(45_000, rate(90_000)));
        assert!(MediaTime::new(1, rate(48_000)) < MediaTime::new(2, rate(90_000)));
    }

    #[test]
    fn rescaling_rounds_to_the_nearest_tick_on_both_sides_of_the_origin() {
        assert_eq!(MediaTime::new(1, rate(3)).rescale(rate(90_000)).ticks(), 30_000);
        assert_eq!(MediaTime::new(2, rate(3)).rescale(rate(1000)).ticks(), 667);
        assert_eq!(MediaTime::new(-2, rate(3)).rescale(rate(1000)).ticks(), -667);
    }

    #[test]
    fn a_century_at_90_khz_does_not_overflow() {
        let century = MediaTime::new(100 * 365 * 86_400 * 90_000, rate(90_000));
        assert_eq!(century.rescale(MediaTime::MICROS).ticks(), 100 * 365 * 86_400 * 1_000_000);
    }
}
