//! Other paths between the two: IPv6, a TURN relay.

use super::{PATIENCE, report, text};
use crate::support::{Coturn, Rtckit, Scratch, calls_share_the_machine, have, noise, skip};
use std::fs;
use std::process::Stdio;

/// Sends two megabytes with `args` on both sides; the reports of both.
fn carried(args: &[&str]) -> [serde_json::Value; 2] {
    let scratch = Scratch::new();
    let (file, to) = (scratch.path("file"), scratch.path("to"));
    let content = noise(2_000_000, 10);
    fs::write(&file, &content).unwrap();
    let road = format!("file:{}", scratch.path("meet").display());
    let start = |command: &str, more: [&str; 2]| {
        let mut run = Rtckit::command([command, "--json", "--signal", &road]);
        let run = run.args(more).args(args).env("RTCKIT_CREDENTIAL", Coturn::PASSWORD).stdin(Stdio::null());
        Rtckit::spawn(run)
    };
    let mut receiver = start("receive-file", ["-o", text(&to)]);
    let mut sender = start("send-file", [text(&file), "-v"]);
    let reports = [report(&sender.succeed(PATIENCE)), report(&receiver.succeed(PATIENCE))];
    assert!(fs::read(&to).unwrap() == content);
    reports
}

#[test]
fn files_go_over_ipv6() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        return skip("there is no IPv6 here");
    }
    let _turn = calls_share_the_machine();
    for report in carried(&["--interface", "::1"]) {
        assert_eq!(report["connection"]["selectedPair"]["local"]["address"], "::1", "{report}");
        assert_eq!(report["path"], "direct");
    }
}

#[test]
fn files_go_through_a_relay() {
    if !have("turnserver") {
        return;
    }
    let _turn = calls_share_the_machine();
    let server = Coturn::start();
    let url = server.url("turn");
    let args = ["--interface", "lo", "--ice-server", &url, "--username", Coturn::USER];
    for report in carried(&[&args[..], &["--ice-transport-policy", "relay"]].concat()) {
        assert_eq!(report["path"], "relay", "{report}");
    }
}
