//! Calls between rtckit and Chromium, both ways round: the browser is the judge of what we send.

use crate::browser::{Media, Page};
use crate::support::{MediaFile, Rtckit, Scratch, calls_share_the_machine, fnv1a, have, noise, one_call_at_a_time};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// The sizes of messages that are echoed: empty, tiny, about one packet, and up to the most that Chromium takes.
const SIZES: [usize; 6] = [0, 1, 1200, 16 << 10, 64 << 10, 256 << 10];

/// The page answers the offer of `caller`; returns the answer when both are connected.
pub fn page_answers(page: &Page, caller: &mut Rtckit, trickle: bool) -> Value {
    let offer = caller.json();
    let answer = page.answer(&offer, trickle);
    caller.write_json(&answer);
    if trickle {
        exchange_candidates(page, caller);
    }
    page.await_connected();
    answer
}

/// `callee` answers the offer of the page; returns the offer when both are connected.
pub fn page_offers(page: &Page, callee: &mut Rtckit, trickle: bool) -> Value {
    let offer = page.offer(trickle);
    callee.write_json(&offer);
    page.accept(&callee.json());
    if trickle {
        exchange_candidates(page, callee);
    }
    page.await_connected();
    offer
}

/// Carries candidates across until the page is connected.
fn exchange_candidates(page: &Page, rtckit: &mut Rtckit) {
    let (mut ours, mut theirs, begin) = (0, 0, Instant::now());
    while page.state("peer")["connection"] != "connected" {
        while let Some(line) = rtckit.try_line(Duration::from_millis(5)) {
            let message: Value = serde_json::from_str(&line).unwrap();
            match message["type"].as_str() {
                Some("candidate") => page.call("addCandidate", json!(["peer", message])),
                Some("end-of-candidates") => page.call("addCandidate", json!(["peer", null])),
                _ => panic!("unexpected while trickling: {line}"),
            };
            ours += 1;
        }
        for candidate in page.call("takeCandidates", json!(["peer"])).as_array().unwrap() {
            let mut message = candidate.clone();
            if message.is_null() {
                message = json!({ "type": "end-of-candidates" });
            } else {
                message["type"] = "candidate".into();
            }
            rtckit.write_json(&message);
            theirs += 1;
        }
        assert!(begin.elapsed() < PATIENCE, "not connected after {ours} of our candidates and {theirs} of theirs");
    }
    assert!(ours > 0 && theirs > 0, "nothing trickled: {ours} of ours, {theirs} of theirs");
}

