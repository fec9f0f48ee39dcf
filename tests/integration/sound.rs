//! Microphones and speakers, of sound servers that each test has for itself: PulseAudio, and PipeWire without PulseAudio's way in.

use crate::support::{PipeWire, PulseAudio, Rtckit, Scratch, await_that, calls_share_the_machine, one_call_at_a_time};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The mono mix of a WAV file.
fn samples(wav: &Path) -> Vec<f64> {
    let mut reader = hound::WavReader::open(wav).unwrap();
    let (rate, channels) = (reader.spec().sample_rate, usize::from(reader.spec().channels));
    assert_eq!(rate, 48_000);
    let samples: Vec<f64> = reader.samples::<i16>().map(|sample| f64::from(sample.unwrap()) / 32_768.0).collect();
    samples.chunks_exact(channels).map(|frame| frame.iter().sum::<f64>() / channels as f64).collect()
}

/// The frequency of what sounds in each tenth of a second that is neither silent nor loud: the median. Zero if there is none.
fn pitch(samples: &[f64], loudness: std::ops::Range<f64>) -> f64 {
    let mut found: Vec<f64> = samples
        .chunks_exact(4800)
        .filter(|part| {
            let power = part.iter().map(|sample| sample * sample).sum::<f64>() / part.len() as f64;
            loudness.contains(&power.sqrt())
        })
        .filter_map(|part| {
            // Where it rises through zero, between two samples.
            let rises: Vec<f64> = (1..part.len())
                .filter(|at| part[at - 1] < 0.0 && part[*at] >= 0.0)
                .map(|at| at as f64 - part[at] / (part[at] - part[at - 1]))
                .collect();
            let (first, last) = (rises.first()?, rises.last()?);
            (last > first).then(|| 48_000.0 * (rises.len() - 1) as f64 / (last - first))
        })
        .collect();
    found.sort_by(f64::total_cmp);
    found.get(found.len() / 2).copied().unwrap_or(0.0)
}

fn assert_pitch(what: &str, got: f64, expected: f64) {
    assert!((got - expected).abs() < expected * 0.01, "{what}: {got} Hz, expected {expected}");
}

/// A call with itself, recorded to `wav`.
fn hear(server: &PulseAudio, source: &str, wav: &Path, more: &[&str]) -> Rtckit {
    Rtckit::spawn(server.reach(&mut hearing(source, wav, more)))
}

fn hearing(source: &str, wav: &Path, more: &[&str]) -> Command {
    let mut command = Rtckit::command(["call", "--loopback", "--json", "--duration=4s"]);
    command.arg(format!("--audio={source}")).arg("--audio-output").arg(wav).args(more);
    command
}

#[test]
fn with_pipewire_alone_microphones_are_heard_and_what_is_played_is_too() {
    let Some(session) = PipeWire::start(PipeWire::SOUND) else { return };
    let run = |mut command: Command| Rtckit::spawn(session.reach(&mut command));
    let listed = || -> Vec<(String, String, bool)> {
        let exit = run(Rtckit::command(["devices", "--kind=audioinput,audiooutput", "--json"])).succeed(PATIENCE);
        let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
        let text = |device: &Value, name: &str| device[name].as_str().unwrap().to_owned();
        let devices = report["devices"].as_array().unwrap().iter();
        devices.map(|it| (text(it, "kind"), text(it, "path"), it["default"] == true)).collect()
    };
    let expected = [("audioinput", "microphone"), ("audiooutput", "speaker")];
    let expected = expected.map(|(kind, path)| (kind.to_owned(), path.to_owned(), true));
    // The session manager takes a moment.
    await_that("both devices", || listed() == expected);
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (microphone, system) = (scratch.path("microphone.wav"), scratch.path("system.wav"));
    run(hearing("microphone", &microphone, &["--noise-suppression=exact:false"])).succeed(PATIENCE);
    assert_pitch("microphone", pitch(&samples(&microphone), 0.001..1.0), PipeWire::HEARD);
    let mut listener = run(hearing("system", &system, &[]));
    let mut talker = run(Rtckit::command(["call", "--loopback", "--audio=test", "--play", "--duration=6s"]));
    listener.succeed(PATIENCE);
    talker.succeed(PATIENCE);
    assert_pitch("played", pitch(&samples(&system), 0.015..0.05), 440.0);
}

#[test]
fn a_microphone_and_what_the_speakers_play_are_heard() {
    let Some(server) = PulseAudio::start("load-module module-sine sink=speaker frequency=880") else { return };
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (microphone, system) = (scratch.path("microphone.wav"), scratch.path("system.wav"));
    let plain: [&str; 0] = [];
    let mut first = hear(&server, "microphone", &microphone, &plain);
    let mut second = hear(&server, "system", &system, &[]);
    for run in [&mut first, &mut second] {
        let report: Value = serde_json::from_slice(&run.succeed(PATIENCE).stdout).unwrap();
        assert_eq!(report["ended"], "duration", "{report}");
    }
    assert_pitch("microphone", pitch(&samples(&microphone), 0.001..1.0), PulseAudio::HEARD);
    assert_pitch("system", pitch(&samples(&system), 0.05..1.0), 880.0);
}

