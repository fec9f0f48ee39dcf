//! The server, as real clients see it.

use super::{Authority, Limits, Options, Server, Tls, Totals};
use crate::ice_server::IceServer;
use crate::progress::Silent;
use crate::stop::{Stop, StopReason};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Nothing here takes so long, unless the machine stands still.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) stop: Stop,
    pub(super) served: JoinHandle<Totals>,
}

pub(super) fn options() -> Options {
    Options {
        listen: "127.0.0.1:0".to_owned(),
        tls: None,
        limits: Limits::default(),
        origins: Vec::new(),
        files: None,
        ice_servers: Arc::new(Vec::new),
        redis: None,
    }
}

fn limited(limits: Limits) -> Options {
    Options { limits, ..options() }
}

pub(super) async fn start(options: Options) -> Running {
    let server = Server::bind(options).await.unwrap();
    let (address, stop) = (server.address(), Stop::new());
    let served = tokio::spawn(server.serve(Arc::new(Silent), stop.clone()));
    Running { address, stop, served }
}

pub(super) struct Client(WebSocketStream<TcpStream>);

impl Client {
    pub(super) async fn connect(server: &Running, room: &str) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        Self(client_async(format!("ws://{}/{room}", server.address), stream).await.unwrap().0)
    }

    /// A member of the room, and its `joined`.
    pub(super) async fn join(server: &Running, room: &str) -> (Self, Value) {
        let mut client = Self::connect(server, room).await;
        client.say(json!({ "type": "join", "version": 1 })).await;
        let joined = client.hear().await;
        assert_eq!(joined["type"], "joined", "{joined}");
        (client, joined)
    }

    pub(super) async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(super) async fn tell(&mut self, number: u64) {
        self.say(json!({ "type": "message", "data": { "n": number } })).await;
    }

    /// The next event but that somebody's connection was lost, which comes with others at any time.
    pub(super) async fn hear(&mut self) -> Value {
        loop {
            let heard = self.hear_all().await;
            if heard["type"] != "lost" {
                return heard;
            }
        }
    }

    /// The next event, or `{"close": CODE}`; null when the connection is gone without a word.
    pub(super) async fn hear_all(&mut self) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.0.next()).await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(Some(frame)))) => return json!({ "close": u16::from(frame.code) }),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Value::Null,
            }
        }
    }
}

#[tokio::test]
async fn members_meet_talk_and_leave_and_other_rooms_hear_nothing() {
    let mut limits = Limits { max_peers: 3, ..Limits::default() };
    limits.max_rate = 1000;
    let ice = Arc::new(|| vec![IceServer::parse("turn:u:p@turn.example").unwrap()]);
    let server = start(Options { ice_servers: ice, ..limited(limits) }).await;
    let mut first = Client::connect(&server, "demo").await;
    first.say(json!({ "type": "join", "version": 1, "role": "offer", "name": "Ann", "unknown": [1] })).await;
    let joined = first.hear().await;
    assert_eq!((&joined["room"], &joined["peers"], &joined["maxPeers"]), (&json!("demo"), &json!([]), &json!(3)));
    let servers = json!([{ "urls": ["turn:turn.example"], "username": "u", "credential": "p" }]);
    assert_eq!((&joined["iceServers"], &joined["resumed"]), (&servers, &json!(false)));

    let (mut second, told) = Client::join(&server, "demo").await;
    assert_eq!(told["peers"], json!([{ "id": joined["id"], "role": "offer", "name": "Ann" }]));
    let came = first.hear().await;
    assert_eq!((&came["type"], &came["id"], &came["role"]), (&json!("otherjoin"), &told["id"], &json!("any")));
    let (mut third, _) = Client::join(&server, "demo").await;
    let (mut stranger, _) = Client::join(&server, "other").await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.hear().await["type"], "otherjoin");
    }

    first.tell(1).await;
    first.say(json!({ "type": "message", "to": told["id"], "data": { "n": 2 } })).await;
    first.say(json!({ "type": "message", "to": "nobody", "data": {} })).await;
    first.tell(3).await;
    for (client, numbers) in [(&mut second, vec![1, 2, 3]), (&mut third, vec![1, 3])] {
        for number in numbers {
            let heard = client.hear().await;
            assert_eq!((&heard["data"]["n"], &heard["from"]), (&json!(number), &joined["id"]), "{heard}");
        }
    }
    assert_eq!(first.hear().await["code"], "no-such-peer");

    first.say(json!({ "type": "leave" })).await;
    assert_eq!(first.hear().await, json!({ "type": "left", "room": "demo", "id": joined["id"] }));
    assert_eq!(first.hear().await, json!({ "close": 1000 }));
    let bye = second.hear().await;
    assert_eq!((&bye["type"], &bye["id"]), (&json!("bye"), &joined["id"]));

    server.stop.stop(StopReason::Interrupt);
    assert_eq!(stranger.hear().await, json!({ "close": 1001 }), "something of another room came");
    assert_eq!(second.hear().await, json!({ "close": 1001 }));
    let totals = timeout(PATIENCE, server.served).await.unwrap().unwrap();
    assert_eq!((totals.joins, totals.messages, totals.refused), (4, 5, 0));
}