/// Frames decoded and audio packets received per second over about three seconds, by the clock of the statistics.
fn rates(page: &Page) -> [f64; 2] {
    let look = || {
        [("video", "framesDecoded"), ("audio", "packetsReceived")].map(|(kind, field)| {
            let stat = page.stat("peer", "inbound-rtp", kind);
            (stat["timestamp"].as_f64().unwrap() / 1000.0, stat[field].as_f64().unwrap())
        })
    };
    let first = look();
    loop {
        let now = look();
        if now.iter().zip(first).all(|(now, first)| now.0 - first.0 >= 3.0) {
            return [0, 1].map(|at| (now[at].1 - first[at].1) / (now[at].0 - first[at].0));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn chromium_plays_what_we_send(trickle: bool) {
    let _turn = one_call_at_a_time();
    let Some(page) = Page::open() else { return };
    page.create(Media::Receive, false);
    let mut args = vec!["call", "--video=test", "--audio=test", "--frame-rate=30"];
    args.extend(trickle.then_some("--trickle"));
    let mut caller = Rtckit::start(args);
    page_answers(&page, &mut caller, trickle);

    page.await_frames("peer", 30);
    let [frames, packets] = rates(&page);
    assert!((27.0..33.0).contains(&frames), "{frames} frames decoded a second, 30 sent");
    assert!((40.0..110.0).contains(&packets), "{packets} audio packets a second");
    let audio = page.stat("peer", "inbound-rtp", "audio");
    assert!(audio["totalAudioEnergy"].as_f64() > Some(0.0), "silence: {audio}");
    let state = page.state("peer");
    assert_eq!((&state["frames"]["width"], &state["frames"]["height"]), (&json!(640), &json!(480)));
    let (shown, changed) = (state["frames"]["shown"].as_f64(), state["frames"]["changed"].as_f64());
    assert!(changed.unwrap() > 0.9 * shown.unwrap(), "the picture stands still: {state}");
    caller.interrupt();
    assert_eq!(caller.wait(PATIENCE).code, Some(130));
}

#[test]
fn chromium_plays_what_we_send_in_one_exchange() {
    chromium_plays_what_we_send(false);
}

#[test]
fn chromium_plays_what_we_send_with_trickle() {
    chromium_plays_what_we_send(true);
}

fn assert_recording(page: &Page, recording: &Path, seconds: f64) {
    let sent = page.stat("peer", "outbound-rtp", "video");
    let file = MediaFile::open(recording);
    file.assert_plays();
    assert!((file.duration() - seconds).abs() <= 0.03 * seconds, "duration: {} s, not {seconds}", file.duration());
    assert!(file.start_offset() < 0.06, "picture and sound begin {} s apart", file.start_offset());
    // How many frames Chromium makes of its fake camera's 20 a second is up to the load of the machine. What it made is
    // in the file, but for what it made before it was connected and after we hung up.
    let (recorded, encoded) = (file.stream("vp8").times.len(), sent["framesEncoded"].as_u64().unwrap());
    assert!(recorded >= 25 && recorded as f64 >= 0.8 * encoded as f64, "{recorded} frames recorded of {sent}");
    // It begins with 300 kbit/s and goes where our feedback leads it; on one machine that is up.
    assert!(sent["targetBitrate"].as_f64() > Some(300_000.0), "our feedback made Chromium slow down: {sent}");
}

#[test]
fn we_record_the_camera_and_microphone_that_chromium_offers() {
    let _turn = one_call_at_a_time();
    if !have("ffprobe") {
        return;
    }
    let Some(page) = Page::open() else { return };
    let scratch = Scratch::new();
    let recording = scratch.path("chromium.webm");
    page.create_offerer(Media::Send, None);
    let mut callee = Rtckit::start(["answer", "--record", recording.to_str().unwrap(), "--duration", "5s"]);
    page_offers(&page, &mut callee, false);
    callee.succeed(PATIENCE);
    assert_recording(&page, &recording, 5.0);
}

#[test]
fn we_record_the_camera_and_microphone_with_which_chromium_answers() {
    let _turn = one_call_at_a_time();
    if !have("ffprobe") {
        return;
    }
    let Some(page) = Page::open() else { return };
    let scratch = Scratch::new();
    let recording = scratch.path("chromium.webm");
    page.create(Media::Send, false);
    let wish = ["--offer-to-receive-audio", "--offer-to-receive-video", "--duration", "5s", "--trickle"];
    let mut caller = Rtckit::start(["call", "--record", recording.to_str().unwrap()].iter().chain(&wish));
    page_answers(&page, &mut caller, true);
    caller.succeed(PATIENCE);
    assert_recording(&page, &recording, 5.0);
}

/// Lines of every size go to the page and come back.
fn assert_text_echo(rtckit: &mut Rtckit) {
    for size in SIZES {
        let text: String = noise(size, 7).into_iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        rtckit.write(format!("{text}\n").as_bytes());
        assert!(rtckit.line() == text, "echo of {size} characters");
    }
}

#[test]
fn chromium_echoes_our_text_on_the_channel_we_open() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    page.create(Media::None, true);
    let mut caller = Rtckit::start(["call", "--chat"]);
    page_answers(&page, &mut caller, false);
    assert_text_echo(&mut caller);
    let state = page.state("peer");
    let messages = state["messages"].as_array().unwrap();
    let sizes: Vec<_> = messages.iter().map(|message| message["size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, SIZES.map(|size| size as u64), "one message a line");
    assert!(messages.iter().all(|message| message["text"] == true), "{messages:?}");
}

/// A message goes to each of these channels of the page, which echoes, and comes back on the same.
fn assert_echo_by_channel(rtckit: &mut Rtckit, labels: &[&str]) {
    for label in labels {
        rtckit.write_json(&json!({ "channel": label, "text": format!("to {label}") }));
        rtckit.write_json(&json!({ "channel": label, "base64": "AAECAw==" }));
    }
    let mut owed: Vec<(String, String)> = Vec::new();
    for label in labels {
        owed.extend([(label.to_string(), format!("to {label}")), (label.to_string(), "AAECAw==".to_owned())]);
    }
    while !owed.is_empty() {
        let line = rtckit.json();
        let Some(content) = line["text"].as_str().or(line["base64"].as_str()) else { continue };
        let place = owed.iter().position(|(label, wanted)| line["channel"] == *label && wanted == content);
        owed.remove(place.unwrap_or_else(|| panic!("nobody sent this: {line}")));
    }
}

/// What the page sees of its channels, by their labels: ordered, maxRetransmits, maxPacketLifeTime, protocol, negotiated.
fn seen_channels(page: &Page) -> Value {
    let state = page.state("peer");
    let seen = |channel: &Value| {
        let members = ["ordered", "maxRetransmits", "maxPacketLifeTime", "protocol", "negotiated"];
        (channel["label"].as_str().unwrap().to_owned(), members.iter().map(|name| channel[*name].clone()).collect())
    };
    Value::Object(state["channels"].as_array().unwrap().iter().map(seen).collect())
}

#[test]
fn several_channels_of_every_kind_reach_chromium_and_keep_apart() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    let agreed = json!([["d", { "negotiated": true, "id": 9 }]]);
    page.call("create", json!(["peer", { "echo": true, "channels": agreed }]));
    let channels = [
        "--data=a",
        "--data=b,ordered=false,maxRetransmits=2",
        "--data=c,maxPacketLifeTime=900,protocol=p",
        "--data=d,negotiated=true,id=9",
    ];
    let mut caller = Rtckit::start(["call", "--messages"].iter().chain(&channels));
    page_answers(&page, &mut caller, false);
    assert_echo_by_channel(&mut caller, &["a", "b", "c", "d"]);
    let expected = json!({
        "a": [true, null, null, "", false],
        "b": [false, 2, null, "", false],
        "c": [true, null, 900, "p", false],
        "d": [true, null, null, "", true],
    });
    assert_eq!(seen_channels(&page), expected);
    caller.close_stdin();
    caller.succeed(PATIENCE);
}

#[test]
fn channels_of_both_sides_are_served_when_chromium_offers() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    let theirs = json!([["a", {}], ["b", { "ordered": false, "maxPacketLifeTime": 700 }], ["d", { "negotiated": true, "id": 9 }]]);
    page.call("create", json!(["peer", { "offers": true, "echo": true, "channels": theirs }]));
    let mut callee = Rtckit::start([
        "answer",
        "--messages",
        "--data=own,protocol=p",
        "--data=d,negotiated=true,id=9",
        "--json",
        "--events-file",
        "/dev/null",
    ]);
    page_offers(&page, &mut callee, false);
    assert_echo_by_channel(&mut callee, &["a", "b", "d", "own"]);
    assert_eq!(seen_channels(&page)["own"], json!([true, null, null, "p", false]));
    callee.write(b"{\"channel\":\"a\"}\n");
    let exit = callee.wait(PATIENCE);
    assert_eq!(exit.code, Some(3), "a line that is no message: {exit:?}");
}

#[test]
fn text_travels_on_the_channel_that_chromium_opens() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    page.create_offerer(Media::None, Some("chromium"));
    let mut callee = Rtckit::start(["answer", "--chat"]);
    page_offers(&page, &mut callee, false);
    page.await_state("peer", "an open channel", |state| state["channels"][0]["state"] == "open");
    for text in ["hello", "", "grüße"] {
        page.call("sendText", json!(["peer", "chromium", text]));
        assert_eq!(callee.line(), text);
    }
    callee.write("zurück\n".as_bytes());
    let state = page.await_state("peer", "a message", |state| state["messages"][0].is_object());
    assert_eq!(state["messages"][0]["hash"], fnv1a("zurück".as_bytes()), "{state}");
}

#[test]
fn binary_messages_of_every_size_cross_both_ways() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    page.create_offerer(Media::None, Some("bytes"));
    let mut callee = Rtckit::start(["answer", "--pipe"]);
    page_offers(&page, &mut callee, false);
    page.await_state("peer", "an open channel", |state| state["channels"][0]["state"] == "open");

    let mut expected = Vec::new();
    for (seed, size) in (1_u32..).zip(SIZES) {
        page.call("sendNoise", json!(["peer", "bytes", size, seed]));
        expected.extend(noise(size, seed));
    }
    assert!(callee.bytes(expected.len(), PATIENCE) == expected, "what Chromium sent arrived changed");

    callee.write(&expected);
    let state =
        page.await_state("peer", "all bytes", |state| state["total"]["bytes"].as_u64() >= Some(expected.len() as u64));
    assert_eq!(state["total"], json!({ "bytes": expected.len(), "hash": fnv1a(&expected) }));
    let messages = state["messages"].as_array().unwrap();
    assert!(messages.iter().all(|message| message["text"] == false), "{messages:?}");
}

