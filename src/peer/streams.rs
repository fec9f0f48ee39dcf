//! ICE over TCP (RFC 6544): the streams of the library, watched as its sockets are.

use super::traffic::{Arrivals, Departures};
use super::undeclared::Undeclared;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use webrtc::runtime::{AsyncTcpListener, AsyncTcpStream};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where it is noted what comes and goes.
#[derive(Clone, Debug)]
pub(super) struct StreamTraffic {
    pub(super) arrivals: Arc<Arrivals>,
    pub(super) departures: Arc<Departures>,
    pub(super) undeclared: Arc<Undeclared>,
}

impl StreamTraffic {
    pub(super) fn watch(&self, inner: Arc<dyn AsyncTcpStream>) -> Arc<dyn AsyncTcpStream> {
        Arc::new(SessionStream { inner, traffic: self.clone(), packets: Mutex::default() })
    }
}

#[derive(Debug)]
pub(super) struct SessionListener {
    pub(super) inner: Arc<dyn AsyncTcpListener>,
    pub(super) traffic: StreamTraffic,
}

impl AsyncTcpListener for SessionListener {
    fn accept<'a>(&'a self) -> BoxFuture<'a, io::Result<(Arc<dyn AsyncTcpStream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.inner.accept().await?;
            Ok((self.traffic.watch(stream), from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

#[derive(Debug)]
struct SessionStream {
    inner: Arc<dyn AsyncTcpStream>,
    traffic: StreamTraffic,
    packets: Mutex<Packets>,
}

/// A length of two bytes precedes each packet (RFC 4571).
const LENGTH: usize = 2;

/// Finds packets in what is read of a stream, in whatever pieces.
#[derive(Debug, Default)]
struct Packets {
    /// The length of the packet that is coming, and its beginning.
    head: Vec<u8>,
    /// Bytes of it behind its head.
    rest: usize,
}

impl Packets {
    /// Of a packet, so much is looked at: the fixed part of an RTP header.
    const HEAD: usize = 12;

    /// Takes what was read, and gives the beginning of each packet.
    fn take(&mut self, mut read: &[u8], mut begins: impl FnMut(&[u8])) {
        while let [first, after @ ..] = read {
            if self.rest > 0 {
                let passed = self.rest.min(read.len());
                self.rest -= passed;
                read = &read[passed..];
                continue;
            }
            self.head.push(*first);
            read = after;
            let [high, low, head @ ..] = &self.head[..] else { continue };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if head.len() == length.min(Self::HEAD) {
                begins(head);
                self.rest = length - head.len();
                self.head.clear();
            }
        }
    }
}

impl AsyncTcpStream for SessionStream {
    fn read<'a, 'b>(&'a self, buf: &'b mut [u8]) -> BoxFuture<'b, io::Result<usize>>
    where
        'a: 'b,
    {
        Box::pin(async move {
            let length = self.inner.read(buf).await?;
            if length > 0 {
                self.traffic.arrivals.heard(true);
                let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
                packets.take(&buf[..length], |head| self.traffic.undeclared.note(head));
            }
            Ok(length)
        })
    }

    fn write_all<'a, 'b>(&'a self, buf: &'b [u8]) -> BoxFuture<'b, io::Result<()>>
    where
        'a: 'b,
    {
        // The library writes one packet at a time.
        Box::pin(async move {
            self.inner.write_all(buf).await?;
            self.traffic.departures.note(buf.get(LENGTH..).unwrap_or_default(), None);
            Ok(())
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_in_whatever_pieces_they_come() {
        let lengths = [0_usize, 3, 12, 13, 400, 1, 70];
        let packets: Vec<Vec<u8>> = lengths.iter().zip(1..).map(|(length, n)| vec![n; *length]).collect();
        let framed = |packet: &Vec<u8>| [&u16::try_from(packet.len()).unwrap().to_be_bytes()[..], packet].concat();
        let stream: Vec<u8> = packets.iter().flat_map(framed).collect();
        let heads: Vec<Vec<u8>> = packets.iter().map(|packet| packet[..packet.len().min(12)].to_vec()).collect();
        for piece in 1..=stream.len() {
            let (mut finder, mut found) = (Packets::default(), Vec::new());
            stream.chunks(piece).for_each(|read| finder.take(read, |head| found.push(head.to_vec())));
            assert_eq!(found, heads, "in pieces of {piece}");
        }
    }
}
