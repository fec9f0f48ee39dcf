//! How long what takes between instances.

use std::time::Duration;

/// The times of an instance.
#[derive(Clone, Debug)]
pub(in crate::rooms) struct Timing {
    /// Between two signs of life.
    pub beat: Duration,
    /// After so long without one an instance is taken for dead, and its members for lost.
    pub alive: Duration,
    /// After so long without our own sign of life coming back the connection is taken for dead.
    pub silence: Duration,
    /// How long nothing changes in a Redis that holds nothing: so long may the instances take to put back what they know.
    pub window: Duration,
    /// How long a client waits for a Redis that is away.
    pub patience: Duration,
    /// Between two attempts to reach it.
    pub again: Duration,
    /// How long Redis may take for a connection or an answer.
    pub answer: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(1),
            alive: Duration::from_secs(6),
            silence: Duration::from_secs(4),
            window: Duration::from_secs(2),
            patience: Duration::from_secs(8),
            again: Duration::from_millis(200),
            answer: Duration::from_secs(2),
        }
    }
}
