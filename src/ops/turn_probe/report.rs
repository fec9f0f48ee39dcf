//! What a probe found.

use crate::probe::{Candidate, CandidateError, Nat, Prediction, ServerReport, Verdict};
use crate::stop::StopReason;
use serde::Serialize;

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The servers, each at each of its addresses, in the order in which they were given.
    pub servers: Vec<ServerReport>,
    /// The NAT in front of us; absent unless it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nat: Option<Nat>,
    /// What was gathered; absent unless it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<Vec<Candidate>>,
    /// Servers that gave no candidate; absent unless candidates were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate_errors: Option<Vec<CandidateError>>,
    /// What is to be expected between two sides; absent unless it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
    /// All servers together.
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
    pub(super) fn of(servers: Vec<ServerReport>) -> Self {
        let verdicts = || servers.iter().filter_map(|server| server.verdict);
        let summary = Summary {
            verdict: verdicts().max().unwrap_or(Verdict::Ok),
            servers: servers.len(),
            ok: verdicts().filter(|verdict| *verdict == Verdict::Ok).count(),
            seconds: 0.0,
        };
        Self { servers, nat: None, candidates: None, candidate_errors: None, prediction: None, summary }
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
