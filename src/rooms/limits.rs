//! How much one client, and all of them together, may ask of the server.

use std::time::{Duration, Instant};

/// Limits, each with a default that suits calls and keeps a public server alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Members of a room.
    pub max_peers: usize,
    /// Rooms at the same time.
    pub max_rooms: usize,
    /// WebSocket connections at the same time.
    pub max_clients: usize,
    /// Bytes of a message.
    pub max_message_size: usize,
    /// Messages per second of one client; for a moment it may send twice as many.
    pub max_rate: u32,
    /// How long a client may show no sign of life. It is pinged three times in that.
    pub idle_timeout: Duration,
    /// How long a member whose connection was lost may take to come back.
    pub resume: Duration,
    /// How much of that its place in a full room is kept from newcomers: it may be the same program, started anew.
    pub hold: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_peers: 2,
            max_rooms: 10_000,
            max_clients: 20_000,
            max_message_size: 128 << 10,
            max_rate: 50,
            idle_timeout: Duration::from_secs(60),
            resume: Duration::from_secs(30),
            hold: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// How long a connection may take for what precedes its first message: TLS, a request, `join`.
    pub(super) const HURRY: Duration = Duration::from_secs(10);

    /// Bytes that may wait for one client.
    pub(super) fn backlog(&self) -> usize {
        (8 * self.max_message_size).max(256 << 10)
    }

    /// Bytes that are kept for a member that may come back.
    pub(super) fn memory(&self) -> usize {
        2 * self.max_message_size
    }
}

/// A token bucket: holds two seconds' worth of messages.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub fn new(per_second: u32, now: Instant) -> Self {
        let rate = f64::from(per_second);
        Self { rate, tokens: 2.0 * rate, filled: now }
    }

    /// Takes one message; false when there have been too many.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(2.0 * self.rate);
        self.filled = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        assert_eq!((0..100).filter(|_| bucket.take(start)).count(), 20);
        let later = start + Duration::from_millis(500);
        assert_eq!((0..100).filter(|_| bucket.take(later)).count(), 5);
    }
}
