//! What coturn does, right and wrong.

use super::{PATIENCE, probe, probe_as, probe_with};
use crate::support::{Coturn, Rtckit, Scratch, have, one_call_at_a_time};
use rtckit::ice_server::Secret;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const LOOPBACK: &str = "no-tls\nno-dtls\nallow-loopback-peers\n";

fn with_alice(lines: &str) -> String {
    format!("{lines}user={}:{}\n", Coturn::USER, Coturn::PASSWORD)
}

/// Everything that a good relay must have done.
#[track_caller]
fn expect_all_stages(server: &Value) {
    let stages = server["stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    let last = ["binding", "allocate-challenge", "allocate", "permission", "channel", "echo", "refresh", "release"];
    assert!(names.ends_with(&last), "{names:?}");
    assert!(stages.iter().all(|stage| stage["ok"] == true), "{server:#}");
    let echo = &server["echo"];
    assert_eq!((&echo["packetsSent"], &echo["packetsReceived"]), (&10.into(), &10.into()), "{echo}");
    let [min, avg, p95, max] = ["min", "avg", "p95", "max"].map(|name| echo["roundTripTime"][name].as_f64().unwrap());
    assert!(0.0 < min && min <= avg && avg <= max && p95 <= max, "{echo}");
}

#[test]
fn a_stun_server_says_where_we_are_and_is_ok() {
    if !have("turnserver") {
        return;
    }
    let server = Coturn::with("no-tls\nno-dtls\nstun-only\n");
    let probed = probe(&[&server.url("stun")]);
    let report = probed.expect("ok", 0, "");
    assert_eq!(report["mappedAddress"], report["localAddress"]);
    let probed = probe(&[&(server.url("stun") + "?transport=tcp")]);
    assert_eq!(probed.expect("ok", 0, "")["transport"], "tcp");
}

#[test]
fn a_server_without_a_relay_is_stun_only() {
    if !have("turnserver") {
        return;
    }
    let server = Coturn::with("no-tls\nno-dtls\nstun-only\n");
    probe(&[&server.url("turn")]).expect("stun-only", 8, "TURN");
}

#[test]
fn a_relay_over_udp_and_tcp_is_ok_and_measured() {
    if !have("turnserver") {
        return;
    }
    let server = Coturn::with(&with_alice(LOOPBACK));
    for (transport, url) in [("udp", server.url("turn")), ("tcp", server.url("turn") + "?transport=tcp")] {
        let probed = probe(&[&url, "--throughput=300ms"]);
        let report = probed.expect("ok", 0, "");
        assert_eq!((&report["transport"], &report["realm"]), (&transport.into(), &Coturn::REALM.into()));
        assert_eq!(report["echo"]["peer"], "allocation");
        assert!(report["throughput"]["bitsPerSecond"].as_f64() > Some(1e5), "{report:#}");
        assert!(report["software"].as_str().unwrap().starts_with("Coturn"), "{report:#}");
        assert!(report["relayedAddress"].as_str().unwrap().starts_with("127.0.0.1:"), "{report:#}");
    }
    expect_all_stages(probe(&[&server.url("turn")]).expect("ok", 0, ""));
}

#[test]
fn a_relay_over_ipv6_is_ok() {
    if !have("turnserver") {
        return;
    }
    let server = Coturn::at("::1".parse().unwrap(), &with_alice(LOOPBACK));
    for url in [server.url("turn"), server.url("turn") + "?transport=tcp"] {
        let probed = probe(&[&url]);
        let report = probed.expect("ok", 0, "");
        expect_all_stages(report);
        assert!(report["relayedAddress"].as_str().unwrap().starts_with("[::1]:"), "{report:#}");
    }
}

#[test]
fn a_wrong_password_is_auth_and_a_missing_one_too() {
    if !have("turnserver") {
        return;
    }
    let server = Coturn::with(&with_alice(LOOPBACK));
    let probed = probe_as("incorrect-horse", &[&server.url("turn"), "--username", Coturn::USER]);
    let report = probed.expect("auth", 8, "refused user name or credential (401");
    assert!(report["hint"].as_str().unwrap().contains(Coturn::REALM), "{report:#}");
    assert_eq!(probed.stage("allocate-challenge")["ok"], true);
    let stage = probed.stage("allocate");
    assert_eq!((&stage["ok"], &stage["errorCode"]), (&false.into(), &401.into()));
    probe_as(Coturn::PASSWORD, &[&server.url("turn"), "--username", "mallory"]).expect("auth", 8, "401");
    probe_as("", &[&server.url("turn")]).expect("auth", 8, "none were given");
}

#[test]
fn a_key_for_another_realm_is_auth_and_the_realm_is_named() {
    if !have("turnserver") {
        return;
    }
    let key = |realm: &str| {
        let text = format!("{}:{realm}:{}", Coturn::USER, Coturn::PASSWORD);
        let hash = Command::new("sh").args(["-c", "printf %s \"$0\" | md5sum", &text]).output().unwrap();
        String::from_utf8_lossy(&hash.stdout)[..32].to_owned()
    };
    let configured = |realm: &str| Coturn::with(&format!("{LOOPBACK}user={}:0x{}\n", Coturn::USER, key(realm)));
    probe(&[&configured(Coturn::REALM).url("turn")]).expect("ok", 0, "");
    let server = configured("elsewhere.test");
    let probed = probe(&[&server.url("turn")]);
    let hint = &probed.expect("auth", 8, "401")["hint"];
    assert!(hint.as_str().unwrap().contains("realm is 'rtckit.test'"), "{hint}");
}

#[test]
fn rest_credentials_are_made_from_the_secret_and_an_expired_one_is_named() {
    if !have("turnserver") {
        return;
    }
    let server = Coturn::with(&format!("{LOOPBACK}use-auth-secret\nstatic-auth-secret=north-by-northwest\n"));
    let scratch = Scratch::new();
    let secret = |text: &str| {
        let path = scratch.path(text);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let url = server.url("turn");
    let with = |file: &str, more: &[&str]| probe_as("", &[&[url.as_str(), "--rest-secret-file", file], more].concat());
    with(&secret("north-by-northwest"), &["--username=alice"]).expect("ok", 0, "");
    with(&secret("north-by-northwest"), &[]).expect("ok", 0, "");
    let wrong = with(&secret("vertigo"), &[]);
    let hint = wrong.expect("auth", 8, "401")["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("secret") && hint.contains("clock"), "{hint}");

    // An hour too late, made as the provider of an application would.
    let secret = Secret::new("north-by-northwest");
    let then = SystemTime::now() - Duration::from_secs(3600);
    let made = rtckit::probe::mint(&secret, Some("alice"), then, Duration::ZERO);
    let probed = probe_as(made.password.reveal(), &[&url, "--username", &made.username]);
    let hint = probed.expect("auth", 8, "401")["hint"].as_str().unwrap();
    assert!(hint.contains("expired 36"), "{hint}");
}

/// Probes until the quota has room for as many allocations as this kind of peer takes: coturn counts one that was released
/// for a second more. One that was left behind would count for ten minutes.
fn await_peer(url: &str, peer: &str) {
    let begin = Instant::now();
    loop {
        let probed = probe(&[url]);
        if probed.server()["verdict"] == "ok" && probed.server()["echo"]["peer"] == peer {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "the quota stays used up: {:#}", probed.server());
    }
}

/// A probe that has what it can allocate and goes on for long. It is begun again where what an earlier one released still counts.
fn hold(url: &str) -> Rtckit {
    let begin = Instant::now();
    loop {
        let args = ["turn-probe", "--events", "--username", Coturn::USER, "--packets=2000", url];
        let mut command = Rtckit::command(args);
        let mut running = Rtckit::spawn(command.env("RTCKIT_CREDENTIAL", Coturn::PASSWORD).stdin(Stdio::null()));
        while let Some(line) = running.try_line(PATIENCE) {
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["stage"] == "channel" {
                return running;
            }
        }
        assert!(begin.elapsed() < PATIENCE, "the quota stays used up");
    }
}

#[test]
fn a_quota_that_is_used_up_is_quota() {
    if !have("turnserver") {
        return;
    }
    let server = Coturn::with(&with_alice(&format!("{LOOPBACK}user-quota=1\n")));
    let url = server.url("turn");
    // One allocation is enough for a probe, but then a socket of ours must be the peer.
    let probed = probe(&[&url]);
    assert_eq!(probed.expect("ok", 0, "")["echo"]["peer"], "self");
    await_peer(&url, "self");
    let mut holder = hold(&url);
    probe(&[&url]).expect("quota", 8, "quota of this user is used up (486");
    holder.interrupt();
    assert_eq!(holder.wait(PATIENCE).code, Some(130));
    await_peer(&url, "self");
}

#[test]
fn a_relay_that_denies_its_peers_is_forbidden() {
    if !have("turnserver") {
        return;
    }
    for lines in
        ["no-tls\nno-dtls\n", "no-tls\nno-dtls\nallow-loopback-peers\ndenied-peer-ip=127.0.0.0-127.255.255.255\n"]
    {
        let server = Coturn::with(&with_alice(lines));
        let probed = probe(&[&server.url("turn")]);
        probed.expect("forbidden", 8, "403");
        assert_eq!(probed.stage("permission")["errorCode"], 403);
        assert_eq!(probed.stage("release")["ok"], true);
    }
}

#[test]
fn no_allocation_is_left_behind_whatever_ends_the_probe() {
    if !have("turnserver") {
        return;
    }
    // Room for the two allocations of one probe and no more.
    let server = Coturn::with(&with_alice(&format!("{LOOPBACK}user-quota=2\n")));
    for url in [server.url("turn"), server.url("turn") + "?transport=tcp"] {
        await_peer(&url, "allocation");
        await_peer(&url, "allocation");
        for (signal, code) in [(Rtckit::interrupt as fn(&Rtckit), 130), (Rtckit::terminate, 143)] {
            let mut running = hold(&url);
            signal(&running);
            let exit = running.wait(PATIENCE);
            assert_eq!(exit.code, Some(code), "{exit:?}");
            let said = String::from_utf8(exit.stdout).unwrap();
            assert!(said.contains("\"stage\":\"release\",\"ok\":true"), "{said}");
            await_peer(&url, "allocation");
        }
    }
}

#[test]
fn no_secret_is_said_anywhere() {
    if !have("turnserver") {
        return;
    }
    let server = Coturn::with(&with_alice(LOOPBACK));
    let scratch = Scratch::new();
    let events = scratch.path("events.ndjson");
    let secret_file = scratch.path("secret");
    let rest_file = scratch.path("rest");
    std::fs::write(&secret_file, Coturn::PASSWORD).unwrap();
    std::fs::write(&rest_file, "north-by-northwest").unwrap();
    // The right one, a wrong one, and one that is made: base64 of an HMAC ends in '='.
    let login = format!("turn:{}:incorrect-horse@{}", Coturn::USER, server.url("turn").trim_start_matches("turn:"));
    let url = server.url("turn");
    let runs: [&[&str]; 3] = [
        &[&url, "--username", Coturn::USER, "--credential-file", secret_file.to_str().unwrap()],
        &[&login],
        &[&url, "--rest-secret-file", rest_file.to_str().unwrap()],
    ];
    for args in runs {
        for form in [&["--json"][..], &["--events"], &[]] {
            let mut command = Rtckit::command(["turn-probe", "-vvv", "--packets=2", "--events-file"]);
            command.arg(&events).args(form).args(args).env("RUST_LOG", "trace").stdin(Stdio::null());
            let exit = Rtckit::spawn(&mut command).wait(PATIENCE);
            let parts =
                [String::from_utf8(exit.stdout).unwrap(), exit.stderr, std::fs::read_to_string(&events).unwrap()];
            let said = parts.concat();
            for secret in [Coturn::PASSWORD, "incorrect-horse", "north-by-northwest", "IntegrityKey {"] {
                assert!(!said.contains(secret), "{args:?} {form:?}: {said}");
            }
            let minted = said.split(['"', ' ']).find(|word| word.len() == 28 && word.ends_with('='));
            assert_eq!(minted, None, "{args:?} {form:?}");
        }
    }
}

#[test]
fn a_good_server_is_judged_quickly() {
    if !have("turnserver") {
        return;
    }
    let _alone = one_call_at_a_time();
    let server = Coturn::with(&with_alice(LOOPBACK));
    let best = (0..5)
        .map(|_| {
            let probed = probe_with(
                &[("RTCKIT_CREDENTIAL", Coturn::PASSWORD)],
                &[&server.url("turn"), "--username", Coturn::USER, "--packets=5", "--interval=20ms"],
            );
            probed.expect("ok", 0, "");
            probed.report["summary"]["seconds"].as_f64().unwrap()
        })
        .fold(f64::MAX, f64::min);
    // 80 ms of it are the intervals between its five packets.
    assert!(best < 0.15, "{best} s");
}
