//! A data channel as the transfer sees it.

use crate::error::Error;
use crate::peer::{DataChannel, DataMessage, PeerError};
use crate::transfer::{Frame, MessageChannel};

/// A data channel.
pub(super) struct Channel(pub DataChannel);

#[async_trait::async_trait]
impl MessageChannel for Channel {
    async fn send(&self, frame: Frame) -> Result<(), Error> {
        let message = match frame {
            Frame::Text(text) => DataMessage::Text(text),
            Frame::Binary(bytes) => DataMessage::Binary(bytes),
        };
        self.0.send_owned(message).await.map_err(PeerError::erase)
    }

    async fn receive(&self) -> Option<Frame> {
        Some(match self.0.receive().await? {
            DataMessage::Text(text) => Frame::Text(text),
            DataMessage::Binary(bytes) => Frame::Binary(bytes),
        })
    }

    fn max_message_size(&self) -> usize {
        self.0.max_message_size()
    }

    async fn flushed(&self) {
        self.0.flushed().await;
    }
}
