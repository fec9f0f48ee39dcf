//! What is written: forms for people, programs and monitoring, thresholds, rounds, matrices, candidates.

use super::liar::{Liar, Lie};
use super::{PATIENCE, probe};
use crate::support::{Coturn, Exit, Rtckit, have};
use serde_json::Value;
use std::net::UdpSocket;
use std::process::Stdio;
use std::time::Duration;

fn run(args: &[&str]) -> (Exit, String) {
    let mut command = Rtckit::command(["turn-probe"].iter().chain(args));
    let mut exit =
        Rtckit::spawn(command.env("RTCKIT_CREDENTIAL", Coturn::PASSWORD).stdin(Stdio::null())).wait(PATIENCE);
    let said = String::from_utf8(std::mem::take(&mut exit.stdout)).unwrap();
    (exit, said)
}

fn coturn() -> Coturn {
    Coturn::with(&format!("no-tls\nno-dtls\nallow-loopback-peers\nuser={}:{}\n", Coturn::USER, Coturn::PASSWORD))
}

const LOGIN: [&str; 4] = ["--username", Coturn::USER, "--packets=5", "--interval=2ms"];

#[test]
fn monitoring_is_told_in_its_own_words() {
    if !have("turnserver") {
        return;
    }
    let server = coturn();
    let liar = Liar::over_udp(Lie::StunOnly);
    let (good, bad) = (server.url("turn"), liar.url("turn"));
    let form = |format: &str, urls: &[&str]| run(&[&LOGIN[..], &["--format", format], urls].concat());

    let (exit, text) = form("openmetrics", &[&good, &bad]);
    assert_eq!(exit.code, Some(8), "{text}");
    assert!(
        text.ends_with("# EOF\n")
            && text.lines().all(|line| line.starts_with("# ") || line.starts_with("rtckit_turn_probe_"))
    );
    assert!(text.contains(&format!("rtckit_turn_probe_ok{{url=\"{good}\",address=\"{}\"}} 1\n", &good[5..])), "{text}");
    assert!(
        text.contains(&format!("url=\"{bad}\",address=\"{}\",verdict=\"stun-only\"}} 1\n", liar.address)),
        "{text}"
    );
    assert!(text.contains("rtckit_turn_probe_round_trip_seconds{") && text.contains("stage=\"allocate\""), "{text}");
    // A family is declared once, before its samples.
    let declared: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    assert_eq!(declared.iter().collect::<std::collections::HashSet<_>>().len(), declared.len(), "{text}");

    let (exit, text) = form("nagios", &[&good]);
    assert_eq!((exit.code, text.lines().count()), (Some(0), 1), "{text}");
    assert!(text.starts_with("TURN OK - ") && text.contains("| rtt=0.") && text.contains(" loss=0.00%"), "{text}");
    let (exit, text) = form("nagios", &[&good, &bad]);
    assert_eq!(exit.code, Some(2), "{text}");
    assert!(text.starts_with(&format!("TURN CRITICAL - {bad}: stun-only, ")), "{text}");
    assert_eq!(form("nagios", &[&good, "--max-rtt=1us"]).0.code, Some(1));
    assert_eq!(form("nagios", &[]).0.code, Some(3));

    let (exit, text) = form("junit", &[&good, &bad]);
    assert_eq!(exit.code, Some(8), "{text}");
    assert!(text.starts_with("<?xml ") && text.contains("failures=\"1\""), "{text}");
    assert_eq!(text.matches("<testsuite ").count(), 2);
    assert_eq!(
        text.matches("<testcase ").count(),
        text.matches("</testcase>").count() + text.matches("\"/>").count(),
        "{text}"
    );
    assert!(text.contains("<failure type=\"stun-only\" message=\"it answers STUN requests"), "{text}");
}

#[test]
fn json_comes_in_lines_while_it_runs_or_at_the_end() {
    if !have("turnserver") {
        return;
    }
    let server = coturn();
    let url = server.url("turn");
    let (_, lines) = run(&[&LOGIN[..], &["--format=ndjson", &url]].concat());
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [stages @ .., verdict, result] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&result["type"], &result["servers"][0]["verdict"]), (&"result".into(), &"ok".into()));
    assert_eq!(
        (&verdict["type"], &verdict["verdict"], &verdict["url"]),
        (&"verdict".into(), &"ok".into(), &url.as_str().into())
    );
    assert!(stages.iter().all(|stage| stage["type"] == "stage" && stage["url"] == url.as_str()), "{stages:?}");
    assert_eq!(stages.len(), result["servers"][0]["stages"].as_array().unwrap().len());
    let (_, text) = run(&[&LOGIN[..], &["--format=json", &url]].concat());
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["schema"], "rtckit.turn-probe/1");
    assert_eq!(run(&["--format=junit", "--json", &url]).0.code, Some(2));
}

#[test]
fn thresholds_have_their_exit_code() {
    if !have("turnserver") {
        return;
    }
    let server = coturn();
    let url = server.url("turn");
    probe(&[&url, "--max-rtt=1us"]).expect("threshold", 14, "round trips take");
    probe(&[&url, "--max-rtt=10s", "--max-loss=0"]).expect("ok", 0, "");
}

