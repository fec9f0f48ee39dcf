//! The statistics of a whole call in the form that `chrome://webrtc-internals` exports, so that what reads its dumps reads ours.
//!
//! Each member of each object is a series of its own, and its values are JSON in a string. Descriptions are not in it: they
//! hold passwords.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Values of a series that are kept, the last ones: an hour of them.
const MOST_VALUES: usize = 3600;
/// Changes of state that are kept.
const MOST_CHANGES: usize = 10_000;

/// The course of a call.
#[derive(Debug, Default)]
pub(super) struct Dump {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    series: BTreeMap<String, Series>,
    changes: Vec<Value>,
}

#[derive(Debug)]
struct Series {
    kind: String,
    begin: f64,
    end: f64,
    values: VecDeque<Value>,
}

impl Dump {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a report, as webrtc-stats has it.
    pub(super) fn take(&self, report: &[Value]) {
        let mut inner = self.lock();
        for object in report.iter().filter_map(Value::as_object) {
            let word = |member: &str| object.get(member).and_then(Value::as_str).unwrap_or_default();
            let (id, kind) = (word("id"), word("type"));
            let at = object.get("timestamp").and_then(Value::as_f64).unwrap_or_default();
            for (member, value) in object.iter().filter(|(member, _)| !["id", "type"].contains(&member.as_str())) {
                let new = || Series { kind: kind.to_owned(), begin: at, end: at, values: VecDeque::new() };
                let series = inner.series.entry(format!("{id}-{member}")).or_insert_with(new);
                series.end = at;
                series.values.push_back(value.clone());
                if series.values.len() > MOST_VALUES {
                    series.values.pop_front();
                    series.begin += (at - series.begin) / MOST_VALUES as f64;
                }
            }
        }
    }

    /// Notes a change of state.
    pub(super) fn note(&self, what: &str, value: &str) {
        let mut inner = self.lock();
        if inner.changes.len() < MOST_CHANGES {
            inner.changes.push(json!({ "time": iso(now()), "type": what, "value": value }));
        }
    }

    /// The dump.
    pub(super) fn document(&self, role: &str) -> Value {
        let inner = self.lock();
        let series = inner.series.iter().map(|(name, series)| {
            let values = Value::from(series.values.iter().cloned().collect::<Vec<_>>()).to_string();
            let series = json!({
                "startTime": iso(series.begin),
                "endTime": iso(series.end),
                "statsType": series.kind,
                "values": values,
            });
            (name.clone(), series)
        });
        let program = format!("rtckit {}", env!("CARGO_PKG_VERSION"));
        let connection = json!({
            "pid": std::process::id(),
            "lid": 1,
            "url": format!("rtckit {role}"),
            "rtcConfiguration": "",
            "constraints": "",
            "stats": series.collect::<Map<_, _>>(),
            "updateLog": inner.changes,
        });
        let name = format!("{}-1", std::process::id());
        json!({ "PeerConnections": { name: connection }, "UserAgent": program, "getUserMedia": [] })
    }
}

/// Milliseconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

/// ISO 8601 in UTC of milliseconds since 1970.
fn iso(milliseconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    let total = milliseconds.max(0.0) as u64;
    let (seconds, millis) = (total / 1000, total % 1000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March end with the day that leap years add; 719,468 days before 1970 began the year 0 of these.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0_u32, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso(f64::from(seconds) * 1000.0), expected);
        }
    }

    #[test]
    fn each_member_is_a_series_and_an_hour_of_it_is_kept() {
        let dump = Dump::default();
        dump.note("connectionstatechange", "connected");
        for n in 0..4000 {
            let at = 1000.0 * f64::from(n);
            dump.take(&[
                json!({ "id": "I1", "type": "inbound-rtp", "timestamp": at, "framesReceived": n, "kind": "video" }),
            ]);
        }
        let document = dump.document("call");
        let (_, connection) = document["PeerConnections"].as_object().unwrap().iter().next().unwrap();
        assert_eq!(connection["updateLog"][0]["value"], "connected");
        let series = &connection["stats"]["I1-framesReceived"];
        assert_eq!(
            (&series["statsType"], &series["endTime"]),
            (&"inbound-rtp".into(), &"1970-01-01T01:06:39.000Z".into())
        );
        let values: Vec<u32> = serde_json::from_str(series["values"].as_str().unwrap()).unwrap();
        assert_eq!((values.len(), values[0], values[3599]), (3600, 400, 3999));
        let begin = series["startTime"].as_str().unwrap();
        assert!(begin.starts_with("1970-01-01T00:06:"), "{begin}");
        assert_eq!(
            serde_json::from_str::<Value>(connection["stats"]["I1-kind"]["values"].as_str().unwrap()).unwrap()[0],
            "video"
        );
    }
}
