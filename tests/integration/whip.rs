//! WHIP and WHEP: servers and clients whose other end is Chromium, and servers that refuse.

use crate::browser::{Media, Page};
use crate::restart::recorded;
use crate::support::{Coturn, MediaFile, PATIENCE, Rtckit, Scratch, await_that, calls_share_the_machine, have};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A server that answers one request after the other, when the test says.
struct Server {
    listener: TcpListener,
}

/// One request, to be answered.
struct Request {
    stream: TcpStream,
    method: String,
    path: String,
    /// In lower case.
    head: String,
    body: String,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/live/x", self.listener.local_addr().unwrap())
    }

    /// The next request.
    fn next(&self) -> Request {
        let begin = Instant::now();
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Request::read(stream),
                Err(_) => assert!(begin.elapsed() < PATIENCE, "no request came"),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Request {
    fn read(mut stream: TcpStream) -> Self {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let lower = head.to_ascii_lowercase();
                let length =
                    lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
                if body.len() >= length.unwrap_or(0) {
                    let mut words = head.split(' ').map(str::to_owned);
                    let (method, path) = (words.next().unwrap(), words.next().unwrap());
                    return Self { stream, method, path, head: lower, body: body.to_owned() };
                }
            }
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0, "a request broke off: {text}");
            bytes.extend_from_slice(&chunk[..count]);
        }
    }

    fn answer(mut self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
        self.stream.write_all((head + body).as_bytes()).unwrap();
    }

    fn description(&self, kind: &str) -> Value {
        assert!(self.head.contains("content-type: application/sdp"), "{}", self.head);
        json!({ "type": kind, "sdp": self.body })
    }
}

const CREATED: &str = "Content-Type: application/sdp\r\nLocation: /session/1\r\nETag: \"1\"\r\n";

/// Answers the offer as the page does.
fn page_answers(page: &Page, server: &Server) {
    let request = server.next();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/live/x"));
    let answer = page.answer(&request.description("offer"), false);
    request.answer("201 Created", CREATED, answer["sdp"].as_str().unwrap());
}

/// Waits for the end of the session, and of the run.
fn await_end(server: &Server, rtckit: &mut Rtckit) -> Value {
    let request = server.next();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("DELETE", "/session/1"));
    request.answer("200 OK", "", "");
    let exit = rtckit.succeed(PATIENCE);
    serde_json::from_slice(&exit.stdout).unwrap()
}

#[test]
fn chromium_shows_what_is_published_by_whip_until_ctrl_c() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    page.create(Media::Receive, false);
    let server = Server::start();
    let url = server.url("whip+http");
    let mut call = Rtckit::start(["call", "--video=test", "--audio=test", "--signal", &url, "--json"]);
    page_answers(&page, &server);
    let state = page.await_frames("peer", 20);
    assert!(state["frames"]["changed"].as_u64() > Some(10), "the picture stands still: {state}");
    call.interrupt();
    let request = server.next();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("DELETE", "/session/1"));
    request.answer("200 OK", "", "");
    let exit = call.wait(PATIENCE);
    assert_eq!(exit.code, Some(130), "{exit:?}");
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    assert_eq!(report["sent"].as_array().map(Vec::len), Some(2), "{report}");
    assert!(report["received"].as_array().is_none_or(Vec::is_empty), "nothing comes back: {report}");
}

#[test]
fn candidates_trickle_to_chromium_in_patch_requests() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    page.create(Media::Receive, false);
    let server = Server::start();
    let url = server.url("whip+http");
    let mut call = Rtckit::start(["call", "--video=test", "--trickle", "--duration=500ms", "--signal", &url, "--json"]);
    let request = server.next();
    assert!(!request.body.contains("a=candidate:"), "the offer waits for nobody: {}", request.body);
    let answer = page.answer(&request.description("offer"), false);
    request.answer("201 Created", CREATED, answer["sdp"].as_str().unwrap());
    let candidates = page_takes_candidates(&page, &server);
    assert!(!candidates.is_empty(), "nothing trickled");
    call.succeed(PATIENCE);
}

