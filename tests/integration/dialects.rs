//! Descriptions as other implementations write them, edited on their way between two processes.

use crate::browser::{Media, Page};
use crate::faults::{edited, lines};
use crate::support::{PATIENCE, Rtckit, calls_share_the_machine, one_call_at_a_time};
use serde_json::{Value, json};

/// An offer that says the same in other words; `answer` makes of the answer to it what the caller can read.
struct Dialect {
    what: &'static str,
    offer: fn(&str) -> String,
    answer: fn(&str) -> String,
}

fn as_it_is(sdp: &str) -> String {
    sdp.to_owned()
}

fn with_fingerprints(sdp: &str) -> String {
    lines(sdp, "a=fingerprint:", |line| {
        format!("a=fingerprint:sha-1 {}\r\n{}", ["AB"; 20].join(":"), line.replace("sha-256", "SHA-256"))
    })
}

fn that_begins_dtls(sdp: &str) -> String {
    sdp.replace("a=setup:actpass", "a=setup:active")
}

fn that_waits(sdp: &str) -> String {
    assert!(sdp.contains("a=setup:passive") && !sdp.contains("a=setup:active"), "both would begin DTLS: {sdp}");
    sdp.to_owned()
}

const NOW: [&str; 2] = ["UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000"];
const OF_OLD: [&str; 2] = ["DTLS/SCTP 5000", "a=sctpmap:5000 webrtc-datachannel 1024"];

fn as_of_old(sdp: &str) -> String {
    sdp.replace(NOW[0], OF_OLD[0]).replace(NOW[1], OF_OLD[1])
}

fn as_of_now(sdp: &str) -> String {
    assert!(OF_OLD.iter().all(|old| sdp.contains(old)), "not the protocol that was offered: {sdp}");
    sdp.replace(OF_OLD[0], NOW[0]).replace(OF_OLD[1], NOW[1])
}

fn with_text(sdp: &str) -> String {
    sdp.replacen("m=audio", "m=text 9 RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=mid:text\r\nm=audio", 1)
}

fn without_text(sdp: &str) -> String {
    let (before, rest) = sdp.split_once("m=text 0 RTP/SAVPF 98\r\n").expect("a section of its own refuses the text");
    format!("{before}m={}", rest.split_once("m=").unwrap().1)
}

#[test]
fn offers_in_other_words_are_answered_in_the_same() {
    let _turn = calls_share_the_machine();
    let dialects = [
        Dialect { what: "fingerprints", offer: with_fingerprints, answer: as_it_is },
        Dialect { what: "begins DTLS", offer: that_begins_dtls, answer: that_waits },
        Dialect { what: "data channels of old", offer: as_of_old, answer: as_of_now },
        Dialect { what: "text", offer: with_text, answer: without_text },
    ];
    let running = dialects.map(|dialect| {
        let media = ["--audio=test", "--data", "--interface", "127.0.0.1", "--duration", "1s"];
        let mut caller = Rtckit::start(["call"].iter().chain(&media));
        let mut callee = Rtckit::start(["answer", "--json", "--interface", "127.0.0.1"]);
        callee.write_json(&edited(&caller.json(), dialect.offer));
        caller.write_json(&edited(&callee.json(), dialect.answer));
        (dialect.what, caller, callee)
    });
    for (what, mut caller, mut callee) in running {
        caller.succeed(PATIENCE);
        let report = report(&callee.succeed(PATIENCE).stderr);
        assert!(report["received"][0]["packetsReceived"].as_u64() > Some(20), "{what}: {report}");
        assert_eq!(report["dataChannels"].as_array().map(Vec::len), Some(1), "{what}: {report}");
    }
}

#[test]
fn a_certificate_that_cannot_be_checked_is_told_at_once() {
    let mut caller = Rtckit::start(["call", "--data"]);
    let mut callee = Rtckit::start(["answer"]);
    callee.write_json(&edited(&caller.json(), |sdp| {
        lines(sdp, "a=fingerprint:", |_| format!("a=fingerprint:sha-512 {}\r\n", ["AB"; 64].join(":")))
    }));
    let exit = callee.wait(PATIENCE);
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.error_line().contains("sha-512"), "{exit:?}");
}

