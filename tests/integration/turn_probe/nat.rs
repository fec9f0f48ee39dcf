//! NATs of our own: namespaces for a client, a router and a server, and what the router does between them.
//!
//! ```text
//! client 10.9.0.2 -- 10.9.0.1 router 198.51.100.1 -- 198.51.100.2 and .3 server (coturn)
//! ```

use super::PATIENCE;
use crate::support::{Scratch, dies_with_us, have, skip};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const SERVER: &str = "198.51.100.2";
const SECOND: &str = "198.51.100.3";

/// Three namespaces in a row. They are gone when it is dropped.
struct Lab {
    prefix: String,
    servers: Vec<Child>,
    scratch: Scratch,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        for part in ["c", "r", "s"] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(part)]).stderr(Stdio::null()).status();
        }
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

impl Lab {
    /// Lays the wires; `None`, and the reason said, where this machine does not let us.
    fn build() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !["turnserver", "ip", "nft"].into_iter().all(have) {
            return None;
        }
        let prefix = format!("rtk{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let lab = Self { prefix, servers: Vec::new(), scratch: Scratch::new() };
        if let Err(why) = lab.wire() {
            skip(&format!("no network namespaces here: {why}"));
            return None;
        }
        Some(lab)
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.prefix)
    }

    /// Runs a command in one of the namespaces.
    fn within(&self, part: &str, command: &str) -> Result<(), String> {
        let name = self.name(part);
        let words: Vec<&str> = ["netns", "exec", name.as_str()].into_iter().chain(command.split_whitespace()).collect();
        run("ip", &words)
    }

    fn wire(&self) -> Result<(), String> {
        for part in ["c", "r", "s"] {
            run("ip", &["netns", "add", &self.name(part)])?;
            self.within(part, "ip link set lo up")?;
        }
        for (part, device, far_part, far_device) in [("r", "inside", "c", "eth"), ("r", "outside", "s", "eth")] {
            let (near, far) = (self.name(part), self.name(far_part));
            run(
                "ip",
                &["link", "add", device, "netns", &near, "type", "veth", "peer", "name", far_device, "netns", &far],
            )?;
        }
        for (part, commands) in [
            ("c", &["ip addr add 10.9.0.2/24 dev eth", "ip link set eth up", "ip route add default via 10.9.0.1"][..]),
            (
                "r",
                &[
                    "ip addr add 10.9.0.1/24 dev inside",
                    "ip addr add 198.51.100.1/24 dev outside",
                    "ip link set inside up",
                    "ip link set outside up",
                    "sysctl -qw net.ipv4.ip_forward=1",
                ],
            ),
            (
                "s",
                &[
                    "ip addr add 198.51.100.2/24 dev eth",
                    "ip addr add 198.51.100.3/24 dev eth",
                    "ip link set eth up",
                    "ip route add default via 198.51.100.1",
                ],
            ),
        ] {
            for command in commands {
                self.within(part, command)?;
            }
        }
        Ok(())
    }

    /// Sets what the router does.
    fn rules(&self, rules: &str) {
        let file = self.scratch.path("rules.nft");
        std::fs::write(&file, format!("flush ruleset\n{rules}\n")).unwrap();
        self.within("r", &format!("nft -f {}", file.display())).unwrap();
    }

    /// Starts coturn at the addresses of the server and waits until it answers from each.
    fn serve(&mut self, addresses: &[&str]) {
        let config = self.scratch.path("turnserver.conf");
        let mut text = String::from(
            "listening-port=3478\nno-tls\nno-dtls\nno-cli\nstun-only\nrealm=rtckit.test\nlog-file=stdout\n",
        );
        for address in addresses {
            text += &format!("listening-ip={address}\n");
        }
        for (name, file) in [("pidfile", "pid"), ("userdb", "db")] {
            text += &format!("{name}={}\n", self.scratch.path(file).display());
        }
        std::fs::write(&config, text).unwrap();
        let mut server = dies_with_us("ip");
        server.args(["netns", "exec", &self.name("s"), "turnserver", "-c"]).arg(config);
        self.servers.push(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        // Whoever asks stands where the server is, so that nothing stands between.
        let begin = Instant::now();
        while !addresses
            .iter()
            .all(|address| self.run("s", &[&format!("stun:{address}"), "--timeout=200ms"]).0 == Some(0))
        {
            assert!(begin.elapsed() < PATIENCE, "coturn does not answer at {addresses:?}");
        }
    }

    /// Runs `turn-probe --json` in a namespace.
    fn run(&self, part: &str, args: &[&str]) -> (Option<i32>, Value) {
        let mut command = dies_with_us("ip");
        command
            .args(["netns", "exec", &self.name(part), env!("CARGO_BIN_EXE_rtckit"), "turn-probe", "--json"])
            .args(args);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let report = serde_json::from_slice(&output.stdout);
        (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {output:?}")))
    }

    /// What `--nat` says, in the client's namespace.
    fn nat(&self, servers: &[&str]) -> Value {
        let urls: Vec<String> = servers.iter().map(|server| format!("stun:{server}")).collect();
        let args: Vec<&str> = ["--nat"].into_iter().chain(urls.iter().map(String::as_str)).collect();
        let (_, report) = self.run("c", &args);
        report["nat"].clone()
    }

    /// The report as a file, for `--predict`.
    fn keep(&self, name: &str, nat: &Value) -> String {
        let path = self.scratch.path(name);
        std::fs::write(&path, serde_json::json!({ "nat": nat }).to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

const FREE: &str = "endpoint-independent";
const ADDRESS: &str = "address-dependent";
const PORT: &str = "address-and-port-dependent";
const UNKNOWN: &str = "inconclusive";

#[track_caller]
fn expect(nat: &Value, translated: impl Into<Value>, mapping: &str, filtering: &[&str]) {
    assert_eq!((&nat["udp"], &nat["translated"]), (&"open".into(), &translated.into()), "{nat:#}");
    assert_eq!(nat["mapping"], mapping, "{nat:#}");
    assert!(filtering.contains(&nat["filtering"].as_str().unwrap()), "{nat:#}");
}

/// Masquerading keeps ports, and lets in whom we sent to.
const KEEPS_PORTS: &str = "table ip nat {
    chain out {
        type nat hook postrouting priority srcnat
        oifname outside masquerade
    }
}";
/// The same, and everybody is let in.
const OPEN_TO_ALL: &str = "table ip nat {
    chain in {
        type nat hook prerouting priority dstnat
        iifname outside ip protocol udp dnat to 10.9.0.2
    }
    chain out {
        type nat hook postrouting priority srcnat
        oifname outside masquerade
    }
}";
/// The same, and every port of an address that we sent to is let in.
const OPEN_TO_ADDRESSES: &str = "table ip f {
    set asked {
        type ipv4_addr . inet_service
        flags dynamic
        timeout 1m
    }
    chain pass {
        type filter hook forward priority 0; policy drop
        iifname inside ip protocol udp add @asked { ip daddr . udp sport }
        iifname inside accept
        ct state established accept
        iifname outside ip saddr . udp dport @asked accept
    }
}";
/// Every peer gets a port of its own.
const RANDOM: &str = "table ip nat {
    chain out {
        type nat hook postrouting priority srcnat
        oifname outside masquerade random,fully-random
    }
}";
/// Every address of a peer gets ports of its own.
const BY_ADDRESS: &str = "table ip nat {
    chain out {
        type nat hook postrouting priority srcnat
        oifname outside ip daddr 198.51.100.2 ip protocol udp snat to 198.51.100.1:10000-19999
        oifname outside ip daddr 198.51.100.3 ip protocol udp snat to 198.51.100.1:30000-39999
    }
}";
/// No NAT, and nothing comes in but from where we sent to.
const FIREWALL: &str = "table ip f {
    chain pass {
        type filter hook forward priority 0; policy drop
        iifname inside accept
        ct state established accept
    }
}";
const NO_UDP: &str = "table ip f {
    chain pass {
        type filter hook forward priority 0
        ip protocol udp drop
    }
}";

