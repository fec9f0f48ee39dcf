//! `--control` of `capture`, `call` and `answer`: tracks that are muted, stopped and fed from elsewhere while they run.

use crate::support::{PATIENCE, Rtckit, Scratch, await_growth, calls_share_the_machine, introduce};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

const WIDTH: usize = 160;
const HEIGHT: usize = 120;

/// What a picture shows, by its luma.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shown {
    Black,
    Grey,
    Pattern,
}

/// The pictures of a y4m file, each kind named once however long it is shown.
fn scenes(y4m: &Path) -> Vec<Shown> {
    let bytes = std::fs::read(y4m).unwrap();
    let header = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let shown = bytes[header..].chunks_exact(6 + WIDTH * HEIGHT * 3 / 2).map(|frame| {
        let luma = &frame[6..6 + WIDTH * HEIGHT];
        let all_near = |value: u8| luma.iter().all(|pixel| pixel.abs_diff(value) < 12);
        match (all_near(16), all_near(180)) {
            (true, _) => Shown::Black,
            (_, true) => Shown::Grey,
            _ => Shown::Pattern,
        }
    });
    let mut scenes: Vec<Shown> = shown.collect();
    scenes.dedup();
    scenes
}

/// A film of one grey picture that lasts, of another size than the pattern.
fn grey_film(scratch: &Scratch) -> String {
    let path = scratch.path("grey.y4m");
    let mut film = b"YUV4MPEG2 W64 H64 F10:1 C420jpeg XCOLORRANGE=LIMITED\n".to_vec();
    for _ in 0..600 {
        film.extend(b"FRAME\n");
        film.extend([[180; 64 * 64].as_slice(), &[128; 64 * 64 / 2]].concat());
    }
    std::fs::write(&path, film).unwrap();
    path.to_str().unwrap().to_owned()
}

fn ask(run: &mut Rtckit, command: &Value) -> Value {
    run.write_json(command);
    run.json()
}

