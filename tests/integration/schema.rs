//! The JSON that the program writes is the JSON that its man pages describe, member by member.

use crate::support::{Coturn, PATIENCE, Rtckit, Scratch, await_that, calls_share_the_machine, have, in_repository};
use serde_json::Value;
use std::collections::BTreeSet;

/// The members that a man page describes, under `section`.
pub fn documented(page: &str, section: &str) -> BTreeSet<String> {
    let page = std::fs::read_to_string(in_repository(page)).unwrap();
    let (_, rest) = page.split_once(&format!(".SH {section}\n")).expect("the section is there");
    let section = rest.split("\n.SH ").next().unwrap();
    let names = section.lines().filter_map(|line| line.strip_prefix("\\fB")?.split_once("\\fR ("));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// The paths of all members of `value`, as the man pages write them.
pub fn members(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let path = if value.is_array() { format!("{path}[]") } else { path };
                into.insert(path.clone());
                // The other side of a loopback call has the members of this one.
                members(value, if path == "peer" { "" } else { &path }, into);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| members(element, path, into)),
        _ => {}
    }
}

/// What a run wrote: the members of its report and of its events.
#[derive(Default)]
pub struct Written {
    pub report: BTreeSet<String>,
    pub events: BTreeSet<String>,
}

impl Written {
    /// Members of the report that a test cannot bring about.
    pub fn expect_report(&mut self, names: &[&str]) {
        self.report.extend(names.iter().map(ToString::to_string));
    }

    /// Events that a test cannot bring about.
    pub fn expect_events(&mut self, names: &[&str]) {
        self.events.extend(names.iter().map(ToString::to_string));
    }

    /// Takes the events and the report that a run has written.
    pub fn take(&mut self, events: &std::path::Path, schema: &str) {
        let text = std::fs::read_to_string(events).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        self.take_lines(&lines, schema);
    }

    /// Takes the events and the result of a run.
    pub fn take_lines(&mut self, lines: &[Value], schema: &str) {
        let (result, events) = lines.split_last().expect("at least the result");
        assert_eq!(result["type"], "result");
        for line in lines {
            assert_eq!(line["schema"], schema, "{line}");
        }
        self.events.insert("result".to_owned());
        let mut result = result.clone();
        result.as_object_mut().unwrap().remove("type");
        members(&result, "", &mut self.report);
        for event in events {
            let mut event = event.clone();
            let event_members = event.as_object_mut().unwrap();
            event_members.remove("schema");
            let kind = event_members.remove("type").unwrap();
            self.events.insert(kind.as_str().unwrap().to_owned());
            members(&event, kind.as_str().unwrap(), &mut self.events);
        }
    }
}

/// What answers only say of tracks of devices.
pub const TRACKS_OF_DEVICES: [&str; 8] = [
    "answer.tracks[].settings.facingMode",
    "answer.tracks[].settings.pixelFormat",
    "answer.tracks[].settings.sampleSize",
    "answer.tracks[].settings.latency",
    "answer.tracks[].settings.echoCancellation",
    "answer.tracks[].settings.autoGainControl",
    "answer.tracks[].settings.noiseSuppression",
    "answer.tracks[].settings.groupId",
];

/// What was written is what the page describes, and nothing more.
pub fn assert_documented(written: &Written, page: &str) {
    for (written, section) in [(&written.report, "\"JSON REPORT\""), (&written.events, "EVENTS")] {
        let documented = documented(page, section);
        let missing: Vec<_> = written.difference(&documented).cloned().collect();
        let stale: Vec<_> = documented.difference(written).cloned().collect();
        assert!(missing.is_empty() && stale.is_empty(), "{page} lacks {missing:?}, and nothing writes {stale:?}");
    }
}

