//! `devices` and `capture` where there are no devices: the synthetic sources and files, outputs, errors. With devices:
//! `a_guest_with_devices`.

use crate::schema::{TRACKS_OF_DEVICES, Written, assert_documented};
use crate::support::{PATIENCE, Rtckit, Scratch, calls_share_the_machine, in_repository, one_call_at_a_time};
use serde_json::Value;
use std::io::Read;
use std::path::Path;

fn json(exit: &crate::support::Exit) -> Value {
    serde_json::from_slice(&exit.stdout).unwrap_or_else(|error| panic!("{error}: {exit:?}"))
}

#[test]
fn without_cameras_the_list_is_empty_and_asking_for_one_is_an_error() {
    let _turn = calls_share_the_machine();
    let listed = json(&Rtckit::start(["devices", "--kind=videoinput", "--json"]).succeed(PATIENCE));
    assert_eq!(listed["schema"], "rtckit.devices/1");
    let cameras = listed["devices"].as_array().unwrap().len();
    assert!(
        cameras == 0
            || Path::new("/dev")
                .read_dir()
                .unwrap()
                .flatten()
                .any(|entry| { entry.file_name().to_string_lossy().starts_with("video") })
    );
    let required = Rtckit::start(["devices", "--require=videoinput"]).wait(PATIENCE);
    assert_eq!(required.code, Some(if cameras == 0 { 4 } else { 0 }));
    let exit = Rtckit::start(["capture", "--video=camera:no camera is called so", "--json"]).wait(PATIENCE);
    assert_eq!((exit.code, json(&exit)["error"]["name"].as_str()), (Some(4), Some("NotFoundError")));
    assert!(exit.error_line().contains("camera:no camera is called so"), "{exit:?}");
    assert!(exit.took.as_secs() < 2, "{exit:?}");
}

#[test]
fn codecs_are_listed_with_what_they_can_be_recorded_as() {
    let listed = json(&Rtckit::start(["devices", "--kind=videoinput", "--codecs", "--json"]).succeed(PATIENCE));
    let codecs = listed["codecs"].as_array().unwrap();
    let types: Vec<_> = codecs.iter().map(|codec| codec["mimeType"].as_str().unwrap()).collect();
    let known = ["video/VP8", "video/VP9", "video/H264", "video/AV1", "audio/opus", "audio/PCMU", "audio/PCMA"];
    assert_eq!(types, known);
    assert!(codecs.iter().all(|codec| codec["send"] == true && codec["receive"] == true), "{listed}");
    let types = codecs.iter().flat_map(|codec| codec["record"].as_array().unwrap());
    for mime_type in types {
        Rtckit::start(["record", "--is-type-supported", mime_type.as_str().unwrap()]).succeed(PATIENCE);
    }
    let text = Rtckit::start(["devices", "--kind=videoinput", "--codecs"]).succeed(PATIENCE).stdout;
    assert!(String::from_utf8(text).unwrap().contains("video/H264  send  receive  video/matroska;codecs=h264"));
}

