//! What STUN and TURN servers said, read off the datagrams: the library keeps it to itself.
//!
//! A server that refuses us, cannot be resolved or never answers is the usual reason for a failed connection, and the user
//! must be told which and why. RFC 8489 for the messages, RFC 8656 for the codes.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why a server was of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// Its name has no address.
    Dns(String),
    /// No connection to it: TCP refused, silent.
    Connect(String),
    /// TCP is there and TLS is not.
    Tls(String),
    /// Nothing came from it.
    Silent,
    /// It answered with an error, RFC 8489 section 14.8.
    Refused {
        /// The code: 401 for a wrong password, 403, 441, 486 …
        code: u16,
        /// Its own words.
        reason: String,
    },
}

impl Trouble {
    /// Whether waiting longer could not have helped.
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Silent)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(why) => write!(f, "its name cannot be resolved: {why}"),
            Self::Connect(why) => write!(f, "no connection: {why}"),
            Self::Tls(why) => write!(f, "no TLS: {why}"),
            Self::Silent => f.write_str("it does not answer"),
            Self::Refused { code: 401, .. } => f.write_str("it refused user name or credential (401)"),
            Self::Refused { code, reason } if reason.is_empty() => write!(f, "it refused us ({code})"),
            Self::Refused { code, reason } => write!(f, "it refused us ({code}, {reason})"),
        }
    }
}

/// A server and why it was of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTrouble {
    /// Its URL as given, without credentials.
    pub server: String,
    /// What was wrong.
    pub trouble: Trouble,
}

impl fmt::Display for ServerTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.server, self.trouble)
    }
}

#[derive(Debug)]
struct Server {
    url: String,
    /// What the library resolves: `HOST:PORT`.
    authority: String,
    addresses: Vec<SocketAddr>,
    useful: bool,
    trouble: Option<Trouble>,
}

/// Watches the servers of one session.
#[derive(Debug, Default)]
pub(super) struct ServerWatch {
    servers: Mutex<Vec<Server>>,
    /// Requests that carried credentials: a 401 to another one is only the challenge.
    authenticated: Mutex<VecDeque<[u8; 12]>>,
}

const ALLOCATE_REQUEST: u16 = 0x0003;
const ALLOCATE_SUCCESS: u16 = 0x0103;
const ALLOCATE_ERROR: u16 = 0x0113;
const BINDING_SUCCESS: u16 = 0x0101;
const USERNAME: u16 = 0x0006;
const ERROR_CODE: u16 = 0x0009;

impl ServerWatch {
    /// As many requests are remembered: a few servers from a few interfaces, each a few times.
    const MOST_REQUESTS: usize = 256;

    /// Begins to watch the server that the library will ask for as `authority`, `HOST:PORT`.
    pub(super) fn add(&self, url: &str, authority: String) {
        let url = url.to_owned();
        self.servers().push(Server { url, authority, addresses: Vec::new(), useful: false, trouble: None });
    }

    /// How many servers are watched.
    pub(super) fn count(&self) -> usize {
        self.servers().len()
    }

    /// The name of a server was looked up.
    pub(super) fn resolved(&self, authority: &str, result: &std::io::Result<Vec<SocketAddr>>) {
        for server in self.servers().iter_mut().filter(|server| server.authority == authority) {
            match result {
                Ok(addresses) => server.addresses.clone_from(addresses),
                Err(error) => server.trouble = Some(Trouble::Dns(error.to_string())),
            }
        }
    }

    /// A server cannot be used, as somebody else found out.
    pub(super) fn failed(&self, authority: &str, trouble: &Trouble) {
        for server in self.servers().iter_mut().filter(|server| server.authority == authority) {
            server.trouble = Some(trouble.clone());
        }
    }

    /// A datagram that leaves.
    pub(super) fn note_sent(&self, datagram: &[u8]) {
        let Some(message) = Message::read(datagram) else { return };
        if message.kind == ALLOCATE_REQUEST && message.attribute(USERNAME).is_some() {
            let mut requests = self.authenticated.lock().unwrap_or_else(PoisonError::into_inner);
            if requests.len() >= Self::MOST_REQUESTS {
                requests.pop_front();
            }
            requests.push_back(message.transaction);
        }
    }

    /// A datagram that came.
    pub(super) fn note_received(&self, datagram: &[u8], from: SocketAddr) {
        let Some(message) = Message::read(datagram) else { return };
        if !matches!(message.kind, ALLOCATE_SUCCESS | ALLOCATE_ERROR | BINDING_SUCCESS) {
            return;
        }
        for server in self.servers().iter_mut().filter(|server| server.addresses.contains(&from)) {
            match message.kind {
                // What was known before is nearer to the cause.
                ALLOCATE_ERROR => server.trouble = server.trouble.take().or_else(|| self.refusal(&message)),
                ALLOCATE_SUCCESS => server.useful = true,
                _ => server.useful |= server.url.starts_with("stun"),
            }
        }
    }

