//! File transfer over any ordered, reliable message channel: a data channel, a WebSocket.
//!
//! What it is: both ends of the protocol below, and all that has to do with files: names that cannot lead elsewhere, parts
//! that become files only once they are verified, going on where an earlier run ended. What it is not: it knows nothing
//! of connections; [`MessageChannel`] is all it needs of one.
//!
//! ```text
//! files -> reader (thread: read, hash) -> [queue] -> send    -> MessageChannel | Bundle -> one or several Connections
//! MessageChannel | Bundle -> receive -> [queue] -> writer (thread: write, hash) -> [queue] -> finisher (thread: sync, rename)
//! ```
//!
//! # The protocol, version 1
//!
//! Over WebRTC it runs on one ordered, reliable data channel that the sender opens, with the label and the protocol
//! `rtckit-transfer`. Text messages are JSON objects with a `type`; whoever does not know a `type` passes it over, and so
//! are members that are not known. Binary messages carry content. No message is longer than both sides take (RFC 8841).
//!
//! ```text
//! both      {"type":"hello","protocol":"rtckit-transfer","version":1,"role":"sender"|"receiver","agent":"…","roams":true}
//! sender    {"type":"manifest","entries":[{"path":"a/b","kind":"file","size":5,"allocated":5,
//!               "modified":{"seconds":1700000000,"nanoseconds":0},"executable":true}, …]}          once or more
//!           {"type":"manifest-end","entries":1}
//! receiver  {"type":"plan","skip":[3],"have":[{"file":2,"offset":1000,"blake3":"…"}]}            any number, or none
//!           {"type":"go","window":12582912,"connections":31}
//! sender    binary messages with the content of the files that are not skipped, in the order of the manifest
//! receiver  {"type":"progress","bytes":262144}     bytes of DATA payloads taken, now and then
//!           {"type":"done","files":[0,1]}          these are verified and safe
//!           {"type":"complete"}                    so is everything
//! sender    {"type":"bye"}                         it knows: both hang up
//! either    {"type":"error","code":"no-space","message":"…"}    it is over, because of this
//! ```
//!
//! - The first message of each side is its hello; the sender's does not wait for the receiver's. The version is an integer; other
//!   versions are refused.
//! - An entry's id is its index in the manifest, from 0. `path` is relative, with `/` between its parts, none of which is
//!   empty, `.` or `..`. `kind` is `file` (so it is when absent) or `folder`. A file without a `size` is a stream, whose
//!   size nobody knows before its end. `allocated` is there when a file has holes: how many of its bytes are none.
//! - `skip` names files that are not wanted. `have` names beginnings of files that the receiver has already, by length and
//!   BLAKE3 hash (hexadecimal), up to four for a file. The sender goes on from the longest of them that is one of its own.
//! - With a `window`, the sender has never more than so many bytes of content under way that no `progress` has confirmed
//!   (at least a MiB and one message). Without, it sends as fast as the channel takes it, and needs no `progress`.
//! - `connections` says from how many further connections the receiver takes content; absent, from none. See below.
//! - `code` is one of `version`, `protocol`, `integrity`, `changed`, `read`, `write`, `no-space`, `exists`, `manifest`,
//!   `declined`, `cancelled`, `other`.
//!
//! A binary message is a sequence number, 8 bytes, from 0 on without a gap, and then records until its end. All numbers are
//! big-endian, as JavaScript's `DataView` reads them. A record is:
//!
//! ```text
//!  0      1  2  3   4        8            16        20
//!  kind   0  0  0   file id  offset       length    payload of so many bytes
//! ```
//!
//! | kind | name | payload | means |
//! |---|---|---|---|
//! | 1 | DATA | bytes | content of the file at the offset |
//! | 2 | HOLE | its length, 8 bytes | as many zeros at the offset |
//! | 3 | END | BLAKE3 of the whole file, 32 bytes | it is over; the offset is its size |
//! | 4 | START | none | the file is sent from the offset on: the answer to `have`, and only to it |
//! | 5 | FAIL | code, line feed, text | it will not be completed; the other files are sent all the same |
//!
//! The records of a file follow each other without a gap, from the offset of its START, else from 0, to its END or FAIL. An
//! empty file is an END alone. The records of one file are not mixed with those of another, but a message may carry
//! those of many.
//!
//! ## Further connections
//!
//! A sender may spread content over further peer connections, as many as `connections` allows. They are signaled by the
//! first one's channel, while content flows: the sender offers, the receiver answers, and candidates trickle both ways, each
//! in a message of its own. `connection` counts from 1, and `message` is an `RTCSessionDescriptionInit`, an
//! `RTCIceCandidateInit` with `"type":"candidate"`, or `{"type":"end-of-candidates"}`.
//!
//! ```text
//! both      {"type":"signal","connection":1,"message":{"type":"offer","sdp":"…"}}
//! ```
//!
//! On each the sender opens one channel, with the label and the protocol `rtckit-transfer`. It carries binary messages alone,
//! and those of all channels together are one sequence: the receiver puts them in order by their sequence numbers. Control
//! stays on the first, as long as it lives. A connection that does not come up is done without; both hang up all of them at the end. When one is
//! lost before, the sender sends again by others what went by it and no `progress` has confirmed, and the receiver passes
//! over numbers that it has had.
//!
//! A side whose hello says that it `roams` hears control by whichever connection it comes. If both do, the loss of the first
//! is no end: control moves.
//!
//! ```text
//! both      {"type":"moved","from":0}    connection 0 is of no more use; control goes by the one by which this comes
//! ```
//!
//! Whoever hears it lets its own control go there too; whoever finds out by itself that the connection with its control is lost
//! takes the one of the lowest number that is up, and says so there. What was said last may be lost, so the receiver then says
//! its last `progress`, all of `done`, and `complete` again. Such sides take connections with numbers above `connections` as
//! well, in place of those that were lost. And a receiver that is held up in writing says its last `progress` again every
//! second, so that a sender can tell it from a network that carries nothing any more.

mod bundle;
#[cfg(test)]
mod bundle_tests;
mod channel;
mod error;
mod exclude;
mod folder;
mod growth;
mod journal;
mod keeper;
mod lane;
mod manifest;
mod name;
mod outcome;
mod reader;
mod receiver;
mod sender;
mod session;
mod source;
mod spread;
#[cfg(test)]
mod tests;
pub mod wire;
mod writer;

pub use bundle::Bundle;
pub use channel::{Connection, Connector, Frame, Line, MessageChannel, Side, Silence};
pub use error::{Code, TransferError};
pub use folder::Existing;
pub use keeper::Origin;
pub use manifest::{Entry, EntryKind, Manifest, Modified};
pub use name::{Rules, fault, shown};
pub use outcome::{FileReport, FileState, Tally, TransferReport};
pub use receiver::{Consent, Destination, Offer, ReceiveOptions, receive};
pub use sender::{SendOptions, send};
pub use source::{ScanOptions, Source, Sources};

/// The label of the data channel, and the name of its protocol.
pub const CHANNEL: &str = wire::PROTOCOL;
