//! Our listeners.

use super::{listening, result};
use crate::browser::{Media, Page};
use crate::restart::recorded;
use crate::support::{Exit, MediaFile, PATIENCE, Rtckit, Scratch, await_that, calls_share_the_machine};
use serde_json::{Value, json};

/// A client of WHIP or WHEP in the page: its offer, and what became of it.
fn page_offers(page: &Page, url: &str, token: &str) -> Value {
    let client = "{
        const [url, token] = arguments;
        const { sdp } = await offer('peer');
        const headers = { 'Content-Type': 'application/sdp', Authorization: `Bearer ${token}` };
        const response = await fetch(url, { method: 'POST', headers, body: sdp });
        const answer = await response.text();
        if (response.status === 201) await accept('peer', { type: 'answer', sdp: answer });
        const session = new URL(response.headers.get('location') ?? '', url).href;
        return { status: response.status, session, etag: response.headers.get('etag') };
    }";
    page.evaluate(client, json!([url, token]))
}

/// The status of a request of the page.
fn fetched(page: &Page, method: &str, url: &Value, token: &str) -> Value {
    let request = "{
        const [method, url, token] = arguments;
        const headers = { 'Content-Type': 'application/sdp', Authorization: `Bearer ${token}` };
        const known = peer('peer').connection.localDescription?.sdp;
        const body = method === 'POST' ? known ?? (await offer('peer')).sdp : undefined;
        return (await fetch(url, { method, headers, body })).status;
    }";
    page.evaluate(request, json!([method, url, token]))
}

#[test]
fn a_page_publishes_by_whip_into_a_recording_and_ends_it() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    let scratch = Scratch::new();
    std::fs::write(scratch.path("token"), "s3cret").unwrap();
    let recording = scratch.path("published.webm");
    let args = ["answer", "--signal=whip-listen:127.0.0.1:0", "--record", recording.to_str().unwrap()];
    let (mut rtckit, url) = listening(&args, &scratch.path("token"));
    page.create_offerer(Media::Send, None);
    let endpoint = json!(url);
    assert_eq!(fetched(&page, "POST", &endpoint, "guess"), 401);
    let session = page_offers(&page, &url, "s3cret");
    assert_eq!(session["status"], 201, "{session}");
    page.await_connected();
    assert_eq!(fetched(&page, "POST", &endpoint, "s3cret"), 409, "one at a time");
    crate::support::await_growth(&scratch, 60_000);
    assert_eq!(fetched(&page, "DELETE", &session["session"], "s3cret"), 200);
    let exit = rtckit.succeed(PATIENCE);
    assert_eq!(result(&exit)["ended"], "peer-hung-up", "{exit:?}");
    MediaFile::open(&recording).assert_plays();
}

#[test]
fn a_page_plays_by_whep_what_a_call_sends() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    let scratch = Scratch::new();
    std::fs::write(scratch.path("token"), "s3cret").unwrap();
    let args = ["call", "--signal=whep-listen:127.0.0.1:0", "--video=test", "--audio=test"];
    let (mut rtckit, url) = listening(&args, &scratch.path("token"));
    // Some players ask for both ways, which they may.
    page.create_offerer(Media::Send, None);
    let session = page_offers(&page, &url, "s3cret");
    assert_eq!(session["status"], 201, "{session}");
    let state = page.await_frames("peer", 20);
    assert!(state["frames"]["changed"].as_u64() > Some(10), "the picture stands still: {state}");
    assert_eq!(fetched(&page, "DELETE", &session["session"], "s3cret"), 200);
    let exit = rtckit.succeed(PATIENCE);
    assert_eq!(result(&exit)["sent"].as_array().map(Vec::len), Some(2), "{exit:?}");
}

#[test]
fn what_is_published_is_measured_at_the_listener() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    std::fs::write(scratch.path("token"), "s3cret").unwrap();
    let args = ["answer", "--signal=whip-listen:127.0.0.1:0", "--measure"];
    let (mut listener, url) = listening(&args, &scratch.path("token"));
    let signal = format!("whip+{url}");
    let token = format!("--token-file={}", scratch.path("token").display());
    let args = ["call", "--video=test", "--audio=test", "--trickle", "--duration=2s", "--signal", &signal, &token];
    Rtckit::start(args).succeed(PATIENCE);
    let report = result(&listener.succeed(PATIENCE));
    assert_eq!(report["ended"], "peer-hung-up", "{report}");
    assert!(report["measured"]["framesMeasured"].as_u64() > Some(10), "{report}");
}

