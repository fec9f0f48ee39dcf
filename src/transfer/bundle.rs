//! Several connections side by side as one channel.
//!
//! Content goes by whichever connection has room, and is put in order again by its sequence numbers. Control goes by the first
//! one, and by another when that is lost and the peer hears it there; so does the signaling of further connections. Which are
//! made and used is decided by [`spread`](super::spread).

use super::channel::{Connection, Connector, Frame, MessageChannel};
use super::error::TransferError;
use super::keeper::{Content, Keeper, Origin, sequence};
use super::lane::Lane;
use super::spread;
use super::wire::{Control, content_of};
use crate::error::{Error, ErrorKind};
use bytes::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Further connections that are up together at most.
pub(super) const MOST_FURTHER: u32 = 31;
/// Messages that one connection may take without others in between, so that they leave together.
const AT_ONCE: usize = 4;
/// Content that may wait to be put in order: twice what a sender may have under way.
const MOST_UNORDERED: usize = 32 << 20;
/// How long to wait for another connection for control once the one it went by has closed.
const MOVES_WITHIN: Duration = Duration::from_secs(10);

/// What is heard of the connections themselves.
pub(super) enum Heard {
    /// The number of a further connection, and a message of its signaling.
    Signal(u32, Value),
    /// The peer says that the connection `from` is of no more use, by the one that is to take its place.
    Moved { from: u32, by: u32 },
    /// So many bytes of content are known to be sent from now on.
    Begins { content: u64 },
}

/// Connections by their numbers; the first is 0.
pub(super) type Lanes = BTreeMap<u32, Arc<Lane>>;

/// One channel made of several.
pub struct Bundle {
    first: Arc<Lane>,
    /// Those that are up.
    lanes: Mutex<Lanes>,
    pub(super) connector: Option<Arc<dyn Connector>>,
    /// Which of them content is spread over.
    pub(super) used: watch::Sender<BTreeSet<u32>>,
    pub(super) most_used: AtomicUsize,
    /// By which control goes.
    pub(super) control: watch::Sender<u32>,
    moves: AsyncMutex<watch::Receiver<u32>>,
    /// How many further connections are up.
    pub(super) others: watch::Sender<usize>,
    /// The first one will not come back.
    pub(super) over: watch::Sender<bool>,
    /// Whether the peer hears control by any of them.
    roams: AtomicBool,
    /// How many further connections the peer serves; known at the sending end alone.
    pub(super) allowed: AtomicU32,
    /// Content for whichever connection has room.
    content: mpsc::Sender<Content>,
    pub(super) waiting: Arc<AsyncMutex<mpsc::Receiver<Content>>>,
    pub(super) keeper: Arc<Keeper>,
    /// Bytes of files that were sent.
    pub(super) through: AtomicU64,
    /// Whether content goes by way of that queue: once it did, always, so that none overtakes what is in it.
    pub(super) queued: AtomicBool,
    waited: Mutex<Waited>,
    heard: mpsc::Sender<Heard>,
    pub(super) tidings: AsyncMutex<mpsc::Receiver<Heard>>,
    pub(super) arrived: mpsc::Sender<(u32, Frame)>,
    inbox: AsyncMutex<Inbox>,
}

/// How long content waited for a connection with room.
#[derive(Default)]
struct Waited {
    all: Duration,
    /// From when on it still does.
    since: Option<Instant>,
}

impl Waited {
    /// Counts what it waited until now, and from now on if it `waits`.
    fn go_on(&mut self, waits: bool) {
        self.all += self.since.map(|since| since.elapsed()).unwrap_or_default();
        self.since = waits.then(Instant::now);
    }
}

