//! What a session is made from.

use super::error::PeerError;
use crate::media::Codec;
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
    /// `stun:HOST[:PORT]` and `turn:HOST[:PORT][?transport=udp]` (RFC 7064, RFC 7065).
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
            "stun" | "turn" => {}
            "stuns" | "turns" => return Err(unusable(&shown, "TLS is not supported yet; use stun: or turn: over UDP")),
            _ => return Err(unusable(&shown, "unknown scheme: use stun: or turn:")),
        }
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        match (scheme, query) {
            (_, "") | ("turn", "transport=udp") => {}
            ("turn", "transport=tcp") => return Err(unusable(&shown, "TCP is not supported yet; use transport=udp")),
            _ => return Err(unusable(&shown, "what follows '?' is not transport=udp")),
        }
        check_address(address).map_err(|why| unusable(&shown, why))?;
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
        let turn = self.urls.iter().any(|url| url.starts_with("turn:"));
        turn && (self.username.is_none() || self.credential.is_none())
    }
}

fn unusable(url: &str, why: &str) -> PeerError {
    PeerError::IceServer { url: url.to_owned(), why: why.to_owned() }
}

fn check_address(address: &str) -> Result<(), &'static str> {
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("']' is missing after the IPv6 address")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("what stands in brackets is no IPv6 address");
        }
        (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some("3478")).ok_or("no ':' before the port")?)
    } else {
        address.split_once(':').unwrap_or((address, "3478"))
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err("it has no host");
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err("the port is not a number from 1 to 65535"),
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaPlan {
    /// The codec of the video that we send.
    pub send_video: Option<Codec>,
    /// The codec of the audio that we send.
    pub send_audio: Option<Codec>,
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
            ("turn:u:hunter2@host?transport=tcp", "TCP"),
            ("turns:u:hunter2@host", "TLS"),
            ("turn:u@host", "password"),
            ("stun:[::1", "']'"),
        ] {
            let error = IceServer::parse(url).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn loopback_is_an_address_and_an_unknown_interface_is_not() {
        assert_eq!(Interfaces::Loopback.addresses().unwrap(), [SocketAddr::from(([127, 0, 0, 1], 0))]);
        assert_eq!(Interfaces::Named("127.0.0.1".into()).addresses().unwrap().len(), 1);
        assert!(matches!(Interfaces::Named("nope0".into()).addresses(), Err(PeerError::NoInterface { .. })));
    }
}
