//! Two connected ends in one process: what `--loopback` and tests use.

use super::{Message, Signaling, SignalingError};
use crate::error::Error;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// As many messages may wait for a side that does not look; the sender waits after that.
const CAPACITY: usize = 256;

/// One end of a [`pair`].
#[derive(Debug)]
pub struct Memory {
    sender: Option<Sender<Message>>,
    receiver: Receiver<Message>,
}

/// Two connected ends, with trickle. What one sends the other receives; dropping or closing one ends the input of the other.
pub fn pair() -> (Memory, Memory) {
    let (left_sender, right_receiver) = channel(CAPACITY);
    let (right_sender, left_receiver) = channel(CAPACITY);
    (
        Memory { sender: Some(left_sender), receiver: left_receiver },
        Memory { sender: Some(right_sender), receiver: right_receiver },
    )
}

#[async_trait::async_trait]
impl Signaling for Memory {
    async fn send(&mut self, message: &Message) -> Result<(), Error> {
        let sender = self.sender.as_ref().ok_or(SignalingError::Closed)?;
        Ok(sender.send(message.clone()).await.map_err(|_| SignalingError::Closed)?)
    }

    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        Ok(self.receiver.recv().await)
    }

    fn trickles(&self) -> bool {
        true
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.sender = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_cross_in_order_and_a_close_ends_the_input() {
        let (mut left, mut right) = pair();
        left.send(&Message::EndOfCandidates).await.unwrap();
        left.send(&Message::Bye).await.unwrap();
        left.close().await.unwrap();
        assert_eq!(right.receive().await.unwrap(), Some(Message::EndOfCandidates));
        assert_eq!(right.receive().await.unwrap(), Some(Message::Bye));
        assert_eq!(right.receive().await.unwrap(), None);
        drop(left);
        assert!(right.send(&Message::Bye).await.is_err());
    }
}