#[test]
fn what_the_other_side_says_is_played() {
    let Some(server) = PulseAudio::start("") else { return };
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let wav = scratch.path("heard.wav");
    let mut listener = hear(&server, "system", &wav, &[]);
    let mut command = Rtckit::command(["call", "--loopback", "--audio=test", "--play", "--duration=6s"]);
    let mut talker = Rtckit::spawn(server.reach(&mut command));
    listener.succeed(PATIENCE);
    talker.succeed(PATIENCE);
    // The quiet tone between the chirps.
    assert_pitch("played", pitch(&samples(&wav), 0.015..0.05), 440.0);
}

#[test]
fn the_speaker_can_be_chosen_and_one_that_is_not_there_is_named() {
    let other = "load-module module-null-sink sink_name=other rate=48000 sink_properties=device.description=Headphones\n\
                 load-module module-remap-source master=other.monitor source_name=ear";
    let Some(server) = PulseAudio::start(other) else { return };
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let wav = scratch.path("heard.wav");
    let mut listener =
        hear(&server, "microphone:ear", &wav, &["--echo-cancellation=exact:false", "--noise-suppression=false"]);
    let play = |sink: &str| {
        let mut command = Rtckit::command(["call", "--loopback", "--audio=test", "--play", "--duration=6s"]);
        command.args(["--sink-id", sink]);
        Rtckit::spawn(server.reach(&mut command))
    };
    let mut talker = play("Headph");
    listener.succeed(PATIENCE);
    talker.succeed(PATIENCE);
    assert_pitch("played", pitch(&samples(&wav), 0.015..0.05), 440.0);
    let exit = play("nobody").wait(PATIENCE);
    assert_eq!(exit.code, Some(4), "{exit:?}");
    assert!(exit.error_line().contains("speaker 'nobody'"), "{exit:?}");
}

#[test]
fn a_device_that_comes_to_the_sound_server_is_told_and_processing_is_set_as_asked() {
    let Some(server) = PulseAudio::start("") else { return };
    let _turn = one_call_at_a_time();
    let flags = ["--echo-cancellation", "--noise-suppression=exact:false", "--auto-gain-control=false"];
    let mut command = Rtckit::command(["capture", "--audio=microphone", "--duration=300ms", "--json"]);
    let exit = Rtckit::spawn(server.reach(command.args(flags))).succeed(PATIENCE);
    let audio = serde_json::from_slice::<Value>(&exit.stdout).unwrap()["audio"].clone();
    let set = ["echoCancellation", "noiseSuppression", "autoGainControl"].map(|name| audio["settings"][name].as_bool());
    assert_eq!((set, &audio["lostSamples"]), ([Some(true), Some(false), Some(false)], &0.into()), "{audio}");

    let mut command = Rtckit::command(["devices", "--kind=audiooutput", "--watch", "--events"]);
    let mut watching = Rtckit::spawn(server.reach(&mut command));
    while watching.json()["type"] != "watching" {}
    let mut load = std::process::Command::new("pactl");
    load.args(["load-module", "module-null-sink", "sink_name=late"]);
    assert!(server.reach(&mut load).output().unwrap().status.success());
    let change = watching.json();
    assert_eq!((&change["type"], &change["added"][0]["path"]), (&"devicechange".into(), &"late".into()), "{change}");
    watching.interrupt();
    watching.succeed(PATIENCE);
}

#[test]
fn devices_are_tried_out() {
    let Some(server) = PulseAudio::start("") else { return };
    let _turn = calls_share_the_machine();
    let run = |args: &[&str]| {
        let mut command = Rtckit::command(["devices", "--test", "--kind=audioinput,audiooutput"]);
        Rtckit::spawn(server.reach(command.args(args)))
    };
    let report: Value = serde_json::from_slice(&run(&["--json"]).succeed(PATIENCE).stdout).unwrap();
    let tests = report["tests"].as_array().unwrap();
    let kinds: Vec<_> = tests.iter().map(|test| test["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["audioinput", "audiooutput", "audiooutput"], "{report}");
    assert!(tests.iter().all(|test| test["ok"] == true && test["seconds"].as_f64().unwrap() < 10.0), "{report}");
    let peak = tests[0]["peak"].as_f64().unwrap();
    assert!((-40.0..=0.0).contains(&peak), "the microphone hears a tone: {report}");
    let text = String::from_utf8(run(&[]).succeed(PATIENCE).stdout).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("works  ")).count(), 3, "{text}");
}

