//! Which addresses and ports of ours a session uses.

use super::error::PeerError;
use crate::ice_server::Family;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::str::FromStr;

/// On which local addresses a session listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Interfaces {
    /// Every interface that is up; the loopback interface only where there is no other.
    #[default]
    All,
    /// The loopback interface alone, for two peers on one machine.
    Loopback,
    /// The interface of this name, or the one that has this address.
    Named(String),
}

impl Interfaces {
    /// The addresses to bind, each with port 0.
    ///
    /// # Errors
    /// When there is none.
    pub fn addresses(&self, family: Family) -> Result<Vec<SocketAddr>, PeerError> {
        let fail = |detail: String| PeerError::NoInterface { detail };
        let found = rtc::shared::ifaces::ifaces().map_err(|error| fail(error.to_string()))?;
        let all: Vec<(String, IpAddr)> =
            found.into_iter().filter_map(|interface| Some((interface.name, interface.addr?.ip()))).collect();
        let usable = |ip: &IpAddr| !ip.is_unspecified() && !is_link_local(ip) && family.admits(ip);
        let chosen: Vec<IpAddr> = match self {
            Self::All => {
                let mut up: Vec<IpAddr> =
                    all.iter().map(|(_, ip)| *ip).filter(|ip| usable(ip) && !ip.is_loopback()).collect();
                if up.is_empty() {
                    up = all.iter().map(|(_, ip)| *ip).filter(|ip| usable(ip) && ip.is_loopback()).collect();
                }
                up
            }
            Self::Loopback if family == Family::V6 => vec![Ipv6Addr::LOCALHOST.into()],
            Self::Loopback => vec![Ipv4Addr::LOCALHOST.into()],
            Self::Named(name) => {
                let address = name.parse::<IpAddr>().ok();
                all.iter()
                    .filter(|(interface, ip)| (interface == name || Some(*ip) == address) && usable(ip))
                    .map(|(_, ip)| *ip)
                    .collect()
            }
        };
        let mut addresses: Vec<SocketAddr> = chosen.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            let of = match family {
                Family::Any => "",
                Family::V4 => " with an IPv4 address",
                Family::V6 => " with an IPv6 address",
            };
            return Err(fail(match self {
                Self::Named(name) => format!("no interface or address '{name}' is up{of}"),
                _ => format!("none is up{of}"),
            }));
        }
        Ok(addresses)
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Ports from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl FromStr for PortRange {
    type Err = String;

    /// `40000-40100`, or one port.
    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| match text.trim().parse() {
            Ok(0) | Err(_) => Err(format!("'{text}' is no port: 1 to 65535")),
            Ok(port) => Ok(port),
        };
        let (first, last) = text.split_once(['-', ':']).unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(format!("{last} is less than {first}"));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl PortRange {
    /// Gives an address a port that is free at the moment.
    fn place(self, address: SocketAddr, transport: Transport) -> Option<SocketAddr> {
        // From anywhere in the range, so that several processes do not fight for its first port.
        let count = u32::from(self.last - self.first) + 1;
        let offset = super::local_track::random_u32() % count;
        (0..count)
            .filter_map(|n| u16::try_from(u32::from(self.first) + (offset + n) % count).ok())
            .map(|port| SocketAddr::new(address.ip(), port))
            .find(|address| transport.can_bind(*address))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    fn can_bind(self, address: SocketAddr) -> bool {
        match self {
            Self::Udp => UdpSocket::bind(address).is_ok(),
            Self::Tcp => TcpListener::bind(address).is_ok(),
        }
    }
}

/// Where a session listens. It is looked up anew whenever sockets are opened: with a session, and with each ICE restart, when
/// other interfaces may be up.
#[derive(Clone, Debug)]
pub(super) struct Listening {
    interfaces: Interfaces,
    family: Family,
    ports: Option<PortRange>,
    transport: Transport,
}

impl Listening {
    /// For UDP.
    pub fn new(interfaces: Interfaces, family: Family, ports: Option<PortRange>) -> Self {
        Self { interfaces, family, ports, transport: Transport::Udp }
    }

    /// The same for TCP.
    pub fn for_tcp(&self) -> Self {
        Self { transport: Transport::Tcp, ..self.clone() }
    }

    /// The addresses that can be bound now.
    ///
    /// # Errors
    /// When there is none.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, PeerError> {
        let found = self.interfaces.addresses(self.family)?;
        // The address of an interface that is down is listed and cannot be bound.
        let usable = found.iter().copied().filter(|address| self.transport.can_bind(*address));
        let placed: Result<Vec<_>, _> = usable.map(|address| self.place(address)).collect();
        let placed = placed?;
        if placed.is_empty() {
            return Err(PeerError::NoInterface { detail: format!("{} cannot be bound", found[0].ip()) });
        }
        Ok(placed)
    }

    fn place(&self, address: SocketAddr) -> Result<SocketAddr, PeerError> {
        let Some(ports) = self.ports else { return Ok(address) };
        let none = || PeerError::NoInterface { detail: format!("no port of {ports} is free on {}", address.ip()) };
        ports.place(address, self.transport).ok_or_else(none)
    }

    /// Whether a peer can be reached from here now. Where only the loopback interface is left it cannot, unless it is there or
    /// the interface was asked for.
    pub fn leads_out(&self, peer_is_here: bool) -> bool {
        let may_be_here = peer_is_here || self.interfaces != Interfaces::All;
        self.addresses().is_ok_and(|found| may_be_here || found.iter().any(|address| !address.ip().is_loopback()))
    }
}

impl ToSocketAddrs for Listening {
    type Iter = std::vec::IntoIter<SocketAddr>;

    /// Never none: without any socket the library ends the connection for good, and the next restart may find an interface.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let found = self.addresses().unwrap_or_else(|_| {
            let loopback =
                if self.family == Family::V6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
            vec![SocketAddr::new(loopback, 0)]
        });
        Ok(found.into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_address_and_an_unknown_interface_is_not() {
        assert_eq!(Interfaces::Loopback.addresses(Family::Any).unwrap(), [SocketAddr::from(([127, 0, 0, 1], 0))]);
        assert_eq!(Interfaces::Named("127.0.0.1".into()).addresses(Family::Any).unwrap().len(), 1);
        assert!(matches!(Interfaces::Named("nope0".into()).addresses(Family::Any), Err(PeerError::NoInterface { .. })));
        let error = Interfaces::Named("127.0.0.1".into()).addresses(Family::V6).unwrap_err();
        assert!(error.to_string().contains("IPv6"), "{error}");
    }

    #[test]
    fn ports_are_taken_from_the_range_and_one_that_is_taken_is_passed_over() {
        let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let only = PortRange { first: port, last: port };
        let listening = |ports| Listening::new(Interfaces::Loopback, Family::Any, Some(ports));
        assert!(listening(only).addresses().unwrap_err().to_string().contains("is free"));
        let few: PortRange = format!("{}-{}", port.saturating_sub(4).max(1), port.max(5)).parse().unwrap();
        for listening in [listening(few), listening(few).for_tcp()] {
            let address = listening.addresses().unwrap()[0];
            assert!((few.first..=few.last).contains(&address.port()), "{address} of {few}");
            assert!(listening.transport == Transport::Tcp || address.port() != port, "{address} is taken");
        }
        for (text, why) in [("0-7", "no port"), ("9-7", "less"), ("x", "no port"), ("1-70000", "no port")] {
            assert!(text.parse::<PortRange>().unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn there_is_always_something_to_bind_and_it_is_known_whether_it_leads_out() {
        let nowhere = Listening::new(Interfaces::Named("nope0".into()), Family::Any, None);
        assert!(nowhere.to_socket_addrs().unwrap().all(|address| address.ip().is_loopback()));
        assert!(!nowhere.leads_out(true));
        for chosen in [Interfaces::Loopback, Interfaces::Named("127.0.0.1".into())] {
            let here = Listening::new(chosen, Family::Any, None);
            assert!(here.leads_out(false) && here.leads_out(true), "{here:?}");
        }
    }
}
