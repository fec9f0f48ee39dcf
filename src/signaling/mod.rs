//! Exchanging descriptions and candidates with the other side, by any road.
//!
//! What it is: the messages (JSEP, RFC 9429; the JSON of W3C webrtc-pc's `RTCSessionDescriptionInit` and
//! `RTCIceCandidateInit`; trickle ICE, RFC 8838), the trait [`Signaling`] that carries them, and the roads that exist:
//! standard input and output ([`Stdio`]), a command ([`Exec`]), a folder ([`Directory`]), a client or the server of WHIP or WHEP ([`whip`]), a room on a server ([`Room`]), where a code can keep the server out ([`Rendezvous`]), and memory ([`memory::pair`]). What it is not: it never judges whether an
//! answer suits an offer, that is `peer`; it never opens a terminal, that is the binary.
//!
//! ```text
//! bytes in  -> Reader (JSON | raw SDP | base64 | compact) -> sdp::inspect -> Message -> peer
//! peer      -> Message -> SdpFormat::encode -> bytes out
//! ```

mod code;
mod directory;
mod error;
mod exec;
mod format;
pub mod memory;
mod message;
mod reader;
mod room;
pub mod sdp;
mod stdio;
mod tail;
#[cfg(test)]
mod tests;
mod text;
pub mod whip;

pub use code::{Code, CodeError, Keys, Rendezvous, Sealed};
pub use directory::Directory;
pub use error::SignalingError;
pub use exec::Exec;
pub use format::{FormatError, SdpFormat};
pub use message::{Candidate, Description, DescriptionKind, IN_REPLY_TO, Message};
pub use reader::{MAX_MESSAGE_BYTES, QUIET, Reader};
pub use room::{Meeting, Part, Receives, Room, RoomError, RoomOptions, RoomRole, RoomUrl};
pub use stdio::{Rest, RestReader, Stdio};
pub use tail::Tail;

use crate::error::Error;
use crate::ice_server::IceServer;
use tokio::sync::watch;

/// What a road knows of the other side besides what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    #[default]
    Here,
    /// It is cut off, and may come back.
    Cut,
    /// It went, or did not come back.
    Gone,
}

/// A road to the other side. One owner drives it; `receive` may be raced against anything.
#[async_trait::async_trait]
pub trait Signaling: Send {
    /// Sends one message. A road without trickle drops candidates and `bye`: what it sends is complete already.
    /// Not cancel-safe: a dropped future may have sent half of a message.
    ///
    /// # Errors
    /// When the other side cannot be reached any more.
    async fn send(&mut self, message: &Message) -> Result<(), Error>;

    /// The next message; `None` when none will ever come again: the other side's input ended, or a road without trickle
    /// has delivered its one description. That is no hang-up: a hang-up is [`Message::Bye`]. Cancel-safe.
    ///
    /// # Errors
    /// When what came is no message ([`ErrorKind::InvalidInput`](crate::error::ErrorKind::InvalidInput)), or the road failed.
    async fn receive(&mut self) -> Result<Option<Message>, Error>;

    /// Whether candidates travel one by one after the description. Without trickle a description is sent only once its
    /// candidates are all in it.
    fn trickles(&self) -> bool;

    /// Whether STUN and TURN servers may yet come by this road: until then it is no failure to have no candidate.
    fn may_bring_ice_servers(&self) -> bool {
        false
    }

    /// STUN and TURN servers that came by this road since the last call, for us to use as well.
    fn take_ice_servers(&mut self) -> Vec<IceServer> {
        Vec::new()
    }

    /// Where the other side finds us, if it comes to us.
    fn listens_at(&self) -> Option<&str> {
        None
    }

    /// Whether we may make an offer once the connection is up; by some roads only the other side can.
    fn takes_offers(&self) -> bool {
        true
    }

    /// Takes note that the network may be another one than before: a road that would notice only in its time that it is cut looks
    /// at once. Nothing is lost by it.
    async fn network_changed(&mut self) {}

    /// Whether the other side is still there to be spoken to, where the road knows; it changes as messages are received.
    fn presence(&self) -> Option<watch::Receiver<Presence>> {
        None
    }

    /// Waits for somebody else after the other side is gone; `None` where nobody can come. Cancel-safe.
    ///
    /// # Errors
    /// When the road failed.
    async fn meet_again(&mut self) -> Result<Option<Meeting>, Error> {
        Ok(None)
    }

    /// Flushes what was sent and ends our side of the road.
    ///
    /// # Errors
    /// When what was sent could not be delivered, or the other side says by this road that it failed.
    async fn close(&mut self) -> Result<(), Error>;
}