#[tokio::test]
async fn one_too_many_is_told_and_comes_in_when_somebody_left() {
    let server = start(options()).await;
    let (mut first, _) = Client::join(&server, "demo").await;
    let (_second, _) = Client::join(&server, "demo").await;
    let mut third = Client::connect(&server, "demo").await;
    third.say(json!({ "type": "join", "version": 1 })).await;
    assert_eq!(third.hear().await, json!({ "type": "full", "room": "demo", "maxPeers": 2 }));
    assert_eq!(third.hear().await, json!({ "close": 4001 }));
    first.say(json!({ "type": "leave" })).await;
    assert_eq!(first.hear().await["type"], "otherjoin");
    assert_eq!(first.hear().await["type"], "left");
    Client::join(&server, "demo").await;
}

#[tokio::test]
async fn whoever_breaks_the_protocol_is_told_how_and_closed() {
    let limits = Limits { max_message_size: 2000, max_rate: 10, max_rooms: 1, ..Limits::default() };
    let server = start(limited(limits)).await;
    let (_inside, _) = Client::join(&server, "demo").await;
    let join = Message::text(r#"{"type":"join","version":1}"#);
    let flood: Vec<Message> = std::iter::repeat_n(Message::text(r#"{"type":"wave"}"#), 40).collect();
    let long = format!("{{\"type\":\"join\",\"version\":1,\"name\":\"{}\"}}", "x".repeat(1 << 20));
    for (what, room, frames, code, close) in [
        ("no JSON", "demo", vec![Message::text("hello")], "bad-message", 4000),
        ("binary", "demo", vec![Message::binary(vec![1, 2, 3])], "bad-message", 4000),
        ("out of order", "demo", vec![Message::text(r#"{"type":"leave"}"#)], "bad-message", 4000),
        ("twice", "demo", vec![join.clone(), join.clone()], "bad-message", 4000),
        ("version", "demo", vec![Message::text(r#"{"type":"join","version":7}"#)], "unsupported-version", 4004),
        ("huge", "demo", vec![Message::text(long)], "too-large", 1009),
        ("flood", "demo", flood, "rate", 4002),
        ("rooms", "more", vec![join.clone()], "too-many-rooms", 1013),
    ] {
        let mut client = Client::connect(&server, room).await;
        for frame in frames {
            // It may be closed in the middle.
            let _ = client.0.send(frame).await;
        }
        let mut heard = client.hear().await;
        if heard["type"] == "joined" {
            heard = client.hear().await;
        }
        assert_eq!((&heard["type"], &heard["code"]), (&json!("error"), &json!(code)), "{what}: {heard}");
        assert_eq!(client.hear().await, json!({ "close": close }), "{what}");
    }
}

#[tokio::test]
async fn a_connection_that_was_lost_is_resumed_and_every_message_comes_once() {
    let server = start(options()).await;
    let (mut first, _) = Client::join(&server, "demo").await;
    let (mut second, joined) = Client::join(&server, "demo").await;
    assert_eq!(first.hear().await["type"], "otherjoin");
    first.tell(1).await;
    first.tell(2).await;
    let (one, two) = (second.hear().await, second.hear().await);
    assert_eq!((&one["seq"], &two["seq"]), (&json!(1), &json!(2)));
    second.say(json!({ "type": "message", "seq": 1, "data": { "n": 10 } })).await;
    assert_eq!(first.hear().await["data"]["n"], 10);

    // Gone without a close, and it never saw the second message.
    drop(second);
    first.tell(3).await;
    let resume = json!({ "type": "join", "version": 1, "resume": joined["token"], "seq": 1 });
    let mut second = Client::connect(&server, "demo").await;
    second.say(resume.clone()).await;
    let again = second.hear().await;
    assert_eq!((&again["id"], &again["resumed"], &again["received"]), (&joined["id"], &json!(true), &json!(1)));
    for number in [2, 3] {
        assert_eq!(second.hear().await["data"]["n"], number);
    }
    let back = first.hear().await;
    assert_eq!((&back["type"], &back["id"]), (&json!("rejoined"), &joined["id"]));

    // What it sends again is passed over.
    for (seq, number) in [(1, 10), (2, 11)] {
        second.say(json!({ "type": "message", "seq": seq, "data": { "n": number } })).await;
    }
    assert_eq!(first.hear().await["data"]["n"], 11);

    // From another connection while this one is up, which is closed then.
    let mut third = Client::connect(&server, "demo").await;
    third.say(json!({ "type": "join", "version": 1, "resume": joined["token"], "seq": 3 })).await;
    assert_eq!(third.hear().await["resumed"], true);
    assert_eq!(second.hear().await, json!({ "close": 4006 }));
    // And a token that is none is that of somebody new.
    let mut fourth = Client::connect(&server, "demo").await;
    fourth.say(json!({ "type": "join", "version": 1, "resume": "guess" })).await;
    assert_eq!(fourth.hear().await["type"], "full");
}

#[tokio::test]
async fn whoever_does_not_come_back_is_gone_and_its_place_free() {
    let server = start(limited(Limits { resume: Duration::from_millis(50), ..Limits::default() })).await;
    let (mut first, _) = Client::join(&server, "demo").await;
    let (second, joined) = Client::join(&server, "demo").await;
    assert_eq!(first.hear().await["type"], "otherjoin");
    drop(second);
    let bye = first.hear().await;
    assert_eq!((&bye["type"], &bye["id"]), (&json!("bye"), &joined["id"]));
    let mut late = Client::connect(&server, "demo").await;
    late.say(json!({ "type": "join", "version": 1, "resume": joined["token"], "seq": 0 })).await;
    let again = late.hear().await;
    assert!(again["resumed"] == false && again["id"] != joined["id"], "{again}");
}

/// Also used where the rooms are shared.
pub(super) async fn the_place_of_who_was_lost_goes_to_whoever_comes(server: &Running) {
    let (mut first, _) = Client::join(server, "demo").await;
    let (second, joined) = Client::join(server, "demo").await;
    assert_eq!(first.hear().await["type"], "otherjoin");
    drop(second);
    let lost = first.hear_all().await;
    assert_eq!((&lost["type"], &lost["id"]), (&json!("lost"), &joined["id"]));
    let (mut anew, told) = Client::join(server, "demo").await;
    assert_eq!(told["peers"].as_array().unwrap().len(), 1, "{told}");
    let (bye, came) = (first.hear_all().await, first.hear_all().await);
    assert_eq!((&bye["type"], &bye["id"]), (&json!("bye"), &joined["id"]));
    assert_eq!((&came["type"], &came["id"]), (&json!("otherjoin"), &told["id"]));
    // Who was lost comes too late, and those that are there stay.
    let mut late = Client::connect(server, "demo").await;
    late.say(json!({ "type": "join", "version": 1, "resume": joined["token"], "seq": 0 })).await;
    assert_eq!(late.hear().await["type"], "full");
    anew.tell(1).await;
    assert_eq!(first.hear_all().await["data"]["n"], 1);
}

/// Also used where the rooms are shared.
pub(super) async fn what_members_say_of_themselves_is_passed_on(server: &Running, room: &str) {
    let mut told = Vec::new();
    let mut clients = Vec::new();
    for receives in ["audio", "of later"] {
        let mut client = Client::connect(server, room).await;
        let capabilities = json!({ "version": 1, "receives": [receives], "more": { "seq": 1 } });
        client.say(json!({ "type": "join", "version": 1, "capabilities": &capabilities })).await;
        let joined = client.hear().await;
        assert_eq!(joined["type"], "joined", "{joined}");
        told.push((joined, capabilities));
        clients.push(client);
    }
    assert_eq!(told[1].0["peers"][0]["capabilities"], told[0].1);
    let came = clients[0].hear().await;
    assert_eq!((&came["id"], &came["capabilities"]), (&told[1].0["id"], &told[1].1));
    // It is known to whoever comes later too, and who says nothing is told of without it.
    drop(clients.remove(0));
    while clients[0].hear_all().await["type"] != "lost" {}
    let (_client, told) = Client::join(server, room).await;
    assert_eq!(told["peers"][0]["capabilities"]["receives"], json!(["of later"]));
    while clients[0].hear_all().await["type"] != "bye" {}
    let came = clients[0].hear().await;
    assert_eq!((&came["id"], came.get("capabilities")), (&told["id"], None));
}

#[tokio::test]
async fn members_hear_what_others_say_of_themselves_if_it_is_short() {
    let server = start(limited(Limits { hold: Duration::ZERO, ..Limits::default() })).await;
    what_members_say_of_themselves_is_passed_on(&server, "demo").await;
    let mut client = Client::connect(&server, "other").await;
    let long = json!({ "version": 1, "receives": ["x".repeat(1024)] });
    client.say(json!({ "type": "join", "version": 1, "capabilities": long })).await;
    assert_eq!(client.hear().await["code"], "bad-message");
    assert_eq!(client.hear().await, json!({ "close": 4000 }));
}

#[tokio::test]
async fn a_full_room_has_a_place_for_a_program_that_was_started_anew() {
    let now = start(limited(Limits { hold: Duration::ZERO, ..Limits::default() })).await;
    the_place_of_who_was_lost_goes_to_whoever_comes(&now).await;
    let later = start(limited(Limits { hold: Duration::from_secs(3600), ..Limits::default() })).await;
    let (mut first, _) = Client::join(&later, "demo").await;
    drop(Client::join(&later, "demo").await);
    while first.hear_all().await["type"] != "lost" {}
    let mut third = Client::connect(&later, "demo").await;
    third.say(json!({ "type": "join", "version": 1 })).await;
    assert_eq!(third.hear().await["type"], "full");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off_and_the_others_are_not_held_up() {
    let limits = Limits { max_peers: 3, max_message_size: 16 << 10, max_rate: 100_000, ..Limits::default() };
    let server = start(limited(limits)).await;
    // A small window, so that not all of it vanishes in buffers.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(server.address).await.unwrap();
    let mut slow = Client(client_async(format!("ws://{}/demo", server.address), stream).await.unwrap().0);
    slow.say(json!({ "type": "join", "version": 1 })).await;
    let joined = slow.hear().await;
    let (mut sender, _) = Client::join(&server, "demo").await;
    let (mut reader, _) = Client::join(&server, "demo").await;
    assert_eq!(sender.hear().await["type"], "otherjoin");
    let text = "x".repeat(8 << 10);
    let mut cut = false;
    for number in 0..20_000 {
        sender.say(json!({ "type": "message", "data": { "n": number, "text": text } })).await;
        let mut heard = reader.hear().await;
        if heard["type"] == "bye" {
            assert_eq!(heard["id"], joined["id"]);
            cut = true;
            heard = reader.hear().await;
        }
        assert_eq!(heard["data"]["n"], number, "{}", heard["type"]);
        if cut {
            break;
        }
    }
    assert!(cut, "megabytes wait for somebody who reads nothing");
}

#[tokio::test]
async fn whoever_says_nothing_is_sent_away() {
    let server = start(limited(Limits { idle_timeout: Duration::from_secs(1), ..Limits::default() })).await;
    let (mut living, _) = Client::join(&server, "demo").await;
    let (mut dead, _) = Client::join(&server, "demo").await;
    assert_eq!(living.hear().await["type"], "otherjoin");
    // Pings are answered while it waits for something to hear: the one that lives outlasts the one that does not.
    let metrics = async {
        loop {
            let (_, _, text) = get(&server, "/metrics", "").await;
            // A client counts until it has taken the close, or a second has passed.
            if text.contains("closes_total{code=\"4003\"} 1") && text.contains("rtckit_signal_clients 1\n") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        seen = timeout(PATIENCE, metrics) => seen.expect("it was never sent away"),
        heard = living.hear() => panic!("the living one heard {heard}"),
    }
    // Read below the WebSocket, whose answers to pings nobody takes any more.
    let mut told = Vec::new();
    timeout(PATIENCE, dead.0.get_mut().read_to_end(&mut told)).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&told);
    assert!(said.contains("\"code\":\"idle\"") && told.ends_with(b"\x0F\xA3idle"), "{said:?}");
}

/// Status, head and body of a plain request.
pub(super) async fn get(server: &Running, path: &str, headers: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", server.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut response)).await.unwrap().unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn the_page_is_at_every_room_and_may_do_little() {
    let server = start(options()).await;
    for path in ["/", "/demo", "/7-crossword-apollo"] {
        let (status, head, body) = get(&server, path, "").await;
        assert!(status == 200 && body.starts_with("<!doctype html>"), "{path}");
        assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
    assert_eq!(get(&server, "/healthz", "").await.2, "ok\n");
    for path in ["/b%c3%b6se", "/page/nothing.js", "/a/b", "/favicon.ico"] {
        assert_eq!(get(&server, path, "").await.0, 404, "{path}");
    }
    let (_, head, text) = get(&server, "/metrics", "").await;
    assert!(head.contains("application/openmetrics-text") && text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn a_folder_takes_the_place_of_the_page_and_nothing_outside_is_served() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("public");
    std::fs::create_dir_all(folder.join("page")).unwrap();
    std::fs::write(scratch.path().join("secret"), "secret").unwrap();
    for (name, text) in [("index.html", "mine"), ("app.js", "script"), ("page/more.js", "more")] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let server = start(Options { files: Some(folder), ..options() }).await;
    for (path, text) in [("/", "mine"), ("/demo", "mine"), ("/app.js", "script"), ("/page/more.js", "more")] {
        assert_eq!(get(&server, path, "").await.2, text, "{path}");
    }
    for path in ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "/page/..%2f..%2fsecret"] {
        assert!(!get(&server, path, "").await.2.contains("secret"), "{path}");
    }
    Client::join(&server, "app.js").await;
}

#[tokio::test]
async fn pages_of_other_origins_may_not_connect_unless_listed() {
    let server = start(Options { origins: vec!["https://friend.example".to_owned()], ..options() }).await;
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let strange = format!("{upgrade}Origin: https://stranger.example\r\n");
    assert_eq!(get(&server, "/demo", &strange).await.0, 403);
    for origin in ["https://friend.example".to_owned(), format!("http://{}", server.address)] {
        let mut request = format!("ws://{}/demo", server.address).into_client_request().unwrap();
        request.headers_mut().insert("Origin", origin.parse().unwrap());
        let stream = TcpStream::connect(server.address).await.unwrap();
        client_async(request, stream).await.unwrap();
    }
    assert_eq!(get(&server, "/metrics", upgrade).await.0, 200, "that is no room");
}

#[tokio::test]
async fn over_tls_whoever_trusts_the_authority_comes_in() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::load_or_create(scratch.path()).unwrap();
    let tls = Some(Tls::issued(&authority, &["localhost".to_owned()]).unwrap());
    let server = start(Options { tls, ..options() }).await;
    let connect = async |roots: RootCertStore| {
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
    };
    let error = connect(RootCertStore::empty()).await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let stream = connect(roots).await.unwrap();
    let (mut client, _) = client_async("wss://localhost/demo", stream).await.unwrap();
    client.send(Message::text(r#"{"type":"join","version":1}"#)).await.unwrap();
    let text = loop {
        match client.next().await {
            Some(Ok(Message::Text(text))) => break text,
            // A ping may come first.
            Some(Ok(_)) => {}
            end => panic!("no answer: {end:?}"),
        }
    };
    assert!(text.starts_with(r#"{"type":"joined""#), "{text}");
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_taken_up_and_a_broken_one_is_not() {
    let scratch = tempfile::tempdir().unwrap();
    let (certificate, key) = (scratch.path().join("cert.pem"), scratch.path().join("key.pem"));
    let make = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap(), key.serialize_pem())
    };
    // As tools that renew certificates do: a new file in the place of the old one.
    let put = |path: &std::path::Path, text: &str| {
        let draft = scratch.path().join("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, path).unwrap();
    };
    let (first, first_key) = make();
    put(&certificate, &first.pem());
    put(&key, &first_key);
    let tls = Some(Tls::from_files(&certificate, &key).unwrap());
    let server = start(Options { tls, ..options() }).await;
    let shown = async |roots: &rcgen::Certificate| {
        let mut trusted = RootCertStore::empty();
        trusted.add(roots.der().clone()).unwrap();
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(trusted).with_no_client_auth();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_ok()
    };
    assert!(shown(&first).await);
    let (second, second_key) = make();
    // One file after the other: what does not belong together is not used.
    put(&certificate, &second.pem());
    assert!(shown(&first).await && !shown(&second).await);
    put(&key, &second_key);
    assert!(shown(&second).await && !shown(&first).await);
    put(&certificate, "broken");
    assert!(shown(&second).await);
}
