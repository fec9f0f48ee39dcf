//! What a transfer runs over: ordered, reliable messages, text and binary, as a data channel or a WebSocket has them.

use crate::error::Error;
use bytes::Bytes;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A control message: JSON.
    Text(String),
    /// File content: see [`wire`](super::wire).
    Binary(Bytes),
}

/// Ordered, reliable messages both ways. One task sends and another receives at the same time.
#[async_trait::async_trait]
pub trait MessageChannel: Send + Sync {
    /// Sends one message; waits while as much is under way as the channel holds.
    ///
    /// # Errors
    /// When the channel is closed.
    async fn send(&self, frame: Frame) -> Result<(), Error>;

    /// The next message; `None` once the channel is closed. Cancel-safe.
    async fn receive(&self) -> Option<Frame>;

    /// The largest message, in bytes, that both sides take.
    fn max_message_size(&self) -> usize;

    /// Waits until the peer has everything that was sent; at most until the channel closes.
    async fn flushed(&self);
}
