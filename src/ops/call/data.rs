//! Chat and pipe: the data channel on one side, two byte streams on the other.
//!
//! A chat sends each line as one text message. A pipe sends bytes as binary messages, and an empty text message for the
//! end of its input, so that each direction can end on its own as with a shell's pipe; a peer that knows no such mark
//! ends both by closing the channel.

use super::channels::Channels;
use super::files::{self, Came, Desk};
use super::options::DataUse;
use super::report::{ChannelReport, DataReport, Ended};
use crate::error::{Error, ErrorKind};
use crate::ops::road::{Input, Output, Streams};
use crate::ops::transfer::served::Incoming;
use crate::peer::{DataChannel, DataMessage, PeerError, Traffic};
use crate::progress::{Event, Progress};
use bytes::Bytes;
use std::io::ErrorKind as IoErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bytes per message of a pipe: enough datagrams for one system call to send many.
const CHUNK: usize = 64 << 10;

/// Where lines and bytes come from.
pub(super) type Reader = BufReader<Box<dyn AsyncRead + Send + Unpin>>;
/// Where they go.
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// What goes into one side comes out at the other: the caller reads `input`, the answerer writes `output`. A pipe
/// ends when both directions have, so there the answerer's is over at once; the end of an input ends a chat, so
/// there the answerer has none.
pub(super) fn across(what: DataUse, input: Input, output: Output) -> (Streams, Streams) {
    (
        Streams { reader: Some(input), writer: Box::new(tokio::io::sink()) },
        Streams { reader: (what == DataUse::Pipe).then(|| Box::new(tokio::io::empty()) as _), writer: output },
    )
}

/// The data side of one call, on a task of its own.
pub(super) struct Data {
    task: JoinHandle<Result<Ended, Error>>,
    reports: Reports,
    files: Desk,
}

/// What went over the channels, each at its place once it was open.
type Reports = Arc<Mutex<Vec<Option<ChannelReport>>>>;

impl Data {
    /// Serves the channels that are `ours` and those that come out of `channels`; chat and pipe only one of them, ours if there
    /// is one.
    pub(super) fn start(
        what: DataUse,
        ours: Vec<DataChannel>,
        channels: mpsc::Receiver<DataChannel>,
        io: Option<Streams>,
        progress: Arc<dyn Progress>,
    ) -> Self {
        let reports = Reports::default();
        let (reader, writer) = match io.filter(|_| what != DataUse::Count) {
            Some(io) => (io.reader.map(|reader| BufReader::with_capacity(CHUNK, reader)), Some(io.writer)),
            None => (None, None),
        };
        let task = match what {
            DataUse::Chat | DataUse::Pipe => {
                let serving = Serving { what, reader, writer, line: Vec::new(), reports: Arc::clone(&reports) };
                tokio::spawn(serving.run(ours.into_iter().next(), channels, progress))
            }
            DataUse::Count | DataUse::Messages => {
                let serving = Channels::new((reader, writer), Arc::clone(&reports), progress);
                tokio::spawn(serving.run(ours, channels))
            }
        };
        Self { task, reports, files: Desk::default() }
    }

    /// Receives files by the channels that the peer opens, over a session with this traffic, and maybe through a relay.
    pub(super) fn receive_files(
        incoming: Incoming,
        channels: mpsc::Receiver<DataChannel>,
        session: (Traffic, bool),
        alone: bool,
    ) -> Self {
        let files = Desk::default();
        let task = tokio::spawn(files::serve(incoming, channels, session, alone, files.clone()));
        Self { task, reports: Arc::default(), files }
    }

