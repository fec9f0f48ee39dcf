//! The way to a server, whatever carries it: whole messages out, whole messages in, each with the time at which it came.
//!
//! ```text
//! outbox -> task: socket, TLS or DTLS -> server
//! inbox  <- task: split into messages, stamped
//! ```

use super::wire::{self, Malformed};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Messages that may wait in either direction.
const WAITING: usize = 4096;
/// Larger than any message.
const DATAGRAM: usize = 65_536;
/// What the kernel is asked to keep for us: a burst at full speed must not be lost here.
const SOCKET_BUFFER: usize = 1 << 20;

/// Why a link carries nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The network said no: ICMP, a reset, no route.
    Refused(String),
    /// The server closed the stream.
    Closed,
    /// A stream that carries something else; there is no way back into step.
    Foreign(Malformed),
    /// TLS or DTLS failed under way.
    Secure(String),
}

/// Something that came.
#[derive(Debug)]
pub(super) struct Arrival {
    pub at: Instant,
    pub what: Result<Vec<u8>, Broken>,
}

/// A way to a server. It ends when it is dropped.
pub(super) struct Link {
    outbox: mpsc::Sender<Vec<u8>>,
    inbox: mpsc::Receiver<Arrival>,
    /// Whether it neither loses nor reorders.
    pub stream: bool,
    /// Bytes of a message that is not whole yet.
    partial: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task's ends of a link.
pub(super) struct Ends {
    pub outgoing: mpsc::Receiver<Vec<u8>>,
    incoming: mpsc::Sender<Arrival>,
}

impl Ends {
    /// Hands a datagram on; when nobody has room for it, it is lost as on any congested path.
    pub(super) fn deliver(&self, at: Instant, datagram: Vec<u8>) {
        let _ = self.incoming.try_send(Arrival { at, what: Ok(datagram) });
    }

    pub(super) async fn broken(&self, why: Broken) {
        let _ = self.incoming.send(Arrival { at: Instant::now(), what: Err(why) }).await;
    }
}

impl Link {
    pub(super) fn start<F: Future<Output = ()> + Send + 'static>(
        stream: bool,
        run: impl FnOnce(Ends, Arc<AtomicUsize>) -> F,
    ) -> Self {
        let (outbox, outgoing) = mpsc::channel(WAITING);
        let (incoming, inbox) = mpsc::channel(WAITING);
        let partial = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(run(Ends { outgoing, incoming }, Arc::clone(&partial)));
        Self { outbox, inbox, stream, partial, task }
    }

    /// Over a socket that is connected to the server.
    pub(super) fn over_udp(socket: UdpSocket) -> Self {
        Self::start(false, |ends, _| carry_datagrams(socket, ends))
    }

    /// Over a stream, inside TLS or not.
    pub(super) fn over_stream<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S) -> Self {
        Self::start(true, |ends, partial| carry_stream(stream, ends, partial))
    }

    /// Sends a message. An error means that the link is broken, which the inbox tells of.
    pub(super) async fn send(&self, message: Vec<u8>) {
        let _ = self.outbox.send(message).await;
    }

    /// Where messages to send go, for a task that does nothing else.
    pub(super) fn sender(&self) -> mpsc::Sender<Vec<u8>> {
        self.outbox.clone()
    }

    /// The next arrival. Nothing comes after one that is broken.
    pub(super) async fn receive(&mut self) -> Arrival {
        match self.inbox.recv().await {
            Some(arrival) => arrival,
            None => Arrival { at: Instant::now(), what: Err(Broken::Closed) },
        }
    }

    /// Bytes that came and make no whole message.
    pub(super) fn partial(&self) -> usize {
        self.partial.load(Ordering::Relaxed)
    }
}

/// A UDP socket that is connected to `server`, so that only its datagrams and ICMP errors about it arrive.
pub(super) fn udp_socket(local: SocketAddr, server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = udp_listener(local)?;
    socket.connect(&server.into())?;
    UdpSocket::from_std(socket.into())
}

/// A UDP socket that anybody may send to.
pub(super) fn udp_listener(local: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(local), socket2::Type::DGRAM, None)?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // As much as the kernel grants.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    Ok(socket)
}

