//! STUN and TURN messages, RFC 8489 and RFC 8656: written, read and checked.
//!
//! The crate `stun_types` parses, and computes integrity and fingerprints. Its writers log the key of a message at level
//! trace, so messages are put together here.

use crate::ice_server::Secret;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use stun_types::attribute::{Fingerprint, MessageIntegrity, MessageIntegritySha256};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, MAGIC_COOKIE, Message, MessageClass, MessageType, Method,
    StunParseError, TransactionId,
};

/// Methods, RFC 8489 section 18.2 and RFC 8656 section 17.
pub(super) mod method {
    pub const BINDING: u16 = 0x001;
    pub const ALLOCATE: u16 = 0x003;
    pub const REFRESH: u16 = 0x004;
    pub const SEND: u16 = 0x006;
    pub const DATA: u16 = 0x007;
    pub const CREATE_PERMISSION: u16 = 0x008;
    pub const CHANNEL_BIND: u16 = 0x009;
}

/// Attributes, RFC 8489 section 18.3, RFC 8656 section 18, RFC 5780 section 9.
pub(super) mod attribute {
    pub const MAPPED_ADDRESS: u16 = 0x0001;
    pub const CHANGE_REQUEST: u16 = 0x0003;
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const CHANNEL_NUMBER: u16 = 0x000c;
    pub const LIFETIME: u16 = 0x000d;
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub const DATA: u16 = 0x0013;
    pub const REALM: u16 = 0x0014;
    pub const NONCE: u16 = 0x0015;
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub const PASSWORD_ALGORITHM: u16 = 0x001d;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
    pub const SOFTWARE: u16 = 0x8022;
    pub const ALTERNATE_SERVER: u16 = 0x8023;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const OTHER_ADDRESS: u16 = 0x802c;
}

/// The only channel that is ever bound.
pub(super) const CHANNEL: u16 = 0x4000;

/// The bytes that a REALM or a NONCE may have, RFC 8489 sections 14.9 and 14.10.
pub(super) const LONGEST_TEXT: usize = 763;

/// The bytes that a USERNAME may have, RFC 8489 section 14.3.
pub const LONGEST_USERNAME: usize = 508;

/// A header, RFC 8489 section 5.
pub(super) const HEADER: usize = 20;

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// Other bytes than STUN or channel data.
    #[error("what came is neither STUN nor channel data: {0}")]
    Foreign(String),
    /// It ends before its own length says.
    #[error("a message of {expected} bytes ends after {actual}")]
    Truncated {
        /// By its header.
        expected: usize,
        /// What is there.
        actual: usize,
    },
    /// Its FINGERPRINT is wrong.
    #[error("its FINGERPRINT is wrong")]
    Fingerprint,
    /// Its attributes do not fit into it.
    #[error("its attributes are malformed: {0}")]
    Attributes(String),
}

/// What came from a server.
#[derive(Clone, Debug)]
pub(super) enum Incoming {
    Stun(Reply),
    Channel { number: u16, data: Vec<u8> },
}

/// A message that was read.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub class: MessageClass,
    pub method: u16,
    pub transaction: u128,
    attributes: Vec<(u16, Vec<u8>)>,
    bytes: Vec<u8>,
}

/// The long-term credential of a session, as the server challenged for it (RFC 8489 section 9.2).
#[derive(Clone)]
pub(super) struct Login {
    pub username: String,
    pub realm: String,
    pub nonce: Vec<u8>,
    /// PASSWORD-ALGORITHMS of the server, when SHA-256 is among them.
    pub algorithms: Option<Vec<u8>>,
    key: IntegrityKey,
}

impl Login {
    pub(super) fn new(
        username: &str,
        password: &Secret,
        realm: &str,
        nonce: Vec<u8>,
        algorithms: Option<Vec<u8>>,
    ) -> Self {
        // Each is a number, the length of its parameters, and those.
        let sha256 = algorithms.as_ref().is_some_and(|list| list.chunks(4).any(|entry| entry == [0, 2, 0, 0]));
        let username = prepared(username).into_owned();
        let credentials = LongTermKeyCredentials::new(
            username.clone(),
            prepared(password.reveal()).into_owned(),
            prepared(realm).into_owned(),
        );
        let algorithm = if sha256 { IntegrityAlgorithm::Sha256 } else { IntegrityAlgorithm::Sha1 };
        Self {
            username,
            realm: realm.to_owned(),
            nonce,
            algorithms: algorithms.filter(|_| sha256),
            key: credentials.make_key(algorithm),
        }
    }
}

/// SASLprep (RFC 4013), so that one password is the same however it was typed. RFC 8489 names OpaqueString in its place, and signs
/// its own example (B.1) with what SASLprep makes. Text that it prohibits, and text newer than its tables, is taken as it is, as
/// other clients do with all text.
fn prepared(text: &str) -> Cow<'_, str> {
    stringprep::saslprep(text).unwrap_or(Cow::Borrowed(text))
}