/// Waits until so many more pictures came out.
fn await_pictures(run: &mut Rtckit, file: &Path, count: u64) {
    let size = || file.metadata().map_or(0, |facts| facts.len());
    let enough = size() + count * (6 + WIDTH * HEIGHT * 3 / 2) as u64;
    let begin = std::time::Instant::now();
    while size() < enough {
        assert!(begin.elapsed() < PATIENCE && run.is_running(), "no pictures come");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_capture_is_muted_and_fed_from_elsewhere_and_each_command_is_answered() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (film, out, wav) = (grey_film(&scratch), scratch.path("out.y4m"), scratch.path("out.wav"));
    let part = scratch.path("out.y4m.part");
    let size = [format!("--width={WIDTH}"), format!("--height={HEIGHT}")];
    let outputs = ["-o", out.to_str().unwrap(), "-o", wav.to_str().unwrap()];
    let source = ["capture", "--video=test", "--audio=test", "--json", "--control=-", &size[0], &size[1]];
    let mut run = Rtckit::start(source.iter().chain(&outputs));
    await_pictures(&mut run, &part, 5);
    let muted = ask(&mut run, &json!({ "command": "mute", "kind": "video", "id": 7 }));
    assert_eq!((&muted["ok"], &muted["id"], &muted["schema"]), (&true.into(), &7.into(), &"rtckit.capture/1".into()));
    assert_eq!(muted["tracks"].as_array().unwrap().len(), 1, "the audio is not meant: {muted}");
    assert_eq!((&muted["tracks"][0]["muted"], &muted["tracks"][0]["kind"]), (&true.into(), &"video".into()));
    await_pictures(&mut run, &part, 5);
    assert_eq!(ask(&mut run, &json!({ "command": "unmute" }))["tracks"][0]["muted"], false);
    await_pictures(&mut run, &part, 5);
    let replaced = ask(&mut run, &json!({ "command": "replaceTrack", "kind": "video", "source": film }));
    let settings = &replaced["tracks"][0]["settings"];
    assert_eq!((&settings["width"], &settings["resizeMode"]), (&WIDTH.into(), &"crop-and-scale".into()), "{replaced}");
    await_pictures(&mut run, &part, 5);

    // What cannot be done is said, and the capture goes on.
    for (command, name) in [
        (json!({ "command": "replaceTrack", "kind": "video", "source": "camera:nobody" }), "NotFoundError"),
        (json!({ "command": "replaceTrack", "kind": "video", "source": "no/such.webm" }), "NotFoundError"),
        (json!({ "command": "replaceTrack", "kind": "video", "source": "-" }), "TypeError"),
        (json!({ "command": "replaceTrack", "kind": "video" }), "TypeError"),
        (json!({ "command": "replaceTrack", "source": "test" }), "TypeError"),
        (
            json!({ "command": "replaceTrack", "kind": "video", "source": "test", "constraints": { "width": { "min": 99999 } } }),
            "OverconstrainedError",
        ),
        (json!({ "command": "mute", "kind": "smell" }), "TypeError"),
        (json!({ "command": "hangup" }), "NotSupportedError"),
    ] {
        let refused = ask(&mut run, &command);
        assert_eq!((&refused["ok"], &refused["error"]["name"]), (&false.into(), &name.into()), "{command} {refused}");
    }
    assert_eq!(ask(&mut run, &json!({ "command": "stop", "kind": "audio" }))["tracks"][0]["readyState"], "ended");
    let late = ask(&mut run, &json!({ "command": "replaceTrack", "kind": "audio", "source": "test" }));
    assert_eq!(late["tracks"][0]["readyState"], "live", "what has ended can be replaced: {late}");
    assert_eq!(ask(&mut run, &json!({ "command": "stop", "kind": "audio" }))["tracks"][0]["readyState"], "ended");
    let back = ask(&mut run, &json!({ "command": "replaceTrack", "kind": "video", "source": "test" }));
    assert_eq!(back["ok"], true, "{back}");
    await_pictures(&mut run, &part, 5);
    assert_eq!(ask(&mut run, &json!({ "command": "stop" }))["ok"], true);
    let exit = run.succeed(PATIENCE);
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    assert_eq!((&report["ended"], &report["video"]["settings"]["deviceId"]), (&"stopped".into(), &"test".into()));
    assert_eq!(scenes(&out), [Shown::Pattern, Shown::Black, Shown::Pattern, Shown::Grey, Shown::Pattern]);
    let audio = report["audio"]["samples"].as_f64().unwrap() / 48_000.0;
    assert!(audio < report["seconds"].as_f64().unwrap(), "the audio was stopped before: {report}");
}

#[test]
fn the_source_of_a_call_is_replaced_without_a_word_to_the_signaling() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (film, out, socket) = (grey_film(&scratch), scratch.path("out.y4m"), scratch.path("socket"));
    let part = scratch.path("out.y4m.part");
    let size = [format!("--width={WIDTH}"), format!("--height={HEIGHT}")];
    let source = ["call", "--video=test", &size[0], &size[1], "--control", socket.to_str().unwrap()];
    let mut caller = Rtckit::start(source);
    let mut callee = Rtckit::start(["answer", "--video-output", out.to_str().unwrap()]);
    // One offer and one answer: there is no way for more.
    introduce(&mut caller, &mut callee);
    let mut client = UnixStream::connect(&socket).unwrap();
    let mut answers = BufReader::new(client.try_clone().unwrap());
    let mut ask = |command: Value| {
        client.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["ok"], true, "{command} {answer}");
        answer
    };
    await_pictures(&mut callee, &part, 10);
    let replaced = ask(json!({ "command": "replaceTrack", "kind": "video", "source": film }));
    assert_eq!(replaced["tracks"][0]["settings"]["width"], 64, "{replaced}");
    await_pictures(&mut callee, &part, 30);
    ask(json!({ "command": "mute" }));
    await_pictures(&mut callee, &part, 30);
    ask(json!({ "command": "replaceTrack", "kind": "video", "source": "test" }));
    ask(json!({ "command": "unmute" }));
    await_pictures(&mut callee, &part, 30);
    ask(json!({ "command": "hangup" }));
    caller.succeed(PATIENCE);
    callee.succeed(PATIENCE);
    // A square film between bars: its middle is grey, and the bars are as black as what is muted.
    let seen = scenes(&out);
    assert_eq!((seen.first(), seen.last()), (Some(&Shown::Pattern), Some(&Shown::Pattern)), "{seen:?}");
    assert!(seen.contains(&Shown::Black), "{seen:?}");
    assert_eq!(scratch.names(), ["grey.y4m", "out.y4m"], "the socket is gone");
}

