//! The runtime we hand to the `webrtc` crate: tokio, with our clock and our sockets.
//!
//! Sockets get buffers large enough for a whole burst of the send window, because each datagram that the kernel drops
//! costs a retransmission time-out of a second. Every datagram that comes in is noticed, so that a peer that vanished
//! is told from one that is silent on purpose: a live peer answers a STUN consent check (RFC 7675) every few seconds.
//! And what a faster peer sends before its time is kept until then, because the library drops it: a DTLS handshake before
//! our side of ICE has its pair (which costs the peer's retransmission time-out, 50 ms in browsers), and media that comes
//! right behind the last flight of the handshake (which may be the first key frame).

use super::clock::ProtocolClock;
use super::config::Config;
use super::flight::{Flights, Kind};
use super::net_sim::Network;
use super::relay_stream::{Doors, StreamServer};
use super::server_watch::ServerWatch;
use super::streams::{SessionListener, StreamTraffic};
use super::traffic::{Arrivals, Departures, RoundTrips};
use super::undeclared::Undeclared;
use crate::ice_server::Family;
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bytes we ask the kernel for, each way. It grants what `net.core.rmem_max` and `wmem_max` allow.
const SOCKET_BUFFER: usize = 4 << 20;
/// How often an alert of DTLS is sent.
const ALERTS: usize = 3;

pub(super) struct SessionRuntime {
    tokio: TokioRuntime,
    clock: Arc<ProtocolClock>,
    arrivals: Arc<Arrivals>,
    departures: Arc<Departures>,
    round_trips: Arc<RoundTrips>,
    flights: Arc<Flights>,
    undeclared: Arc<Undeclared>,
    servers: Arc<ServerWatch>,
    doors: Mutex<Vec<Doors>>,
    family: Family,
    gate: Arc<Gate>,
    most_at_once: usize,
    network: Option<Arc<Network>>,
    /// Which datagrams never leave: a bad network for tests.
    #[cfg(test)]
    pub(super) lose: Arc<Mutex<Option<Lose>>>,
}

#[cfg(test)]
pub(super) type Lose = Box<dyn FnMut(&[u8]) -> bool + Send>;

impl std::fmt::Debug for SessionRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionRuntime").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// How far the set-up is: what came before its time is kept until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    /// Connectivity checks: nothing but STUN is of use.
    Checks,
    /// ICE has a pair: DTLS may begin.
    Handshake,
    /// DTLS is up: media can be decrypted.
    Media,
}

/// Holds back what the library cannot use yet.
#[derive(Debug, Default)]
pub(super) struct Gate {
    stage: AtomicU8,
    waiting: Mutex<Vec<Waker>>,
}

impl Gate {
    /// Lets through what was kept for `stage` and all that follows. Never goes back.
    pub(super) fn reach(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }

    fn passes(&self, datagram: &[u8]) -> bool {
        // By the first byte, RFC 7983.
        let needs = match datagram.first() {
            Some(20..=63) => Stage::Handshake,
            Some(128..=191) => Stage::Media,
            _ => Stage::Checks,
        };
        self.stage.load(Ordering::Acquire) >= needs as u8
    }

    fn is_open(&self) -> bool {
        self.stage.load(Ordering::Acquire) == Stage::Media as u8
    }

    /// Wakes `waker` at the next stage.
    fn wait(&self, waker: &Waker) {
        // The driver also probes its sockets with a waker that does nothing.
        if !waker.will_wake(Waker::noop()) {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if !waiting.iter().any(|other| other.will_wake(waker)) {
                waiting.push(waker.clone());
            }
        }
    }
}

impl SessionRuntime {
    /// A runtime whose sockets are watched for `servers`, some of which are reached through `doors`, the others at their
    /// addresses of the family that `config` says. What passes its sockets passes the network that it simulates, if any.
    pub(super) fn new(servers: Arc<ServerWatch>, doors: Doors, config: &Config) -> Self {
        let round_trips = Arc::<RoundTrips>::default();
        Self {
            tokio: TokioRuntime,
            clock: Arc::new(ProtocolClock::new()),
            arrivals: Arc::new(Arrivals::new()),
            departures: Arc::default(),
            undeclared: Arc::default(),
            flights: Flights::new(Arc::clone(&round_trips)),
            round_trips,
            servers,
            doors: Mutex::new(vec![doors]),
            family: config.family,
            gate: Arc::default(),
            most_at_once: config.sctp_mtu.map_or(usize::MAX, datagrams_at_once),
            network: config.net_sim.clone().map(Network::new),
            #[cfg(test)]
            lose: Arc::default(),
        }
    }

    /// The bad network, if there is one.
    pub(super) fn network(&self) -> Option<&Arc<Network>> {
        self.network.as_ref()
    }

    /// Opens doors to more servers; see [`Doors::open`].
    pub(super) async fn open_doors(&self, servers: &[StreamServer]) -> io::Result<()> {
        let doors = Doors::open(servers, &self.servers, self.family).await?;
        self.doors().push(doors);
        Ok(())
    }

