//! ICE over TCP (RFC 6544): the streams of the library, watched as its sockets are.

use super::traffic::{Arrivals, Departures};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use webrtc::runtime::{AsyncTcpListener, AsyncTcpStream};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where it is noted what comes and goes.
#[derive(Clone, Debug)]
pub(super) struct StreamTraffic {
    pub(super) arrivals: Arc<Arrivals>,
    pub(super) departures: Arc<Departures>,
}

impl StreamTraffic {
    pub(super) fn watch(&self, inner: Arc<dyn AsyncTcpStream>) -> Arc<dyn AsyncTcpStream> {
        Arc::new(SessionStream { inner, traffic: self.clone() })
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
            }
            Ok(length)
        })
    }

    fn write_all<'a, 'b>(&'a self, buf: &'b [u8]) -> BoxFuture<'b, io::Result<()>>
    where
        'a: 'b,
    {
        // The library writes one frame at a time: a length of two bytes (RFC 4571), then the packet.
        const LENGTH: usize = 2;
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