#[test]
fn every_member_that_is_written_is_in_the_man_pages_and_the_other_way_round() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let file = |name: &str| scratch.path(name).to_str().unwrap().to_owned();
    let mut written = Written::default();

    // A call with everything in it. stdout and the events say the same.
    let events = scratch.path("loopback.ndjson");
    let (record, video, audio) = (file("call.webm"), file("call.y4m"), file("call.wav"));
    let outputs = ["--record", &record, "--video-output", &video, "--audio-output", &audio, "--measure"];
    let run = [
        "--data=a,maxRetransmits=3,protocol=p,negotiated=true,id=3",
        "--data=b,maxPacketLifeTime=300",
        "--expect=transport.packetsSent>0",
        "--stats=250ms",
        "--duration=3s",
        "--json",
        "--events-file",
        events.to_str().unwrap(),
    ];
    let media = ["--video=test", "--audio=test", "--width=320", "--height=240"];
    let mut call = Rtckit::start(["call", "--loopback"].iter().chain(&media).chain(&outputs).chain(&run));
    let exit = call.succeed(PATIENCE);
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    assert_eq!(report["schema"], "rtckit.call/1");
    members(&report, "", &mut written.report);
    written.take(&events, "rtckit.call/1");

    // What a path carries.
    let events = scratch.path("bench.ndjson");
    let args = ["call", "--loopback", "--bench=rtp", "--duration=1200ms", "--events-file", events.to_str().unwrap()];
    Rtckit::start(args).succeed(PATIENCE);
    written.take(&events, "rtckit.call/1");

    // An answer to another process, which tells of the tracks that come.
    let events = scratch.path("answer.ndjson");
    let mut callee = Rtckit::start(["answer", "--stats=100ms", "--events-file", events.to_str().unwrap(), "--measure"]);
    let mut caller = Rtckit::start(["call", "--audio=test", "--duration=500ms"]);
    let offer = caller.json();
    callee.write_json(&offer);
    caller.write_json(&callee.json());
    caller.succeed(PATIENCE);
    callee.succeed(PATIENCE);
    written.take(&events, "rtckit.answer/1");

    // A call that is commanded, whose sound ends before it.
    let events = scratch.path("control.ndjson");
    let told = ["--control=-", "--events-file", events.to_str().unwrap()];
    let sound = format!("--audio={}", in_repository("tests/data/opus.ogg").display());
    let mut call = Rtckit::start(["call", "--loopback", &sound].iter().chain(&media[..1]).chain(&told));
    await_that("its sound ended", || std::fs::read_to_string(&events).unwrap_or_default().contains("\"ended\""));
    for command in ["{\"command\":\"state\",\"id\":1}\n", "{\"command\":\"fly\"}\n", "{\"command\":\"restartIce\"}\n"] {
        call.write(command.as_bytes());
    }
    let restarted = "\"iceconnectionstatechange\",\"state\":\"connected\"";
    await_that("it is connected by another path", || {
        std::fs::read_to_string(&events).unwrap_or_default().contains(restarted)
    });
    call.write(b"{\"command\":\"hangup\"}\n");
    call.succeed(PATIENCE);
    written.take(&events, "rtckit.call/1");

    // An error, and a warning before it.
    let events = scratch.path("error.ndjson");
    let secret = "--ice-server=turn:user:secret@127.0.0.1:9";
    let mut callee = Rtckit::start(["answer", "--events-file", events.to_str().unwrap(), secret]);
    callee.write(b"nonsense\n");
    assert_eq!(callee.wait(PATIENCE).code, Some(3));
    written.take(&events, "rtckit.answer/1");

    // A listener that nobody comes to.
    let events = scratch.path("listener.ndjson");
    let road = ["answer", "--signal=whip-listen:127.0.0.1:0", "--events-file", events.to_str().unwrap()];
    let mut listener = Rtckit::start(road);
    await_that("it listens", || std::fs::read_to_string(&events).unwrap_or_default().contains("\"listening\""));
    listener.interrupt();
    assert_eq!(listener.wait(PATIENCE).code, Some(130));
    written.take(&events, "rtckit.answer/1");

    // What only a reader that is too slow makes, and what a call as short as ours may end before.
    let round_trips = ["sent[].roundTripTime", "connection.selectedPair.currentRoundTripTime", "quality"];
    written.expect_events(&TRACKS_OF_DEVICES);
    written.expect_events(&["waiting", "waiting.room"]);
    // Of a peer in a room that is killed; see `rooms`.
    written.expect_events(&["peergone", "peergone.seconds"]);
    written.expect_report(&["rejoined"]);
    // What is in both pages, and only one of the two commands can do; see `whip`.
    let of_viewers = |name: &&String| name.starts_with("viewer") || name.starts_with("conformance");
    written.report.extend(documented("man/rtckit-call.1", "\"JSON REPORT\"").iter().filter(of_viewers).cloned());
    written.events.extend(documented("man/rtckit-call.1", "EVENTS").iter().filter(of_viewers).cloned());
    written.report.extend(["eventsDropped", "measured.avSkew"].iter().chain(&round_trips).map(ToString::to_string));
    for page in ["man/rtckit-call.1", "man/rtckit-answer.1"] {
        if page.contains("answer") {
            let events = scratch.path("files.ndjson");
            let args = ["answer", "--receive-files", scratch.path("inbox").to_str().unwrap(), "--events-file"]
                .map(str::to_owned);
            let mut callee = Rtckit::start(args.iter().map(std::ffi::OsStr::new).chain([events.as_os_str()]));
            let mut sender = Rtckit::start(["send-file", in_repository("Cargo.toml").to_str().unwrap()]);
            callee.write_json(&sender.json());
            sender.write_json(&callee.json());
            sender.succeed(PATIENCE);
            callee.succeed(PATIENCE);
            written.take(&events, "rtckit.answer/1");
            // What only an earlier run or a fault leaves behind.
            written.expect_report(&["transfer.files[].resumedFrom", "transfer.files[].error"]);
        }
        let differ = |written: &BTreeSet<String>, section: &str| {
            let documented = documented(page, section);
            assert!(documented.len() >= 10, "{page}: {documented:?}");
            let missing: Vec<_> = written.difference(&documented).cloned().collect();
            let stale: Vec<_> = documented.difference(written).cloned().collect();
            assert!(missing.is_empty() && stale.is_empty(), "{page} lacks {missing:?}, and nothing writes {stale:?}");
        };
        differ(&written.report, "\"JSON REPORT\"");
        differ(&written.events, "EVENTS");
    }
}

