//! Candidates as ICE would gather them (RFC 8445 section 5.1): host, server-reflexive, relayed.

use super::examine::{self, Settings, Target};
use super::nat::Asker;
use super::verdict::Verdict;
use crate::ice_server::ServerTransport;
use crate::stop::Stop;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};

/// W3C `RTCIceCandidateType`, without peer-reflexive ones, which only checks find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CandidateType {
    /// An address of ours.
    Host,
    /// An address of ours as a server sees it.
    Srflx,
    /// An address of a relay.
    Relay,
}

impl CandidateType {
    /// Its name in candidate lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Srflx => "srflx",
            Self::Relay => "relay",
        }
    }

    /// RFC 8445 section 5.1.2.2.
    fn preference(self) -> u32 {
        match self {
            Self::Host => 126,
            Self::Srflx => 100,
            Self::Relay => 0,
        }
    }
}

/// W3C `RTCIceCandidate`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The candidate-attribute (RFC 8839 section 5.1).
    pub candidate: String,
    /// The same for candidates of one type, base and server.
    pub foundation: String,
    /// RFC 8445 section 5.1.2.
    pub priority: u32,
    /// Its address.
    pub address: IpAddr,
    /// Always UDP.
    pub protocol: &'static str,
    /// Its port.
    pub port: u16,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: CandidateType,
    /// Where it is based.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related_address: Option<IpAddr>,
    /// Where it is based.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related_port: Option<u16>,
    /// How the relay is reached: `udp`, `tcp`, `tls` or `dtls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay_protocol: Option<&'static str>,
    /// The server that it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// W3C `RTCPeerConnectionIceErrorEvent`: a server gave no candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateError {
    /// The server.
    pub url: String,
    /// Which of its addresses; absent when its name has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The error code of the server; 701 when it could not be reached.
    pub error_code: u16,
    /// Why.
    pub error_text: String,
    /// The same in a word.
    pub verdict: Verdict,
}

impl CandidateError {
    /// The code for a server that could not be reached.
    pub const UNREACHABLE: u16 = 701;
}

/// What was gathered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered {
    /// By falling priority.
    pub candidates: Vec<Candidate>,
    /// What gave none.
    pub errors: Vec<CandidateError>,
}

/// One find, before it is numbered.
struct Found {
    kind: CandidateType,
    address: SocketAddr,
    base: SocketAddr,
    /// The address that ours is, among ours.
    place: u32,
    related: Option<SocketAddr>,
    server: Option<(SocketAddr, ServerTransport, String)>,
}

/// Gathers on the addresses `ours` with the servers, all side by side. What is allocated is released at once.
pub async fn gather(servers: &[(Target, SocketAddr)], ours: &[IpAddr], settings: &Settings, stop: &Stop) -> Gathered {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    let mut askers = Vec::new();
    for (place, ip) in (0_u32..).zip(ours) {
        let Ok((asker, base)) = Asker::at(*ip) else { continue };
        found.push(Found { kind: CandidateType::Host, address: base, base, place, related: None, server: None });
        askers.push((place, asker, base));
    }
    let reflexive = askers.iter().map(|(place, asker, base)| async move {
        let mut finds = Vec::new();
        // One after the other: they share the socket.
        for (target, server) in servers.iter().filter(|(target, server)| {
            target.url.transport == ServerTransport::Udp && server.is_ipv4() == base.is_ipv4()
        }) {
            if let Some((seen, _)) = asker.observe(*server).await {
                finds.push(Found {
                    kind: CandidateType::Srflx,
                    address: seen.mapped_address,
                    base: *base,
                    place: *place,
                    related: Some(*base),
                    server: Some((*server, target.url.transport, target.shown.clone())),
                });
            }
        }
        finds
    });
    let relayed = servers.iter().filter(|(target, _)| target.url.turn).map(|(target, server)| async move {
        (target, *server, examine::relayed_address(target, *server, settings, stop).await)
    });
    let reflexive = async {
        tokio::select! {
            reflexive = join_all(reflexive) => reflexive,
            () = stop.stopped() => Vec::new(),
        }
    };
    // These end by themselves, once what they allocated is released.
    let (reflexive, relayed) = tokio::join!(reflexive, join_all(relayed));
    let reflexive: Vec<Found> = reflexive.into_iter().flatten().collect();
    let answered: Vec<SocketAddr> =
        reflexive.iter().filter_map(|find| find.server.as_ref().map(|(server, ..)| *server)).collect();
    for (target, server) in servers.iter().filter(|(target, _)| !target.url.turn) {
        if !answered.contains(server) && !stop.is_stopped() {
            let udp = target.url.transport == ServerTransport::Udp;
            let why = if udp { "no answer from it" } else { "what a stream shows is of no use to ICE over UDP" };
            errors.push(CandidateError {
                url: target.shown.clone(),
                address: Some(*server),
                error_code: CandidateError::UNREACHABLE,
                error_text: why.to_owned(),
                verdict: Verdict::Unreachable,
            });
        }
    }
    found.extend(reflexive);
    for (target, server, outcome) in relayed {
        match outcome {
            Ok((address, mapped)) => found.push(Found {
                kind: CandidateType::Relay,
                address,
                base: address,
                place: 0,
                related: mapped,
                server: Some((server, target.url.transport, target.shown.clone())),
            }),
            Err(error) => errors.extend(error),
        }
    }
    Gathered { candidates: number(found), errors }
}

/// Waits for all, side by side.
async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, done) in &mut waiting {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

/// Leaves out what is there already with the same base, and gives the rest foundations and priorities.
fn number(found: Vec<Found>) -> Vec<Candidate> {
    let mut kept: Vec<Found> = Vec::new();
    for find in found {
        // RFC 8445 section 5.1.3: the same address and base. Without a NAT a reflexive one is the host's.
        if !kept.iter().any(|other| other.address == find.address && other.base == find.base) {
            kept.push(find);
        }
    }
    let mut foundations: Vec<(CandidateType, IpAddr, Option<IpAddr>, Option<ServerTransport>)> = Vec::new();
    let mut candidates: Vec<Candidate> = kept
        .into_iter()
        .map(|find| {
            let server = find.server.as_ref();
            let key = (
                find.kind,
                find.base.ip(),
                server.map(|(address, ..)| address.ip()),
                server.map(|(_, transport, _)| *transport),
            );
            let foundation = foundations.iter().position(|known| *known == key).unwrap_or_else(|| {
                foundations.push(key);
                foundations.len() - 1
            }) + 1;
            // The addresses of a machine in their order; IPv6 before IPv4 (RFC 8421).
            let local = 65_535 - find.place - if find.address.is_ipv4() { 256 } else { 0 };
            let priority = (find.kind.preference() << 24) + (local << 8) + 255;
            let (ip, port, kind) = (find.address.ip(), find.address.port(), find.kind.as_str());
            let mut candidate = format!("candidate:{foundation} 1 udp {priority} {ip} {port} typ {kind}");
            if let Some(related) = find.related {
                candidate += &format!(" raddr {} rport {}", related.ip(), related.port());
            }
            Candidate {
                candidate,
                foundation: foundation.to_string(),
                priority,
                address: ip,
                protocol: "udp",
                port,
                kind: find.kind,
                related_address: find.related.map(|related| related.ip()),
                related_port: find.related.map(|related| related.port()),
                relay_protocol: server
                    .filter(|_| find.kind == CandidateType::Relay)
                    .map(|(_, transport, _)| transport.as_str()),
                url: find.server.map(|(_, _, url)| url),
            }
        })
        .collect();
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority));
    candidates
}
