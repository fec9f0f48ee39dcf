//! What surrounds a message and is no part of what comes after it.

use super::text::Base64Bits;

/// What opened before a message and has to be closed behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wrapping {
    pub quote: Option<u8>,
    pub fence: bool,
}

/// The end of a message's line, which belongs to the message and not to what follows: padding, the closing quote or
/// fence, the line end itself. It may come later than the message is known to be whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tail {
    line: bool,
    base64: bool,
    quote: Option<u8>,
    fence: bool,
    ticks: usize,
}

impl Tail {
    pub(super) fn after(wrapping: Wrapping, base64: bool) -> Self {
        Self { line: true, base64, quote: wrapping.quote, fence: wrapping.fence, ticks: 0 }
    }

    /// The line end has been taken already.
    pub(super) fn line_is_over(&mut self) {
        self.line = false;
    }

    /// How many of the first bytes of `bytes` belong to the message. Goes on where it stopped at the next call.
    pub fn strip(&mut self, bytes: &[u8]) -> usize {
        for (index, &byte) in bytes.iter().enumerate() {
            if self.line {
                match byte {
                    b'\n' => self.line = false,
                    b' ' | b'\t' | b'\r' => {}
                    _ if Some(byte) == self.quote => self.quote = None,
                    _ if self.base64 && (Base64Bits::value(byte).is_some() || byte == b'=') => {}
                    b'`' if self.fence => {
                        self.line = false;
                        self.ticks += 1;
                    }
                    _ => {
                        *self = Self::default();
                        return index;
                    }
                }
            } else if self.fence {
                match byte {
                    b'`' => self.ticks += 1,
                    b'\n' => self.fence = self.ticks == 0,
                    b' ' | b'\t' | b'\r' => {}
                    _ => {
                        *self = Self::default();
                        return index;
                    }
                }
            } else {
                return index;
            }
        }
        bytes.len()
    }

    /// Whether nothing is left to be dropped.
    pub fn is_over(&self) -> bool {
        !self.line && !self.fence
    }
}
