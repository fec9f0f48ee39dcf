//! One direction of a bad network.

use super::Conditions;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Link {
    random: u64,
    /// When the last datagram is through the narrow part, and when it arrives.
    free_at: Option<Instant>,
    arrives: Option<Instant>,
}

impl Link {
    /// Bytes of UDP and IPv4.
    const HEADERS: usize = 28;

    pub(super) fn new(seed: u64) -> Self {
        Self { random: seed | 1, free_at: None, arrives: None }
    }

    /// From 0 to less than 1.
    fn chance(&mut self) -> f64 {
        // Xorshift*, by Marsaglia and Vigna.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// When a datagram that is sent now arrives; `None` when it is lost. In order, always.
    pub(super) fn pass(&mut self, bytes: usize, conditions: &Conditions, now: Instant) -> Option<Instant> {
        let (luck, swing) = (self.chance(), self.chance());
        let mut through = now;
        if let Some(rate) = conditions.rate {
            let begins = self.free_at.map_or(now, |free| free.max(now));
            if begins - now > conditions.queue {
                return None;
            }
            through = begins + Duration::from_secs_f64((bytes + Self::HEADERS) as f64 * 8.0 / rate);
            self.free_at = Some(through);
        }
        if luck < conditions.loss {
            return None;
        }
        let delay = conditions.delay - conditions.jitter + conditions.jitter.mul_f64(2.0 * swing);
        let arrives = (through + delay).max(self.arrives.unwrap_or(now));
        self.arrives = Some(arrives);
        Some(arrives)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_as_fast_as_it_is_and_what_would_wait_too_long_is_lost() {
        let (begin, ms) = (Instant::now(), Duration::from_millis);
        let conditions = Conditions { rate: Some(100_000.0), delay: ms(50), queue: ms(300), ..Conditions::default() };
        let mut link = Link::new(7);
        // 1,222 bytes and 28 of headers take 100 ms.
        let arrivals: Vec<_> = (0..6).map(|_| link.pass(1222, &conditions, begin)).collect();
        let expected = [Some(150), Some(250), Some(350), Some(450), None, None];
        assert_eq!(arrivals, expected.map(|after| after.map(|after| begin + ms(after))));
        let later = begin + ms(1000);
        assert_eq!(link.pass(1222, &conditions, later), Some(later + ms(150)), "the queue is empty again");
    }

    #[test]
    fn loss_and_jitter_are_as_said_and_the_order_stays() {
        let (begin, ms) = (Instant::now(), Duration::from_millis);
        let conditions = Conditions { loss: 0.1, delay: ms(80), jitter: ms(10), ..Conditions::default() };
        let mut link = Link::new(7);
        let sent = |n: u32| begin + n * ms(20);
        let arrivals: Vec<_> =
            (0..10_000).map(|n| link.pass(100, &conditions, sent(n)).map(|at| at - sent(n))).collect();
        let came: Vec<_> = arrivals.iter().flatten().collect();
        assert!((8800..9200).contains(&came.len()), "{} of 10,000", came.len());
        assert!(came.iter().all(|delay| (ms(70)..=ms(90)).contains(*delay)));
        let mut again = Link::new(7);
        let same = (0..10_000).map(|n| again.pass(100, &conditions, sent(n)).map(|at| at - sent(n)));
        assert!(same.eq(arrivals.iter().copied()), "the seed decides");
    }
}
