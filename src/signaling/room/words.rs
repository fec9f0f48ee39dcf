//! The messages of the protocol of rooms, from the side of a client.

use crate::ice_server::{IceServer, Secret};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The version that is spoken here.
pub(super) const VERSION: u64 = 1;

/// Who wants to make the offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomRole {
    /// Either.
    #[default]
    Any,
    /// This side.
    Offer,
    /// The other side.
    Answer,
}

/// Something that one member has a use for when another sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Receives {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Text on a data channel with this label.
    Chat,
    /// Files.
    Files,
}

/// What a member says of itself on joining.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Who it wants to make the offer.
    pub role: RoomRole,
    /// What it has a use for; `None` to keep that to itself.
    pub receives: Option<Vec<Receives>>,
}

impl From<RoomRole> for Part {
    fn from(role: RoomRole) -> Self {
        Self { role, receives: None }
    }
}

/// The same as others read it.
#[derive(Debug, Serialize)]
pub(super) struct Capabilities<'a> {
    version: u64,
    receives: &'a [Receives],
}

impl Part {
    pub(super) fn capabilities(&self) -> Option<Capabilities<'_>> {
        self.receives.as_deref().map(|receives| Capabilities { version: 1, receives })
    }
}

/// Whether the one who came second makes the offer.
pub(super) fn newcomer_offers(insider: RoomRole, newcomer: RoomRole) -> bool {
    use RoomRole::{Answer, Any, Offer};
    match (insider, newcomer) {
        (Offer, _) | (_, Answer) => false,
        (_, Offer) | (Answer, _) => true,
        (Any, Any) => false,
    }
}

/// What we say.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Say<'a> {
    Join {
        version: u64,
        role: RoomRole,
        #[serde(skip_serializing_if = "Option::is_none")]
        capabilities: Option<Capabilities<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        resume: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    Message {
        to: &'a str,
        data: &'a RawValue,
        seq: u64,
    },
    Leave,
}

impl Say<'_> {
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialise")
    }
}

/// Another member.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Peer {
    pub id: String,
    #[serde(default)]
    pub role: RoomRole,
}

/// What the server says. What it lacks is left at its default: a server of another version may say less.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Event {
    pub r#type: String,
    pub seq: Option<u64>,
    pub id: String,
    pub role: RoomRole,
    pub token: String,
    pub peers: Vec<Peer>,
    pub ice_servers: Vec<Value>,
    pub resumed: bool,
    pub received: u64,
    pub from: String,
    pub data: Option<Box<RawValue>>,
    pub max_peers: usize,
    pub code: String,
    pub message: String,
}

/// W3C `RTCIceServer`s as far as they can be understood.
pub(super) fn ice_servers(values: &[Value]) -> Vec<IceServer> {
    let read = |value: &Value| {
        let urls: Vec<String> = match &value["urls"] {
            Value::String(url) => vec![url.clone()],
            Value::Array(urls) => urls.iter().filter_map(|url| url.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        };
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let server = IceServer { urls, username: text("username"), credential: text("credential").map(Secret::new) };
        (!server.urls.is_empty()).then_some(server)
    };
    values.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_come_to_the_same_view_of_who_offers() {
        use RoomRole::{Answer, Any, Offer};
        for (insider, newcomer, newcomer_does) in [
            (Any, Any, false),
            (Any, Offer, true),
            (Any, Answer, false),
            (Offer, Any, false),
            (Offer, Offer, false),
            (Offer, Answer, false),
            (Answer, Any, true),
            (Answer, Offer, true),
            (Answer, Answer, false),
        ] {
            assert_eq!(newcomer_offers(insider, newcomer), newcomer_does, "{insider:?} {newcomer:?}");
        }
    }

    #[test]
    fn servers_are_read_as_browsers_do() {
        let values: Vec<Value> = serde_json::from_str(
            r#"[{"urls":"stun:a.example"},{"urls":["turn:b.example","turns:b.example"],"username":"u","credential":"p"},{}]"#,
        )
        .unwrap();
        let servers = ice_servers(&values);
        assert_eq!(servers.len(), 2);
        assert_eq!((servers[1].urls.len(), servers[1].username.as_deref()), (2, Some("u")));
    }
}
