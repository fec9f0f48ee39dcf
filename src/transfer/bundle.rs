//! Several connections side by side as one channel.
//!
//! Control goes by the first connection, and so does the signaling of the others. Content goes by whichever has room, and
//! is put in order again by its sequence numbers. How many are used is decided by [`growth`](super::growth), at the sending
//! end; a connection that is not used stays up and idle until the end.

use super::channel::{Connection, Connector, Frame, Line, MessageChannel, Side};
use super::error::TransferError;
use super::growth::{Growth, Seen};
use super::wire::{Control, SEQUENCE};
use crate::error::{Error, ErrorKind};
use bytes::{Buf, Bytes};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Further connections that are made at most.
const MOST_FURTHER: u32 = 31;
/// Content that may wait to be put in order: twice what a sender may have under way.
const MOST_UNORDERED: usize = 32 << 20;
/// The least interval in which the path is looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long content may take through the queue of one connection.
const QUEUE: f64 = 0.25;
/// Bytes that may be in it before its pace is known, and at least.
const FIRST_QUEUE: usize = 256 << 10;
const LEAST_QUEUE: usize = 96 << 10;
pub(super) const MOST_QUEUE: usize = 1 << 20;
/// How often to look whether a connection has room.
const ROOM_EVERY: Duration = Duration::from_millis(1);
/// How long a further connection may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
/// From this round trip on a window matters.
const FAR: Duration = Duration::from_millis(8);

/// The number of a further connection, and a message of its signaling.
type Signal = (u32, Value);

/// A connection that content goes by.
struct Lane {
    connection: Box<dyn Connection>,
    sent: AtomicU64,
    /// Bytes that may be outstanding.
    queue: AtomicUsize,
    acknowledged: AtomicU64,
}

impl Lane {
    fn new(connection: Box<dyn Connection>) -> Self {
        Self {
            connection,
            sent: AtomicU64::new(0),
            queue: AtomicUsize::new(FIRST_QUEUE),
            acknowledged: AtomicU64::new(0),
        }
    }

    async fn room(&self) {
        loop {
            let queue = self.queue.load(Ordering::Relaxed);
            // Beyond that the connection itself waits, and where it is closed sending says so.
            if queue >= MOST_QUEUE || self.connection.outstanding().await.is_none_or(|bytes| bytes < queue) {
                return;
            }
            tokio::time::sleep(ROOM_EVERY).await;
        }
    }

    async fn send(&self, message: Bytes) -> Result<(), Error> {
        self.sent.fetch_add(message.len() as u64, Ordering::Relaxed);
        self.connection.send(Frame::Binary(message)).await
    }

    /// Whether the peer may lack something of what was sent.
    async fn owes(&self) -> bool {
        match self.connection.outstanding().await {
            Some(outstanding) => outstanding > 0,
            None => self.sent.load(Ordering::Relaxed) > self.acknowledged.load(Ordering::Relaxed),
        }
    }

    /// Bytes acknowledged since the last time, by which the queue is measured.
    async fn measure(&self, seconds: f64) -> u64 {
        let Some(outstanding) = self.connection.outstanding().await else { return 0 };
        let acknowledged = self.sent.load(Ordering::Relaxed).saturating_sub(outstanding as u64);
        let before = self.acknowledged.swap(acknowledged, Ordering::Relaxed);
        let gained = acknowledged.saturating_sub(before);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is neither negative nor huge"
        )]
        let fits = (gained as f64 / seconds.max(1e-3) * QUEUE) as usize;
        if gained > 0 {
            self.queue.store(fits.clamp(LEAST_QUEUE, MOST_QUEUE), Ordering::Relaxed);
        }
        gained
    }
}

/// What becomes of the tasks of a bundle.
enum Event {
    /// A further connection came up, or did not.
    Connected(u32, Result<Box<dyn Connection>, Error>),
    /// A connection is of no more use.
    Ended(usize, TransferError),
}

/// One channel made of several.
pub struct Bundle {
    first: Arc<Lane>,
    further: Mutex<Vec<Arc<Lane>>>,
    connector: Option<Arc<dyn Connector>>,
    /// How many connections content is spread over.
    used: watch::Sender<usize>,
    most_used: AtomicUsize,
    /// How many further connections the peer serves; known at the sending end alone.
    allowed: AtomicU32,
    /// Content for whichever connection has room.
    content: mpsc::Sender<Bytes>,
    waiting: Arc<AsyncMutex<mpsc::Receiver<Bytes>>>,
    /// Whether content goes by way of that queue: once it did, always, so that none overtakes what is in it.
    queued: AtomicBool,
    waited_micros: AtomicU64,
    signals: (mpsc::Sender<Signal>, AsyncMutex<mpsc::Receiver<Signal>>),
    arrived: mpsc::Sender<Bytes>,
    inbox: AsyncMutex<Inbox>,
}

