//! Each video codec in calls: Chromium decodes ours and we record Chromium's, and files of it pass through as they are.

use crate::browser::{Media, Page};
use crate::call_chromium::{page_answers, page_offers};
use crate::support::{MediaFile, Rtckit, Scratch, calls_share_the_machine, have, one_call_at_a_time};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// The RTP media type of the first stream of this kind of media and of statistics.
fn mime_type(page: &Page, kind_of_stat: &str, kind: &str) -> Value {
    let stats = page.call("stats", json!(["peer"]));
    let stats = stats.as_array().unwrap();
    let id = &stats.iter().find(|stat| stat["type"] == kind_of_stat && stat["kind"] == kind).unwrap()["codecId"];
    stats.iter().find(|stat| stat["id"] == *id).map_or(Value::Null, |codec| codec["mimeType"].clone())
}

/// Chromium shows what we send, 320 pixels wide, and says that it is `mime`; what it sends is as well.
fn assert_shown(page: &Page, mime: &str) {
    page.await_frames("peer", 30);
    assert_eq!([mime_type(page, "inbound-rtp", "video"), mime_type(page, "outbound-rtp", "video")], [mime, mime]);
    let state = page.state("peer");
    assert_eq!((&state["frames"]["width"], &state["frames"]["height"]), (&json!(320), &json!(240)));
    let (shown, changed) = (state["frames"]["shown"].as_f64(), state["frames"]["changed"].as_f64());
    assert!(changed.unwrap() > 0.9 * shown.unwrap(), "the picture stands still: {state}");
    let inbound = page.stat("peer", "inbound-rtp", "video");
    assert_eq!(inbound["keyFramesDecoded"], 1, "each frame but the first builds on others: {inbound}");
}

/// Ends the call when Chromium has sent enough; what we recorded of its camera is whole, and coded as `codec`.
fn assert_recorded(page: &Page, mut rtckit: Rtckit, recording: &Path, codec: &str) {
    page.await_stat("peer", "outbound-rtp", "video", |outbound| outbound["framesSent"].as_u64() >= Some(40));
    rtckit.interrupt();
    assert_eq!(rtckit.wait(PATIENCE).code, Some(130));
    let file = MediaFile::open(recording);
    file.assert_plays();
    let frames = file.stream(codec).times.len();
    assert!(frames >= 20, "{frames} frames recorded");
}

/// A call of ours to Chromium with media both ways.
fn both_ways(codec: &str, mime: &str, name: &str, extension: &str) {
    let _turn = one_call_at_a_time();
    if !have("ffprobe") {
        return;
    }
    let Some(page) = Page::open() else { return };
    let scratch = Scratch::new();
    let recording = scratch.path(&format!("chromium.{extension}"));
    page.create(Media::Send, false);
    let send = ["call", "--video=test", "--width=320", "--audio=test", "--video-codec", codec];
    let mut caller = Rtckit::start(send.iter().copied().chain(["--record", recording.to_str().unwrap()]));
    page_answers(&page, &mut caller, false);
    assert_shown(&page, mime);
    assert_recorded(&page, caller, &recording, name);
}

#[test]
fn chromium_decodes_our_vp9_and_we_record_its() {
    both_ways("vp9", "video/VP9", "vp9", "webm");
}

#[test]
fn chromium_decodes_our_h264_and_we_record_its() {
    both_ways("h264", "video/H264", "h264", "mkv");
}

#[test]
fn chromium_that_takes_single_units_alone_decodes_our_h264_and_we_record_its() {
    let _turn = one_call_at_a_time();
    if !have("ffprobe") {
        return;
    }
    let Some(page) = Page::open() else { return };
    let scratch = Scratch::new();
    let recording = scratch.path("chromium.mkv");
    page.create_camera("packetization-mode=0;profile-level-id=42e01f");
    let send = ["answer", "--video=test", "--width=320", "--audio=test", "--record", recording.to_str().unwrap()];
    let mut callee = Rtckit::start(send);
    let offer = page_offers(&page, &mut callee, false);
    assert!(!offer["sdp"].as_str().unwrap().contains("packetization-mode=1"), "{offer}");
    assert_shown(&page, "video/H264");
    assert_recorded(&page, callee, &recording, "h264");
}

#[test]
fn chromium_decodes_our_av1_and_we_record_its() {
    both_ways("av1", "video/AV1", "av1", "webm");
}

/// The pitch of the middle of a WAV file of ours (16 bits, two channels, 48 kHz), by its zero crossings, in hertz.
fn pitch(wav: &Path) -> f64 {
    let bytes = std::fs::read(wav).unwrap();
    let samples: Vec<i16> = bytes[44..].chunks_exact(4).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    let middle = &samples[samples.len() / 3..samples.len() * 2 / 3];
    let loudest = middle.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
    assert!(loudest > 3000, "as good as silence: {loudest}");
    let rises: Vec<usize> = (1..middle.len()).filter(|at| middle[at - 1] < 0 && middle[*at] >= 0).collect();
    let (first, last) = (rises[0], rises[rises.len() - 1]);
    (rises.len() - 1) as f64 * 48_000.0 / (last - first) as f64
}

