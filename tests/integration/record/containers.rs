//! Every container and codec that `--is-type-supported` says yes to, as foreign readers see it.

use super::{check, report};
use crate::browser::Page;
use crate::support::{PATIENCE, Rtckit, Scratch, calls_share_the_machine, have};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Type, file name, and whether browsers play it.
const TYPES: [(&str, &str, bool); 12] = [
    ("video/webm;codecs=vp8,opus", "vp8-opus.webm", true),
    ("video/webm;codecs=vp9,opus", "vp9-opus.webm", true),
    ("video/webm;codecs=av1,opus", "av1-opus.webm", true),
    ("video/webm;codecs=vp8", "vp8.webm", true),
    ("audio/webm;codecs=opus", "opus.webm", true),
    ("video/matroska;codecs=vp8,opus", "vp8-opus.mkv", true),
    ("video/matroska;codecs=vp9", "vp9.mkv", true),
    ("video/matroska;codecs=av1,opus", "av1-opus.mkv", true),
    ("video/matroska;codecs=h264,opus", "h264-opus.mkv", true),
    ("audio/matroska;codecs=opus", "opus.mka", true),
    ("audio/ogg;codecs=opus", "opus.ogg", true),
    ("audio/wav", "sound.wav", true),
];

fn record(folder: &Scratch, mime_type: &str, name: &str) -> PathBuf {
    let path = folder.path(name);
    let supported = Rtckit::start(["record", "--is-type-supported", mime_type]).wait(PATIENCE);
    assert_eq!(supported.code, Some(0), "{mime_type}");
    let mut args = vec!["record", "--unpaced", "--duration=4s", "--json", "--mime-type", mime_type];
    args.extend(["-o", path.to_str().unwrap(), "--video-key-frame-interval-duration=1s"]);
    if mime_type.starts_with("video") {
        args.extend(["--video=test", "--width=160", "--height=120"]);
    }
    if mime_type.contains("opus") || mime_type == "audio/wav" {
        args.push("--audio=test");
    }
    let report = report(&Rtckit::start(args).succeed(PATIENCE));
    assert_eq!(report["mimeType"], mime_type);
    path
}

fn said(program: &str, args: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(args).arg(path).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{program} {}: {text}", path.display());
    text
}

#[test]
fn foreign_readers_agree_on_every_type() {
    let _turn = calls_share_the_machine();
    if !["ffprobe", "ffmpeg", "mkvinfo", "gst-discoverer-1.0"].into_iter().all(have) {
        return;
    }
    let folder = Scratch::new();
    let page = Page::open();
    for (mime_type, name, in_browsers) in TYPES {
        let path = record(&folder, mime_type, name);
        // No warnings at all: of times, of damage, of anything.
        let probed = said("ffprobe", &["-v", "warning", "-show_entries", "format=duration", "-of", "csv=p=0"], &path);
        let seconds: f64 = probed.trim().parse().unwrap_or_else(|_| panic!("{name}: {probed}"));
        assert!((seconds - 4.0).abs() < 0.05, "{name}: {seconds} s");
        let decoded = Command::new("ffmpeg")
            .args(["-v", "warning", "-nostdin", "-i"])
            .arg(&path)
            .args(["-c", "copy", "-f", "null", "-"])
            .output()
            .unwrap();
        let complaints = String::from_utf8_lossy(&decoded.stderr).into_owned();
        let complaints: Vec<_> = complaints.lines().filter(|line| !line.starts_with("Guessed Channel")).collect();
        assert_eq!(complaints, [""; 0], "{name}");
        if name.ends_with("webm") || name.contains(".mk") {
            let structure = said("mkvinfo", &["--all"], &path);
            assert!(structure.contains("Duration: 00:00:0") && !structure.contains("rror"), "{name}: {structure}");
            assert!(structure.contains("Cues") && structure.contains("Seek head"), "{name}");
        }
        let discovered = said("gst-discoverer-1.0", &[], &path);
        assert!(
            discovered.contains("Duration: 0:00:0") && discovered.contains("Seekable: yes"),
            "{name}: {discovered}"
        );
        let (found, code) = check(&path);
        assert_eq!((code, &found["plays"]), (Some(0), &true.into()), "{name}: {found}");
        assert_eq!(found["problems"].as_array().map(Vec::len), Some(0), "{name}: {found}");
        if let Some(page) = page.as_ref().filter(|_| in_browsers) {
            plays_in(page, &path, mime_type);
        }
    }
}

/// The browser knows the length, and a seek to the middle lands within a frame of it.
fn plays_in(page: &Page, path: &Path, mime_type: &str) {
    let bytes: String = std::fs::read(path).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let script = "{
        const hex = arguments[0], kind = arguments[1].startsWith('video') ? 'video' : 'audio';
        const bytes = Uint8Array.from({ length: hex.length / 2 }, (_, n) => parseInt(hex.substr(2 * n, 2), 16));
        const element = document.createElement(kind);
        const until = (event) => new Promise((resolve, reject) => {
            element.addEventListener(event, resolve, { once: true });
            element.addEventListener('error', () => reject(new Error(element.error.message)), { once: true });
        });
        let ready = until('loadeddata');
        element.src = URL.createObjectURL(new Blob([bytes], { type: arguments[1] }));
        await ready;
        let seeked = until('seeked');
        element.currentTime = element.duration / 2;
        await seeked;
        return { duration: element.duration, time: element.currentTime, width: element.videoWidth ?? 0,
                 seekable: element.seekable.length };
    }";
    let played: Value = page.evaluate(script, json!([bytes, mime_type]));
    let duration = played["duration"].as_f64().unwrap_or_else(|| panic!("no finite duration: {played}"));
    assert!((duration - 4.0).abs() < 0.05, "{}: {played}", path.display());
    assert!((played["time"].as_f64().unwrap() - duration / 2.0).abs() < 0.034, "{}: {played}", path.display());
    if mime_type.starts_with("video") {
        assert_eq!(played["width"], 160, "{}: {played}", path.display());
    }
}
