//! Files and streams that are whole, whatever ends the recording.

use super::{report, start};
use crate::support::{
    MediaFile, PATIENCE, Rtckit, Scratch, await_growth, calls_share_the_machine, have, in_repository,
    one_call_at_a_time, packets,
};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn data(name: &str) -> String {
    in_repository(&format!("tests/data/{name}")).to_str().unwrap().to_owned()
}

#[test]
fn a_recording_is_as_long_as_asked_has_every_frame_and_both_tracks_in_sync() {
    if !have("ffprobe") {
        return;
    }
    let _turn = one_call_at_a_time();
    let scratch = Scratch::new();
    for name in ["film.webm", "film.mkv"] {
        let path = scratch.path(name);
        let exit = start(&["--duration=2s", "-o", path.to_str().unwrap()]).succeed(PATIENCE);
        let report = report(&exit);
        assert_eq!((&report["ended"], &report["framesDropped"]), (&"duration".into(), &0.into()), "{report}");
        let file = MediaFile::open(&path);
        file.assert_plays();
        assert!((file.duration() - 2.0).abs() < 0.06, "{} s", file.duration());
        let (pictures, sound) = (file.stream("vp8").times.len(), file.stream("opus").times.len());
        assert!(pictures.abs_diff(60) <= 1, "{pictures} pictures: {report}");
        assert!(sound.abs_diff(100) <= 3, "{sound} packets: {report}");
        assert!(file.start_offset() < 0.04);
    }
    assert_eq!(scratch.names(), ["film.mkv", "film.webm"], "no half-written file stays behind");
}