#[test]
fn a_browser_that_speaks_g711_alone_is_understood_recorded_and_answered_in_it() {
    let _turn = calls_share_the_machine();
    if !have("ffprobe") {
        return;
    }
    let Some(page) = Page::open() else { return };
    for (codec, hertz) in [("audio/PCMU", 440), ("audio/PCMA", 1000)] {
        let scratch = Scratch::new();
        let (recording, wav) = (scratch.path("call.webm"), scratch.path("call.wav"));
        page.create_telephone(hertz, codec);
        let to = ["--record", recording.to_str().unwrap(), "--audio-output", wav.to_str().unwrap()];
        let mut callee = Rtckit::start(["answer", "--audio=test"].iter().chain(&to));
        page_offers(&page, &mut callee, false);
        page.await_stat("peer", "inbound-rtp", "audio", |inbound| inbound["packetsReceived"].as_u64() >= Some(75));
        assert_eq!(
            [mime_type(&page, "inbound-rtp", "audio"), mime_type(&page, "outbound-rtp", "audio")],
            [codec, codec]
        );
        page.await_stat("peer", "inbound-rtp", "audio", |inbound| inbound["totalAudioEnergy"].as_f64() > Some(0.0));
        page.call("close", json!(["peer"]));
        callee.succeed(PATIENCE);
        let file = MediaFile::open(&recording);
        assert_eq!(file.decode_complaints(), "");
        assert!(file.stream("opus").times.len() >= 60 && file.duration() > 1.2, "{} s", file.duration());
        let heard = pitch(&wav);
        assert!((heard - f64::from(hertz)).abs() < 3.0, "{heard} Hz of {hertz}");
    }
}

#[test]
fn an_answer_prefers_what_we_prefer_whatever_the_offer_begins_with() {
    let _turn = one_call_at_a_time();
    if !have("ffprobe") {
        return;
    }
    let Some(page) = Page::open() else { return };
    let scratch = Scratch::new();
    let recording = scratch.path("chromium.webm");
    page.create_offerer(Media::Send, None);
    let send = ["answer", "--video=test", "--width=320", "--audio=test", "--video-codec", "vp9,vp8"];
    let mut callee = Rtckit::start(send.iter().copied().chain(["--record", recording.to_str().unwrap()]));
    page_offers(&page, &mut callee, false);
    assert_shown(&page, "video/VP9");
    assert_recorded(&page, callee, &recording, "vp9");
}

#[test]
fn h264_is_not_recorded_as_webm() {
    let scratch = Scratch::new();
    let recording = scratch.path("call.webm");
    let args = ["call", "--loopback", "--video=test", "--video-codec", "h264", "--record", recording.to_str().unwrap()];
    let exit = Rtckit::start(args).wait(PATIENCE);
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.error_line().contains(".mkv"), "{exit:?}");
    assert!(scratch.names().is_empty());
}

#[test]
fn limits_of_what_is_sent_are_kept() {
    let _turn = one_call_at_a_time();
    let scratch = Scratch::new();
    let output = scratch.path("out.y4m");
    // Small, so that a busy machine keeps up: without limits it takes 174 kbit/s at this size and rate.
    let limits = ["--max-bitrate", "60k", "--max-frame-rate", "10", "--scale-resolution-down-by", "2"];
    let call =
        ["call", "--loopback", "--json", "--video=test", "--width", "320", "--height", "240", "--duration", "4s"];
    let args = call.iter().copied().chain(["--video-output", output.to_str().unwrap()]).chain(limits);
    let exit = Rtckit::start(args).succeed(PATIENCE);
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    let sent = &report["sent"][0];
    let frames = sent["framesSent"].as_u64().unwrap();
    assert!((25..=42).contains(&frames), "{frames} frames in 4 s at 10 a second");
    let kilobits = sent["bytesSent"].as_f64().unwrap() * 8.0 / 1000.0 / 4.0;
    assert!(kilobits < 76.0, "{kilobits:.0} kbit/s, 60 allowed");
    let header = std::fs::read(&output).unwrap();
    assert!(header.starts_with(b"YUV4MPEG2 W160 H120 "), "{}", String::from_utf8_lossy(&header[..40]));
}

#[test]
fn what_is_encoded_already_is_encoded_anew_within_limits() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (film, output) = (scratch.path("film.webm"), scratch.path("out.y4m"));
    let (film, to) = (film.to_str().unwrap(), output.to_str().unwrap());
    let source = ["record", "--video=test", "--width=320", "--height=240", "--duration=2s", "--unpaced", "-o", film];
    Rtckit::start(source).succeed(PATIENCE);
    let video = format!("--video={film}");
    let limits = ["--max-frame-rate", "10", "--scale-resolution-down-by", "2"];
    let call = ["call", "--loopback", "--json", &video, "--duration", "1s", "--video-output", to];
    let exit = Rtckit::start(call.iter().chain(&limits)).succeed(PATIENCE);
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    assert!((1..=12).contains(&report["sent"][0]["framesSent"].as_u64().unwrap()), "{report}");
    assert!(std::fs::read(&output).unwrap().starts_with(b"YUV4MPEG2 W160 H120 "));
}

#[test]
fn a_track_whose_source_hangs_when_the_call_ends_is_reported_all_the_same() {
    let _turn = calls_share_the_machine();
    let mut call = Rtckit::start(["call", "--loopback", "--json", "--video=-", "--duration", "2s"]);
    call.write(b"YUV4MPEG2 W64 H48 F30:1 Ip C420jpeg\n");
    for n in 0..15 {
        call.write(b"FRAME\n");
        call.write(&[n * 10; 64 * 48 * 3 / 2]);
    }
    // The pipe stays open, and nothing more comes.
    let exit = call.wait(PATIENCE);
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    let sent = report["sent"].as_array().unwrap();
    assert_eq!(sent.len(), 1, "{report}");
    assert_eq!((&sent[0]["kind"], sent[0]["framesSent"].as_u64()), (&"video".into(), Some(15)), "{report}");
}