/// Whether an SDP or an answer hides its host addresses behind names (RFC 8828, mode 2).
fn hides_addresses(description: &Value) -> bool {
    let sdp = description["sdp"].as_str().unwrap();
    let hosts: Vec<_> =
        sdp.lines().filter(|line| line.starts_with("a=candidate:") && line.contains(" typ host")).collect();
    !hosts.is_empty() && hosts.iter().all(|line| line.contains(".local "))
}

#[test]
fn local_names_in_an_answer_are_resolved() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open_with_hidden_addresses() else { return };
    page.create(Media::None, true);
    // Neither tells the other an address.
    let mut caller = Rtckit::start(["call", "--chat", "--mdns"]);
    let offer = caller.json();
    assert!(hides_addresses(&offer), "--mdns does not hide: {offer}");
    let answer = page.answer(&offer, false);
    assert!(hides_addresses(&answer), "Chromium did not use names: {answer}");
    caller.write_json(&answer);
    page.await_connected();
    caller.write(b"over a name\n");
    assert_eq!(caller.line(), "over a name");
}

#[test]
fn local_names_in_an_offer_are_resolved() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open_with_hidden_addresses() else { return };
    page.create_offerer(Media::None, Some("test"));
    let mut callee = Rtckit::start(["answer", "--chat"]);
    let offer = page_offers(&page, &mut callee, false);
    assert!(hides_addresses(&offer), "Chromium did not use names: {offer}");
}