/// Whether a NONCE begins with the cookie that announces PASSWORD-ALGORITHMS, RFC 8489 section 9.2.
pub(super) fn promises_algorithms(nonce: &[u8]) -> bool {
    let features = nonce.strip_prefix(b"obMatJos2").and_then(|rest| rest.get(..4));
    let features = features.and_then(|features| BASE64_STANDARD.decode(features).ok());
    features.is_some_and(|features| features[0] & 0x80 != 0)
}

/// HMAC-SHA1, which TURN's REST credentials are made with.
pub(super) fn hmac_sha1(key: &Secret, data: &[u8]) -> [u8; 20] {
    let key = stun_types::message::ShortTermCredentials::new(key.reveal().to_owned()).make_key();
    MessageIntegrity::compute(&[data], &key).expect("an HMAC takes any data")
}

/// A transaction identifier that nobody guesses.
pub(super) fn new_transaction() -> u128 {
    TransactionId::generate().into()
}

/// A message that is being written.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(class: MessageClass, method: u16, transaction: u128) -> Self {
        let mut bytes = MessageType::from_class_method(class, Method::new(method)).to_bytes();
        bytes.extend([0, 0]);
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.extend(&transaction.to_be_bytes()[4..]);
        Self { bytes }
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).expect("attributes of ours are short");
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.announce(0);
    }

    /// Writes the length, counting `more` bytes that are to come.
    fn announce(&mut self, more: usize) {
        let length = u16::try_from(self.bytes.len() - HEADER + more).expect("messages of ours are short");
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }

    pub(super) fn xor_address(&mut self, kind: u16, address: SocketAddr) {
        let mut value = vec![0, if address.is_ipv4() { 1 } else { 2 }];
        value.extend((address.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
        let mask = &self.bytes[4..HEADER];
        let octets = match address.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        value.extend(octets.iter().zip(mask).map(|(octet, mask)| octet ^ mask));
        self.attribute(kind, &value);
    }

    /// Adds USERNAME, REALM, NONCE and the integrity.
    pub(super) fn authenticate(&mut self, login: &Login) {
        self.attribute(attribute::USERNAME, login.username.as_bytes());
        self.attribute(attribute::REALM, login.realm.as_bytes());
        self.attribute(attribute::NONCE, &login.nonce);
        if let Some(algorithms) = &login.algorithms {
            self.attribute(attribute::PASSWORD_ALGORITHMS, algorithms);
            self.attribute(attribute::PASSWORD_ALGORITHM, &[0, 2, 0, 0]);
            self.announce(36);
            let hmac = MessageIntegritySha256::compute(&[&self.bytes], &login.key).expect("an HMAC takes any data");
            self.attribute(attribute::MESSAGE_INTEGRITY_SHA256, &hmac);
        } else {
            self.announce(24);
            let hmac = MessageIntegrity::compute(&[&self.bytes], &login.key).expect("an HMAC takes any data");
            self.attribute(attribute::MESSAGE_INTEGRITY, &hmac);
        }
    }

    /// Adds the fingerprint and gives the message.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.announce(8);
        let fingerprint = Fingerprint::compute(&[&self.bytes]);
        // The attribute holds the CRC XOR 0x5354554e, RFC 8489 section 14.7.
        let value = u32::from_be_bytes(fingerprint) ^ 0x5354_554e;
        self.attribute(attribute::FINGERPRINT, &value.to_be_bytes());
        self.bytes
    }

    /// Gives the message as it is.
    pub(super) fn finish_bare(self) -> Vec<u8> {
        self.bytes
    }
}

