//! Which connections there are, and what goes by which: decided at the sending end, while a transfer goes over a bundle.
//!
//! How many are used is decided by [`growth`](super::growth); one that is not used stays up and idle until the end. What went by
//! one that is lost goes again by the others, as far as the receiver has not said that it took it. When it is the first, or
//! whichever control goes by, control moves; without any other the first is all there is, for as long as it may come back.

use super::bundle::{Bundle, Heard, MOST_FURTHER};
use super::channel::{Connection, Frame, Line, Side};
use super::error::TransferError;
use super::growth::{FAR, Growth, Seen};
use super::keeper::{Content, Keeper};
use super::lane::Lane;
use super::wire::Control;
use crate::error::{Error, ErrorKind};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The least interval in which the path is looked at, and in which the queues are measured.
const INTERVAL: Duration = Duration::from_millis(100);
const SAMPLE: Duration = Duration::from_millis(20);
/// Content after which a connection is worth making for its packets.
const WORTH_ANOTHER: u64 = 8 << 20;
/// Content for which it is made before any was sent.
const WORTH_ANOTHER_AT_ONCE: u64 = 32 << 20;
/// Content for which, on a long path, as many are made as hold a lot together, where the windows of receivers are small; and from
/// when on they are used: once as much is under way as they begin with, which is no faster than the first alone would go on.
const WORTH_MANY: u64 = 64 << 20;
const SMALL_WINDOW: usize = 1 << 20;
const FIRST_WINDOWS: f64 = (Growth::ENOUGH * 4380) as f64;
/// When so many bytes are outstanding it is the network that holds content up, even where the receiver's window is full as well.
const MUCH_OUTSTANDING: usize = 4 << 20;
/// How long a further connection may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing may get through where there is no other connection, although the path is there.
const HOPELESS: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 60 });

/// What becomes of the tasks of a bundle.
enum Event {
    /// A further connection came up, or did not.
    Connected(u32, Result<Box<dyn Connection>, Error>),
    /// A connection is of no more use.
    Ended(u32, TransferError),
    /// Neither is the first, for good.
    FirstClosed(TransferError),
    /// What must be sent again cannot be had again.
    Unreadable(TransferError),
    /// Nothing gets through by the first.
    Hopeless,
    /// One that is of no more use was hung up.
    Closed,
}

/// Makes and watches the connections of `bundle`. Returns when content is lost.
pub(super) async fn run(bundle: &Bundle) -> TransferError {
    let (saying, mut said) = mpsc::channel::<Control>(64);
    let speaking = async {
        while let Some(message) = said.recv().await {
            if let Err(error) = super::channel::MessageChannel::send(bundle, Frame::Text(message.to_text())).await {
                return TransferError::Channel(error);
            }
        }
        std::future::pending().await
    };
    let mut spreading = Spreading {
        bundle,
        tasks: JoinSet::new(),
        lines: HashMap::new(),
        coming: 0,
        saying,
        growth: None,
        watch: Watch::default(),
        looked: Instant::now(),
        sampled: Instant::now(),
        lost: false,
        prepared: false,
    };
    tokio::select! {
        error = speaking => error,
        error = spreading.run() => error,
    }
}

/// A bundle at work.
struct Spreading<'a> {
    bundle: &'a Bundle,
    tasks: JoinSet<Event>,
    /// Of further connections that are being made, or were.
    lines: HashMap<u32, mpsc::Sender<Value>>,
    /// How many are being made.
    coming: usize,
    saying: mpsc::Sender<Control>,
    growth: Option<Growth>,
    watch: Watch,
    looked: Instant,
    sampled: Instant,
    /// Whether a further connection was lost.
    lost: bool,
    /// Whether as many as are likely to be used were made before that was seen.
    prepared: bool,
}

