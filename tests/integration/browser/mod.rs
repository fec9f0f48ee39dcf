//! Headless Chromium over WebDriver and Firefox over Marionette, and the page in them that is the other end of a call.
//!
//! As many browsers of a kind as are used at once. They cannot outlive us: the kernel kills chromedriver, or Firefox, when
//! the thread that started it is gone, and Chromium ends when the pipe between the two breaks.

mod marionette;
mod page;
mod webdriver;
mod window;

pub use page::{Media, Page};
pub use window::Window;

use crate::support::{calls_share_the_machine, have};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A window of a browser.
trait Driver: Send {
    /// Loads a page.
    fn go(&self, url: &str);
    /// Runs a function body that ends by calling its last argument.
    fn execute_async(&self, script: &str, args: &Value) -> Value;
    /// What the window shows: PNG in base64.
    fn screenshot(&self) -> Value;
    /// Loads the page of the window again.
    fn reload(&self);
    /// Clicks on the first element that the CSS selector finds, as a mouse does.
    fn click(&self, selector: &str);
    /// Types into it, as a keyboard does; a field for files takes paths, each on a line.
    fn write(&self, selector: &str, text: &str);
    /// The current window.
    fn window(&self) -> String;
    /// Another window, which is the current one from now on.
    fn open_window(&self) -> String;
    /// Makes this window the current one.
    fn enter_window(&self, handle: &str);
    /// Closes all windows but one.
    fn leave_windows(&self);
}

/// How WebDriver marks a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Where Chromium saves downloads.
pub fn downloads() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("downloads")
}

#[test]
fn chromium_calls_itself() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    let result = page.call("callItself", json!([{ "media": "both" }]));
    let connected = result["connected"].as_f64().unwrap();
    assert!(connected > 0.0 && connected < 5000.0, "offer to connected: {connected} ms");
    for name in ["caller", "callee"] {
        page.await_frames(name, 20);
        let inbound = page.stat(name, "inbound-rtp", "video");
        assert!(inbound["framesDecoded"].as_f64().unwrap() > 0.0, "{inbound}");
        let state = page.state(name);
        assert!(state["frames"]["changed"].as_u64().unwrap() > 10, "the picture stands still: {state}");
    }
}

#[test]
fn firefox_calls_itself() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open_in_firefox() else { return };
    page.call("callItself", json!([{ "media": "both" }]));
    for name in ["caller", "callee"] {
        page.await_frames(name, 20);
    }
}

#[test]
fn both_languages_make_the_same_noise_and_the_same_hash() {
    let Some(page) = Page::open() else { return };
    for (len, seed) in [(0, 1), (1, 2), (70_000, 3)] {
        let theirs = page.evaluate("fnv1a(noise(arguments[0], arguments[1]))", json!([len, seed]));
        assert_eq!(theirs.as_u64().unwrap(), u64::from(crate::support::fnv1a(&crate::support::noise(len, seed))));
    }
}

/// Whether both programs are here; says so when not.
fn installed() -> bool {
    have("chromium") && have("chromedriver")
}
