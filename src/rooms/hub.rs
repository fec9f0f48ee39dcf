//! Who is in which room, and who is told what. One lock, never held across a wait.

use super::limits::Limits;
use super::metrics::Counters;
use super::outbox::Outbox;
use super::protocol::{CloseCode, Event, Fault, Join, Peer, Relay, Role, VERSION};
use super::random;
use ring::rand::SystemRandom;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// All rooms.
pub(super) struct Hub {
    limits: Limits,
    rooms: Mutex<HashMap<Arc<str>, Room>>,
    random: SystemRandom,
    pub counters: Counters,
}

#[derive(Default)]
struct Room {
    members: Vec<Member>,
}

struct Member {
    id: Arc<str>,
    token: String,
    role: Role,
    name: Option<String>,
    capabilities: Option<Box<RawValue>>,
    /// None while its connection is lost.
    outbox: Option<Outbox>,
    /// Which of its connections that is.
    connection: u64,
    lost: Option<Instant>,
    /// The number of the last event for it.
    sent: u64,
    /// The number of the last message from it.
    received: u64,
    /// The last events, in case it comes back.
    recent: VecDeque<Recent>,
    recent_bytes: usize,
}

struct Recent {
    seq: u64,
    at: Instant,
    text: Arc<str>,
}

/// Where a connection sits.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub room: Arc<str>,
    pub id: Arc<str>,
    pub connection: u64,
}

/// What came of a `join`.
pub(super) struct Seated {
    pub seat: Seat,
    pub resumed: bool,
    pub members: usize,
    /// Who made room.
    pub gone: Option<Gone>,
}

/// A member that did not come back.
pub(super) struct Gone {
    pub room: Arc<str>,
    pub id: Arc<str>,
}

impl Member {
    /// Sends an event that is made with its number.
    fn tell(&mut self, limits: &Limits, event: impl FnOnce(u64) -> String) {
        self.sent += 1;
        let text: Arc<str> = event(self.sent).into();
        self.recent_bytes += text.len();
        self.recent.push_back(Recent { seq: self.sent, at: Instant::now(), text: Arc::clone(&text) });
        while self.recent_bytes > limits.memory() {
            self.forget_one();
        }
        if let Some(outbox) = &self.outbox {
            outbox.push(text);
        }
    }

    fn forget_one(&mut self) {
        if let Some(oldest) = self.recent.pop_front() {
            self.recent_bytes -= oldest.text.len();
        }
    }

    /// Whether all that came after `seq` is still known.
    fn remembers(&self, seq: u64) -> bool {
        let oldest = self.recent.front().map_or(self.sent + 1, |recent| recent.seq);
        (oldest..=self.sent + 1).contains(&(seq + 1))
    }

    fn peer(&self) -> Peer<'_> {
        let (name, capabilities) = (self.name.as_deref(), self.capabilities.as_deref());
        Peer { id: &self.id, role: self.role, name, capabilities }
    }
}

impl Room {
    fn position(&self, seat: &Seat) -> Option<usize> {
        self.members.iter().position(|member| member.id == seat.id && member.connection == seat.connection)
    }

    fn tell_others(&mut self, id: &str, limits: &Limits, event: impl Fn(u64) -> String) {
        for member in self.members.iter_mut().filter(|member| &*member.id != id) {
            member.tell(limits, &event);
        }
    }

    fn remove(&mut self, at: usize, limits: &Limits) -> Member {
        let member = self.members.remove(at);
        self.tell_others(&member.id, limits, |seq| Event::Bye { id: &member.id, seq }.to_json());
        member
    }

    /// Takes out who has been lost for longest, if it is longer than `hold`.
    fn make_room(&mut self, limits: &Limits) -> Option<Member> {
        let lost = self.members.iter().enumerate().filter_map(|(at, member)| Some((member.lost?, at)));
        let (since, at) = lost.min()?;
        (since.elapsed() >= limits.hold).then(|| self.remove(at, limits))
    }
}

