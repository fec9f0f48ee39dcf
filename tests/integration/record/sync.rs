//! Sound and picture stay together and nothing is lost, over minutes and over pauses.

use super::{check, report, start};
use crate::support::{PATIENCE, Scratch, calls_share_the_machine, one_call_at_a_time};
use std::time::Duration;

#[test]
fn two_minutes_of_media_have_every_frame_and_no_skew() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let path = scratch.path("film.webm");
    let args = ["--unpaced", "--duration=2m", "--frame-rate=30", "-o", path.to_str().unwrap()];
    let recorded = report(&start(&args).succeed(Duration::from_secs(120)));
    let tracks = recorded["recording"]["tracks"].as_array().unwrap();
    assert_eq!((&tracks[0]["frames"], &tracks[0]["moved"], &tracks[1]["moved"]), (&3600.into(), &0.into(), &0.into()));
    let (found, code) = check(&path);
    assert_eq!((code, &found["plays"], &found["complete"]), (Some(0), &true.into(), &true.into()), "{found}");
    assert_eq!(found["problems"].as_array().map(Vec::len), Some(0), "{found}");
    for when in ["begin", "median", "end"] {
        let skew = found["avSkew"][when].as_f64().unwrap();
        assert!(skew.abs() < 0.04, "{when}: {found}");
    }
    assert!((found["duration"].as_f64().unwrap() - 120.0).abs() < 0.05, "{found}");
    assert!(found["audioEndOffset"].as_f64().unwrap().abs() < 0.04, "{found}");
}

#[test]
fn five_pauses_leave_no_hole_and_no_skew() {
    let _turn = one_call_at_a_time();
    let scratch = Scratch::new();
    let path = scratch.path("film.webm");
    let mut recording = start(&["--events", "--duration=8s", "-o", path.to_str().unwrap()]);
    let mut pauses = 0;
    let mut paused = false;
    let mut seen_in_pause = 0;
    // Toggles at what the recording itself says of its progress, so that each stretch has its length on any machine.
    let mut next_at = 0.7;
    let result = loop {
        let event = recording.json();
        match event["type"].as_str().unwrap() {
            "recording" if paused => {
                seen_in_pause += 1;
                if seen_in_pause == 3 {
                    recording.toggle();
                }
            }
            "recording" if pauses < 5 && event["seconds"].as_f64() >= Some(next_at) => {
                next_at += 1.3;
                pauses += 1;
                recording.toggle();
            }
            "pause" => (paused, seen_in_pause) = (true, 0),
            "resume" => paused = false,
            "result" => break event,
            _ => {}
        }
    };
    recording.succeed(PATIENCE);
    assert_eq!((&result["pauses"], &result["ended"]), (&5.into(), &"duration".into()), "{result}");
    let (found, code) = check(&path);
    assert_eq!(code, Some(0), "{found}");
    assert!((found["duration"].as_f64().unwrap() - 8.0).abs() < 0.06, "pauses do not count: {found}");
    for track in found["tracks"].as_array().unwrap() {
        let gap = track["largestGap"].as_f64().unwrap();
        // Each pause lasts for longer; what a busy machine leaves out is shorter.
        assert!(gap < 0.9, "a hole of {gap} s: {found}");
        assert_eq!(track["backwards"], 0);
    }
    assert!(found["audioEndOffset"].as_f64().unwrap().abs() < 0.2, "{found}");
    assert!(found["avSkew"]["end"].as_f64().unwrap().abs() < 0.04, "{found}");
}
