//! The exchange that makes keys of a code: SPAKE2, and each end's proof that it came to the same key.

use super::super::SignalingError;
use super::super::room::Room;
use super::CodeError;
use super::words::WORDS;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use ring::{hkdf, hmac};
use serde::{Deserialize, Serialize};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use std::time::Duration;
use tokio::time::timeout;

const VERSION: u64 = 1;
/// How long the other end may take; no person is at work in it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which end this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Sender,
    Receiver,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

/// What both ends of a code share once they have proved that they have it.
pub struct Keys {
    pub(super) outgoing: LessSafeKey,
    pub(super) incoming: LessSafeKey,
    /// What people compare: the same at both ends, unless somebody is in the middle.
    pub check: String,
    /// Whether somebody compares it, at either end.
    pub is_checked: bool,
}

/// The lines of the exchange.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Line {
    Pake { version: u64, element: String, checks: bool },
    Confirm { mac: String },
    WrongCode,
}

pub(super) async fn agree(room: &mut Room, side: Side, code: &str, checks: bool) -> Result<Keys, SignalingError> {
    let done = timeout(PATIENCE, exchange(room, side, code, checks)).await;
    let done = done.unwrap_or_else(|_| Err(CodeError::Silent.into()));
    if let Err(SignalingError::Code(_)) = done {
        // The other end need not wait for what will not come; one that is gone does not.
        let _ = say(room, &Line::WrongCode).await;
    }
    done
}

async fn exchange(room: &mut Room, side: Side, code: &str, checks: bool) -> Result<Keys, SignalingError> {
    let identity = |side: Side| Identity::new(format!("rtckit code 1 {}", side.name()).as_bytes());
    let (sender, receiver) = (identity(Side::Sender), identity(Side::Receiver));
    let password = Password::new(code.as_bytes());
    let (state, ours) = match side {
        Side::Sender => Spake2::<Ed25519Group>::start_a(&password, &sender, &receiver),
        Side::Receiver => Spake2::<Ed25519Group>::start_b(&password, &sender, &receiver),
    };
    say(room, &Line::Pake { version: VERSION, element: BASE64_STANDARD.encode(&ours), checks }).await?;
    let (theirs, they_check) = match hear(room).await? {
        Line::Pake { version: VERSION, element, checks } => (decode(&element)?, checks),
        _ => return Err(tampered("no first message of the exchange came").into()),
    };
    let shared =
        state.finish(&theirs).map_err(|_| tampered("the first message of the exchange is none of the other side"))?;
    let secrets = Secrets::of(&shared);
    let flags = |side: Side, ours: bool, theirs: bool| match side {
        Side::Sender => [u8::from(ours), u8::from(theirs)],
        Side::Receiver => [u8::from(theirs), u8::from(ours)],
    };
    let (first, second) = if side == Side::Sender { (&ours, &theirs) } else { (&theirs, &ours) };
    let transcript = [first.as_slice(), second.as_slice(), &flags(side, checks, they_check)].concat();
    let proof = |of: Side| secrets.mac(of, &transcript);
    match side {
        // Whoever has only been told the code proves first: a guess learns nothing from us.
        Side::Receiver => {
            say(room, &confirm(&proof(side))).await?;
            let theirs = hear(room).await?;
            check(&secrets, side.other(), &transcript, &theirs, CodeError::Wrong)?;
        }
        Side::Sender => {
            let theirs = hear(room).await?;
            check(&secrets, side.other(), &transcript, &theirs, CodeError::Guessed)?;
            say(room, &confirm(&proof(side))).await?;
        }
    }
    let (outgoing, incoming) = (secrets.seal(side), secrets.seal(side.other()));
    Ok(Keys { outgoing, incoming, check: secrets.check(), is_checked: checks || they_check })
}

fn confirm(mac: &hmac::Tag) -> Line {
    Line::Confirm { mac: BASE64_STANDARD.encode(mac) }
}

fn check(secrets: &Secrets, of: Side, transcript: &[u8], line: &Line, wrong: CodeError) -> Result<(), CodeError> {
    match line {
        Line::Confirm { mac } => {
            let valid = hmac::verify(&secrets.mac_key(of), transcript, &decode(mac)?);
            valid.map_err(|_| wrong)
        }
        Line::WrongCode => Err(wrong),
        Line::Pake { .. } => Err(tampered("a message of the exchange came again")),
    }
}

fn decode(text: &str) -> Result<Vec<u8>, CodeError> {
    BASE64_STANDARD.decode(text).map_err(|_| tampered("a message of the exchange is damaged"))
}

fn tampered(what: &'static str) -> CodeError {
    CodeError::Tampered { what }
}

async fn say(room: &mut Room, line: &Line) -> Result<(), SignalingError> {
    room.say(serde_json::to_string(line).expect("strings and numbers always serialise")).await
}

async fn hear(room: &mut Room) -> Result<Line, SignalingError> {
    let text = room.hear().await?.ok_or(CodeError::Gone)?;
    serde_json::from_str(&text).map_err(|_| tampered("what came is no message of the exchange").into())
}

/// The key of the exchange, from which all others come.
struct Secrets(hkdf::Prk);

impl Secrets {
    fn of(shared: &[u8]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, b"rtckit code 1").extract(shared))
    }

    fn derive<const LENGTH: usize>(&self, purpose: &str) -> [u8; LENGTH] {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let mut bytes = [0; LENGTH];
        let info = [purpose.as_bytes()];
        let expanded = self.0.expand(&info, Length(LENGTH)).and_then(|expanded| expanded.fill(&mut bytes));
        expanded.expect("HKDF gives up to 8160 bytes");
        bytes
    }

    fn mac_key(&self, of: Side) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.derive::<32>(&format!("confirm {}", of.name())))
    }

    fn mac(&self, of: Side, transcript: &[u8]) -> hmac::Tag {
        hmac::sign(&self.mac_key(of), transcript)
    }

    /// What `from` seals with.
    fn seal(&self, from: Side) -> LessSafeKey {
        let bytes = self.derive::<32>(&format!("seal {}", from.name()));
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &bytes).expect("32 bytes are a key"))
    }

    fn check(&self) -> String {
        self.derive::<4>("check").map(|byte| WORDS[usize::from(byte)]).join("-")
    }
}