#[test]
fn what_a_transfer_writes_is_in_its_man_pages_and_the_other_way_round() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from"), scratch.path("to"));
    std::fs::create_dir(&from).unwrap();
    for name in ["a", "b"] {
        std::fs::write(from.join(name), name.repeat(5000)).unwrap();
    }
    std::os::unix::fs::symlink("a", from.join("link")).unwrap();
    let road = format!("file:{}", scratch.path("meet").display());
    let mut written = [Written::default(), Written::default()];
    // Once whole, once with a file that is there already, and once refused.
    for (round, codes) in [(0, [0, 0]), (1, [0, 0]), (2, [5, 13])] {
        let start = |command: &str, args: [&str; 2], events: &str| {
            let events = scratch.path(events);
            let args = args.into_iter().filter(|arg| !arg.is_empty());
            let mut command = Rtckit::command([command, "--interface=lo", "--signal", &road, "--events-file"]);
            Rtckit::spawn(command.arg(events).args(args).stdin(std::process::Stdio::null()))
        };
        let mut receiver = start("receive-file", ["-o", to.to_str().unwrap()], "received");
        let mut sender = start("send-file", [from.to_str().unwrap(), ""], "sent");
        assert_eq!([sender.wait(PATIENCE).code, receiver.wait(PATIENCE).code], codes.map(Some), "round {round}");
        written[0].take(&scratch.path("sent"), "rtckit.send-file/1");
        written[1].take(&scratch.path("received"), "rtckit.receive-file/1");
        if round == 1 {
            std::fs::write(to.join("from/b"), "changed").unwrap();
        }
    }
    for (written, page) in written.iter_mut().zip(["man/rtckit-send-file.1", "man/rtckit-receive-file.1"]) {
        // What only the receiver, a slow reader, a fault or a longer run makes.
        let rare = ["files[].output", "files[].error", "eventsDropped"];
        written.report.extend(rare.iter().map(ToString::to_string));
        written.report.insert("connection.selectedPair.currentRoundTripTime".to_owned());
        written.events.extend(["warning", "warning.message"].iter().map(ToString::to_string));
        written.expect_events(&["waiting", "waiting.room", "code", "code.code", "code.server", "check", "check.words"]);
        assert_documented(written, page);
    }
}

#[test]
fn what_a_probe_writes_is_in_its_man_page_and_the_other_way_round() {
    if !have("turnserver") {
        return;
    }
    let scratch = Scratch::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(scratch.path("cert"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(scratch.path("key"), key.serialize_pem()).unwrap();
    let files = format!("cert={}\npkey={}\n", scratch.path("cert").display(), scratch.path("key").display());
    let login = format!(
        "allow-loopback-peers\nuser={}:{}\nuser-quota=1\nuser=bob:{}\n",
        Coturn::USER,
        Coturn::PASSWORD,
        Coturn::PASSWORD
    );
    let server = Coturn::with(&(login + &files));
    let events = scratch.path("events");
    let mut written = Written::default();
    // A relay that can do all but is its own peer, a certificate that does not hold, and a name that nobody knows.
    let turns = server.secure_url("turns");
    let stun = server.url("stun");
    let closed = format!("stun:{}", std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let runs: [(&str, &[&str], i32); 5] = [
        (Coturn::USER, &[&turns, "--insecure", "--throughput=50ms", "--packets=5"], 0),
        (Coturn::USER, &[&turns, "stun:stun.rtckit.invalid", "--throughput=50ms"], 6),
        (Coturn::USER, &["--nat", &stun], 0),
        // Alice's allocation may still be counted.
        ("bob", &["--gather", "--interface=lo", "-4", &turns, "--insecure", "stun:stun.rtckit.invalid"], 6),
        ("bob", &["--gather", "--interface=lo", "-4", &closed], 7),
    ];
    for (user, args, code) in runs {
        let mut command = Rtckit::command(["turn-probe", "--username", user, "--events-file"]);
        command.arg(&events).args(args).env("RTCKIT_CREDENTIAL", Coturn::PASSWORD).stdin(std::process::Stdio::null());
        let exit = Rtckit::spawn(&mut command).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{exit:?}");
        written.take(&events, "rtckit.turn-probe/1");
    }
    // Two reports together.
    let report = scratch.path("report.json");
    std::fs::write(&report, Rtckit::start(["turn-probe", "--nat", "--json", &stun]).wait(PATIENCE).stdout).unwrap();
    let report = report.to_str().unwrap();
    let mut command = Rtckit::command(["turn-probe", "--predict", report, report, "--events-file"]);
    assert_eq!(Rtckit::spawn(command.arg(&events).stdin(std::process::Stdio::null())).wait(PATIENCE).code, Some(0));
    written.take(&events, "rtckit.turn-probe/1");
    // What only a slow reader or a run that cannot begin makes.
    let rare = ["eventsDropped", "error", "error.name", "error.stage", "error.message", "error.hint"];
    written.report.extend(rare.iter().map(ToString::to_string));
    written.events.extend(["warning", "warning.message"].iter().map(ToString::to_string));
    assert_documented(&written, "man/rtckit-turn-probe.1");
}
