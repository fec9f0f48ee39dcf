//! The rooms, wherever they are kept: in the memory of this process, or in a Redis that several share.

use super::backplane::{Backplane, Timing};
use super::hub::{Gone, Hub, Seat, Seated};
use super::limits::Limits;
use super::metrics::Counters;
use super::outbox::Outbox;
use super::protocol::{Fault, Join, Relay};
use super::{RedisOptions, RoomsError};
use crate::stop::Stop;
use serde_json::Value;
use std::time::Instant;

/// All rooms.
pub(super) enum Registry {
    Memory(Box<Hub>),
    Redis(Box<Backplane>),
}

impl Registry {
    /// With a Redis that is there.
    pub async fn open(limits: Limits, redis: Option<&RedisOptions>) -> Result<Self, RoomsError> {
        match redis {
            None => Ok(Self::Memory(Box::new(Hub::new(limits)))),
            Some(redis) => Ok(Self::Redis(Box::new(Backplane::open(redis, limits, Timing::default()).await?))),
        }
    }

    pub fn limits(&self) -> &Limits {
        match self {
            Self::Memory(hub) => hub.limits(),
            Self::Redis(backplane) => backplane.limits(),
        }
    }

    pub fn counters(&self) -> &Counters {
        match self {
            Self::Memory(hub) => &hub.counters,
            Self::Redis(backplane) => &backplane.counters,
        }
    }

    /// Rooms, and members in all of them, of this process.
    pub fn census(&self) -> (usize, usize) {
        match self {
            Self::Memory(hub) => hub.census(),
            Self::Redis(backplane) => backplane.census(),
        }
    }

    /// Whether Redis answers; `None` without one.
    pub fn redis_is_up(&self) -> Option<bool> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(backplane) => Some(backplane.is_up()),
        }
    }

    /// Gives a connection a seat, and its `joined`.
    pub async fn join(&self, room: &str, join: Join, outbox: &Outbox, ice: &[Value]) -> Result<Seated, Fault> {
        match self {
            Self::Memory(hub) => hub.join(room, join, outbox, ice),
            // Of ten thousand connections nearly all do nothing: what they wait in must be small.
            Self::Redis(backplane) => Box::pin(backplane.join(room, join, outbox, ice)).await,
        }
    }

    /// Passes a message on. False when it is for somebody who is not there.
    pub async fn relay(&self, seat: &Seat, relay: &Relay<'_>) -> Result<bool, Fault> {
        match self {
            Self::Memory(hub) => Ok(hub.relay(seat, relay)),
            Self::Redis(backplane) => Box::pin(backplane.relay(seat, relay)).await,
        }
    }

    /// Takes a member out for good. False when it is gone already.
    pub async fn leave(&self, seat: &Seat) -> bool {
        match self {
            Self::Memory(hub) => hub.leave(seat),
            Self::Redis(backplane) => Box::pin(backplane.leave(seat)).await,
        }
    }

    /// A connection was lost: its member may come back.
    pub async fn lose(&self, seat: &Seat) {
        match self {
            Self::Memory(hub) => hub.lose(seat),
            Self::Redis(backplane) => Box::pin(backplane.lose(seat)).await,
        }
    }

    /// Takes out who did not come back in time.
    pub fn sweep(&self, now: Instant) -> Vec<Gone> {
        match self {
            Self::Memory(hub) => hub.sweep(now),
            // That is done beside the other work there, see `keep`.
            Self::Redis(_) => Vec::new(),
        }
    }

    /// What has to be done besides: runs until it is dropped, and gives who is gone.
    pub async fn keep(&self, stop: Stop, gone: impl Fn(Gone)) {
        match self {
            Self::Memory(_) => std::future::pending().await,
            Self::Redis(backplane) => backplane.keep(stop, gone).await,
        }
    }

    /// All connections are closed, and it is over.
    pub async fn close(&self) {
        if let Self::Redis(backplane) = self {
            backplane.close().await;
        }
    }
}
