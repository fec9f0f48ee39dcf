//! What is counted, and how it is shown: OpenMetrics 1.0.

use super::protocol::CloseCode;
use serde::Serialize;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The counts of a server.
#[derive(Debug, Default)]
pub(super) struct Counters {
    connections: AtomicU64,
    pub clients: AtomicUsize,
    joins: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    origins: AtomicU64,
    closes: [AtomicU64; CloseCode::ALL.len()],
}

/// What a server has done, when it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Members that came; those that came back do not count.
    pub joins: u64,
    /// Messages passed on, each as often as it was.
    pub messages: u64,
    /// Bytes of `data` in them.
    pub bytes: u64,
    /// Connections that were refused or closed because of what the client did.
    pub refused: u64,
}

impl Counters {
    pub fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Relaxed)
    }

    pub fn joined(&self) {
        self.joins.fetch_add(1, Relaxed);
    }

    pub fn relayed(&self, times: u64, bytes: usize) {
        self.messages.fetch_add(times, Relaxed);
        self.bytes.fetch_add(times * bytes as u64, Relaxed);
    }

    pub fn wrong_origin(&self) {
        self.origins.fetch_add(1, Relaxed);
    }

    pub fn closed(&self, code: CloseCode) {
        let at = CloseCode::ALL.iter().position(|other| *other == code).unwrap_or_default();
        self.closes[at].fetch_add(1, Relaxed);
    }

    pub fn totals(&self) -> Totals {
        let innocent = [CloseCode::Normal, CloseCode::GoingAway, CloseCode::Replaced, CloseCode::Unavailable];
        let closes = CloseCode::ALL.iter().zip(&self.closes).filter(|(code, _)| !innocent.contains(code));
        let closed: u64 = closes.map(|(_, count)| count.load(Relaxed)).sum();
        Totals {
            joins: self.joins.load(Relaxed),
            messages: self.messages.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            refused: closed + self.origins.load(Relaxed),
        }
    }

    /// The text of `/metrics`.
    pub fn openmetrics(&self, rooms: usize, members: usize, redis: Option<bool>) -> String {
        let mut text = String::new();
        let totals = self.totals();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
            // Writing to a String cannot fail.
            let _ = write!(text, "# TYPE rtckit_signal_{name} {kind}\n# HELP rtckit_signal_{name} {help}\n");
            let suffix = if kind == "counter" { "_total" } else { "" };
            for (labels, value) in samples {
                let _ = writeln!(text, "rtckit_signal_{name}{suffix}{labels} {value}");
            }
        };
        let alone = |value: u64| [(String::new(), value)];
        family("clients", "gauge", "WebSocket connections", &alone(self.clients.load(Relaxed) as u64));
        family("rooms", "gauge", "Rooms with somebody in them", &alone(rooms as u64));
        family("members", "gauge", "Members of all rooms", &alone(members as u64));
        if let Some(up) = redis {
            family("redis_up", "gauge", "Whether Redis answers", &alone(up.into()));
        }
        family("joins", "counter", "Members that came", &alone(totals.joins));
        family("messages", "counter", "Messages passed on", &alone(totals.messages));
        family("message_bytes", "counter", "Bytes of data in them", &alone(totals.bytes));
        family("origins_refused", "counter", "Pages of other origins", &alone(self.origins.load(Relaxed)));
        let closes: Vec<_> = CloseCode::ALL
            .iter()
            .zip(&self.closes)
            .map(|(code, count)| (format!("{{code=\"{}\"}}", code.number()), count.load(Relaxed)))
            .collect();
        family("closes", "counter", "Connections that the server closed, by close code", &closes);
        text.push_str("# EOF\n");
        text
    }
}