/// What is seen of the path. All counts are since the beginning.
#[derive(Default)]
struct Watch {
    acknowledged: u64,
    left: u64,
    /// Bytes that the peer has not acknowledged.
    outstanding: usize,
    /// The least excess since the last look of what left over what was acknowledged: what is under way comes and goes, and
    /// what was lost stays.
    excess: Option<i64>,
    /// The same, and the counts, at the last look.
    last: (u64, u64, i64),
}

impl Spreading<'_> {
    async fn run(&mut self) -> TransferError {
        let mut tidings = self.bundle.tidings.lock().await;
        self.watch_first();
        self.watch_first_alone();
        loop {
            let sample = self.sampled + SAMPLE.max(self.round_trip());
            let ends = tokio::select! {
                Some(heard) = tidings.recv() => match heard {
                    Heard::Signal(connection, message) => {
                        self.signal(connection, message);
                        None
                    }
                    Heard::Moved { from, by } => self.follow(from, by).await,
                    Heard::Begins { content } => {
                        let large = self.large();
                        if content >= WORTH_ANOTHER_AT_ONCE && large > 0 {
                            self.change_over(large);
                        } else if content >= WORTH_MANY && self.is_far() && self.window() < SMALL_WINDOW {
                            self.prepared = true;
                            self.add(Growth::ENOUGH - 1);
                        }
                        None
                    }
                },
                Some(done) = self.tasks.join_next() => match done {
                    Ok(event) => self.took_place(event).await,
                    Err(_) => return TransferError::Internal("a task of a connection panicked"),
                },
                () = tokio::time::sleep_until(sample) => {
                    self.sample().await;
                    None
                }
            };
            if let Some(error) = ends {
                return error;
            }
        }
    }

    fn is_sender(&self) -> bool {
        self.bundle.allowed.load(Ordering::Relaxed) > 0
    }

    /// How many further connections with larger packets than the first are best; 0 where they cannot be had.
    fn large(&self) -> u32 {
        let best = self.bundle.connector.as_ref().map_or(0, |connector| connector.within_machine());
        u32::try_from(best).unwrap_or(0).min(self.bundle.allowed.load(Ordering::Relaxed))
    }

    fn round_trip(&self) -> Duration {
        let lane = self.bundle.lane(*self.bundle.control.borrow());
        lane.and_then(|lane| lane.connection.round_trip()).unwrap_or_default()
    }

    fn is_far(&self) -> bool {
        self.round_trip() >= FAR
    }

    /// The window of each connection, by what this end has.
    fn window(&self) -> usize {
        self.bundle.connector.as_ref().map_or(usize::MAX, |connector| connector.receive_window())
    }

    fn signal(&mut self, connection: u32, message: Value) {
        if !self.lines.contains_key(&connection) {
            // Of those that are lost the other end may know first.
            let many = *self.bundle.others.borrow() + self.coming >= 2 * MOST_FURTHER as usize;
            if self.is_sender() || connection == 0 || many || !self.may_be(connection) {
                return;
            }
            self.connect(connection, Side::Answers);
        }
        if let Some(line) = self.lines.get(&connection) {
            // One that is up, or given up, listens no more.
            let _ = line.try_send(message);
        }
    }

    /// Whether a connection may have this number: higher ones take the place of those that are lost.
    fn may_be(&self, connection: u32) -> bool {
        connection <= MOST_FURTHER || self.bundle.roams()
    }

    fn connect(&mut self, connection: u32, side: Side) {
        let Some(connector) = self.bundle.connector.clone() else { return };
        let (line, incoming) = mpsc::channel(256);
        let (outgoing, mut said) = mpsc::channel(16);
        self.lines.insert(connection, line);
        self.coming += 1;
        let saying = self.saying.clone();
        self.tasks.spawn(async move {
            let pass_on = async {
                while let Some(message) = said.recv().await {
                    if saying.send(Control::Signal { connection, message }).await.is_err() {
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
                self.coming -= 1;
                let large = self.bundle.connector.as_ref().is_some_and(|connector| connector.within_machine() > 0);
                let lane = Arc::new(Lane::new(made, large));
                self.bundle.raise(connection, Arc::clone(&lane));
                self.serve(connection, lane);
                None
            }
            Event::Connected(connection, Err(error)) => {
                tracing::debug!("further connection {connection}: {error}");
                self.coming -= 1;
                self.limit();
                None
            }
            Event::Ended(connection, error) => self.ended(connection, error).await,
            Event::FirstClosed(error) => {
                self.bundle.over.send_replace(true);
                self.ended(0, error).await
            }
            Event::Hopeless if self.is_hopeless() => {
                let message = "nothing gets through any more, although the peer is there";
                Some(TransferError::Channel(Error::new(ErrorKind::SessionLost, "NetworkError", message)))
            }
            Event::Hopeless => {
                self.watch_first_alone();
                None
            }
            Event::Unreadable(error) => Some(error),
            Event::Closed => None,
        }
    }

    /// Whether nothing is left when the first connection is of no use.
    fn is_hopeless(&self) -> bool {
        *self.bundle.others.borrow() == 0 && *self.bundle.control.borrow() == 0 && self.bundle.roams()
    }

    /// No more are made than there are.
    fn limit(&mut self) {
        if let Some(growth) = &mut self.growth {
            growth.limit(self.bundle.lanes().len());
        }
    }

    /// The peer has no more use for the connection `from`, and control goes by `by`.
    async fn follow(&mut self, from: u32, by: u32) -> Option<TransferError> {
        if from == by || !self.bundle.roams() || self.bundle.lane(by).is_none() {
            return None;
        }
        self.bundle.control.send_if_modified(|control| std::mem::replace(control, by) != by);
        self.ended(from, TransferError::Closed).await
    }

    /// A connection is of no more use.
    async fn ended(&mut self, connection: u32, error: TransferError) -> Option<TransferError> {
        let sends = self.is_sender();
        if connection == 0 && !self.bundle.roams() {
            // Control goes nowhere else. Without content under way nothing is lost with it, and at the receiving end nobody
            // knows of any.
            return (sends && self.bundle.first().owes().await).then_some(error);
        }
        let lane = self.bundle.bury(connection)?;
        tracing::debug!("connection {connection} ended: {error}");
        if connection > 0 {
            self.lost = true;
            let lane = Arc::clone(&lane);
            self.tasks.spawn(async move {
                lane.connection.close().await;
                Event::Closed
            });
        }
        if sends && !self.bundle.keeper.lost(connection) && lane.owes().await {
            return Some(error);
        }
        if self.bundle.lanes().is_empty() {
            if *self.bundle.over.borrow() {
                return Some(error);
            }
            self.bundle.raise(0, Arc::clone(self.bundle.first()));
            self.bundle.keeper.regain(0);
            self.watch_first();
        }
        if !self.bundle.roams() {
            self.limit();
        }
        self.move_control(connection);
        let used = self.bundle.used.borrow().len();
        self.use_first(used);
        None
    }

    /// Control goes by the connection `from` no more.
    fn move_control(&mut self, from: u32) {
        let next = self.bundle.lanes().into_keys().next();
        let Some(next) = next.filter(|_| *self.bundle.control.borrow() == from) else { return };
        tracing::debug!("control goes by connection {next} from now on");
        self.bundle.control.send_replace(next);
        // A peer that hears nothing of it moves as soon as it finds out by itself.
        let _ = self.saying.try_send(Control::Moved { from });
    }

    /// Spreads content over the first `wanted` connections that are up.
    fn use_first(&self, wanted: usize) {
        let chosen: BTreeSet<u32> = self.bundle.lanes().into_keys().take(wanted.max(1)).collect();
        self.bundle.most_used.fetch_max(chosen.len(), Ordering::Relaxed);
        self.use_these(chosen);
    }

    fn use_these(&self, chosen: BTreeSet<u32>) {
        self.bundle.used.send_if_modified(|used| {
            let changes = *used != chosen;
            *used = chosen;
            changes
        });
    }

    /// Finds out when the first connection is of no use any more, while another could take its place; and when there is none.
    fn watch_first(&mut self) {
        let first = Arc::clone(self.bundle.first());
        let (mut others, mut over) = (self.bundle.others.subscribe(), self.bundle.over.subscribe());
        self.tasks.spawn(async move {
            loop {
                if others.wait_for(|others| *others > 0).await.is_err() {
                    std::future::pending::<()>().await;
                }
                let error = tokio::select! {
                    error = first.connection.lost() => error,
                    () = first.stalls() => TransferError::Closed,
                    Ok(_) = over.wait_for(|over| *over) => TransferError::Closed,
                    Ok(_) = others.wait_for(|others| *others == 0) => continue,
                };
                return Event::Ended(0, error);
            }
        });
    }

    fn watch_first_alone(&mut self) {
        let first = Arc::clone(self.bundle.first());
        self.tasks.spawn(async move {
            first.stands_still(HOPELESS).await;
            Event::Hopeless
        });
    }

    /// Sends by a connection, and takes what comes by it.
    fn serve(&mut self, connection: u32, lane: Arc<Lane>) {
        let sends = self.is_sender();
        let keeps = connection > 0 || self.bundle.roams();
        let (used, waiting) = (self.bundle.used.subscribe(), Arc::clone(&self.bundle.waiting));
        let keeper = Arc::clone(&self.bundle.keeper);
        let arrived = self.bundle.arrived.clone();
        self.tasks.spawn(async move {
            let sending = async {
                if sends {
                    pull(connection, &lane, used, &waiting, &keeper, keeps).await
                } else {
                    std::future::pending().await
                }
            };
            let receiving = async {
                while let Some(frame) = lane.connection.receive().await {
                    if arrived.send((connection, frame)).await.is_err() {
                        break;
                    }
                }
            };
            let further = connection > 0;
            let error = tokio::select! {
                ended = sending => match ended {
                    Ok(error) => error,
                    Err(error) => return Event::Unreadable(error),
                },
                () = receiving, if further => TransferError::Closed,
                error = lane.connection.lost(), if further => error,
                () = lane.stalls(), if further => TransferError::Closed,
            };
            if further { Event::Ended(connection, error) } else { Event::FirstClosed(error) }
        });
    }

    /// Measures the queues, and now and then looks at the path.
    async fn sample(&mut self) {
        let seconds = self.sampled.elapsed().as_secs_f64();
        self.sampled = Instant::now();
        if self.bundle.through.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.watch.outstanding = 0;
        for lane in self.bundle.lanes().into_values() {
            let (acknowledged, left, outstanding) = lane.measure(seconds).await;
            self.watch.outstanding += outstanding;
            self.watch.acknowledged += acknowledged;
            self.watch.left += left;
        }
        let excess = Seen::excess(self.watch.left, self.watch.acknowledged);
        self.watch.excess = Some(self.watch.excess.map_or(excess, |least| least.min(excess)));
        let large = self.large();
        if self.is_sender() && large > 0 {
            if self.watch.acknowledged >= WORTH_ANOTHER || !self.lines.is_empty() {
                self.change_over(large);
            }
        } else if self.is_sender() && self.looked.elapsed() >= INTERVAL.max(self.round_trip() * 2) {
            self.look();
        }
    }

    /// From now on the first connection takes its turn with the others.
    fn begin_queue(&mut self) {
        if !self.bundle.queued.swap(true, Ordering::Relaxed) {
            self.serve(0, Arc::clone(self.bundle.first()));
        }
    }

    /// Within one machine connections with large packets, so many, take the place of the first.
    fn change_over(&mut self, large: u32) {
        self.begin_queue();
        if self.lines.is_empty() {
            (1..=large).for_each(|connection| self.connect(connection, Side::Offers));
        }
        let further: BTreeSet<u32> = self.bundle.lanes().into_keys().filter(|connection| *connection > 0).collect();
        if further.is_empty() || self.lost {
            self.use_first(1);
        } else {
            self.bundle.most_used.fetch_max(further.len(), Ordering::Relaxed);
            self.use_these(further);
        }
    }

    /// Looks at the path, and has more connections or fewer.
    fn look(&mut self) {
        let seconds = self.looked.elapsed().as_secs_f64();
        self.looked = Instant::now();
        let up = self.bundle.lanes().len();
        let Watch { acknowledged, left, .. } = self.watch;
        let now = (acknowledged, left, self.watch.excess.take().unwrap_or(self.watch.last.2));
        let before = std::mem::replace(&mut self.watch.last, now);
        let waited = self.bundle.waited();
        let seen = Seen {
            acknowledged: now.0 - before.0,
            left: now.1.saturating_sub(before.1),
            lost: now.2 - before.2,
            seconds,
            waited: waited.as_secs_f64() > seconds / 2.0 || self.watch.outstanding >= MUCH_OUTSTANDING,
            round_trip: self.round_trip(),
        };
        if seen.acknowledged == 0 {
            // A path that is interrupted says nothing of what it carries.
            return;
        }
        let allowed = self.bundle.allowed.load(Ordering::Relaxed);
        let window = self.window() as f64;
        let growth = self.growth.get_or_insert_with(|| Growth::new(allowed as usize + 1));
        let round_trip = seen.round_trip.as_secs_f64();
        let under_way = seen.acknowledged as f64 / seconds.max(1e-3) * round_trip;
        let mut wanted = growth.after(seen, up);
        if self.prepared && self.coming == 0 && under_way >= FIRST_WINDOWS {
            self.prepared = false;
            wanted = growth.begin(up.min(Growth::ENOUGH), window / round_trip.max(1e-3));
        }
        tracing::trace!("{seen:?}: {wanted} connections wanted, {up} are up");
        if wanted > 1 {
            self.begin_queue();
        }
        self.add(wanted.saturating_sub(up + self.coming));
        self.use_first(wanted);
    }

    /// Makes so many more.
    fn add(&mut self, more: usize) {
        let allowed = self.bundle.allowed.load(Ordering::Relaxed) as usize;
        let made = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        let more = u32::try_from(more.min(allowed)).unwrap_or(u32::MAX);
        for connection in
            (made + 1..=made.saturating_add(more)).filter(|connection| self.may_be(*connection)).collect::<Vec<_>>()
        {
            self.connect(connection, Side::Offers);
        }
    }
}

/// Sends what waits by `lane` as it has room, as long as it is among those that are used. Gives why the lane is of no more use.
///
/// # Errors
/// When what must be sent again cannot be had again.
async fn pull(
    number: u32,
    lane: &Lane,
    mut used: watch::Receiver<BTreeSet<u32>>,
    waiting: &AsyncMutex<mpsc::Receiver<Content>>,
    keeper: &Keeper,
    keeps: bool,
) -> Result<TransferError, TransferError> {
    loop {
        if used.wait_for(|used| used.contains(&number)).await.is_err() {
            return Ok(TransferError::Closed);
        }
        tokio::select! {
            () = lane.room() => {}
            _ = used.wait_for(|used| !used.contains(&number)) => continue,
        }
        let next = tokio::select! {
            biased;
            again = keeper.again() => Err(again),
            content = async { waiting.lock().await.recv().await } => match content {
                Some(content) => Ok(content),
                None => return Ok(TransferError::Closed),
            },
            _ = used.wait_for(|used| !used.contains(&number)) => continue,
        };
        // Kept before it is read again, since this connection may be lost meanwhile.
        let kept = match &next {
            _ if !keeps => true,
            Ok(content) => keeper.keep(number, content.again()),
            Err(again) => keeper.keep(number, again.clone()),
        };
        if !kept {
            continue;
        }
        let content = match next {
            Ok(content) => content,
            Err(again) => again.content().await?,
        };
        if let Err(error) = lane.send(Frame::Binary(content.message)).await {
            return Ok(TransferError::Channel(error));
        }
    }
}