/// Content as it comes, put in order.
struct Inbox {
    arriving: mpsc::Receiver<(u32, Frame)>,
    early: BTreeMap<u64, Bytes>,
    early_bytes: usize,
    next: u64,
    /// Whether it may come by several connections.
    spread: bool,
    /// Whether nothing comes by the first connection any more.
    first_closed: bool,
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
        let (content, waiting) = mpsc::channel(AT_ONCE);
        let (heard, tidings) = mpsc::channel(256);
        let (arrived, arriving) = mpsc::channel(4);
        let (control, moves) = watch::channel(0);
        let first = Arc::new(Lane::new(first, false));
        let inbox =
            Inbox { arriving, early: BTreeMap::new(), early_bytes: 0, next: 0, spread: false, first_closed: false };
        Self {
            lanes: Mutex::new(Lanes::from([(0, Arc::clone(&first))])),
            first,
            connector,
            used: watch::Sender::new(BTreeSet::from([0])),
            most_used: AtomicUsize::new(1),
            control,
            moves: AsyncMutex::new(moves),
            others: watch::Sender::new(0),
            over: watch::Sender::new(false),
            roams: AtomicBool::new(false),
            allowed: AtomicU32::new(0),
            content,
            waiting: Arc::new(AsyncMutex::new(waiting)),
            keeper: Arc::default(),
            through: AtomicU64::new(0),
            queued: AtomicBool::new(false),
            waited: Mutex::default(),
            heard,
            tidings: AsyncMutex::new(tidings),
            arrived,
            inbox: AsyncMutex::new(inbox),
        }
    }

    /// How many connections content was spread over at most.
    pub fn connections(&self) -> usize {
        self.most_used.load(Ordering::Relaxed)
    }

    /// What the receiver has taken need not be kept.
    fn hear_progress(&self, text: &str) {
        if (self.queued.load(Ordering::Relaxed) || self.roams())
            && text.contains("\"progress\"")
            && let Ok(Control::Progress { bytes }) = Control::from_text(text)
        {
            self.keeper.taken(bytes);
        }
    }

    /// Content begins to wait for a connection, or waits no more.
    fn wait(&self, begins: bool) {
        self.waited.lock().unwrap_or_else(PoisonError::into_inner).go_on(begins);
    }

    /// How long content has waited since this was asked the last time.
    pub(super) fn waited(&self) -> Duration {
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = waited.since.is_some();
        waited.go_on(waits);
        std::mem::take(&mut waited.all)
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections that are up.
    pub(super) fn lanes(&self) -> Lanes {
        self.lock().clone()
    }

    pub(super) fn lane(&self, number: u32) -> Option<Arc<Lane>> {
        self.lock().get(&number).cloned()
    }

    /// A connection is up.
    pub(super) fn raise(&self, number: u32, lane: Arc<Lane>) {
        self.change(|lanes| drop(lanes.insert(number, lane)));
    }

    /// It is no more; it is given.
    pub(super) fn bury(&self, number: u32) -> Option<Arc<Lane>> {
        self.change(|lanes| lanes.remove(&number))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Lanes) -> T) -> T {
        let mut lanes = self.lock();
        let changed = change(&mut lanes);
        self.others.send_replace(lanes.range(1..).count());
        changed
    }

    /// The first connection, whether it is up or not.
    pub(super) fn first(&self) -> &Arc<Lane> {
        &self.first
    }

    /// Whether the peer hears control by any connection.
    pub(super) fn roams(&self) -> bool {
        self.roams.load(Ordering::Relaxed)
    }

    /// Whether it goes on without the connection of this number: by another, or by the first, which may come back.
    fn outlives(&self, number: u32) -> bool {
        let first_returns = number > 0 && !*self.over.borrow();
        self.roams() && (first_returns || self.lock().keys().any(|other| *other != number))
    }

    /// The first connection is over. Waits while it goes on by others.
    pub async fn outlive_first(&self) {
        self.over.send_replace(true);
        self.alone().await;
    }

    /// Waits until nothing can take the place of the first connection.
    async fn alone(&self) {
        if self.roams() {
            // The sender is ours.
            let _ = self.others.subscribe().wait_for(|others| *others == 0).await;
        }
    }

    /// Makes and watches the further connections, while a transfer goes over the bundle. Returns when content is lost.
    pub async fn run(&self) -> TransferError {
        spread::run(self).await
    }

    /// Hangs up the further connections.
    pub async fn close(&self) {
        let further = self.change(|lanes| lanes.split_off(&1));
        let mut closing = JoinSet::new();
        further.into_values().for_each(|lane| drop(closing.spawn(async move { lane.connection.close().await })));
        closing.join_all().await;
    }

    /// Says something by the connection that control goes by, wherever that moves meanwhile.
    async fn say(&self, frame: Frame) -> Result<(), Error> {
        let mut control = self.control.subscribe();
        loop {
            let number = *control.borrow_and_update();
            let lane = self.lane(number).unwrap_or_else(|| Arc::clone(&self.first));
            let said = tokio::select! {
                said = lane.send(frame.clone()) => said,
                Ok(()) = control.changed() => continue,
            };
            match said {
                Err(error) if self.outlives(number) => {
                    if number == 0 {
                        self.over.send_replace(true);
                    }
                    let moved = tokio::time::timeout(MOVES_WITHIN, control.changed()).await;
                    moved.map_err(|_| error)?.unwrap_or_default();
                }
                said => return said,
            }
        }
    }

    async fn carry(&self, message: Bytes, origin: Option<Origin>) -> Result<(), Error> {
        self.wait(true);
        let carried = content_of(&message);
        let through = self.through.fetch_add(carried, Ordering::Relaxed) + carried;
        let content = Content { message, origin, through };
        let sent = if self.queued.load(Ordering::Relaxed) {
            let gone = |_| Error::new(ErrorKind::Internal, "OperationError", "nothing sends any more");
            self.content.send(content).await.map_err(gone)
        } else {
            self.carry_by_first(content).await
        };
        self.wait(false);
        sent
    }

    /// Sends content by the first connection, as long as no others are wanted.
    async fn carry_by_first(&self, content: Content) -> Result<(), Error> {
        if self.roams() && !self.keeper.keep(0, content.again()) {
            return Ok(());
        }
        let sending = async {
            self.first.room().await;
            self.first.send(Frame::Binary(content.message)).await
        };
        // Others may come up meanwhile, and send again what is kept.
        tokio::select! {
            sent = sending => match sent {
                Err(_) if self.outlives(0) => {
                    self.over.send_replace(true);
                    Ok(())
                }
                sent => sent,
            },
            () = self.without_first() => Ok(()),
        }
    }

    /// Waits until the first connection is lost and others have its place.
    async fn without_first(&self) {
        let mut changes = self.others.subscribe();
        while self.lane(0).is_some() {
            // The sender is ours.
            let _ = changes.changed().await;
        }
    }
}

