//! `--timeslice`: slices together are the recording; with a pattern each is a file that plays alone.

use super::{check, report, start};
use crate::support::{Exit, MediaFile, PATIENCE, Scratch, calls_share_the_machine, have};
use serde_json::Value;

fn events(exit: &Exit) -> Vec<Value> {
    String::from_utf8_lossy(&exit.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_slices_of_a_file_are_the_file_and_come_in_time() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let path = scratch.path("film.webm");
    let args = ["--events", "--unpaced", "--duration=5s", "--timeslice=1s", "-o", path.to_str().unwrap()];
    let exit = start(&args).succeed(PATIENCE);
    let slices: Vec<Value> = events(&exit).into_iter().filter(|event| event["type"] == "dataavailable").collect();
    assert_eq!(slices.len(), 5, "{slices:?}");
    let mut end = 0;
    for (n, slice) in slices.iter().enumerate() {
        assert_eq!(slice["offset"].as_u64(), Some(end), "{slices:?}");
        assert!((slice["timecode"].as_f64().unwrap() - n as f64).abs() < 0.05, "{slices:?}");
        end += slice["bytes"].as_u64().unwrap();
    }
    assert_eq!(std::fs::metadata(&path).unwrap().len(), end);
}

#[test]
fn with_a_pattern_every_slice_plays_alone_and_no_frame_is_lost_between_them() {
    let _turn = calls_share_the_machine();
    if !have("ffprobe") {
        return;
    }
    let scratch = Scratch::new();
    let pattern = scratch.path("out-%03d.webm");
    let args = ["--unpaced", "--duration=5s", "--timeslice=1s", "--chunk-pattern", pattern.to_str().unwrap()];
    let report = report(&start(&args).succeed(PATIENCE));
    let chunks = report["chunks"].as_array().unwrap();
    assert_eq!(chunks.len(), 5, "{report}");
    assert!(report["recording"].is_null());
    let names: Vec<_> = (1..=5).map(|n| format!("out-{n:03}.webm")).collect();
    assert_eq!(scratch.names(), names, "nothing else is left");
    let (mut pictures, mut packets) = (0, 0);
    for (name, chunk) in names.iter().zip(chunks) {
        let path = scratch.path(name);
        let file = MediaFile::open(&path);
        file.assert_plays();
        assert!((file.duration() - chunk["duration"].as_f64().unwrap()).abs() < 0.03);
        pictures += file.stream("vp8").times.len();
        packets += file.stream("opus").times.len();
        let (found, code) = check(&path);
        assert_eq!((code, &found["complete"]), (Some(0), &true.into()), "{found}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), chunk["bytes"].as_u64().unwrap());
    }
    assert_eq!(pictures, 150);
    assert!(usize::abs_diff(packets, 250) <= 5, "{packets}");
}

#[test]
fn slices_of_sound_alone_are_files_too() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    for (name, minimum) in [("a-%d.opus", 1000), ("a-%d.wav", 100_000)] {
        let pattern = scratch.path(name);
        let args = ["record", "--audio=test", "--unpaced", "--duration=3s", "--timeslice=1s", "--json"];
        let mut recording =
            crate::support::Rtckit::start(args.iter().chain(&["--chunk-pattern", pattern.to_str().unwrap()]));
        let report = report(&recording.succeed(PATIENCE));
        let chunks = report["chunks"].as_array().unwrap();
        assert_eq!(chunks.len(), 3, "{report}");
        for chunk in chunks {
            let (found, code) = check(std::path::Path::new(chunk["path"].as_str().unwrap()));
            assert_eq!((code, &found["plays"]), (Some(0), &true.into()), "{found}");
            assert!((found["duration"].as_f64().unwrap() - 1.0).abs() < 0.05, "{found}");
            assert!(chunk["bytes"].as_u64() > Some(minimum));
        }
    }
}
