//! What is known about a server after it was examined.

use super::certificate::Certificate;
use super::examine::Target;
use super::verdict::Verdict;
use crate::progress::{Event, Progress};
use serde::Serialize;
use std::net::SocketAddr;

/// A step of an examination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its name becomes addresses.
    Dns,
    /// TCP comes up; for UDP there is a route and a socket.
    Connect,
    /// TLS or DTLS comes up, and the certificate holds.
    Tls,
    /// It says where it sees us.
    Binding,
    /// It asks for credentials.
    AllocateChallenge,
    /// It accepts them and gives us an address.
    Allocate,
    /// It lets a peer send to that address.
    Permission,
    /// It binds a channel to that peer.
    Channel,
    /// What is sent through it comes back.
    Echo,
    /// As much as goes is sent through it.
    Throughput,
    /// It prolongs the allocation.
    Refresh,
    /// It deletes the allocation.
    Release,
}

impl Stage {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Binding => "binding",
            Self::AllocateChallenge => "allocate-challenge",
            Self::Allocate => "allocate",
            Self::Permission => "permission",
            Self::Channel => "channel",
            Self::Echo => "echo",
            Self::Throughput => "throughput",
            Self::Refresh => "refresh",
            Self::Release => "release",
        }
    }
}

/// How a step went.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageReport {
    /// Which.
    pub stage: Stage,
    /// Whether it did what it is there for.
    pub ok: bool,
    /// How long it took.
    pub seconds: f64,
    /// The error code of the server, RFC 8489 section 14.8, where there was one.
    pub error_code: Option<u16>,
    /// What came of it, or why not.
    pub message: Option<String>,
}

/// What came back through the relay.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Echo {
    /// `allocation`: to a second allocation of ours and back. `self`: to a socket of ours and back.
    pub peer: &'static str,
    /// Packets sent.
    pub packets_sent: u32,
    /// Packets that came back.
    pub packets_received: u32,
    /// Packets that came back twice or more.
    pub packets_duplicated: u32,
    /// Packets that came back after one that was sent later.
    pub packets_reordered: u32,
    /// Packets that came back changed.
    pub packets_corrupted: u32,
    /// The part that did not come back, 0 to 1.
    pub loss: f64,
    /// Round trips in seconds; absent when nothing came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_time: Option<RoundTrips>,
    /// How much round trips differ from one to the next, in seconds: RFC 3550 section 6.4.1.
    pub jitter: f64,
}

/// The distribution of round trips, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoundTrips {
    /// The shortest.
    pub min: f64,
    /// The mean.
    pub avg: f64,
    /// 95 in 100 were shorter.
    pub p95: f64,
    /// The longest.
    pub max: f64,
}

impl RoundTrips {
    /// `None` of nothing.
    pub(super) fn of(mut seconds: Vec<f64>) -> Option<Self> {
        seconds.sort_by(f64::total_cmp);
        let (min, max) = (*seconds.first()?, *seconds.last()?);
        let rank = (seconds.len() * 95).div_ceil(100).max(1);
        Some(Self { min, avg: seconds.iter().sum::<f64>() / seconds.len() as f64, p95: seconds[rank - 1], max })
    }
}

/// How much goes through the relay, one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throughput {
    /// Payload that came out, in bits per second.
    pub bits_per_second: f64,
    /// Payload that came out, in bytes.
    pub bytes: u64,
    /// Between the first and the last of it.
    pub seconds: f64,
    /// The part of the packets that did not come out, 0 to 1.
    pub loss: f64,
}

/// All that is known about a server at one of its addresses.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerReport {
    /// Its URL as given, without credentials.
    pub url: String,
    /// The address that was examined; absent when its name has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// `udp`, `tcp`, `tls` or `dtls`.
    pub transport: &'static str,
    /// What is wrong with it, in a word; absent when the run was ended before that was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What is wrong with it, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What it says that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// Its realm, RFC 8489 section 9.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// Our end of the way to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_address: Option<SocketAddr>,
    /// Where it sees us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapped_address: Option<SocketAddr>,
    /// The address that it gave us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relayed_address: Option<SocketAddr>,
    /// How long an allocation lives, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u32>,
    /// `TLSv1.3`, `DTLSv1.2` and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<&'static str>,
    /// The cipher suite, as IANA names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cipher: Option<String>,
    /// Its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// What came back through the relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<Echo>,
    /// How much goes through the relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<Throughput>,
    /// What is worth knowing and is no fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How each step went, in order. A server that sends us on to another one begins anew.
    pub stages: Vec<StageReport>,
}

impl ServerReport {
    /// Nothing is known yet.
    pub(super) fn new(target: &Target, address: Option<SocketAddr>) -> Self {
        Self {
            url: target.shown.clone(),
            address,
            transport: target.url.transport.as_str(),
            verdict: None,
            message: None,
            hint: None,
            software: None,
            realm: None,
            local_address: None,
            mapped_address: None,
            relayed_address: None,
            lifetime: None,
            tls_version: None,
            tls_cipher: None,
            certificate: None,
            echo: None,
            throughput: None,
            notes: Vec::new(),
            stages: Vec::new(),
        }
    }

    /// Tells of the verdict.
    pub fn announce(&self, progress: &dyn Progress) {
        progress.event(Event::Verdict {
            url: self.url.clone(),
            address: self.address.map(|address| address.to_string()),
            verdict: self.verdict.map(Verdict::as_str),
            message: self.message.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_of_round_trips_is_that_of_its_ranks() {
        let trips = RoundTrips::of((1..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!(trips, RoundTrips { min: 1.0, avg: 50.5, p95: 95.0, max: 100.0 });
        assert_eq!(RoundTrips::of(vec![2.0]).unwrap().p95, 2.0);
        assert_eq!(RoundTrips::of(Vec::new()), None);
    }
}
