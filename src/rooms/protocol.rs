//! The messages of the protocol, see the [module](super).

use crate::ice_server::IceServer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version that is spoken here.
pub(super) const VERSION: u64 = 1;
/// Characters of the name of a member.
const LONGEST_NAME: usize = 64;
/// Bytes of what a member says of itself.
const LONGEST_CAPABILITIES: usize = 1024;
/// Names that are no rooms, since something else is there.
const TAKEN: [&str; 6] = ["healthz", "metrics", "page", "favicon.ico", ".", ".."];

/// Whether `name` can be that of a room.
pub(super) fn is_room(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed) && !TAKEN.contains(&name)
}

/// Who wants to make the offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    #[default]
    Any,
    Offer,
    Answer,
}

/// What a client says.
#[derive(Debug)]
pub(super) enum Request<'a> {
    Join(Join),
    Message(Relay<'a>),
    Leave,
    /// A type that we do not know.
    Other,
}

#[derive(Debug, Deserialize)]
pub(super) struct Join {
    version: Option<u64>,
    #[serde(default)]
    pub role: Role,
    pub name: Option<String>,
    pub capabilities: Option<Box<RawValue>>,
    pub resume: Option<String>,
    pub seq: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Relay<'a> {
    #[serde(borrow)]
    pub data: &'a RawValue,
    pub to: Option<String>,
    pub seq: Option<u64>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
}

impl<'a> Request<'a> {
    /// Reads one frame.
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        // An array would be read as the members in order.
        if !text.trim_start().starts_with('{') {
            return Err(Fault::bad("it is no JSON object"));
        }
        let kind: Kind = serde_json::from_str(text).map_err(Fault::json)?;
        match kind.r#type.as_ref() {
            "join" => {
                let mut join: Join = serde_json::from_str(text).map_err(Fault::json)?;
                if join.version != Some(VERSION) {
                    return Err(Fault::new(CloseCode::Version, "this server speaks version 1"));
                }
                join.name = join.name.map(|name| name.chars().take(LONGEST_NAME).collect());
                let said = join.capabilities.as_ref().map(|capabilities| capabilities.get());
                if said.is_some_and(|said| !said.starts_with('{') || said.len() > LONGEST_CAPABILITIES) {
                    return Err(Fault::bad("'capabilities' is no object of at most 1024 bytes"));
                }
                Ok(Self::Join(join))
            }
            "message" => {
                let relay: Relay = serde_json::from_str(text).map_err(Fault::json)?;
                if !relay.data.get().starts_with('{') {
                    return Err(Fault::bad("'data' is no object"));
                }
                Ok(Self::Message(relay))
            }
            "leave" => Ok(Self::Leave),
            _ => Ok(Self::Other),
        }
    }
}

/// Why a connection is closed (RFC 6455 section 7.4), as clients read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCode {
    Normal,
    GoingAway,
    TooLarge,
    TooManyRooms,
    BadMessage,
    Full,
    Rate,
    Idle,
    Version,
    Slow,
    Replaced,
    Unavailable,
}

impl CloseCode {
    pub const ALL: [Self; 12] = [
        Self::Normal,
        Self::GoingAway,
        Self::TooLarge,
        Self::TooManyRooms,
        Self::BadMessage,
        Self::Full,
        Self::Rate,
        Self::Idle,
        Self::Version,
        Self::Slow,
        Self::Replaced,
        Self::Unavailable,
    ];

    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::TooLarge => 1009,
            Self::Unavailable => 1012,
            Self::TooManyRooms => 1013,
            Self::BadMessage => 4000,
            Self::Full => 4001,
            Self::Rate => 4002,
            Self::Idle => 4003,
            Self::Version => 4004,
            Self::Slow => 4005,
            Self::Replaced => 4006,
        }
    }

    /// The `code` of an error, and the reason of a close.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "left",
            Self::GoingAway => "going-away",
            Self::TooLarge => "too-large",
            Self::TooManyRooms => "too-many-rooms",
            Self::BadMessage => "bad-message",
            Self::Full => "full",
            Self::Rate => "rate",
            Self::Idle => "idle",
            Self::Version => "unsupported-version",
            Self::Slow => "slow",
            Self::Replaced => "replaced",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a client is sent away.
