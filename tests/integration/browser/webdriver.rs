//! The few commands of W3C WebDriver that the tests need, over plain HTTP/1.1 to a chromedriver of our own.

use super::{Driver, ELEMENT, downloads};
use crate::support::{dies_with_us, in_network_of};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// One browser window.
pub struct WebDriver {
    port: u16,
    session: String,
    /// The process in whose network it is, if not in ours.
    elsewhere: Option<u32>,
}

/// A connection within the network of another process: a program in it passes on what is said.
struct Through(Child);

impl Read for Through {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.stdout.as_mut().expect("it is a pipe").read(buffer)
    }
}

impl Write for Through {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.stdin.as_mut().expect("it is a pipe").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.stdin.as_mut().expect("it is a pipe").flush()
    }
}

impl Drop for Through {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// What Chromium is always started with; the camera and microphone are its fakes.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-pipe",
];

impl WebDriver {
    /// Starts chromedriver and through it Chromium, with `extra` flags; in the network of another process if one is named.
    pub fn start(extra: &[&str], elsewhere: Option<u32>) -> Self {
        let (sender, receiver) = sync_channel(1);
        // The thread lives as long as chromedriver, which is killed when the thread ends.
        std::thread::Builder::new()
            .name("chromedriver".to_owned())
            .spawn(move || {
                let mut command = match elsewhere {
                    None => dies_with_us("chromedriver"),
                    Some(process) => {
                        let mut command = dies_with_us("nsenter");
                        command.args(in_network_of(process, "chromedriver").get_args());
                        command
                    }
                };
                let mut driver = command
                    .args(["--port=0", "--log-level=SEVERE"])
                    .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
                for line in lines.map_while(Result::ok) {
                    if let Some((_, port)) = line.split_once("successfully on port ") {
                        let _ = sender.send(port.trim_end_matches('.').parse::<u16>().unwrap());
                    }
                }
                let _ = driver.wait();
            })
            .unwrap();
        let port = receiver.recv_timeout(Duration::from_secs(20)).expect("chromedriver says its port");
        let mut driver = Self { port, session: String::new(), elsewhere };
        let flags: Vec<_> = FLAGS.iter().chain(extra).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "timeouts": { "script": 30_000, "pageLoad": 20_000 },
            "goog:chromeOptions": { "args": flags, "prefs": { "download.default_directory": downloads() } },
        } } });
        let session = driver.command("POST", "", &wanted);
        driver.session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        driver
    }

    fn command(&self, method: &str, what: &str, body: &Value) -> Value {
        let path = match self.session.as_str() {
            "" => "/session".to_owned(),
            session => format!("/session/{session}{what}"),
        };
        let (status, reply) = self
            .exchange(method, &path, &body.to_string())
            .unwrap_or_else(|error| panic!("WebDriver {method} {path}: {error}"));
        let reply: Value = serde_json::from_str(&reply).unwrap_or_default();
        assert_eq!(status, 200, "WebDriver {method} {path}: {}", reply["value"]["message"]);
        reply["value"].clone()
    }

    fn find(&self, selector: &str) -> String {
        let found = self.command("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        if let Some(process) = self.elsewhere {
            let mut command = in_network_of(process, "busybox");
            command.args(["nc", "127.0.0.1", &self.port.to_string()]);
            return Ok(Box::new(Through(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)));
        }
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Box::new(stream))
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = self.connect()?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut reply = vec![0; length];
        reader.read_exact(&mut reply)?;
        Ok((status, String::from_utf8_lossy(&reply).into_owned()))
    }
}

impl Drop for WebDriver {
    /// Ends Chromium, and chromedriver behind it.
    fn drop(&mut self) {
        let _ = self.exchange("DELETE", &format!("/session/{}", self.session), "");
        let _ = self.exchange("GET", "/shutdown", "");
    }
}

impl Driver for WebDriver {
    fn go(&self, url: &str) {
        self.command("POST", "/url", &json!({ "url": url }));
    }

    fn execute_async(&self, script: &str, args: &Value) -> Value {
        self.command("POST", "/execute/async", &json!({ "script": script, "args": args }))
    }

    fn screenshot(&self) -> Value {
        self.command("GET", "/screenshot", &json!({}))
    }

    fn reload(&self) {
        self.command("POST", "/refresh", &json!({}));
    }

    fn click(&self, selector: &str) {
        self.command("POST", &format!("/element/{}/click", self.find(selector)), &json!({}));
    }

    fn write(&self, selector: &str, text: &str) {
        self.command("POST", &format!("/element/{}/value", self.find(selector)), &json!({ "text": text }));
    }

    fn window(&self) -> String {
        self.command("GET", "/window", &json!({})).as_str().unwrap().to_owned()
    }

    fn open_window(&self) -> String {
        let opened = self.command("POST", "/window/new", &json!({ "type": "window" }));
        let handle = opened["handle"].as_str().unwrap().to_owned();
        self.enter_window(&handle);
        handle
    }

    fn enter_window(&self, handle: &str) {
        self.command("POST", "/window", &json!({ "handle": handle }));
    }

    fn leave_windows(&self) {
        let mut handles = self.command("GET", "/window/handles", &json!({}));
        let handles = handles.as_array_mut().unwrap();
        let stays = handles.remove(0);
        for handle in handles {
            self.enter_window(handle.as_str().unwrap());
            self.command("DELETE", "/window", &json!({}));
        }
        self.enter_window(stays.as_str().unwrap());
    }
}