#[test]
fn rounds_go_on_until_they_are_ended_and_the_worst_decides() {
    let liar = Liar::over_udp(Lie::StunOnly);
    let (stun, turn) = (liar.url("stun"), liar.url("turn"));
    let (exit, text) = run(&["--every=100ms", "--duration=1s", "--json", &stun]);
    assert_eq!(exit.code, Some(0), "{text}");
    let rounds: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rounds.len() >= 2, "{text}");
    assert!(rounds.iter().all(|round| round["summary"]["verdict"] == "ok"), "{text}");

    let mut running = Rtckit::start(["turn-probe", "--every=50ms", "--timeout=300ms", &turn]);
    while !running.line().contains("stun-only") {}
    while !running.line().contains("stun-only") {}
    running.interrupt();
    let exit = running.wait(PATIENCE);
    assert_eq!(exit.code, Some(8), "{exit:?}");
}

#[test]
fn a_matrix_shows_what_works_and_one_is_enough() {
    if !have("turnserver") {
        return;
    }
    let server = coturn();
    let url = server.url("turn");
    let port = url.rsplit(':').next().unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ports = format!("--ports={port},{}", silent.local_addr().unwrap().port());
    let args = [&LOGIN[..], &["--matrix=127.0.0.1", &ports, "--timeout=1500ms"]].concat();
    let (exit, text) = run(&args);
    assert_eq!(exit.code, Some(0), "{text}");
    let row = text.lines().find(|line| line.starts_with(&format!("127.0.0.1:{port} "))).unwrap();
    assert_eq!(row.matches("ok ").count(), 2, "{text}");
    let (_, json) = run(&[&args[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&json).unwrap();
    let transports: Vec<_> =
        report["servers"].as_array().unwrap().iter().map(|server| (&server["transport"], &server["verdict"])).collect();
    assert_eq!(transports.len(), 8);
    assert_eq!(transports[0], (&"udp".into(), &"ok".into()));
    assert_eq!(transports[4], (&"udp".into(), &"unreachable".into()));
    assert_eq!(report["summary"]["verdict"], "ok");
    let (exit, _) = run(&["--matrix=127.0.0.1", &ports.replace(&format!("{port},"), ""), "--timeout=500ms"]);
    assert_eq!(exit.code, Some(7));
}

#[test]
fn candidates_are_those_of_ice_and_nothing_stays_allocated() {
    if !have("turnserver") {
        return;
    }
    let server = Coturn::with(&format!(
        "no-tls\nno-dtls\nallow-loopback-peers\nuser-quota=1\nuser={}:{}\n",
        Coturn::USER,
        Coturn::PASSWORD
    ));
    let gathered = || {
        let args = ["--gather", "--json", "--interface=lo", "--username", Coturn::USER, &server.url("turn")];
        let (exit, text) = run(&args);
        (exit.code, serde_json::from_str::<Value>(&text).unwrap())
    };
    let (code, report) = gathered();
    assert_eq!(code, Some(0), "{report:#}");
    let candidates = report["candidates"].as_array().unwrap();
    // Without a NAT the reflexive one is the host's, and left out as ICE does.
    let v4: Vec<&Value> = candidates.iter().filter(|candidate| candidate["address"] == "127.0.0.1").collect();
    assert_eq!(v4.iter().map(|candidate| candidate["type"].as_str().unwrap()).collect::<Vec<_>>(), ["host", "relay"]);
    let relay = v4[1];
    assert_eq!((&relay["relayProtocol"], &relay["relatedAddress"]), (&"udp".into(), &"127.0.0.1".into()));
    let line = relay["candidate"].as_str().unwrap();
    let expected = format!(
        "candidate:{} 1 udp {} 127.0.0.1 {} typ relay raddr 127.0.0.1 rport {}",
        relay["foundation"].as_str().unwrap(),
        relay["priority"],
        relay["port"],
        relay["relatedPort"]
    );
    assert_eq!(line, expected);
    assert_ne!(v4[0]["foundation"], relay["foundation"]);
    assert!(v4[0]["priority"].as_u64() > relay["priority"].as_u64());
    // There is room for one allocation; coturn counts it for a second more.
    let begin = std::time::Instant::now();
    while gathered().0 != Some(0) {
        assert!(begin.elapsed() < Duration::from_secs(20), "it stays allocated");
    }
}

#[test]
fn reports_that_say_nothing_of_a_nat_predict_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"servers\":[]}").unwrap();
    let path = file.path().to_str().unwrap();
    let exit = Rtckit::start(["turn-probe", "--predict", path, path]).wait(PATIENCE);
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.error_line().contains("says nothing of a NAT"), "{exit:?}");
    let exit = Rtckit::start(["turn-probe", "--predict", path, "/nowhere/at/all"]).wait(PATIENCE);
    assert_eq!(exit.code, Some(2), "{exit:?}");
}
