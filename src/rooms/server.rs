//! The socket that is listened on, and the connections on it.

use super::limits::Limits;
use super::metrics::Totals;
use super::pages::{self, Remote};
use super::protocol;
use super::registry::Registry;
use super::{RedisOptions, RoomsError, Tls};
use crate::ice_server::IceServer;
use crate::progress::{Event, Progress};
use crate::stop::Stop;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};

/// How long a stop waits for its clients.
const GRACE: Duration = Duration::from_secs(5);
/// How often lost members are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// The servers that clients are told of, made anew for each.
pub type IceServers = Arc<dyn Fn() -> Vec<IceServer> + Send + Sync>;

/// What a server is.
#[derive(Clone)]
pub struct Options {
    /// The address, or host name, and port. Port 0 is any that is free.
    pub listen: String,
    /// None: without TLS.
    pub tls: Option<Tls>,
    /// What clients may ask for.
    pub limits: Limits,
    /// Origins of pages that may connect besides our own, `https://HOST[:PORT]`, or `*`.
    pub origins: Vec<String>,
    /// A folder that is served in place of the built-in page.
    pub files: Option<PathBuf>,
    /// See [`IceServers`].
    pub ice_servers: IceServers,
    /// The Redis in which rooms are shared with other servers, if they are.
    pub redis: Option<RedisOptions>,
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    rooms: Registry,
    options: Options,
}

/// What all connections share.
pub(super) struct Shared {
    pub rooms: Registry,
    pub stop: Stop,
    pub progress: Arc<dyn Progress>,
    pub origins: Vec<String>,
    pub files: Option<PathBuf>,
    ice_servers: IceServers,
    /// Everybody who still works holds a clone of what is in here.
    working: Mutex<Option<mpsc::Sender<std::convert::Infallible>>>,
}

impl Shared {
    pub fn ice_servers(&self) -> Vec<serde_json::Value> {
        (self.ice_servers)().iter().map(protocol::ice_server).collect()
    }

    /// Reports that a member is gone for good.
    pub fn gone(&self, room: &str, id: &str, reason: &str) {
        let (room, id, reason) = (room.to_owned(), id.to_owned(), reason.to_owned());
        self.progress.event(Event::Bye { room, id, reason });
    }

    /// Keeps the server from being over.
    pub fn working(&self) -> Option<mpsc::Sender<std::convert::Infallible>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// When the address is none, or somebody else's, or the folder is none, or Redis cannot be reached.
    pub async fn bind(options: Options) -> Result<Self, RoomsError> {
        if let Some(files) = &options.files {
            let found = std::fs::metadata(files).and_then(|facts| match facts.is_dir() {
                true => Ok(()),
                false => Err(std::io::ErrorKind::NotADirectory.into()),
            });
            found.map_err(|source| RoomsError::Read { path: files.clone(), source })?;
        }
        let failed = |source| RoomsError::Listen { address: options.listen.clone(), source };
        let listener = TcpListener::bind(&options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let rooms = Registry::open(options.limits.clone(), options.redis.as_ref()).await?;
        Ok(Self { listener, address, rooms, options })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, and then as long as it takes to say so to all clients.
    pub async fn serve(self, progress: Arc<dyn Progress>, stop: Stop) -> Totals {
        let Options { tls, limits, origins, files, ice_servers, .. } = self.options;
        let (working, mut over) = mpsc::channel(1);
        let most = limits.max_clients.saturating_add(64);
        let shared = Arc::new(Shared {
            rooms: self.rooms,
            stop: stop.clone(),
            progress,
            origins,
            files,
            ice_servers,
            working: Mutex::new(Some(working)),
        });
        let service = TowerToHyperService::new(pages::router(Arc::clone(&shared)));
        let places = Arc::new(tokio::sync::Semaphore::new(most.min(tokio::sync::Semaphore::MAX_PERMITS)));
        let mut sweep = interval(SWEEP);
        let kept = Arc::clone(&shared);
        let keeper = tokio::spawn(async move {
            kept.rooms.keep(kept.stop.clone(), |gone| kept.gone(&gone.room, &gone.id, "lost")).await;
        });
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = sweep.tick() => {
                    for gone in shared.rooms.sweep(Instant::now()) {
                        shared.gone(&gone.room, &gone.id, "lost");
                    }
                    continue;
                }
                () = stop.stopped() => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, mostly: it will not be better at once.
                    tracing::warn!("cannot take a connection: {error}");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let (service, stop, working, tls) = (service.clone(), stop.clone(), shared.working(), tls.clone());
            tokio::spawn(async move {
                connect(stream, address, tls, service, stop).await;
                drop((place, working));
            });
        }
        drop(self.listener);
        shared.working.lock().unwrap_or_else(PoisonError::into_inner).take();
        if timeout(GRACE, over.recv()).await.is_err() {
            tracing::warn!("some clients did not take the close in time");
        }
        shared.rooms.close().await;
        keeper.abort();
        shared.rooms.counters().totals()
    }
}

async fn connect<S>(stream: TcpStream, address: SocketAddr, tls: Option<Tls>, service: S, stop: Stop)
where
    S: Service<hyper::Request<Incoming>, Response = axum::response::Response, Error = std::convert::Infallible>,
    S: Send + 'static,
    S::Future: Send,
{
    // Messages are small, and somebody waits for each.
    let _ = stream.set_nodelay(true);
    match tls {
        None => http(stream, address, service, stop).await,
        Some(tls) => match timeout(Limits::HURRY, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => http(stream, address, service, stop).await,
            Ok(Err(error)) => tracing::debug!("{address}: no TLS: {error}"),
            Err(_) => tracing::debug!("{address}: no TLS in time"),
        },
    }
}

async fn http<I, S>(stream: I, address: SocketAddr, service: S, stop: Stop)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<hyper::Request<Incoming>, Response = axum::response::Response, Error = std::convert::Infallible>,
    S: Send + 'static,
    S::Future: Send,
{
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Remote(address));
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Limits::HURRY)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = stop.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("{address}: {error}");
    }
}
