//! Calls between rtckit and Firefox: another judge, which does some things in its own way.

use crate::browser::{Media, Page};
use crate::call_chromium::{page_answers, page_offers};
use crate::support::{
    MediaFile, PATIENCE, Rtckit, Scratch, calls_share_the_machine, fnv1a, have, noise, one_call_at_a_time,
};
use serde_json::json;

/// Firefox shows what we send in this codec.
fn firefox_shows(codec: &str, mime_type: &str, trickle: bool) {
    let _turn = one_call_at_a_time();
    let Some(page) = Page::open_in_firefox() else { return };
    page.create(Media::Receive, false);
    let codec = format!("--video-codec={codec}");
    let mut args = vec!["call", "--video=test", "--audio=test", &codec, "--duration=20s"];
    args.extend(trickle.then_some("--trickle"));
    let mut caller = Rtckit::start(args);
    page_answers(&page, &mut caller, trickle);
    let state = page.await_frames("peer", 30);
    assert_eq!((&state["frames"]["width"], &state["frames"]["height"]), (&json!(640), &json!(480)), "{state}");
    let (shown, changed) = (state["frames"]["shown"].as_f64(), state["frames"]["changed"].as_f64());
    assert!(changed.unwrap() > 0.8 * shown.unwrap(), "the picture stands still: {state}");
    let codecs = page.call("stats", json!(["peer"]));
    let used =
        |wanted: &str| codecs.as_array().unwrap().iter().any(|it| it["type"] == "codec" && it["mimeType"] == wanted);
    assert!(used(mime_type) && used("audio/opus"), "{codecs}");
    let audio = page.stat("peer", "inbound-rtp", "audio");
    assert!(audio["packetsReceived"].as_u64() > Some(20), "{audio}");
    caller.interrupt();
    assert_eq!(caller.wait(PATIENCE).code, Some(130));
}

#[test]
fn firefox_shows_our_vp8_and_takes_our_opus() {
    firefox_shows("vp8", "video/VP8", false);
}

#[test]
fn firefox_shows_our_vp9() {
    firefox_shows("vp9", "video/VP9", true);
}

/// What Firefox sends in this codec is recorded.
fn we_record(codec: &str) {
    let _turn = one_call_at_a_time();
    if !have("ffprobe") {
        return;
    }
    let Some(page) = Page::open_in_firefox() else { return };
    let scratch = Scratch::new();
    let recording = scratch.path("firefox.webm");
    page.create_offerer(Media::Send, None);
    let only = format!("--video-codec={codec}");
    let args = ["answer", &only, "--record", recording.to_str().unwrap(), "--duration=4s"];
    let mut callee = Rtckit::start(args);
    page_offers(&page, &mut callee, false);
    callee.succeed(PATIENCE);
    let file = MediaFile::open(&recording);
    file.assert_plays();
    assert!((file.duration() - 4.0).abs() <= 0.4, "duration: {} s", file.duration());
    assert!(file.stream(codec).times.len() > 20, "{} pictures", file.stream(codec).times.len());
    assert!(file.stream("opus").times.len() > 100);
}

#[test]
fn we_record_the_vp8_and_opus_of_firefox() {
    we_record("vp8");
}

#[test]
fn we_record_the_vp9_of_firefox() {
    we_record("vp9");
}

#[test]
fn messages_cross_both_ways_whoever_opens_the_channel() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open_in_firefox() else { return };
    page.create(Media::None, true);
    let mut caller = Rtckit::start(["call", "--chat"]);
    page_answers(&page, &mut caller, false);
    for text in ["hello", "", "grüße"] {
        caller.write(format!("{text}\n").as_bytes());
        assert_eq!(caller.line(), text);
    }
    caller.interrupt();
    caller.wait(PATIENCE);

    page.call("close", json!(["peer"]));
    page.create_offerer(Media::None, Some("bytes"));
    let mut callee = Rtckit::start(["answer", "--pipe"]);
    page_offers(&page, &mut callee, false);
    page.await_state("peer", "an open channel", |state| state["channels"][0]["state"] == "open");
    let mut expected = Vec::new();
    for (seed, size) in [(1, 1200), (2, 16 << 10), (3, 64 << 10)] {
        page.call("sendNoise", json!(["peer", "bytes", size, seed]));
        expected.extend(noise(size, seed));
    }
    assert!(callee.bytes(expected.len(), PATIENCE) == expected, "what Firefox sent arrived changed");
    callee.write(&expected);
    let all = |state: &serde_json::Value| state["total"]["bytes"].as_u64() >= Some(expected.len() as u64);
    let state = page.await_state("peer", "all bytes", all);
    assert_eq!(state["total"], json!({ "bytes": expected.len(), "hash": fnv1a(&expected) }));
}
