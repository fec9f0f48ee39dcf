//! Both ends in one process, over networks that lose something.

use super::*;
use crate::peer::{BadNetwork, Interfaces};
use crate::progress::Silent;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use tokio::io::{empty, sink};

/// Bytes that differ everywhere.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32).to_le_bytes()
    });
    next.flatten().take(length).collect()
}

async fn end(job: Job, meet: PathBuf, network: BadNetwork) -> Outcome {
    let signal = Signal::Directory { folder: meet, format: SdpFormat::default() };
    let connection = Config { interfaces: Interfaces::Loopback, bad_network: Some(network), ..Config::default() };
    let options = Options { signal, connection, ..Options::new(job) };
    let io = Io { input: Box::new(empty()), output: Box::new(sink()) };
    Box::pin(run(options, io, Instant::now(), Arc::new(Silent), Stop::new())).await
}

/// Transfers `content` to `received`; the reports of both ends.
async fn carry(scratch: &Path, content: &[u8], network: &BadNetwork, limit_rate: Option<u64>) -> [Report; 2] {
    std::fs::write(scratch.join("file"), content).unwrap();
    let paths = vec![scratch.join("file")];
    let destination = Destination::Path(scratch.join("received"));
    let meet = scratch.join("meet");
    let receive = Job::Receive(ReceiveOptions { destination, ..ReceiveOptions::default() });
    let send = Job::Send(SendOptions { paths, limit_rate, ..SendOptions::default() });
    let (sent, received) = tokio::join!(end(send, meet.clone(), network.clone()), end(receive, meet, network.clone()));
    assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
    assert!(std::fs::read(scratch.join("received")).unwrap() == content);
    [sent.report, received.report]
}

#[tokio::test(flavor = "multi_thread")]
async fn where_packets_are_lost_content_is_spread_over_connections_and_put_together_again() {
    let scratch = tempfile::tempdir().unwrap();
    let network = BadNetwork { one_in: 20, ..BadNetwork::default() };
    let [sent, received] = carry(scratch.path(), &noise(32 << 20), &network, None).await;
    assert!(sent.connections > 1, "one connection for {} s", sent.transfer.seconds);
    assert_eq!(sent.transfer.bytes_transferred, received.transfer.bytes_transferred);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_gone_for_seconds_costs_those_seconds_and_no_more() {
    let scratch = tempfile::tempdir().unwrap();
    let network = BadNetwork::default();
    let part = scratch.path().join("received.part");
    let disturb = async {
        while std::fs::metadata(&part).map_or(0, |facts| facts.len()) < 1 << 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Longer than SCTP would go on retransmitting by a clock that hurries.
        network.cut.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(4)).await;
        network.cut.store(false, Ordering::Relaxed);
    };
    let content = noise(12 << 20);
    let carrying = carry(scratch.path(), &content, &network, Some(4 << 20));
    let both = tokio::time::timeout(Duration::from_secs(25), async { tokio::join!(carrying, disturb) }).await;
    both.expect("it goes on");
}
