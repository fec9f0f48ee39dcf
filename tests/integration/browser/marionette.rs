//! Firefox by Marionette, the protocol behind its WebDriver: messages of JSON, each behind its length, over TCP.

use super::{Driver, ELEMENT};
use crate::support::dies_with_us;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// One browser window.
pub struct Marionette {
    stream: RefCell<BufReader<TcpStream>>,
    sent: Cell<u64>,
    _profile: tempfile::TempDir,
}

/// Camera and microphone are its fakes and granted unasked; this machine is the only network; nothing is fetched behind our
/// back.
const PREFERENCES: &str = r#"
user_pref("marionette.port", 0);
user_pref("media.navigator.streams.fake", true);
user_pref("media.navigator.permission.disabled", true);
user_pref("media.autoplay.default", 0);
user_pref("media.peerconnection.ice.loopback", true);
user_pref("media.peerconnection.ice.obfuscate_host_addresses", false);
user_pref("media.gmp-manager.updateEnabled", false);
user_pref("media.gmp-provider.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.dns.disablePrefetch", true);
user_pref("network.prefetch-next", false);
user_pref("browser.safebrowsing.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("browser.newtabpage.enabled", false);
user_pref("browser.region.update.enabled", false);
user_pref("app.update.disabledForTesting", true);
user_pref("app.normandy.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.server", "data:,");
user_pref("services.settings.server", "data:,#remote-settings-dummy/v1");
user_pref("extensions.systemAddon.update.enabled", false);
user_pref("extensions.getAddons.cache.enabled", false);
"#;

/// A cold start of a large program on a busy machine.
const STARTING: Duration = Duration::from_secs(60);

impl Marionette {
    /// Starts Firefox with a profile of its own.
    pub fn start() -> Self {
        let profile = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(profile.path().join("user.js"), PREFERENCES).unwrap();
        let folder = profile.path().to_owned();
        // The thread lives as long as Firefox, which is killed when the thread ends.
        std::thread::Builder::new()
            .name("firefox".to_owned())
            .spawn(move || {
                let mut firefox = dies_with_us("firefox-esr");
                firefox.args(["--headless", "--no-remote", "--marionette", "--profile"]).arg(&folder);
                firefox.env("HOME", &folder).env("MOZ_DISABLE_AUTO_SAFE_MODE", "1");
                firefox.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let _ = firefox.status();
            })
            .unwrap();
        let port = await_port(&profile.path().join("MarionetteActivePort"));
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(STARTING)).unwrap();
        let driver = Self { stream: RefCell::new(BufReader::new(stream)), sent: Cell::new(0), _profile: profile };
        assert_eq!(driver.read()["marionetteProtocol"], 3, "Firefox speaks another protocol");
        driver.command("WebDriver:NewSession", &json!({}));
        driver.command("WebDriver:SetTimeouts", &json!({ "script": 30_000, "pageLoad": 20_000 }));
        driver
    }

    fn command(&self, name: &str, parameters: &Value) -> Value {
        let id = self.sent.replace(self.sent.get() + 1);
        let message = json!([0, id, name, parameters]).to_string();
        let framed = format!("{}:{message}", message.len());
        self.stream.borrow_mut().get_mut().write_all(framed.as_bytes()).unwrap();
        let reply = self.read();
        assert_eq!(reply[1], id, "Marionette {name}: the answer is another's: {reply}");
        assert!(reply[2].is_null(), "Marionette {name}: {}", reply[2]["message"]);
        match reply[3].get("value") {
            Some(value) => value.clone(),
            None => reply[3].clone(),
        }
    }

    fn find(&self, selector: &str) -> String {
        let found = self.command("WebDriver:FindElement", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    fn read(&self) -> Value {
        let mut stream = self.stream.borrow_mut();
        let mut length = Vec::new();
        stream.read_until(b':', &mut length).unwrap();
        let length: usize = std::str::from_utf8(&length).unwrap().trim_end_matches(':').parse().unwrap();
        let mut message = vec![0; length];
        stream.read_exact(&mut message).unwrap();
        serde_json::from_slice(&message).unwrap()
    }
}

fn await_port(file: &PathBuf) -> u16 {
    let begin = Instant::now();
    loop {
        if let Some(port) = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
            return port;
        }
        assert!(begin.elapsed() < STARTING, "Firefox does not say its port");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Driver for Marionette {
    fn go(&self, url: &str) {
        self.command("WebDriver:Navigate", &json!({ "url": url }));
    }

    fn execute_async(&self, script: &str, args: &Value) -> Value {
        self.command("WebDriver:ExecuteAsyncScript", &json!({ "script": script, "args": args }))
    }

    fn screenshot(&self) -> Value {
        self.command("WebDriver:TakeScreenshot", &json!({ "full": false }))
    }

    fn reload(&self) {
        self.command("WebDriver:Refresh", &json!({}));
    }

    fn click(&self, selector: &str) {
        self.command("WebDriver:ElementClick", &json!({ "id": self.find(selector) }));
    }

    fn write(&self, selector: &str, text: &str) {
        self.command("WebDriver:ElementSendKeys", &json!({ "id": self.find(selector), "text": text }));
    }

    fn window(&self) -> String {
        self.command("WebDriver:GetWindowHandle", &json!({})).as_str().unwrap().to_owned()
    }

    fn open_window(&self) -> String {
        let opened = self.command("WebDriver:NewWindow", &json!({ "type": "window" }));
        let handle = opened["handle"].as_str().unwrap().to_owned();
        self.enter_window(&handle);
        handle
    }

    fn enter_window(&self, handle: &str) {
        self.command("WebDriver:SwitchToWindow", &json!({ "handle": handle, "focus": true }));
    }

    fn leave_windows(&self) {
        let mut handles = self.command("WebDriver:GetWindowHandles", &json!({}));
        let handles = handles.as_array_mut().unwrap();
        let stays = handles.remove(0);
        for handle in handles {
            self.enter_window(handle.as_str().unwrap());
            self.command("WebDriver:CloseWindow", &json!({}));
        }
        self.enter_window(stays.as_str().unwrap());
    }
}
