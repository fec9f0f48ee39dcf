//! Both ends in one process, over networks that lose something.

use super::*;
use crate::peer::{BadNetwork, Interfaces};
use crate::progress::Silent;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf, empty, sink};

/// Bytes that differ everywhere.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32).to_le_bytes()
    });
    next.flatten().take(length).collect()
}

async fn end(job: Job, meet: PathBuf, network: BadNetwork, input: Box<dyn AsyncRead + Send + Unpin>) -> Outcome {
    let signal = Signal::Directory { folder: meet, format: SdpFormat::default() };
    let connection = Config { interfaces: Interfaces::Loopback, bad_network: Some(network), ..Config::default() };
    let options = Options { signal, connection, ..Options::new(job) };
    let io = Io { input, output: Box::new(sink()) };
    Box::pin(run(options, io, Instant::now(), Arc::new(Silent), Stop::new())).await
}

/// Transfers what `send` says to `received`; the reports of both ends.
async fn carry(
    scratch: &Path,
    send: SendOptions,
    input: impl AsyncRead + Send + Unpin + 'static,
    network: &BadNetwork,
) -> [Report; 2] {
    let destination = Destination::Path(scratch.join("received"));
    let meet = scratch.join("meet");
    let receive = Job::Receive(ReceiveOptions { destination, ..ReceiveOptions::default() });
    let (sent, received) = tokio::join!(
        end(Job::Send(send), meet.clone(), network.clone(), Box::new(input)),
        end(receive, meet, network.clone(), Box::new(empty())),
    );
    assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
    [sent.report, received.report]
}

/// Gives `block` over and over until several connections carry it, then cuts the first, if asked to, and gives so much more.
struct UntilSpread {
    block: Vec<u8>,
    at: usize,
    given: Arc<AtomicU64>,
    carriers: Arc<AtomicUsize>,
    cut: Arc<AtomicBool>,
    more: usize,
}