    /// Completes when the data side is done: both ends of the pipe, the end of the chat's input, a closed channel.
    /// Cancel-safe.
    pub(super) async fn over(&mut self) -> Result<Ended, Error> {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => Err(Error::new(ErrorKind::Internal, "OperationError", error.to_string())),
        }
    }

    /// The session is lost: waits while files come by connections of their own. Gives whether some came, and all of them.
    pub(super) async fn outlive(&self) -> bool {
        self.files.outlive().await
    }

    /// Ends it and tells what went over the channels, and which files came. Call it once the session is closed.
    pub(super) async fn finish(mut self) -> (Vec<ChannelReport>, Came) {
        let served = self.reports.lock().unwrap_or_else(PoisonError::into_inner).iter().any(Option::is_some);
        // A task that still waits for a channel has nothing to finish.
        let patience = Duration::from_millis(match (self.files.is_busy(), served) {
            (true, _) => 2000,
            (_, true) => 500,
            _ => 0,
        });
        if !self.task.is_finished() && tokio::time::timeout(patience, &mut self.task).await.is_err() {
            self.task.abort();
        }
        let reports = std::mem::take(&mut *self.reports.lock().unwrap_or_else(PoisonError::into_inner));
        (reports.into_iter().flatten().collect(), std::mem::take(&mut *self.files.look()))
    }
}

struct Serving {
    what: DataUse,
    reader: Option<Reader>,
    writer: Option<Writer>,
    /// Lives outside of the reading future, so that a line that is half read is not lost with it.
    line: Vec<u8>,
    reports: Reports,
}

impl Serving {
    fn count(&self, mut change: impl FnMut(&mut DataReport)) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.iter_mut().flatten().for_each(|report| change(&mut report.data));
    }

    async fn run(
        mut self,
        channel: Option<DataChannel>,
        mut channels: mpsc::Receiver<DataChannel>,
        progress: Arc<dyn Progress>,
    ) -> Result<Ended, Error> {
        let channel = match channel {
            Some(channel) => channel,
            None => match channels.recv().await {
                Some(channel) => channel,
                None => return Ok(Ended::PeerHungUp),
            },
        };
        if !channel.opened().await.map_err(PeerError::erase)? {
            return Ok(Ended::PeerHungUp);
        }
        let report = ChannelReport::of(&channel).await;
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).push(Some(report));
        progress.event(Event::DataChannel { label: channel.label().to_owned() });
        let (mut input_ended, mut peer_ended) = (false, false);
        loop {
            if input_ended && peer_ended {
                channel.flushed().await;
                return Ok(Ended::InputEnded);
            }
            tokio::select! {
                message = channel.receive() => {
                    let Some(message) = message else { return Ok(Ended::PeerHungUp) };
                    self.count(|report| {
                        report.messages_received += 1;
                        report.bytes_received += message.len() as u64;
                    });
                    if self.what == DataUse::Pipe && message == DataMessage::Text(String::new()) {
                        peer_ended = true;
                        if let Some(mut writer) = self.writer.take() {
                            written(writer.shutdown().await)?;
                        }
                    } else if let Some(writer) = &mut self.writer {
                        written(deliver(writer, self.what, message).await)?;
                    }
                }
                outgoing = next_message(self.what, &mut self.reader, &mut self.line, channel.max_message_size()) => {
                    let outgoing = outgoing?;
                    let ends = outgoing.is_none();
                    let message = match outgoing {
                        Some(message) => message,
                        None if self.what == DataUse::Pipe => DataMessage::Text(String::new()),
                        None => {
                            channel.flushed().await;
                            return Ok(Ended::InputEnded);
                        }
                    };
                    channel.send(&message).await.map_err(crate::peer::PeerError::erase)?;
                    self.count(|report| {
                        report.messages_sent += 1;
                        report.bytes_sent += message.len() as u64;
                    });
                    if ends {
                        input_ended = true;
                        self.reader = None;
                    }
                }
                Some(other) = channels.recv() => {
                    let message = format!("data channel '{}' of the peer is not served", other.label());
                    progress.event(Event::Warning { message });
                }
            }
        }
    }
}

/// The next message of the input, at most `most` bytes of it; `None` at its end. Pending without an input. Cancel-safe.
async fn next_message(
    what: DataUse,
    reader: &mut Option<Reader>,
    line: &mut Vec<u8>,
    most: usize,
) -> Result<Option<DataMessage>, Error> {
    if what == DataUse::Pipe {
        let Some(reader) = reader else { return std::future::pending().await };
        let bytes = reader.fill_buf().await.map_err(read_failed)?;
        let bytes = Bytes::copy_from_slice(&bytes[..bytes.len().min(most)]);
        reader.consume(bytes.len());
        return Ok((!bytes.is_empty()).then_some(DataMessage::Binary(bytes)));
    }
    Ok(next_line(reader, line, most).await?.map(DataMessage::Text))
}

