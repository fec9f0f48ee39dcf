//! Recognises messages in a stream of bytes, in whatever form a person or a program gives them.
//!
//! It needs neither to be told the form nor the end of the input: JSON ends at its closing brace, base64 of JSON where the
//! JSON does, compact where its deflate stream does. Raw SDP and base64 of it have no end of their own: they end at an empty
//! line, at a line that is no SDP, at the end of the input, or when the input falls silent after a line end, which the
//! caller reports by [`Reader::idle`]. A byte order mark, blank lines, quotes, code fences, CRLF and line breaks inserted
//! on the way are tolerated. Where the silence comes in the middle of a line, it ends those two forms only if what came until
//! then seems whole: nobody need press Enter behind a description, and one that comes slowly is not cut. Time is linear in the bytes pushed and memory is bounded by [`MAX_MESSAGE_BYTES`].

use super::error::excerpt;
use super::tail::{Tail, Wrapping};
use super::text::{Base64Bits, Guess, Inflate, JsonScan, damaged, guess, unwrap_json};
use super::{Description, DescriptionKind, Message, SignalingError, format, sdp};
use bytes::{Buf, Bytes, BytesMut};
use std::time::Duration;

/// The longest message that is read.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// How long a silence means that nothing more belongs to a message that may be over.
pub const QUIET: Duration = Duration::from_millis(300);

/// No first line of a description we can read is undecided for longer than this.
const DECIDED_BY: usize = 40;

/// A longer line of base64 was not wrapped: the description ends with it.
const WIDEST_WRAP: usize = 256;

/// Bytes in, messages out.
pub struct Reader {
    /// Bytes that came; `..seen` have been looked at.
    buffer: BytesMut,
    seen: usize,
    state: State,
    wrapping: Wrapping,
    tail: Tail,
    messages: usize,
    /// What had come of the message when a silence in the middle of a line did not end it.
    not_whole_at: usize,
}