impl AsyncRead for UntilSpread {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut length = buffer.remaining().min(self.block.len() - self.at);
        if self.carriers.load(Ordering::Relaxed) >= 2 {
            length = length.min(self.more);
            self.more -= length;
            self.cut.store(length > 0, Ordering::Relaxed);
        }
        if length > 0 {
            buffer.put_slice(&self.block[self.at..self.at + length]);
            self.at = (self.at + length) % self.block.len();
            self.given.fetch_add(length as u64, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

/// Sends a stream until a second connection carries it, and looks at what came; the sender's report.
async fn carry_until_spread(network: &BadNetwork) -> Report {
    carry_beyond(network, 0, Arc::default()).await
}

/// The same, and `more` after `cut` was set.
async fn carry_beyond(network: &BadNetwork, more: usize, cut: Arc<AtomicBool>) -> Report {
    let scratch = tempfile::tempdir().unwrap();
    let (block, given) = (noise((1 << 20) - 7), Arc::default());
    let (given_so_far, carriers) = (Arc::clone(&given), Arc::clone(&network.carriers));
    let input = UntilSpread { block: block.clone(), at: 0, given: given_so_far, carriers, cut, more };
    let send = SendOptions { paths: vec!["-".into()], ..SendOptions::default() };
    let carrying = carry(scratch.path(), send, input, network);
    let [sent, received] = tokio::time::timeout(Duration::from_secs(120), carrying).await.expect("it is spread");
    assert_eq!(sent.transfer.bytes_transferred, received.transfer.bytes_transferred);
    let came = std::fs::read(scratch.path().join("received")).unwrap();
    assert_eq!(came.len() as u64, given.load(Ordering::Relaxed));
    assert!(came.chunks(block.len()).all(|part| part == &block[..part.len()]));
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn where_packets_are_lost_content_is_spread_over_connections_and_put_together_again() {
    let network = BadNetwork { one_in: 20, ..BadNetwork::default() };
    assert!(carry_until_spread(&network).await.connections > 1);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn within_one_machine_a_connection_with_large_packets_takes_over() {
    let network = BadNetwork::default();
    assert!(carry_until_spread(&network).await.connections <= 2);
    assert!(network.largest.load(Ordering::Relaxed) > 10_000);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn where_large_packets_vanish_the_first_connection_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let network = BadNetwork { most: Arc::new(1500.into()), ..BadNetwork::default() };
    let content = noise(24 << 20);
    std::fs::write(scratch.path().join("file"), &content).unwrap();
    let send = SendOptions { paths: vec![scratch.path().join("file")], ..SendOptions::default() };
    let carrying = carry(scratch.path(), send, empty(), &network);
    tokio::time::timeout(Duration::from_secs(25), carrying).await.expect("it goes on");
    assert!(network.largest.load(Ordering::Relaxed) > 10_000, "no large packets were tried");
    assert!(std::fs::read(scratch.path().join("received")).unwrap() == content);
}

/// Waits until so many bytes came.
async fn came(scratch: &Path, bytes: u64) {
    while std::fs::metadata(scratch.join("received.part")).map_or(0, |facts| facts.len()) < bytes {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn where_large_packets_begin_to_vanish_the_first_connection_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let network = BadNetwork::default();
    let content = noise(32 << 20);
    std::fs::write(scratch.path().join("file"), &content).unwrap();
    let paths = vec![scratch.path().join("file")];
    let send = SendOptions { paths, limit_rate: Some(16 << 20), ..SendOptions::default() };
    let disturb = async {
        while network.largest.load(Ordering::Relaxed) < 10_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        network.most.store(1500, Ordering::Relaxed);
    };
    let carrying = async { tokio::join!(carry(scratch.path(), send, empty(), &network), disturb) };
    tokio::time::timeout(Duration::from_secs(25), carrying).await.expect("it goes on");
    assert!(std::fs::read(scratch.path().join("received")).unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_first_connection_is_lost_for_good_others_take_its_place() {
    let network = BadNetwork { one_in: 20, ..BadNetwork::default() };
    // More than may be under way, which nothing confirms until control has moved.
    assert!(carry_beyond(&network, 9 << 20, Arc::clone(&network.cut)).await.connections > 1);
}

/// Nothing, and then the end.
struct Pause(Duration, Option<Pin<Box<tokio::time::Sleep>>>);

impl AsyncRead for Pause {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = self.0;
        let pause = self.1.get_or_insert_with(|| Box::pin(tokio::time::sleep(length)));
        pause.as_mut().poll(context).map(Ok)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_receives_on_when_the_connection_of_its_call_is_lost_for_good() {
    use crate::ops::{call, control::Requests};
    let scratch = tempfile::tempdir().unwrap();
    let (meet, inbox) = (scratch.path().join("meet"), scratch.path().join("inbox"));
    let network = BadNetwork { one_in: 20, ..BadNetwork::default() };
    let (given, carriers) = (Arc::<AtomicU64>::default(), Arc::clone(&network.carriers));
    let input =
        UntilSpread { block: noise(1 << 20), at: 0, given: Arc::clone(&given), carriers, cut: Arc::default(), more: 1 };
    // Longer than the call goes on without its connection.
    let input = input.chain(Pause(Duration::from_secs(11), None));
    let disturb = async {
        while network.carriers.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        network.cut.store(true, Ordering::Relaxed);
    };
    let signal = Signal::Directory { folder: meet.clone(), format: SdpFormat::default() };
    let connection =
        Config { interfaces: Interfaces::Loopback, bad_network: Some(network.clone()), ..Config::default() };
    let (receive_files, negotiate) = (Some(inbox.clone()), NegotiateOptions::default());
    let negotiate = NegotiateOptions { timeout: Duration::from_secs(8), ..negotiate };
    let options = call::Options { signal, connection, receive_files, negotiate, ..call::Options::new(Role::Answer) };
    let (input_of_call, output) = (Box::new(empty()), Box::new(sink()));
    let io = call::Io { input: input_of_call, output, media_input: None, media_output: None, screen: None };
    let send = SendOptions { paths: vec!["-".into()], stream_name: "stream".to_owned(), ..SendOptions::default() };
    let all = async {
        tokio::join!(
            end(Job::Send(send), meet, network.clone(), Box::new(input)),
            call::run(options, io, Requests::none(), Instant::now(), Arc::new(Silent), Stop::new()),
            disturb,
        )
    };
    let (sent, answered, ()) = tokio::time::timeout(Duration::from_secs(120), Box::pin(all)).await.expect("it ends");
    assert!(sent.error.is_none() && answered.error.is_none(), "{:?} {:?}", sent.error, answered.error);
    let came = std::fs::metadata(inbox.join("stream")).unwrap().len();
    assert_eq!(came, given.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_gone_for_seconds_costs_those_seconds_and_no_more() {
    let scratch = tempfile::tempdir().unwrap();
    let network = BadNetwork::default();
    let cut = |cut| {
        network.cut.store(cut, Ordering::Relaxed);
        network.cut_further.store(cut, Ordering::Relaxed);
    };
    let disturb = async {
        came(scratch.path(), 1 << 20).await;
        // Longer than SCTP would go on retransmitting by a clock that hurries.
        cut(true);
        tokio::time::sleep(Duration::from_secs(4)).await;
        cut(false);
    };
    let content = noise(12 << 20);
    std::fs::write(scratch.path().join("file"), &content).unwrap();
    let paths = vec![scratch.path().join("file")];
    let send = SendOptions { paths, limit_rate: Some(4 << 20), ..SendOptions::default() };
    let carrying = carry(scratch.path(), send, empty(), &network);
    let both = tokio::time::timeout(Duration::from_secs(25), async { tokio::join!(carrying, disturb) }).await;
    both.expect("it goes on");
    assert!(std::fs::read(scratch.path().join("received")).unwrap() == content);
}
