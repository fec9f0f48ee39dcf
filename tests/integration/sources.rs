//! What can be sent, through whole calls: both peers in one process, over loopback.

use crate::support::{
    Exit, Rtckit, Scratch, calls_share_the_machine, have, in_repository, one_call_at_a_time, packets,
};
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn data(name: &str) -> String {
    in_repository(&format!("tests/data/{name}")).to_str().unwrap().to_owned()
}

fn start(args: &[&str]) -> Rtckit {
    Rtckit::start(["call", "--loopback", "--json"].iter().chain(args))
}

fn report(exit: &Exit) -> Value {
    serde_json::from_slice(&exit.stdout).unwrap_or_else(|error| panic!("{error}: {exit:?}"))
}

#[test]
fn encoded_files_arrive_byte_for_byte_and_end_the_call() {
    if !have("ffmpeg") {
        return;
    }
    let _turn = one_call_at_a_time();
    let scratch = Scratch::new();
    let calls = [
        ("vp8-opus.webm", "vp8-opus.webm", false),
        ("vp8-opus-live.webm", "vp8-opus-live.webm", false),
        ("record-vp8.ivf", "record-opus.ogg", false),
        ("vp8-opus.webm", "vp8-opus.webm", true),
        ("vp8.ivf", "opus.ogg", true),
        ("h264.mkv", "opus.ogg", false),
        ("av1.webm", "opus.ogg", false),
    ];
    let running: Vec<_> = calls
        .iter()
        .enumerate()
        .map(|(number, (video, audio, over_stdin))| {
            let recording = scratch.path(&format!("{number}.mkv"));
            let video_source = if *over_stdin { "-".to_owned() } else { data(video) };
            let audio_source = if *over_stdin && audio == video { "-".to_owned() } else { data(audio) };
            let mut command =
                Rtckit::command(["call", "--loopback", "--json", "--record", recording.to_str().unwrap()]);
            command.arg(format!("--video={video_source}")).arg(format!("--audio={audio_source}"));
            if *over_stdin {
                command.stdin(File::open(data(video)).unwrap());
            }
            (Rtckit::spawn(&mut command), recording)
        })
        .collect();
    for ((mut call, recording), (video, audio, _)) in running.into_iter().zip(calls) {
        let report = report(&call.succeed(PATIENCE));
        assert_eq!(report["ended"], "input-ended", "{video}");
        for (track, file) in [("v", video), ("a", audio)] {
            let (sent, arrived) = (packets(Path::new(&data(file)), track), packets(&recording, track));
            // The recorder leaves out the sound that is over before the first picture, by their arrival.
            let tracks = report["peer"]["recording"]["tracks"].as_array().unwrap();
            let early: u64 = tracks.iter().map(|track| track["beforeFirstKeyFrame"].as_u64().unwrap()).sum();
            let may_lack = if track == "a" { usize::try_from(early).unwrap() } else { 0 };
            let counts = format!("{file} {track}: {} of {} arrived; {report}", arrived.len(), sent.len());
            assert!(sent.ends_with(&arrived), "{counts}");
            assert!(arrived.len() + may_lack >= sent.len() && may_lack < 20, "{counts}");
        }
    }
}