enum State {
    Start,
    Json { scan: JsonScan, blank: bool },
    Sdp { sdp: String, searched: usize },
    Base64 { bits: Base64Bits, json: Option<JsonScan>, decoded: Vec<u8>, line: usize, lines: usize },
    Compact { kind: DescriptionKind, body: Box<Inflate>, line: usize, lines: usize },
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the beginning of its input.
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            seen: 0,
            state: State::Start,
            wrapping: Wrapping::default(),
            tail: Tail::default(),
            messages: 0,
            not_whole_at: 0,
        }
    }

    /// Takes bytes as they come; [`next`](Self::next) looks at them.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer, to read into its end.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole message of what was pushed; `None` when more is needed. Every description has passed
    /// [`sdp::inspect`], and its lines end in CRLF.
    ///
    /// # Errors
    /// When the input is no message. What was pushed is forgotten then.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end at None; this one waits for more")]
    pub fn next(&mut self) -> Result<Option<Message>, SignalingError> {
        self.step(None)
    }

    /// Whether the input may be over without saying so: a silence of [`QUIET`] from here on should be told to
    /// [`idle`](Self::idle).
    pub fn awaits_quiet(&self) -> bool {
        match &self.state {
            State::Start => false,
            State::Json { blank, .. } => *blank,
            State::Sdp { sdp, .. } => !sdp.is_empty() && (self.is_between_lines() || self.has_grown()),
            State::Base64 { json: None, .. } => self.is_between_lines() || self.has_grown(),
            State::Base64 { .. } | State::Compact { .. } => self.is_between_lines(),
        }
    }

    /// Whether the last line that came is over.
    fn is_between_lines(&self) -> bool {
        match &self.state {
            State::Sdp { .. } => self.buffer.len() < DECIDED_BY && self.buffer.trim_ascii().is_empty(),
            State::Base64 { line, lines, .. } | State::Compact { line, lines, .. } => *line == 0 && *lines > 0,
            State::Start | State::Json { .. } => false,
        }
    }

    /// How much of the message came, when it is SDP or base64 of it.
    fn came(&self) -> usize {
        match &self.state {
            State::Sdp { sdp, .. } => sdp.len() + self.buffer.len(),
            State::Base64 { .. } => self.seen,
            _ => 0,
        }
    }

    fn has_grown(&self) -> bool {
        self.came() != self.not_whole_at
    }

    /// Whether SDP, or base64 of it, of which a line is not over, may be all there is.
    fn seems_whole(&self) -> bool {
        match &self.state {
            State::Sdp { sdp, .. } => {
                let mut line = self.buffer.trim_ascii();
                if let Some(quote) = self.wrapping.quote {
                    line = line.strip_suffix(&[quote]).unwrap_or(line);
                }
                // What ends a description: see `raw`.
                let closing = matches!(line, b"." | b"---" | b"```");
                let line = if closing { "" } else { &*String::from_utf8_lossy(line) };
                sdp::seems_whole(&format!("{sdp}{line}"))
            }
            State::Base64 { decoded, .. } => sdp::seems_whole(&String::from_utf8_lossy(decoded)),
            _ => false,
        }
    }

    /// The input has been silent for [`QUIET`].
    ///
    /// # Errors
    /// As [`next`](Self::next); also when what came is cut.
    pub fn idle(&mut self) -> Result<Option<Message>, SignalingError> {
        if !self.awaits_quiet() {
            return Ok(None);
        }
        if matches!(self.state, State::Json { .. }) || self.is_between_lines() {
            return self.step(Some(Over::Quiet));
        }
        if !self.seems_whole() {
            self.not_whole_at = self.came();
            return Ok(None);
        }
        let (raw, wrapping) = (matches!(self.state, State::Sdp { .. }), self.wrapping);
        let message = self.step(Some(Over::End))?;
        if raw {
            // Its line end, and what closes a quote, may still come.
            self.tail = Tail::after(Wrapping { fence: false, ..wrapping }, false);
        }
        Ok(message)
    }

    /// The input has ended. Call it until it gives `None`.
    ///
    /// # Errors
    /// As [`next`](Self::next); also when nothing came at all, or what came is cut.
    pub fn finish(&mut self) -> Result<Option<Message>, SignalingError> {
        let message = self.step(Some(Over::End))?;
        if message.is_none() && self.messages == 0 { Err(SignalingError::Empty) } else { Ok(message) }
    }

    /// The bytes behind the last message, and what is still to be dropped from those to come: the end of its line.
    pub fn into_rest(mut self) -> (Bytes, Tail) {
        let drop = self.tail.strip(&self.buffer);
        self.buffer.advance(drop);
        (self.buffer.freeze(), self.tail)
    }

    fn step(&mut self, over: Option<Over>) -> Result<Option<Message>, SignalingError> {
        let result = self.advance(over);
        match &result {
            Ok(Some(_)) => {
                self.messages += 1;
                self.state = State::Start;
                self.wrapping = Wrapping::default();
                self.not_whole_at = 0;
            }
            Ok(None) => {}
            Err(_) => *self = Self { messages: self.messages + 1, ..Self::new() },
        }
        result
    }

    fn advance(&mut self, over: Option<Over>) -> Result<Option<Message>, SignalingError> {
        if matches!(self.state, State::Start) && !self.begin(over)? {
            return Ok(None);
        }
        let found = match &mut self.state {
            State::Start => return Ok(None),
            State::Json { .. } => self.json(over)?,
            State::Sdp { .. } => self.raw(over)?,
            State::Base64 { .. } => self.base64(over)?,
            State::Compact { .. } => self.compact(over)?,
        };
        if found.is_none() && self.seen > MAX_MESSAGE_BYTES {
            return Err(SignalingError::TooLong { limit: MAX_MESSAGE_BYTES });
        }
        found.map(checked).transpose()
    }

    /// Drops what may stand before a message and recognises its form; false when more is needed.
    fn begin(&mut self, over: Option<Over>) -> Result<bool, SignalingError> {
        let drop = self.tail.strip(&self.buffer);
        self.buffer.advance(drop);
        self.seen = 0;
        loop {
            let skip = match &self.buffer[..] {
                [byte, ..] if byte.is_ascii_whitespace() => {
                    self.buffer.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(self.buffer.len())
                }
                [0xef, 0xbb, 0xbf, ..] => 3,
                [0xef] | [0xef, 0xbb] | [b'`'] | [b'`', b'`'] if over.is_none() => return Ok(false),
                [b'`', b'`', b'`', ..] if !self.wrapping.fence => {
                    let Some(end) = self.buffer.iter().take(DECIDED_BY).position(|&byte| byte == b'\n') else {
                        if over.is_none() && self.buffer.len() < DECIDED_BY {
                            return Ok(false);
                        }
                        return Err(SignalingError::NotSdp { found: excerpt(&self.buffer) });
                    };
                    self.wrapping.fence = true;
                    end
                }
                [quote @ (b'"' | b'\'' | b'`'), ..] if self.wrapping.quote.is_none() => {
                    self.wrapping.quote = Some(*quote);
                    1
                }
                _ => break,
            };
            self.buffer.advance(skip);
        }
        let line = self.buffer.iter().take(DECIDED_BY).any(|&byte| byte == b'\n');
        self.state = match guess(&self.buffer) {
            Guess::More if over.is_none() => return Ok(false),
            Guess::More if self.buffer.is_empty() => return Ok(false),
            Guess::Json => State::Json { scan: JsonScan::default(), blank: false },
            Guess::Sdp => State::Sdp { sdp: String::new(), searched: 0 },
            Guess::Base64 => {
                State::Base64 { bits: Base64Bits::default(), json: None, decoded: Vec::new(), line: 0, lines: 0 }
            }
            Guess::Compact => {
                let prefix = format::COMPACT_PREFIX.len();
                let Some(&letter) = self.buffer.get(prefix) else {
                    return if over.is_none() { Ok(false) } else { Err(truncated(COMPACT)) };
                };
                let kind = format::kind_of(letter).ok_or_else(|| damaged("its type is not o, a, p or r"))?;
                self.seen = prefix + 1;
                State::Compact { kind, body: Box::new(Inflate::new()), line: 0, lines: 0 }
            }
            Guess::OtherCompact => return Err(damaged("it is of another version than rtckit1")),
            Guess::Unknown if over.is_none() && self.buffer.len() < DECIDED_BY && !line => return Ok(false),
            Guess::More | Guess::Unknown => return Err(SignalingError::NotSdp { found: excerpt(&self.buffer) }),
        };
        Ok(true)
    }

    /// Cuts the first `length` bytes off; what follows on their line is dropped later.
    fn take(&mut self, length: usize, base64: bool) -> BytesMut {
        self.tail = Tail::after(self.wrapping, base64);
        self.seen = 0;
        self.buffer.split_to(length)
    }

    fn json(&mut self, over: Option<Over>) -> Result<Option<Message>, SignalingError> {
        let State::Json { scan, blank } = &mut self.state else { return Ok(None) };
        while let Some(&byte) = self.buffer.get(self.seen) {
            self.seen += 1;
            if byte != b'\r' {
                *blank = byte == b'\n' && self.buffer[..self.seen - 1].trim_ascii_end_of_line().ends_with(b"\n");
            }
            if scan.feed(byte)? {
                let wrapped = scan.wrapped;
                let bytes = self.take(self.seen, false);
                return parse_json(&bytes, wrapped).map(Some);
            }
        }
        if over.is_some() { Err(truncated("JSON")) } else { Ok(None) }
    }

    fn raw(&mut self, over: Option<Over>) -> Result<Option<Message>, SignalingError> {
        let State::Sdp { sdp, searched } = &mut self.state else { return Ok(None) };
        let mut at = 0;
        let end = loop {
            let rest = &self.buffer[at..];
            // Where an unfinished line was searched already is not searched again.
            let from = std::mem::take(searched).min(rest.len());
            let (line, next) = match rest[from..].iter().position(|&byte| byte == b'\n') {
                Some(end) => (&rest[..from + end], at + from + end + 1),
                None if over == Some(Over::End) && !rest.is_empty() => (rest, self.buffer.len()),
                None if over.is_some() => break Some(at),
                None if rest.len() > MAX_MESSAGE_BYTES => {
                    return Err(SignalingError::TooLong { limit: MAX_MESSAGE_BYTES });
                }
                None => {
                    *searched = rest.len();
                    break None;
                }
            };
            let mut line = line.trim_ascii_start();
            while let [shorter @ .., b'\r'] = line {
                line = shorter;
            }
            let quoted = self.wrapping.quote.is_some_and(|quote| line.last() == Some(&quote));
            if quoted {
                line = &line[..line.len() - 1];
            }
            if sdp.is_empty() && line.trim_ascii_end() != b"v=0" {
                return Err(SignalingError::NoVersion { found: excerpt(line) });
            }
            if !matches!(line, [b'a'..=b'z', b'=', ..]) {
                let ours = line.is_empty() || line == b"." || line == b"---" || (self.wrapping.fence && line == b"```");
                break Some(if ours { next } else { at });
            }
            sdp.push_str(&String::from_utf8_lossy(line));
            sdp.push_str("\r\n");
            at = next;
            if quoted {
                break Some(at);
            }
        };
        self.buffer.advance(end.unwrap_or(at));
        if sdp.len() > MAX_MESSAGE_BYTES {
            return Err(SignalingError::TooLong { limit: MAX_MESSAGE_BYTES });
        }
        if end.is_none() {
            return Ok(None);
        }
        let sdp = std::mem::take(sdp);
        Ok(Some(Message::Description(Description { kind: kind_of_raw(&sdp), sdp })))
    }

    fn base64(&mut self, over: Option<Over>) -> Result<Option<Message>, SignalingError> {
        let State::Base64 { bits, json, decoded, line, lines } = &mut self.state else { return Ok(None) };
        let mut whole = false;
        while let Some(&byte) = self.buffer.get(self.seen) {
            if let Some(value) = Base64Bits::value(byte) {
                self.seen += 1;
                *line += 1;
                let Some(byte) = bits.feed(value) else { continue };
                decoded.push(byte);
                if decoded.len() == 1 && byte == b'{' {
                    *json = Some(JsonScan::default());
                }
                if let Some(scan) = json
                    && scan.feed(byte)?
                {
                    whole = true;
                    break;
                }
                continue;
            }
            match byte {
                b'\n' => {
                    let ends = json.is_none() && *line > WIDEST_WRAP;
                    if *line == 0 || ends {
                        whole = json.is_none();
                        if whole {
                            break;
                        }
                        return Err(truncated("base64"));
                    }
                    *line = 0;
                    *lines += 1;
                    self.seen += 1;
                }
                b' ' | b'\t' | b'\r' => self.seen += 1,
                _ if json.is_none() => {
                    whole = true;
                    break;
                }
                b'=' | b'"' | b'\'' | b'`' => return Err(truncated("base64")),
                _ => {
                    let reason = format!("'{}' is no base64 character", excerpt(&[byte]));
                    return Err(SignalingError::Damaged { form: "base64", reason });
                }
            }
        }
        whole |= over.is_some() && json.is_none();
        if !whole {
            return if over.is_some() { Err(truncated("base64")) } else { Ok(None) };
        }
        let (decoded, is_json) = (std::mem::take(decoded), json.is_some());
        let between_lines = *line == 0;
        let blank = usize::from(between_lines && self.buffer.get(self.seen) == Some(&b'\n'));
        let seen = self.seen;
        self.take(seen + blank, true);
        if between_lines {
            self.tail.line_is_over();
        }
        if is_json {
            return parse_json(&decoded, false).map(Some);
        }
        let sdp = String::from_utf8_lossy(&decoded).into_owned();
        Ok(Some(Message::Description(Description { kind: kind_of_raw(&sdp), sdp })))
    }

    fn compact(&mut self, over: Option<Over>) -> Result<Option<Message>, SignalingError> {
        let State::Compact { body, line, lines, kind } = &mut self.state else { return Ok(None) };
        let mut whole = false;
        while !whole && let Some(&byte) = self.buffer.get(self.seen) {
            match (Base64Bits::value(byte), byte) {
                (Some(value), _) => {
                    body.feed(value);
                    *line += 1;
                }
                (None, b'\n' | b'\r' | b' ' | b'\t') => {
                    // What follows a break may be somebody's chat: only look beyond it when the stream is not over.
                    whole = body.advance()?;
                    if whole {
                        break;
                    }
                    if byte == b'\n' {
                        if *line == 0 && *lines > 0 {
                            return Err(truncated(COMPACT));
                        }
                        *line = 0;
                        *lines += 1;
                    }
                }
                _ => {
                    whole = body.advance()?;
                    if whole {
                        break;
                    }
                    return Err(truncated(COMPACT));
                }
            }
            self.seen += 1;
        }
        if !whole && !body.advance()? {
            return if over.is_some() { Err(truncated(COMPACT)) } else { Ok(None) };
        }
        let (kind, body) = (*kind, std::mem::replace(body, Box::new(Inflate::new())));
        let seen = self.seen;
        self.take(seen, true);
        Ok(Some(Message::Description(Description { kind, sdp: body.finish()? })))
    }
}

