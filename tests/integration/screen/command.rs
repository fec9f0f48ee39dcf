//! `rtckit screen` from outside.

use super::equipped;
use crate::schema::{Written, assert_documented, members};
use crate::support::{Client, PATIENCE, PulseAudio, Rtckit, Scratch, Xvfb, have, one_call_at_a_time};
use serde_json::Value;
use std::process::Command;

fn screen(xvfb: &Xvfb, args: &[&str]) -> Rtckit {
    Rtckit::spawn(xvfb.on(&mut Rtckit::command(["screen"].iter().chain(args))))
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn a_display_is_tried_out_though_nothing_moves_on_it() {
    if !equipped() {
        return;
    }
    let xvfb = Xvfb::managed("320x240");
    let args = ["devices", "--test", "--kind=display", "--json"];
    let exit = Rtckit::spawn(xvfb.on(&mut Rtckit::command(args))).succeed(PATIENCE);
    let report = json(&exit.stdout);
    let [tried] = report["tests"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!((&tried["kind"], &tried["ok"]), (&"display".into(), &true.into()), "{report}");
    assert!(tried["framesPerSecond"].as_u64().unwrap() > 0, "{report}");
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
    let picture =
        screen(&xvfb, &["--json", "--snapshot", scratch.path("shot.png").to_str().unwrap()]).succeed(PATIENCE);
    let mut written = Written::default();
    for value in [&report, &recorded, &json(&exit.stdout), &json(&picture.stdout)] {
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
    // Longer than key frames are apart where something moves.
    let args = ["--duration", "7s", "--json", "-o", path.to_str().unwrap()];
    let report = json(&screen(&xvfb, &args).succeed(PATIENCE).stdout);
    let track = &report["recording"]["tracks"][0];
    // One when it begins, ten a second for three seconds, one a second, one at the end.
    let frames = track["frames"].as_u64().unwrap();
    assert!((7..=38).contains(&frames), "{report}");
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .unwrap();
    let duration: f64 = String::from_utf8(probe.stdout).unwrap().trim().parse().unwrap();
    assert!((6.9..=7.1).contains(&duration), "{duration}: {report}");
    // All that comes after the first picture is next to nothing, and in the end nothing but the word that it stands.
    let packets = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=size,flags", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .unwrap();
    let packets = String::from_utf8(packets.stdout).unwrap();
    let sizes: Vec<u64> = packets.lines().map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    let after: u64 = sizes[1..].iter().sum();
    assert!(after < 20_000, "{after} bytes after the first picture: {packets}");
    assert!(sizes.iter().rev().take(3).all(|size| *size < 700), "{packets}");
    assert_eq!(packets.matches('K').count(), 1, "a picture that stands is no key frame again: {packets}");
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

#[test]
fn a_snapshot_has_every_pixel_as_it_is_shown() {
    if !equipped() || !have("ffmpeg") {
        return;
    }
    let (xvfb, scratch) = (Xvfb::start("320x240", &[]), Scratch::new());
    let client = xvfb.client();
    // Video would share colours between neighbours: a line of one pixel is the test.
    client.window("Red", (20, 10), (64, 48), Client::RED);
    client.window("Blue", (31, 10), (1, 48), Client::BLUE);
    let path = scratch.path("shot.png");
    let region = ["--region", "20,10,64x48", "--cursor", "never", "--json"];
    let args = [&region[..], &["--snapshot", path.to_str().unwrap()]].concat();
    let report = json(&screen(&xvfb, &args).succeed(PATIENCE).stdout);
    let snapshot = &report["snapshot"];
    assert_eq!((&snapshot["width"], &snapshot["height"]), (&64.into(), &48.into()), "{report}");
    assert_eq!(snapshot["bytes"], std::fs::metadata(&path).unwrap().len(), "{report}");
    let pixels = rgb(&std::fs::read(&path).unwrap());
    assert_eq!(pixels.len(), 64 * 48 * 3);
    for (at, pixel) in pixels.chunks_exact(3).enumerate() {
        let wanted = if at % 64 == 11 { [0, 0, 255] } else { [255, 0, 0] };
        assert_eq!(pixel, wanted, "column {}", at % 64);
    }

    // To standard output, and a JPEG by its name; a file that is there is left as it is.
    let piped = screen(&xvfb, &["--region", "20,10,64x48", "--cursor", "never", "--snapshot", "-"]).succeed(PATIENCE);
    assert_eq!(rgb(&piped.stdout), pixels);
    let jpeg = scratch.path("shot.jpg");
    screen(&xvfb, &["--snapshot", jpeg.to_str().unwrap()]).succeed(PATIENCE);
    assert_eq!(rgb(&std::fs::read(&jpeg).unwrap()).len(), 320 * 240 * 3);
    let before = std::fs::read(&path).unwrap();
    assert_eq!(screen(&xvfb, &["--snapshot", path.to_str().unwrap()]).wait(PATIENCE).code, Some(13));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let refused: [&[&str]; 3] = [
        &["--snapshot", "shot.gif"],
        &["--snapshot", "shot.png", "--audio=test"],
        &["--snapshot", "shot.png", "--duration", "1s"],
    ];
    for args in refused {
        assert_eq!(screen(&xvfb, args).wait(PATIENCE).code, Some(2), "{args:?}");
    }
    assert_eq!(scratch.names(), ["shot.jpg", "shot.png"]);
}

/// The pixels of an image, as a foreign reader sees them.
fn rgb(image: &[u8]) -> Vec<u8> {
    let file = Scratch::new();
    let path = file.path("image");
    std::fs::write(&path, image).unwrap();
    let args = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    let decoded = Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&path).args(args).output().unwrap();
    assert!(decoded.status.success(), "{decoded:?}");
    decoded.stdout
}

#[test]
fn what_the_speakers_play_is_recorded_beside_the_screen() {
    if !equipped() || !have("ffmpeg") {
        return;
    }
    let Some(server) = PulseAudio::start("load-module module-sine sink=speaker frequency=880") else { return };
    let _turn = one_call_at_a_time();
    let (xvfb, scratch) = (Xvfb::start("320x240", &[]), Scratch::new());
    let path = scratch.path("both.webm");
    let mut command = Rtckit::command(["screen", "--audio=system", "--duration=2s", "--json", "-o"]);
    let report = json(&Rtckit::spawn(xvfb.on(server.reach(command.arg(&path)))).succeed(PATIENCE).stdout);
    let kinds: Vec<_> =
        report["recording"]["tracks"].as_array().unwrap().iter().map(|track| &track["mimeType"]).collect();
    assert_eq!(kinds, ["video/VP8", "audio/opus"], "{report}");
    // The tone of the speakers, and hardly anything else.
    let level = |filter: &str| {
        let filter = format!("{filter},volumedetect");
        let args = ["-af", &filter, "-vn", "-f", "null", "-"];
        let said =
            Command::new("ffmpeg").args(["-nostdin", "-ss", "0.5", "-i"]).arg(&path).args(args).output().unwrap();
        let text = String::from_utf8(said.stderr).unwrap();
        let (_, mean) = text.split_once("mean_volume: ").unwrap_or_else(|| panic!("{text}"));
        mean.split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let (tone, rest) = (level("bandpass=f=880:width_type=h:w=40"), level("bandreject=f=880:width_type=h:w=200"));
    assert!(tone > -30.0 && rest < tone - 12.0, "{tone} dB at 880 Hz, {rest} dB elsewhere");
}