/// Channel data, RFC 8656 section 12.4. `padded` on streams.
pub(super) fn channel_data(number: u16, data: &[u8], padded: bool) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("a datagram is shorter");
    let mut bytes = Vec::with_capacity(data.len() + 8);
    bytes.extend(number.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(data);
    if padded {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// How long the message is that begins with `start`, padding included where `stream`; `None` as long as that is not known.
pub(super) fn message_length(start: &[u8], stream: bool) -> Result<Option<usize>, Malformed> {
    let Some(&first) = start.first() else { return Ok(None) };
    let cookie = MAGIC_COOKIE.to_be_bytes();
    let part = start.get(4..start.len().min(8)).unwrap_or_default();
    // Any other channel was never bound, and would be the H of HTTP.
    let channel = CHANNEL.to_be_bytes();
    let ours =
        if first < 0x40 { part == &cookie[..part.len()] } else { channel.starts_with(&start[..start.len().min(2)]) };
    if !ours {
        return Err(Malformed::Foreign(preview(start)));
    }
    let Some(length) = start.get(2..4) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    Ok(Some(match first {
        0..0x40 => HEADER + length,
        _ if stream => (4 + length).next_multiple_of(4),
        _ => 4 + length,
    }))
}

/// Reads one message.
pub(super) fn read(bytes: &[u8]) -> Result<Incoming, Malformed> {
    let truncated = |expected| Malformed::Truncated { expected, actual: bytes.len() };
    let whole = message_length(bytes, false)?.ok_or_else(|| truncated(HEADER))?;
    // What follows a message in its datagram is not ours to judge: padding.
    let message = bytes.get(..whole).ok_or_else(|| truncated(whole))?;
    if message[0] >= 0x40 {
        let number = u16::from_be_bytes([message[0], message[1]]);
        return Ok(Incoming::Channel { number, data: message[4..].to_vec() });
    }
    if !whole.is_multiple_of(4) {
        return Err(Malformed::Attributes(format!("a length of {} is no multiple of 4", whole - HEADER)));
    }
    let parsed = Message::from_bytes(message).map_err(|error| match error {
        StunParseError::FingerprintMismatch => Malformed::Fingerprint,
        StunParseError::NotStun => Malformed::Foreign(preview(message)),
        other => Malformed::Attributes(other.to_string()),
    })?;
    let mut attributes: Vec<(u16, Vec<u8>)> = Vec::new();
    let mut signed = false;
    let mut rest = &message[HEADER..];
    while let [a, b, c, d, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let Some(value) = after.get(..length) else { break };
        let kind = u16::from_be_bytes([*a, *b]);
        // What follows the integrity is not covered by it and not to be believed, RFC 8489 section 14.5.
        if !signed || kind == attribute::MESSAGE_INTEGRITY_SHA256 {
            attributes.push((kind, value.to_vec()));
        }
        signed |= matches!(kind, attribute::MESSAGE_INTEGRITY | attribute::MESSAGE_INTEGRITY_SHA256);
        rest = after.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Incoming::Stun(Reply {
        class: parsed.class(),
        method: parsed.method().value(),
        transaction: parsed.transaction_id().into(),
        attributes,
        bytes: message.to_vec(),
    }))
}

/// The first bytes, for people.
fn preview(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(16)];
    let printable = start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    let shown = if printable {
        format!("\"{}\"", start.escape_ascii())
    } else {
        start.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    };
    if start.len() < bytes.len() { format!("{shown} …") } else { shown }
}

/// An error response's code and its reason in printable words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ErrorCode {
    pub code: u16,
    pub reason: String,
}

/// A text of a server, for people: no control characters, not too long.
pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(80).collect()
}

impl Reply {
    pub(super) fn attribute(&self, wanted: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value.as_slice())
    }

    pub(super) fn error_code(&self) -> Option<ErrorCode> {
        let [_, _, class, number, reason @ ..] = self.attribute(attribute::ERROR_CODE)? else { return None };
        let code = u16::from(class & 7) * 100 + u16::from(*number);
        (*number < 100 && (3..=6).contains(&(class & 7))).then(|| ErrorCode { code, reason: printable(reason) })
    }

    /// A plain address: MAPPED-ADDRESS, OTHER-ADDRESS, ALTERNATE-SERVER.
    pub(super) fn address(&self, kind: u16) -> Option<SocketAddr> {
        decode_address(self.attribute(kind)?, &[0; 16])
    }

    /// An address that is masked with cookie and transaction, RFC 8489 section 14.2.
    pub(super) fn xor_address(&self, kind: u16) -> Option<SocketAddr> {
        let mask: [u8; 16] = self.bytes[4..HEADER].try_into().expect("16 bytes");
        decode_address(self.attribute(kind)?, &mask)
    }

    /// Where the server sees us.
    pub(super) fn mapped_address(&self) -> Option<SocketAddr> {
        self.xor_address(attribute::XOR_MAPPED_ADDRESS).or_else(|| self.address(attribute::MAPPED_ADDRESS))
    }

    pub(super) fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.attribute(kind)?.try_into().ok()?))
    }

    pub(super) fn has_integrity(&self) -> bool {
        self.attribute(attribute::MESSAGE_INTEGRITY).is_some()
            || self.attribute(attribute::MESSAGE_INTEGRITY_SHA256).is_some()
    }

    /// Whether its integrity is that of somebody who knows the password.
    pub(super) fn is_signed_by(&self, login: &Login) -> bool {
        Message::from_bytes(&self.bytes).is_ok_and(|message| message.validate_integrity_with_key(&login.key).is_ok())
    }
}

fn decode_address(value: &[u8], mask: &[u8; 16]) -> Option<SocketAddr> {
    let [_, family, high, low, octets @ ..] = value else { return None };
    let port = u16::from_be_bytes([high ^ mask[0], low ^ mask[1]]);
    let plain: Vec<u8> = octets.iter().zip(mask).map(|(octet, mask)| octet ^ mask).collect();
    let ip = match (family, octets.len()) {
        (1, 4) => IpAddr::from(<[u8; 4]>::try_from(plain).ok()?),
        (2, 16) => IpAddr::from(<[u8; 16]>::try_from(plain).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}