#[test]
fn devices_are_listed_with_their_defaults_and_nothing_is_made_up() {
    let Some(server) = PulseAudio::start("") else { return };
    let mut command = Rtckit::command(["devices", "--json"]);
    let report: Value =
        serde_json::from_slice(&Rtckit::spawn(server.reach(&mut command)).succeed(PATIENCE).stdout).unwrap();
    let of = |kind: &str| -> Vec<&Value> {
        report["devices"].as_array().unwrap().iter().filter(|device| device["kind"] == kind).collect()
    };
    let (inputs, outputs) = (of("audioinput"), of("audiooutput"));
    assert_eq!(inputs.len(), 1, "{report}");
    assert_eq!((&inputs[0]["path"], &inputs[0]["default"]), (&"microphone".into(), &true.into()));
    let names: Vec<_> =
        outputs.iter().map(|device| (device["path"].as_str().unwrap(), device["default"] == true)).collect();
    assert_eq!(names, [("speaker", true), ("cable", false)], "{report}");
    assert_eq!(outputs[0]["label"], "Loudspeaker");
    assert!(
        report["devices"].as_array().unwrap().iter().all(|device| device["deviceId"].as_str().unwrap().len() >= 16)
    );
}

#[test]
fn a_device_that_is_not_there_or_goes_away_ends_with_the_code_for_devices() {
    let Some(mut server) = PulseAudio::start("") else { return };
    let _turn = calls_share_the_machine();
    let mut command = Rtckit::command(["call", "--loopback", "--audio=microphone:nobody"]);
    let exit = Rtckit::spawn(server.reach(&mut command)).wait(PATIENCE);
    assert_eq!(exit.code, Some(4), "{exit:?}");
    assert!(exit.error_line().contains("microphone 'nobody'"), "{exit:?}");
    let scratch = Scratch::new();
    let mut command = Rtckit::command(["call", "--loopback", "--audio=microphone", "--record"]);
    command.arg(scratch.path("kept.webm"));
    let mut call = Rtckit::spawn(server.reach(&mut command));
    crate::support::await_growth(&scratch, 4000);
    server.kill();
    let exit = call.wait(PATIENCE);
    assert_eq!(exit.code, Some(4), "{exit:?}");
    assert!(exit.error_line().contains("is gone"), "{exit:?}");
    assert!(scratch.path("kept.webm").metadata().unwrap().len() > 3000, "what was recorded is kept");
}

#[test]
fn of_two_tracks_the_other_goes_on_and_the_exit_code_says_that_one_failed() {
    let Some(mut server) = PulseAudio::start("") else { return };
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let media = ["--video=test", "--width=160", "--height=120", "--audio=microphone", "--json"];
    let path = |name: &str| scratch.path(name).to_str().unwrap().to_owned();
    let mut runs = [
        ("capture", vec!["-o".to_owned(), path("a.y4m"), "-o".to_owned(), path("a.wav")], path("capture.ndjson")),
        ("call", vec!["--loopback".to_owned(), "--video-output".to_owned(), path("b.y4m")], path("call.ndjson")),
    ]
    .map(|(name, args, events)| {
        let mut command = Rtckit::command([name].iter().chain(&media));
        command.args(args).args(["--events-file", &events]);
        (name, Rtckit::spawn(server.reach(&mut command)), events)
    });
    let size = |name: &str| scratch.path(name).metadata().map_or(0, |facts| facts.len());
    await_that("media", || ["a.y4m.part", "a.wav.part", "b.y4m.part"].iter().all(|name| size(name) > 100_000));
    server.kill();
    let ended = |events: &str| {
        let text = std::fs::read_to_string(events).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|event| event["type"] == "ended")
    };
    await_that("ended events", || runs.iter().all(|(.., events)| ended(events).is_some()));
    let before = [size("a.y4m.part"), size("b.y4m.part")];
    await_that("more pictures", || {
        size("a.y4m.part") > before[0] + 300_000 && size("b.y4m.part") > before[1] + 300_000
    });
    for (name, run, events) in &mut runs {
        let event = ended(events).unwrap();
        assert_eq!(event["kind"], "audio", "{event}");
        assert!(event["message"].as_str().unwrap().contains("is gone"), "{event}");
        run.interrupt();
        let exit = run.wait(PATIENCE);
        assert_eq!(exit.code, Some(4), "{name} {exit:?}");
        let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
        assert_eq!((&report["ended"], &report["error"]["name"]), (&"interrupt".into(), &"NotReadableError".into()));
    }
    assert!(size("a.y4m") > before[0] && size("b.y4m") > before[1], "what was captured is kept: {:?}", scratch.names());
}