#[test]
fn raw_files_are_encoded_resampled_and_end_the_call() {
    if !have("ffmpeg") {
        return;
    }
    let _turn = one_call_at_a_time();
    let scratch = Scratch::new();
    let cd = scratch.path("cd.wav");
    let tone = "sine=frequency=440:sample_rate=44100:duration=1";
    let made = Command::new("ffmpeg").args(["-v", "error", "-f", "lavfi", "-i", tone]).arg(&cd).status().unwrap();
    assert!(made.success());
    let heard = scratch.path("heard.wav");
    let cd = format!("--audio={}", cd.display());
    let mut resampled = start(&[&cd, "--audio-output", heard.to_str().unwrap()]);
    let mut others: Vec<_> =
        ["--video=tiny.y4m", "--video=tiny-444.y4m", "--audio=tone.wav", "--audio=tone-s24-pipe.wav"]
            .into_iter()
            .map(|source| {
                let (flag, name) = source.split_once('=').unwrap();
                (source, start(&[&format!("{flag}={}", data(name))]))
            })
            .collect();
    let mut repeated = start(&[&format!("--video={}", data("tiny.y4m")), "--loop", "--duration", "2s"]);
    for (source, call) in &mut others {
        let report = report(&call.succeed(PATIENCE));
        assert_eq!(report["ended"], "input-ended", "{source}");
        assert!(report["sent"][0]["framesSent"].as_u64() >= Some(3), "{source}: {report}");
    }
    let report_of = report(&repeated.succeed(PATIENCE));
    assert_eq!(report_of["ended"], "duration");
    assert!(report_of["sent"][0]["framesSent"].as_u64() >= Some(40), "5 frames again and again: {report_of}");
    resampled.succeed(PATIENCE);
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=sample_rate,duration", "-of", "csv=p=0"])
        .arg(&heard)
        .output()
        .unwrap();
    let facts = String::from_utf8(probe.stdout).unwrap();
    let (rate, seconds) = facts.trim().split_once(',').unwrap();
    assert!(rate == "48000" && (seconds.parse::<f64>().unwrap() - 1.0).abs() < 0.1, "{facts}");
}

#[test]
fn test_pictures_of_any_shape_and_rate_arrive_readable() {
    let _turn = one_call_at_a_time();
    let shapes: [(&[&str], u64); 4] = [
        (&["--width", "641", "--height", "359"], 50),
        (&["--frame-rate", "5"], 9),
        (&["--frame-rate", "29.97"], 50),
        (&["--frame-rate", "60", "--width", "320", "--height", "240"], 100),
    ];
    let running = shapes.map(|(shape, least)| {
        let args = [&["--video=test", "--audio=test", "--measure", "--duration", "2s"], shape].concat();
        (start(&args), shape, least)
    });
    for (mut call, shape, least) in running {
        let report = report(&call.succeed(PATIENCE));
        let measured = &report["peer"]["measured"];
        assert_eq!(measured["framesUnreadable"], 0, "{shape:?}: {measured}");
        assert!(measured["framesMeasured"].as_u64() >= Some(least), "{shape:?}: {measured}");
    }
}

#[test]
fn what_cannot_be_sent_is_exit_3_and_named_before_anything_happens() {
    let scratch = Scratch::new();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(scratch.path(name), bytes).unwrap();
        scratch.path(name).to_str().unwrap().to_owned()
    };
    let webm = std::fs::read(data("vp8-opus.webm")).unwrap();
    let ivf = std::fs::read(data("vp8.ivf")).unwrap();
    let cases = [
        scratch.path("missing.webm").to_str().unwrap().to_owned(),
        scratch.path("").to_str().unwrap().to_owned(),
        write("empty.webm", b""),
        write("noise.webm", &crate::support::noise(5000, 3)),
        write("header.webm", &webm[..60]),
        write("header.ivf", &ivf[..20]),
        data("mjpeg.mkv"),
        data("opus.ogg"),
        "/dev/null".to_owned(),
    ];
    for path in cases {
        for args in [vec![format!("--video={path}")], vec![format!("--video={path}"), format!("--audio={path}")]] {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let exit = start(&args).wait(PATIENCE);
            assert_eq!(exit.code, Some(3), "{path}: {exit:?}");
            assert!(exit.error_line().contains(path.trim_end_matches('/')), "{path}: {exit:?}");
        }
    }
}

#[test]
fn an_input_that_stalls_can_be_interrupted() {
    let _turn = calls_share_the_machine();
    let ivf = std::fs::read(data("vp8.ivf")).unwrap();
    for brought in [&[][..], &ivf[..ivf.len() / 2]] {
        let mut call = Rtckit::start(["call", "--loopback", "--video=-", "--events", "--events-file", "fd:1"]);
        call.write(brought);
        if !brought.is_empty() {
            while call.json()["state"] != "connected" {}
        }
        // The signal must find its handler: it is there before anything is opened, but not before the process runs.
        std::thread::sleep(Duration::from_millis(300));
        call.interrupt();
        let exit = call.wait(PATIENCE);
        assert_eq!(exit.code, Some(130), "{exit:?}");
        assert!(exit.took < Duration::from_secs(2), "{exit:?}");
    }
}
