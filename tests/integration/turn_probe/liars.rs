//! Servers that break the protocol: each is named for what it does.

use super::liar::{Liar, Lie, PASSWORD, USER};
use super::{PATIENCE, Probed, SILENT, probe_as};
use crate::support::{Rtckit, Scratch};
use std::process::Stdio;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

fn probe_liar(liar: &Liar, more: &[&str]) -> Probed {
    let suffix = more.first().copied().unwrap_or_default();
    probe_as(PASSWORD, &[&(liar.url("turn") + suffix), "--username", USER])
}

#[track_caller]
fn over_udp(lie: Lie, verdict: &str, code: i32, said: &str) -> Probed {
    let probed = probe_liar(&Liar::over_udp(lie), &[]);
    probed.expect(verdict, code, said);
    probed
}

#[track_caller]
fn over_tcp(lie: Lie, verdict: &str, code: i32, said: &str) {
    probe_liar(&Liar::over_tcp(lie), &["?transport=tcp"]).expect(verdict, code, said);
}

#[test]
fn a_relay_that_eats_the_data_is_a_black_hole() {
    let probed = over_udp(Lie::EatsData, "relay-blackhole", 11, "of 10 packets that it was given none came back");
    assert_eq!(probed.stage("echo")["ok"], false);
    assert_eq!(probed.stage("release")["ok"], true);
    over_tcp(Lie::EatsData, "relay-blackhole", 11, "none came back");
}

#[test]
fn sha_256_is_used_where_the_server_offers_it() {
    over_udp(Lie::EatsDataSha256, "relay-blackhole", 11, "none came back");
}

#[test]
fn a_relay_for_everybody_is_told_of() {
    let probed = over_udp(Lie::Open, "relay-blackhole", 11, "none came back");
    assert!(probed.server()["notes"][0].as_str().unwrap().contains("for anybody"), "{:#}", probed.server());
}

#[test]
fn responses_to_other_requests_are_a_breach_of_protocol() {
    over_udp(Lie::Transaction, "protocol", 5, "another transaction ID");
    over_tcp(Lie::Transaction, "protocol", 5, "another transaction ID");
}

#[test]
fn a_wrong_fingerprint_is_a_breach_of_protocol() {
    over_udp(Lie::Fingerprint, "protocol", 5, "FINGERPRINT");
}

#[test]
fn responses_signed_wrong_or_not_at_all_are_a_breach_of_protocol() {
    over_udp(Lie::Integrity, "protocol", 5, "MESSAGE-INTEGRITY of its response is wrong");
    over_udp(Lie::Unsigned, "protocol", 5, "no MESSAGE-INTEGRITY");
}

#[test]
fn truncated_messages_are_a_breach_of_protocol() {
    over_udp(Lie::Truncated, "protocol", 5, "ends after");
    over_tcp(Lie::Truncated, "protocol", 5, "bytes of a message came and not the rest");
}

