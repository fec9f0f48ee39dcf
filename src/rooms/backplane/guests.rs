//! The members whose connections this instance has, and what each was told. One lock, never held across a wait.

use super::super::outbox::Outbox;
use super::super::protocol::CloseCode;
use super::wire::{Event, Note};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// All of them, by ID.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<HashMap<Arc<str>, Guest>>);

/// A member, as it is put back into a Redis that has lost it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    pub room: Arc<str>,
    pub id: Arc<str>,
    pub token: String,
    /// What others are told of it: JSON.
    pub info: String,
    pub connection: u64,
    pub lost: bool,
    /// The number of the last event that it was given.
    pub sent: u64,
    /// The number of the last message from it, as it counts.
    pub received: u64,
    /// The number of the last message from it, as we count.
    pub op: u64,
    /// Of each other member the number of the last message that it was given.
    pub heard: HashMap<String, u64>,
    /// Whom it knows to be in the room, with what it was told of them.
    pub peers: BTreeMap<String, String>,
    /// Its last messages: Redis may have died when it had told us, and not yet the others.
    pub recent: VecDeque<Sent>,
    /// It was restored into an empty Redis, and what was under way is not yet told again.
    pub unsettled: bool,
}

/// A message of a member.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    pub op: u64,
    pub to: String,
    pub head: String,
    pub at: Instant,
}

/// How long messages are kept, and how many.
const RECENT: (Duration, usize) = (Duration::from_secs(2), 64);

#[derive(Debug)]
struct Guest {
    /// Absent while the first answer to its `join` is awaited.
    standing: Option<Standing>,
    outbox: Option<Outbox>,
    lost: Option<Instant>,
    /// How many answers to `join` are awaited.
    awaited: usize,
    /// What came meanwhile.
    held: Vec<Event>,
}

impl Guest {
    fn give(&mut self, event: &Event) -> bool {
        let (Some(standing), Some(outbox)) = (&mut self.standing, &self.outbox) else { return true };
        if event.seq <= standing.sent {
            return true;
        }
        if event.seq > standing.sent + 1 {
            return false;
        }
        standing.take(event);
        outbox.push(Arc::clone(&event.text));
        true
    }

    fn leave(&mut self, code: CloseCode) {
        if let Some(outbox) = self.outbox.take() {
            outbox.close(code);
        }
    }
}

impl Standing {
    /// The number of the last message that need not be told again.
    pub fn told(&self) -> u64 {
        self.recent.front().map_or(self.op, |sent| sent.op - 1)
    }

    /// Redis has told a message of this member.
    pub fn sent(&mut self, sent: Sent, seq: Option<u64>) {
        self.op = sent.op;
        self.received = self.received.max(seq.unwrap_or_default());
        let now = sent.at;
        self.recent.push_back(sent);
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        let (age, most) = RECENT;
        let old = |sent: &Sent| now.saturating_duration_since(sent.at) > age;
        while self.recent.len() > most || self.recent.front().is_some_and(old) {
            self.recent.pop_front();
        }
        if self.recent.is_empty() {
            self.recent.shrink_to(0);
        }
    }

    fn take(&mut self, event: &Event) {
        self.sent = event.seq;
        match &event.note {
            Note::Came(id) => {
                self.peers.extend(event.peer().map(|info| (id.clone(), info)));
            }
            Note::Went(id) => {
                self.peers.remove(id);
                self.heard.remove(id);
            }
            Note::Message { from, op } => {
                self.heard.insert(from.clone(), *op);
            }
            Note::Other => {}
        }
    }
}

impl Guests {
    /// Somebody may become, or come back as, this member: what comes for it from now on is kept.
    pub fn hold(&self, id: &str) {
        let mut guests = self.lock();
        let guest = guests.entry(id.into()).or_insert_with(|| Guest {
            standing: None,
            outbox: None,
            lost: None,
            awaited: 0,
            held: Vec::new(),
        });
        guest.awaited += 1;
    }

