//! How the NAT in front of us behaves: RFC 5780 sections 4.3 and 4.4, in the words of RFC 4787.
//!
//! What is seen is taken for what it proves and no more. An answer proves that it was let in; silence proves nothing unless the
//! same answer comes once it is certainly let in. Where a server has no second address, several servers stand in for it.

use super::link;
use super::wire::{self, Incoming, Reply, Writer, attribute, method};
use crate::stop::Stop;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use stun_types::message::MessageClass;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// How a mapping, or a filter, depends on who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// It does not.
    EndpointIndependent,
    /// It depends on the address.
    AddressDependent,
    /// It depends on address and port.
    AddressAndPortDependent,
    /// What was seen does not tell.
    Inconclusive,
}

impl Behaviour {
    /// The three that can be.
    pub const KNOWN: [Self; 3] = [Self::EndpointIndependent, Self::AddressDependent, Self::AddressAndPortDependent];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Whether UDP gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Udp {
    /// It does.
    Open,
    /// It does not, where TCP to the same server does.
    Blocked,
    /// No server answers at all.
    Inconclusive,
}

/// Where one address of a server sees us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// The address that was asked.
    pub server: SocketAddr,
    /// What it saw.
    pub mapped_address: SocketAddr,
}

/// What is known of the NAT in front of us.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nat {
    /// Whether UDP gets through.
    pub udp: Udp,
    /// Whether there is one; `None` when that is not known.
    pub translated: Option<bool>,
    /// How our port is mapped.
    pub mapping: Behaviour,
    /// Whose packets are let in.
    pub filtering: Behaviour,
    /// Our address, as we know it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local_address: Option<SocketAddr>,
    /// Our address, as the first server sees it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mapped_address: Option<SocketAddr>,
    /// All that was seen from one port of ours.
    pub observations: Vec<Observation>,
    /// Why something is inconclusive.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub reasons: Vec<String>,
}

/// How long an answer is waited for; the request is sent three times meanwhile.
const PATIENCE: Duration = Duration::from_millis(1200);
/// The first time between two of them; it doubles.
const RESEND: Duration = Duration::from_millis(250);
/// CHANGE-REQUEST: answer from the other address and port, RFC 5780 section 7.2.
const CHANGE_BOTH: u32 = 0x6;
/// CHANGE-REQUEST: answer from the other port.
const CHANGE_PORT: u32 = 0x2;

/// An answer to a binding request.
struct Answer {
    from: SocketAddr,
    reply: Reply,
}

/// A socket that asks one question at a time.
pub(super) struct Asker(UdpSocket);

impl Asker {
    /// On an address of ours; gives it with its port.
    pub(super) fn at(ip: IpAddr) -> std::io::Result<(Self, SocketAddr)> {
        let socket = UdpSocket::from_std(link::udp_listener(SocketAddr::new(ip, 0))?.into())?;
        let address = socket.local_addr()?;
        Ok((Self(socket), address))
    }

    fn open(server: SocketAddr, local: &[IpAddr]) -> std::io::Result<Self> {
        let ours = local.iter().find(|ip| ip.is_ipv4() == server.is_ipv4()).copied();
        let ip = match ours {
            Some(ip) => ip,
            // The address from which this machine would send there, so that it can be told from a mapped one.
            None => {
                let unspecified: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
                let route = std::net::UdpSocket::bind(unspecified)?;
                route.connect(server)?;
                route.local_addr()?.ip()
            }
        };
        Ok(Self::at(ip)?.0)
    }

    /// Asks `server`; an answer from anywhere counts, since that is what is asked for.
    async fn ask(&self, server: SocketAddr, change: Option<u32>) -> Option<Answer> {
        let transaction = wire::new_transaction();
        let mut writer = Writer::new(MessageClass::Request, method::BINDING, transaction);
        if let Some(change) = change {
            writer.attribute(attribute::CHANGE_REQUEST, &change.to_be_bytes());
        }
        let request = writer.finish();
        let (until, mut wait) = (Instant::now() + PATIENCE, RESEND);
        let mut buffer = vec![0; 2048];
        loop {
            let _ = self.0.send_to(&request, server).await;
            let resend = (Instant::now() + wait).min(until);
            loop {
                let received = tokio::time::timeout_at(resend.into(), self.0.recv_from(&mut buffer)).await;
                match received {
                    Err(_) => break,
                    // What ICMP says is of no address in particular here.
                    Ok(Err(_)) => {}
                    Ok(Ok((length, from))) => match wire::read(&buffer[..length]) {
                        Ok(Incoming::Stun(reply)) if reply.transaction == transaction => {
                            return (reply.class == MessageClass::Success).then_some(Answer { from, reply });
                        }
                        _ => {}
                    },
                }
            }
            if Instant::now() >= until {
                return None;
            }
            wait *= 2;
        }
    }