/// Content as it comes, put in order.
struct Inbox {
    arriving: mpsc::Receiver<Bytes>,
    early: BTreeMap<u64, Bytes>,
    early_bytes: usize,
    next: u64,
    /// Whether it may come by several connections.
    spread: bool,
}

impl Inbox {
    /// What is next, if it is there.
    fn next(&mut self) -> Option<Bytes> {
        let entry = self.early.first_entry()?;
        // Out of order for good: whoever writes it finds out, and says so.
        if *entry.key() != self.next && self.early_bytes <= MOST_UNORDERED {
            return None;
        }
        let message = entry.remove();
        self.early_bytes -= message.len();
        self.next += 1;
        Some(message)
    }

    /// Takes a message; gives it back where it cannot wait.
    fn take(&mut self, message: Bytes) -> Option<Bytes> {
        let Some(sequence) = message.get(..SEQUENCE).map(|mut bytes| bytes.get_u64()) else { return Some(message) };
        if !self.spread || sequence <= self.next {
            // One that came before is not ours to judge.
            self.next = self.next.max(sequence.saturating_add(1));
            return Some(message);
        }
        self.early_bytes += message.len();
        self.early.insert(sequence, message).inspect(|double| self.early_bytes -= double.len())
    }
}

impl Bundle {
    /// A bundle of one connection, to which `connector` may add.
    pub fn new(first: Box<dyn Connection>, connector: Option<Arc<dyn Connector>>) -> Self {
        let (content, waiting) = mpsc::channel(1);
        let (signal, signals) = mpsc::channel(256);
        let (arrived, arriving) = mpsc::channel(4);
        Self {
            first: Arc::new(Lane::new(first)),
            further: Mutex::default(),
            connector,
            used: watch::Sender::new(1),
            most_used: AtomicUsize::new(1),
            allowed: AtomicU32::new(0),
            content,
            waiting: Arc::new(AsyncMutex::new(waiting)),
            queued: AtomicBool::new(false),
            waited_micros: AtomicU64::new(0),
            signals: (signal, AsyncMutex::new(signals)),
            arrived,
            inbox: AsyncMutex::new(Inbox { arriving, early: BTreeMap::new(), early_bytes: 0, next: 0, spread: false }),
        }
    }

    /// How many connections content was spread over at most.
    pub fn connections(&self) -> usize {
        self.most_used.load(Ordering::Relaxed)
    }

    fn lanes(&self) -> Vec<Arc<Lane>> {
        let further = self.further.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&self.first).chain(further.iter()).cloned().collect()
    }

    /// Makes and watches the further connections, while a transfer goes over the bundle. Returns when content is lost.
    pub async fn run(&self) -> TransferError {
        let mut running = Running {
            bundle: self,
            tasks: JoinSet::new(),
            lines: HashMap::new(),
            saying: mpsc::channel(64),
            growth: None,
            looked: Instant::now(),
            left: 0,
        };
        running.run().await
    }

    /// Hangs up the further connections.
    pub async fn close(&self) {
        let further = std::mem::take(&mut *self.further.lock().unwrap_or_else(PoisonError::into_inner));
        let mut closing = JoinSet::new();
        further.into_iter().for_each(|lane| drop(closing.spawn(async move { lane.connection.close().await })));
        closing.join_all().await;
    }
}

#[async_trait::async_trait]
impl MessageChannel for Bundle {
    async fn send(&self, frame: Frame) -> Result<(), Error> {
        let Frame::Binary(message) = frame else { return self.first.connection.send(frame).await };
        let began = Instant::now();
        let sent = if self.queued.load(Ordering::Relaxed) {
            let gone = |_| Error::new(ErrorKind::Internal, "OperationError", "nothing sends any more");
            self.content.send(message).await.map_err(gone)
        } else {
            if self.allowed.load(Ordering::Relaxed) > 0 {
                self.first.room().await;
            }
            self.first.send(message).await
        };
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_micros.fetch_add(micros, Ordering::Relaxed);
        sent
    }

