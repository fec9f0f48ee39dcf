//! Standard input and output as a transfer's threads read and write them: blocking, and opened late, since signaling may
//! have them first.

use crate::ops::road::{Input, Output, Streams};
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio_util::io::SyncIoBridge;

/// The far ends of both streams, for the transfer.
pub(super) struct Far {
    pub reader: Late<Input>,
    pub writer: Late<Output>,
}

/// The near ends, for whoever gets the streams from the road.
pub(super) struct Near {
    reader: SyncSender<SyncIoBridge<Input>>,
    writer: SyncSender<SyncIoBridge<Output>>,
}

/// Both ends.
pub(super) fn late() -> (Near, Far) {
    let (reader, late_reader) = sync_channel(1);
    let (writer, late_writer) = sync_channel(1);
    let far = Far { reader: Late::Awaited(late_reader), writer: Late::Awaited(late_writer) };
    (Near { reader, writer }, far)
}

impl Near {
    /// The streams are free. Must be called inside a runtime.
    pub(super) fn give(self, streams: Option<Streams>) {
        let Some(Streams { reader, writer }) = streams else { return };
        // A transfer that has no use for a stream has dropped its end.
        if let Some(reader) = reader {
            let _ = self.reader.try_send(SyncIoBridge::new(reader));
        }
        let _ = self.writer.try_send(SyncIoBridge::new(writer));
    }
}

/// A stream that may still be awaited.
pub(super) enum Late<T> {
    Awaited(Receiver<SyncIoBridge<T>>),
    Here(SyncIoBridge<T>),
}

impl<T> Late<T> {
    fn here(&mut self) -> io::Result<&mut SyncIoBridge<T>> {
        if let Self::Awaited(stream) = self {
            *self = Self::Here(stream.recv().map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?);
        }
        match self {
            Self::Here(stream) => Ok(stream),
            Self::Awaited(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Read for Late<Input> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.here()?.read(buffer)
    }
}

impl Write for Late<Output> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.here()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.here()?.flush()
    }
}
