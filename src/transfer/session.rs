//! What both ends share: the greeting, control messages, and telling the peer of a failure.

use super::channel::{Frame, MessageChannel};
use super::error::{Code, TransferError};
use super::name;
use super::wire::{Control, PROTOCOL, Role, VERSION};
use std::time::Duration;

/// How long the last words of a peer may be under way when the channel is closed to us already.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(500);
/// Beginnings of one file that a receiver may offer.
pub(super) const MOST_BEGINNINGS: usize = 4;
/// Characters of a peer's text that are shown.
const MOST_SHOWN: usize = 300;

pub(super) async fn say(channel: &dyn MessageChannel, message: &Control) -> Result<(), TransferError> {
    channel.send(Frame::Text(message.to_text())).await.map_err(TransferError::Channel)
}

/// The next control message where no content is due. An error of the peer is an error. Cancel-safe.
pub(super) async fn hear(channel: &dyn MessageChannel, role: Role) -> Result<Control, TransferError> {
    match channel.receive().await {
        Some(Frame::Text(text)) => understand(&text, role),
        Some(Frame::Binary(_)) => Err(TransferError::protocol("content comes where none is due")),
        None => Err(TransferError::Closed),
    }
}

/// Reads a control message; an error of the peer is an error.
pub(super) fn understand(text: &str, role: Role) -> Result<Control, TransferError> {
    match Control::from_text(text)? {
        Control::Error { code, message } => Err(of_peer(role, code, &message)),
        message => Ok(message),
    }
}

/// What the peer says went wrong.
pub(super) fn of_peer(role: Role, code: Code, message: &str) -> TransferError {
    let message = name::shown(message).chars().take(MOST_SHOWN).collect();
    TransferError::Peer { who: role.peer().as_str(), code, message }
}

pub(super) fn unexpected(message: &Control) -> TransferError {
    let text = message.to_text();
    let kind: String = text.chars().take(60).collect();
    TransferError::protocol(format!("{kind} comes where it is not due"))
}

/// Says hello and hears the peer's.
pub(super) async fn greet(channel: &dyn MessageChannel, role: Role) -> Result<(), TransferError> {
    say(channel, &Control::hello(role, channel.further() > 0)).await?;
    match hear(channel, role).await? {
        Control::Hello { protocol, .. } if protocol != PROTOCOL => {
            Err(TransferError::protocol("it speaks something else than rtckit-transfer"))
        }
        Control::Hello { version, .. } if version != VERSION => {
            Err(TransferError::Version { theirs: version, ours: VERSION })
        }
        Control::Hello { role: theirs, .. } if theirs == role => {
            Err(TransferError::protocol(format!("both sides are the {}", role.as_str())))
        }
        Control::Hello { agent, roams, .. } => {
            if roams {
                channel.roam();
            }
            tracing::debug!("the {} is {}", role.peer().as_str(), name::shown(&agent));
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

/// Tells the receiver that we know that everything is done.
pub(super) async fn part(channel: &dyn MessageChannel) {
    let parting = async {
        if say(channel, &Control::Bye {}).await.is_ok() {
            channel.flushed().await;
        }
    };
    // A receiver that is gone already knows all it needs.
    let _ = tokio::time::timeout(LAST_WORDS, parting).await;
}

/// Tells the peer why this is over, when it does not know; and sees to it that it hears so.
pub(super) async fn tell_of(channel: &dyn MessageChannel, error: Option<&TransferError>) {
    let Some(error) = error else { return };
    // What some files suffered was told file by file.
    let told = matches!(error, TransferError::Partial { .. });
    let Some(code) = error.code().filter(|_| !told) else { return };
    let message = Control::Error { code, message: error.to_string() };
    let telling = async {
        if say(channel, &message).await.is_ok() {
            channel.flushed().await;
        }
    };
    // A channel that is full or closed takes nothing more.
    let _ = tokio::time::timeout(LAST_WORDS * 4, telling).await;
}

/// What the peer says went wrong with one file.
pub(super) fn of_file(role: Role, code: Code, message: &str) -> TransferError {
    let TransferError::Peer { message, .. } = of_peer(role, code, message) else { return TransferError::Closed };
    TransferError::PeerFile { code, message }
}