    async fn receive(&self) -> Option<Frame> {
        let mut inbox = self.inbox.lock().await;
        loop {
            if let Some(message) = inbox.next() {
                return Some(Frame::Binary(message));
            }
            let message = tokio::select! {
                frame = self.first.connection.receive() => match frame? {
                    Frame::Binary(message) => message,
                    Frame::Text(text) => match signal(&text) {
                        Some(signal) => {
                            inbox.spread |= self.connector.is_some();
                            // A peer that says more than anybody needs is not listened to.
                            let _ = self.signals.0.try_send(signal);
                            continue;
                        }
                        None => return Some(Frame::Text(text)),
                    }
                },
                Some(message) = inbox.arriving.recv() => message,
            };
            if let Some(message) = inbox.take(message) {
                return Some(Frame::Binary(message));
            }
        }
    }

    fn max_message_size(&self) -> usize {
        self.first.connection.max_message_size()
    }

    async fn flushed(&self) {
        self.first.connection.flushed().await;
    }

    fn further(&self) -> u32 {
        if self.connector.is_some() { MOST_FURTHER } else { 0 }
    }

    fn spread(&self, most: u32) {
        self.allowed.store(most.min(self.further()), Ordering::Relaxed);
    }
}

/// What a control message says of a further connection.
fn signal(text: &str) -> Option<Signal> {
    // Most control messages are others, and each is read again by whoever it is for.
    if !text.contains("\"signal\"") {
        return None;
    }
    match Control::from_text(text) {
        Ok(Control::Signal { connection, message }) => Some((connection, message)),
        _ => None,
    }
}

/// A bundle at work.
struct Running<'a> {
    bundle: &'a Bundle,
    tasks: JoinSet<Event>,
    /// Of connections that are being made, or were.
    lines: HashMap<u32, mpsc::Sender<Value>>,
    saying: (mpsc::Sender<Signal>, mpsc::Receiver<Signal>),
    growth: Option<Growth>,
    looked: Instant,
    left: u64,
}