    /// Where `server` sees this socket; only its own answer counts.
    pub(super) async fn observe(&self, server: SocketAddr) -> Option<(Observation, Option<SocketAddr>)> {
        let answer = self.ask(server, None).await?;
        let mapped_address = answer.reply.mapped_address().filter(|_| answer.from == server)?;
        Some((Observation { server, mapped_address }, answer.reply.address(attribute::OTHER_ADDRESS)))
    }
}

/// From where `server` answers, when it is slow to answer and that is not its own address. Nobody else hears such an answer: a
/// client takes it for that of a stranger, and most NATs do not let it in.
pub(super) async fn answers_from(server: SocketAddr, local: &[IpAddr]) -> Option<SocketAddr> {
    /// By then a request that was lost has been sent again.
    const LATE: Duration = Duration::from_millis(600);
    tokio::time::sleep(LATE).await;
    let answer = Asker::open(server, local).ok()?.ask(server, None).await?;
    (answer.from != server).then_some(answer.from)
}

/// Finds out how the NAT in front of us behaves, by servers at `servers`.
pub async fn nat_behaviour(servers: &[SocketAddr], local: &[IpAddr], stop: &Stop) -> Nat {
    let unknown = Nat {
        udp: Udp::Inconclusive,
        translated: None,
        mapping: Behaviour::Inconclusive,
        filtering: Behaviour::Inconclusive,
        local_address: None,
        mapped_address: None,
        observations: Vec::new(),
        reasons: Vec::new(),
    };
    tokio::select! {
        () = stop.stopped() => Nat { reasons: vec!["ended before it was known".to_owned()], ..unknown },
        nat = find_out(servers, local, unknown.clone()) => nat,
    }
}

async fn find_out(servers: &[SocketAddr], local: &[IpAddr], mut nat: Nat) -> Nat {
    let Some(first) = servers.first().copied() else {
        nat.reasons.push("there is no server to ask over UDP".to_owned());
        return nat;
    };
    let asker = match Asker::open(first, local) {
        Ok(asker) => asker,
        Err(error) => {
            nat.reasons.push(format!("no socket: {error}"));
            return nat;
        }
    };
    nat.local_address = asker.0.local_addr().ok();
    // All from one socket: that is what a mapping is about.
    let mut others = Vec::new();
    for server in servers.iter().filter(|server| server.is_ipv4() == first.is_ipv4()) {
        if let Some((observation, other)) = asker.observe(*server).await {
            nat.observations.push(observation);
            others.extend(other.filter(|other| other.ip() != server.ip()).map(|other| (*server, other)));
        }
    }
    if nat.observations.is_empty() {
        return without_udp(servers, nat).await;
    }
    nat.udp = Udp::Open;
    let second = others.first().copied();
    if let Some((server, other)) = second {
        for address in [SocketAddr::new(other.ip(), server.port()), other, SocketAddr::new(server.ip(), other.port())] {
            if let Some((observation, _)) = asker.observe(address).await {
                nat.observations.push(observation);
            }
        }
    }
    nat.mapped_address = nat.observations.first().map(|observation| observation.mapped_address);
    nat.translated = translated(nat.local_address, &nat.observations);
    nat.mapping = mapping(&nat.observations, &mut nat.reasons);
    nat.filtering = match second {
        Some((server, other)) => filtering(server, other, local, &mut nat.reasons).await,
        None => {
            nat.reasons.push("filtering: no server has a second address (OTHER-ADDRESS, RFC 5780)".to_owned());
            Behaviour::Inconclusive
        }
    };
    nat
}

/// No server answers over UDP: is it UDP, or the servers?
async fn without_udp(servers: &[SocketAddr], mut nat: Nat) -> Nat {
    for server in servers {
        if tokio::time::timeout(PATIENCE, answers_over_tcp(*server)).await.unwrap_or(false) {
            nat.udp = Udp::Blocked;
            nat.reasons.push(format!("{server} answers over TCP and not over UDP"));
            return nat;
        }
    }
    nat.reasons.push("no server answers, over UDP or TCP".to_owned());
    nat
}

async fn answers_over_tcp(server: SocketAddr) -> bool {
    let transaction = wire::new_transaction();
    let request = Writer::new(MessageClass::Request, method::BINDING, transaction).finish();
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(&request).await?;
        let mut start = [0; wire::HEADER];
        stream.read_exact(&mut start).await?;
        std::io::Result::Ok(start)
    };
    exchange.await.is_ok_and(|start| start[8..] == transaction.to_be_bytes()[4..])
}

fn translated(local: Option<SocketAddr>, observations: &[Observation]) -> Option<bool> {
    let local = local?;
    let differs = |observation: &Observation| observation.mapped_address != local;
    match observations {
        [] => None,
        all if all.iter().all(differs) => Some(true),
        all if !all.iter().any(differs) => Some(false),
        // Some servers are on this side of it.
        _ => None,
    }
}

