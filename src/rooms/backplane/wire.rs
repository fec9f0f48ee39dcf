//! What instances send each other through Redis.

use super::super::protocol::{Peer, Role};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// What comes on the channel of an instance.
#[derive(Debug, PartialEq)]
pub(super) enum Post {
    /// For a member that is here.
    Event { id: String, event: Event },
    /// The member has another connection than this.
    Close { id: String, connection: u64 },
    /// Our own sign of life.
    Beat,
}

/// An event for one member.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub seq: u64,
    pub note: Note,
    /// What the client gets.
    pub text: Arc<str>,
}

/// What an event means to us.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Note {
    Came(String),
    Went(String),
    Message { from: String, op: u64 },
    Other,
}

impl Post {
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        match kind {
            "beat" => Some(Self::Beat),
            "close" => {
                let (id, connection) = rest.split_once(' ')?;
                Some(Self::Close { id: id.to_owned(), connection: connection.parse().ok()? })
            }
            "event" => {
                let (id, event) = rest.split_once(' ')?;
                Some(Self::Event { id: id.to_owned(), event: Event::parse(event)? })
            }
            _ => None,
        }
    }
}

impl Event {
    pub fn parse(entry: &str) -> Option<Self> {
        let (head, text) = entry.split_once('\n')?;
        let (seq, note) = head.split_once(' ')?;
        let note = match note.split_at_checked(1)? {
            ("+", id) => Note::Came(id.to_owned()),
            ("-", id) => Note::Went(id.to_owned()),
            ("=", rest) => {
                let (from, op) = rest.split_once(':')?;
                Note::Message { from: from.to_owned(), op: op.parse().ok()? }
            }
            _ => Note::Other,
        };
        Some(Self { seq: seq.parse().ok()?, note, text: text.into() })
    }

    /// Who came, as others are told of it.
    pub fn peer(&self) -> Option<String> {
        serde_json::from_str::<Member>(&self.text).ok().map(|member| info(&member.peer()))
    }
}

/// A member, as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub id: String,
    role: Role,
    name: Option<String>,
    capabilities: Option<Box<RawValue>>,
}

impl Member {
    pub fn peer(&self) -> Peer<'_> {
        let (name, capabilities) = (self.name.as_deref(), self.capabilities.as_deref());
        Peer { id: &self.id, role: self.role, name, capabilities }
    }
}

/// A member as others are told of it: JSON.
pub(super) fn info(peer: &Peer<'_>) -> String {
    serde_json::to_string(peer).expect("strings always serialise")
}

/// An event without its number, which Redis gives it: what comes before `,"seq":…}`.
pub(super) fn head(event: &super::super::protocol::Event<'_>) -> String {
    let mut text = event.to_json();
    text.truncate(text.rfind(",\"seq\":").unwrap_or(text.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::protocol;
    use super::*;

    #[test]
    fn posts() {
        assert_eq!(Post::parse("beat"), Some(Post::Beat));
        assert_eq!(Post::parse("close a 7"), Some(Post::Close { id: "a".to_owned(), connection: 7 }));
        let note = Note::Message { from: "b-_".to_owned(), op: 3 };
        let event = Event { seq: 12, note, text: "{\"a b\":\n1}".into() };
        assert_eq!(Post::parse("event a 12 =b-_:3\n{\"a b\":\n1}"), Some(Post::Event { id: "a".to_owned(), event }));
        for broken in ["", "close a", "close a b", "event a", "event a 1\n", "event a x .\n", "event a 1 =b\n", "wave"]
        {
            assert_eq!(Post::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_number_is_the_last_member_and_left_to_redis() {
        let bye = protocol::Event::Bye { id: "a", seq: 0 };
        assert_eq!(head(&bye), r#"{"type":"bye","id":"a""#);
        let data = serde_json::value::RawValue::from_string(r#"{"x":{"y":1,"seq":2}}"#.to_owned()).unwrap();
        let message = protocol::Event::Message { from: "a", data: &data, seq: 0 };
        assert_eq!(head(&message), r#"{"type":"message","from":"a","data":{"x":{"y":1,"seq":2}}"#);
    }
}