    fn refusal(&self, message: &Message<'_>) -> Option<Trouble> {
        let [_, _, class, number, reason @ ..] = message.attribute(ERROR_CODE)? else { return None };
        let code = u16::from(class & 7) * 100 + u16::from(*number);
        let requests = self.authenticated.lock().unwrap_or_else(PoisonError::into_inner);
        let is_challenge = matches!(code, 401 | 438) && !requests.contains(&message.transaction);
        let reason = String::from_utf8_lossy(reason).chars().filter(|c| !c.is_control()).take(80).collect();
        (!is_challenge).then_some(Trouble::Refused { code, reason })
    }

    /// The servers that have been of no use until now.
    pub(super) fn troubles(&self) -> Vec<ServerTrouble> {
        let servers = self.servers();
        let useless = servers.iter().filter(|server| !server.useful);
        useless
            .map(|server| ServerTrouble {
                server: server.url.clone(),
                trouble: server.trouble.clone().unwrap_or(Trouble::Silent),
            })
            .collect()
    }

    fn servers(&self) -> MutexGuard<'_, Vec<Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A STUN message as far as it matters here, RFC 8489 section 5.
struct Message<'a> {
    kind: u16,
    transaction: [u8; 12],
    attributes: &'a [u8],
}

impl<'a> Message<'a> {
    fn read(datagram: &'a [u8]) -> Option<Self> {
        let (header, attributes) = datagram.split_at_checked(20)?;
        let cookie = header[4..8] == [0x21, 0x12, 0xa4, 0x42];
        (header[0] < 4 && cookie).then(|| Self {
            kind: u16::from_be_bytes([header[0], header[1]]),
            transaction: header[8..].try_into().expect("12 bytes"),
            attributes,
        })
    }

    fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut rest = self.attributes;
        while let [a, b, c, d, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*c, *d]));
            if u16::from_be_bytes([*a, *b]) == wanted {
                return after.get(..length);
            }
            rest = after.get(length.next_multiple_of(4)..)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, transaction: u8, attribute: Option<(u16, &[u8])>) -> Vec<u8> {
        let mut bytes = [kind.to_be_bytes().as_slice(), &[0, 0, 0x21, 0x12, 0xa4, 0x42], &[transaction; 12]].concat();
        if let Some((name, value)) = attribute {
            let length = u16::try_from(value.len()).unwrap();
            bytes.extend([name.to_be_bytes(), length.to_be_bytes()].concat());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn watched() -> (ServerWatch, SocketAddr) {
        let (watch, address) = (ServerWatch::default(), SocketAddr::from(([192, 0, 2, 1], 3478)));
        watch.add("turn:turn.example", "turn.example:3478".to_owned());
        watch.resolved("turn.example:3478", &Ok(vec![address]));
        (watch, address)
    }

    fn only(watch: &ServerWatch) -> Trouble {
        let troubles = watch.troubles();
        assert_eq!(troubles.len(), 1);
        troubles[0].trouble.clone()
    }

    #[test]
    fn a_challenge_is_no_refusal_and_a_second_one_is() {
        let (watch, address) = watched();
        assert_eq!(only(&watch), Trouble::Silent);
        let unauthorized = |transaction| message(ALLOCATE_ERROR, transaction, Some((ERROR_CODE, b"\0\0\x04\x01No")));
        watch.note_sent(&message(ALLOCATE_REQUEST, 1, None));
        watch.note_received(&unauthorized(1), address);
        assert_eq!(only(&watch), Trouble::Silent);
        watch.note_sent(&message(ALLOCATE_REQUEST, 2, Some((USERNAME, b"me"))));
        watch.note_received(&unauthorized(2), address);
        assert_eq!(only(&watch), Trouble::Refused { code: 401, reason: "No".to_owned() });
        watch.note_received(&message(ALLOCATE_SUCCESS, 3, None), address);
        assert!(watch.troubles().is_empty());
    }

    #[test]
    fn strangers_and_nonsense_change_nothing() {
        let (watch, address) = watched();
        let stranger = SocketAddr::from(([192, 0, 2, 9], 3478));
        watch.note_received(&message(ALLOCATE_SUCCESS, 3, None), stranger);
        watch.note_received(&message(BINDING_SUCCESS, 3, None), address);
        for bytes in [&[][..], &[0; 19], &message(ALLOCATE_ERROR, 1, Some((ERROR_CODE, b"\0\0")))] {
            watch.note_received(bytes, address);
        }
        let mut cut = message(ALLOCATE_ERROR, 1, Some((ERROR_CODE, b"\0\0\x04\x03")));
        cut.truncate(cut.len() - 2);
        watch.note_received(&cut, address);
        assert_eq!(only(&watch), Trouble::Silent);
        watch.note_received(&message(ALLOCATE_ERROR, 1, Some((ERROR_CODE, b"\0\0\x04\x03\x1b[31m"))), address);
        assert_eq!(only(&watch).to_string(), "it refused us (403, [31m)");
    }
}
