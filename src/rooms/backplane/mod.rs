//! Rooms that several servers behind a balancer share, in a Redis.
//!
//! Redis has the truth: who is in which room, on which instance, and what each member was told last. Whatever changes it is one
//! script, which also gives each event its number and publishes it to the instances whose members it is for. An instance has the connections of
//! its members, and knows enough of them to put them back when Redis comes back empty.
//!
//! - A message that a client sends again, or that we do because its answer got lost, is known by its number, so it is told once. An event that is
//!   published again is known by its number as well.
//! - When Redis was started anew, whatever it holds is cleared, since it may be old. Then there is a moment in which nothing changes and each
//!   instance restores its members, and after it their last messages, since they may not have come through. Who is not restored is gone.
//! - An instance that gives no sign of life has lost its members, who may resume on another for as long as they may on this one.

mod guests;
mod link;
mod script;
#[cfg(test)]
mod tests;
mod timing;
mod wire;

pub(super) use timing::Timing;

use super::RoomsError;
use super::hub::{Gone, Seat, Seated};
use super::limits::Limits;
use super::metrics::Counters;
use super::outbox::Outbox;
use super::protocol::{CloseCode, Event as Said, Fault, Join, Peer, Relay, VERSION};
use super::random;
use crate::ice_server::Secret;
use crate::stop::Stop;
use guests::{Guests, Sent, Standing};
use link::Link;
use ring::rand::SystemRandom;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use wire::{Event, Member};

/// The rooms as one instance has them.
pub(super) struct Backplane {
    limits: Limits,
    random: SystemRandom,
    guests: Arc<Guests>,
    link: Link,
    pub counters: Counters,
}

/// Keeps what comes for a member while the answer to its `join` is awaited.
struct Hold<'a>(&'a Guests, String);

impl<'a> Hold<'a> {
    fn new(guests: &'a Guests, id: &str) -> Self {
        guests.hold(id);
        Self(guests, id.to_owned())
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.release(&self.1);
    }
}

/// Where a Redis is, and whom it is trusted by.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, `rediss://…` over TLS, `redis+unix:///PATH`.
    pub url: Secret,
    /// The only authorities that are trusted with the certificate of one over TLS (PEM); those of this system without it. Read once.
    pub ca_file: Option<PathBuf>,
}

