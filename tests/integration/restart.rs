//! A call that survives the death of its path: ICE restarts with Chromium as the other end, and a network that goes away.

use crate::browser::{Media, Page};
use crate::call_chromium::page_answers;
use crate::rooms_page::{await_picture, join};
use crate::support::{
    MediaFile, PATIENCE, Rtckit, Scratch, await_growth, await_that, calls_share_the_machine, have, in_network_of,
};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Carries descriptions and candidates across until the page has another ICE session and is connected by it.
fn renegotiate(page: &Page, rtckit: &mut Rtckit, before: &Value) {
    let begin = Instant::now();
    while {
        let now = page.call("ice", json!(["peer"]));
        now["fragment"] == before["fragment"] || now["theirs"] == before["theirs"] || now["state"] != "connected"
    } {
        assert!(begin.elapsed() < PATIENCE, "{}", page.call("ice", json!(["peer"])));
        while let Some(line) = rtckit.try_line(Duration::from_millis(5)) {
            let message: Value = serde_json::from_str(&line).unwrap();
            match message["type"].as_str() {
                Some("offer") => rtckit.write_json(&page.answer(&message, true)),
                Some("answer") => page.accept(&message),
                Some("candidate") => drop(page.call("addCandidate", json!(["peer", message]))),
                Some("end-of-candidates") => drop(page.call("addCandidate", json!(["peer", null]))),
                _ => panic!("unexpected: {line}"),
            }
        }
        for candidate in page.call("takeCandidates", json!(["peer"])).as_array().unwrap() {
            let mut message = candidate.clone();
            message["type"] = if message.is_null() { "end-of-candidates" } else { "candidate" }.into();
            rtckit.write_json(&message);
        }
    }
}

#[test]
fn chromium_restarts_ice_toward_us_and_we_toward_chromium_and_the_picture_goes_on() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    both_restart_ice(&page, || assert_eq!(page.stat("peer", "transport", "")["dtlsState"], "connected"));
}

#[test]
fn firefox_restarts_ice_toward_us_and_we_toward_firefox_and_the_picture_goes_on() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open_in_firefox() else { return };
    both_restart_ice(&page, || ());
}

fn both_restart_ice(page: &Page, at_last: impl FnOnce()) {
    let scratch = Scratch::new();
    let (commands, events) = (scratch.path("commands"), scratch.path("events.ndjson"));
    assert!(Command::new("mkfifo").arg(&commands).status().unwrap().success());
    page.create(Media::Receive, false);
    let args = ["call", "--trickle", "--video=test", "--audio=test", "--control", commands.to_str().unwrap()];
    let mut caller = Rtckit::start(args.iter().chain(&["--events-file", events.to_str().unwrap()]));
    let mut command = std::fs::OpenOptions::new().write(true).open(&commands).unwrap();
    page_answers(page, &mut caller, true);
    let shown = |page: &Page| page.state("peer")["frames"]["shown"].as_u64().unwrap();
    page.await_frames("peer", 10);

    let before = page.call("ice", json!(["peer"]));
    caller.write_json(&page.call("restart", json!(["peer"])));
    renegotiate(page, &mut caller, &before);
    page.await_frames("peer", shown(page) + 10);

    let before = page.call("ice", json!(["peer"]));
    command.write_all(b"{\"command\":\"restartIce\"}\n").unwrap();
    renegotiate(page, &mut caller, &before);
    page.await_frames("peer", shown(page) + 10);
    at_last();

    command.write_all(b"{\"command\":\"hangup\"}\n").unwrap();
    caller.succeed(PATIENCE);
    let events = std::fs::read_to_string(&events).unwrap();
    for side in ["remote", "local"] {
        assert!(events.contains(&format!("{{\"type\":\"icerestart\",\"side\":\"{side}\"")), "{events}");
    }
    let result: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!(result["connection"]["iceRestarts"], 2, "{result}");
}

