//! Rooms: two or more peers meet under a name, and the server relays what they tell each other.
//!
//! What it is: the server of [`Server`], over HTTP and WebSocket (RFC 6455), with the page that browsers join with. What it is
//! not: it never reads what peers say to each other, and no media comes by here. What flows in are connections; what
//! flows out are [events](crate::progress::Event), and figures for [OpenMetrics](https://openmetrics.io).
//!
//! # The protocol, version 1
//!
//! A room is `ws://HOST/ROOM` or `wss://HOST/ROOM`. Its name is 1 to 64 of `A-Z a-z 0-9 . _ ~ -`, and none of `healthz`,
//! `metrics`, `page`, `favicon.ico`, `.` and `..`. All frames are text, each one JSON object with a `type`; unknown types and members are ignored, so that
//! the protocol can grow.
//!
//! ## From the client
//!
//! | message | |
//! |---|---|
//! | `{"type":"join","version":1,"role":"any"\|"offer"\|"answer","name":"text","capabilities":{…}}` | the first of all, once. `role` (by default `any`), `name` (up to 64 characters) and `capabilities` may be missing |
//! | `{"type":"join","version":1,"resume":TOKEN,"seq":7}` | after a connection that was lost: the member is the same as before. `seq` is the number of the last event it got |
//! | `{"type":"message","data":{…},"to":ID,"seq":1}` | to the member `to`, or to all others. `seq` counts from 1; one that was seen before is passed over |
//! | `{"type":"leave"}` | the member goes |
//!
//! ## From the server
//!
//! | event | |
//! |---|---|
//! | `{"type":"joined","version":1,"room","id","token","peers":[{"id","role","name","capabilities"}],"iceServers":[…],"maxPeers":2,"resumed":false,"received":0}` | the answer to `join`. `peers` are the others; `iceServers` is that of W3C `RTCConfiguration`. `resumed`: whether it is the member that it was before; `received`: the highest `seq` that came from it |
//! | `{"type":"otherjoin","id","role","name","capabilities","seq"}` | somebody came |
//! | `{"type":"message","from":ID,"data":{…},"seq"}` | from another member |
//! | `{"type":"lost","id","seq"}` | the connection of a member was lost; it may come back |
//! | `{"type":"rejoined","id","seq"}` | a member whose connection was lost is back |
//! | `{"type":"bye","id","seq"}` | a member is gone for good: it left, did not come back in time, or a newcomer has its place |
//! | `{"type":"left","room","id"}` | the answer to `leave`, then close 1000 |
//! | `{"type":"full","room","maxPeers"}` | the answer to `join` in a room that is full, then close 4001 |
//! | `{"type":"error","code","message"}` | something was wrong, see below |
//!
//! `seq` counts the events for one member from 1. A member that resumes is sent again what came after the `seq` that it
//! names, so that nothing is lost and nothing comes twice; where that is too long ago it joins as somebody new (`resumed` is
//! false, `id` another).
//!
//! ## Errors and close codes
//!
//! | `code` | close | |
//! |---|---|---|
//! | `bad-message` | 4000 | no JSON, no object, a member of the wrong type, `data` that is no object, binary, `join` twice or not first |
//! | (`full`) | 4001 | the room has `maxPeers` members |
//! | `rate` | 4002 | more messages than the server takes of one client |
//! | `idle` | 4003 | no `join`, or no sign of life (answers to pings count) for too long |
//! | `unsupported-version` | 4004 | `version` is not 1 |
//! | `slow` | 4005 | more waits for the client than the server keeps for one |
//! | `replaced` | 4006 | the member resumed on another connection |
//! | `unavailable` | 1012 | the server cannot reach what it shares rooms through: reconnect and resume |
//! | `too-many-rooms` | 1013 | the server has as many rooms as it takes |
//! | `too-large` | 1009 | a message above the limit |
//! | | 1001 | the server stops: reconnect and resume |
//! | `no-such-peer` | none | `to` names nobody in the room; the connection stays |
//!
//! A connection that ends without `leave` is one that was lost: its member stays for the time of [`Limits::resume`]. In a room that is
//! full its place goes to whoever joins after that of [`Limits::hold`].
//!
//! ## Who offers
//!
//! Both ends know both roles. Between an insider and a newcomer the insider offers, unless the newcomer's role is `offer` and the insider's is
//! not, or the insider's is `answer` and the newcomer's is not. Two with `any`: whoever comes second is offered to.
//!
//! ## What members say of themselves
//!
//! `capabilities` is an object of at most 1024 bytes, which the server passes on as it is and does not look at. In version 1 it is
//! `{"version":1,"receives":["audio","video","chat","files"]}`: what the member has a use for of what others may send, of these words and
//! any that may be added. `chat` is text on a data channel with that label, `files` the protocol of [`transfer`](crate::transfer). So
//! `receive-file`, which receives `files` alone, can be told from a call that takes files besides, and nobody is sent what it does not take.
//!
//! Members that say nothing, or whose `version` is not known, are judged by their `role` and their descriptions.
//!
//! ## What peers say to each other
//!
//! The server does not look at `data`. rtckit puts the lines of trickle ICE there (see [`signaling`](crate::signaling)):
//! `{"type":"offer"|"answer","sdp"}`, `{"type":"candidate","candidate","sdpMid","sdpMLineIndex","usernameFragment"}`,
//! `{"type":"end-of-candidates"}` and `{"type":"bye"}`.

mod authority;
mod backplane;
mod connection;
mod error;
mod hub;
mod limits;
mod metrics;
mod outbox;
mod pages;
mod protocol;
mod random;
mod registry;
mod server;
#[cfg(test)]
mod tests;
mod tls;

pub use authority::Authority;
pub use backplane::RedisOptions;
pub use error::RoomsError;
pub use limits::Limits;
pub use metrics::Totals;
pub use server::{IceServers, Options, Server};
pub use tls::Tls;