const COMPACT: &str = "compact description";

/// Why no more bytes will come to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Quiet,
    End,
}

fn truncated(form: &'static str) -> SignalingError {
    SignalingError::Truncated { form }
}

fn parse_json(bytes: &[u8], wrapped: bool) -> Result<Message, SignalingError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| SignalingError::Damaged { form: "JSON", reason: format!("it is not UTF-8: {error}") })?;
    if wrapped { Message::from_json(&unwrap_json(text)) } else { Message::from_json(text) }
}

/// Raw SDP does not say what it is; but only an offer may leave the DTLS role open (RFC 8842 section 5).
fn kind_of_raw(sdp: &str) -> DescriptionKind {
    let setup = sdp.lines().find_map(|line| line.strip_prefix("a=setup:")).map(str::trim);
    if matches!(setup, Some("active" | "passive")) { DescriptionKind::Answer } else { DescriptionKind::Offer }
}

fn checked(message: Message) -> Result<Message, SignalingError> {
    match message {
        Message::Description(description) if description.kind != DescriptionKind::Rollback => {
            let sdp = sdp::normalise(&description.sdp);
            sdp::inspect(&sdp)?;
            Ok(Message::Description(Description { kind: description.kind, sdp }))
        }
        other => Ok(other),
    }
}

trait EndOfLine {
    fn trim_ascii_end_of_line(&self) -> &[u8];
}

impl EndOfLine for [u8] {
    /// Without blanks at its end, but with its line end.
    fn trim_ascii_end_of_line(&self) -> &[u8] {
        let mut rest = self;
        while let [shorter @ .., b' ' | b'\t' | b'\r'] = rest {
            rest = shorter;
        }
        rest
    }
}
