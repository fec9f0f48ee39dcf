//! What a session is made from.

use super::error::PeerError;
use crate::media::{Codec, VideoCodecs};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A text that no log or error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` to itself from now on.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// W3C `RTCIceServer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:HOST[:PORT]`, `turn:HOST[:PORT][?transport=udp|tcp]` and `turns:HOST[:PORT]`, which is over TLS (RFC 7064,
    /// RFC 7065).
    pub urls: Vec<String>,
    /// For TURN.
    pub username: Option<String>,
    /// For TURN: the long-term password.
    pub credential: Option<Secret>,
}

impl IceServer {
    /// Reads one URL; `turn:USER:PASSWORD@HOST` is understood too.
    ///
    /// # Errors
    /// When the URL has another scheme, no host, a port out of range, or a transport that is not supported.
    pub fn parse(url: &str) -> Result<Self, PeerError> {
        let (scheme, rest) =
            url.split_once(':').ok_or_else(|| unusable(url, "it has no scheme: use stun: or turn:"))?;
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let shown = format!("{scheme}:{rest}");
        match scheme {
            "stun" | "turn" | "turns" => {}
            "stuns" => {
                let why = "the address that a stream shows is of no use for media over UDP, and browsers skip it too; use stun:";
                return Err(unusable(&shown, why));
            }
            _ => return Err(unusable(&shown, "unknown scheme: use stun:, turn: or turns:")),
        }
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        match (scheme, query) {
            (_, "") | ("turn", "transport=udp") | ("turn" | "turns", "transport=tcp") => {}
            ("turns", "transport=udp") => return Err(unusable(&shown, "TURN over DTLS is not supported")),
            _ => return Err(unusable(&shown, "what follows '?' is not transport=udp or transport=tcp")),
        }
        split_address(address).map_err(|why| unusable(&shown, why))?;
        let (username, credential) = match login {
            None => (None, None),
            Some(_) if scheme == "stun" => return Err(unusable(&shown, "STUN takes no user name")),
            Some(login) => {
                let (user, password) =
                    login.split_once(':').ok_or_else(|| unusable(&shown, "no password after the user name"))?;
                (Some(user.to_owned()), Some(Secret::new(password)))
            }
        };
        Ok(Self { urls: vec![shown], username, credential })
    }

    /// Whether TURN credentials are missing.
    pub fn lacks_credentials(&self) -> bool {
        let turn = self.urls.iter().any(|url| url.starts_with("turn"));
        turn && (self.username.is_none() || self.credential.is_none())
    }
}

fn unusable(url: &str, why: &str) -> PeerError {
    PeerError::IceServer { url: url.to_owned(), why: why.to_owned() }
}

/// One URL of a server, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerAddress {
    /// A name or address; IPv6 in brackets.
    pub host: String,
    pub port: u16,
    /// Over TCP, inside TLS or not; UDP otherwise.
    pub stream: Option<Tls>,
}

/// Whether a stream is inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Plain,
    Inside,
}

impl ServerAddress {
    /// Takes apart what [`IceServer::parse`] has let through.
    pub(super) fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = split_address(address).ok()?;
        let stream = match (scheme, query) {
            ("turns", _) => Some(Tls::Inside),
            (_, "transport=tcp") => Some(Tls::Plain),
            _ => None,
        };
        let default = if stream == Some(Tls::Inside) { 5349 } else { 3478 };
        Some(Self { host: host.to_owned(), port: port.unwrap_or(default), stream })
    }
}

/// Host, in brackets where it is IPv6, and port.
fn split_address(address: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = if let Some(end) = address.find(']') {
        let (host, after) = address.split_at(end + 1);
        if host.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_err() {
            return Err("what stands in brackets is no IPv6 address");
        }
        let port = after.strip_prefix(':');
        if port.is_none() && !after.is_empty() {
            return Err("no ':' before the port");
        }
        (host, port)
    } else if address.starts_with('[') {
        return Err("']' is missing after the IPv6 address");
    } else {
        address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err("it has no host");
    }
    match port.map(str::parse::<u16>) {
        None => Ok((host, None)),
        Some(Ok(port @ 1..)) => Ok((host, Some(port))),
        Some(_) => Err("the port is not a number from 1 to 65535"),
    }
}

/// W3C `RTCIceTransportPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IceTransportPolicy {
    /// Any candidate.
    #[default]
    All,
    /// Only through a TURN server.
    Relay,
}

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
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, PeerError> {
        let fail = |detail: String| PeerError::NoInterface { detail };
        let found = rtc::shared::ifaces::ifaces().map_err(|error| fail(error.to_string()))?;
        let all: Vec<(String, IpAddr)> =
            found.into_iter().filter_map(|interface| Some((interface.name, interface.addr?.ip()))).collect();
        let usable = |ip: &IpAddr| !ip.is_unspecified() && !is_link_local(ip);
        let chosen: Vec<IpAddr> = match self {
            Self::All => {
                let mut up: Vec<IpAddr> =
                    all.iter().map(|(_, ip)| *ip).filter(|ip| usable(ip) && !ip.is_loopback()).collect();
                if up.is_empty() {
                    up = all.iter().map(|(_, ip)| *ip).filter(IpAddr::is_loopback).collect();
                }
                up
            }
            Self::Loopback => vec![IpAddr::from([127, 0, 0, 1])],
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
            return Err(fail(match self {
                Self::Named(name) => format!("no interface or address '{name}' is up"),
                _ => "none is up".to_owned(),
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

/// Which media a session sends and which it is ready to receive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaPlan {
    /// What the video that we send may be coded as, the preferred first; empty when we send none.
    pub send_video: Vec<Codec>,
    /// What the audio that we send may be coded as, likewise.
    pub send_audio: Vec<Codec>,
    /// Whether the peer may send video.
    pub receive_video: bool,
    /// Whether the peer may send audio.
    pub receive_audio: bool,
}

/// What a session is made from.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// Whether direct paths may be used.
    pub ice_transport_policy: IceTransportPolicy,
    /// Where to listen.
    pub interfaces: Interfaces,
    /// What video may be sent and received as.
    pub video_codecs: VideoCodecs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_urls_are_read_and_their_secrets_taken_out() {
        let server = IceServer::parse("turn:alice:hunter:2@turn.example:3479?transport=udp").unwrap();
        assert_eq!(server.urls, ["turn:turn.example:3479?transport=udp"]);
        assert_eq!(server.username.as_deref(), Some("alice"));
        assert_eq!(server.credential.as_ref().map(Secret::reveal), Some("hunter:2"));
        assert!(!format!("{server:?}").contains("hunter") && !server.lacks_credentials());
        assert!(IceServer::parse("turn:turn.example").unwrap().lacks_credentials());
        assert!(IceServer::parse("stun:[2001:db8::1]:3478").is_ok());
    }

    #[test]
    fn a_wrong_url_is_refused_with_its_reason_and_without_its_password() {
        for (url, reason) in [
            ("example.org", "no scheme"),
            ("http://example.org", "unknown scheme"),
            ("stun:", "no host"),
            ("stun:host:0", "port"),
            ("stun:host:99999", "port"),
            ("turn:u:hunter2@host?transport=sctp", "transport=tcp"),
            ("turns:u:hunter2@host?transport=udp", "DTLS"),
            ("stuns:host", "stun:"),
            ("turn:u@host", "password"),
            ("stun:[::1", "']'"),
        ] {
            let error = IceServer::parse(url).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn urls_are_taken_apart_with_their_default_ports() {
        for (url, host, port, stream) in [
            ("stun:a.example", "a.example", 3478, None),
            ("turn:a.example:99?transport=udp", "a.example", 99, None),
            ("turn:[::1]?transport=tcp", "[::1]", 3478, Some(Tls::Plain)),
            ("turns:a.example", "a.example", 5349, Some(Tls::Inside)),
            ("turns:[::1]:443?transport=tcp", "[::1]", 443, Some(Tls::Inside)),
        ] {
            assert!(IceServer::parse(url).is_ok(), "{url}");
            assert_eq!(ServerAddress::of(url), Some(ServerAddress { host: host.to_owned(), port, stream }), "{url}");
        }
    }

    #[test]
    fn loopback_is_an_address_and_an_unknown_interface_is_not() {
        assert_eq!(Interfaces::Loopback.addresses().unwrap(), [SocketAddr::from(([127, 0, 0, 1], 0))]);
        assert_eq!(Interfaces::Named("127.0.0.1".into()).addresses().unwrap().len(), 1);
        assert!(matches!(Interfaces::Named("nope0".into()).addresses(), Err(PeerError::NoInterface { .. })));
    }
}
