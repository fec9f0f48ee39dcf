//! Codes: `7-crossword-apollo`. The number is a room on the server, the words are a password that the server never gets to
//! know: both ends prove to each other that they have it (SPAKE2, RFC 9382, over Ed25519), and whatever they say afterwards is sealed with the key that comes of
//! that. So the server sees no description and no fingerprint, and can put none of its own in their place.
//!
//! ```text
//! sender                         server                        receiver
//!   {"type":"pake",element}   ----------->   {"type":"pake",element}
//!   key = SPAKE2(words)                      key = SPAKE2(words)
//!                             <-----------   {"type":"confirm",mac}
//!   {"type":"confirm",mac}    ----------->
//!   {"type":"sealed",n,box}   <---------->   {"type":"sealed",n,box}
//! ```
//!
//! Keys come from HKDF-SHA-256, one for each purpose and direction; the MACs are HMAC-SHA-256 over both elements and flags; the boxes
//! ChaCha20-Poly1305, whose nonce is `n`, counted from 0 in each direction. Whoever guesses has one guess: when a MAC is wrong both ends give
//! the code up.

mod error;
mod keys;
mod sealed;
#[cfg(test)]
mod tests;
mod words;

pub use error::CodeError;
pub use keys::Keys;
pub use sealed::Sealed;

use super::SignalingError;
use super::room::{Meeting, Room, RoomError, RoomOptions, RoomRole};
use keys::Side;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::str::FromStr;
use words::WORDS;

/// Numbers that are drawn at first; later ones are longer, where many are taken.
const SHORT: u16 = 99;
const LONG: u16 = 9999;
/// Numbers that are tried.
const ATTEMPTS: usize = 12;

/// A code.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    number: u16,
    words: [&'static str; 2],
}

impl Code {
    fn draw(most: u16) -> Result<Self, CodeError> {
        let mut bytes = [0; 4];
        SystemRandom::new().fill(&mut bytes).map_err(|_| CodeError::NoRandom)?;
        let [high, low, first, second] = bytes;
        let number = 1 + u16::from_be_bytes([high, low]) % most;
        Ok(Self { number, words: [first, second].map(|byte| WORDS[usize::from(byte)]) })
    }

    /// The room in which its ends meet.
    fn room(&self) -> String {
        format!("code-{}", self.number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.words;
        write!(f, "{}-{first}-{second}", self.number)
    }
}

/// Keeps the words to itself.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}-…)", self.number)
    }
}

impl FromStr for Code {
    type Err = CodeError;

    /// As people type it: in any case, with spaces as well.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let shape = || CodeError::Shape { code: super::error::excerpt(text.as_bytes()) };
        let lower = text.trim().to_lowercase();
        let mut parts = lower.split(['-', ' ', '_']).filter(|part| !part.is_empty());
        let number = parts.next().and_then(|number| number.parse().ok()).filter(|number| (1..=LONG).contains(number));
        let mut word = || {
            let typed = parts.next().ok_or_else(shape)?;
            let known = WORDS.iter().find(|word| **word == typed);
            known
                .copied()
                .ok_or_else(|| CodeError::Word { word: super::error::excerpt(typed.as_bytes()), near: nearest(typed) })
        };
        let number = number.ok_or_else(shape)?;
        let words = [word()?, word()?];
        if parts.next().is_some() {
            return Err(shape());
        }
        Ok(Self { number, words })
    }
}

/// The word that somebody meant, if one is near.
fn nearest(typed: &str) -> Option<&'static str> {
    let (distance, word) = WORDS.iter().map(|word| (edits(typed, word), *word)).min()?;
    (distance <= 2).then_some(word)
}

/// Levenshtein's distance.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, same) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *same);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// A room under a code in which we wait for the other end.
pub struct Rendezvous {
    room: Room,
    code: Code,
    side: Side,
}

impl Rendezvous {
    /// The sender's: draws a code and takes its room on the server that `options` names.
    ///
    /// # Errors
    /// When the server cannot be used, or has no room under any code that was tried.
    pub async fn open(options: &RoomOptions) -> Result<Self, SignalingError> {
        for attempt in 0..ATTEMPTS {
            let code = Code::draw(if attempt < ATTEMPTS / 4 { SHORT } else { LONG })?;
            let mut room = match Room::join(&options.in_room(&code.room()), RoomRole::Offer).await {
                Ok(room) => room,
                Err(SignalingError::Room(RoomError::Full { .. })) => continue,
                Err(error) => return Err(error),
            };
            if room.is_alone() {
                return Ok(Self { room, code, side: Side::Sender });
            }
            room.leave().await;
        }
        Err(CodeError::NoneFree.into())
    }

    /// The receiver's.
    ///
    /// # Errors
    /// When the server cannot be used, or two ends are there already.
    pub async fn find(options: &RoomOptions, code: Code) -> Result<Self, SignalingError> {
        let room = Room::join(&options.in_room(&code.room()), RoomRole::Answer).await?;
        Ok(Self { room, code, side: Side::Receiver })
    }

    /// The code.
    pub fn code(&self) -> &Code {
        &self.code
    }

    /// Whether nobody else is there yet.
    pub fn is_alone(&self) -> bool {
        self.room.is_alone()
    }

    /// Waits for the other end. Cancel-safe.
    ///
    /// # Errors
    /// When the connection to the server is lost for good.
    pub async fn meet(&mut self) -> Result<Meeting, SignalingError> {
        let part = match self.side {
            Side::Sender => RoomRole::Answer,
            Side::Receiver => RoomRole::Offer,
        };
        self.room.meet_one(Some(part)).await
    }

    /// Proves to the other end that we have the code, and has it prove the same. `checks`: whether a person compares check strings.
    ///
    /// # Errors
    /// [`CodeError`] when the other end has another code, or somebody in between meddles.
    pub async fn prove(&mut self, checks: bool) -> Result<Keys, SignalingError> {
        keys::agree(&mut self.room, self.side, &self.code.to_string(), checks).await
    }

    /// Speaks sealed from now on.
    pub fn sealed(self, keys: Keys) -> Sealed {
        Sealed::new(self.room, keys)
    }

    /// Leaves without having met.
    pub async fn leave(&mut self) {
        self.room.leave().await;
    }
}
