//! The report for people.

use rtckit::ops::turn_probe::{Nat, Path, Report, ServerReport, Udp, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

/// Writing to a String cannot fail.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for server in &report.servers {
        one(server, &mut text);
    }
    if let Some(nat) = &report.nat {
        behaviour(nat, &mut text);
    }
    if let Some(candidates) = &report.candidates {
        for candidate in candidates {
            let _ = write!(text, "a={}", candidate.candidate);
            if let Some(protocol) = candidate.relay_protocol {
                let _ = write!(text, "  (relay over {protocol})");
            }
            text.push('\n');
        }
    }
    for error in report.candidate_errors.iter().flatten() {
        let _ = write!(text, "{}", error.url);
        if let Some(address) = error.address {
            let _ = write!(text, " ({address})");
        }
        let _ = writeln!(text, ": {} {}", error.error_code, error.error_text);
    }
    if let Some(prediction) = &report.prediction {
        let path = match prediction.path {
            Path::Direct => "direct",
            Path::Relay => "relay",
            Path::RelayOverTcp => "relay-over-tcp",
            Path::Inconclusive => "inconclusive",
        };
        let _ = writeln!(text, "{path}: {}", prediction.reason);
    }
    if let [_, _, ..] = report.servers.as_slice() {
        let summary = &report.summary;
        let _ = write!(text, "{} of {} ok", summary.ok, summary.servers);
        if summary.verdict != Verdict::Ok {
            let _ = write!(text, ", worst: {}", summary.verdict);
        }
        text.push('\n');
    }
    text
}

fn behaviour(nat: &Nat, text: &mut String) {
    let udp = match nat.udp {
        Udp::Open => "open",
        Udp::Blocked => "blocked",
        Udp::Inconclusive => "inconclusive",
    };
    let _ = writeln!(text, "UDP: {udp}");
    let translated = match nat.translated {
        Some(true) => "yes",
        Some(false) => "none",
        None => "inconclusive",
    };
    let _ = writeln!(text, "NAT: {translated}");
    for (what, behaviour) in [("mapping", nat.mapping), ("filtering", nat.filtering)] {
        let _ = writeln!(text, "{what}: {}", behaviour.as_str());
    }
    for seen in &nat.observations {
        let _ = writeln!(text, "  {} sees {}", seen.server, seen.mapped_address);
    }
    for reason in &nat.reasons {
        let _ = writeln!(text, "  {reason}");
    }
}

/// What works, in a table: a row for each port of each address, a column for each transport.
pub fn matrix(report: &Report) -> String {
    let mut rows: BTreeMap<SocketAddr, BTreeMap<&str, String>> = BTreeMap::new();
    for server in &report.servers {
        let Some(address) = server.address else { continue };
        let trip = server.echo.as_ref().and_then(|echo| echo.round_trip_time).map(|trips| trips.avg);
        let last = server.stages.last().map(|stage| stage.seconds);
        let cell = match (server.verdict, trip.or(last)) {
            (Some(Verdict::Ok), Some(seconds)) => format!("ok {:.1} ms", seconds * 1e3),
            (verdict, _) => verdict.map_or("unfinished", Verdict::as_str).to_owned(),
        };
        rows.entry(address).or_default().insert(server.transport, cell);
    }
    let width = rows.keys().map(|address| address.to_string().len()).max().unwrap_or_default();
    let transports = ["udp", "tcp", "tls", "dtls"];
    let mut text = format!("{:width$}", "");
    for transport in transports {
        let _ = write!(text, "  {transport:<15}");
    }
    for (address, cells) in &rows {
        let _ = write!(text, "\n{:width$}", address.to_string());
        for transport in transports {
            let _ = write!(text, "  {:<15}", cells.get(transport).map_or("", String::as_str));
        }
    }
    text.push('\n');
    let mut text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    for server in report.servers.iter().filter(|server| server.address.is_none()) {
        one(server, &mut text);
    }
    text
}

fn one(server: &ServerReport, text: &mut String) {
    text.push_str(&server.url);
    if let Some(address) =
        server.address.map(|address| address.to_string()).filter(|address| !server.url.contains(address))
    {
        let _ = write!(text, " ({address})");
    }
    let verdict = server.verdict.map_or("unfinished", Verdict::as_str);
    let _ = write!(text, ": {verdict}");
    if let Some(message) = &server.message {
        let _ = write!(text, ", {message}");
    }
    text.push('\n');
    for stage in &server.stages {
        let mark = if stage.ok { "  " } else { "✗ " };
        let _ = write!(text, "  {mark}{:>8.1} ms  {}", stage.seconds * 1e3, stage.stage.as_str());
        if let Some(message) = &stage.message {
            let _ = write!(text, ": {message}");
        }
        text.push('\n');
    }
    for note in &server.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    if let Some(hint) = &server.hint {
        let _ = writeln!(text, "  hint: {hint}");
    }
}