/// What observations from one port say about its mapping.
pub(super) fn mapping(observations: &[Observation], reasons: &mut Vec<String>) -> Behaviour {
    let mut by_ip: BTreeMap<IpAddr, Vec<SocketAddr>> = BTreeMap::new();
    for observation in observations {
        by_ip.entry(observation.server.ip()).or_default().push(observation.mapped_address);
    }
    let mut inconclusive = |why: &str| {
        reasons.push(format!("mapping: {why}"));
        Behaviour::Inconclusive
    };
    let ips: std::collections::BTreeSet<_> = observations.iter().map(|seen| seen.mapped_address.ip()).collect();
    if ips.len() > 1 {
        return inconclusive("servers see different addresses of ours, so there may be more than one NAT");
    }
    if by_ip.values().flatten().all(|mapped| Some(*mapped) == observations.first().map(|seen| seen.mapped_address)) {
        return match by_ip.len() {
            0 | 1 => {
                inconclusive("one address of a server does not tell: give a server with OTHER-ADDRESS, or two servers")
            }
            _ => Behaviour::EndpointIndependent,
        };
    }
    let same = |mapped: &Vec<SocketAddr>| mapped.iter().all(|other| *other == mapped[0]);
    if by_ip.values().any(|mapped| !same(mapped)) {
        return Behaviour::AddressAndPortDependent;
    }
    // It depends on the address; whether on the port as well, two ports of one address would tell.
    match by_ip.values().any(|mapped| mapped.len() > 1) {
        true => Behaviour::AddressDependent,
        false => inconclusive("it depends on the address, and whether on the port as well is not known"),
    }
}

/// Who may answer on our mapping: RFC 5780 section 4.4, on sockets that spoke to nobody else before.
async fn filtering(server: SocketAddr, other: SocketAddr, local: &[IpAddr], reasons: &mut Vec<String>) -> Behaviour {
    let other_port = SocketAddr::new(server.ip(), other.port());
    let (both, port) =
        tokio::join!(is_let_in(server, other, CHANGE_BOTH, local), is_let_in(server, other_port, CHANGE_PORT, local));
    match (both, port) {
        (Some(true), _) => Behaviour::EndpointIndependent,
        (Some(false), Some(true)) => Behaviour::AddressDependent,
        (Some(false), Some(false)) => Behaviour::AddressAndPortDependent,
        _ => {
            reasons
                .push("filtering: silence cannot be told from a server that does not answer from elsewhere".to_owned());
            Behaviour::Inconclusive
        }
    }
}

/// Whether an answer from `from` to a request to `server` is let in; `None` when the server may not have sent it.
async fn is_let_in(server: SocketAddr, from: SocketAddr, change: u32, local: &[IpAddr]) -> Option<bool> {
    let asker = Asker::open(server, local).ok()?;
    asker.observe(server).await?;
    if let Some(answer) = asker.ask(server, Some(change)).await {
        return (answer.from == from).then_some(true);
    }
    // Does it answer from there at all? A socket that has spoken to that address first is certain to be let in, unless each address
    // sees another port of it. It is another socket: Linux gives the first one a new port for whoever knocked in vain.
    let asker = Asker::open(server, local).ok()?;
    asker.observe(from).await?;
    let answer = asker.ask(server, Some(change)).await?;
    (answer.from == from).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pairs: &[(&str, &str)]) -> Behaviour {
        let observations: Vec<_> = pairs
            .iter()
            .map(|(server, mapped)| Observation {
                server: server.parse().unwrap(),
                mapped_address: mapped.parse().unwrap(),
            })
            .collect();
        mapping(&observations, &mut Vec::new())
    }

    #[test]
    fn a_mapping_is_named_only_where_what_was_seen_proves_it() {
        use Behaviour::{AddressAndPortDependent, AddressDependent, EndpointIndependent, Inconclusive};
        assert_eq!(seen(&[("1.1.1.1:1", "9.9.9.9:5")]), Inconclusive);
        assert_eq!(seen(&[("1.1.1.1:1", "9.9.9.9:5"), ("1.1.1.1:2", "9.9.9.9:5")]), Inconclusive);
        assert_eq!(seen(&[("1.1.1.1:1", "9.9.9.9:5"), ("2.2.2.2:1", "9.9.9.9:5")]), EndpointIndependent);
        assert_eq!(seen(&[("1.1.1.1:1", "9.9.9.9:5"), ("2.2.2.2:1", "9.9.9.9:6")]), Inconclusive);
        assert_eq!(seen(&[("1.1.1.1:1", "9.9.9.9:5"), ("2.2.2.2:1", "8.8.8.8:5")]), Inconclusive);
        let address = [("1.1.1.1:1", "9.9.9.9:5"), ("2.2.2.2:1", "9.9.9.9:6"), ("2.2.2.2:2", "9.9.9.9:6")];
        assert_eq!(seen(&address), AddressDependent);
        let port = [("1.1.1.1:1", "9.9.9.9:5"), ("2.2.2.2:1", "9.9.9.9:6"), ("2.2.2.2:2", "9.9.9.9:7")];
        assert_eq!(seen(&port), AddressAndPortDependent);
        assert_eq!(seen(&[("1.1.1.1:1", "9.9.9.9:5"), ("1.1.1.1:2", "9.9.9.9:6")]), AddressAndPortDependent);
    }
}
