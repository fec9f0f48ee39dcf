//! The desktop portal, played by the tests: a session bus, a ScreenCast service on it, and PipeWire with a stream that we feed.

mod feed;
mod service;

use super::RED;
use super::call::Sending;
use crate::support::{PATIENCE, Rtckit, Scratch, await_that, dies_with_us, have, one_call_at_a_time};
use feed::Feed;
use service::{Answer, Service};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A desktop session without a display server.
struct Desktop {
    runtime: Scratch,
    bus: String,
    children: Vec<Child>,
}

impl Desktop {
    fn start() -> Self {
        let runtime = Scratch::new();
        let start = |program: &str, args: &[&str], bus: &str| {
            dies_with_us(program)
                .args(args)
                .env("XDG_RUNTIME_DIR", runtime.path(""))
                .env("XDG_STATE_HOME", runtime.path(""))
                .env("DBUS_SESSION_BUS_ADDRESS", bus)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let address = format!("--address=unix:path={}", runtime.path("bus").display());
        let mut daemon = start("dbus-daemon", &["--session", "--nofork", "--print-address=1", &address], "");
        let mut bus = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut bus).unwrap();
        let bus = bus.trim().to_owned();
        let pipewire = start("pipewire", &[], &bus);
        await_that("PipeWire", || runtime.path("pipewire-0").exists());
        let manager = start("wireplumber", &[], &bus);
        Self { runtime, bus, children: vec![manager, pipewire, daemon] }
    }

    fn on(&self, command: &mut Command) {
        // Where nothing answers, the portal is the only way.
        command.env("XDG_RUNTIME_DIR", self.runtime.path("")).env("DBUS_SESSION_BUS_ADDRESS", &self.bus);
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn equipped() -> bool {
    ["dbus-daemon", "pipewire", "wireplumber"].into_iter().all(have)
}

#[test]
fn what_a_person_picks_is_sent_and_their_permission_is_kept_for_the_next_time() {
    if !equipped() {
        return;
    }
    let _turn = one_call_at_a_time();
    let desktop = Desktop::start();
    let socket = desktop.runtime.path("pipewire-0");
    let feed = Feed::start(&socket, (320, 240), [0, 0, 255, 0]);
    let service = Service::start(&desktop.bus, &socket, feed.node(), Answer::Yes);
    let token = desktop.runtime.path("token");
    let more = ["--restore-token", token.to_str().unwrap(), "--cursor", "never"];
    for (asked, kept) in [(None, "token-1"), (Some("token-1"), "token-2")] {
        let mut sending = Sending::start_on(|command| desktop.on(command), "--video=window", &more);
        sending.await_picture("the surface", |pictures, frame| {
            (pictures.width, pictures.height) == (320, 240) && pictures.is(frame, (160, 120), RED)
        });
        let seen = service.seen();
        assert_eq!(seen.restore_token.as_deref(), asked);
        // Windows, hidden cursor, kept until it is revoked.
        assert_eq!((seen.types, seen.cursor_mode, seen.persist_mode), (Some(2), Some(1), Some(2)));
        assert_eq!(std::fs::read_to_string(&token).unwrap().trim(), kept);
        sending.call.interrupt();
        assert_eq!(sending.call.wait(PATIENCE).code, Some(130));
        await_that("the end of the session", || service.seen().closed);
    }
}

#[test]
fn a_person_who_says_no_and_a_desktop_without_the_portal_are_device_errors() {
    if !equipped() {
        return;
    }
    let desktop = Desktop::start();
    let run = || {
        let token = desktop.runtime.path("token");
        let args = ["call", "--loopback", "--video=screen", "--restore-token", token.to_str().unwrap()];
        let mut command = Rtckit::command(args);
        desktop.on(&mut command);
        let exit = Rtckit::spawn(&mut command).wait(PATIENCE);
        assert_eq!(exit.code, Some(4), "{exit:?}");
        exit.error_line().to_owned()
    };
    let without = run();
    assert!(without.contains("portal"), "{without}");
    let _service = Service::start(&desktop.bus, &desktop.runtime.path("pipewire-0"), 0, Answer::No);
    let denied = run();
    assert!(denied.contains("said no"), "{denied}");
}
