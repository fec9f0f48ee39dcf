//! WHIP and WHEP: servers and clients whose other end is a browser, and servers that refuse.

mod client;
mod conformance;
mod foreign;
mod listener;

use crate::support::{Exit, PATIENCE, Rtckit};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// A server that answers one request after the other, when the test says.
struct Server {
    listener: TcpListener,
}

/// One request, to be answered.
struct Request {
    stream: TcpStream,
    method: String,
    path: String,
    /// In lower case.
    head: String,
    body: String,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/live/x", self.listener.local_addr().unwrap())
    }

    /// The next request.
    fn next(&self) -> Request {
        let begin = Instant::now();
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Request::read(stream),
                Err(_) => assert!(begin.elapsed() < PATIENCE, "no request came"),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Request {
    fn read(mut stream: TcpStream) -> Self {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let lower = head.to_ascii_lowercase();
                let length =
                    lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
                if body.len() >= length.unwrap_or(0) {
                    let mut words = head.split(' ').map(str::to_owned);
                    let (method, path) = (words.next().unwrap(), words.next().unwrap());
                    return Self { stream, method, path, head: lower, body: body.to_owned() };
                }
            }
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0, "a request broke off: {text}");
            bytes.extend_from_slice(&chunk[..count]);
        }
    }

    fn answer(mut self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
        self.stream.write_all((head + body).as_bytes()).unwrap();
    }

    fn description(&self, kind: &str) -> Value {
        assert!(self.head.contains("content-type: application/sdp"), "{}", self.head);
        json!({ "type": kind, "sdp": self.body })
    }
}

/// A listener, and where it listens.
fn listening(args: &[&str], token: &Path) -> (Rtckit, String) {
    let token = format!("--token-file={}", token.display());
    let mut rtckit = Rtckit::start(args.iter().copied().chain(["--events", &token]));
    let event = rtckit.json();
    assert_eq!(event["type"], "listening", "{event}");
    (rtckit, event["urls"][0].as_str().unwrap().to_owned())
}

/// The last line of `--events`.
fn result(exit: &Exit) -> Value {
    let stdout = String::from_utf8_lossy(&exit.stdout);
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}