#[test]
fn nats_are_named_for_what_they_do() {
    let Some(mut lab) = Lab::build() else { return };
    lab.serve(&[SERVER, SECOND]);

    // The server has a second address, and answers from there when it is asked to.
    lab.rules("");
    let open = lab.nat(&[SERVER]);
    expect(&open, false, FREE, &[FREE]);
    lab.rules(FIREWALL);
    expect(&lab.nat(&[SERVER]), false, FREE, &[PORT]);
    lab.rules(KEEPS_PORTS);
    let keeps = lab.nat(&[SERVER]);
    expect(&keeps, true, FREE, &[PORT]);
    assert_eq!(keeps["mappedAddress"].as_str().unwrap().split(':').next(), Some("198.51.100.1"));
    lab.rules(OPEN_TO_ALL);
    expect(&lab.nat(&[SERVER]), true, FREE, &[FREE]);
    lab.rules(&format!("{OPEN_TO_ALL}\n{OPEN_TO_ADDRESSES}"));
    expect(&lab.nat(&[SERVER]), true, FREE, &[ADDRESS]);
    lab.rules(RANDOM);
    let random = lab.nat(&[SERVER]);
    expect(&random, true, PORT, &[PORT, UNKNOWN]);
    lab.rules(BY_ADDRESS);
    expect(&lab.nat(&[SERVER]), true, ADDRESS, &[PORT, UNKNOWN]);

    // No UDP at all, and no server at all.
    lab.rules(NO_UDP);
    let blocked = lab.nat(&[SERVER]);
    assert_eq!(
        (&blocked["udp"], &blocked["mapping"], &blocked["filtering"]),
        (&"blocked".into(), &UNKNOWN.into(), &UNKNOWN.into())
    );
    lab.rules("");
    let nobody = lab.nat(&["198.51.100.77"]);
    assert_eq!(
        (&nobody["udp"], &nobody["mapping"], &nobody["translated"]),
        (&UNKNOWN.into(), &UNKNOWN.into(), &Value::Null)
    );

    // What two of them make of each other.
    let files = [("open", &open), ("keeps", &keeps), ("random", &random), ("blocked", &blocked)];
    let files = files.map(|(name, nat)| (name, lab.keep(name, nat)));
    let file = |wanted: &str| files.iter().find(|(name, _)| *name == wanted).unwrap().1.as_str();
    for (one, other, path) in [
        ("open", "random", "direct"),
        ("open", "keeps", "direct"),
        ("blocked", "keeps", "relay-over-tcp"),
        // They have the same public address here.
        ("keeps", "random", UNKNOWN),
    ] {
        let (code, report) = lab.run("c", &["--predict", file(one), file(other)]);
        assert_eq!((code, &report["prediction"]["path"]), (Some(0), &path.into()), "{one} {other}: {report:#}");
    }
}