impl Hub {
    pub fn new(limits: Limits) -> Self {
        Self { limits, rooms: Mutex::default(), random: SystemRandom::new(), counters: Counters::default() }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Rooms, and members in all of them.
    pub fn census(&self) -> (usize, usize) {
        let rooms = self.rooms();
        (rooms.len(), rooms.values().map(|room| room.members.len()).sum())
    }

    /// Gives a connection a seat, and its `joined`.
    pub fn join(&self, name: &str, join: Join, outbox: &Outbox, ice_servers: &[Value]) -> Result<Seated, Fault> {
        let mut rooms = self.rooms();
        let known = rooms.contains_key(name);
        if !known && rooms.len() >= self.limits.max_rooms {
            return Err(Fault::new(CloseCode::TooManyRooms, "this server has no more rooms"));
        }
        let name: Arc<str> = rooms.get_key_value(name).map_or_else(|| name.into(), |(name, _)| Arc::clone(name));
        let connection = self.counters.next_connection();
        let room = rooms.entry(Arc::clone(&name)).or_default();
        let resumed_at = self.resume(room, &join, outbox, connection);
        let is_full = resumed_at.is_none() && room.members.len() >= self.limits.max_peers;
        let gone = if is_full { room.make_room(&self.limits) } else { None };
        let at = match resumed_at {
            Some(at) => Ok(at),
            None if is_full && gone.is_none() => Err(Fault::new(CloseCode::Full, "the room is full")),
            None => random::text::<9>(&self.random).and_then(|id| Ok((id, random::text::<18>(&self.random)?))).map(
                |(id, token)| {
                    room.members.push(Member {
                        id: id.into(),
                        token,
                        role: join.role,
                        name: join.name.clone(),
                        capabilities: join.capabilities.clone(),
                        outbox: Some(outbox.clone()),
                        connection,
                        lost: None,
                        sent: 0,
                        received: 0,
                        recent: VecDeque::new(),
                        recent_bytes: 0,
                    });
                    room.members.len() - 1
                },
            ),
        };
        let at = match at {
            Ok(at) => at,
            Err(fault) => {
                if room.members.is_empty() {
                    rooms.remove(&name);
                }
                return Err(fault);
            }
        };
        let Room { members } = &mut *room;
        let id = Arc::clone(&members[at].id);
        let resumed = join.resume.as_ref() == Some(&members[at].token);
        let me = &members[at];
        let joined = Event::Joined {
            version: VERSION,
            room: &name,
            id: &id,
            token: &me.token,
            peers: members.iter().filter(|member| member.id != id).map(Member::peer).collect(),
            ice_servers,
            max_peers: self.limits.max_peers,
            resumed,
            received: me.received,
        };
        outbox.push(joined.to_json().into());
        if resumed {
            let seen = join.seq.unwrap_or(me.sent);
            me.recent
                .iter()
                .filter(|recent| recent.seq > seen)
                .for_each(|recent| outbox.push(Arc::clone(&recent.text)));
            room.tell_others(&id, &self.limits, |seq| Event::Rejoined { id: &id, seq }.to_json());
        } else {
            let (role, name, capabilities) = (join.role, join.name.as_deref(), join.capabilities.as_deref());
            room.tell_others(&id, &self.limits, |seq| {
                Event::OtherJoin { peer: Peer { id: &id, role, name, capabilities }, seq }.to_json()
            });
        }
        let members = room.members.len();
        let gone = gone.map(|gone| Gone { room: Arc::clone(&name), id: gone.id });
        Ok(Seated { seat: Seat { room: name, id, connection }, resumed, members, gone })
    }

    /// Gives a member that comes back its new connection.
    fn resume(&self, room: &mut Room, join: &Join, outbox: &Outbox, connection: u64) -> Option<usize> {
        let token = join.resume.as_ref()?;
        let at = room.members.iter().position(|member| member.token == *token)?;
        let member = &mut room.members[at];
        if !member.remembers(join.seq.unwrap_or(member.sent)) {
            if let Some(old) = room.remove(at, &self.limits).outbox {
                old.close(CloseCode::Replaced);
            }
            return None;
        }
        if let Some(old) = member.outbox.replace(outbox.clone()) {
            old.close(CloseCode::Replaced);
        }
        (member.connection, member.lost) = (connection, None);
        Some(at)
    }

    /// Passes a message on. False when it is for somebody who is not there.
    pub fn relay(&self, seat: &Seat, relay: &Relay<'_>) -> bool {
        let mut rooms = self.rooms();
        let Some(room) = rooms.get_mut(&seat.room) else { return true };
        let Some(at) = room.position(seat) else { return true };
        if let Some(seq) = relay.seq {
            let from = &mut room.members[at];
            if seq <= from.received {
                return true;
            }
            from.received = seq;
        }
        let mut told = 0;
        for member in room.members.iter_mut().filter(|member| member.id != seat.id) {
            if relay.to.as_deref().is_none_or(|to| to == &*member.id) {
                member.tell(&self.limits, |seq| Event::Message { from: &seat.id, data: relay.data, seq }.to_json());
                told += 1;
            }
        }
        self.counters.relayed(told, relay.data.get().len());
        told > 0 || relay.to.is_none()
    }

    /// Takes a member out for good. False when it is gone already.
    pub fn leave(&self, seat: &Seat) -> bool {
        let mut rooms = self.rooms();
        let Some(room) = rooms.get_mut(&seat.room) else { return false };
        let Some(at) = room.position(seat) else { return false };
        room.remove(at, &self.limits);
        if room.members.is_empty() {
            rooms.remove(&seat.room);
        }
        true
    }

    /// A connection was lost: its member may come back.
    pub fn lose(&self, seat: &Seat) {
        let mut rooms = self.rooms();
        let Some(room) = rooms.get_mut(&seat.room) else { return };
        if let Some(at) = room.position(seat) {
            let member = &mut room.members[at];
            (member.outbox, member.lost) = (None, Some(Instant::now()));
            room.tell_others(&seat.id, &self.limits, |seq| Event::Lost { id: &seat.id, seq }.to_json());
        }
    }

    /// Takes out who did not come back in time, and forgets what nobody will ask for any more.
    pub fn sweep(&self, now: Instant) -> Vec<Gone> {
        let old = |at: Instant| now.saturating_duration_since(at) > self.limits.resume;
        let mut gone = Vec::new();
        self.rooms().retain(|name, room| {
            while let Some(at) = room.members.iter().position(|member| member.lost.is_some_and(old)) {
                gone.push(Gone { room: Arc::clone(name), id: room.remove(at, &self.limits).id });
            }
            for member in room.members.iter_mut().filter(|member| member.lost.is_none()) {
                while member.recent.front().is_some_and(|recent| old(recent.at)) {
                    member.forget_one();
                }
                if member.recent.is_empty() {
                    member.recent.shrink_to(0);
                }
            }
            !room.members.is_empty()
        });
        gone
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<Arc<str>, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