/// Hands the candidates of PATCH requests to the page until the session ends; all of them.
fn page_takes_candidates(page: &Page, server: &Server) -> Vec<String> {
    let mut candidates = Vec::new();
    loop {
        let request = server.next();
        if request.method == "DELETE" {
            request.answer("200 OK", "", "");
            return candidates;
        }
        assert_eq!((request.method.as_str(), request.path.as_str()), ("PATCH", "/session/1"));
        assert!(request.head.contains("content-type: application/trickle-ice-sdpfrag"), "{}", request.head);
        assert!(request.head.contains("if-match: \"1\""), "{}", request.head);
        let mid = request.body.lines().find_map(|line| line.strip_prefix("a=mid:")).unwrap();
        for candidate in request.body.lines().filter_map(|line| line.strip_prefix("a=candidate:")) {
            let candidate = format!("candidate:{candidate}");
            page.call("addCandidate", json!(["peer", { "candidate": &candidate, "sdpMid": mid }]));
            candidates.push(candidate);
        }
        request.answer("204 No Content", "", "");
    }
}

#[test]
fn a_relay_that_the_server_names_is_used() {
    if !have("turnserver") {
        return;
    }
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    page.create(Media::Receive, false);
    let (server, coturn) = (Server::start(), Coturn::start());
    let url = server.url("whip+http");
    // None of our own: which there are is known when the server has answered.
    let relayed = ["--ice-transport-policy=relay", "--trickle", "--duration=1s", "--json", "-v"].into_iter();
    let mut call = Rtckit::start(["call", "--video=test", "--signal", &url].into_iter().chain(relayed));
    let request = server.next();
    let answer = page.answer(&request.description("offer"), false);
    let (turn, user, password) = (coturn.url("turn"), Coturn::USER, Coturn::PASSWORD);
    let link = format!("Link: <{turn}>; rel=\"ice-server\"; username=\"{user}\"; credential=\"{password}\"\r\n");
    request.answer("201 Created", &format!("{CREATED}{link}"), answer["sdp"].as_str().unwrap());
    let candidates = page_takes_candidates(&page, &server);
    assert!(!candidates.is_empty() && candidates.iter().all(|text| text.contains(" typ relay ")), "{candidates:?}");
    let exit = call.succeed(PATIENCE);
    assert!(!exit.stderr.contains(password), "{exit:?}");
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    assert_eq!(report["connection"]["selectedPair"]["local"]["candidateType"], "relay", "{report}");
    assert!(report["sent"][0]["framesSent"].as_u64() > Some(5), "{report}");
}

#[test]
fn what_chromium_plays_by_whep_is_recorded() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    let scratch = Scratch::new();
    let recording = scratch.path("played.webm");
    page.create(Media::Send, false);
    let server = Server::start();
    let (url, path) = (server.url("whep+http"), recording.to_str().unwrap());
    let args = ["answer", "--signal", &url, "--duration=2s", "--record", path, "--json"];
    let mut player = Rtckit::start(args);
    page_answers(&page, &server);
    let report = await_end(&server, &mut player);
    assert_eq!(report["received"].as_array().map(Vec::len), Some(2), "{report}");
    MediaFile::open(&recording).assert_plays();
}

#[test]
fn an_offer_that_chromium_makes_in_return_is_answered() {
    let _turn = calls_share_the_machine();
    let Some(page) = Page::open() else { return };
    page.create_offerer(Media::Send, None);
    let server = Server::start();
    let url = server.url("whep+http");
    let mut player = Rtckit::start(["call", "--signal", &url, "--duration=1s", "--json"]);
    let offer = page.offer(false);
    server.next().answer("406 Not Acceptable", CREATED, offer["sdp"].as_str().unwrap());
    let request = server.next();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("PATCH", "/session/1"));
    let answer = request.description("answer");
    request.answer("204 No Content", "", "");
    page.accept(&answer);
    let report = await_end(&server, &mut player);
    assert!(report["received"][0]["framesReceived"].as_u64() > Some(5), "{report}");
}