impl Backplane {
    pub async fn open(redis: &RedisOptions, limits: Limits, timing: Timing) -> Result<Self, RoomsError> {
        let random = SystemRandom::new();
        let failed = |fault: Fault| RoomsError::Redis { address: String::new(), reason: fault.message, kind: None };
        let instance = random::text::<9>(&random).map_err(failed)?;
        let guests = Arc::new(Guests::default());
        let link = Link::open(redis, instance, &limits, timing, Arc::clone(&guests)).await?;
        Ok(Self { limits, random, guests, link, counters: Counters::default() })
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn census(&self) -> (usize, usize) {
        self.guests.census()
    }

    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    pub async fn join(&self, room: &str, join: Join, outbox: &Outbox, ice_servers: &[Value]) -> Result<Seated, Fault> {
        let id = random::text::<9>(&self.random)?;
        // With the ID in it, so that a member that comes back is known before Redis is asked.
        let token = format!("{id}.{}", random::text::<18>(&self.random)?);
        let secret = join.resume.as_deref().unwrap_or_default();
        let old = secret.split_once('.').map_or("", |(id, _)| id);
        let connection = self.counters.next_connection();
        let _holds = (Hold::new(&self.guests, &id), Hold::new(&self.guests, old));
        let (name, capabilities) = (join.name.as_deref(), join.capabilities.as_deref());
        let peer = Peer { id: &id, role: join.role, name, capabilities };
        let came = wire::head(&Said::OtherJoin { peer: peer.clone(), seq: 0 });
        let back = wire::head(&Said::Rejoined { id: old, seq: 0 });
        let (number, seen) = (connection.to_string(), join.seq.map(|seq| seq.to_string()).unwrap_or_default());
        let info = wire::info(&peer);
        let arguments = [room, &id, &token, &info, &number, &came, old, secret, &seen, &back];
        let answer = self.link.call(|scripts| &scripts.join, &arguments).await?;
        let resumed = match answer.status() {
            "new" => false,
            "resumed" => true,
            "full" => return Err(Fault::new(CloseCode::Full, "the room is full")),
            "rooms" => return Err(Fault::new(CloseCode::TooManyRooms, "this server has no more rooms")),
            other => return Err(unavailable(&format!("Redis says '{other}'"))),
        };
        let peers: Vec<Member> = answer.texts(7).iter().filter_map(|info| serde_json::from_str(info).ok()).collect();
        let missed: Vec<Event> = answer.texts(8).iter().filter_map(|entry| Event::parse(entry)).collect();
        let standing = Standing {
            room: room.into(),
            id: answer.text(1).into(),
            token: answer.text(2),
            info: answer.text(3),
            connection,
            lost: false,
            sent: answer.number(4).saturating_sub(missed.len() as u64),
            received: answer.number(5),
            op: answer.number(6),
            heard: HashMap::new(),
            peers: peers.iter().map(|peer| (peer.id.clone(), wire::info(&peer.peer()))).collect::<BTreeMap<_, _>>(),
            recent: VecDeque::new(),
            unsettled: false,
        };
        let joined = Said::Joined {
            version: VERSION,
            room,
            id: &standing.id,
            token: &standing.token,
            peers: peers.iter().map(Member::peer).collect(),
            ice_servers,
            max_peers: self.limits.max_peers,
            resumed,
            received: standing.received,
        };
        outbox.push(joined.to_json().into());
        let seat = Seat { room: Arc::clone(&standing.room), id: Arc::clone(&standing.id), connection };
        self.guests.seat(standing, outbox, &missed);
        let gone = Some(answer.text(9)).filter(|gone| !gone.is_empty());
        let gone = gone.map(|id| Gone { room: Arc::clone(&seat.room), id: id.into() });
        Ok(Seated { seat, resumed, members: peers.len() + 1, gone })
    }

    pub async fn relay(&self, seat: &Seat, relay: &Relay<'_>) -> Result<bool, Fault> {
        let to = relay.to.as_deref();
        if to == Some("") {
            return Ok(false);
        }
        let Some(op) = self.guests.standing(&seat.id, seat.connection, |standing| standing.op + 1) else {
            return Ok(true);
        };
        let head = wire::head(&Said::Message { from: &seat.id, data: relay.data, seq: 0 });
        let (connection, number) = (seat.connection.to_string(), op.to_string());
        let seq = relay.seq.map(|seq| seq.to_string()).unwrap_or_default();
        let to_whom = to.unwrap_or_default().to_owned();
        let arguments = [&*seat.room, &seat.id, &connection, &number, &seq, &to_whom, &head];
        let answer = self.link.call(|scripts| &scripts.relay, &arguments).await?;
        if answer.status() != "ok" {
            return Err(unavailable("this server lost the member"));
        }
        let sent = Sent { op, to: to_whom, head, at: Instant::now() };
        self.guests.standing(&seat.id, seat.connection, |standing| standing.sent(sent, relay.seq));
        let told = answer.number(1);
        self.counters.relayed(told, relay.data.get().len());
        Ok(told > 0 || to.is_none())
    }

    pub async fn leave(&self, seat: &Seat) -> bool {
        let left = self.end(seat, "1").await;
        if left.is_err() {
            // Then it is as if its connection were lost: it goes when it does not come back.
            self.guests.lose(&seat.id, seat.connection, Instant::now());
        } else {
            self.guests.remove(&seat.id, seat.connection);
        }
        left.unwrap_or(true)
    }

    pub async fn lose(&self, seat: &Seat) {
        self.guests.lose(&seat.id, seat.connection, Instant::now());
        // When Redis is away it learns of this when the member is restored.
        let _ = self.end(seat, "0").await;
    }

    async fn end(&self, seat: &Seat, for_good: &str) -> Result<bool, Fault> {
        let connection = seat.connection.to_string();
        let arguments = [&*seat.room, &seat.id, &connection, for_good];
        Ok(self.link.call(|scripts| &scripts.leave, &arguments).await?.number(1) == 1)
    }

    pub async fn keep(&self, stop: Stop, gone: impl Fn(Gone)) {
        self.link.keep(stop, gone).await;
    }

    pub async fn close(&self) {
        self.link.close().await;
    }
}

fn unavailable(why: &str) -> Fault {
    Fault::new(CloseCode::Unavailable, why)
}