    fn doors(&self) -> MutexGuard<'_, Vec<Doors>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loses datagrams as `bad` says.
    #[cfg(test)]
    pub(super) fn suffer(&self, bad: &super::config::BadNetwork) {
        const FEW: u32 = 100;
        let (one_in, most, cut) = (bad.one_in, Arc::clone(&bad.most), Arc::clone(&bad.cut));
        let (carriers, largest) = (Arc::clone(&bad.carriers), Arc::clone(&bad.largest));
        let (mut state, mut full) = (bad.seed.wrapping_mul(2_654_435_761).wrapping_add(1), 0);
        *self.lose.lock().unwrap() = Some(Box::new(move |datagram| {
            largest.fetch_max(datagram.len(), Ordering::Relaxed);
            full += u32::from(datagram.len() > 1000);
            if full == FEW && datagram.len() > 1000 {
                carriers.fetch_add(1, Ordering::Relaxed);
            }
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let most = most.load(Ordering::Relaxed);
            cut.load(Ordering::Relaxed)
                || most > 0 && datagram.len() > most
                || one_in > 0 && (state >> 8).is_multiple_of(one_in)
        }));
    }

    pub(super) fn clock(&self) -> &Arc<ProtocolClock> {
        &self.clock
    }

    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(super) fn undeclared(&self) -> &Undeclared {
        &self.undeclared
    }

    pub(super) fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    pub(super) fn round_trips(&self) -> &Arc<RoundTrips> {
        &self.round_trips
    }

    pub(super) fn servers(&self) -> &ServerWatch {
        &self.servers
    }

    pub(super) fn departures(&self) -> &Arc<Departures> {
        &self.departures
    }

    fn stream_traffic(&self) -> StreamTraffic {
        StreamTraffic {
            arrivals: Arc::clone(&self.arrivals),
            departures: Arc::clone(&self.departures),
            undeclared: Arc::clone(&self.undeclared),
        }
    }
}

/// The receive window, in bytes, that a socket of this machine can hold without dropping: at most 4 MiB.
pub(crate) fn sctp_receive_window() -> u32 {
    const LEAST: u32 = 128 << 10;
    const MOST: u32 = 4 << 20;
    static WINDOW: LazyLock<u32> = LazyLock::new(|| {
        let granted = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).ok().and_then(|socket| {
            enlarge(&socket);
            socket2::SockRef::from(&socket).recv_buffer_size().ok()
        });
        let held = granted.unwrap_or(0) / 10 * 6;
        u32::try_from(held).unwrap_or(MOST).clamp(LEAST, MOST)
    });
    *WINDOW
}

/// How many datagrams with such packets of SCTP in them the kernel takes at once. The library sends fewer than 16 one by one,
/// unless no more go together; together, large ones cost a tenth less.
fn datagrams_at_once(sctp_mtu: u32) -> usize {
    const MOST: usize = 65_535;
    const DTLS: usize = 37;
    (MOST / (sctp_mtu as usize + DTLS)).max(1)
}

fn enlarge(socket: &std::net::UdpSocket) {
    let socket = socket2::SockRef::from(socket);
    for (what, result) in
        [("receive", socket.set_recv_buffer_size(SOCKET_BUFFER)), ("send", socket.set_send_buffer_size(SOCKET_BUFFER))]
    {
        if let Err(error) = result {
            tracing::debug!("cannot enlarge the {what} buffer of a socket: {error}");
        }
    }
}

impl Runtime for SessionRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn JoinHandle> {
        self.tokio.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        enlarge(&socket);
        let socket = self.tokio.wrap_udp_socket(socket)?;
        let socket = match &self.network {
            Some(network) => network.wrap(socket),
            None => socket,
        };
        let wire = Wire {
            socket,
            departures: Arc::clone(&self.departures),
            #[cfg(test)]
            lose: Arc::clone(&self.lose),
        };
        Ok(Arc::new(SessionSocket {
            wire: Arc::new(wire),
            arrivals: Arc::clone(&self.arrivals),
            round_trips: Arc::clone(&self.round_trips),
            flights: Arc::clone(&self.flights),
            undeclared: Arc::clone(&self.undeclared),
            servers: Arc::clone(&self.servers),
            gate: Arc::clone(&self.gate),
            most_at_once: self.most_at_once,
            early: Mutex::default(),
        }))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        let inner = self.tokio.wrap_tcp_listener(listener)?;
        Ok(Arc::new(SessionListener { inner, traffic: self.stream_traffic() }))
    }

    fn connect_tcp<'a>(&'a self, remote_addr: SocketAddr) -> BoxFuture<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        let (connecting, traffic) = (self.tokio.connect_tcp(remote_addr), self.stream_traffic());
        Box::pin(async move { Ok(traffic.watch(connecting.await?)) })
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let door = self.doors().iter().find_map(|doors| doors.addresses(host).map(<[_]>::to_vec));
        if let Some(addresses) = door.map(Ok) {
            self.servers.resolved(host, &addresses);
            return Box::pin(std::future::ready(addresses));
        }
        let (resolving, family) = (self.tokio.resolve_host(host), self.family);
        Box::pin(async move {
            let addresses = resolving.await.and_then(|found| {
                let admitted: Vec<_> = found.into_iter().filter(|address| family.admits(&address.ip())).collect();
                if admitted.is_empty() {
                    Err(io::Error::other("it has no address of this family"))
                } else {
                    Ok(admitted)
                }
            });
            self.servers.resolved(host, &addresses);
            addresses
        })
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.tokio.sleep(self.clock.real_duration(duration))
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(self.clock.real_duration(period).max(Duration::from_micros(1)))
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }

    fn yield_now(&self) -> BoxFuture<'static, ()> {
        self.tokio.yield_now()
    }

    fn name(&self) -> &'static str {
        "rtckit"
    }
}

