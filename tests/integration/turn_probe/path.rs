//! What a path does to packets, and which path is taken.

use super::meddler::{Meddler, Meddling};
use super::{PATIENCE, probe, probe_as, probe_with};
use crate::support::{Coturn, Rtckit, Scratch, have};
use serde_json::{Value, json};

fn coturn() -> Coturn {
    Coturn::with(&format!("no-tls\nno-dtls\nallow-loopback-peers\nuser={}:{}\n", Coturn::USER, Coturn::PASSWORD))
}

/// What `turn-probe` counts of 50 packets where every fifth is meddled with.
fn counts(server: &Coturn, meddling: Meddling, more: &[&str]) -> (Value, Value, Option<i32>) {
    let path = Meddler::before(server.url("turn")[5..].parse().unwrap(), meddling);
    let probed = probe(&[&[path.url().as_str(), "--packets=50", "--interval=2ms"], more].concat());
    let echo = &probed.server()["echo"];
    let names = ["packetsSent", "packetsReceived", "packetsDuplicated", "packetsReordered", "packetsCorrupted"];
    let counted = names.map(|name| echo[name].clone());
    (json!(counted), probed.server()["verdict"].clone(), probed.exit.code)
}

#[test]
fn what_a_path_does_to_packets_is_counted_and_loss_is_lossy() {
    if !have("turnserver") {
        return;
    }
    let server = coturn();
    for (meddling, more, counted, verdict, code) in [
        (Meddling::Nothing, &[][..], [50, 50, 0, 0, 0], "ok", 0),
        (Meddling::Loses, &[], [50, 40, 0, 0, 0], "lossy", 14),
        (Meddling::Loses, &["--max-loss=25%"], [50, 40, 0, 0, 0], "ok", 0),
        (Meddling::Repeats, &[], [50, 50, 10, 0, 0], "ok", 0),
        (Meddling::Reorders, &[], [50, 50, 0, 10, 0], "ok", 0),
        (Meddling::Changes, &[], [50, 40, 0, 0, 10], "lossy", 14),
    ] {
        let expected = (json!(counted), json!(verdict), Some(code));
        assert_eq!(counts(&server, meddling, more), expected, "{meddling:?} {more:?}");
    }
}

#[test]
fn packets_have_the_number_size_and_interval_that_were_asked_for() {
    if !have("turnserver") {
        return;
    }
    let server = coturn();
    let path = Meddler::before(server.url("turn")[5..].parse().unwrap(), Meddling::Nothing);
    let probed = probe(&[&path.url(), "--packets=6", "--size=333", "--interval=100ms"]);
    probed.expect("ok", 0, "");
    assert_eq!(*path.sizes.lock().unwrap(), [333; 6]);
    assert!(probed.stage("echo")["seconds"].as_f64() >= Some(0.5), "{:#}", probed.stage("echo"));
}

#[test]
fn silence_is_waited_for_as_long_as_was_asked_for() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("stun:{}", socket.local_addr().unwrap());
    let probed = probe(&[&url, "--timeout=300ms"]);
    probed.expect("unreachable", 7, "no answer within 0.3 s");
    assert!(probed.report["summary"]["seconds"].as_f64() < Some(2.0), "{:#}", probed.report["summary"]);
}

#[test]
fn families_interfaces_and_servers_are_those_that_were_asked_for() {
    if !have("turnserver") {
        return;
    }
    let server = coturn();
    let (stun, turn) = (server.url("stun"), server.url("turn"));
    probe(&[&stun, "-4"]).expect("ok", 0, "");
    probe(&[&stun, "-6"]).expect("dns", 6, "no address of this family");
    probe(&["stun:[::1]:9", "-4"]).expect("dns", 6, "no address of this family");
    let local = probe(&[&stun, "--interface=lo"]).expect("ok", 0, "")["localAddress"].clone();
    assert!(local.as_str().unwrap().starts_with("127.0.0.1:"), "{local}");
    let exit = Rtckit::start(["turn-probe", &stun, "--interface=nothing0"]).wait(PATIENCE);
    assert!(exit.code != Some(0) && exit.error_line().contains("nothing0"), "{exit:?}");

    // Servers, and secrets, by all the ways there are.
    let scratch = Scratch::new();
    let servers = json!([{ "urls": [turn], "username": Coturn::USER, "credential": Coturn::PASSWORD }]).to_string();
    let file = scratch.path("servers.json");
    std::fs::write(&file, &servers).unwrap();
    let secret = scratch.path("secret");
    std::fs::write(&secret, format!("{}\n", Coturn::PASSWORD)).unwrap();
    let inline = format!("turn:{}:{}@{}", Coturn::USER, Coturn::PASSWORD, &turn[5..]);
    for args in [
        &["--ice-servers", &servers][..],
        &["--ice-servers", file.to_str().unwrap()],
        &["--ice-server", &turn, "--username", Coturn::USER, "--credential", Coturn::PASSWORD],
        &[&turn, "--username", Coturn::USER, "--credential-file", secret.to_str().unwrap()],
        &[&inline],
    ] {
        let probed = probe_as("", args);
        let server = probed.expect("ok", 0, "");
        assert_eq!(server["url"], turn, "{args:?}");
    }
    let long = "n".repeat(509);
    let probe_long = ["turn-probe", &turn, "--username", &long, "--credential=secret"];
    let exit = Rtckit::start(probe_long).wait(PATIENCE);
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(exit.error_line().contains("508 bytes"), "{exit:?}");
    probe_with(&[("RTCKIT_CREDENTIAL", "x")], &[&turn, "--username", &long[1..]]).expect("auth", 8, "401");
}
