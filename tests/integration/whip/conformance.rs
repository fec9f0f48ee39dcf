//! `--conformance`: servers under examination.

use super::{Server, listening};
use crate::support::{Exit, PATIENCE, Rtckit, Scratch, calls_share_the_machine};

/// The lines of TAP that a run wrote: their number, and those that fail.
fn tap(exit: &Exit) -> (usize, Vec<String>) {
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
