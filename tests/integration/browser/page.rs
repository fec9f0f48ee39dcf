//! A fresh page with `peer.js` in it, and its functions as Rust sees them.

use super::{Driver, Window, installed, marionette::Marionette, webdriver::WebDriver};
use crate::support::{have, in_repository};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// What the page does with sound and picture.
#[derive(Clone, Copy)]
pub enum Media {
    /// Neither.
    None,
    /// Sends its fake camera and microphone.
    Send,
    /// Plays what it gets.
    Receive,
}

impl Media {
    const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Send => "send",
            Self::Receive => "receive",
        }
    }
}

/// The page, and the right to use the browser until this is dropped.
pub struct Page {
    browser: Held,
}

enum Held {
    /// One that others use before and after.
    Shared(MutexGuard<'static, Option<Box<dyn Driver>>>),
    /// It ends with the page.
    Own(WebDriver),
}

/// A browser, once it was started.
type Browser = Mutex<Option<Box<dyn Driver>>>;

fn chromium(flags: &[&str]) -> Box<dyn Driver> {
    Box::new(WebDriver::start(flags, None))
}

/// Long enough for anything that works.
const PATIENCE: Duration = Duration::from_secs(20);

impl Drop for Page {
    /// A call that goes on behind our back would slow down all tests that follow.
    fn drop(&mut self) {
        if !std::thread::panicking() && matches!(self.browser, Held::Shared(_)) {
            self.driver().leave_windows();
            self.driver().go("about:blank");
        }
    }
}

impl Page {
    /// In a browser that grants camera and microphone unasked, which also makes it show its real addresses once it uses
    /// them. `None`, and the skip is said, where there is no Chromium.
    pub fn open() -> Option<Self> {
        // As many as calls share the machine.
        static BROWSERS: [Browser; 2] = [const { Mutex::new(None) }; 2];
        installed().then(|| Self::in_browser(&BROWSERS, || chromium(&["--use-fake-ui-for-media-stream"])))
    }

    /// In a browser whose host candidates are `.local` names (mDNS), as those of every browser that was not given the
    /// camera.
    pub fn open_with_hidden_addresses() -> Option<Self> {
        static BROWSERS: [Browser; 1] = [Mutex::new(None)];
        installed().then(|| Self::in_browser(&BROWSERS, || chromium(&[])))
    }

    /// In a Chromium of its own with this flag, in the network of another process; it grants camera and microphone, and shows an empty page.
    pub fn open_in_network_of(process: u32, flag: &str) -> Option<Self> {
        let flags = ["--use-fake-ui-for-media-stream", flag];
        installed().then(|| Self { browser: Held::Own(WebDriver::start(&flags, Some(process))) })
    }

    /// In Firefox, which grants camera and microphone unasked.
    pub fn open_in_firefox() -> Option<Self> {
        static BROWSERS: [Browser; 1] = [Mutex::new(None)];
        have("firefox-esr").then(|| Self::in_browser(&BROWSERS, || Box::new(Marionette::start())))
    }

    fn in_browser(browsers: &'static [Browser], start: impl FnOnce() -> Box<dyn Driver>) -> Self {
        // A test that failed while it held the browser leaves nothing behind that a new page does not clear.
        let free = browsers.iter().find_map(|browser| match browser.try_lock() {
            Ok(driver) => Some(driver),
            Err(TryLockError::Poisoned(left)) => Some(left.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let mut driver = free.unwrap_or_else(|| browsers[0].lock().unwrap_or_else(PoisonError::into_inner));
        let started = driver.get_or_insert_with(start);
        started.leave_windows();
        started.go(&format!("http://{}/", server()));
        Self { browser: Held::Shared(driver) }
    }

    /// Leaves for a page of this repository.
    pub fn show_file(&self, path: &str) {
        self.driver().go(&format!("file://{}", in_repository(path).display()));
    }

    /// The window that is there.
    pub fn window(&self) -> Window<'_> {
        Window::new(self, self.driver().window())
    }

    /// Another window of the same browser; it is closed when the next page is opened.
    pub fn open_window(&self) -> Window<'_> {
        Window::new(self, self.driver().open_window())
    }

    pub(super) fn driver(&self) -> &dyn Driver {
        match &self.browser {
            Held::Shared(driver) => driver.as_deref().expect("started when the page was opened"),
            Held::Own(driver) => driver,
        }
    }

    /// Evaluates an expression, or the body of a function in braces; `args` is `arguments` in it.
    pub fn evaluate(&self, expression: &str, args: Value) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; (async () => {expression})().then(\
             (value) => done({{ value }}), (error) => done({{ error: String(error) }}));"
        );
        let result = self.driver().execute_async(&script, &args);
        assert!(result["error"].is_null(), "in the page: {}: {}", expression, result["error"]);
        result["value"].clone()
    }