fn read_failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::InvalidInput, "NotReadableError", format!("cannot read standard input: {error}"))
}

/// The next line of the input, at most `most` bytes of it; `None` at its end. Pending without an input. Cancel-safe.
///
/// `line` never holds more than `most` bytes and a buffer of the reader, however long a line without an end may be.
pub(super) async fn next_line(
    reader: &mut Option<Reader>,
    line: &mut Vec<u8>,
    most: usize,
) -> Result<Option<String>, Error> {
    let Some(reader) = reader else { return std::future::pending().await };
    loop {
        let bytes = reader.fill_buf().await.map_err(read_failed)?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        if taken == 0 && line.is_empty() {
            return Ok(None);
        }
        line.extend_from_slice(&bytes[..taken]);
        reader.consume(taken);
        let text = match &line[..] {
            [text @ .., b'\r', b'\n'] | [text @ .., b'\n' | b'\r'] => text,
            text => text,
        };
        let whole = (end.is_some() || taken == 0).then(|| String::from_utf8_lossy(text).into_owned());
        // What is no UTF-8 only grows when it is replaced.
        if whole.as_ref().map_or(text.len(), String::len) > most {
            let message = format!("a line of standard input is longer than one can be: {most} bytes");
            return Err(Error::new(ErrorKind::InvalidInput, "DataError", message));
        }
        if let Some(text) = whole {
            line.clear();
            return Ok(Some(text));
        }
    }
}

async fn deliver(writer: &mut Writer, what: DataUse, message: DataMessage) -> std::io::Result<()> {
    match message {
        DataMessage::Text(text) => writer.write_all(text.as_bytes()).await?,
        DataMessage::Binary(bytes) => writer.write_all(&bytes).await?,
    }
    if what == DataUse::Chat {
        writer.write_all(b"\n").await?;
    }
    writer.flush().await
}

pub(super) fn written(result: std::io::Result<()>) -> Result<(), Error> {
    result.map_err(|error| {
        let (kind, name) = match error.kind() {
            IoErrorKind::BrokenPipe => (ErrorKind::Output, "broken-pipe"),
            _ => (ErrorKind::Output, "output"),
        };
        Error::new(kind, name, format!("cannot write standard output: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(bytes: impl AsyncRead + Send + Unpin + 'static) -> Option<Reader> {
        Some(BufReader::with_capacity(CHUNK, Box::new(bytes)))
    }

    async fn chat_lines(bytes: &[u8], most: usize) -> Result<Vec<String>, Error> {
        let (mut reader, mut line, mut lines) = (input(std::io::Cursor::new(bytes.to_vec())), Vec::new(), Vec::new());
        while let Some(message) = next_message(DataUse::Chat, &mut reader, &mut line, most).await? {
            match message {
                DataMessage::Text(text) => lines.push(text),
                DataMessage::Binary(bytes) => panic!("a chat sends text: {bytes:?}"),
            }
        }
        Ok(lines)
    }

    #[tokio::test]
    async fn a_line_may_be_as_long_as_a_message_and_no_longer_whatever_ends_it() {
        let most = 256 << 10;
        let longest = "x".repeat(most);
        for end in ["\n", "\r\n", ""] {
            let lines = chat_lines(format!("{longest}{end}").as_bytes(), most).await.unwrap();
            assert!(lines == [longest.as_str()], "ended by {end:?}");
            let error = chat_lines(format!("x{longest}{end}").as_bytes(), most).await.unwrap_err();
            assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("262144"), "{error}");
        }
        // A byte that is no UTF-8 is sent as three.
        assert!(chat_lines(b"\xff\xff\n", 5).await.is_err());
        assert_eq!(chat_lines(b"one\n\n\rtwo\r\nthree", 8).await.unwrap(), ["one", "", "\rtwo", "three"]);
    }

    #[tokio::test]
    async fn a_line_without_an_end_takes_no_more_memory_than_a_message_and_a_buffer() {
        let (mut reader, mut line) = (input(tokio::io::repeat(b'x')), Vec::new());
        let error = next_message(DataUse::Chat, &mut reader, &mut line, 100_000).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(line.len() <= 100_000 + CHUNK, "{}", line.len());
    }
}
