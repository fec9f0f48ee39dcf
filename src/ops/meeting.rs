//! Client and server of rooms together, over a connection that is cut.

use crate::ice_server::IceServer;
use crate::progress::Silent;
use crate::rooms::{Limits, Options, Server, Totals};
use crate::signaling::{Candidate, Message, Room, RoomOptions, RoomRole, Signaling};
use crate::stop::{Stop, StopReason};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

async fn server(listen: &str) -> (SocketAddr, Stop, JoinHandle<Totals>) {
    let server = Server::bind(Options {
        listen: listen.to_owned(),
        tls: None,
        limits: Limits::default(),
        origins: Vec::new(),
        files: None,
        ice_servers: Arc::new(|| vec![IceServer::parse("stun:stun.example").unwrap()]),
        redis: None,
    });
    let (server, stop) = (server.await.unwrap(), Stop::new());
    (server.address(), stop.clone(), tokio::spawn(server.serve(Arc::new(Silent), stop)))
}

/// Passes connections on until they are cut, which is whenever the number changes.
async fn proxy(to: SocketAddr) -> (SocketAddr, watch::Sender<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cut, cuts) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut cuts = cuts.clone();
            cuts.mark_unchanged();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    _ = cuts.changed() => {}
                }
            });
        }
    });
    (address, cut)
}

async fn join(address: SocketAddr) -> Room {
    let url = format!("ws://{address}/demo").parse().unwrap();
    Room::join(&RoomOptions { url, ca_file: None }, RoomRole::Any).await.unwrap()
}

fn numbered(number: usize) -> Message {
    Message::Candidate(Candidate {
        candidate: format!("candidate:{number}"),
        sdp_mid: None,
        sdp_m_line_index: None,
        username_fragment: None,
    })
}

async fn expect(room: &mut Room, number: usize) {
    let came = timeout(PATIENCE, room.receive()).await.expect("nothing came").unwrap();
    assert_eq!(came, Some(numbered(number)));
}

#[tokio::test]
async fn whoever_comes_second_is_offered_to_and_a_goodbye_ends_it() {
    let (address, _stop, _served) = server("127.0.0.1:0").await;
    let mut first = join(address).await;
    assert!(first.is_alone());
    let mut second = join(address).await;
    let (met, other) = (first.meet().await.unwrap(), second.meet().await.unwrap());
    assert!(met.we_offer && !other.we_offer);
    assert_eq!(met.ice_servers, [IceServer::parse("stun:stun.example").unwrap()]);
    first.send(&numbered(1)).await.unwrap();
    first.send(&Message::Bye).await.unwrap();
    first.close().await.unwrap();
    expect(&mut second, 1).await;
    assert_eq!(second.receive().await.unwrap(), Some(Message::Bye));
    assert_eq!(second.receive().await.unwrap(), None);
}

#[tokio::test]
async fn what_is_said_while_a_connection_is_cut_comes_once_and_in_order() {
    let (address, _stop, _served) = server("127.0.0.1:0").await;
    let (through, cut) = proxy(address).await;
    let (mut steady, mut shaky) = (join(address).await, join(through).await);
    steady.meet().await.unwrap();
    shaky.meet().await.unwrap();
    for round in 0..4 {
        for step in 0..20 {
            // In the middle of it, where some of it is on its way; the last time by ourselves.
            match (step, round) {
                (10, 3) => shaky.network_changed().await,
                (10, _) => cut.send_modify(|cuts| *cuts += 1),
                _ => {}
            }
            let number = round * 20 + step;
            steady.send(&numbered(number)).await.unwrap();
            shaky.send(&numbered(number)).await.unwrap();
        }
        for step in 0..20 {
            expect(&mut shaky, round * 20 + step).await;
            expect(&mut steady, round * 20 + step).await;
        }
    }
}

#[tokio::test]
async fn members_of_a_server_that_starts_anew_find_each_other_again() {
    let (address, stop, served) = server("127.0.0.1:0").await;
    let (mut first, mut second) = (join(address).await, join(address).await);
    first.meet().await.unwrap();
    second.meet().await.unwrap();
    stop.stop(StopReason::Terminate);
    timeout(PATIENCE, served).await.unwrap().unwrap();
    let (_, _stop, _served) = server(&address.to_string()).await;
    // What they said before is lost with it. They speak as soon as they know each other again.
    let spoken = async {
        loop {
            first.send(&numbered(7)).await.unwrap();
            if let Ok(came) = timeout(Duration::from_millis(100), second.receive()).await {
                break came.unwrap();
            }
            let _ = timeout(Duration::from_millis(1), first.receive()).await;
        }
    };
    assert_eq!(timeout(PATIENCE, spoken).await.expect("they do not find each other"), Some(numbered(7)));
}
