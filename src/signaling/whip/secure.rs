//! TLS in front of a listener: handshakes go on beside each other, so that one that hangs holds up nobody.

use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at the same time.
const MOST: usize = 64;

type Shaken = Option<(TlsStream<TcpStream>, SocketAddr)>;

pub(super) struct Secure {
    socket: TcpListener,
    acceptor: TlsAcceptor,
    shaking: JoinSet<Shaken>,
}

impl Secure {
    pub fn new(socket: TcpListener, acceptor: TlsAcceptor) -> Self {
        Self { socket, acceptor, shaking: JoinSet::new() }
    }
}

impl Listener for Secure {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                accepted = self.socket.accept(), if self.shaking.len() < MOST => match accepted {
                    Ok((stream, address)) => {
                        self.shaking.spawn(shake(self.acceptor.clone(), stream, address));
                    }
                    Err(error) => {
                        // Out of descriptors, mostly: it will not be better at once.
                        tracing::warn!("cannot take a connection: {error}");
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(done) = self.shaking.join_next() => if let Ok(Some(ready)) = done {
                    return ready;
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.socket.local_addr()
    }
}

async fn shake(acceptor: TlsAcceptor, stream: TcpStream, address: SocketAddr) -> Shaken {
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some((stream, address)),
        Ok(Err(error)) => tracing::debug!("{address}: no TLS: {error}"),
        Err(_) => tracing::debug!("{address}: no TLS in time"),
    }
    None
}
