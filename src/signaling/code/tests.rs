//! Codes, and servers that would like to know what is said under them.

use super::super::{Message, Signaling};
use super::*;
use crate::error::{Error, ErrorKind};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message as WsMessage;

#[test]
fn codes_are_read_as_people_type_them() {
    let code: Code = "7-crossword-apollo".parse().unwrap();
    for typed in ["7-crossword-apollo", " 7 Crossword Apollo\n", "7_CROSSWORD-apollo", "07--crossword-apollo"] {
        assert_eq!(typed.parse::<Code>().unwrap(), code, "{typed}");
    }
    assert_eq!((code.to_string().as_str(), code.room().as_str()), ("7-crossword-apollo", "code-7"));
    assert!(!format!("{code:?}").contains("apollo"));
    for (typed, said) in [
        ("7-crosword-apollo", "did you mean 'crossword'?"),
        ("7-xxxxxxxx-apollo", "'xxxxxxxx' is no word"),
        ("crossword-apollo", "is no code"),
        ("0-crossword-apollo", "is no code"),
        ("7-crossword", "is no code"),
        ("7-crossword-apollo-amber", "is no code"),
        ("", "is no code"),
    ] {
        let error = typed.parse::<Code>().unwrap_err().to_string();
        assert!(error.contains(said), "{typed}: {error}");
    }
}

#[test]
fn codes_are_drawn_evenly_enough_to_be_hard_to_guess() {
    let drawn: std::collections::HashSet<_> = (0..200).map(|_| Code::draw(99).unwrap().words).collect();
    assert!(drawn.len() > 190, "{}", drawn.len());
    assert!((0..200).all(|_| (1..=99).contains(&Code::draw(99).unwrap().number)));
}

/// What a relay makes of a message: from whom it is (0 the sender, 1 the receiver), and to whom it goes in what form.
type Meddle = Box<dyn FnMut(usize, Value) -> Vec<(usize, Value)> + Send>;

/// A server of one room that meddles, and a copy of all that it has seen.
async fn relay(meddle: Meddle) -> (RoomOptions, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let seen = Arc::new(Mutex::new(String::new()));
    tokio::spawn(serve(listener, meddle, Arc::clone(&seen)));
    (RoomOptions { url, ca_file: None }, seen)
}

async fn serve(listener: TcpListener, mut meddle: Meddle, seen: Arc<Mutex<String>>) {
    let mut ends = Vec::new();
    let text = |value: Value| WsMessage::text(value.to_string());
    let roles = ["offer", "answer"];
    for at in 0..2 {
        let (stream, _) = listener.accept().await.unwrap();
        let mut end = accept_async(stream).await.unwrap();
        end.next().await.unwrap().unwrap();
        let peers: Vec<Value> = (0..at).map(|at| json!({ "id": at.to_string(), "role": roles[at] })).collect();
        end.send(text(json!({ "type": "joined", "id": at.to_string(), "peers": peers }))).await.unwrap();
        ends.push(end);
    }
    let mut second = ends.pop().unwrap();
    let mut first = ends.pop().unwrap();
    first.send(text(json!({ "type": "otherjoin", "id": "1", "role": "answer" }))).await.unwrap();
    // Who leaves tells nobody: what the other end has been sent is what it judges by.
    let mut here = [true; 2];
    while here.contains(&true) {
        let (from, heard) = tokio::select! {
            heard = first.next(), if here[0] => (0, heard),
            heard = second.next(), if here[1] => (1, heard),
        };
        let Some(Ok(WsMessage::Text(heard))) = heard else {
            here[from] = false;
            continue;
        };
        seen.lock().unwrap().push_str(&heard);
        let heard: Value = serde_json::from_str(&heard).unwrap();
        if heard["type"] != "message" {
            here[from] = false;
            let _ = if from == 0 { &mut first } else { &mut second }.close(None).await;
            continue;
        }
        for (to, data) in meddle(from, heard["data"].clone()) {
            let end = if to == 0 { &mut first } else { &mut second };
            let _ = end.send(text(json!({ "type": "message", "from": (1 - to).to_string(), "data": data }))).await;
        }
    }
}

fn honest() -> Meddle {
    Box::new(|from, data| vec![(1 - from, data)])
}

type Proved = Result<Sealed, SignalingError>;

/// Both ends through the relay, up to where they can speak.
async fn both(meddle: Meddle, mistyped: bool) -> (Proved, Proved, Arc<Mutex<String>>) {
    let (options, seen) = relay(meddle).await;
    let mut sender = Rendezvous::open(&options).await.unwrap();
    let mut code = sender.code().clone();
    if mistyped {
        code.words.swap(0, 1);
        code.words[0] = if code.words[0] == "amber" { "acorn" } else { "amber" };
    }
    let mut receiver = Rendezvous::find(&options, code).await.unwrap();
    assert!(sender.is_alone() && !receiver.is_alone());
    let send = async {
        assert!(sender.meet().await?.we_offer);
        match sender.prove(false).await {
            Ok(keys) => Ok(sender.sealed(keys)),
            Err(error) => {
                sender.leave().await;
                Err(error)
            }
        }
    };
    let receive = async {
        assert!(!receiver.meet().await?.we_offer);
        match receiver.prove(true).await {
            Ok(keys) => {
                assert!(keys.is_checked && keys.check.split('-').count() == 4);
                Ok(receiver.sealed(keys))
            }
            Err(error) => {
                receiver.leave().await;
                Err(error)
            }
        }
    };
    let (sent, received) = tokio::join!(send, receive);
    (sent, received, seen)
}