/// Two machines on one wire: network namespaces of this test's own.
struct Wire {
    near: Child,
    far: Child,
}

impl Wire {
    /// `near` is 10.9.0.1, `far` 10.9.0.2.
    fn lay() -> Option<Self> {
        if !have("ip") || !have("nsenter") {
            return None;
        }
        let hold = |command: &mut Command| {
            let mut child =
                command.args(["sh", "-c", "echo up; exec sleep 600"]).stdout(Stdio::piped()).spawn().unwrap();
            let mut up = [0; 3];
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut up).unwrap();
            child
        };
        let near = hold(crate::support::dies_with_us("unshare").arg("-rn"));
        let far = hold(in_network_of(near.id(), "unshare").arg("-n"));
        let wire = Self { near, far };
        wire.run(true, &format!("ip link add w type veth peer name w netns {}", wire.far.id()));
        for (near, address) in [(true, "10.9.0.1"), (false, "10.9.0.2")] {
            wire.run(near, "ip link set lo up");
            wire.run(near, &format!("ip addr add {address}/24 dev w"));
            wire.run(near, "ip link set w up");
        }
        Some(wire)
    }

    fn run(&self, near: bool, command: &str) {
        let mut words = command.split_whitespace();
        let status = self.within(near, words.next().unwrap()).args(words).status().unwrap();
        assert!(status.success(), "{command}: {status}");
    }

    fn within(&self, near: bool, program: &str) -> Command {
        in_network_of(if near { self.near.id() } else { self.far.id() }, program)
    }

    fn start(&self, near: bool, args: &[&str]) -> Rtckit {
        let mut command = self.within(near, env!("CARGO_BIN_EXE_rtckit"));
        command.args(args).env("NO_COLOR", "1").stdin(Stdio::null());
        Rtckit::spawn(&mut command)
    }

    /// Nothing gets through from `far` for ten seconds, and until what is awaited then; then it has another address.
    fn go_away(&self, awaited: impl FnOnce()) {
        self.run(false, "ip link set w down");
        std::thread::sleep(Duration::from_secs(10));
        awaited();
        self.run(false, "ip addr flush dev w");
        self.run(false, "ip addr add 10.9.0.3/24 dev w");
        self.run(false, "ip link set w up");
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for holder in [&mut self.near, &mut self.far] {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

#[test]
fn a_call_in_a_room_goes_on_after_ten_seconds_without_a_network_and_from_another_address() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let Some(wire) = Wire::lay() else { return };
    let (recording, events) = (scratch.path("call.webm"), scratch.path("events.ndjson"));
    let mut server = wire.start(true, &["signal", "--listen=10.9.0.1:0"]);
    let room = server.line().replacen("http", "ws", 1) + "demo";
    let record = ["answer", "--json", "--record", recording.to_str().unwrap(), "--signal", &room];
    let mut callee = wire.start(true, &record);
    let media = ["call", "--video=test", "--audio=test", "--width=320", "--height=240", "--signal", &room];
    let mut caller = wire.start(false, &[&media[..], &["--events-file", events.to_str().unwrap()]].concat());
    let told = |what: &str| std::fs::read_to_string(&events).unwrap_or_default().matches(what).count();
    await_that("they are connected", || told("\"state\":\"connected\"") > 0);
    await_growth(&scratch, 50_000);

    wire.go_away(|| ());
    let back = Instant::now();
    let connected = told("\"connectionstatechange\",\"state\":\"connected\"");
    await_that("they are connected again", || told("\"connectionstatechange\",\"state\":\"connected\"") > connected);
    println!("connected again {:?} after the network is back", back.elapsed());
    let size = recorded(&scratch);
    await_that("the recording goes on", || recorded(&scratch) > size + 10_000);
    println!("recording goes on {:?} after the network is back", back.elapsed());
    caller.interrupt();
    assert_eq!(caller.wait(PATIENCE).code, Some(130));
    let exit = callee.succeed(PATIENCE);
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    assert!(report["connection"]["iceRestarts"].as_u64() >= Some(1), "{report}");
    assert_eq!(report["connection"]["selectedPair"]["remote"]["address"], "10.9.0.3", "{report}");
    let file = MediaFile::open(&recording);
    file.assert_plays();
    assert!(file.duration() > 10.0, "{} s", file.duration());
}

#[test]
fn a_page_in_a_room_restarts_ice_when_its_network_is_back_and_nobody_leaves() {
    let _turn = calls_share_the_machine();
    if !have("busybox") {
        return;
    }
    let scratch = Scratch::new();
    let Some(wire) = Wire::lay() else { return };
    let mut server = wire.start(true, &["signal", "--listen=10.9.0.1:0", "--events"]);
    let url = loop {
        // It warns that it is without TLS.
        if let Some(url) = server.json()["urls"][0].as_str() {
            break url.trim_end_matches('/').to_owned();
        }
    };
    // Else a page that is neither on localhost nor by https has no camera.
    let secure = format!("--unsafely-treat-insecure-origin-as-secure={url}");
    let Some(page) = Page::open_in_network_of(wire.far.id(), &secure) else { return };
    let ann = page.window();
    join(&ann, &format!("{url}/demo"), "Ann");
    ann.until_text("#status", "Waiting");
    // It came first, so it offers and insists on its offers.
    let (recording, events) = (scratch.path("ann.webm"), scratch.path("events.ndjson"));
    let (room, record) = (format!("{}/demo", url.replacen("http", "ws", 1)), recording.to_str().unwrap());
    let media = ["call", "--video=test", "--audio=test", "--width=320", "--height=240", "--record", record];
    let more = ["--json", "--signal", &room, "--events-file", events.to_str().unwrap()];
    let mut caller = wire.start(true, &[&media[..], &more].concat());
    await_picture(&ann);
    await_growth(&scratch, 50_000);

    // Its own offer is on its way, before it hears ours.
    ann.evaluate(
        "{ const { prototype } = RTCPeerConnection;
           const restart = prototype.restartIce;
           window.restarts = 0;
           prototype.restartIce = function () {
             restarts++;
             return restart.call(this);
           };
           delete window.lastPicture; }",
        json!([]),
    );
    wire.go_away(|| ann.until("restarts > 0", &json!([])));
    let back = Instant::now();
    ann.until_text("#status", "Connected with");
    await_picture(&ann);
    println!("pictures come again {:?} after the network is back", back.elapsed());
    let size = recorded(&scratch);
    await_that("the recording goes on", || recorded(&scratch) > size + 10_000);
    let log = ann.text("#chat-log");
    assert!(log.matches("came").count() == 1 && !log.contains("left") && !log.contains("hung up"), "{log}");
    let told = std::fs::read_to_string(&events).unwrap();
    assert!(told.contains("\"icerestart\",\"side\":\"remote\""), "{told}");
    caller.interrupt();
    let exit = caller.wait(PATIENCE);
    assert_eq!(exit.code, Some(130), "{exit:?}");
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    assert_eq!(report["connection"]["selectedPair"]["remote"]["address"], "10.9.0.3", "{report}");
    server.interrupt();
    let told = String::from_utf8(server.wait(PATIENCE).stdout).unwrap();
    let byes: Vec<_> = told.lines().filter(|line| line.contains("\"type\":\"bye\"")).collect();
    assert_eq!(byes.len(), 1, "{told}");
    let file = MediaFile::open(&recording);
    file.assert_plays();
    assert!(file.duration() > 10.0, "{} s", file.duration());
}

/// Bytes recorded so far.
pub fn recorded(scratch: &Scratch) -> u64 {
    let sizes = scratch.names().into_iter().filter(|name| name.contains("webm"));
    sizes.filter_map(|name| scratch.path(&name).metadata().ok()).map(|facts| facts.len()).sum()
}
