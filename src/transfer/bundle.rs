//! Several connections side by side as one channel.
//!
//! Control goes by the first connection, and so does the signaling of the others. Content goes by whichever has room, and
//! is put in order again by its sequence numbers. How many are used is decided by [`growth`](super::growth), at the sending
//! end; a connection that is not used stays up and idle until the end. What went by a further one that is lost goes again by
//! the others, as far as the receiver has not said that it took it.

use super::channel::{Connection, Connector, Frame, Line, MessageChannel, Side};
use super::error::TransferError;
use super::growth::{Growth, Seen};
use super::lane::{Content, Keeper, Lane, sequence};
use super::wire::{Control, content_of};
use crate::error::{Error, ErrorKind};
use bytes::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
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
/// The least interval in which the path is looked at, and in which the queues are measured.
const INTERVAL: Duration = Duration::from_millis(250);
const SAMPLE: Duration = Duration::from_millis(50);
/// Content after which a connection is worth making for its packets.
const WORTH_ANOTHER: u64 = 8 << 20;
/// How long a further connection may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
/// From this round trip on a window matters.
const FAR: Duration = Duration::from_millis(8);

/// The number of a further connection, and a message of its signaling.
type Signal = (u32, Value);

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
    /// Which connections content is spread over.
    used: watch::Sender<Range<usize>>,
    most_used: AtomicUsize,
    /// How many further connections the peer serves; known at the sending end alone.
    allowed: AtomicU32,
    /// Content for whichever connection has room.
    content: mpsc::Sender<Content>,
    waiting: Arc<AsyncMutex<mpsc::Receiver<Content>>>,
    keeper: Arc<Keeper>,
    /// Bytes of files that were sent.
    through: AtomicU64,
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

    /// Takes a message; gives it back where it cannot wait. One that came before was sent again by another connection.
    fn take(&mut self, message: Bytes) -> Option<Bytes> {
        let Some(sequence) = sequence(&message) else { return Some(message) };
        if !self.spread || sequence == self.next {
            self.next = self.next.max(sequence.saturating_add(1));
            return Some(message);
        }
        if sequence > self.next && !self.early.contains_key(&sequence) {
            self.early_bytes += message.len();
            self.early.insert(sequence, message);
        }
        None
    }
}

impl Bundle {
    /// A bundle of one connection, to which `connector` may add.
    pub fn new(first: Box<dyn Connection>, connector: Option<Arc<dyn Connector>>) -> Self {
        let (content, waiting) = mpsc::channel(1);
        let (signal, signals) = mpsc::channel(256);
        let (arrived, arriving) = mpsc::channel(4);
        Self {
            first: Arc::new(Lane::new(first, false)),
            further: Mutex::default(),
            connector,
            used: watch::Sender::new(0..1),
            most_used: AtomicUsize::new(1),
            allowed: AtomicU32::new(0),
            content,
            waiting: Arc::new(AsyncMutex::new(waiting)),
            keeper: Arc::default(),
            through: AtomicU64::new(0),
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

    /// What the receiver has taken need not be kept.
    fn hear_progress(&self, text: &str) {
        if self.queued.load(Ordering::Relaxed)
            && text.contains("\"progress\"")
            && let Ok(Control::Progress { bytes }) = Control::from_text(text)
        {
            self.keeper.taken(bytes);
        }
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
            watch: Watch::default(),
            looked: Instant::now(),
            sampled: Instant::now(),
            lost: 0,
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
        let carried = content_of(&message);
        let through = self.through.fetch_add(carried, Ordering::Relaxed) + carried;
        let sent = if self.queued.load(Ordering::Relaxed) {
            let gone = |_| Error::new(ErrorKind::Internal, "OperationError", "nothing sends any more");
            self.content.send(Content { message, through }).await.map_err(gone)
        } else {
            self.first.room().await;
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
                        None => {
                            self.hear_progress(&text);
                            return Some(Frame::Text(text));
                        }
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
    watch: Watch,
    looked: Instant,
    sampled: Instant,
    /// Further connections that were lost.
    lost: usize,
}

/// What is seen of the path. All counts are since the beginning.
#[derive(Default)]
struct Watch {
    acknowledged: u64,
    left: u64,
    /// The least excess since the last look of what left over what was acknowledged: what is under way comes and goes, and
    /// what was lost stays.
    excess: Option<i64>,
    /// The same, and the counts, at the last look.
    last: (u64, u64, i64),
}

impl Running<'_> {
    async fn run(&mut self) -> TransferError {
        let mut signals = self.bundle.signals.1.lock().await;
        loop {
            let sample = self.sampled + SAMPLE.max(self.round_trip());
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
                () = tokio::time::sleep_until(sample) => self.sample().await,
            }
        }
    }

    fn is_sender(&self) -> bool {
        self.bundle.allowed.load(Ordering::Relaxed) > 0
    }

    fn round_trip(&self) -> Duration {
        self.bundle.first.connection.round_trip().unwrap_or_default()
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
                let large = self.bundle.connector.as_ref().is_some_and(|connector| connector.within_machine());
                let lane = Arc::new(Lane::new(made, large));
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
                self.lost += 1;
                // Without content under way nothing is lost with it, and at the receiving end nobody knows of any.
                let lanes = self.bundle.lanes();
                let lane = lanes.get(index).filter(|_| self.is_sender())?;
                let goes_on = index > 0 && self.bundle.keeper.lost(index);
                (!goes_on && lane.owes().await).then_some(error)
            }
        }
    }

