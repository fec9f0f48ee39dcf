//! A room in which everything is sealed.

use super::super::room::Room;
use super::super::{Message, Presence, Signaling, SignalingError};
use super::{CodeError, Keys};
use crate::error::Error;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{Aad, NONCE_LEN, Nonce};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What a box is bound to besides its number.
const CONTEXT: &[u8] = b"rtckit sealed 1";

/// What is in the first box of each side.
const READY: &str = r#"{"type":"ready"}"#;

/// Signaling that only the two ends of a code can read.
pub struct Sealed {
    room: Room,
    keys: Keys,
    sent: u64,
    received: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    Sealed { n: u64, r#box: String },
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn tampered(what: &'static str) -> CodeError {
    CodeError::Tampered { what }
}

impl Sealed {
    pub(super) fn new(room: Room, keys: Keys) -> Self {
        Self { room, keys, sent: 0, received: 0 }
    }

    /// Says that whoever had to look at the check string has done so, and waits for the other end to say the same. Cancel-safe after its first await.
    ///
    /// # Errors
    /// When the other end says that the check strings differ, or what comes is not from it.
    pub async fn ready(&mut self) -> Result<(), SignalingError> {
        self.say(READY).await?;
        match self.hear().await? {
            Some(text) if text == READY => Ok(()),
            Some(_) => Err(CodeError::UnconfirmedThere.into()),
            None => Err(CodeError::Gone.into()),
        }
    }

    async fn say(&mut self, text: &str) -> Result<(), SignalingError> {
        let number = self.sent;
        self.sent += 1;
        let mut sealed = text.as_bytes().to_vec();
        let done = self.keys.outgoing.seal_in_place_append_tag(nonce(number), Aad::from(CONTEXT), &mut sealed);
        done.expect("descriptions are shorter than 256 GiB");
        let line = Line::Sealed { n: number, r#box: BASE64_STANDARD.encode(sealed) };
        self.room.say(serde_json::to_string(&line).expect("strings and numbers always serialise")).await
    }

    async fn hear(&mut self) -> Result<Option<String>, SignalingError> {
        let Some(text) = self.room.hear().await? else { return Ok(None) };
        let Ok(Line::Sealed { n, r#box }) = serde_json::from_str(&text) else {
            return Err(tampered("a message is not sealed").into());
        };
        if n != self.received {
            return Err(tampered("a message is missing, or came again").into());
        }
        let mut sealed = BASE64_STANDARD.decode(r#box).map_err(|_| tampered("a message is damaged"))?;
        let opened = self.keys.incoming.open_in_place(nonce(n), Aad::from(CONTEXT), &mut sealed);
        let opened = opened.map_err(|_| tampered("a message was altered"))?;
        self.received += 1;
        let text = String::from_utf8(opened.to_vec()).map_err(|_| tampered("a message is no text"))?;
        Ok(Some(text))
    }
}

#[async_trait::async_trait]
impl Signaling for Sealed {
    async fn send(&mut self, message: &Message) -> Result<(), Error> {
        Ok(self.say(&message.to_json()).await?)
    }

    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        match self.hear().await? {
            Some(text) => Ok(Some(Message::from_json(&text)?)),
            None => Ok(None),
        }
    }

    fn trickles(&self) -> bool {
        true
    }

    async fn network_changed(&mut self) {
        self.room.renew();
    }

    fn presence(&self) -> Option<watch::Receiver<Presence>> {
        Some(self.room.watch())
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.room.leave().await;
        Ok(())
    }
}
