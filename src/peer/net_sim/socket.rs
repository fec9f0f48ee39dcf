//! A socket behind a bad network.

use super::Network;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::mpsc;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// Datagrams on their way, each direction; more than this no link of this kind holds.
const MOST: usize = 16_384;
/// The largest datagram, and as many of them as the kernel joins.
const RECEIVE_BUFFER: usize = 64 << 10;

struct Leaving {
    at: Instant,
    destination: SocketAddr,
    src_ip: Option<IpAddr>,
    contents: Vec<u8>,
}

struct Coming {
    at: Instant,
    meta: RecvMeta,
    contents: Vec<u8>,
}

pub(super) struct SimulatedSocket {
    network: Arc<Network>,
    socket: Arc<dyn AsyncUdpSocket>,
    leaving: mpsc::Sender<Leaving>,
    arrived: Mutex<mpsc::Receiver<Coming>>,
}

impl std::fmt::Debug for SimulatedSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedSocket").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl SimulatedSocket {
    /// Its tasks end with it: what is under way inward is dropped, and what is under way outward still leaves.
    pub(super) fn open(network: Arc<Network>, socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        let (leaving, to_leave) = mpsc::channel(MOST);
        let (coming, to_come) = mpsc::channel(MOST);
        let (arrivals, arrived) = mpsc::channel(MOST);
        tokio::spawn(leave(Arc::clone(&network), Arc::clone(&socket), to_leave));
        tokio::spawn(receive(Arc::clone(&network), Arc::clone(&socket), coming));
        tokio::spawn(arrive(to_come, arrivals));
        Arc::new(Self { network, socket, leaving, arrived: Mutex::new(arrived) })
    }
}

/// Sends each datagram when its time has come.
async fn leave(network: Arc<Network>, socket: Arc<dyn AsyncUdpSocket>, mut to_leave: mpsc::Receiver<Leaving>) {
    while let Some(Leaving { at, destination, src_ip, contents }) = to_leave.recv().await {
        tokio::time::sleep_until(at.into()).await;
        let transmit = Transmit { destination, ecn: None, contents: &contents, segment_size: None, src_ip };
        if let Err(error) = std::future::poll_fn(|cx| socket.poll_send(cx, &transmit)).await {
            tracing::debug!("a delayed datagram cannot be sent: {error}");
        }
        network.leaving.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes what the kernel has, and decides what becomes of it.
async fn receive(network: Arc<Network>, socket: Arc<dyn AsyncUdpSocket>, coming: mpsc::Sender<Coming>) {
    let mut buffer = vec![0; RECEIVE_BUFFER];
    loop {
        let mut meta = [RecvMeta::default()];
        let received = std::future::poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta));
        let result = tokio::select! {
            result = received => result,
            () = coming.closed() => return,
        };
        if let Err(error) = result {
            tracing::debug!("a socket cannot receive: {error}");
            tokio::task::yield_now().await;
            continue;
        }
        let [meta] = meta;
        for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
            if let Some(at) = network.passes(&network.inward, datagram.len(), Instant::now()) {
                let mut meta = meta;
                (meta.len, meta.stride) = (datagram.len(), datagram.len());
                // What finds no room is lost, as in any queue.
                let _ = coming.try_send(Coming { at, meta, contents: datagram.to_vec() });
            }
        }
    }
}

/// Hands each datagram on when its time has come.
async fn arrive(mut to_come: mpsc::Receiver<Coming>, arrivals: mpsc::Sender<Coming>) {
    while let Some(coming) = to_come.recv().await {
        tokio::time::sleep_until(coming.at.into()).await;
        if arrivals.send(coming).await.is_err() {
            return;
        }
    }
}

impl AsyncUdpSocket for SimulatedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, _cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let Transmit { destination, contents, src_ip, .. } = *transmit;
        if let Some(at) = self.network.passes(&self.network.out, contents.len(), Instant::now()) {
            let leaving = Leaving { at, destination, src_ip, contents: contents.to_vec() };
            self.network.leaving.fetch_add(1, Ordering::AcqRel);
            if self.leaving.try_send(leaving).is_err() {
                self.network.leaving.fetch_sub(1, Ordering::AcqRel);
            }
        }
        Poll::Ready(Ok(contents.len()))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        match arrived.poll_recv(cx) {
            Poll::Ready(Some(coming)) => {
                let len = coming.contents.len().min(bufs[0].len());
                bufs[0][..len].copy_from_slice(&coming.contents[..len]);
                meta[0] = coming.meta;
                meta[0].len = len;
                Poll::Ready(Ok(1))
            }
            Poll::Ready(None) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}