#[derive(Debug)]
pub(super) struct Fault {
    pub code: CloseCode,
    pub message: String,
}

impl Fault {
    pub fn new(code: CloseCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(CloseCode::BadMessage, message)
    }

    fn json(error: serde_json::Error) -> Self {
        Self::bad(error.to_string())
    }
}

/// Another member, as it is told of.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Peer<'a> {
    pub id: &'a str,
    pub role: Role,
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<&'a RawValue>,
}

/// What the server says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(super) enum Event<'a> {
    Joined {
        version: u64,
        room: &'a str,
        id: &'a str,
        token: &'a str,
        peers: Vec<Peer<'a>>,
        ice_servers: &'a [serde_json::Value],
        max_peers: usize,
        resumed: bool,
        received: u64,
    },
    OtherJoin {
        #[serde(flatten)]
        peer: Peer<'a>,
        seq: u64,
    },
    Message {
        from: &'a str,
        data: &'a RawValue,
        seq: u64,
    },
    Rejoined {
        id: &'a str,
        seq: u64,
    },
    Lost {
        id: &'a str,
        seq: u64,
    },
    Bye {
        id: &'a str,
        seq: u64,
    },
    Left {
        room: &'a str,
        id: &'a str,
    },
    Full {
        room: &'a str,
        max_peers: usize,
    },
    Error {
        code: &'a str,
        message: &'a str,
    },
}

impl Event<'_> {
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialise")
    }
}

/// W3C `RTCIceServer`.
pub(super) fn ice_server(server: &IceServer) -> serde_json::Value {
    let mut object = serde_json::json!({ "urls": server.urls });
    if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
        object["username"] = username.as_str().into();
        object["credential"] = credential.reveal().into();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rooms() {
        for name in ["demo", "a", "Böse"].iter().take(2).chain(&["7-crossword-apollo", "a.b_c~d"]) {
            assert!(is_room(name), "{name}");
        }
        let long = "x".repeat(65);
        for name in ["", "Böse", "a b", "a/b", "metrics", "page", "..", long.as_str()] {
            assert!(!is_room(name), "{name}");
        }
    }

    #[test]
    fn what_is_no_message_says_why() {
        for (text, why) in [
            ("", "no JSON object"),
            ("[\"leave\"]", "no JSON object"),
            ("{\"type\":7}", "expected"),
            ("{}", "missing field `type`"),
            ("{\"type\":\"message\"}", "missing field `data`"),
            ("{\"type\":\"message\",\"data\":7}", "'data' is no object"),
            ("{\"type\":\"join\"}", "version 1"),
            ("{\"type\":\"join\",\"version\":2}", "version 1"),
            ("{\"type\":\"join\",\"version\":1,\"role\":\"king\"}", "unknown variant"),
            ("{\"type\":\"join\",\"version\":1,\"capabilities\":[]}", "'capabilities' is no object"),
        ] {
            let fault = Request::parse(text).unwrap_err();
            assert!(fault.message.contains(why), "{text}: {}", fault.message);
        }
        assert!(matches!(Request::parse("{\"type\":\"wave\",\"x\":[1]}"), Ok(Request::Other)));
        let escaped = "{\"typ\\u0065\":\"leave\"}";
        assert!(matches!(Request::parse(escaped), Ok(Request::Leave)));
    }

    #[test]
    fn data_is_passed_on_as_it_is() {
        let text = r#"{"type":"message", "data": {"b": 1.0, "a":"\u00e9"}, "to":"x"}"#;
        let Ok(Request::Message(relay)) = Request::parse(text) else { panic!("no message") };
        let event = Event::Message { from: "y", data: relay.data, seq: 3 }.to_json();
        assert_eq!(event, r#"{"type":"message","from":"y","data":{"b": 1.0, "a":"\u00e9"},"seq":3}"#);
    }
}
