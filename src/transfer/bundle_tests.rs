//! Several connections in memory, each with a pace of its own.

use super::bundle::Bundle;
use super::channel::{Connection, Connector, Frame, Line, MessageChannel, Side, Silence};
use super::error::TransferError;
use super::lane::{Lane, STALLED};
use super::wire::{Control, HEADER, Kind, put_header};
use super::{Destination, Existing, ReceiveOptions, ScanOptions, SendOptions, Sources, Tally, receive, send};
use crate::error::{Error, ErrorKind};
use crate::progress::Silent;
use crate::stop::Stop;
use bytes::{Buf, BufMut, BytesMut};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot};
use tokio::time::Instant;

/// A message, and when it arrives.
type Due = (Instant, Frame);

/// One end of a connection whose messages take their time.
struct Memory {
    sender: Mutex<Option<mpsc::Sender<Due>>>,
    receiver: AsyncMutex<(mpsc::Receiver<Due>, Option<Due>)>,
    outstanding: Arc<AtomicUsize>,
    theirs: Arc<AtomicUsize>,
    sent: AtomicU64,
    /// What a byte takes.
    pace: Duration,
    free: Mutex<Instant>,
    trouble: Arc<Trouble>,
}

/// What is wrong with a path.
#[derive(Default)]
struct Trouble {
    /// Nothing comes, and that is noticed.
    cut: AtomicBool,
    /// Nothing comes, and nobody says so.
    stuck: AtomicBool,
    /// Both ends are closed.
    closed: AtomicBool,
}

impl Trouble {
    fn begin(&self, of: impl FnOnce(&Self) -> &AtomicBool) {
        of(self).store(true, Ordering::Relaxed);
    }

    fn is(&self, of: impl FnOnce(&Self) -> &AtomicBool) -> bool {
        of(self).load(Ordering::Relaxed)
    }

    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn pair(bytes_per_second: f64, trouble: &Arc<Trouble>) -> (Memory, Memory) {
    let (left, from_left) = mpsc::channel(1024);
    let (right, from_right) = mpsc::channel(1024);
    let counts: [Arc<AtomicUsize>; 2] = Default::default();
    let end = |sender, receiver, mine: usize| Memory {
        sender: Mutex::new(Some(sender)),
        receiver: AsyncMutex::new((receiver, None)),
        outstanding: Arc::clone(&counts[mine]),
        theirs: Arc::clone(&counts[1 - mine]),
        sent: AtomicU64::new(0),
        pace: Duration::from_secs_f64(1.0 / bytes_per_second),
        free: Mutex::new(Instant::now()),
        trouble: Arc::clone(trouble),
    };
    (end(left, from_right, 0), end(right, from_left, 1))
}

#[async_trait::async_trait]
impl MessageChannel for Memory {
    async fn send(&self, frame: Frame) -> Result<(), Error> {
        while self.outstanding.load(Ordering::Relaxed) > 1 << 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let length = length(&frame);
        let due = match &frame {
            Frame::Text(_) => Instant::now(),
            Frame::Binary(_) => {
                let mut free = self.free.lock().unwrap();
                *free = (*free).max(Instant::now()) + self.pace * u32::try_from(length).unwrap();
                *free
            }
        };
        self.outstanding.fetch_add(length, Ordering::Relaxed);
        self.sent.fetch_add(length as u64, Ordering::Relaxed);
        let closed = || Error::new(ErrorKind::SessionLost, "NetworkError", "cut");
        let sender = self.sender.lock().unwrap().clone().filter(|_| !self.trouble.is(|trouble| &trouble.closed));
        sender.ok_or_else(closed)?.send((due, frame)).await.map_err(|_| closed())
    }