impl Running<'_> {
    async fn run(&mut self) -> TransferError {
        let mut signals = self.bundle.signals.1.lock().await;
        loop {
            let look = self.looked + self.interval();
            tokio::select! {
                Some((connection, message)) = signals.recv() => self.heard(connection, message),
                Some((connection, message)) = self.saying.1.recv() => {
                    let message = Control::Signal { connection, message };
                    if let Err(error) = self.bundle.first.connection.send(Frame::Text(message.to_text())).await {
                        return TransferError::Channel(error);
                    }
                }
                Some(done) = self.tasks.join_next() => match done {
                    Ok(event) => if let Some(error) = self.took_place(event).await {
                        return error;
                    },
                    Err(_) => return TransferError::Internal("a task of a further connection panicked"),
                },
                () = tokio::time::sleep_until(look) => self.look().await,
            }
        }
    }

    fn is_sender(&self) -> bool {
        self.bundle.allowed.load(Ordering::Relaxed) > 0
    }

    fn interval(&self) -> Duration {
        INTERVAL.max(self.bundle.first.connection.round_trip().unwrap_or_default() * 4)
    }

    fn heard(&mut self, connection: u32, message: Value) {
        if !self.lines.contains_key(&connection) {
            if self.is_sender() || connection == 0 || connection > MOST_FURTHER {
                return;
            }
            self.connect(connection, Side::Answers);
        }
        if let Some(line) = self.lines.get(&connection) {
            // One that is up, or given up, listens no more.
            let _ = line.try_send(message);
        }
    }

    fn connect(&mut self, connection: u32, side: Side) {
        let Some(connector) = self.bundle.connector.clone() else { return };
        let (line, incoming) = mpsc::channel(256);
        let (outgoing, mut said) = mpsc::channel(16);
        self.lines.insert(connection, line);
        let saying = self.saying.0.clone();
        self.tasks.spawn(async move {
            let pass_on = async {
                while let Some(message) = said.recv().await {
                    if saying.send((connection, message)).await.is_err() {
                        break;
                    }
                }
                std::future::pending::<()>().await;
            };
            let connecting = tokio::time::timeout(PATIENCE, connector.connect(side, Line { incoming, outgoing }));
            let connected = tokio::select! {
                connected = connecting => connected,
                () = pass_on => unreachable!("it never ends"),
            };
            let late = |_| Err(Error::new(ErrorKind::Timeout, "TimeoutError", "it does not come up"));
            Event::Connected(connection, connected.unwrap_or_else(late))
        });
    }

    async fn took_place(&mut self, event: Event) -> Option<TransferError> {
        match event {
            Event::Connected(connection, Ok(made)) => {
                tracing::debug!("further connection {connection} is up");
                let lane = Arc::new(Lane::new(made));
                let index = {
                    let mut further = self.bundle.further.lock().unwrap_or_else(PoisonError::into_inner);
                    further.push(Arc::clone(&lane));
                    further.len()
                };
                self.serve(index, lane);
                None
            }
            Event::Connected(connection, Err(error)) => {
                tracing::debug!("further connection {connection}: {error}");
                let up = self.bundle.lanes().len();
                if let Some(growth) = &mut self.growth {
                    growth.limit(up);
                }
                None
            }
            Event::Ended(index, error) => {
                tracing::debug!("further connection {index} ended: {error}");
                // Without content under way nothing is lost with it, and at the receiving end nobody knows of any.
                let lanes = self.bundle.lanes();
                let owes = match lanes.get(index) {
                    Some(lane) if self.is_sender() => lane.owes().await,
                    _ => false,
                };
                owes.then_some(error)
            }
        }
    }

    /// Sends by a connection, or takes what comes by it.
    fn serve(&mut self, index: usize, lane: Arc<Lane>) {
        let sends = self.is_sender();
        let (used, waiting) = (self.bundle.used.subscribe(), Arc::clone(&self.bundle.waiting));
        let arrived = self.bundle.arrived.clone();
        self.tasks.spawn(async move {
            let work = async {
                if sends {
                    return pull(index, &lane, used, &waiting).await;
                }
                while let Some(frame) = lane.connection.receive().await {
                    if let Frame::Binary(message) = frame
                        && arrived.send(message).await.is_err()
                    {
                        break;
                    }
                }
                TransferError::Closed
            };
            let error = tokio::select! {
                error = work => error,
                error = lane.connection.lost(), if index > 0 => error,
            };
            Event::Ended(index, error)
        });
    }

    /// Looks at the path, and has more connections or fewer.
    async fn look(&mut self) {
        let seconds = self.looked.elapsed().as_secs_f64();
        self.looked = Instant::now();
        let allowed = self.bundle.allowed.load(Ordering::Relaxed);
        if allowed == 0 {
            return;
        }
        let lanes = self.bundle.lanes();
        let (mut acknowledged, mut left) = (0, 0);
        for lane in &lanes {
            acknowledged += lane.measure(seconds).await;
            left += lane.connection.bytes_sent();
        }
        let waited = Duration::from_micros(self.bundle.waited_micros.swap(0, Ordering::Relaxed));
        let seen = Seen {
            acknowledged,
            left: left - std::mem::replace(&mut self.left, left),
            seconds,
            waited: waited.as_secs_f64() > seconds / 2.0,
            far: self.bundle.first.connection.round_trip().is_some_and(|trip| trip >= FAR),
        };
        let growth = self.growth.get_or_insert_with(|| Growth::new(allowed as usize + 1));
        let wanted = growth.after(seen, lanes.len());
        tracing::trace!("{seen:?}: {wanted} connections wanted, {} are up", lanes.len());
        if wanted > 1 && self.lines.is_empty() {
            // From now on the first connection takes its turn with the others.
            self.serve(0, Arc::clone(&self.bundle.first));
            self.bundle.queued.store(true, Ordering::Relaxed);
        }
        let made = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        for connection in made + 1..u32::try_from(wanted).unwrap_or(u32::MAX) {
            self.connect(connection, Side::Offers);
        }
        self.bundle.used.send_replace(wanted);
        self.bundle.most_used.fetch_max(wanted.min(lanes.len()), Ordering::Relaxed);
    }
}

/// Sends what waits by `lane` as it has room, as long as it is among those that are used.
async fn pull(
    index: usize,
    lane: &Lane,
    mut used: watch::Receiver<usize>,
    waiting: &AsyncMutex<mpsc::Receiver<Bytes>>,
) -> TransferError {
    loop {
        if used.wait_for(|used| index < *used).await.is_err() {
            return TransferError::Closed;
        }
        lane.room().await;
        let message = tokio::select! {
            message = async { waiting.lock().await.recv().await } => message,
            _ = used.wait_for(|used| index >= *used) => continue,
        };
        let Some(message) = message else { return TransferError::Closed };
        if let Err(error) = lane.send(message).await {
            return TransferError::Channel(error);
        }
    }
}
