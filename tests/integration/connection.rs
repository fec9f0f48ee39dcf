//! The flags that say how a connection is made, seen from outside.

use crate::support::{PATIENCE, Rtckit, Scratch, calls_share_the_machine, have, one_call_at_a_time};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// The report of a call with data alone to another rtckit, and how it ended.
fn report_of(call: &[&str]) -> Value {
    let args = ["call", "--loopback", "--data", "--duration=300ms", "--json"];
    let exit = Rtckit::start(args.iter().chain(call)).succeed(PATIENCE);
    serde_json::from_slice(&exit.stdout).unwrap()
}

/// The lines of the offer that begin with `prefix`.
fn offered(args: &[&str], prefix: &str) -> Vec<String> {
    let mut caller = Rtckit::start(["call", "--data"].iter().chain(args));
    let offer = caller.json();
    let sdp = offer["sdp"].as_str().unwrap().to_owned();
    caller.interrupt();
    caller.wait(PATIENCE);
    sdp.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
}

#[test]
fn a_family_of_addresses_is_kept_to() {
    let _turn = calls_share_the_machine();
    for (flag, address) in [("-4", "127.0.0.1"), ("-6", "::1")] {
        let report = report_of(&[flag]);
        let pair = &report["connection"]["selectedPair"];
        assert_eq!(
            (&pair["local"]["address"], &pair["remote"]["address"]),
            (&address.into(), &address.into()),
            "{flag}"
        );
    }
    for (args, code, said) in [
        (["--interface=127.0.0.1", "-6"], 9, "with an IPv6 address"),
        (["--interface=nosuch", "--loopback"], 9, "'nosuch'"),
        (["-4", "-6"], 2, "cannot be used with"),
    ] {
        let exit = Rtckit::start(["call", "--data"].iter().chain(&args)).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{exit:?}");
        assert!(exit.stderr.contains(said), "{exit:?}");
    }
}

#[test]
fn ports_are_of_the_range_and_a_range_that_is_taken_is_an_error() {
    let _turn = calls_share_the_machine();
    let port = |line: &String| line.split(' ').nth(5).unwrap().parse::<u16>().unwrap();
    let candidates = offered(&["--interface=127.0.0.1", "--port-range=41000-41099"], "a=candidate:");
    assert!(
        !candidates.is_empty() && candidates.iter().all(|it| (41000..=41099).contains(&port(it))),
        "{candidates:?}"
    );
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let holding = std::net::UdpSocket::bind(("127.0.0.1", taken)).unwrap();
    let range = format!("--port-range={taken}-{taken}");
    let exit = Rtckit::start(["call", "--data", "--interface=127.0.0.1", &range]).wait(PATIENCE);
    assert_eq!(exit.code, Some(9), "{exit:?}");
    assert!(exit.error_line().contains("is free"), "{exit:?}");
    drop(holding);
}

#[test]
fn a_public_address_is_offered_beside_the_private_one() {
    let _turn = calls_share_the_machine();
    let candidates = offered(&["--interface=127.0.0.1", "--public-ip=203.0.113.9"], "a=candidate:");
    let of =
        |kind: &str| candidates.iter().find(|it| it.contains(&format!(" typ {kind}"))).cloned().unwrap_or_default();
    let (host, outside) = (of("host"), of("srflx"));
    let port = host.split(' ').nth(5).unwrap();
    assert!(outside.contains(&format!(" 203.0.113.9 {port} typ srflx raddr 127.0.0.1 rport {port}")), "{candidates:?}");
}

#[test]
fn a_certificate_of_ones_own_is_the_one_the_peer_sees() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let made = rcgen::generate_simple_self_signed(vec!["rtckit.test".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["rtckit.test".to_owned()]).unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(scratch.path(name), text).unwrap();
        scratch.path(name).to_str().unwrap().to_owned()
    };
    let certificate = file("cert.pem", &made.cert.pem());
    let key = file("key.pem", &made.signing_key.serialize_pem());
    let flags = ["--certificate", &certificate, "--private-key", &key];
    // The library signs with it and the peer checks the fingerprint, or the call would not come up.
    report_of(&flags);
    let fingerprints = offered(&flags, "a=fingerprint:sha-256");
    let again = offered(&flags, "a=fingerprint:sha-256");
    assert!(!fingerprints.is_empty() && fingerprints == again, "{fingerprints:?} {again:?}");
    assert_ne!(fingerprints, offered(&[], "a=fingerprint:sha-256"));

    let foreign = file("foreign.pem", &other.signing_key.serialize_pem());
    let nothing = file("nothing.pem", "nothing\n");
    for (certificate, key, code, said) in [
        (&certificate, &foreign, 3, "--private-key: the private key does not belong"),
        (&certificate, &nothing, 3, "--private-key: no private key is in it"),
        (&nothing, &key, 3, "--certificate: no certificate is in it"),
    ] {
        let args = ["call", "--data", "--certificate", certificate, "--private-key", key];
        let exit = Rtckit::start(args).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{exit:?}");
        assert!(exit.error_line().contains(said), "{exit:?}");
    }
}

