//! Servers that break the protocol: each is named for what it does.

use super::liar::{Liar, Lie, PASSWORD, USER};
use super::{Probed, SILENT, probe_as};

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