    /// The end of [`hold`](Self::hold).
    pub fn release(&self, id: &str) {
        let mut guests = self.lock();
        let Some(guest) = guests.get_mut(id) else { return };
        guest.awaited = guest.awaited.saturating_sub(1);
        if guest.awaited == 0 {
            guest.held = Vec::new();
            if guest.standing.is_none() {
                guests.remove(id);
            }
        }
    }

    /// The member has this connection now. `missed` is what it shall be given first; what was held comes behind it.
    pub fn seat(&self, mut standing: Standing, outbox: &Outbox, missed: &[Event]) {
        let mut guests = self.lock();
        let Some(guest) = guests.get_mut(&standing.id) else { return };
        guest.leave(CloseCode::Replaced);
        for event in missed {
            standing.take(event);
            outbox.push(Arc::clone(&event.text));
        }
        (guest.standing, guest.lost) = (Some(standing), None);
        guest.outbox = Some(outbox.clone());
        let held = guest.held.clone();
        for event in &held {
            guest.give(event);
        }
    }

    /// An event for a member. False when one is missing before it.
    pub fn deliver(&self, id: &str, event: &Event) -> bool {
        let mut guests = self.lock();
        let Some(guest) = guests.get_mut(id) else { return true };
        if guest.awaited > 0 {
            guest.held.push(event.clone());
        }
        guest.give(event)
    }

    /// What a member missed while we had no connection to Redis.
    pub fn catch_up(&self, id: &str, missed: &[Event]) {
        if let Some(guest) = self.lock().get_mut(id) {
            for event in missed {
                guest.give(event);
            }
        }
    }

    /// The member is somewhere else, or nowhere; with `connection` only if that is its connection here.
    pub fn expel(&self, id: &str, connection: Option<u64>, code: CloseCode) {
        let mut guests = self.lock();
        let Some(guest) = guests.get_mut(id) else { return };
        let own = guest.standing.as_ref().map(|standing| standing.connection);
        if connection.is_some() && connection != own {
            return;
        }
        guest.leave(code);
        guest.standing = None;
        if guest.awaited == 0 {
            guests.remove(id);
        }
    }

    /// The member is gone for good, which its connection knows.
    pub fn remove(&self, id: &str, connection: u64) {
        if self.standing(id, connection, |_| ()).is_some() {
            self.lock().remove(id);
        }
    }

    /// The member on this connection; `None` when it has another by now, or is gone.
    pub fn standing<T>(&self, id: &str, connection: u64, look: impl FnOnce(&mut Standing) -> T) -> Option<T> {
        let mut guests = self.lock();
        let standing = guests.get_mut(id)?.standing.as_mut()?;
        (standing.connection == connection).then(|| look(standing))
    }

    /// The connection of a member was lost.
    pub fn lose(&self, id: &str, connection: u64, now: Instant) {
        let mut guests = self.lock();
        let Some(guest) = guests.get_mut(id) else { return };
        if let Some(standing) = guest.standing.as_mut().filter(|standing| standing.connection == connection) {
            standing.lost = true;
            (guest.outbox, guest.lost) = (None, Some(now));
        }
    }

    /// Forgets who did not come back in time, and what is too old to be told again.
    pub fn forget(&self, now: Instant, resume: Duration) {
        let late = |at: Instant| now.saturating_duration_since(at) > resume;
        self.lock().retain(|_, guest| {
            if let Some(standing) = &mut guest.standing {
                standing.forget(now);
            }
            guest.awaited > 0 || !guest.lost.is_some_and(late)
        });
    }

    /// All that are seated or lost here.
    pub fn all(&self) -> Vec<Standing> {
        self.lock().values().filter_map(|guest| guest.standing.clone()).collect()
    }

