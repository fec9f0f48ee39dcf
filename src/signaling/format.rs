//! How a description is written.
//!
//! `compact` is for chats, QR codes and e-mail: one short line without spaces or quotes. Version 1:
//!
//! ```text
//! rtckit1:KB…        K   o offer, a answer, p pranswer, r rollback
//!                    B…  base64url without padding (RFC 4648 section 5) of:
//!                        4 bytes  CRC-32 (RFC 1952 section 8) of the SDP, big-endian
//!                        then     the SDP, deflated (RFC 1951, no zlib header)
//! ```
//!
//! The deflate stream says itself where it ends, so neither a length nor a terminator is needed, and the CRC notices a
//! paste that lost characters.

use super::{Description, DescriptionKind, Message};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::{Compression, Crc, write::DeflateEncoder};
use std::fmt;
use std::io::Write;
use std::str::FromStr;

/// What every compact description of this version begins with.
pub(super) const COMPACT_PREFIX: &str = "rtckit1:";

/// The form in which descriptions are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SdpFormat {
    /// One line of JSON, `{"type","sdp"}`.
    #[default]
    Json,
    /// SDP as it is, many lines and an empty one.
    Sdp,
    /// Base64 (RFC 4648 section 4) of the JSON, one line.
    Base64,
    /// Deflated, one line: `rtckit1:` and base64.
    Compact,
}

/// A text that names no [`SdpFormat`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an SDP format: use json, sdp, base64 or compact")]
pub struct FormatError(String);

impl SdpFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Json, Self::Sdp, Self::Base64, Self::Compact];

    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Sdp => "sdp",
            Self::Base64 => "base64",
            Self::Compact => "compact",
        }
    }

    /// The message as it is written, with its line end. Only descriptions have forms; the rest is always a line of JSON.
    pub fn encode(self, message: &Message) -> String {
        match (self, message) {
            (Self::Sdp, Message::Description(description)) => format!("{}\r\n", description.sdp),
            (Self::Base64, Message::Description(_)) => format!("{}\n", STANDARD.encode(message.to_json())),
            (Self::Compact, Message::Description(description)) => format!("{}\n", compact(description)),
            _ => format!("{}\n", message.to_json()),
        }
    }
}

impl fmt::Display for SdpFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SdpFormat {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| FormatError(text.to_owned()))
    }
}

/// The letter of a kind in a compact description.
const fn letter(kind: DescriptionKind) -> char {
    match kind {
        DescriptionKind::Offer => 'o',
        DescriptionKind::Answer => 'a',
        DescriptionKind::Pranswer => 'p',
        DescriptionKind::Rollback => 'r',
    }
}

/// The kind of a letter in a compact description.
pub(super) fn kind_of(byte: u8) -> Option<DescriptionKind> {
    use DescriptionKind::{Answer, Offer, Pranswer, Rollback};
    [Offer, Answer, Pranswer, Rollback].into_iter().find(|&kind| letter(kind) == char::from(byte))
}

/// CRC-32 as gzip has it.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn compact(description: &Description) -> String {
    let sdp = description.sdp.as_bytes();
    let mut deflated = DeflateEncoder::new(checksum(sdp).to_be_bytes().to_vec(), Compression::best());
    // Writing to a Vec cannot fail; the encoder adds no error of its own.
    deflated.write_all(sdp).expect("a Vec takes every write");
    let body = deflated.finish().expect("a Vec takes every write");
    format!("{COMPACT_PREFIX}{}{}", letter(description.kind), URL_SAFE_NO_PAD.encode(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_others_are_refused() {
        for format in SdpFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("SDP".parse::<SdpFormat>().is_err());
        assert_eq!(SdpFormat::default(), SdpFormat::Json);
    }

    #[test]
    fn every_form_but_raw_sdp_is_one_line_and_compact_is_shorter_than_json() {
        let sdp = super::super::sdp::tests::OFFER.to_owned();
        let message = Message::Description(Description { kind: DescriptionKind::Offer, sdp });
        let lines = |format: SdpFormat| format.encode(&message).lines().count();
        assert_eq!((lines(SdpFormat::Json), lines(SdpFormat::Base64), lines(SdpFormat::Compact)), (1, 1, 1));
        assert!(SdpFormat::Sdp.encode(&message).ends_with("\r\n\r\n"));
        assert!(SdpFormat::Compact.encode(&message).len() < SdpFormat::Json.encode(&message).len());
    }
}