    async fn receive(&self) -> Option<Frame> {
        let mut receiver = self.receiver.lock().await;
        let (receiver, next) = &mut *receiver;
        if next.is_none() {
            *next = Some(tokio::select! {
                message = receiver.recv() => message?,
                () = self.trouble.until(|trouble| trouble.is(|of| &of.closed)) => return None,
            });
        }
        if let Some((due, _)) = next {
            tokio::time::sleep_until(*due).await;
        }
        // What is under way on a connection that is cut does not arrive.
        self.trouble.until(|trouble| !trouble.is(|of| &of.cut) && !trouble.is(|of| &of.stuck)).await;
        if self.trouble.is(|trouble| &trouble.closed) {
            return None;
        }
        let (_, frame) = next.take()?;
        self.theirs.fetch_sub(length(&frame), Ordering::Relaxed);
        Some(frame)
    }

    fn max_message_size(&self) -> usize {
        64 << 10
    }

    async fn flushed(&self) {}
}

#[async_trait::async_trait]
impl Connection for Memory {
    async fn outstanding(&self) -> Option<usize> {
        Some(self.outstanding.load(Ordering::Relaxed))
    }

    fn silence(&self) -> Option<Silence> {
        None
    }

    fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn round_trip(&self) -> Option<Duration> {
        Some(Duration::from_millis(50))
    }

    async fn lost(&self) -> TransferError {
        self.trouble.until(|trouble| trouble.is(|of| &of.cut)).await;
        TransferError::Closed
    }

    async fn close(&self) {
        self.sender.lock().unwrap().take();
    }
}

fn length(frame: &Frame) -> usize {
    match frame {
        Frame::Text(text) => text.len(),
        Frame::Binary(bytes) => bytes.len(),
    }
}

/// Where connectors of both ends meet: what the offering side made waits here for the other.
#[derive(Default)]
struct Meeting {
    rates: Vec<f64>,
    made: AtomicUsize,
    waiting: Mutex<HashMap<u64, oneshot::Receiver<Memory>>>,
    trouble: Arc<Trouble>,
    within_machine: usize,
    /// Nothing said of it where this is 0.
    receive_window: usize,
}

#[async_trait::async_trait]
impl Connector for Meeting {
    async fn connect(&self, side: Side, mut line: Line) -> Result<Box<dyn Connection>, Error> {
        let refused = || Error::new(ErrorKind::SessionLost, "ice", "no path");
        if side == Side::Offers {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let rate = *self.rates.get(number).ok_or_else(refused)?;
            let (near, far) = pair(rate, &self.trouble);
            let (give, take) = oneshot::channel();
            self.waiting.lock().unwrap().insert(number as u64, take);
            line.outgoing.send(serde_json::json!({ "type": "offer", "sdp": number })).await.map_err(|_| refused())?;
            assert_eq!(line.incoming.recv().await, Some(serde_json::json!({ "type": "answer" })));
            assert!(give.send(far).is_ok());
            return Ok(Box::new(near));
        }
        let offer = line.incoming.recv().await.ok_or_else(refused)?;
        let number = offer["sdp"].as_u64().ok_or_else(refused)?;
        let taken = self.waiting.lock().unwrap().remove(&number).ok_or_else(refused)?;
        line.outgoing.send(serde_json::json!({ "type": "answer" })).await.map_err(|_| refused())?;
        Ok(Box::new(taken.await.map_err(|_| refused())?))
    }

    fn within_machine(&self) -> usize {
        self.within_machine
    }