#[test]
fn nothing_is_sent_for_a_section_that_the_answer_refuses() {
    let _turn = calls_share_the_machine();
    let mut caller = Rtckit::start(["call", "--audio=test", "--video=test", "--duration", "1s", "--json"]);
    let mut callee = Rtckit::start(["answer"]);
    callee.write_json(&caller.json());
    caller.write_json(&edited(&callee.json(), |sdp| lines(sdp, "m=video", |line| line.replacen(" 9 ", " 0 ", 1))));
    let exit = caller.succeed(PATIENCE);
    callee.succeed(PATIENCE);
    let report = report(&exit.stderr);
    let sent = report["sent"].as_array().unwrap();
    assert!(sent.len() == 1 && sent[0]["mimeType"] == "audio/opus", "{report}");
}

#[test]
fn tracks_without_names_are_received_all_the_same() {
    let _turn = calls_share_the_machine();
    let nameless = |sdp: &str| {
        lines(&lines(sdp, "a=msid:", |_| String::new()), "a=ssrc:", |line| {
            if line.contains(" cname:") { line.to_owned() } else { String::new() }
        })
    };
    let media = ["--audio=test", "--video=test", "--duration", "1s", "--json"];
    let mut caller = Rtckit::start(["call"].iter().chain(&media));
    let mut callee = Rtckit::start(["answer"].iter().chain(&media));
    callee.write_json(&edited(&caller.json(), nameless));
    caller.write_json(&edited(&callee.json(), nameless));
    for mut peer in [caller, callee] {
        let report = report(&peer.succeed(PATIENCE).stderr);
        let received = report["received"].as_array().unwrap();
        assert_eq!(received.len(), 2, "{report}");
        assert!(received.iter().all(|track| track["framesReceived"].as_u64() > Some(10)), "{report}");
    }
}

#[test]
fn a_chat_with_who_takes_no_data_channels_ends_at_once() {
    let mut caller = Rtckit::start(["call", "--chat", "--audio=test"]);
    let mut callee = Rtckit::start(["answer", "--audio=test"]);
    callee.write_json(&caller.json());
    caller
        .write_json(&edited(&callee.json(), |sdp| lines(sdp, "m=application", |line| line.replacen(" 9 ", " 0 ", 1))));
    let exit = caller.wait(PATIENCE);
    assert_eq!(exit.code, Some(5), "{exit:?}");
    assert!(exit.error_line().contains("takes no data channels"), "{exit:?}");
    callee.wait(PATIENCE);
}

#[test]
fn no_more_is_sent_than_the_description_allows() {
    let _turn = one_call_at_a_time();
    let mut caller = Rtckit::start(["call", "--audio=test", "--video=test", "--duration", "4s", "--json"]);
    let mut callee = Rtckit::start(["answer"]);
    callee.write_json(&caller.json());
    caller.write_json(&edited(&callee.json(), |sdp| {
        let sdp = lines(sdp, "m=video", |line| format!("{line}b=TIAS:120000\r\n"));
        sdp.replace("minptime=10;", "minptime=10;maxaveragebitrate=16000;")
    }));
    let report = report(&caller.succeed(PATIENCE).stderr);
    callee.succeed(PATIENCE);
    for track in report["sent"].as_array().unwrap() {
        let bits = track["bytesSent"].as_f64().unwrap() * 8.0 / report["seconds"].as_f64().unwrap();
        let (least, most) = if track["kind"] == "audio" { (8_000.0, 20_000.0) } else { (60_000.0, 150_000.0) };
        assert!(least < bits && bits < most, "{bits} bit/s: {track}");
    }
}

#[test]
fn of_an_offer_that_does_not_bundle_the_first_section_is_taken() {
    let _turn = calls_share_the_machine();
    let without_group = |sdp: &str| lines(sdp, "a=group:BUNDLE", |_| String::new());
    let without_names = |sdp: &str| lines(sdp, "a=mid:", |_| String::new());
    for (edit, names) in
        [(&without_group as &dyn Fn(&str) -> String, 2), (&|sdp| without_names(&without_group(sdp)), 0)]
    {
        let mut caller = Rtckit::start(["call", "--audio=test", "--video=test", "--duration", "1s"]);
        let mut callee = Rtckit::start(["answer", "--events"]);
        callee.write_json(&edited(&caller.json(), edit));
        let answer = callee.json();
        let sdp = answer["sdp"].as_str().unwrap();
        assert!(!sdp.contains("a=group"), "nothing is in a group that was not offered: {sdp}");
        assert_eq!(sdp.matches("a=mid:").count(), names, "{sdp}");
        assert!(!sdp.contains("m=audio 0 ") && sdp.contains("m=video 0 "), "{sdp}");
        caller.write_json(&answer);
        caller.succeed(PATIENCE);
        let exit = callee.succeed(PATIENCE);
        assert!(exit.stderr.contains("does not bundle its media (RFC 9143)"), "{exit:?}");
        let report = report(&exit.stderr);
        let received = report["received"].as_array().unwrap();
        assert!(received.len() == 1 && received[0]["mimeType"] == "audio/opus", "{report}");
        assert!(received[0]["packetsReceived"].as_u64() > Some(20), "{report}");
    }
}

