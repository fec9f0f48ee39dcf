//! What was said is heard before we are gone, whatever the server and its connections do meanwhile.

use super::*;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, accept_async};

const PATIENCE: Duration = Duration::from_secs(20);

type Accepted = WebSocketStream<TcpStream>;

async fn server() -> (TcpListener, RoomOptions) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/demo", listener.local_addr().unwrap()).parse().unwrap();
    (listener, RoomOptions { url, ca_file: None })
}

/// The next message, as it was said.
async fn next(socket: &mut Accepted) -> Value {
    let message = timeout(PATIENCE, socket.next()).await.expect("nothing came").unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

async fn tell(socket: &mut Accepted, event: Value) {
    socket.send(Message::text(event.to_string())).await.unwrap();
}

/// Takes a connection, whose first message is `join`, and says that it is a member now.
async fn admit(listener: &TcpListener, resumed: bool) -> (Accepted, Value) {
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("nobody came").unwrap();
    let mut socket = accept_async(stream).await.unwrap();
    let join = next(&mut socket).await;
    let peers = [json!({ "id": "other" })];
    tell(&mut socket, json!({ "type": "joined", "id": "me", "token": "t", "peers": peers, "resumed": resumed })).await;
    (socket, join)
}

/// The numbers of what is said from now on, until it leaves, which is confirmed.
async fn said(socket: &mut Accepted) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let said = next(socket).await;
        match said["type"].as_str() {
            Some("message") => numbers.push(said["data"]["n"].as_u64().unwrap()),
            kind => {
                assert_eq!(kind, Some("leave"), "{said}");
                socket.close(None).await.unwrap();
                return numbers;
            }
        }
    }
}

#[tokio::test]
async fn what_was_said_last_goes_out_although_more_comes_in_than_is_heard() {
    let (listener, options) = server().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = admit(&listener, false).await;
        for n in 0..2 * WAITING {
            tell(&mut socket, json!({ "type": "message", "from": "other", "data": { "n": n } })).await;
        }
        said(&mut socket).await
    });
    let mut link = Link::open(&options, Part::default()).await.unwrap();
    link.speak_with("other".to_owned());
    // The task holds one more, for which there is no room.
    timeout(PATIENCE, async {
        while link.heard.len() < WAITING {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("nothing comes");
    for _ in 0..WAITING {
        tokio::task::yield_now().await;
    }
    for n in 0..3 {
        link.say(json!({ "n": n }).to_string()).await.unwrap();
    }
    timeout(PATIENCE, link.leave()).await.expect("it does not go");
    assert_eq!(server.await.unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn a_connection_that_is_lost_as_we_go_is_made_anew_to_say_what_was_not_heard() {
    let (listener, options) = server().await;
    let server = tokio::spawn(async move {
        let (mut lost, _) = admit(&listener, false).await;
        next(&mut lost).await;
        drop(lost);
        let (mut socket, join) = admit(&listener, true).await;
        assert_eq!(join["resume"], "t", "{join}");
        said(&mut socket).await
    });
    let mut link = Link::open(&options, Part::default()).await.unwrap();
    link.speak_with("other".to_owned());
    link.say(json!({ "n": 7 }).to_string()).await.unwrap();
    timeout(PATIENCE, link.leave()).await.expect("it does not go");
    assert_eq!(server.await.unwrap(), [7]);
}