#[test]
fn test_media_is_captured_whole_and_the_report_says_what_its_page_describes() {
    let _turn = one_call_at_a_time();
    let scratch = Scratch::new();
    let file = |name: &str| scratch.path(name).to_str().unwrap().to_owned();
    let (video, audio, shot) = (file("a.y4m"), file("a.wav"), file("a.png"));
    let events = scratch.path("events.ndjson");
    let mut written = Written::default();
    let outputs = ["-o", &video, "-o", &audio, "--snapshot", &shot];
    let source = ["capture", "--video=test", "--audio=test", "--width=160", "--height=120", "--duration=1s"];
    let told = ["--json", "--events-file", events.to_str().unwrap()];
    let report = json(&Rtckit::start(source.iter().chain(&outputs).chain(&told)).succeed(PATIENCE));
    written.take(&events, "rtckit.capture/1");
    assert_eq!((&report["ended"], &report["video"]["settings"]["width"]), (&"duration".into(), &160.into()));
    // Of 30 pictures a loaded machine may lose some, and says so.
    let (total, delivered) = (&report["video"]["totalFrames"], &report["video"]["deliveredFrames"]);
    assert!((25..=31).contains(&total.as_u64().unwrap()), "{report}");
    let y4m = report["outputs"].as_array().unwrap().iter().find(|it| it["format"] == "y4m").unwrap();
    let count = |value: &Value| value.as_u64().unwrap();
    let frames = count(delivered) + count(&y4m["framesRepeated"]) - count(&y4m["framesLeftOut"]);
    let bytes = std::fs::metadata(&video).unwrap().len();
    let header = std::fs::read(&video).unwrap().iter().position(|byte| *byte == b'\n').unwrap() as u64 + 1;
    assert_eq!(bytes, header + frames * (160 * 120 * 3 / 2 + 6), "{report}");
    let peak = report["audio"]["peak"].as_f64().unwrap();
    assert!((-4.0..0.0).contains(&peak), "the chirp is loud: {report}");
    assert_eq!(std::fs::read(&shot).unwrap()[1..4], *b"PNG");
    assert!(report["snapshot"]["warmupFrames"].as_u64().unwrap() >= 3);

    // Commands, and what they answer.
    let events = scratch.path("control.ndjson");
    let told = ["--control=-", "--events-file", events.to_str().unwrap()];
    let mut commanded = Rtckit::start(["capture", "--video=test", "--audio=test"].iter().chain(&told));
    for command in ["{\"command\":\"state\",\"id\":1}\n", "{\"command\":\"fly\"}\n", "{\"command\":\"stop\"}\n"] {
        commanded.write(command.as_bytes());
    }
    commanded.succeed(PATIENCE);
    written.take(&events, "rtckit.capture/1");

    // A file that breaks off ends by itself; an error.
    let events = scratch.path("file.ndjson");
    let told = ["--events-file", events.to_str().unwrap()];
    let clip = in_repository("tests/data/vp8-opus.webm");
    let clip = clip.to_str().unwrap();
    let source = ["capture", &format!("--video={clip}"), &format!("--audio={clip}"), "-o", &file("b.i420")];
    Rtckit::start(source.iter().copied().chain(told)).succeed(PATIENCE);
    written.take(&events, "rtckit.capture/1");
    assert_eq!(std::fs::metadata(file("b.i420")).unwrap().len(), 20 * 64 * 48 * 3 / 2, "20 pictures were decoded");
    let events = scratch.path("error.ndjson");
    let source = ["capture", "--video=test", "-o", &video, "--events-file", events.to_str().unwrap()];
    assert_eq!(Rtckit::start(source).wait(PATIENCE).code, Some(13));
    written.take(&events, "rtckit.capture/1");
    assert_eq!(std::fs::metadata(&video).unwrap().len(), bytes, "what exists is left alone");

    // What only devices, and only --explain, say; what only a slow reader makes.
    written.expect_report(&[
        "video.settings.facingMode",
        "video.settings.groupId",
        "video.settings.pixelFormat",
        "eventsDropped",
        "audio.settings.sampleSize",
        "audio.settings.latency",
        "audio.settings.echoCancellation",
        "audio.settings.autoGainControl",
        "audio.settings.noiseSuppression",
        "audio.settings.deviceId",
        "audio.settings.groupId",
        "considered[]",
        "considered[].label",
        "considered[].path",
        "considered[].mode",
        "considered[].mode.pixelFormat",
        "considered[].mode.width",
        "considered[].mode.height",
        "considered[].mode.frameRate",
        "considered[].settings",
        "considered[].distance",
        "considered[].ruledOutBy",
    ]);
    written.expect_events(&["warning", "warning.message"]);
    written.expect_events(&TRACKS_OF_DEVICES);
    assert_documented(&written, "man/rtckit-capture.1");
}