    /// Rooms, and members in all of them.
    pub fn census(&self) -> (usize, usize) {
        let guests = self.lock();
        let rooms: std::collections::HashSet<&str> =
            guests.values().filter_map(|guest| guest.standing.as_ref()).map(|standing| &*standing.room).collect();
        (rooms.len(), guests.len())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Guest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outbox::Item;
    use super::*;

    fn event(seq: u64, note: &str) -> Event {
        Event::parse(&format!("{seq} {note}\ntext {seq}")).unwrap()
    }

    fn standing(connection: u64, sent: u64) -> Standing {
        Standing {
            room: "demo".into(),
            id: "a".into(),
            token: "a.secret".to_owned(),
            info: String::new(),
            connection,
            lost: false,
            sent,
            received: 0,
            op: 0,
            heard: HashMap::new(),
            peers: BTreeMap::new(),
            recent: VecDeque::new(),
            unsettled: false,
        }
    }

    async fn next(outbox: &Outbox) -> String {
        match outbox.next().await {
            Item::Text(text) => text.to_string(),
            Item::Close(code) => code.as_str().to_owned(),
        }
    }

    #[tokio::test]
    async fn what_comes_before_the_answer_to_join_comes_behind_it_and_once() {
        let (guests, outbox) = (Guests::default(), Outbox::new(1000));
        guests.hold("a");
        for seq in [4, 5, 6] {
            assert!(guests.deliver("a", &event(seq, ".")));
        }
        guests.seat(standing(1, 3), &outbox, &[event(4, "."), event(5, ".")]);
        guests.release("a");
        assert!(guests.deliver("a", &event(6, ".")), "seen before");
        assert!(guests.deliver("a", &event(7, ".")));
        assert!(!guests.deliver("a", &event(9, ".")), "8 is missing");
        guests.catch_up("a", &[event(8, "."), event(9, ".")]);
        for seq in 4..=9 {
            assert_eq!(next(&outbox).await, format!("text {seq}"));
        }
    }

    #[tokio::test]
    async fn who_comes_back_on_the_same_instance_misses_nothing() {
        let (guests, old, new) = (Guests::default(), Outbox::new(1000), Outbox::new(1000));
        guests.hold("a");
        guests.seat(standing(1, 0), &old, &[]);
        guests.release("a");
        guests.hold("a");
        // Redis has sent it already, and it is on its way to the old connection.
        assert!(guests.deliver("a", &event(1, ".")));
        guests.seat(standing(2, 0), &new, &[]);
        guests.release("a");
        assert_eq!((next(&old).await, next(&old).await), ("text 1".to_owned(), "replaced".to_owned()));
        assert_eq!(next(&new).await, "text 1");
        guests.expel("a", Some(1), CloseCode::Replaced);
        assert!(guests.standing("a", 2, |_| ()).is_some(), "that was the old one");
        assert!(guests.standing("a", 1, |_| ()).is_none());
        guests.expel("a", None, CloseCode::Unavailable);
        assert_eq!(next(&new).await, "unavailable");
        assert_eq!(guests.census(), (0, 0));
    }

    #[test]
    fn what_a_member_knows_is_what_it_is_restored_with() {
        let (guests, outbox) = (Guests::default(), Outbox::new(1000));
        guests.hold("a");
        guests.seat(standing(1, 0), &outbox, &[]);
        guests.release("a");
        let came =
            Event::parse("1 +b\n{\"type\":\"otherjoin\",\"id\":\"b\",\"role\":\"any\",\"name\":\"B C\",\"seq\":1}");
        guests.deliver("a", &came.unwrap());
        guests.deliver("a", &event(2, "=b:7"));
        let now = Instant::now();
        guests.lose("a", 1, now);
        let known = guests.all().remove(0);
        assert_eq!((known.sent, known.heard["b"], known.lost), (2, 7, true));
        assert_eq!(known.peers["b"], r#"{"id":"b","role":"any","name":"B C"}"#);
        let resume = Duration::from_secs(30);
        guests.forget(now + resume, resume);
        assert_eq!(guests.census(), (1, 1));
        guests.forget(now + resume + Duration::from_secs(1), resume);
        assert_eq!(guests.census(), (0, 0));
    }
}