#[test]
fn a_server_that_refuses_has_its_exit_code_and_leaves_no_file() {
    let scratch = Scratch::new();
    let recording = scratch.path("never.webm");
    let path = recording.to_str().unwrap();
    for (status, headers, body, code, said) in [
        ("401 Unauthorized", "", "", 8, "--token-file"),
        ("404 Not Found", "Content-Type: text/plain\r\n", "no such stream", 5, "no such stream"),
        ("503 Service Unavailable", "Retry-After: 100\r\n", "", 5, "100 s"),
        ("201 Created", "Content-Type: text/html\r\n", "<p>", 5, "text/html"),
    ] {
        let server = Server::start();
        let mut player = Rtckit::start(["call", "--signal", &server.url("whep+http"), "--record", path]);
        server.next().answer(status, headers, body);
        let exit = player.wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{status}: {exit:?}");
        assert!(exit.error_line().contains("WHEP server") && exit.stderr.contains(said), "{exit:?}");
    }
    let silent = Server::start();
    let url = silent.url("whep+http");
    let exit = Rtckit::start(["call", "--signal", &url, "--timeout=500ms", "--record", path]).wait(PATIENCE);
    assert_eq!(exit.code, Some(124), "{exit:?}");
    let gone = silent.url("whep+http");
    let tls = silent.url("whep+https");
    let mut player = Rtckit::start(["call", "--signal", &tls, "--record", path]);
    // What the client of a moment ago left, and then the one that speaks TLS.
    silent.listener.set_nonblocking(false).unwrap();
    let mut hello = [0; 4096];
    while hello[0] != 0x16 {
        let (mut stream, _) = silent.listener.accept().unwrap();
        let _ = stream.read(&mut hello);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    }
    assert_eq!(player.wait(PATIENCE).code, Some(10));
    drop(silent);
    let exit = Rtckit::start(["call", "--signal", &gone, "--record", path]).wait(PATIENCE);
    assert_eq!(exit.code, Some(7), "{exit:?}");
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn the_token_comes_from_a_file_or_the_environment() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("token"), "from-file\n").unwrap();
    let file = format!("--token-file={}", scratch.path("token").display());
    for (args, variable, expected) in [(vec![file.as_str()], None, "from-file"), (vec![], Some("from-env"), "from-env")]
    {
        let server = Server::start();
        let mut command = Rtckit::command(["call", "--signal", &server.url("whep+http")].into_iter().chain(args));
        command.stdin(std::process::Stdio::null()).envs(variable.map(|token| ("RTCKIT_TOKEN", token)));
        let mut player = Rtckit::spawn(&mut command);
        let request = server.next();
        assert!(request.head.contains(&format!("authorization: bearer {expected}")), "{}", request.head);
        request.answer("403 Forbidden", "", "");
        let exit = player.wait(PATIENCE);
        assert_eq!(exit.code, Some(8), "{exit:?}");
        assert!(!exit.stderr.contains(expected), "the token is shown: {exit:?}");
    }
}

#[test]
fn what_does_not_go_the_way_of_the_road_is_refused() {
    for (args, said) in [
        (["call", "--signal=whip+http://127.0.0.1:1/", "--json"].as_slice(), "nothing to publish"),
        (&["call", "--signal=whip+http://127.0.0.1:1/", "--video=test", "--measure"], "only go out"),
        (&["answer", "--signal=whip+http://127.0.0.1:1/", "--video=test"], "use rtckit call"),
        (&["call", "--signal=whep+http://127.0.0.1:1/", "--video=test"], "only come in"),
        (&["call", "--signal=whep+http://127.0.0.1:1/", "--data"], "no data"),
        (&["call", "--signal=whip-listen:127.0.0.1:0"], "use rtckit answer"),
        (&["answer", "--signal=whep-listen:127.0.0.1:0", "--video=test"], "use rtckit call"),
        (&["answer", "--signal=whip-listen:127.0.0.1"], "HOST:PORT"),
        (&["answer", "--signal=whip-listen:127.0.0.1:0", "--trickle"], "--trickle"),
        (&["send-file", "Cargo.toml", "--signal=whip+http://127.0.0.1:1/"], "no files"),
    ] {
        let exit = Rtckit::start(args).wait(PATIENCE);
        assert_eq!(exit.code, Some(2), "{exit:?}");
        assert!(exit.stderr.contains(said) || String::from_utf8_lossy(&exit.stdout).contains(said), "{exit:?}");
    }
}

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

/// A listener, and where it listens.
fn listening(args: &[&str], token: &std::path::Path) -> (Rtckit, String) {
    let token = format!("--token-file={}", token.display());
    let mut rtckit = Rtckit::start(args.iter().copied().chain(["--events", &token]));
    let event = rtckit.json();
    assert_eq!(event["type"], "listening", "{event}");
    (rtckit, event["urls"][0].as_str().unwrap().to_owned())
}