#[test]
fn a_snapshot_is_taken_even_of_a_capture_that_ends_too_early_for_a_good_one() {
    let scratch = Scratch::new();
    let shot = scratch.path("early.png");
    let path = shot.to_str().unwrap();
    let early = ["capture", "--video=test", "--warmup=1000", "--duration=300ms", "--json", "--snapshot", path];
    let exit = Rtckit::start(early).succeed(PATIENCE);
    assert!(exit.stderr.contains("the snapshot is of the last one"), "{exit:?}");
    let (report, picture) = (json(&exit), std::fs::read(&shot).unwrap());
    assert_eq!(report["snapshot"]["bytes"].as_u64(), Some(picture.len() as u64), "{report}");
    assert_eq!(report["ended"], "duration");
}

#[test]
fn a_capture_that_is_interrupted_finishes_its_file_and_a_pipe_that_closes_ends_it() {
    let scratch = Scratch::new();
    let path = scratch.path("a.y4m");
    let mut capture =
        Rtckit::start(["capture", "--video=test", "--width=160", "--height=120", "-o", path.to_str().unwrap()]);
    crate::support::await_growth(&scratch, 100_000);
    capture.interrupt();
    let exit = capture.succeed(PATIENCE);
    assert!(exit.stderr.contains("frames delivered"), "{exit:?}");
    assert_eq!(scratch.names(), ["a.y4m"]);
    let again = ["capture", &format!("--video={}", path.display()), "--json"];
    assert!(json(&Rtckit::start(again).succeed(PATIENCE))["video"]["deliveredFrames"].as_u64().unwrap() >= 3);

    let mut command = Rtckit::command(["capture", "--video=test", "-o", "-"]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut start = [0; 9];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut start).unwrap();
    drop(stdout);
    let ended = child.wait_with_output().unwrap();
    assert_eq!((&start, ended.status.code()), (b"YUV4MPEG2", Some(13)), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn what_does_not_fit_together_is_a_usage_error_and_what_cannot_be_met_names_its_constraint() {
    for (args, code, word) in [
        (vec!["--video=none"], 2, "nothing to capture"),
        (vec!["--audio=test", "-o", "a.y4m"], 2, "no pictures"),
        (vec!["--video=test", "-o", "a.wav"], 2, "no sound"),
        (vec!["--video=test", "-o", "a.xyz"], 2, "a.xyz"),
        (vec!["--video=test", "-o", "a.png", "--snapshot", "b.png"], 2, "only one picture"),
        (vec!["--video=test", "--facing-mode=up"], 2, "facingMode"),
        (vec!["--video=test", "--facing-mode=exact:user"], 3, "facingMode exact:user"),
        (vec!["--video=test", "--aspect-ratio=exact:2", "--width=exact:100", "--height=exact:100"], 3, "aspectRatio"),
        (vec!["--constraints", "{\"video\":{\"widht\":1}}"], 3, "video.widht"),
        (vec!["--constraints", "no/such/file.json"], 3, "no/such/file.json"),
        (vec!["--video=test", "--constraints", "{\"video\":{\"width\":{\"min\":99999}}}"], 3, "width min:99999"),
    ] {
        let exit = Rtckit::start([&["capture"], &args[..]].concat()).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{args:?} {exit:?}");
        assert!(exit.error_line().contains(word), "{args:?} {exit:?}");
    }
    let advanced = "{\"video\":{\"width\":160,\"height\":120,\"advanced\":[{\"frameRate\":12},{\"width\":99999}]}}";
    let run = ["capture", "--video=test", "--duration=200ms", "--json", "--constraints", advanced];
    let settings = json(&Rtckit::start(run).succeed(PATIENCE))["video"]["settings"].clone();
    assert_eq!((&settings["frameRate"], &settings["width"]), (&12.0.into(), &160.into()), "{settings}");
}
