//! `rtckit signal` from outside: its streams, its end, its files. What it says to clients is tested inside.

use crate::schema::{Written, assert_documented};
use crate::support::{PATIENCE, Rtckit, Scratch};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// A client in a room of the server at `url`, the page's.
fn enter(url: &str, room: &str) -> WebSocket<TcpStream> {
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    let stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = client(format!("ws://{authority}/{room}"), stream).unwrap().0;
    client.send(Message::text(r#"{"type":"join","version":1}"#)).unwrap();
    client
}

fn hear(client: &mut WebSocket<TcpStream>) -> Value {
    loop {
        match client.read().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(frame) => return json!({ "close": u16::from(frame.unwrap().code) }),
            _ => {}
        }
    }
}

#[test]
fn its_url_comes_first_and_a_signal_ends_it_in_order() {
    let mut server = Rtckit::start(["signal", "--listen", "127.0.0.1:0"]);
    let url = server.line();
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with('/'), "{url}");
    let mut client = enter(&url, "demo");
    assert_eq!(hear(&mut client)["type"], "joined");
    let port = url.trim_end_matches('/').rsplit_once(':').unwrap().1.to_owned();
    let exit = Rtckit::start(["signal", "--listen", &format!("127.0.0.1:{port}")]).wait(PATIENCE);
    assert_eq!(exit.code, Some(4), "{exit:?}");
    assert!(exit.error_line().contains("cannot listen") && exit.stderr.contains("hint: "), "{exit:?}");
    server.terminate();
    assert_eq!(hear(&mut client), json!({ "close": 1001 }));
    let exit = server.succeed(PATIENCE);
    assert!(exit.stderr.contains("demo: 127.0.0.1:") && exit.stdout.is_empty(), "{exit:?}");
}

#[test]
fn a_redis_that_is_not_there_ends_it_before_anybody_comes_and_its_password_is_shown_nowhere() {
    let args = ["signal", "--listen", "127.0.0.1:0", "--redis", "redis://:hush@127.0.0.1:9", "-vv"];
    let exit = Rtckit::start(args).wait(PATIENCE);
    assert_eq!(exit.code, Some(7), "{exit:?}");
    assert!(exit.error_line().contains("cannot use Redis at 127.0.0.1:9"), "{exit:?}");
    assert!(exit.stderr.contains("use RTCKIT_REDIS") && !exit.stderr.contains("hush"), "{exit:?}");
    assert!(exit.stdout.is_empty(), "{exit:?}");
}

#[test]
fn the_authority_is_made_once_and_printed() {
    let scratch = Scratch::new();
    let print = || {
        let mut command = Rtckit::command(["signal", "--print-ca"]);
        let exit = Rtckit::spawn(command.env("XDG_DATA_HOME", scratch.path("data"))).succeed(PATIENCE);
        String::from_utf8(exit.stdout).unwrap()
    };
    let pem = print();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----") && pem == print(), "{pem}");
    let key = scratch.path("data/rtckit/ca-key.pem");
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    let mut command = Rtckit::command(["signal", "--listen", "localhost:0", "--self-signed"]);
    let mut server = Rtckit::spawn(command.env("XDG_DATA_HOME", scratch.path("data")));
    assert!(server.line().starts_with("https://localhost:"));
    server.interrupt();
    server.succeed(PATIENCE);
}

#[test]
fn what_it_writes_is_what_the_man_page_says() {
    let scratch = Scratch::new();
    let log = scratch.path("log.ndjson");
    let mut server =
        Rtckit::start(["signal", "--listen", "0.0.0.0:0", "--events", "--events-file", log.to_str().unwrap()]);
    let url = loop {
        let line = std::fs::read_to_string(&log).unwrap_or_default();
        let lines = line.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(event) = lines.into_iter().find(|event| event["type"] == "listening") {
            break event["urls"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
        }
        assert!(server.is_running());
        std::thread::yield_now();
    };
    let (mut one, mut two, mut three) = (enter(&url, "demo"), enter(&url, "demo"), enter(&url, "demo"));
    let heard = [&mut one, &mut two, &mut three].map(hear);
    assert_eq!(heard.iter().filter(|event| event["type"] == "full").count(), 1, "{heard:?}");
    let inside = if heard[0]["type"] == "joined" { &mut one } else { &mut two };
    inside.send(Message::text(r#"{"type":"leave"}"#)).unwrap();
    while hear(inside)["type"] != "left" {}
    server.interrupt();
    let exit = server.succeed(PATIENCE);
    assert!(exit.stderr.contains("without TLS"), "{exit:?}");
    let mut written = Written::default();
    written.take(&log, "rtckit.signal/1");
    written.expect_report(&["eventsDropped", "error", "error.name", "error.stage", "error.message", "error.hint"]);
    assert_documented(&written, "man/rtckit-signal.1");
}