#[test]
fn servers_with_one_address_each_stand_in_for_one_with_two() {
    let Some(mut lab) = Lab::build() else { return };
    // Two servers that know nothing of each other.
    lab.serve(&[SERVER]);
    let config = lab.scratch.path("turnserver.conf");
    let first = std::fs::read_to_string(&config).unwrap();
    lab.serve(&[SECOND]);
    assert!(first.contains(SERVER));
    lab.rules("");
    expect(&lab.nat(&[SERVER, SECOND]), false, FREE, &[UNKNOWN]);
    expect(&lab.nat(&[SERVER]), false, UNKNOWN, &[UNKNOWN]);
    lab.rules(KEEPS_PORTS);
    expect(&lab.nat(&[SERVER, SECOND]), true, FREE, &[UNKNOWN]);
    lab.rules(RANDOM);
    let random = lab.nat(&[SERVER, SECOND]);
    expect(&random, true, UNKNOWN, &[UNKNOWN]);
    assert!(random["reasons"][0].as_str().unwrap().contains("depends on the address"), "{random:#}");
    // From another address of ours.
    lab.within("c", "ip addr add 10.9.0.9/24 dev eth").unwrap();
    for flag in ["--interface=10.9.0.9", "--interface=eth"] {
        let (_, report) = lab.run("c", &[&format!("stun:{SERVER}"), flag]);
        let expected = if flag.ends_with(".9") { "10.9.0.9:" } else { "10.9.0.2:" };
        let server = &report["servers"][0];
        assert!(server["localAddress"].as_str().unwrap().starts_with(expected), "{server:#}");
    }
}

#[test]
fn candidates_are_gathered_behind_a_nat() {
    let Some(mut lab) = Lab::build() else { return };
    lab.serve(&[SERVER]);
    lab.rules(KEEPS_PORTS);
    let begin = Instant::now();
    let (code, report) = lab.run("c", &["--gather", &format!("stun:{SERVER}"), "stun:198.51.100.77"]);
    assert!(begin.elapsed() < Duration::from_secs(10));
    let candidates = report["candidates"].as_array().unwrap();
    let kinds: Vec<&str> = candidates.iter().map(|candidate| candidate["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["host", "srflx"], "{report:#}");
    let reflexive = &candidates[1];
    assert_eq!((&reflexive["address"], &reflexive["relatedAddress"]), (&"198.51.100.1".into(), &"10.9.0.2".into()));
    assert_eq!(reflexive["relatedPort"], candidates[0]["port"]);
    // The other server gave none, and that is worth an exit code.
    assert_eq!((code, &report["candidateErrors"][0]["errorCode"]), (Some(7), &701.into()), "{report:#}");
}