#[test]
fn the_example_page_shows_what_we_send() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    page.show_file("examples/browser.html");
    let mut caller = Rtckit::start(["call", "--video=test", "--audio=test", "--duration", "4s"]);
    page.evaluate(
        "{ document.getElementById('remote').value = arguments[0]; document.getElementById('answer').click(); }",
        json!([caller.line()]),
    );
    let begin = Instant::now();
    let wait_for = |expression: &str| loop {
        let value = page.evaluate(expression, json!([]));
        if value.as_str().is_some_and(|text| !text.is_empty()) || value.as_u64() > Some(0) {
            return value;
        }
        assert!(begin.elapsed() < PATIENCE, "{expression} stays {value}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let answer = wait_for("document.getElementById('local').value");
    caller.write(format!("{}\n", answer.as_str().unwrap()).as_bytes());
    assert_eq!(wait_for("document.getElementById('video').videoWidth"), 640);
    caller.succeed(PATIENCE);
}

/// The page offers anew after `change`, and takes the answer, which is returned.
fn renegotiate(page: &Page, callee: &mut Rtckit, change: &str) -> Value {
    let change = format!(
        "{{ const c = peer('peer').connection; const [audio, video] = c.getTransceivers(); {change}; \
         await c.setLocalDescription(); return c.localDescription.toJSON(); }}"
    );
    callee.write_json(&page.evaluate(&change, json!([])));
    let begin = Instant::now();
    let answer = loop {
        assert!(begin.elapsed() < PATIENCE, "no answer");
        let line = callee.try_line(Duration::from_millis(50)).unwrap_or_default();
        match serde_json::from_str::<Value>(&line) {
            Ok(message) if message["type"] == "answer" => break message,
            _ => {}
        }
    };
    page.accept(&answer);
    answer
}

/// Adds a track that changes between black and white, as all such do at the same time.
const ADD_FLASHES: &str = "const canvas = document.createElement('canvas'); canvas.width = canvas.height = 64; \
    const context = canvas.getContext('2d'); setInterval(() => { \
    context.fillStyle = Math.floor(performance.now() / 400) % 2 ? 'white' : 'black'; \
    context.fillRect(0, 0, 64, 64); }, 25); \
    peer('peer').added = peer('peer').connection.addTrack(canvas.captureStream(30).getVideoTracks()[0])";

/// When a track that is black or white changes; nothing of another one.
fn flashes(recording: &Path, track: usize, times: &[f64]) -> Vec<f64> {
    let map = format!("0:v:{track}");
    let args =
        ["-map", &map, "-vf", "scale=1:1", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "-"];
    // It would complain that frames come sooner after each other than the format can say.
    let luma = Command::new("ffmpeg").args(["-v", "quiet", "-i"]).arg(recording).args(args).output().unwrap().stdout;
    assert_eq!(luma.len(), times.len());
    if luma.iter().any(|luma| (60..180).contains(luma)) {
        return Vec::new();
    }
    let changes = luma.windows(2).zip(&times[1..]).filter(|(pair, _)| pair[0].abs_diff(pair[1]) > 100);
    changes.map(|(_, time)| *time).collect()
}

#[test]
fn each_of_several_videos_is_recorded_in_sync_and_one_that_is_added_too() {
    let _turn = one_call_at_a_time();
    if !have("ffprobe") {
        return;
    }
    let Some(page) = Page::open() else { return };
    let scratch = Scratch::new();
    let recording = scratch.path("all.webm");
    page.create_offerer(Media::Send, None);
    page.evaluate(&format!("{{ {ADD_FLASHES}; }}"), json!([]));
    let record = ["answer", "--trickle", "--json", "--record", recording.to_str().unwrap()];
    let mut callee = Rtckit::start(record);
    page_offers(&page, &mut callee, true);
    renegotiate(&page, &mut callee, ADD_FLASHES);
    let sent = "{ for (;;) { for (const stat of (await peer('peer').added.getStats()).values()) { \
        if (stat.framesSent > 90) return; } await new Promise((resolve) => setTimeout(resolve, 20)); } }";
    page.evaluate(sent, json!([]));
    page.call("close", json!(["peer"]));
    let exit = callee.succeed(PATIENCE);
    assert!(!exit.stderr.contains("warning"), "{}", exit.stderr);
    let report: Value = serde_json::from_str(exit.stderr.lines().last().unwrap()).unwrap();
    let numbers =
        report["received"].as_array().unwrap().iter().map(|track| track["recordedTracks"][0].as_u64().unwrap());
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 3, 4, 2], "{report}");
    let file = MediaFile::open(&recording);
    assert_eq!(file.decode_complaints(), "");
    let streams = file.streams();
    assert_eq!(streams.iter().map(|stream| stream.kind).collect::<Vec<_>>(), ["video", "audio", "video", "video"]);
    let videos = [&streams[0], &streams[2], &streams[3]];
    let mut all = [0, 1, 2].map(|track| flashes(&recording, track, &videos[track].times)).to_vec();
    // The camera shows something else.
    all.retain(|flashes| !flashes.is_empty());
    let [one, other] = &all[..] else { panic!("{all:?}") };
    assert!(one.len() > 4 && other.len() > 4, "{all:?}");
    let nearest = other.iter().map(|at| one.iter().map(|time| time - at).min_by(|a, b| a.abs().total_cmp(&b.abs())));
    let mut apart: Vec<f64> = nearest.flatten().collect();
    apart.sort_by(f64::total_cmp);
    assert!(apart[apart.len() / 2].abs() < 0.08, "{all:?}");
}

