//! STUN and TURN servers as they are named: W3C `RTCIceServer`, and its URLs (RFC 7064, RFC 7065).
//!
//! Pure: nothing is resolved or connected here.

use crate::error::{Classify, ErrorKind};
use std::fmt;
use std::net::IpAddr;

/// Which addresses are used: of servers, and of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Those of both families.
    #[default]
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl Family {
    /// Whether `ip` is one of them.
    pub const fn admits(self, ip: &IpAddr) -> bool {
        matches!((self, ip), (Self::Any, _) | (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }
}

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

/// A URL that names no server.
#[derive(Debug, thiserror::Error)]
#[error("ICE server '{url}': {why}")]
pub struct IceServerError {
    /// As given, without credentials.
    pub url: String,
    /// What is wrong with it.
    pub why: String,
}

impl IceServerError {
    /// `url` must hold no credentials.
    pub fn new(url: &str, why: impl Into<String>) -> Self {
        Self { url: url.to_owned(), why: why.into() }
    }
}

impl Classify for IceServerError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }

    fn name(&self) -> &'static str {
        "SyntaxError"
    }
}

/// W3C `RTCIceServer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// See [`ServerUrl`].
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
    /// When the URL has another scheme, no host, a port out of range, or an unknown transport.
    pub fn parse(url: &str) -> Result<Self, IceServerError> {
        let (scheme, rest) =
            url.split_once(':').ok_or_else(|| IceServerError::new(url, "it has no scheme: use stun: or turn:"))?;
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let shown = format!("{scheme}:{rest}");
        let parsed = ServerUrl::parse(&shown)?;
        let (username, credential) = match login {
            None => (None, None),
            Some(_) if !parsed.turn => return Err(IceServerError::new(&shown, "STUN takes no user name")),
            Some(login) => {
                let (user, password) = login
                    .split_once(':')
                    .ok_or_else(|| IceServerError::new(&shown, "no password after the user name"))?;
                (Some(user.to_owned()), Some(Secret::new(password)))
            }
        };
        Ok(Self { urls: vec![shown], username, credential })
    }

    /// Whether it is a TURN server.
    pub fn relays(&self) -> bool {
        self.urls.iter().any(|url| url.starts_with("turn"))
    }

    /// Whether TURN credentials are missing.
    pub fn lacks_credentials(&self) -> bool {
        self.relays() && (self.username.is_none() || self.credential.is_none())
    }
}

/// What carries the messages between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// DTLS over UDP (RFC 7350).
    Dtls,
}

impl ServerTransport {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
        }
    }

    /// Whether it is a stream, which neither loses nor reorders.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// Whether certificates take part.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Dtls)
    }
}

/// One URL of a server, taken apart: `stun:HOST[:PORT]`, `turn:HOST[:PORT][?transport=udp|tcp]`, and `stuns:` and `turns:`,
/// which are over TLS or, with `transport=udp`, DTLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// Whether it relays, by its scheme.
    pub turn: bool,
    /// A name or address; IPv6 in brackets.
    pub host: String,
    /// Its port; 3478 by default, 5349 for TLS and DTLS.
    pub port: u16,
    /// What carries the messages.
    pub transport: ServerTransport,
}

impl ServerUrl {
    /// Reads a URL without credentials. `transport` is understood for STUN too, since servers offer it there as well.
    ///
    /// # Errors
    /// See [`IceServer::parse`].
    pub fn parse(url: &str) -> Result<Self, IceServerError> {
        let fail = |why: &str| IceServerError::new(url, why);
        let (scheme, rest) = url.split_once(':').ok_or_else(|| fail("it has no scheme: use stun: or turn:"))?;
        let (turn, secure) = match scheme {
            "stun" => (false, false),
            "stuns" => (false, true),
            "turn" => (true, false),
            "turns" => (true, true),
            _ => return Err(fail("unknown scheme: use stun:, turn: or turns:")),
        };
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let transport = match (query, secure) {
            ("" | "transport=udp", false) => ServerTransport::Udp,
            ("transport=tcp", false) => ServerTransport::Tcp,
            ("" | "transport=tcp", true) => ServerTransport::Tls,
            ("transport=udp", true) => ServerTransport::Dtls,
            _ => return Err(fail("what follows '?' is not transport=udp or transport=tcp")),
        };
        let (host, port) = split_address(address).map_err(fail)?;
        let default = if secure { 5349 } else { 3478 };
        Ok(Self { turn, host: host.to_owned(), port: port.unwrap_or(default), transport })
    }

    /// The host as a resolver takes it: an IPv6 address without its brackets.
    pub fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.turn, self.transport.is_secure()) {
            (false, false) => "stun",
            (false, true) => "stuns",
            (true, false) => "turn",
            (true, true) => "turns",
        };
        let query = if self.transport.is_stream() { "tcp" } else { "udp" };
        write!(f, "{scheme}:{}:{}?transport={query}", self.host, self.port)
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
            ("turn:u@host", "password"),
            ("stun:u:hunter2@host", "user name"),
            ("stun:[::1", "']'"),
        ] {
            let error = IceServer::parse(url).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn urls_are_taken_apart_with_their_default_ports() {
        use ServerTransport::{Dtls, Tcp, Tls, Udp};
        for (url, host, port, transport) in [
            ("stun:a.example", "a.example", 3478, Udp),
            ("stuns:a.example", "a.example", 5349, Tls),
            ("turn:a.example:99?transport=udp", "a.example", 99, Udp),
            ("turn:[::1]?transport=tcp", "[::1]", 3478, Tcp),
            ("turns:a.example", "a.example", 5349, Tls),
            ("turns:[::1]:443?transport=tcp", "[::1]", 443, Tls),
            ("turns:a.example?transport=udp", "a.example", 5349, Dtls),
        ] {
            let turn = url.starts_with("turn");
            let parsed = ServerUrl::parse(url).unwrap();
            assert_eq!(parsed, ServerUrl { turn, host: host.to_owned(), port, transport }, "{url}");
            assert_eq!(ServerUrl::parse(&parsed.to_string()).unwrap(), parsed, "{url}");
        }
    }
}
