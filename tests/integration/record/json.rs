//! The JSON of `record`: what is written is what the man page describes, and its events come in their order.

use crate::schema::{Written, assert_documented, members};
use crate::support::{PATIENCE, Rtckit, Scratch, calls_share_the_machine};
use serde_json::Value;

/// Reads the event of this type, passing over others.
fn await_event(recording: &mut Rtckit, kind: &str) -> Value {
    loop {
        let event = recording.json();
        assert_ne!(event["type"], "result", "{event}");
        if event["type"] == kind {
            return event;
        }
    }
}

#[test]
fn every_member_is_in_the_man_page_and_a_signal_pauses_and_resumes() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let mut written = Written::default();
    let path = scratch.path("film.webm");
    let media = ["--video=test", "--audio=test", "--width=160", "--height=120"];
    let args = ["record", "--json", "--events", "--control=-", "-o", path.to_str().unwrap()];
    let mut recording = Rtckit::start(args.iter().chain(&media));
    let mut lines = vec![await_event(&mut recording, "start")];
    for kind in ["recording", "pause", "recording", "resume", "recording"] {
        if kind != "recording" {
            recording.toggle();
        }
        lines.push(await_event(&mut recording, kind));
    }
    for command in ["{\"command\":\"state\",\"id\":1}\n", "{\"command\":\"rewind\"}\n"] {
        recording.write(command.as_bytes());
        lines.push(await_event(&mut recording, "answer"));
    }
    recording.interrupt();
    let exit = recording.succeed(PATIENCE);
    let rest = String::from_utf8(exit.stdout).unwrap();
    lines.extend(rest.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    let result = lines.last().unwrap();
    assert_eq!((&result["type"], &result["pauses"]), (&"result".into(), &1.into()));
    assert!(result["pausedSeconds"].as_f64() > Some(0.0), "{result}");
    let length = result["recording"]["duration"].as_f64().unwrap();
    let expected = result["seconds"].as_f64().unwrap() - result["pausedSeconds"].as_f64().unwrap();
    assert!((length - expected).abs() < 0.5, "a pause is no part of it: {result}");
    assert!(lines.iter().any(|line| line["type"] == "stop"), "{lines:?}");
    assert!(lines.iter().any(|line| line["paused"] == true), "{lines:?}");
    written.take_lines(&lines, "rtckit.record/1");

    // An error of each kind: before it began, and while it runs.
    for (to, code) in [("/nowhere/film.webm", 13), ("/dev/full", 13)] {
        let args = ["record", "--events", "--mime-type=video/webm", "--duration=5s", "-o", to];
        let exit = Rtckit::start(args.iter().chain(&media)).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{exit:?}");
        let text = String::from_utf8(exit.stdout).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        written.take_lines(&lines, "rtckit.record/1");
    }
    let exit = Rtckit::start(["record", "--json", "--is-type-supported", "video/webm"]).succeed(PATIENCE);
    members(&serde_json::from_slice(&exit.stdout).unwrap(), "", &mut written.report);

    // Slices with files of their own, and what is said of a file afterwards.
    let pattern = scratch.path("%d.webm");
    let sliced = ["--unpaced", "--duration=2500ms", "--timeslice=1s", "--chunk-pattern", pattern.to_str().unwrap()];
    let first = scratch.path("1.webm");
    let of_first = |mode: &'static str| vec!["record", "--json", mode, first.to_str().unwrap()];
    let whole = scratch.path("whole.webm");
    let unsliced = ["--unpaced", "--duration=2500ms", "-o", whole.to_str().unwrap()];
    for args in [
        ["record", "--json"].iter().chain(&media).chain(&sliced).copied().collect(),
        ["record", "--json"].iter().chain(&media).chain(&unsliced).copied().collect(),
        of_first("--repair"),
        of_first("--check"),
        vec!["record", "--json", "--check", whole.to_str().unwrap()],
        vec!["record", "--json", "--check", "Cargo.toml"],
    ] {
        let exit = Rtckit::start(&args).wait(PATIENCE);
        members(&serde_json::from_slice(&exit.stdout).unwrap(), "", &mut written.report);
    }

    // What only a slow reader makes, and what must not happen here.
    written.report.insert("eventsDropped".to_owned());
    written.events.extend(["warning", "warning.message"].map(str::to_owned));
    assert_documented(&written, "man/rtckit-record.1");
}
