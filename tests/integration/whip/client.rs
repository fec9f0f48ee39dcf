//! Our clients, whose servers the tests are.

use super::Server;
use crate::browser::{Media, Page};
use crate::support::{Coturn, MediaFile, PATIENCE, Rtckit, Scratch, calls_share_the_machine, have};
use serde_json::{Value, json};
use std::io::{Read, Write};

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