/// Two peers in a network of their own that lets no UDP through; what comes is recorded.
fn without_udp(flags: &str, recording: &Path) -> Option<Rtckit> {
    if !have("nft") || !have("ip") {
        return None;
    }
    let rtckit = env!("CARGO_BIN_EXE_rtckit");
    let script = format!(
        "ip link set lo up && nft 'table inet t {{ chain o {{ type filter hook output priority 0; \
         meta l4proto udp drop; }}; }}' && exec {rtckit} call --video=test --audio=test --duration=1s --timeout=4s \
         --json {flags} --signal 'exec:{rtckit} answer --trickle --record {} {flags}'",
        recording.display()
    );
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", &script]).env("NO_COLOR", "1").stdin(Stdio::null());
    Some(Rtckit::spawn(&mut command))
}

#[test]
fn where_no_udp_gets_through_tcp_does_if_it_was_asked_for() {
    let _turn = calls_share_the_machine();
    let scratch = Scratch::new();
    let recording = scratch.path("tcp.webm");
    let Some(mut call) = without_udp("--ice-tcp", &recording) else { return };
    let exit = call.succeed(PATIENCE);
    let report: Value = serde_json::from_slice(&exit.stdout).unwrap();
    assert_eq!(report["connection"]["selectedPair"]["local"]["protocol"], "tcp", "{report}");
    assert!(recording.metadata().unwrap().len() > 10_000);
    let Some(mut call) = without_udp("", &scratch.path("udp.webm")) else { return };
    let exit = call.wait(PATIENCE);
    assert_eq!(exit.code, Some(9), "{exit:?}");
    assert!(exit.stderr.contains("pairs tried, nothing heard from the peer"), "{exit:?}");
}

/// A call by a command that answers with `flags`; returns the report of the caller and what the two said, line by line.
fn overheard(flags: [&str; 2]) -> (Value, Vec<Value>) {
    let rtckit = env!("CARGO_BIN_EXE_rtckit");
    let scratch = Scratch::new();
    let (out, back) = (scratch.path("out"), scratch.path("back"));
    let command =
        format!("exec:tee {} | {rtckit} answer --trickle {} | tee {}", out.display(), flags[1], back.display());
    let args = ["call", "--data", "--duration=200ms", "--json", "--signal", &command];
    let exit = Rtckit::start(args.into_iter().chain(flags[0].split_whitespace())).succeed(PATIENCE);
    let said = [out, back].into_iter().flat_map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    });
    (serde_json::from_slice(&exit.stdout).unwrap(), said.collect())
}

#[test]
fn two_that_hide_their_addresses_meet_and_say_none_of_them() {
    let _turn = calls_share_the_machine();
    let (report, said) = overheard(["--mdns", "--mdns"]);
    let pair = &report["connection"]["selectedPair"];
    let ours = pair["local"]["address"].as_str().unwrap();
    assert!(ours.parse::<std::net::IpAddr>().is_ok(), "we know our own: {pair}");
    let candidates: Vec<_> = said.iter().filter(|line| line["type"] == "candidate").collect();
    assert!(candidates.len() >= 2, "{said:?}");
    for line in &said {
        let text = line["sdp"].as_str().or(line["candidate"].as_str()).unwrap_or_default();
        assert!(!text.contains(ours), "{text}");
        if line["type"] == "candidate" {
            assert!(text.contains(".local ") && text.contains(" typ host"), "{text}");
        }
    }
    // Who resolves no names still hears from where it is called.
    let (report, _) = overheard(["--mdns=off", "--mdns"]);
    assert_eq!(report["connection"]["selectedPair"]["remote"]["candidateType"], "prflx", "{report}");
}

/// What two peers in one process measure over a bad network.
fn bench(mode: &str, network: &str, seconds: &str) -> (Value, Value) {
    let run = ["call", "--loopback", "--json", "--bench", mode, "--net-sim", network, "--duration", seconds];
    let report: Value = serde_json::from_slice(&Rtckit::start(run).succeed(PATIENCE).stdout).unwrap();
    let (here, there) = (report["bench"].clone(), report["peer"]["bench"].clone());
    assert_eq!((&here["direction"], &there["direction"]), (&"send".into(), &"receive".into()), "{report}");
    assert_eq!((&here["bytes"], &here["ping"]), (&there["bytes"], &there["ping"]), "both have all of it");
    (here, report)
}

#[test]
fn a_bench_tells_what_a_path_carries_and_what_it_loses() {
    let _turn = one_call_at_a_time();
    let number = |report: &Value, name: &str| report.pointer(name).and_then(Value::as_f64).unwrap();
    let (dc, all) = bench("dc", "rate=8M,delay=20ms", "3s");
    let carried = number(&dc, "/bitsPerSecond");
    assert!((4e6..=8e6).contains(&carried), "of 8 Mbit/s: {all}");
    assert!(number(&dc, "/ping/minimum") >= 0.04, "20 ms there and 20 back: {all}");
    let (rtp, all) = bench("rtp", "loss=5%,delay=20ms,seed=3", "3s");
    let lost = number(&rtp, "/fractionLost");
    assert!((0.02..=0.09).contains(&lost), "of 5 %: {all}");
    assert!(number(&rtp, "/packetsSent") > 100.0 && number(&rtp, "/bitsPerSecond") > 100e3, "{all}");
    assert!(number(&rtp, "/ping/lost") > 0.0, "pings are lost as well: {all}");
}