/// A socket, and what is known of everything that leaves by it.
pub(super) struct Wire {
    socket: Arc<dyn AsyncUdpSocket>,
    departures: Arc<Departures>,
    #[cfg(test)]
    lose: Arc<Mutex<Option<Lose>>>,
}

impl Wire {
    pub(super) fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        #[cfg(test)]
        if self.lose.lock().unwrap().as_mut().is_some_and(|lose| lose(transmit.contents)) {
            return Poll::Ready(Ok(transmit.contents.len()));
        }
        let sent = self.socket.poll_send(cx, transmit);
        if matches!(sent, Poll::Ready(Ok(_))) {
            self.departures.note(transmit.contents, transmit.segment_size);
        }
        sent
    }
}

struct SessionSocket {
    wire: Arc<Wire>,
    arrivals: Arc<Arrivals>,
    round_trips: Arc<RoundTrips>,
    flights: Arc<Flights>,
    undeclared: Arc<Undeclared>,
    servers: Arc<ServerWatch>,
    gate: Arc<Gate>,
    most_at_once: usize,
    early: Mutex<VecDeque<(Vec<u8>, RecvMeta)>>,
}

impl std::fmt::Debug for SessionSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionSocket").field("socket", &self.wire.socket).finish_non_exhaustive()
    }
}

impl SessionSocket {
    /// A first flight of a handshake and a key frame; more than this is nobody's beginning.
    const MOST_EARLY: usize = 64;

    fn keep(&self, datagram: &[u8], meta: RecvMeta) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        if early.len() < Self::MOST_EARLY {
            early.push_back((datagram.to_vec(), meta));
        }
    }

    fn has_ripe(&self) -> bool {
        let early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        early.iter().any(|(datagram, _)| self.gate.passes(datagram))
    }

    /// The first of what was kept whose time has come.
    fn kept(&self) -> Option<(Vec<u8>, RecvMeta)> {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let index = early.iter().position(|(datagram, _)| self.gate.passes(datagram))?;
        early.remove(index)
    }
}

impl AsyncUdpSocket for SessionSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.wire.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.flights.sent(&self.wire, transmit);
        let sent = self.wire.poll_send(cx, transmit);
        if matches!(sent, Poll::Ready(Ok(_))) {
            self.servers.note_sent(transmit.contents);
            self.round_trips.sent(transmit.contents);
            if Kind::of(transmit.contents) == Some(Kind::Alert) {
                // The last word of a connection, which nobody repeats when it is lost.
                for _ in 1..ALERTS {
                    let _ = self.wire.poll_send(cx, transmit);
                }
            }
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some((datagram, kept)) = self.kept() {
                bufs[0][..datagram.len()].copy_from_slice(&datagram);
                meta[0] = kept;
                return Poll::Ready(Ok(1));
            }
            match self.wire.socket.poll_recv(cx, bufs, meta) {
                Poll::Ready(Ok(count)) => {
                    for (datagram, meta) in bufs.iter().zip(&*meta).take(count) {
                        self.arrivals.note(&datagram[..meta.len], meta.addr);
                        self.servers.note_received(&datagram[..meta.len], meta.addr);
                        self.round_trips.received(&datagram[..meta.len]);
                        self.flights.received(&datagram[..meta.len]);
                        self.undeclared.note(&datagram[..meta.len]);
                    }
                    let first = &bufs[0][..meta[0].len];
                    if count == 1 && !self.gate.passes(first) {
                        self.keep(first, meta[0]);
                        continue;
                    }
                    return Poll::Ready(Ok(count));
                }
                Poll::Pending if self.gate.is_open() => return Poll::Pending,
                Poll::Pending => {
                    self.gate.wait(cx.waker());
                    // The stage may have been reached meanwhile, with nobody to wake.
                    if !self.has_ripe() {
                        return Poll::Pending;
                    }
                }
                error => return error,
            }
        }
    }

    fn max_gso_segments(&self) -> usize {
        // What is lost is lost by the datagram.
        #[cfg(test)]
        if self.wire.lose.lock().unwrap().is_some() {
            return 1;
        }
        self.wire.socket.max_gso_segments().min(self.most_at_once)
    }

    fn max_gro_segments(&self) -> usize {
        self.wire.socket.max_gro_segments()
    }
}
