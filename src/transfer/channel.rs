//! What a transfer runs over: ordered, reliable messages, text and binary, as a data channel or a WebSocket has them.

use super::error::TransferError;
use super::keeper::Origin;
use crate::error::Error;
use bytes::Bytes;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc;

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

    /// Sends content, which can be had again from its origin.
    ///
    /// # Errors
    /// When the channel is closed.
    async fn send_content(&self, message: Bytes, _origin: Option<Origin>) -> Result<(), Error> {
        self.send(Frame::Binary(message)).await
    }

    /// The next message; `None` once the channel is closed. Cancel-safe.
    async fn receive(&self) -> Option<Frame>;

    /// The largest message, in bytes, that both sides take.
    fn max_message_size(&self) -> usize;

    /// Waits until the peer has everything that was sent; at most until the channel closes.
    async fn flushed(&self);

    /// Over how many further connections this end could spread content, or take it from.
    fn further(&self) -> u32 {
        0
    }

    /// The peer takes content from so many further connections, and so many bytes of it are known to come.
    fn spread(&self, _most: u32, _content: u64) {}

    /// The peer hears control by whichever connection it comes.
    fn roam(&self) {}

    /// Waits until control goes by another connection: what was said last may be lost. Cancel-safe.
    async fn moved(&self) {
        std::future::pending().await
    }
}

/// How long nothing has come from the peer.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// Nothing at all.
    pub all: Duration,
    /// Nothing but connectivity checks.
    pub data: Duration,
}

/// A channel over a connection of its own, whose path can be looked at.
#[async_trait::async_trait]
pub trait Connection: MessageChannel {
    /// Bytes handed to `send` that the peer has not acknowledged yet; `None` once it is closed.
    async fn outstanding(&self) -> Option<usize>;

    /// Bytes that have left this machine by it so far, with headers, retransmissions and all, but for connectivity checks.
    fn bytes_sent(&self) -> u64;

    /// How long nothing has come; `None` where that is not known.
    fn silence(&self) -> Option<Silence>;

    /// There and back, as last measured.
    fn round_trip(&self) -> Option<Duration>;

    /// Serves the connection until nothing comes by it any more, which is what this returns. Cancel-safe.
    async fn lost(&self) -> TransferError;

    /// Hangs up.
    async fn close(&self);
}

/// Carries what is said to make one connection: signaling, by the channel that exists.
pub struct Line {
    /// What the peer says.
    pub incoming: mpsc::Receiver<Value>,
    /// What is said to it.
    pub outgoing: mpsc::Sender<Value>,
}

/// Which side of a further connection makes the offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The sender of the files.
    Offers,
    /// The receiver.
    Answers,
}

/// Makes further connections to the same peer.
#[async_trait::async_trait]
pub trait Connector: Send + Sync {
    /// Makes one, with a channel that is open when it returns.
    ///
    /// # Errors
    /// When it does not come up.
    async fn connect(&self, side: Side, line: Line) -> Result<Box<dyn Connection>, Error>;

    /// How many of them are best where they stay within this machine and carry larger packets than the first, which costs less;
    /// 0 where they do not.
    fn within_machine(&self) -> usize {
        0
    }

    /// Bytes that may be under way to a receiver like this end by each of them.
    fn receive_window(&self) -> usize {
        usize::MAX
    }
}
