//! Signaling through a room of `rtckit signal`: see [`rooms`](crate::rooms) for the protocol.
//!
//! What it is: one member of a room, and one other whom it speaks with. What it is not: it makes no offer; it only says who should.
//!
//! ```text
//! Room -Message-> [bounded] -> link (a task: WebSocket, reconnects and resumes) => server
//! Room <-Heard--- [bounded] <- link                                              <= server
//! ```

mod error;
mod link;
mod socket;
mod url;
mod words;

pub use error::RoomError;
pub use url::RoomUrl;
pub use words::{Part, Receives, RoomRole};

use super::{Message, Presence, Signaling, SignalingError};
use crate::error::Error;
use crate::ice_server::IceServer;
use link::{Heard, Link};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use words::{Peer, newcomer_offers};

/// How long leaving in order may take.
const LEAVING: Duration = Duration::from_secs(1);

/// How a room is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomOptions {
    /// Where it is.
    pub url: RoomUrl,
    /// Authorities that are trusted besides those of this system: a PEM file.
    pub ca_file: Option<PathBuf>,
}

impl RoomOptions {
    /// Another room of the same server.
    #[must_use]
    pub fn in_room(&self, room: &str) -> Self {
        Self { url: self.url.with_room(room), ..self.clone() }
    }
}

/// Whom we met.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// Whether it is on us to make the offer.
    pub we_offer: bool,
    /// What the other side would like to do.
    pub other: RoomRole,
    /// The servers that the room gives its members.
    pub ice_servers: Vec<IceServer>,
}

/// A member of a room.
pub struct Room {
    link: Link,
    role: RoomRole,
    /// Whom we speak with.
    other: Option<String>,
    /// The other is gone for good.
    over: bool,
    presence: watch::Sender<Presence>,
}

impl Room {
    /// Connects and joins.
    ///
    /// # Errors
    /// When the server cannot be reached or trusted, or the room is full.
    pub async fn join(options: &RoomOptions, part: impl Into<Part>) -> Result<Self, SignalingError> {
        let part = part.into();
        let role = part.role;
        let link = Link::open(options, part).await?;
        Ok(Self { link, role, other: None, over: false, presence: watch::Sender::default() })
    }

    /// Whether somebody is there whom we can [`meet`](Self::meet) at once.
    pub fn is_alone(&self) -> bool {
        self.link.joined().peers.is_empty()
    }

    /// Waits until somebody else is in the room. Cancel-safe.
    ///
    /// # Errors
    /// When the connection to the server is lost for good.
    pub async fn meet(&mut self) -> Result<Meeting, SignalingError> {
        self.meet_one(None).await
    }

    /// The same; whoever has another role than `wanted` is passed over.
    pub(super) async fn meet_one(&mut self, wanted: Option<RoomRole>) -> Result<Meeting, SignalingError> {
        let ice_servers = self.link.joined().ice_servers.clone();
        let suits = |peer: &&Peer| wanted.is_none_or(|role| peer.role == role);
        let ours = self.role;
        let welcome = |peer: &&Peer| suits(peer) && is_welcome(ours, peer);
        let found = self.link.joined().peers.iter().find(suits).cloned();
        let (peer, we_came_second) = match found {
            Some(peer) => (peer, true),
            None => (self.newcomer(welcome).await?, false),
        };
        let newcomer_offers = match we_came_second {
            true => newcomer_offers(peer.role, self.role),
            false => newcomer_offers(self.role, peer.role),
        };
        self.speak_with(peer.id);
        Ok(Meeting { we_offer: newcomer_offers == we_came_second, other: peer.role, ice_servers })
    }

    async fn newcomer(&mut self, suits: impl Fn(&&Peer) -> bool) -> Result<Peer, SignalingError> {
        loop {
            let peers = match self.link.hear().await? {
                Heard::Came(peer) => vec![peer],
                Heard::Anew(peers) => peers,
                Heard::Lost(_) | Heard::Back(_) | Heard::Gone(_) | Heard::Data { .. } => continue,
            };
            if let Some(peer) = peers.iter().find(&suits) {
                return Ok(peer.clone());
            }
        }
    }

    /// Says something to the other: an object, as JSON.
    pub(super) async fn say(&self, json: String) -> Result<(), SignalingError> {
        Ok(self.link.say(json).await?)
    }

    /// What the other says: an object, as JSON; `None` when it is gone for good. Cancel-safe.
    pub(super) async fn hear(&mut self) -> Result<Option<String>, SignalingError> {
        while !self.over {
            match self.link.hear().await? {
                Heard::Data { from, text } if Some(&from) == self.other.as_ref() => return Ok(Some(text)),
                Heard::Data { .. } => tracing::debug!("somebody else in the room spoke to us"),
                Heard::Lost(id) if Some(&id) == self.other.as_ref() => self.note(Presence::Cut),
                Heard::Back(id) if Some(&id) == self.other.as_ref() => self.note(Presence::Here),
                Heard::Gone(id) if Some(&id) == self.other.as_ref() => {
                    self.over = true;
                    self.note(Presence::Gone);
                }
                // We are somebody new here, and so will the other be, once it is back.
                Heard::Anew(peers) => match peers.into_iter().next() {
                    Some(peer) => self.speak_with(peer.id),
                    None => self.other = None,
                },
                Heard::Came(peer) if self.other.is_none() => self.speak_with(peer.id),
                Heard::Lost(_) | Heard::Back(_) | Heard::Gone(_) | Heard::Came(_) => {}
            }
        }
        Ok(None)
    }

    /// Connects to the server anew and resumes, since the connection may be cut.
    pub(super) fn renew(&self) {
        self.link.renew();
    }

    /// Goes for good, once what was said is out.
    pub async fn leave(&mut self) {
        // Whether the server heard it matters to nobody any more.
        let _ = tokio::time::timeout(LEAVING, self.link.leave()).await;
    }

    /// Waits for the next who comes, after the other is gone. Cancel-safe.
    async fn meet_next(&mut self) -> Result<Meeting, SignalingError> {
        let (ours, ice_servers) = (self.role, self.link.joined().ice_servers.clone());
        let peer = self.newcomer(|peer| is_welcome(ours, peer)).await?;
        self.over = false;
        self.speak_with(peer.id);
        Ok(Meeting { we_offer: !newcomer_offers(self.role, peer.role), other: peer.role, ice_servers })
    }

    pub(super) fn watch(&self) -> watch::Receiver<Presence> {
        self.presence.subscribe()
    }

    fn note(&self, presence: Presence) {
        self.presence.send_replace(presence);
    }

    fn speak_with(&mut self, id: String) {
        self.note(Presence::Here);
        self.link.speak_with(id.clone());
        self.other = Some(id);
    }
}

/// Somebody who came for the same as we has nothing for us, and will see that.
fn is_welcome(ours: RoomRole, peer: &Peer) -> bool {
    ours == RoomRole::Any || peer.role != ours
}

#[async_trait::async_trait]
impl Signaling for Room {
    async fn send(&mut self, message: &Message) -> Result<(), Error> {
        Ok(self.say(message.to_json()).await?)
    }

    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        match self.hear().await? {
            Some(text) => Ok(Some(Message::from_json(&text)?)),
            None => Ok(None),
        }
    }

    fn trickles(&self) -> bool {
        true
    }

    async fn network_changed(&mut self) {
        self.renew();
    }

    fn presence(&self) -> Option<watch::Receiver<Presence>> {
        Some(self.watch())
    }

    async fn meet_again(&mut self) -> Result<Option<Meeting>, Error> {
        Ok(Some(self.meet_next().await?))
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.leave().await;
        Ok(())
    }
}