#[async_trait::async_trait]
impl MessageChannel for Bundle {
    async fn send(&self, frame: Frame) -> Result<(), Error> {
        match frame {
            Frame::Binary(message) => self.carry(message, None).await,
            text => self.say(text).await,
        }
    }

    async fn send_content(&self, message: Bytes, origin: Option<Origin>) -> Result<(), Error> {
        self.carry(message, origin).await
    }

    async fn receive(&self) -> Option<Frame> {
        let mut inbox = self.inbox.lock().await;
        loop {
            if let Some(message) = inbox.next() {
                return Some(Frame::Binary(message));
            }
            let (number, frame) = tokio::select! {
                frame = self.first.connection.receive(), if !inbox.first_closed => match frame {
                    Some(frame) => (0, frame),
                    None => {
                        inbox.first_closed = true;
                        self.over.send_replace(true);
                        continue;
                    }
                },
                Some(arrived) = inbox.arriving.recv() => arrived,
                () = self.alone(), if inbox.first_closed => return None,
            };
            let text = match frame {
                Frame::Binary(message) => match inbox.take(message) {
                    Some(message) => return Some(Frame::Binary(message)),
                    None => continue,
                },
                Frame::Text(text) => text,
            };
            match of_connections(&text, number) {
                Some(heard) => {
                    inbox.spread |= self.connector.is_some();
                    // A peer that says more than anybody needs is not listened to.
                    let _ = self.heard.try_send(heard);
                }
                None => {
                    self.hear_progress(&text);
                    return Some(Frame::Text(text));
                }
            }
        }
    }

    fn max_message_size(&self) -> usize {
        self.first.connection.max_message_size()
    }

    async fn flushed(&self) {
        let lane = self.lane(*self.control.borrow()).unwrap_or_else(|| Arc::clone(&self.first));
        lane.connection.flushed().await;
    }

    fn further(&self) -> u32 {
        if self.connector.is_some() { MOST_FURTHER } else { 0 }
    }

    fn spread(&self, most: u32, content: u64) {
        self.allowed.store(most.min(self.further()), Ordering::Relaxed);
        // One that is full has been heard of before.
        let _ = self.heard.try_send(Heard::Begins { content });
    }

    fn roam(&self) {
        self.roams.store(self.connector.is_some(), Ordering::Relaxed);
    }

    async fn moved(&self) {
        // The sender is ours.
        let _ = self.moves.lock().await.changed().await;
    }
}

/// What a control message that came by the connection `by` says of the connections.
fn of_connections(text: &str, by: u32) -> Option<Heard> {
    // Most control messages are others, and each is read again by whoever it is for.
    if !text.contains("\"signal\"") && !text.contains("\"moved\"") {
        return None;
    }
    match Control::from_text(text) {
        Ok(Control::Signal { connection, message }) => Some(Heard::Signal(connection, message)),
        Ok(Control::Moved { from }) => Some(Heard::Moved { from, by }),
        _ => None,
    }
}