fn offer() -> Message {
    Message::Description(super::super::Description {
        kind: super::super::DescriptionKind::Offer,
        sdp: "v=0\r\na=fingerprint:sha-256 AB:CD\r\n".to_owned(),
    })
}

fn kind<T>(result: Result<T, impl Into<Error>>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it was not noticed"),
        Err(error) => error.into().kind(),
    }
}

#[tokio::test]
async fn those_who_have_the_code_speak_and_the_server_can_read_nothing() {
    let (sender, receiver, seen) = both(honest(), false).await;
    let (mut sender, mut receiver) = (sender.unwrap(), receiver.unwrap());
    let (one, other) = tokio::join!(sender.ready(), receiver.ready());
    one.and(other).unwrap();
    sender.send(&offer()).await.unwrap();
    assert_eq!(receiver.receive().await.unwrap(), Some(offer()));
    receiver.send(&Message::EndOfCandidates).await.unwrap();
    receiver.send(&Message::Bye).await.unwrap();
    assert_eq!(sender.receive().await.unwrap(), Some(Message::EndOfCandidates));
    assert_eq!(sender.receive().await.unwrap(), Some(Message::Bye));
    let seen = seen.lock().unwrap();
    assert!(seen.matches("sealed").count() >= 5, "{seen}");
    for word in ["fingerprint", "v=0", "candidates", "ready"] {
        assert!(!seen.contains(word), "{word}: {seen}");
    }
}

#[tokio::test]
async fn a_wrong_code_ends_both() {
    let (sender, receiver, _) = both(honest(), true).await;
    assert!(matches!(sender, Err(SignalingError::Code(CodeError::Guessed))));
    assert!(matches!(receiver, Err(SignalingError::Code(CodeError::Wrong))));
}

/// The same text with another character in the middle.
fn altered(text: &Value) -> Value {
    let mut text = text.as_str().unwrap().as_bytes().to_vec();
    let middle = text.len() / 2;
    text[middle] = if text[middle] == b'A' { b'B' } else { b'A' };
    String::from_utf8(text).unwrap().into()
}

#[tokio::test]
async fn a_server_that_meddles_with_the_exchange_is_refused_by_both() {
    let alter = |line: &'static str, member: &'static str| -> Meddle {
        Box::new(move |from, mut data| {
            if data["type"] == line {
                data[member] = if data[member].is_string() { altered(&data[member]) } else { json!(true) };
            }
            vec![(1 - from, data)]
        })
    };
    let answers_itself: Meddle = Box::new(|from, data| vec![(from, data)]);
    for meddle in [alter("pake", "element"), alter("pake", "checks"), alter("confirm", "mac"), answers_itself] {
        let (sender, receiver, _) = both(meddle, false).await;
        assert_eq!(kind(sender), ErrorKind::Auth);
        assert_eq!(kind(receiver), ErrorKind::Auth);
    }
}

#[tokio::test]
async fn what_is_altered_replayed_reflected_or_kept_back_later_is_refused() {
    let when = |number: u64, change: fn(Value) -> Vec<(usize, Value)>| -> Meddle {
        Box::new(move |from, data| match from == 0 && data["type"] == "sealed" && data["n"] == number {
            true => change(data),
            false => vec![(1 - from, data)],
        })
    };
    let cases: [(&str, Meddle); 5] = [
        (
            "altered",
            when(1, |mut data| {
                data["box"] = altered(&data["box"]);
                vec![(1, data)]
            }),
        ),
        ("replayed", when(1, |data| vec![(1, data.clone()), (1, data)])),
        ("kept back", when(1, |_| Vec::new())),
        (
            "renumbered",
            when(2, |mut data| {
                data["n"] = json!(1);
                vec![(1, data)]
            }),
        ),
        ("made up", when(1, |_| vec![(1, serde_json::from_str(&Message::Bye.to_json()).unwrap())])),
    ];
    for (what, meddle) in cases {
        let (sender, receiver, _) = both(meddle, false).await;
        let (mut sender, mut receiver) = (sender.unwrap(), receiver.unwrap());
        let (one, other) = tokio::join!(sender.ready(), receiver.ready());
        one.and(other).unwrap();
        sender.send(&offer()).await.unwrap();
        sender.send(&Message::EndOfCandidates).await.unwrap();
        let mut heard = Vec::new();
        let error = loop {
            match receiver.receive().await {
                Ok(message) => heard.push(message.unwrap()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Auth, "{what}: {error}");
        assert!(heard.len() <= 1 && heard.iter().all(|message| *message == offer()), "{what}: {heard:?}");
    }
    // What the sender has said comes back to it, in place of what the receiver says.
    let reflected: Meddle = Box::new(|from, data| match data["type"] == "sealed" {
        true => vec![(from, data)],
        false => vec![(1 - from, data)],
    });
    let (sender, receiver, _) = both(reflected, false).await;
    assert_eq!(kind(sender.unwrap().ready().await), ErrorKind::Auth);
    assert_eq!(kind(receiver.unwrap().ready().await), ErrorKind::Auth);
}
