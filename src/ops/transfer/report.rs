//! What a transfer leaves behind: the JSON of `rtckit.send-file/1` and `rtckit.receive-file/1`, the same on both ends.

use crate::error::Error;
use crate::peer::{ConnectionReport, Waterfall};
use crate::stop::StopReason;
use crate::transfer::TransferReport;
use serde::Serialize;

/// What a transfer leaves behind.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `sender` or `receiver`.
    pub role: &'static str,
    /// Whether everything that was wanted is in its place at the receiver.
    pub complete: bool,
    /// The files.
    #[serde(flatten)]
    pub transfer: TransferReport,
    /// `direct` or `relay`; absent when there never was a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'static str>,
    /// Peer connections that content was spread over at most, side by side.
    pub connections: usize,
    /// The transport; absent when it never came up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionReport>,
    /// The set-up, step by step.
    pub timing: Waterfall,
}

impl Report {
    pub(super) fn new(role: &'static str) -> Self {
        Self {
            role,
            complete: false,
            transfer: TransferReport::default(),
            path: None,
            connections: 1,
            connection: None,
            timing: Waterfall::default(),
        }
    }

    pub(super) fn connected_by(&mut self, mut connection: ConnectionReport) {
        let known = self.connection.take().and_then(|known| known.selected_pair);
        connection.selected_pair = connection.selected_pair.or(known);
        let relayed = connection.is_relayed();
        self.path = connection.selected_pair.as_ref().map(|_| if relayed { "relay" } else { "direct" });
        self.connection = Some(connection);
    }
}

/// A transfer that is over: what it left behind, and what went wrong, if anything did.
#[derive(Debug)]
pub struct Outcome {
    /// What it left behind.
    pub report: Report,
    /// Who ended it before its work was done.
    pub stopped: Option<StopReason>,
    /// What went wrong.
    pub error: Option<Error>,
}
