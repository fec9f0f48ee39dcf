//! STUN and TURN servers under examination: what they do step by step, how long it takes, and what is wrong with them.
//!
//! ```text
//! name -> [resolve] -> addresses -> [examine], each -> ServerReport: stages, verdict, figures
//!                                -> [nat_behaviour]  -> Nat: mapping and filtering; two of them -> [predict] -> Path
//!                                -> [gather]         -> candidates, as ICE would have them
//! ```
//!
//! This is a measuring instrument and not the client that calls use ([`peer`](crate::peer) has that): it shows and times the steps
//! that a client hides, and names a server that breaks its protocol. RFC 8489 (STUN), RFC 8656 (TURN), RFC 7350 (DTLS), RFC 5780 (NAT
//! behaviour), RFC 8445 (candidates).

mod allocation;
mod certificate;
mod echo;
mod examine;
mod exchange;
mod explain;
mod gather;
mod link;
mod nat;
mod predict;
mod report;
mod resolve;
mod rest;
mod secure;
mod verdict;
mod wire;

pub use certificate::{Certificate, Trust};
pub use echo::MIN_SIZE;
pub use examine::{Settings, Target, examine};
pub use gather::{Candidate, CandidateError, CandidateType, Gathered, gather};
pub use nat::{Behaviour, Nat, Observation, Udp, nat_behaviour};
pub use predict::{Path, Prediction, predict};
pub use report::{Echo, RoundTrips, ServerReport, Stage, StageReport, Throughput};
pub use resolve::{Family, Resolved, resolve};
pub use rest::{Credentials, mint};
pub use verdict::Verdict;
pub use wire::LONGEST_USERNAME;

use explain::Ending;

#[cfg(test)]
mod tests;
