//! The report for people.

use rtckit::ops::turn_probe::{Report, ServerReport, Verdict};
use std::fmt::Write;

/// Writing to a String cannot fail.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for server in &report.servers {
        one(server, &mut text);
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