/// The last line of `--events`.
fn result(exit: &crate::support::Exit) -> Value {
    let stdout = String::from_utf8_lossy(&exit.stdout);
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
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
    let frames = |exit: crate::support::Exit| {
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

/// The lines of TAP that a run wrote: their number, and those that fail.
fn tap(exit: &crate::support::Exit) -> (usize, Vec<String>) {
    let text = String::from_utf8_lossy(&exit.stdout).into_owned();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("TAP version 14"), "{exit:?}");
    let steps: Vec<_> = lines.filter(|line| line.starts_with("ok ") || line.starts_with("not ok ")).collect();
    for (at, step) in steps.iter().enumerate() {
        assert!(step.trim_start_matches("not ").starts_with(&format!("ok {} - ", at + 1)), "{text}");
    }
    let failed = steps.iter().filter(|step| step.starts_with("not ok") && !step.contains(" # TODO "));
    (steps.len(), failed.map(ToString::to_string).collect())
}

#[test]
fn our_own_servers_are_as_they_must_be() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    std::fs::write(scratch.path("token"), "s3cret").unwrap();
    let media = ["--video=test", "--audio=test", "--width=320", "--height=240"];
    let token = format!("--token-file={}", scratch.path("token").display());
    for (listen, more, road) in [
        (&["answer", "--signal=whip-listen:127.0.0.1:0"][..], &media[..], "whip"),
        (&[&["call", "--signal=whep-listen:127.0.0.1:0", "--max-viewers=2"][..], &media].concat(), &[], "whep"),
    ] {
        let (mut server, url) = listening(listen, &scratch.path("token"));
        let signal = format!("{road}+{url}");
        let args = ["call", "--conformance", "--signal", &signal, &token];
        let exit = Rtckit::start(args.iter().chain(more)).succeed(PATIENCE);
        let (steps, failed) = tap(&exit);
        assert!(failed.is_empty() && exit.stdout.ends_with(format!("\n1..{steps}\n").as_bytes()), "{exit:?}");
        let text = String::from_utf8_lossy(&exit.stdout);
        for step in ["is answered with 201", "media flows", "DELETE ends the session", "without the token"] {
            assert!(text.lines().any(|line| line.starts_with("ok ") && line.contains(step)), "{step}: {text}");
        }
        server.interrupt();
        server.wait(PATIENCE);
    }
}

#[test]
fn a_server_that_breaks_the_protocol_is_told_how() {
    let server = Server::start();
    let url = server.url("whep+http");
    let mut examiner = Rtckit::start(["call", "--conformance", "--signal", &url]);
    for (method, status, headers) in [
        ("OPTIONS", "404 Not Found", ""),
        ("POST", "500 Internal Server Error", ""),
        ("POST", "201 Created", ""),
        ("POST", "200 OK", "Content-Type: text/html\r\n"),
    ] {
        let request = server.next();
        assert_eq!(request.method, method);
        request.answer(status, headers, "");
    }
    let exit = examiner.wait(PATIENCE);
    assert_eq!(exit.code, Some(5), "{exit:?}");
    let (steps, failed) = tap(&exit);
    let titles = [
        "OPTIONS of the endpoint is answered with 2xx",
        "an offer that is no application/sdp is refused with 415",
        "SDP that cannot be read is refused with 400 or 422",
        "an offer is answered with 201",
    ];
    assert!(steps >= 7 && failed.len() == 4, "{exit:?}");
    for (title, line) in titles.iter().zip(&failed) {
        assert!(line.ends_with(title), "{line}");
    }
    assert!(String::from_utf8_lossy(&exit.stdout).contains("message: \"it says 500"), "{exit:?}");

    // Nobody there is no server that breaks anything.
    let gone = Server::start().url("whip+http");
    let exit = Rtckit::start(["call", "--conformance", "--video=test", "--signal", &gone]).wait(PATIENCE);
    assert_eq!(exit.code, Some(7), "{exit:?}");
    assert!(exit.stdout.starts_with(b"TAP version 14\nBail out!"), "{exit:?}");
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