#[test]
fn signals_complete_the_file_and_exit_0() {
    if !have("ffprobe") {
        return;
    }
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    for ended in ["interrupt", "terminate"] {
        let path = scratch.path(&format!("{ended}.webm"));
        let mut recording = start(&["-o", path.to_str().unwrap()]);
        await_growth(&scratch, 5_000);
        if ended == "interrupt" {
            recording.interrupt()
        } else {
            recording.terminate()
        }
        let exit = recording.succeed(PATIENCE);
        assert_eq!(report(&exit)["ended"], ended);
        MediaFile::open(&path).assert_plays();
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn standard_output_gets_a_stream_that_plays_and_nothing_else() {
    if !have("ffprobe") {
        return;
    }
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let exit = start(&["--duration=1500ms", "-o", "-"]).succeed(PATIENCE);
    let path = scratch.path("stream.webm");
    std::fs::write(&path, &exit.stdout).unwrap();
    MediaFile::open(&path).assert_plays();
    let report: Value = serde_json::from_str(exit.stderr.trim()).expect("JSON alone");
    assert_eq!(report["recording"]["bytes"], exit.stdout.len());
    assert_eq!(report["mimeType"], "video/webm;codecs=vp8,opus");
}

#[test]
fn an_output_that_exists_is_not_touched_unless_asked() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let path = scratch.path("film.webm");
    let to = path.to_str().unwrap();
    std::fs::write(&path, "precious").unwrap();
    let exit = Rtckit::start(["record", "--video=test", "--duration=200ms", "-o", to]).wait(PATIENCE);
    assert_eq!(exit.code, Some(13), "{exit:?}");
    exit.error_line();
    let exit = start(&["--duration=200ms", "--rename", "-o", to]).succeed(PATIENCE);
    assert!(report(&exit)["recording"]["path"].as_str().unwrap().ends_with("film-1.webm"));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    start(&["--duration=200ms", "--overwrite", "-o", to]).succeed(PATIENCE);
    assert!(std::fs::metadata(&path).unwrap().len() > 1000);
}

#[test]
fn encoded_files_pass_untouched_and_as_fast_as_they_are_read() {
    let _turn = calls_share_the_machine();
    if !have("ffmpeg") {
        return;
    }
    let scratch = Scratch::new();
    for (name, video, audio) in
        [("both.webm", "vp8-opus.webm", "vp8-opus.webm"), ("apart.mkv", "record-vp8.ivf", "record-opus.ogg")]
    {
        let path = scratch.path(name);
        let (from_video, from_audio) = (format!("--video={}", data(video)), format!("--audio={}", data(audio)));
        let args = ["record", &from_video, &from_audio, "--json", "-o", path.to_str().unwrap()];
        let exit = Rtckit::start(args).succeed(PATIENCE);
        let report = report(&exit);
        assert_eq!(report["ended"], "input-ended");
        let tracks = report["recording"]["tracks"].as_array().unwrap();
        assert!(tracks.iter().all(|track| track["moved"] == 0), "{report}");
        for (track, file) in [("v", video), ("a", audio)] {
            let (from, to) = (packets(Path::new(&data(file)), track), packets(&path, track));
            // The sound before the first picture is left out.
            assert!(from.ends_with(&to) && from.len() - to.len() < 5, "{name} {track}: {} of {}", to.len(), from.len());
        }
        assert_eq!(MediaFile::open(&path).decode_complaints(), "");
    }
}

#[test]
fn raw_files_are_encoded_without_waiting_for_their_time_to_pass() {
    let _turn = calls_share_the_machine();
    if !have("ffmpeg") {
        return;
    }
    let scratch = Scratch::new();
    let (y4m, wav) = (scratch.path("in.y4m"), scratch.path("in.wav"));
    let make = |input: &str, output: &Path| {
        let made = Command::new("ffmpeg").args(["-v", "error", "-f", "lavfi", "-i", input]).arg(output).status();
        assert!(made.unwrap().success());
    };
    make("testsrc=size=160x120:rate=25:duration=8,format=yuv420p", &y4m);
    make("sine=frequency=440:sample_rate=44100:duration=8", &wav);
    let path = scratch.path("out.webm");
    let (video, audio) = (format!("--video={}", y4m.display()), format!("--audio={}", wav.display()));
    let args = ["record", &video, &audio, "--json", "-o", path.to_str().unwrap()];
    let report = report(&Rtckit::start(args).succeed(PATIENCE));
    let file = MediaFile::open(&path);
    file.assert_plays();
    assert_eq!(file.stream("vp8").times.len(), 200, "{report}");
    assert!((file.duration() - 8.0).abs() < 0.06, "{} s", file.duration());
    assert!(report["seconds"].as_f64() < Some(7.0), "as slow as life: {report}");
}

#[test]
fn the_file_is_no_larger_than_asked_and_plays() {
    if !have("ffprobe") {
        return;
    }
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let path = scratch.path("film.webm");
    let exit = start(&["--max-size=60k", "--duration=15s", "-o", path.to_str().unwrap()]).succeed(PATIENCE);
    assert_eq!(report(&exit)["ended"], "max-size");
    let size = std::fs::metadata(&path).unwrap().len();
    assert!((50_000..=60_000).contains(&size), "{size}");
    MediaFile::open(&path).assert_plays();
}

#[test]
fn types_are_told_apart() {
    for (text, supported) in [
        ("video/webm", true),
        ("video/webm;codecs=vp8,opus", true),
        ("audio/webm;codecs=opus", true),
        ("video/x-matroska;codecs=vp8", true),
        ("", true),
        ("video/webm;codecs=theora", false),
        ("video/quicktime", false),
    ] {
        let exit = Rtckit::start(["record", "--is-type-supported", text]).wait(PATIENCE);
        assert_eq!(exit.code, Some(if supported { 0 } else { 3 }), "{text}: {exit:?}");
        assert_eq!(exit.stdout, format!("{supported}\n").as_bytes());
    }
    let refused: [(&[&str], i32, &str); 5] = [
        (&["-o", "film.webm"], 2, "nothing to record"),
        (&["--video=test"], 2, "--output"),
        (&["--video=test", "-o", "film.txt"], 2, "does not tell"),
        (&["--video=test", "--mime-type=audio/webm", "-o", "film.webm"], 3, "holds no video"),
        (&["--audio=none.wav", "-o", "film.webm"], 3, "none.wav"),
    ];
    for (args, code, said) in refused {
        let exit = Rtckit::start(["record"].iter().chain(args)).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{args:?}: {exit:?}");
        assert!(exit.error_line().contains(said), "{exit:?}");
    }
}

/// Whoever knows what the pictures show says so, and is obeyed: text is sharp from its first picture on.
#[test]
fn a_content_hint_says_whether_to_be_sharp_or_smooth() {
    let _turn = calls_share_the_machine();
    if !have("ffprobe") {
        return;
    }
    let scratch = Scratch::new();
    let film = scratch.path("text.y4m");
    let mut y4m = b"YUV4MPEG2 W320 H240 F30:1 Ip C420jpeg\n".to_vec();
    // Strokes a pixel wide, irregular as those of letters.
    let luma = (0..320 * 240_u32).map(|at| if at.wrapping_mul(2_654_435_761) >> 30 == 0 { 30 } else { 230 });
    let picture: Vec<u8> = luma.chain(std::iter::repeat_n(128, 320 * 240 / 2)).collect();
    for _ in 0..3 {
        y4m.extend_from_slice(b"FRAME\n");
        y4m.extend_from_slice(&picture);
    }
    std::fs::write(&film, y4m).unwrap();
    let first = |name: &str, hint: &[&str]| {
        let path = scratch.path(name);
        let video = format!("--video={}", film.display());
        let args = ["record", &video, "--video-bits-per-second=100k", "-o", path.to_str().unwrap()];
        Rtckit::start(args.iter().chain(hint)).succeed(PATIENCE);
        let args = ["-v", "error", "-show_entries", "packet=size", "-of", "csv=p=0"];
        let packets =
            String::from_utf8(Command::new("ffprobe").args(args).arg(&path).output().unwrap().stdout).unwrap();
        packets.lines().next().unwrap().trim_end_matches(',').parse::<u64>().unwrap()
    };
    let [plain, motion, detail, text] = [
        first("plain.webm", &[]),
        first("motion.webm", &["--content-hint", "motion"]),
        first("detail.webm", &["--content-hint=detail"]),
        first("text.webm", &["--content-hint=text"]),
    ];
    assert_eq!(plain, motion, "a file is not known to be a screen");
    assert!(detail > motion * 3 / 2, "the first picture takes {motion} bytes, and {detail} as detail");
    assert!(text > motion * 3 / 2, "the first picture takes {motion} bytes, and {text} as text");
    let refused = Rtckit::start(["record", "--video=test", "--content-hint=blurry", "-o", "x.webm"]).wait(PATIENCE);
    assert_eq!(refused.code, Some(2), "{refused:?}");
}