    /// What the window shows, as PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        use base64::Engine;
        let picture = self.driver().screenshot();
        base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap()).unwrap()
    }

    /// Calls a function of `peer.js`.
    pub fn call(&self, function: &str, args: Value) -> Value {
        self.evaluate(&format!("{function}(...[...arguments].slice(0, {}))", args.as_array().map_or(0, Vec::len)), args)
    }

    /// A peer that will answer.
    pub fn create(&self, media: Media, echo: bool) {
        self.call("create", json!(["peer", { "media": media.word(), "echo": echo }]));
    }

    /// A peer that will offer, with a data channel if `channel` names one.
    pub fn create_offerer(&self, media: Media, channel: Option<&str>) {
        self.call("create", json!(["peer", { "media": media.word(), "offers": true, "channel": channel }]));
    }

    /// A peer that will offer sound on one pitch, coded as this media type alone.
    pub fn create_telephone(&self, hertz: u32, codec: &str) {
        self.call("create", json!(["peer", { "tone": hertz, "audioCodec": codec, "offers": true }]));
    }

    /// A peer that will offer its camera and microphone, the pictures coded in this form alone.
    pub fn create_camera(&self, format: &str) {
        self.call("create", json!(["peer", { "media": "send", "videoFormat": format, "offers": true }]));
    }

    /// The answer to `offer`; complete unless `trickle`.
    pub fn answer(&self, offer: &Value, trickle: bool) -> Value {
        self.call("answer", json!(["peer", offer, { "trickle": trickle }]))
    }

    /// An offer; complete unless `trickle`.
    pub fn offer(&self, trickle: bool) -> Value {
        self.call("offer", json!(["peer", { "trickle": trickle }]))
    }

    /// Takes the answer to our offer.
    pub fn accept(&self, answer: &Value) {
        self.call("accept", json!(["peer", answer]));
    }

    /// See `state` in `peer.js`.
    pub fn state(&self, name: &str) -> Value {
        self.call("state", json!([name]))
    }

    /// The statistics object of this type, and kind unless that is empty.
    pub fn stat(&self, name: &str, kind_of_stat: &str, kind: &str) -> Value {
        self.try_stat(name, kind_of_stat, kind).unwrap_or_else(|stats| panic!("no {kind_of_stat} {kind} in {stats}"))
    }

    /// The same, or all there is without it.
    fn try_stat(&self, name: &str, kind_of_stat: &str, kind: &str) -> Result<Value, Value> {
        let stats = self.call("stats", json!([name]));
        let is_it = |stat: &&Value| stat["type"] == kind_of_stat && (kind.is_empty() || stat["kind"] == kind);
        stats.as_array().unwrap().iter().find(is_it).cloned().ok_or(stats)
    }

    /// Waits until `holds` is true of such an object.
    pub fn await_stat(&self, name: &str, kind_of_stat: &str, kind: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let stat = self.try_stat(name, kind_of_stat, kind);
            if let Ok(stat) = &stat
                && holds(stat)
            {
                return stat.clone();
            }
            assert!(begin.elapsed() < PATIENCE, "waited for {kind_of_stat}: {stat:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until `holds` is true of the state of a peer.
    pub fn await_state(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let state = self.state(name);
            if holds(&state) {
                return state;
            }
            assert!(begin.elapsed() < PATIENCE, "waited for {what}: {state}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the peer is connected.
    pub fn await_connected(&self) {
        self.await_state("peer", "connected", |state| state["connection"] == "connected");
    }

    /// Waits until `count` frames were shown.
    pub fn await_frames(&self, name: &str, count: u64) -> Value {
        self.await_state(name, "frames", |state| state["frames"]["shown"].as_u64() >= Some(count))
    }
}

/// Where the page is served. Camera and microphone need a secure context, which 127.0.0.1 is.
fn server() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A browser opens connections ahead of need and leaves them silent.
                std::thread::spawn(move || serve(stream));
            }
        });
        address
    })
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    // All in one answer: a script that comes by a second one may not be there yet, or not come.
    let body = concat!("<!doctype html><meta charset=utf-8><body><script>", include_str!("peer.js"), "</script>");
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    )
}
