//! The small machines below the [`Reader`](super::Reader): each takes a byte or a run at a time, in linear time.

use super::format::checksum;
use super::reader::MAX_MESSAGE_BYTES;
use super::{SignalingError, format};
use flate2::{Decompress, FlushDecompress, Status};

/// Deeper JSON is no message of ours.
const MAX_DEPTH: usize = 32;

/// Finds the closing brace of a JSON object.
#[derive(Debug, Default)]
pub(super) struct JsonScan {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// A line broke inside a string: somebody wrapped the text.
    pub wrapped: bool,
}

impl JsonScan {
    /// Takes one byte; true when it closed the object.
    pub fn feed(&mut self, byte: u8) -> Result<bool, SignalingError> {
        if self.in_string {
            match byte {
                b'\n' | b'\r' => self.wrapped = true,
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Ok(false);
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(SignalingError::Damaged { form: "JSON", reason: "nested too deeply".to_owned() });
                }
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return Ok(self.depth == 0);
            }
            _ => {}
        }
        Ok(false)
    }
}

/// Takes out the line breaks that a terminal or a mail program put inside strings. A JSON string has none of its own. Lines
/// of one length were cut anywhere; lines of different lengths were broken at a space, which the break replaced.
pub(super) fn unwrap_json(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
    let full = &lines[..lines.len().saturating_sub(1)];
    let at_spaces = full.windows(2).any(|pair| pair[0].chars().count() != pair[1].chars().count());
    let mut scan = JsonScan::default();
    let mut whole = String::with_capacity(text.len());
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            if !scan.in_string {
                whole.push('\n');
            } else if at_spaces && !whole.ends_with(' ') {
                whole.push(' ');
            }
        }
        whole.push_str(line);
        for &byte in line.as_bytes() {
            // The caller's scan has been over these bytes already and found no fault.
            let _ = scan.feed(byte);
        }
    }
    whole
}

/// Turns base64 of either alphabet into bytes, a character at a time.
#[derive(Debug, Default)]
pub(super) struct Base64Bits {
    bits: u32,
    count: u8,
}

impl Base64Bits {
    /// The value of a base64 character, standard or URL-safe.
    pub fn value(byte: u8) -> Option<u8> {
        Some(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        })
    }

    /// Takes one value; gives a byte when eight bits are together.
    pub fn feed(&mut self, value: u8) -> Option<u8> {
        self.bits = (self.bits << 6 | u32::from(value)) & 0x3fff;
        self.count += 6;
        if self.count < 8 {
            return None;
        }
        self.count -= 8;
        let byte = (self.bits >> self.count & 0xff) as u8;
        Some(byte)
    }
}

/// Reads the body of a compact description.
pub(super) struct Inflate {
    base64: Base64Bits,
    crc: Vec<u8>,
    waiting: Vec<u8>,
    state: Decompress,
    sdp: Vec<u8>,
}

impl Inflate {
    pub fn new() -> Self {
        let state = Decompress::new(false);
        Self { base64: Base64Bits::default(), crc: Vec::new(), waiting: Vec::new(), state, sdp: Vec::new() }
    }

    /// Takes one base64 value.
    pub fn feed(&mut self, value: u8) {
        if let Some(byte) = self.base64.feed(value) {
            if self.crc.len() < 4 { self.crc.push(byte) } else { self.waiting.push(byte) }
        }
    }

    /// Inflates what was fed; true when the stream is at its end.
    pub fn advance(&mut self) -> Result<bool, SignalingError> {
        let mut done = 0;
        loop {
            if self.sdp.len() > MAX_MESSAGE_BYTES {
                return Err(SignalingError::TooLong { limit: MAX_MESSAGE_BYTES });
            }
            self.sdp.reserve(4096);
            let (consumed, produced) = (self.state.total_in(), self.sdp.len());
            let status = self
                .state
                .decompress_vec(&self.waiting[done..], &mut self.sdp, FlushDecompress::None)
                .map_err(|_| damaged("characters are missing or changed"))?;
            let consumed = usize::try_from(self.state.total_in() - consumed).unwrap_or(usize::MAX);
            done = done.saturating_add(consumed).min(self.waiting.len());
            if status == Status::StreamEnd {
                return Ok(true);
            }
            if consumed == 0 && self.sdp.len() == produced {
                self.waiting.drain(..done);
                return Ok(false);
            }
        }
    }

    /// The SDP, once it is all there and its checksum is right.
    pub fn finish(self) -> Result<String, SignalingError> {
        if self.crc != checksum(&self.sdp).to_be_bytes() {
            return Err(damaged("its checksum does not match"));
        }
        String::from_utf8(self.sdp).map_err(|_| damaged("it is no text"))
    }
}

pub(super) fn damaged(reason: &str) -> SignalingError {
    SignalingError::Damaged { form: "compact description", reason: reason.to_owned() }
}

/// What the beginning of a message says about its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    /// Too little to say.
    More,
    Json,
    Sdp,
    Base64,
    Compact,
    /// A compact description of a version we do not know.
    OtherCompact,
    /// None of them.
    Unknown,
}

/// Guesses from the first bytes, which are no white space.
pub(super) fn guess(head: &[u8]) -> Guess {
    let prefix = format::COMPACT_PREFIX.as_bytes();
    let family = &prefix[..prefix.len() - 2];
    match head {
        [] => Guess::More,
        [b'{', ..] => Guess::Json,
        [b'a'..=b'z', b'=', ..] => Guess::Sdp,
        _ if head.starts_with(prefix) => Guess::Compact,
        _ if head.len() < prefix.len() && prefix.starts_with(head) => Guess::More,
        _ if head.starts_with(family) => {
            match head.iter().skip(family.len()).take(4).find(|byte| !byte.is_ascii_digit()) {
                Some(b':') => Guess::OtherCompact,
                Some(_) => Guess::Unknown,
                None => Guess::More,
            }
        }
        _ => {
            let mut bits = Base64Bits::default();
            let mut decoded = Vec::with_capacity(3);
            for &byte in head.iter().take(4) {
                match Base64Bits::value(byte) {
                    Some(value) => decoded.extend(bits.feed(value)),
                    None => return Guess::Unknown,
                }
            }
            match decoded[..] {
                [b'{', _, _] | [b'v', b'=', _] => Guess::Base64,
                [b'{'] | [b'{', _] | [b'v'] | [b'v', b'='] | [] => Guess::More,
                _ => Guess::Unknown,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_form() {
        for (head, expected) in [
            ("{", Guess::Json),
            ("v", Guess::More),
            ("v=", Guess::Sdp),
            ("o=", Guess::Sdp),
            ("e", Guess::More),
            ("eyJ0", Guess::Base64),
            ("dj0w", Guess::Base64),
            ("rtck", Guess::More),
            ("rtckit", Guess::More),
            ("rtckit1:", Guess::Compact),
            ("rtckit12:", Guess::OtherCompact),
            ("rtckitty", Guess::Unknown),
            ("hell", Guess::Unknown),
            ("[1]", Guess::Unknown),
        ] {
            assert_eq!(guess(head.as_bytes()), expected, "{head}");
        }
    }

    #[test]
    fn wrapped_strings_come_back_whole() {
        let json = r#"{"type":"offer","sdp":"one two three four five six seven"}"#;
        let cut: Vec<String> =
            json.as_bytes().chunks(10).map(|run| String::from_utf8_lossy(run).into_owned()).collect();
        assert_eq!(unwrap_json(&cut.join("\n")), json);
        assert_eq!(unwrap_json(&json.replacen(" two ", "\ntwo ", 1).replacen(" five ", "\r\nfive ", 1)), json);
    }
}
