//! The messages of version 1: control as JSON text, content as binary records. The module documentation of
//! [`transfer`](super) describes them.

use super::error::{Code, TransferError};
use super::manifest::Entry;
use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Serialize};

/// The version that is spoken here.
pub const VERSION: u64 = 1;
/// What a hello must say to be one.
pub const PROTOCOL: &str = "rtckit-transfer";
/// Bytes before the records of a binary message: its sequence number.
pub const SEQUENCE: usize = 8;
/// Bytes before the payload of a record.
pub const HEADER: usize = 20;
/// Bytes of a hash.
pub const HASH: usize = 32;

/// A control message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Control {
    /// The first message of each side.
    Hello {
        /// [`PROTOCOL`].
        protocol: String,
        /// [`VERSION`].
        version: u64,
        /// Which side this is.
        role: Role,
        /// The program.
        #[serde(default)]
        agent: String,
        /// Whether it hears control by whichever connection it comes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        roams: bool,
    },
    /// Some of the files and folders; their ids count from 0 through all messages.
    Manifest {
        /// In the order in which they are sent; a folder before what is in it.
        entries: Vec<Entry>,
    },
    /// There are no more.
    ManifestEnd {
        /// How many there are.
        entries: u64,
    },
    /// What the receiver does not need, as far as it is not everything.
    Plan {
        /// Ids of files that are not to be sent.
        #[serde(default)]
        skip: Vec<u32>,
        /// Beginnings of files that are there already.
        #[serde(default)]
        have: Vec<Have>,
    },
    /// The plan is complete: send.
    Go {
        /// How many bytes of content may be sent ahead of `progress`; absent when any number may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<u64>,
        /// From how many further connections content is taken; absent when from none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connections: Option<u32>,
    },
    /// Control goes by the connection by which this comes.
    Moved {
        /// The connection that is of no more use.
        from: u32,
    },
    /// Signaling of a further connection.
    Signal {
        /// Which, from 1.
        connection: u32,
        /// A description or a candidate, or the end of those.
        message: serde_json::Value,
    },
    /// How much the receiver has taken.
    Progress {
        /// Bytes of content of all DATA records since the beginning.
        bytes: u64,
    },
    /// Files that are verified, on the disk, and have their name.
    Done {
        /// Their ids.
        files: Vec<u32>,
    },
    /// Everything is done.
    Complete {},
    /// The sender knows that everything is done.
    Bye {},
    /// The transfer is over, because of this.
    Error {
        /// Why, for programs.
        code: Code,
        /// Why, for people: one line.
        message: String,
    },
    /// What a later version may say.
    #[serde(other)]
    Unknown,
}

/// Which side of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sends files.
    Sender,
    /// Receives them.
    Receiver,
}

impl Role {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        }
    }

    /// The other one.
    pub const fn peer(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

/// A beginning of a file that the receiver has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// The id of the file.
    pub file: u32,
    /// Its length in bytes.
    pub offset: u64,
    /// Its BLAKE3 hash, hexadecimal.
    pub blake3: String,
}

impl Control {
    /// Our hello; `roams` when control may go by whichever connection.
    pub fn hello(role: Role, roams: bool) -> Self {
        Self::Hello {
            protocol: PROTOCOL.to_owned(),
            version: VERSION,
            role,
            agent: concat!("rtckit/", env!("CARGO_PKG_VERSION")).to_owned(),
            roams,
        }
    }

    /// The message as it is sent.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialise")
    }

    /// Reads a message. What a later version may say is [`Control::Unknown`].
    ///
    /// # Errors
    /// When it is no JSON object with a `type`, or a known type has other members.
    pub fn from_text(text: &str) -> Result<Self, TransferError> {
        serde_json::from_str(text).map_err(|error| TransferError::protocol(format!("a control message: {error}")))
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes of the file.
    Data = 1,
    /// A run of zeros; its payload is its length, 8 bytes.
    Hole = 2,
    /// The file is over; its payload is its hash, and the offset its size.
    End = 3,
    /// From where the file is sent, of what the receiver has of it. No payload.
    Start = 4,
    /// The file will not be completed; its payload is a code and, behind a line feed, a text, in UTF-8.
    Fail = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Data, Self::Hole, Self::End, Self::Start, Self::Fail].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One record of a binary message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// The id of the file.
    pub file: u32,
    /// Where in the file it belongs.
    pub offset: u64,
    /// Behind the header.
    pub payload: Bytes,
}

/// Appends the header of a record whose payload of `length` bytes follows.
pub fn put_header(message: &mut impl BufMut, kind: Kind, file: u32, offset: u64, length: u32) {
    message.put_u32(u32::from(kind as u8) << 24);
    message.put_u32(file);
    message.put_u64(offset);
    message.put_u32(length);
}

