//! STUN and TURN over UDP, with coturn on loopback.

use crate::support::{Coturn, Exit, Rtckit, Scratch, have, introduce, one_call_at_a_time};
use serde_json::Value;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// The report that goes to stderr because stdout carried the signaling.
fn report(exit: &Exit) -> Value {
    let line = exit.stderr.lines().rfind(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no report: {exit:?}"))).unwrap()
}

#[test]
fn a_stun_server_shows_us_from_outside() {
    if !have("turnserver") {
        return;
    }
    let server = Coturn::start();
    for interface in ["lo", "127.0.0.1"] {
        let mut caller =
            Rtckit::start(["call", "--data", "--interface", interface, "--ice-server", &server.url("stun")]);
        let offer = caller.json();
        let sdp = offer["sdp"].as_str().unwrap();
        let reflexive = sdp.lines().find(|line| line.contains(" typ srflx "));
        assert!(reflexive.is_some_and(|line| line.contains(" 127.0.0.1 ")), "{interface}: {sdp}");
    }
}

#[test]
fn a_call_through_a_relay_carries_media_and_tells_no_secret() {
    if !have("turnserver") {
        return;
    }
    let _turn = one_call_at_a_time();
    let server = Coturn::start();
    let scratch = Scratch::new();
    let secret = scratch.path("secret");
    std::fs::write(&secret, format!("{}\n", Coturn::PASSWORD)).unwrap();
    let url = server.url("turn");
    let common = ["--ice-server", &url, "--username", Coturn::USER, "--ice-transport-policy", "relay", "--json", "-v"];
    let mut callee = Rtckit::start(
        ["answer", "--interface", "lo", "--measure", "--credential-file", secret.to_str().unwrap()]
            .iter()
            .chain(&common),
    );
    let calling = ["call", "--interface", "lo", "--video=test", "--audio=test", "--duration", "2s"];
    let mut command = Rtckit::command(calling.iter().chain(&common));
    let mut caller = Rtckit::spawn(command.env("RTCKIT_CREDENTIAL", Coturn::PASSWORD).stdin(Stdio::piped()));
    introduce(&mut caller, &mut callee);
    let called = caller.succeed(PATIENCE);
    // Told, or interrupted: whether a goodbye gets through a relay that is released with it is not for this test.
    callee.interrupt();
    let answered = callee.wait(PATIENCE);
    for exit in [&called, &answered] {
        let said = exit.stderr.clone() + &String::from_utf8_lossy(&exit.stdout);
        assert!(!said.contains(Coturn::PASSWORD), "{said}");
        let pair = &report(exit)["connection"]["selectedPair"];
        assert_eq!(
            (&pair["local"]["candidateType"], &pair["remote"]["candidateType"]),
            (&"relay".into(), &"relay".into())
        );
    }
    let measured = &report(&answered)["measured"];
    assert!(measured["framesMeasured"].as_u64() >= Some(40), "60 were sent: {measured}");
}

#[test]
fn a_turn_server_that_refuses_us_is_told_of_at_once() {
    if !have("turnserver") {
        return;
    }
    let server = Coturn::start();
    let url = server.url("turn");
    for trickle in [&[][..], &["--trickle"]] {
        let args =
            ["call", "--data", "--interface", "lo", "--ice-transport-policy", "relay", "--username", Coturn::USER];
        let mut command = Rtckit::command(args.iter().chain(&["--ice-server", &url]).chain(trickle));
        let mut caller = Rtckit::spawn(command.env("RTCKIT_CREDENTIAL", "incorrect-horse").stdin(Stdio::piped()));
        let exit = caller.wait(PATIENCE);
        assert_eq!(exit.code, Some(8), "{exit:?}");
        assert!(exit.error_line().contains(": it refused user name or credential (401)"), "{exit:?}");
        assert!(exit.took < Duration::from_secs(3), "{exit:?}");
        assert!(!exit.stderr.contains("incorrect-horse"), "{exit:?}");
    }
}

#[test]
fn a_stun_server_that_is_dead_holds_nothing_up_for_long() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("stun:127.0.0.1:{}", silent.local_addr().unwrap().port());
    let begin = Instant::now();
    let args = ["call", "--data", "--interface", "lo", "--ice-server", &url];
    let mut patient = Rtckit::start(args);
    let mut trickling = Rtckit::start(args.iter().chain(&["--trickle"]));
    assert_eq!(trickling.json()["type"], "offer");
    assert_eq!(trickling.json()["type"], "candidate");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    let offer = patient.json();
    assert!(offer["sdp"].as_str().unwrap().contains(" typ host"), "{offer}");
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}
