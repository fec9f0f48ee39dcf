//! Networks that carry nothing: closed ports, silence, black holes, names that nobody knows.

use super::liar::{Liar, Lie};
use super::{PATIENCE, SILENT, probe, probe_as};
use crate::support::Rtckit;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

/// A TCP port whose queue is full: it takes no connection and refuses none.
struct BlackHole {
    address: SocketAddr,
    _held: (Socket, Vec<Socket>),
}

impl BlackHole {
    fn open() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        // The kernel holds one more than was asked for; what comes after that is dropped.
        let held = (0..4).map(|_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&address.into());
            client
        });
        let held = held.collect();
        Self { address, _held: (listener, held) }
    }
}

fn closed_port() -> u16 {
    // Both protocols: whoever takes it meanwhile would be another test of ours.
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    tcp.local_addr().unwrap().port()
}

#[test]
fn a_closed_port_is_unreachable_at_once() {
    let port = closed_port();
    for (transport, said) in [("udp", "connection refused"), ("tcp", "connection refused")] {
        let probed = probe(&[&format!("turn:127.0.0.1:{port}?transport={transport}")]);
        probed.expect("unreachable", 7, said);
        assert!(probed.report["summary"]["seconds"].as_f64() < Some(1.5), "{:#}", probed.report);
    }
}

#[test]
fn silence_in_every_form_is_waited_for_side_by_side() {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = udp.local_addr().unwrap();
    let hole = BlackHole::open();
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mute_address = mute.local_addr().unwrap();
    let slow = Liar::over_tcp(Lie::Slow);
    let stun_only = Liar::over_udp(Lie::StunOnly);
    let expected = [
        (format!("stun:{silent}"), "unreachable", "no answer within"),
        (format!("turn:{silent}"), "unreachable", "no answer within"),
        (format!("turns:{silent}?transport=udp"), "unreachable", "no answer within"),
        (format!("turn:{}?transport=tcp", hole.address), "unreachable", "no answer within"),
        (format!("turns:{}", hole.address), "unreachable", "no answer within"),
        (format!("turn:{mute_address}?transport=tcp"), "unreachable", "no answer within"),
        (format!("turns:{mute_address}"), "tls", "TLS does not answer"),
        (slow.url("turn") + "?transport=tcp", "protocol", "not the rest"),
        (stun_only.url("turn"), "stun-only", "no TURN request"),
    ];
    let urls: Vec<&str> = expected.iter().map(|(url, ..)| url.as_str()).collect();
    let probed = probe_as("secret", &[&["--username", "alice"], urls.as_slice()].concat());
    let servers = probed.report["servers"].as_array().unwrap();
    for ((url, verdict, said), server) in expected.iter().zip(servers) {
        assert_eq!((&server["url"], &server["verdict"]), (&url.as_str().into(), &(*verdict).into()), "{server:#}");
        assert!(server["message"].as_str().unwrap().contains(said), "{server:#}");
    }
    assert_eq!(servers.len(), expected.len());
    assert!(probed.report["summary"]["seconds"].as_f64() < Some(SILENT), "{:#}", probed.report["summary"]);
    assert_eq!((&probed.report["summary"]["verdict"], probed.exit.code), (&"unreachable".into(), Some(7)));
    // The stages before the silence are there, and so is its cause.
    let stages = |at: usize| {
        servers[at]["stages"].as_array().unwrap().iter().map(|stage| &stage["stage"]).collect::<Vec<&Value>>()
    };
    assert_eq!(stages(0), ["connect", "binding"]);
    assert_eq!(stages(3), ["connect"]);
    assert_eq!(stages(6), ["connect", "tls"]);
    drop(TcpStream::connect(mute_address));
}

#[test]
fn a_name_that_nobody_knows_is_dns() {
    let probed = probe(&["turn:turn.rtckit.invalid"]);
    let server = probed.expect("dns", 6, "cannot be resolved");
    assert_eq!((&server["stages"][0]["stage"], &server["stages"][0]["ok"]), (&"dns".into(), &false.into()));
    assert!(server["address"].is_null(), "{server:#}");
}

#[test]
fn the_worst_of_several_decides() {
    let liar = Liar::over_udp(Lie::StunOnly);
    let closed = format!("stun:127.0.0.1:{}", closed_port());
    let probed = probe(&[&liar.url("stun"), &closed]);
    assert_eq!(probed.exit.code, Some(7));
    let verdicts: Vec<_> =
        probed.report["servers"].as_array().unwrap().iter().map(|server| server["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["ok", "unreachable"]);
    assert_eq!(probed.report["summary"]["ok"], 1);
}

#[test]
fn people_see_the_verdict_and_the_stage_that_failed() {
    let closed = format!("stun:127.0.0.1:{}", closed_port());
    let exit = Rtckit::start(["turn-probe", &closed]).wait(PATIENCE);
    let said = String::from_utf8(exit.stdout).unwrap();
    assert!(said.starts_with(&format!("{closed}: unreachable, the port is closed")), "{said}");
    assert!(said.contains("✗") && said.contains("binding"), "{said}");
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(7), ""));
}

#[test]
fn a_probe_without_a_server_or_with_a_wrong_one_is_refused() {
    for (args, code, said) in [
        (&[][..], 2, "no server"),
        (&["http://a"], 3, "unknown scheme"),
        (&["stun:a", "--size=1"], 2, "bytes"),
        (&["stun:a", "--packets=1000000"], 2, "permissions"),
        (&["stun:a", "--format=text", "--max-loss=101"], 2, "percentage"),
        (&["stun:a", "--rest-secret-file=/nowhere/at/all"], 2, "/nowhere/at/all"),
    ] {
        let exit = Rtckit::start(["turn-probe"].iter().chain(args)).wait(PATIENCE);
        assert_eq!(exit.code, Some(code), "{args:?}: {exit:?}");
        assert!(exit.error_line().contains(said), "{args:?}: {exit:?}");
    }
}