/// Takes the sequence number off a binary message.
///
/// # Errors
/// When there is none.
pub fn take_sequence(message: &mut Bytes) -> Result<u64, TransferError> {
    if message.len() < SEQUENCE {
        return Err(TransferError::protocol("a binary message without a sequence number"));
    }
    Ok(message.get_u64())
}

/// Takes the next record off a binary message; `None` at its end.
///
/// # Errors
/// When it is cut or of an unknown kind.
pub fn take_record(message: &mut Bytes) -> Result<Option<Record>, TransferError> {
    if message.is_empty() {
        return Ok(None);
    }
    if message.len() < HEADER {
        return Err(TransferError::protocol("a record is cut"));
    }
    let kind = message.get_u32();
    let (file, offset, length) = (message.get_u32(), message.get_u64(), message.get_u32() as usize);
    let kind = kind.to_be_bytes()[0];
    let kind =
        Kind::from_byte(kind).ok_or_else(|| TransferError::protocol(format!("a record of unknown kind {kind}")))?;
    if message.len() < length {
        return Err(TransferError::protocol("a record is longer than its message"));
    }
    Ok(Some(Record { kind, file, offset, payload: message.split_to(length) }))
}

/// Bytes of files in a binary message that was made here.
pub(super) fn content_of(message: &[u8]) -> u64 {
    let (mut rest, mut content) = (message.get(SEQUENCE..).unwrap_or_default(), 0);
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER>() {
        let [kind, .., a, b, c, d] = *header;
        let length = u32::from_be_bytes([a, b, c, d]);
        content += if kind == Kind::Data as u8 { u64::from(length) } else { 0 };
        rest = behind.get(length as usize..).unwrap_or_default();
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    #[test]
    fn control_messages_read_back_and_later_ones_are_passed_over() {
        let have = Have { file: 3, offset: 1 << 40, blake3: "00".into() };
        for message in [
            Control::hello(Role::Sender, true),
            Control::Plan { skip: vec![1], have: vec![have] },
            Control::Go { window: None, connections: Some(3) },
            Control::Signal { connection: 1, message: serde_json::json!({ "type": "end-of-candidates" }) },
            Control::Moved { from: 0 },
            Control::Complete {},
            Control::Error { code: Code::NoSpace, message: "full".into() },
        ] {
            assert_eq!(Control::from_text(&message.to_text()).unwrap(), message);
        }
        assert_eq!(Control::Complete {}.to_text(), r#"{"type":"complete"}"#);
        let later = r#"{"type":"smell","of":"roses"}"#;
        assert_eq!(Control::from_text(later).unwrap(), Control::Unknown);
        let code = r#"{"type":"error","code":"eaten-by-dog","message":""}"#;
        assert!(matches!(Control::from_text(code), Ok(Control::Error { code: Code::Other, .. })));
        for bad in ["", "[]", "{}", r#"{"type":"plan","skip":[-1]}"#, r#"{"type":"progress"}"#] {
            assert!(Control::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn records_read_back_and_cut_ones_are_refused() {
        let mut message = BytesMut::new();
        message.put_u64(7);
        put_header(&mut message, Kind::Data, 2, 1 << 33, 5);
        message.put_slice(b"hello");
        put_header(&mut message, Kind::Start, 3, 0, 0);
        let whole = message.freeze();
        assert_eq!(content_of(&whole), 5);
        let mut rest = whole.clone();
        assert_eq!(take_sequence(&mut rest).unwrap(), 7);
        let data = take_record(&mut rest).unwrap().unwrap();
        assert_eq!((data.kind, data.file, data.offset, &data.payload[..]), (Kind::Data, 2, 1 << 33, &b"hello"[..]));
        assert_eq!(take_record(&mut rest).unwrap().unwrap().kind, Kind::Start);
        assert_eq!(take_record(&mut rest).unwrap(), None);
        for cut in 0..whole.len() {
            let mut rest = whole.slice(..cut);
            let read = || {
                take_sequence(&mut rest)?;
                while take_record(&mut rest)?.is_some() {}
                Ok::<(), TransferError>(())
            };
            let at_a_border = [SEQUENCE, SEQUENCE + HEADER + 5].contains(&cut);
            assert_eq!({ read }().is_ok(), at_a_border, "cut at {cut}");
        }
    }

    #[test]
    fn noise_never_panics() {
        let mut state = 1_u32;
        for length in 0..2000 {
            let bytes: Vec<u8> = (0..length % 97)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.to_be_bytes()[0] % 7
                })
                .collect();
            let mut rest = Bytes::from(bytes);
            if take_sequence(&mut rest).is_ok() {
                while let Ok(Some(_)) = take_record(&mut rest) {}
            }
        }
    }
}
