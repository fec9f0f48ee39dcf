//! The report for what watches servers: OpenMetrics, Nagios and its kin, and JUnit for test runs.

use rtckit::ops::junit::{self, Case, CaseResult, Complaint, Suite};
use rtckit::ops::turn_probe::{Report, ServerReport, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The states of a Nagios plug-in, which are its exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Ok = 0,
    Warning = 1,
    Critical = 2,
}

impl State {
    /// What works and misses a threshold is a warning.
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Ok => Self::Ok,
            Verdict::Threshold | Verdict::Lossy => Self::Warning,
            _ => Self::Critical,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}

fn verdict_of(server: &ServerReport) -> &'static str {
    server.verdict.map_or("unfinished", Verdict::as_str)
}

/// What a server is called where URL and address must be in one word.
fn name_of(server: &ServerReport) -> String {
    match server.address.map(|address| address.to_string()) {
        Some(address) if !server.url.contains(&address) => format!("{} ({address})", server.url),
        _ => server.url.clone(),
    }
}

/// One line: state, summary, and after a bar the figures (Monitoring Plugins Development Guidelines).
pub fn nagios(report: &Report) -> String {
    let state = State::of(report.summary.verdict);
    let mut text = format!("TURN {}", state.name());
    let said: Vec<String> = report
        .servers
        .iter()
        .filter(|server| report.servers.len() == 1 || server.verdict != Some(Verdict::Ok))
        .map(|server| {
            let message = server.message.as_ref().map(|message| format!(", {message}")).unwrap_or_default();
            // A bar would begin the figures.
            format!("{}: {}{message}", name_of(server), verdict_of(server)).replace(['|', '\n'], " ")
        })
        .collect();
    let said = if said.is_empty() { format!("{} servers", report.summary.servers) } else { said.join("; ") };
    let _ = write!(text, " - {said} |");
    for (at, server) in report.servers.iter().enumerate() {
        let prefix = if report.servers.len() == 1 { String::new() } else { format!("{}_", at + 1) };
        if let Some(echo) = &server.echo {
            if let Some(trips) = echo.round_trip_time {
                let _ = write!(text, " {prefix}rtt={:.6}s", trips.avg);
            }
            let _ = write!(text, " {prefix}loss={:.2}%", echo.loss * 100.0);
        }
        if let Some(throughput) = server.throughput {
            let _ = write!(text, " {prefix}throughput={:.0}b", throughput.bits_per_second);
        }
        if let Some(certificate) = &server.certificate {
            let _ = write!(text, " {prefix}cert_days={:.1}", certificate.days_left);
        }
    }
    let _ = writeln!(text, " time={:.3}s", report.summary.seconds);
    text
}

/// The text format of OpenMetrics 1.0.
pub fn openmetrics(report: &Report) -> String {
    let mut text = String::new();
    let mut family = |name: &str, unit: &str, help: &str, samples: Vec<(String, f64)>| {
        if samples.is_empty() {
            return;
        }
        let _ = writeln!(text, "# TYPE rtckit_turn_probe_{name} gauge");
        if !unit.is_empty() {
            let _ = writeln!(text, "# UNIT rtckit_turn_probe_{name} {unit}");
        }
        let _ = writeln!(text, "# HELP rtckit_turn_probe_{name} {help}");
        for (labels, value) in samples {
            let _ = writeln!(text, "rtckit_turn_probe_{name}{{{labels}}} {value}");
        }
    };
    let each = |value: &dyn Fn(&ServerReport) -> Vec<(String, f64)>| -> Vec<(String, f64)> {
        let labelled = report.servers.iter().flat_map(|server| {
            let address = server.address.map(|address| address.to_string()).unwrap_or_default();
            let labels = format!("url=\"{}\",address=\"{address}\"", escaped(&server.url));
            value(server).into_iter().map(move |(more, value)| (format!("{labels}{more}"), value))
        });
        labelled.collect()
    };
    let alone = |value: Option<f64>| value.map(|value| (String::new(), value)).into_iter().collect();
    let flag = |yes: bool| if yes { 1.0 } else { 0.0 };

    family(
        "ok",
        "",
        "Whether the server does all that it should",
        each(&|server| alone(Some(flag(server.verdict == Some(Verdict::Ok))))),
    );
    family(
        "verdict",
        "",
        "1 for the verdict on the server, 0 for all others",
        each(&|server| {
            let of = |verdict: Verdict| (format!(",verdict=\"{verdict}\""), flag(server.verdict == Some(verdict)));
            Verdict::ALL.into_iter().map(of).collect()
        }),
    );
    family(
        "stage_seconds",
        "seconds",
        "How long a step took",
        each(&|server| {
            // A server that sent us on has some steps twice; the later ones are those of the server that answered.
            let last: BTreeMap<_, _> =
                server.stages.iter().map(|stage| (stage.stage.as_str(), stage.seconds)).collect();
            last.into_iter().map(|(stage, seconds)| (format!(",stage=\"{stage}\""), seconds)).collect()
        }),
    );
    family(
        "round_trip_seconds",
        "seconds",
        "Round trips through the relay",
        each(&|server| {
            let trips = server.echo.as_ref().and_then(|echo| echo.round_trip_time);
            let named = |trips: rtckit::ops::turn_probe::RoundTrips| {
                [("min", trips.min), ("avg", trips.avg), ("p95", trips.p95), ("max", trips.max)]
            };
            let all = trips.map(named).into_iter().flatten();
            all.map(|(name, value)| (format!(",statistic=\"{name}\""), value)).collect()
        }),
    );
    family(
        "jitter_seconds",
        "seconds",
        "How much round trips differ from one to the next",
        each(&|server| alone(server.echo.as_ref().map(|echo| echo.jitter))),
    );
    family(
        "loss_ratio",
        "ratio",
        "The part of the packets that did not come back",
        each(&|server| alone(server.echo.as_ref().map(|echo| echo.loss))),
    );
    family(
        "throughput_bits_per_second",
        "",
        "What goes through the relay",
        each(&|server| alone(server.throughput.map(|throughput| throughput.bits_per_second))),
    );
    family(
        "certificate_not_after_timestamp_seconds",
        "seconds",
        "When the certificate ends to hold",
        each(&|server| alone(server.certificate.as_ref().map(|certificate| certificate.not_after as f64))),
    );
    text.push_str("# EOF\n");
    text
}

/// A label value, as OpenMetrics has it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// JUnit XML: a suite for each server, a case for each step, and one for the verdict.
pub fn junit(report: &Report) -> String {
    let suites: Vec<Suite> = report.servers.iter().map(suite).collect();
    junit::document("rtckit turn-probe", report.summary.seconds, &suites)
}

fn suite(server: &ServerReport) -> Suite {
    let steps = server.stages.iter().map(|stage| Case {
        name: stage.stage.as_str().to_owned(),
        seconds: stage.seconds,
        // The verdict decides: a server need not answer bindings to be a good relay.
        result: stage.message.clone().map_or(CaseResult::Passed, CaseResult::Said),
    });
    let result = match server.verdict {
        Some(Verdict::Ok) => CaseResult::Passed,
        _ => CaseResult::Failure(Complaint {
            kind: verdict_of(server).to_string(),
            message: server.message.clone().unwrap_or_default(),
            text: server.hint.clone().unwrap_or_default(),
        }),
    };
    let verdict = Case { name: "verdict".to_owned(), seconds: 0.0, result };
    Suite { name: name_of(server), cases: steps.chain([verdict]).collect() }
}
