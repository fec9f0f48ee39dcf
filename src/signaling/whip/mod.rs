//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): descriptions as the bodies of HTTP requests.
//!
//! ```text
//! Client   offer -POST-> endpoint -201, answer, Location-> session URL
//!          candidates -PATCH-> session URL                               [`Fragment`], RFC 8840
//!          end -DELETE-> session URL
//! Listener the same from the other side, for one client
//! Examination a client that asks what it should not, too, and says what came of it
//! Audience the same for several, each with a [`Seat`]
//! ```
//!
//! Who publishes (WHIP) or plays (WHEP) is always the client, and offers; a WHEP server may make an offer of its own in
//! return, which the client answers. Where the network, TLS or HTTP fails there is a [`WhipError`]; a server that only is
//! not ready yet is asked again when it says.

mod audience;
mod client;
mod conformance;
mod error;
mod fragment;
mod http;
mod link;
mod listener;
mod secure;
mod serving;

pub use audience::{Audience, Seat};
pub use client::{Client, ClientOptions};
pub use conformance::{Check, Examination, Tell, Verdict};
pub use error::WhipError;
pub use fragment::Fragment;
pub use listener::{Listener, ListenerOptions};

use std::fmt;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Media goes in.
    Whip,
    /// Media comes out.
    Whep,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whip => "WHIP",
            Self::Whep => "WHEP",
        })
    }
}

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Whether a `Content-Type` is `wanted`, whatever its parameters.
fn is_type(value: &str, wanted: &str) -> bool {
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}