#[test]
fn a_codec_that_changes_while_the_call_is_up_goes_on_in_a_track_of_its_own() {
    let _turn = one_call_at_a_time();
    if !have("ffprobe") {
        return;
    }
    let Some(page) = Page::open() else { return };
    let scratch = Scratch::new();
    let recording = scratch.path("both.webm");
    page.create_offerer(Media::Send, None);
    let record = ["answer", "--json", "--video-codec", "vp8,vp9", "--record", recording.to_str().unwrap()];
    let mut callee = Rtckit::start(record);
    page_offers(&page, &mut callee, false);
    // As conferences do it when a machine is slow or a screen is shared; nothing is said by signaling.
    let change = "{ const c = peer('peer').connection; const sender = c.getSenders().find(({ track }) => track.kind === 'video'); \
        const sent = async (mimeType, most) => { for (;;) { const report = await sender.getStats(); \
        for (const stat of report.values()) { if (stat.type === 'outbound-rtp' && stat.framesSent > most && \
        report.get(stat.codecId)?.mimeType === mimeType) return stat.framesSent; } \
        await new Promise((resolve) => setTimeout(resolve, 20)); } }; \
        const before = await sent('video/VP8', 20); const parameters = sender.getParameters(); \
        const { codecs } = RTCRtpSender.getCapabilities('video'); \
        parameters.encodings[0].codec = codecs.find(({ mimeType }) => mimeType === 'video/VP9'); \
        await sender.setParameters(parameters); return await sent('video/VP9', before + 30); }";
    page.evaluate(change, json!([]));
    page.call("close", json!(["peer"]));
    let exit = callee.succeed(PATIENCE);
    let report: Value = serde_json::from_str(exit.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(report["received"][0]["recordedTracks"], json!([1, 3]), "{report}");
    let file = MediaFile::open(&recording);
    assert_eq!(file.decode_complaints(), "");
    let (first, then) = (file.stream("vp8").times, file.stream("vp9").times);
    assert!(first.len() > 10 && then.len() > 10, "{first:?} {then:?}");
    let gap = then[0] - first[first.len() - 1];
    assert!((0.0..1.5).contains(&gap), "{gap} s between {first:?} and {then:?}");
}

#[test]
fn a_page_holds_and_resumes_and_stops_and_adds_a_channel_and_is_obeyed() {
    let _turn = one_call_at_a_time();
    let Some(page) = Page::open() else { return };
    page.create_offerer(Media::Send, None);
    // It does not want our picture at first.
    page.evaluate("{ peer('peer').connection.getTransceivers()[1].direction = 'sendonly'; }", json!([]));
    let mut callee = Rtckit::start(["answer", "--trickle", "--events", "--video=test", "--audio=test"]);
    page_offers(&page, &mut callee, true);
    let came = || page.stat("peer", "inbound-rtp", "audio")["packetsReceived"].as_f64().unwrap();
    let mut renegotiate = |change: &str, expected: &str| {
        let answer = renegotiate(&page, &mut callee, change);
        let sections = answer["sdp"].as_str().unwrap().split("\r\nm=").skip(1);
        let is_direction = |line: &&str| ["a=sendrecv", "a=recvonly", "a=sendonly", "a=inactive"].contains(line);
        let said = sections.map(|section| section.lines().find(is_direction).unwrap_or_default());
        assert_eq!(said.collect::<Vec<_>>().join(" "), expected);
    };
    renegotiate("video.direction = 'sendrecv'", "a=sendrecv a=sendrecv");
    page.await_stat("peer", "inbound-rtp", "video", |stat| stat["framesDecoded"].as_u64() > Some(5));
    renegotiate("video.direction = 'sendonly'", "a=sendrecv a=recvonly");
    renegotiate("video.direction = 'inactive'", "a=sendrecv a=inactive");
    // A track that is not received has no statistics; but all that comes is counted.
    let all = || page.stat("peer", "transport", "")["packetsReceived"].as_f64().unwrap();
    let (all_before, before) = (all(), came());
    page.await_stat("peer", "inbound-rtp", "audio", |stat| stat["packetsReceived"].as_f64() > Some(before + 60.0));
    let (all, audio) = (all() - all_before, came() - before);
    assert!(all < 1.6 * audio, "{all} packets came with {audio} of the sound: pictures go on");
    renegotiate("video.direction = 'sendrecv'", "a=sendrecv a=sendrecv");
    page.await_stat("peer", "inbound-rtp", "video", |stat| stat["framesDecoded"].as_u64() > Some(5));
    renegotiate("video.stop()", "a=sendrecv a=inactive");
    let before = came();
    page.await_stat("peer", "inbound-rtp", "audio", |stat| stat["packetsReceived"].as_f64() > Some(before + 10.0));
    let add =
        "const late = c.createDataChannel('late'); late.onopen = () => late.send('hello'); peer('peer').late = late;";
    renegotiate(add, "a=sendrecv a=inactive a=sendrecv");
    page.await_stat("peer", "data-channel", "", |stat| stat["messagesSent"].as_u64() == Some(1));
    page.call("close", json!(["peer"]));
    let exit = callee.succeed(PATIENCE);
    // That it took no picture at first, and nothing else.
    assert_eq!(exit.stderr.matches(r#""type":"warning""#).count(), 1, "{}", exit.stderr);
    let report: Value = serde_json::from_str(exit.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(report["dataChannels"][0]["label"], "late", "{report}");
}