#[test]
fn what_has_ended_by_itself_is_replaced_while_the_call_goes_on() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let out = scratch.path("out.y4m");
    let clip = crate::support::in_repository("tests/data/vp8-opus.webm");
    let source =
        ["call", "--loopback", &format!("--video={}", clip.display()), "--audio=test", "--control=-", "--events"];
    let mut call = Rtckit::start(source.iter().chain(&["--video-output", out.to_str().unwrap()]));
    let until = |call: &mut Rtckit, wanted: &str| loop {
        let event = call.json();
        if event["type"] == wanted {
            return event;
        }
    };
    assert_eq!(until(&mut call, "ended")["kind"], "video");
    call.write_json(&json!({ "command": "state", "kind": "video" }));
    assert_eq!(until(&mut call, "answer")["tracks"][0]["readyState"], "ended");
    let before = scratch.path("out.y4m.part").metadata().unwrap().len();
    call.write_json(&json!({ "command": "replaceTrack", "kind": "video", "source": "test",
        "constraints": { "width": WIDTH, "height": HEIGHT } }));
    let answer = until(&mut call, "answer");
    assert_eq!(answer["tracks"][0]["readyState"], "live", "{answer}");
    await_growth(&scratch, before + 200_000);
    call.write_json(&json!({ "command": "hangup" }));
    call.succeed(PATIENCE);
}

#[test]
fn what_is_encoded_can_be_replaced_in_a_call_that_takes_commands() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let out = scratch.path("out.webm");
    let clip = crate::support::in_repository("tests/data/vp8-opus.webm");
    let clip = clip.to_str().unwrap();
    let source = ["call", "--loopback", &format!("--video={clip}"), "--loop", "--control=-", "--json"];
    let mut call = Rtckit::start(source.iter().chain(&["--record", out.to_str().unwrap()]));
    await_growth(&scratch, 2_000);
    assert_eq!(ask(&mut call, &json!({ "command": "state" }))["tracks"][0]["settings"]["width"], 64);
    let constraints = json!({ "width": 320, "height": 240 });
    let other = json!({ "command": "replaceTrack", "kind": "video", "source": "test", "constraints": constraints });
    assert_eq!(ask(&mut call, &other)["tracks"][0]["settings"]["width"], 320);
    let before = out.with_extension("webm.part").metadata().unwrap().len();
    await_growth(&scratch, before + 20_000);
    assert_eq!(ask(&mut call, &json!({ "command": "hangup" }))["ok"], true);
    let report: Value = serde_json::from_slice(&call.succeed(PATIENCE).stdout).unwrap();
    assert_eq!(report["ended"], "stopped");
    let read = Rtckit::start(["capture", &format!("--video={}", out.display()), "--json"]).succeed(PATIENCE);
    let read: Value = serde_json::from_slice(&read.stdout).unwrap();
    let sent = report["sent"][0]["framesSent"].as_u64().unwrap();
    assert!(read["video"]["deliveredFrames"].as_u64().unwrap() + 3 >= sent, "all of it plays: {read} {report}");
}

#[test]
fn standard_input_is_for_one_thing() {
    for (args, word) in [
        (vec!["capture", "--video=-", "--control=-"], "carries media"),
        (vec!["call", "--video=test", "--control=-"], "carries the signaling"),
        (vec!["call", "--loopback", "--chat", "--control=-"], "carries data"),
        (vec!["call", "--loopback", "--video=-", "--control=-"], "carries media"),
    ] {
        let exit = Rtckit::start(&args).wait(PATIENCE);
        assert_eq!(exit.code, Some(2), "{args:?} {exit:?}");
        assert!(exit.error_line().contains(word), "{args:?} {exit:?}");
    }
}