    /// Sends by a connection, or takes what comes by it.
    fn serve(&mut self, index: usize, lane: Arc<Lane>) {
        let sends = self.is_sender();
        let (used, waiting) = (self.bundle.used.subscribe(), Arc::clone(&self.bundle.waiting));
        let keeper = Arc::clone(&self.bundle.keeper);
        let arrived = self.bundle.arrived.clone();
        self.tasks.spawn(async move {
            let work = async {
                if sends {
                    return pull(index, &lane, used, &waiting, &keeper).await;
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
                () = lane.stalls(), if index > 0 && sends => TransferError::Closed,
            };
            Event::Ended(index, error)
        });
    }

    /// Measures the queues, and now and then looks at the path.
    async fn sample(&mut self) {
        let seconds = self.sampled.elapsed().as_secs_f64();
        self.sampled = Instant::now();
        if self.bundle.through.load(Ordering::Relaxed) == 0 {
            return;
        }
        let far = self.round_trip() >= FAR;
        self.watch.left = 0;
        for lane in self.bundle.lanes() {
            self.watch.acknowledged += lane.measure(seconds, far).await;
            self.watch.left += lane.connection.bytes_sent();
        }
        let excess = Seen::excess(self.watch.left, self.watch.acknowledged);
        self.watch.excess = Some(self.watch.excess.map_or(excess, |least| least.min(excess)));
        if self.is_sender() && self.bundle.connector.as_ref().is_some_and(|connector| connector.within_machine()) {
            self.change_over();
        } else if self.is_sender() && self.looked.elapsed() >= INTERVAL.max(self.round_trip() * 4) {
            self.look(far);
        }
    }

    /// From now on the first connection takes its turn with the others.
    fn begin_queue(&mut self) {
        if !self.bundle.queued.swap(true, Ordering::Relaxed) {
            self.serve(0, Arc::clone(&self.bundle.first));
        }
    }

    /// Within one machine a second connection, with large packets, takes the place of the first.
    fn change_over(&mut self) {
        if self.watch.acknowledged < WORTH_ANOTHER || self.bundle.allowed.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.begin_queue();
        if self.lines.is_empty() {
            self.connect(1, Side::Offers);
        }
        let up = self.bundle.lanes().len() > 1 && self.lost == 0;
        let wanted = if up { 1..2 } else { 0..1 };
        self.bundle.used.send_if_modified(|used| {
            let changes = *used != wanted;
            *used = wanted;
            changes
        });
    }

    /// Looks at the path, and has more connections or fewer.
    fn look(&mut self, far: bool) {
        let seconds = self.looked.elapsed().as_secs_f64();
        self.looked = Instant::now();
        let lanes = self.bundle.lanes();
        let Watch { acknowledged, left, .. } = self.watch;
        let now = (acknowledged, left, self.watch.excess.take().unwrap_or(self.watch.last.2));
        let before = std::mem::replace(&mut self.watch.last, now);
        let waited = Duration::from_micros(self.bundle.waited_micros.swap(0, Ordering::Relaxed));
        let seen = Seen {
            acknowledged: now.0 - before.0,
            left: now.1.saturating_sub(before.1),
            lost: now.2 - before.2,
            seconds,
            waited: waited.as_secs_f64() > seconds / 2.0,
            far,
        };
        let allowed = self.bundle.allowed.load(Ordering::Relaxed);
        let growth = self.growth.get_or_insert_with(|| Growth::new(allowed as usize + 1));
        let wanted = growth.after(seen, lanes.len());
        tracing::trace!("{seen:?}: {wanted} connections wanted, {} are up", lanes.len());
        if wanted > 1 {
            self.begin_queue();
        }
        let made = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        for connection in made + 1..u32::try_from(wanted).unwrap_or(u32::MAX) {
            self.connect(connection, Side::Offers);
        }
        self.bundle.used.send_replace(0..wanted);
        self.bundle.most_used.fetch_max(wanted.min(lanes.len()), Ordering::Relaxed);
    }
}

/// Sends what waits by `lane` as it has room, as long as it is among those that are used.
async fn pull(
    index: usize,
    lane: &Lane,
    mut used: watch::Receiver<Range<usize>>,
    waiting: &AsyncMutex<mpsc::Receiver<Content>>,
    keeper: &Keeper,
) -> TransferError {
    loop {
        if used.wait_for(|used| used.contains(&index)).await.is_err() {
            return TransferError::Closed;
        }
        lane.room().await;
        let content = tokio::select! {
            biased;
            content = keeper.again() => Some(content),
            content = async { waiting.lock().await.recv().await } => content,
            _ = used.wait_for(|used| !used.contains(&index)) => continue,
        };
        let Some(content) = content else { return TransferError::Closed };
        // Without the first connection nothing goes on.
        if index > 0 {
            keeper.keep(index, &content);
        }
        if let Err(error) = lane.send(content.message).await {
            return TransferError::Channel(error);
        }
    }
}
