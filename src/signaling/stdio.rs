//! Signaling over a pair of byte streams, as standard input and output are.
//!
//! Without trickle: one description out, one in, then the streams belong to whoever takes [`Stdio::into_rest`]. With
//! trickle: messages both ways until the end, descriptions in the chosen form, everything else as lines of JSON.

use super::{Message, QUIET, Reader, SdpFormat, Signaling, SignalingError, Tail};
use crate::error::Error;
use bytes::Bytes;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout_at};

/// The streams come from outside: the binary gives standard input and output, tests give pipes in memory.
pub struct Stdio {
    input: Box<dyn AsyncRead + Send + Unpin>,
    output: Box<dyn AsyncWrite + Send + Unpin>,
    reader: Reader,
    format: SdpFormat,
    trickle: bool,
    /// When the last bytes came.
    heard: Instant,
    ended: bool,
    described: bool,
}

/// What is left of the streams when signaling is done with them.
pub struct Rest {
    /// Bytes that were read already but belong to what follows.
    pub leftover: Bytes,
    /// The input behind them.
    pub reader: RestReader,
    /// The output.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

/// An input behind its last message: drops the end of that message's line, if it had not come yet.
pub struct RestReader {
    input: Box<dyn AsyncRead + Send + Unpin>,
    tail: Tail,
}

impl Stdio {
    /// Signaling over `input` and `output`; descriptions are written as `format`.
    pub fn new(
        input: Box<dyn AsyncRead + Send + Unpin>,
        output: Box<dyn AsyncWrite + Send + Unpin>,
        format: SdpFormat,
        trickle: bool,
    ) -> Self {
        let reader = Reader::new();
        Self { input, output, reader, format, trickle, heard: Instant::now(), ended: false, described: false }
    }

    /// Gives the streams back once the connection is up, for a chat or a pipe to go on with them.
    pub fn into_rest(self) -> Rest {
        let (leftover, tail) = self.reader.into_rest();
        Rest { leftover, reader: RestReader { input: self.input, tail }, writer: self.output }
    }

    async fn read_message(&mut self) -> Result<Option<Message>, SignalingError> {
        loop {
            if let Some(message) = self.reader.next()? {
                return Ok(Some(message));
            }
            if self.ended {
                return self.reader.finish();
            }
            let awaits_quiet = self.reader.awaits_quiet();
            let read = self.input.read_buf(self.reader.buffer());
            let count = if awaits_quiet {
                match timeout_at(self.heard + QUIET, read).await {
                    Ok(count) => count,
                    Err(_) => match self.reader.idle()? {
                        Some(message) => return Ok(Some(message)),
                        None => continue,
                    },
                }
            } else {
                read.await
            };
            self.ended = count.map_err(SignalingError::Input)? == 0;
            self.heard = Instant::now();
        }
    }
}

#[async_trait::async_trait]
impl Signaling for Stdio {
    async fn send(&mut self, message: &Message) -> Result<(), Error> {
        if !self.trickle && !matches!(message, Message::Description(_)) {
            return Ok(());
        }
        let text = self.format.encode(message);
        self.output.write_all(text.as_bytes()).await.map_err(SignalingError::Output)?;
        Ok(self.output.flush().await.map_err(SignalingError::Output)?)
    }

    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        loop {
            if self.described && !self.trickle {
                return Ok(None);
            }
            match self.read_message().await? {
                // A peer that trickles although we do not: what is in its description has to do.
                Some(Message::Candidate(_) | Message::EndOfCandidates) if !self.trickle => {}
                Some(message) => {
                    self.described |= matches!(message, Message::Description(_));
                    return Ok(Some(message));
                }
                None => return Ok(None),
            }
        }
    }

    fn trickles(&self) -> bool {
        self.trickle
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(self.output.flush().await.map_err(SignalingError::Output)?)
    }
}

impl AsyncRead for RestReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        loop {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.input).poll_read(cx, buffer))?;
            let count = buffer.filled().len() - before;
            if count == 0 || self.tail.is_over() {
                return Poll::Ready(Ok(()));
            }
            let drop = self.tail.strip(&buffer.filled()[before..]);
            if drop == 0 {
                return Poll::Ready(Ok(()));
            }
            let filled = buffer.filled_mut();
            filled.copy_within(before + drop.., before);
            buffer.set_filled(before + count - drop);
            if count > drop {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
