//! `rtckit screen` from outside.

use super::equipped;
use crate::schema::{Written, assert_documented, members};
use crate::support::{Client, PATIENCE, Rtckit, Scratch, Xvfb, have, one_call_at_a_time};
use serde_json::Value;
use std::process::Command;

fn screen(xvfb: &Xvfb, args: &[&str]) -> Rtckit {
    Rtckit::spawn(xvfb.on(&mut Rtckit::command(["screen"].iter().chain(args))))
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn monitors_and_windows_are_listed_by_the_ids_that_select_takes() {
    if !equipped() {
        return;
    }
    let xvfb = Xvfb::managed("640x480");
    let client = xvfb.client();
    for (title, size) in [("First", (128, 96)), ("Second", (64, 48))] {
        let window = client.window(title, (10, 10), size, Client::RED);
        client.await_managed(window);
    }
    let exit = screen(&xvfb, &["--list", "--json"]).succeed(PATIENCE);
    let report = json(&exit.stdout);
    assert_eq!(report["schema"], "rtckit.screen/1");
    let surfaces = report["surfaces"].as_array().unwrap();
    let monitor = &surfaces[0];
    assert_eq!((&monitor["displaySurface"], &monitor["primary"]), (&"monitor".into(), &true.into()), "{report}");
    assert_eq!((&monitor["width"], &monitor["height"]), (&640.into(), &480.into()));
    let titles: Vec<_> = surfaces[1..].iter().map(|surface| surface["label"].as_str().unwrap()).collect();
    assert_eq!(titles, ["First", "Second"]);
    assert!(surfaces[1..].iter().all(|surface| surface["application"] == "Painter"), "{report}");

    let text = String::from_utf8(screen(&xvfb, &["--list"]).succeed(PATIENCE).stdout).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    let only = screen(&xvfb, &["--list", "--surface", "window", "--json"]).succeed(PATIENCE);
    assert_eq!(json(&only.stdout)["surfaces"].as_array().unwrap().len(), 2);

    // A window by its ID, with what is written described.
    let scratch = Scratch::new();
    let (output, events) = (scratch.path("window.webm"), scratch.path("events.ndjson"));
    let id = surfaces[2]["id"].as_str().unwrap();
    let args = ["--surface", "window", "--select", id, "--duration", "1s", "--json"];
    let files = ["-o", output.to_str().unwrap(), "--events-file", events.to_str().unwrap()];
    let exit = screen(&xvfb, &[&args[..], &files].concat()).succeed(PATIENCE);
    let recorded = json(&exit.stdout);
    assert_eq!(recorded["ended"], "duration", "{recorded}");
    let size = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0"])
        .arg(&output)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(size.stdout).unwrap().trim(), "64,48");
    let mut refused = screen(&xvfb, &["--select", "nowhere", "-o", output.to_str().unwrap(), "--overwrite", "--json"]);
    let exit = refused.wait(PATIENCE);
    assert_eq!(exit.code, Some(4), "{exit:?}");
    let mut written = Written::default();
    for value in [&report, &recorded, &json(&exit.stdout)] {
        members(value, "", &mut written.report);
    }
    let text = std::fs::read_to_string(&events).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    written.take_lines(&lines, "rtckit.screen/1");
    // What pauses, slices, errors in mid-recording and slow readers write is held against the page of `record`.
    let elsewhere = ["pause", "pause.seconds", "resume", "resume.seconds", "error", "error.name", "error.message"];
    written.events.extend(elsewhere.iter().chain(&["warning", "warning.message"]).map(ToString::to_string));
    let slices = ["chunks[]", "chunks[].path", "chunks[].bytes", "chunks[].start", "chunks[].duration"];
    written.report.extend(slices.iter().chain(&["eventsDropped"]).map(ToString::to_string));
    // There is no sound here.
    written.expect_events(&["recording.audioLevel"]);
    assert_documented(&written, "man/rtckit-screen.1");
}

#[test]
fn a_screen_on_which_nothing_moves_is_recorded_in_a_few_small_frames_until_its_end() {
    if !equipped() || !have("ffprobe") {
        return;
    }
    let _turn = one_call_at_a_time();
    let (xvfb, scratch) = (Xvfb::start("1280x720", &[]), Scratch::new());
    let client = xvfb.client();
    for row in 0..20 {
        client.window("Stripes", (40 + row * 20, row * 35), (600, 17), Client::WHITE);
    }
    let path = scratch.path("still.webm");
    let args = ["--duration", "4s", "--json", "-o", path.to_str().unwrap()];
    let report = json(&screen(&xvfb, &args).succeed(PATIENCE).stdout);
    let track = &report["recording"]["tracks"][0];
    // One when it begins, five soon after, one a second, one at the end.
    let frames = track["frames"].as_u64().unwrap();
    assert!((7..=14).contains(&frames), "{report}");
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .unwrap();
    let duration: f64 = String::from_utf8(probe.stdout).unwrap().trim().parse().unwrap();
    assert!((3.9..=4.1).contains(&duration), "{duration}: {report}");
    // The whole of it, four seconds, takes less than a voice: 64 kbit/s.
    let bytes = track["bytes"].as_u64().unwrap();
    assert!(bytes < 32_000, "{report}");
}

#[test]
fn what_is_missing_on_the_command_line_is_said_with_what_would_help() {
    if !have("Xvfb") {
        return;
    }
    let xvfb = Xvfb::start("320x240", &[]);
    let client = xvfb.client();
    client.window("Lonely", (0, 0), (64, 48), Client::BLUE);
    let scratch = Scratch::new();
    let output = scratch.path("x.webm").to_str().unwrap().to_owned();
    let cases: [(&[&str], i32, &str); 5] = [
        (&[], 2, "give --output"),
        (&["--surface", "window", "-o", &output], 2, "'Lonely'"),
        (&["--surface", "tab", "-o", &output], 2, "monitor, window"),
        (&["--cursor", "sometimes", "-o", &output], 2, "always, motion, never"),
        (&["--region", "1,2", "-o", &output], 2, "X,Y,WxH"),
    ];
    for (args, code, says) in cases {
        let exit = screen(&xvfb, args).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{args:?}: {exit:?}");
        assert!(exit.stderr.contains(says), "{args:?}: {exit:?}");
    }
    assert!(scratch.names().is_empty());
}