#[test]
fn streams_that_are_not_announced_are_received() {
    let _turn = calls_share_the_machine();
    let unannounced = |sdp: &str| lines(sdp, "a=ssrc", |_| String::new());
    let without_tracks = |sdp: &str| lines(&unannounced(sdp), "a=msid", |_| String::new());
    let running = [(true, false), (true, true), (false, false), (false, true)].map(|(caller_sends, tracks)| {
        let media = ["--audio=test", "--video=test", "--duration", "2s"];
        let wish = ["--offer-to-receive-audio", "--offer-to-receive-video", "--json"];
        let (ours, theirs): (&[&str], &[&str]) = if caller_sends { (&media, &["--json"]) } else { (&wish, &media) };
        let mut caller = Rtckit::start(["call"].iter().chain(ours));
        let mut callee = Rtckit::start(["answer"].iter().chain(theirs));
        let edit = |description: &Value| match tracks {
            true => edited(description, unannounced),
            false => edited(description, without_tracks),
        };
        let offer = caller.json();
        callee.write_json(&if caller_sends { edit(&offer) } else { offer });
        let answer = callee.json();
        caller.write_json(&if caller_sends { answer } else { edit(&answer) });
        if caller_sends { (caller, callee) } else { (callee, caller) }
    });
    for (mut sender, mut receiver) in running {
        sender.succeed(PATIENCE);
        let report = report(&receiver.succeed(PATIENCE).stderr);
        let received = report["received"].as_array().unwrap();
        assert_eq!(received.len(), 2, "{report}");
        for (kind, least) in [("audio", 60), ("video", 30)] {
            let track = received.iter().find(|track| track["kind"] == kind).unwrap();
            assert!(track["framesReceived"].as_u64() >= Some(least), "{kind}: {report}");
        }
    }
}

#[test]
fn what_chromium_sends_is_received_though_it_announces_nothing() {
    let _turn = one_call_at_a_time();
    let Some(page) = Page::open() else { return };
    page.create_offerer(Media::Send, None);
    let mut callee = Rtckit::start(["answer", "--json", "--duration", "2s"]);
    callee.write_json(&edited(&page.offer(false), |sdp| lines(sdp, "a=ssrc", |_| String::new())));
    page.accept(&callee.json());
    let report = report(&callee.succeed(PATIENCE).stderr);
    let received = report["received"].as_array().unwrap();
    for (kind, least) in [("audio", 50), ("video", 10)] {
        let track =
            received.iter().find(|track| track["kind"] == kind).unwrap_or_else(|| panic!("no {kind}: {report}"));
        assert!(track["framesReceived"].as_u64() >= Some(least), "{kind}: {report}");
    }
}

#[test]
fn of_simulcast_chromium_sends_the_largest_layer() {
    let _turn = one_call_at_a_time();
    let Some(page) = Page::open() else { return };
    page.create(Media::Receive, false);
    let offers = "{
        const { connection } = peer('peer');
        const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
        const sendEncodings = [4, 2, 1].map((scale, index) => ({ rid: 'qhf'[index], scaleResolutionDownBy: scale }));
        connection.addTransceiver(stream.getVideoTracks()[0], { direction: 'sendonly', sendEncodings });
        return await offer('peer');
    }";
    let mut callee = Rtckit::start(["answer", "--json"]);
    callee.write_json(&page.evaluate(offers, json!([])));
    page.accept(&callee.json());
    let sends = "{
        for (;;) {
            const streams = (await stats('peer')).filter(({ type }) => type === 'outbound-rtp');
            if (streams.some(({ framesSent }) => framesSent > 20)) {
                return streams.filter(({ framesSent }) => framesSent > 0).map(({ rid }) => rid);
            }
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
    }";
    assert_eq!(page.evaluate(sends, json!([])), json!(["f"]));
    page.call("close", json!(["peer"]));
    let report = report(&callee.succeed(PATIENCE).stderr);
    let track = &report["received"][0];
    assert!(track["framesReceived"].as_u64() >= Some(15), "{report}");
    assert!(track["jitter"].as_f64() < Some(1.0), "layers are not mixed: {report}");
}

/// The report of a call whose descriptions went over standard output.
fn report(stderr: &str) -> Value {
    serde_json::from_str(stderr.lines().last().unwrap()).unwrap()
}