#[test]
fn several_viewers_play_one_encode_and_none_ends_it_for_the_others() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    std::fs::write(scratch.path("token"), "s3cret").unwrap();
    let media = ["--video=test", "--audio=test", "--width=320", "--height=240"];
    let args = ["call", "--signal=whep-listen:127.0.0.1:0", "--max-viewers=2"];
    let (mut server, url) = listening(&[&args[..], &media].concat(), &scratch.path("token"));
    let (signal, token) = (format!("whep+{url}"), format!("--token-file={}", scratch.path("token").display()));
    let view = |more: &str| Rtckit::start(["call", "--json", more, "--signal", &signal, &token]);
    let recording = format!("--record={}", scratch.path("third.webm").display());
    let mut events = Vec::new();
    let mut hear = |server: &mut Rtckit, kind: &str, viewer: u64| {
        while events.last().is_none_or(|event: &Value| event["type"] != kind || event["viewer"] != viewer) {
            events.push(server.json());
        }
        events.last().unwrap()["viewers"].as_u64().unwrap()
    };
    let frames = |exit: Exit| {
        let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
        let tracks = report["received"].as_array().unwrap();
        assert_eq!(tracks.len(), 2, "{report}");
        let video = tracks.iter().find(|track| track["kind"] == "video").unwrap();
        video["framesReceived"].as_u64().unwrap()
    };

    let mut first = view("--timeout=30s");
    assert_eq!(hear(&mut server, "viewerjoin", 1), 1);
    let second = frames(view("--duration=1s").succeed(PATIENCE));
    assert!(second > 5, "it came later and saw {second} frames");
    assert_eq!(hear(&mut server, "viewerleave", 2), 1);
    let mut third = view(&recording);
    assert_eq!(hear(&mut server, "viewerjoin", 3), 2);
    let encoders = std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap().filter(|task| {
        let name = task.as_ref().map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
        name.is_ok_and(|name| name.starts_with("video-encode"))
    });
    assert_eq!(encoders.count(), 1);
    let full = view("--timeout=1s").wait(PATIENCE);
    assert_eq!(full.code, Some(5), "{full:?}");
    assert!(full.stderr.contains("503"), "{full:?}");
    crate::support::await_growth(&scratch, 10_000);
    third.interrupt();
    let third = third.wait(PATIENCE);
    assert_eq!(hear(&mut server, "viewerleave", 3), 1);
    first.interrupt();
    let first = frames(first.wait(PATIENCE));
    assert!(first > second && frames(third) > 0, "{first} frames while {second} went by");
    assert_eq!(hear(&mut server, "viewerleave", 1), 0);
    server.interrupt();
    let report = result(&server.wait(PATIENCE));
    assert_eq!(report["ended"], "interrupt", "{report}");
    let viewers = report["viewers"].as_array().unwrap();
    assert_eq!(viewers.len(), 3, "{report}");
    for viewer in viewers {
        assert!(viewer["framesSent"].as_u64() > Some(0) && viewer["ended"] == "peer-hung-up", "{viewer}");
    }
    let mut written = std::collections::BTreeSet::new();
    crate::schema::members(&json!({ "viewers": viewers }), "", &mut written);
    let documented = crate::schema::documented("man/rtckit-call.1", "\"JSON REPORT\"");
    assert!(written.is_subset(&documented), "{written:?}");
}

#[test]
fn a_listener_with_tls_is_for_those_that_trust_it() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let (data, token) = (scratch.path("data"), scratch.path("token"));
    std::fs::write(&token, "s3cret").unwrap();
    let token = format!("--token-file={}", token.display());
    let authority = data.join("rtckit/ca.pem");
    for by_option in [false, true] {
        let args = ["answer", "--signal=whip-listen:localhost:0", "--self-signed", "--events", &token];
        let mut server = Rtckit::spawn(Rtckit::command(args).env("XDG_DATA_HOME", &data));
        let url = server.json()["urls"][0].as_str().unwrap().to_owned();
        assert!(url.starts_with("https://localhost:") && url.ends_with("/whip"), "{url}");
        let signal = format!("whip+{url}");
        let publish = ["call", "--video=test", "--duration=500ms", "--signal", &signal, &token];
        let exit = Rtckit::start(publish).wait(PATIENCE);
        assert_eq!(exit.code, Some(10), "{exit:?}");
        assert!(exit.stderr.contains("--ca-file"), "{exit:?}");
        let mut command = Rtckit::command(publish);
        match by_option {
            true => command.arg("--ca-file").arg(&authority),
            false => command.env("SSL_CERT_FILE", &authority),
        };
        Rtckit::spawn(&mut command).succeed(PATIENCE);
        assert_eq!(result(&server.succeed(PATIENCE))["ended"], "peer-hung-up");
    }
    let no_authority = ["call", "--video=test", "--signal=whip+https://localhost:1/", &token, "--ca-file=/dev/null"];
    let exit = Rtckit::start(no_authority).wait(PATIENCE);
    assert_eq!(exit.code, Some(2), "{exit:?}");
    let exit = Rtckit::start(["call", "--data", "--self-signed"]).wait(PATIENCE);
    assert_eq!(exit.code, Some(2), "{exit:?}");
}

#[test]
fn ice_is_restarted_by_patch_and_what_is_published_goes_on() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let token = scratch.path("token");
    std::fs::write(&token, "s3cret").unwrap();
    let recording = scratch.path("in.webm");
    let args = ["answer", "--signal=whip-listen:127.0.0.1:0", "--record", recording.to_str().unwrap()];
    let (mut listener, url) = listening(&args, &token);
    let events = scratch.path("events.ndjson");
    let signal = format!("whip+{url}");
    let args = ["call", "--video=test", "--audio=test", "--width=320", "--height=240", "--control=-"];
    let road =
        ["--signal", &signal, "--token-file", token.to_str().unwrap(), "--events-file", events.to_str().unwrap()];
    let mut caller = Rtckit::start(args.iter().chain(&road));
    let told = |what: &str| std::fs::read_to_string(&events).unwrap_or_default().matches(what).count();
    let connected = "\"connectionstatechange\",\"state\":\"connected\"";
    for round in 1..=3 {
        await_that("it is connected", || told(connected) == round);
        let before = recorded(&scratch);
        await_that("what is recorded grows", || recorded(&scratch) > before + 10_000);
        if round < 3 {
            caller.write(b"{\"command\":\"restartIce\"}\n");
        }
    }
    caller.write(b"{\"command\":\"hangup\"}\n");
    caller.succeed(PATIENCE);
    let result = result(&listener.succeed(PATIENCE));
    assert_eq!(result["connection"]["iceRestarts"], 2, "{result}");
}