    fn receive_window(&self) -> usize {
        if self.receive_window > 0 { self.receive_window } else { usize::MAX }
    }
}

/// Bytes of a file in a message.
const CONTENT: u64 = (16 << 10) - HEADER as u64 - 8;

/// Sends so many messages of 16 KiB over a first connection of 4 MB/s and what `rates` adds, until all came or the sender's
/// bundle gives up. What came, and how many connections were used.
async fn carried(messages: u64, rates: &[f64], most: u32, cut_after: Option<u64>) -> (Vec<u64>, usize, bool) {
    let trouble = Arc::<Trouble>::default();
    let meeting = Arc::new(Meeting { rates: rates.to_vec(), trouble: Arc::clone(&trouble), ..Meeting::default() });
    let (near, far) = pair(4e6, &Arc::default());
    let near = Bundle::new(Box::new(near), Some(Arc::clone(&meeting) as _));
    let far = Bundle::new(Box::new(far), Some(meeting as _));
    near.spread(most, 0);
    let sending = async {
        for sequence in 0..messages {
            let mut message = BytesMut::new();
            message.put_u64(sequence);
            put_header(&mut message, Kind::Data, 0, sequence * CONTENT, u32::try_from(CONTENT).unwrap());
            message.put_bytes(0, usize::try_from(CONTENT).unwrap());
            near.send(Frame::Binary(message.freeze())).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let mut came = Vec::new();
    let receiving = async {
        while (came.len() as u64) < messages {
            let Some(Frame::Binary(mut message)) = far.receive().await else { panic!("content ended") };
            came.push(message.get_u64());
            if came.len() % 16 == 0 {
                let progress = Control::Progress { bytes: came.len() as u64 * CONTENT };
                far.send(Frame::Text(progress.to_text())).await.unwrap();
            }
            if cut_after == Some(came.len() as u64) {
                trouble.begin(|of| &of.cut);
            }
        }
    };
    // A sender listens too, and hears its answers.
    let hearing = async {
        while near.receive().await.is_some() {}
        std::future::pending::<()>().await;
    };
    let gave_up = tokio::select! {
        () = receiving => false,
        () = hearing => unreachable!("it never ends"),
        () = sending => unreachable!("it never ends"),
        _ = near.run() => true,
        _ = far.run() => unreachable!("the receiving end has nothing to lose"),
    };
    (came, near.connections(), gave_up)
}

#[tokio::test]
async fn content_comes_in_order_by_however_many_connections_it_went() {
    let (came, used, _) = carried(2000, &[1e6, 4e6, 8e6, 2e6, 4e6, 4e6, 4e6], 7, None).await;
    assert!(came.into_iter().eq(0..2000));
    assert!(used >= 4, "{used}");
}

/// How many connections are made although nothing was sent yet.
async fn begins_with(content: u64, within_machine: usize, receive_window: usize) -> usize {
    let rates = vec![4e6; 31];
    let meeting = Arc::new(Meeting { rates, within_machine, receive_window, ..Meeting::default() });
    let (near, far) = pair(4e6, &Arc::default());
    let near = Bundle::new(Box::new(near), Some(Arc::clone(&meeting) as _));
    let far = Bundle::new(Box::new(far), Some(Arc::clone(&meeting) as _));
    near.spread(31, content);
    let settled = async {
        let mut last = usize::MAX;
        while last != *near.others.borrow() {
            last = *near.others.borrow();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        () = settled => *near.others.borrow(),
        _ = near.run() => unreachable!("nothing can be lost"),
        _ = far.run() => unreachable!("nothing can be lost"),
        _ = near.receive() => unreachable!("nothing is said"),
        _ = far.receive() => unreachable!("nothing is said"),
    }
}

#[tokio::test]
async fn within_one_machine_large_packets_are_there_from_the_beginning_where_much_is_to_come() {
    assert_eq!(begins_with(1 << 30, 2, 0).await, 2);
    assert_eq!(begins_with(1 << 20, 2, 0).await, 0);
    assert_eq!(begins_with(0, 2, 0).await, 0, "a stream, of which nobody knows");
}

#[tokio::test]
async fn on_a_long_path_many_are_there_from_the_beginning_where_windows_are_small_and_much_is_to_come() {
    assert_eq!(begins_with(1 << 30, 0, 255 << 10).await, 21);
    assert_eq!(begins_with(1 << 20, 0, 255 << 10).await, 0);
    assert_eq!(begins_with(1 << 30, 0, 4 << 20).await, 0);
}

#[tokio::test]
async fn a_peer_that_takes_none_is_offered_none_and_one_that_fails_is_done_without() {
    let (came, used, _) = carried(300, &[4e6], 0, None).await;
    assert!(came.len() == 300 && used == 1, "{used}");
    let (came, used, _) = carried(300, &[], 31, None).await;
    assert!(came.into_iter().eq(0..300) && used == 1, "{used}");
}

#[tokio::test]
async fn what_lost_connections_carried_goes_again_by_those_that_live() {
    let (came, used, gave_up) = carried(900, &[4e6; 7], 7, Some(600)).await;
    assert!(!gave_up && used > 1, "{used}");
    assert!(came.into_iter().eq(0..900), "each once, and in order");
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_any_more_is_done_without() {
    let (came, used, gave_up) = carried(1200, &[4e6, 0.1, 4e6], 3, None).await;
    assert!(!gave_up && used > 1, "{used}");
    assert!(came.into_iter().eq(0..1200));
}

#[tokio::test]
async fn a_connection_that_may_not_work_at_all_is_waited_for_less_than_one_that_does() {
    for (unproven, noticed) in [(true, true), (false, false)] {
        let (near, _far) = pair(0.1, &Arc::default());
        let lane = Lane::new(Box::new(near), unproven);
        lane.send(Frame::Binary(vec![0; 1000].into())).await.unwrap();
        assert_eq!(tokio::time::timeout(STALLED / 2, lane.stalls()).await.is_ok(), noticed);
    }
}

/// What becomes of a file of 4 MB over a first connection of 400 kB/s and as many further ones as are wanted, whose paths something
/// happens to while they all are used. When the sender gives up it hangs up.
async fn disturbed(roam: bool, disturb: impl AsyncFnOnce(&Trouble, &Trouble)) -> [Result<(), TransferError>; 2] {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("file"), scratch.path().join("received"));
    let content: Vec<u8> =
        (0..4_000_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    std::fs::write(&from, &content).unwrap();
    let (first, further) = (Arc::<Trouble>::default(), Arc::<Trouble>::default());
    let meeting = Meeting { rates: vec![4e5; 31], trouble: Arc::clone(&further), ..Meeting::default() };
    let meeting = Arc::new(meeting) as Arc<dyn Connector>;
    let (near, far) = pair(4e5, &first);
    let near = Bundle::new(Box::new(near), Some(Arc::clone(&meeting)));
    let far = Bundle::new(Box::new(far), Some(meeting));
    let far = Older(far, roam);
    let sources = Sources::scan(&[from], None, &ScanOptions::default()).unwrap();
    let tally = || Arc::new(Tally::new(Arc::new(Silent)));
    let (sender, receiver, stop, plain) = (tally(), tally(), Stop::new(), SendOptions::default());
    let destination = Destination::Path(to.clone());
    let options = ReceiveOptions { destination, existing: Existing::Refuse, consent: None };
    let gave_up = Notify::new();
    let sending = async {
        let sent = tokio::select! {
            sent = send(&near, sources, &plain, &sender, &stop) => sent,
            lost = near.run() => Err(lost),
        };
        if sent.is_err() {
            further.begin(|of| &of.cut);
            gave_up.notify_one();
        }
        sent
    };
    let receiving = async {
        let hung_up = async {
            gave_up.notified().await;
            far.0.outlive_first().await;
        };
        tokio::select! {
            received = receive(&far, options, &receiver, &stop) => received,
            lost = far.0.run() => Err(lost),
            () = hung_up => Err(TransferError::Closed),
        }
    };
    let disturbing = async {
        while near.lanes().len() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        disturb(&first, &further).await;
    };
    let both = async { tokio::join!(sending, receiving, disturbing) };
    let (sent, received, ()) = tokio::time::timeout(Duration::from_secs(30), both).await.expect("it ends");
    if received.is_ok() {
        assert!(std::fs::read(&to).unwrap() == content);
    }
    [sent, received]
}

/// A receiver that may be of a version that knows nothing of control that moves.
struct Older(Bundle, bool);

#[async_trait::async_trait]
impl MessageChannel for Older {
    async fn send(&self, frame: Frame) -> Result<(), Error> {
        let frame = match frame {
            Frame::Text(text) if !self.1 => Frame::Text(text.replace(",\"roams\":true", "")),
            frame => frame,
        };
        self.0.send(frame).await
    }

    async fn receive(&self) -> Option<Frame> {
        self.0.receive().await
    }

    fn max_message_size(&self) -> usize {
        self.0.max_message_size()
    }

    async fn flushed(&self) {
        self.0.flushed().await;
    }

    fn further(&self) -> u32 {
        self.0.further()
    }

    fn spread(&self, most: u32, content: u64) {
        self.0.spread(most, content);
    }

    fn roam(&self) {
        if self.1 {
            self.0.roam();
        }
    }

    async fn moved(&self) {
        self.0.moved().await;
    }
}

#[tokio::test]
async fn the_loss_of_the_first_connection_is_no_end_however_it_comes() {
    let ended = tokio::join!(
        disturbed(true, async |first, _| first.begin(|of| &of.cut)),
        disturbed(true, async |first, _| first.begin(|of| &of.stuck)),
        disturbed(true, async |first, _| first.begin(|of| &of.closed)),
    );
    for [sent, received] in <[_; 3]>::from(ended) {
        assert!(sent.is_ok() && received.is_ok(), "{sent:?} {received:?}");
    }
}

#[tokio::test]
async fn without_a_peer_that_hears_control_elsewhere_the_end_of_the_first_is_the_end() {
    let [sent, received] = disturbed(false, async |first, _| first.begin(|of| &of.closed)).await;
    assert!(sent.is_err() && received.is_err(), "{sent:?} {received:?}");
}

#[tokio::test]
async fn when_all_were_interrupted_the_first_goes_on_and_others_are_made_anew() {
    let [sent, received] = disturbed(true, async |first, further| {
        first.begin(|of| &of.cut);
        further.begin(|of| &of.cut);
        tokio::time::sleep(Duration::from_millis(500)).await;
        first.cut.store(false, Ordering::Relaxed);
        further.cut.store(false, Ordering::Relaxed);
    })
    .await;
    assert!(sent.is_ok() && received.is_ok(), "{sent:?} {received:?}");
}

#[tokio::test]
async fn what_is_said_by_the_last_connection_as_it_closes_goes_by_the_first_when_that_is_back() {
    for first_returns in [true, false] {
        let meeting = || Some(Arc::<Meeting>::default() as Arc<dyn Connector>);
        let (near_first, far_first) = pair(1e6, &Arc::default());
        let near = Bundle::new(Box::new(near_first), meeting());
        near.roam();
        let (last, _) = pair(1e6, &Arc::default());
        near.raise(1, Arc::new(Lane::new(Box::new(last), false)));
        let first = near.bury(0).unwrap();
        near.control.send_replace(1);
        let said = async {
            if !first_returns {
                near.over.send_replace(true);
            }
            near.send(Frame::Text("again".to_owned())).await
        };
        let returning = async {
            near.bury(1);
            near.raise(0, first);
            near.control.send_replace(0);
        };
        let (said, ()) = tokio::join!(said, returning);
        assert_eq!(said.is_ok(), first_returns);
        if first_returns {
            assert!(matches!(far_first.receive().await, Some(Frame::Text(text)) if text == "again"));
        }
    }
}

#[tokio::test]
async fn where_nothing_gets_through_by_any_connection_the_sender_gives_up() {
    let [sent, received] = disturbed(true, async |first, further| {
        first.begin(|of| &of.stuck);
        further.begin(|of| &of.stuck);
    })
    .await;
    assert!(matches!(sent, Err(TransferError::Channel(_))), "{sent:?}");
    assert!(received.is_err(), "{received:?}");
}
