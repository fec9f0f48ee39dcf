//! How stages run: named threads, bounded queues between them, and the clock they share.
//!
//! `queue` is the one bridge between blocking threads (cameras, encoders, muxers) and async code (sockets).
//! End of stream travels inside the queues: a dropped sender ends the receiver after the last item, so stopping
//! never truncates what was captured.

mod clock;
pub mod queue;
mod worker;

pub use clock::{Clock, Paced, Timed};
pub use worker::Worker;