#[test]
fn hostile_bytes_are_a_breach_of_protocol() {
    const HEADER: &[u8] = b"\x01\x01\xff\xff\x21\x12\xa4\x42123456789012";
    const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n\x1b[2J";
    const NESTED: &[u8] = b"\x01\x01\x00\x08\x21\x12\xa4\x42123456789012\x00\x20\xff\xff\x00\x01\x00\x00";
    over_udp(Lie::Bytes(HEADER), "protocol", 5, "a message of 65555 bytes ends after 20");
    over_udp(Lie::Bytes(SSH), "protocol", 5, "neither STUN nor channel data: \"SSH-2.0-");
    over_udp(Lie::Bytes(b"\0"), "protocol", 5, "ends after 1");
    over_udp(Lie::Bytes(NESTED), "protocol", 5, "malformed");
    over_tcp(Lie::Bytes(SSH), "protocol", 5, "SSH-2.0-");
    over_tcp(Lie::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "protocol", 5, "HTTP/1.1 400");
    over_tcp(Lie::Bytes(HEADER), "protocol", 5, "20 bytes of a message came");
}

#[test]
fn one_byte_a_second_is_a_breach_of_protocol_and_waited_for_no_longer() {
    over_tcp(Lie::Slow, "protocol", 5, "bytes of a message came and not the rest");
}

#[test]
fn codes_have_their_verdicts() {
    for (code, verdict, exit) in [
        (403, "forbidden", 8),
        (437, "protocol", 5),
        (441, "auth", 8),
        (442, "forbidden", 8),
        (486, "quota", 8),
        (500, "protocol", 5),
        (508, "quota", 8),
    ] {
        let probed = over_udp(Lie::LateCode(code), verdict, exit, &format!("({code}, \"No\")"));
        assert_eq!(probed.stage("allocate")["errorCode"], code);
    }
    for (method, stage, code, verdict, exit) in [
        (8, "permission", 403, "forbidden", 8),
        (8, "permission", 437, "protocol", 5),
        (9, "channel", 441, "auth", 8),
        (9, "channel", 508, "quota", 8),
    ] {
        let probed = over_udp(Lie::CodeTo(method, code), verdict, exit, &format!("({code}, \"No\")"));
        assert_eq!(probed.stage(stage)["errorCode"], code);
        assert_eq!(probed.stage("release")["ok"], true);
    }
    over_udp(Lie::LateCode(438), "stale-nonce", 8, "every nonce stale");
    over_udp(Lie::Code(400), "stun-only", 8, "no TURN");
    over_udp(Lie::Code(508), "quota", 8, "508");
    over_udp(Lie::StunOnly, "stun-only", 8, "no TURN request");
    over_udp(Lie::NoNonce, "protocol", 5, "without REALM and NONCE");
    over_udp(Lie::NoAddress, "protocol", 5, "no address that anybody could send to");
}

#[test]
fn an_alternate_server_is_followed_and_a_circle_is_not() {
    let other = Liar::over_udp(Lie::EatsData);
    let probed = over_udp(Lie::Alternate(other.address.port()), "relay-blackhole", 11, "none came back");
    let server = probed.server();
    assert!(server["notes"][0].as_str().unwrap().contains(&other.address.to_string()), "{server:#}");
    assert_eq!(probed.stage("allocate-challenge")["errorCode"], 300);

    let first = Liar::over_udp(Lie::Alternate(other.address.port()));
    drop(other);
    // Whoever is sent there is sent back here.
    let circle = Liar::over_udp(Lie::Alternate(first.address.port()));
    drop(first);
    let itself = probe_liar(&circle, &[]);
    assert_ne!(itself.server()["verdict"], "ok");
    assert!(itself.report["summary"]["seconds"].as_f64() < Some(2.0 * SILENT));
}

#[test]
fn an_answer_from_another_address_is_told_from_silence() {
    let liar = Liar::over_udp(Lie::Elsewhere);
    for scheme in ["stun", "turn"] {
        let probed = probe_as(PASSWORD, &[&liar.url(scheme), "--username", USER]);
        let server = probed.expect("protocol", 5, "its answer comes from 127.0.0.1:");
        assert!(!server["message"].as_str().unwrap().contains(&format!("{} ", liar.address)), "{server:#}");
        assert_eq!(probed.stage("binding")["ok"], false);
    }
}

#[test]
fn a_stale_nonce_is_replaced_by_the_new_one() {
    let probed = over_udp(Lie::StaleOnce, "relay-blackhole", 11, "none came back");
    for stage in ["allocate", "permission", "channel", "release"] {
        assert_eq!(probed.stage(stage)["ok"], true, "{:#}", probed.server());
    }
}

#[test]
fn challenges_that_nobody_can_meet_are_a_breach_of_protocol() {
    over_udp(Lie::LongNonce, "protocol", 5, "too long");
    over_udp(Lie::BidDown, "protocol", 5, "promises PASSWORD-ALGORITHMS");
}

#[test]
fn what_a_server_makes_of_its_messages_by_chance_does_no_harm() {
    let liars: Vec<(Liar, &str)> = (1..=12)
        .flat_map(|seed| {
            let lie = Lie::Garbled(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
            [(Liar::over_udp(lie), ""), (Liar::over_tcp(lie), "?transport=tcp")]
        })
        .collect();
    let urls: Vec<String> = liars.iter().map(|(liar, suffix)| liar.url("turn") + suffix).collect();
    let args: Vec<&str> = ["--username", USER].into_iter().chain(urls.iter().map(String::as_str)).collect();
    let probed = probe_as(PASSWORD, &args);
    let servers = probed.report["servers"].as_array().unwrap();
    assert_eq!(servers.len(), urls.len());
    for server in servers {
        let verdict = server["verdict"].as_str().unwrap_or_else(|| panic!("no verdict: {server:#}"));
        assert_ne!(verdict, "ok", "{server:#}");
    }
    // Each of its steps has a second.
    assert!(probed.report["summary"]["seconds"].as_f64() < Some(3.0 * SILENT), "{:#}", probed.report["summary"]);
}

#[test]
fn what_may_be_allocated_is_released_when_the_run_is_interrupted() {
    for flag in [&[][..], &["--gather", "--interface=lo"]] {
        let liar = Liar::over_udp(Lie::HoldsBack);
        let url = liar.url("turn");
        let mut command = Rtckit::command(["turn-probe", "--timeout=20s", "--username", USER, &url].iter().chain(flag));
        let mut running = Rtckit::spawn(command.env("RTCKIT_CREDENTIAL", PASSWORD).stdin(Stdio::null()));
        let begin = Instant::now();
        while liar.seen.lock().unwrap().usernames.is_empty() {
            assert!(begin.elapsed() < PATIENCE, "{flag:?}: it does not ask for an allocation");
            std::thread::yield_now();
        }
        running.interrupt();
        let exit = running.wait(PATIENCE);
        assert_eq!(exit.code, Some(130), "{flag:?}: {exit:?}");
        assert!(liar.seen.lock().unwrap().released > 0, "{flag:?}: {exit:?}");
    }
}

#[test]
fn rest_credentials_hold_as_long_as_was_asked_for() {
    let scratch = Scratch::new();
    let secret = scratch.path("secret");
    std::fs::write(&secret, "north-by-northwest").unwrap();
    for (more, seconds) in [(&[][..], 3600), (&["--rest-lifetime=2h"], 7200)] {
        let liar = Liar::over_udp(Lie::EatsData);
        let url = liar.url("turn");
        let args = [&["--rest-secret-file", secret.to_str().unwrap(), "--username", USER, &url], more].concat();
        probe_as("", &args).expect("auth", 8, "401");
        let seen = liar.seen.lock().unwrap();
        let (expiry, name) = seen.usernames[0].split_once(':').unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let left = expiry.parse::<u64>().unwrap() - now;
        assert!(name == USER && (seconds - 60..=seconds).contains(&left), "{:?}, and it is {now}", seen.usernames);
    }
}
