//! What a probe found.

use crate::probe::{ServerReport, Verdict};
use crate::stop::StopReason;
use serde::Serialize;
use std::time::Duration;

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The servers, each at each of its addresses, in the order in which they were given.
    pub servers: Vec<ServerReport>,
    /// All of them together.
    pub summary: Summary,
}

/// All servers together.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The worst verdict.
    pub verdict: Verdict,
    /// How many were examined.
    pub servers: usize,
    /// How many of them are ok.
    pub ok: usize,
    /// How long it took.
    pub seconds: f64,
}

impl Report {
    pub(super) fn new(servers: Vec<ServerReport>, took: Duration) -> Self {
        let verdicts = || servers.iter().filter_map(|server| server.verdict);
        let summary = Summary {
            verdict: verdicts().max().unwrap_or(Verdict::Ok),
            servers: servers.len(),
            ok: verdicts().filter(|verdict| *verdict == Verdict::Ok).count(),
            seconds: took.as_secs_f64(),
        };
        Self { servers, summary }
    }
}

/// How a probe ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it found, as far as it came.
    pub report: Report,
    /// Why it ended early.
    pub stopped: Option<StopReason>,
}