/// An error of a socket, in words that name the cause.
pub(super) fn refused(error: &io::Error) -> Broken {
    use io::ErrorKind as Kind;
    Broken::Refused(match error.kind() {
        Kind::ConnectionRefused => "the port is closed (connection refused)".to_owned(),
        Kind::ConnectionReset => "it reset the connection".to_owned(),
        Kind::HostUnreachable | Kind::NetworkUnreachable => format!("no route to it ({error})"),
        _ => error.to_string(),
    })
}

async fn carry_datagrams(socket: UdpSocket, mut ends: Ends) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        tokio::select! {
            message = ends.outgoing.recv() => {
                let Some(message) = message else { return };
                if let Err(error) = socket.send(&message).await {
                    // A full queue of the device is congestion; what ICMP said belongs to an earlier datagram.
                    if !matches!(error.raw_os_error(), Some(libc::ENOBUFS)) {
                        ends.broken(refused(&error)).await;
                    }
                }
            }
            received = socket.recv(&mut buffer) => match received {
                Ok(length) => ends.deliver(Instant::now(), buffer[..length].to_vec()),
                Err(error) => ends.broken(refused(&error)).await,
            },
        }
    }
}

async fn carry_stream<S: AsyncRead + AsyncWrite>(stream: S, ends: Ends, partial: Arc<AtomicUsize>) {
    let Ends { mut outgoing, incoming } = ends;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let outwards = async {
        while let Some(message) = outgoing.recv().await {
            writer.write_all(&message).await?;
            // What waits already goes out with it.
            let mut next = outgoing.try_recv();
            while let Ok(message) = next {
                writer.write_all(&message).await?;
                next = outgoing.try_recv();
            }
            writer.flush().await?;
        }
        io::Result::Ok(())
    };
    let inwards = async {
        let mut splitter = Splitter::default();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = match reader.read(&mut buffer).await {
                Ok(0) => return Broken::Closed,
                Ok(length) => length,
                Err(error) => return refused(&error),
            };
            let at = Instant::now();
            splitter.take(&buffer[..length]);
            loop {
                match splitter.next() {
                    Ok(Some(message)) => {
                        if incoming.send(Arrival { at, what: Ok(message) }).await.is_err() {
                            return Broken::Closed;
                        }
                    }
                    Ok(None) => break,
                    Err(malformed) => return Broken::Foreign(malformed),
                }
            }
            partial.store(splitter.waiting(), Ordering::Relaxed);
        }
    };
    let broken = tokio::select! {
        biased;
        broken = inwards => broken,
        ended = outwards => match ended {
            Ok(()) => return,
            Err(error) => refused(&error),
        },
    };
    let _ = incoming.send(Arrival { at: Instant::now(), what: Err(broken) }).await;
}

/// Splits a stream into messages.
#[derive(Default)]
pub(super) struct Splitter {
    buffer: VecDeque<u8>,
}

impl Splitter {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// The next whole message, without padding behind channel data.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let start: Vec<u8> = self.buffer.iter().copied().take(32).collect();
        let Some(whole) = wire::message_length(&start, true)? else { return Ok(None) };
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let mut message: Vec<u8> = self.buffer.drain(..whole).collect();
        if let Some(unpadded) = wire::message_length(&message, false)? {
            message.truncate(unpadded);
        }
        Ok(Some(message))
    }

    /// Bytes that are no whole message yet.
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_in_a_stream_however_it_is_cut_and_padding_is_taken_off() {
        let stun = [&[0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12], &[1, 2, 3, 4]].concat();
        let channel = [0x40, 0, 0, 5, 1, 2, 3, 4, 5];
        let stream = [&stun[..], &channel, &[0, 0, 0], &stun].concat();
        for size in [1, 3, 7, stream.len()] {
            let mut splitter = Splitter::default();
            let mut messages = Vec::new();
            for piece in stream.chunks(size) {
                splitter.take(piece);
                while let Some(message) = splitter.next().unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, [&stun[..], &channel, &stun]);
            assert_eq!(splitter.waiting(), 0);
        }
    }

    #[test]
    fn what_is_no_message_is_known_by_its_first_bytes() {
        for foreign in ["HTTP/1.1 400 Bad Request\r\n", "\u{80}", "\0\u{1}\0\0abcd"] {
            let mut splitter = Splitter::default();
            splitter.take(foreign.as_bytes());
            assert!(matches!(splitter.next(), Err(Malformed::Foreign(_))), "{foreign:?}");
        }
    }
}
