//! The statistics of a call whose peer came back: as if its connections had been one.

use serde_json::{Number, Value};

/// Of what is in a connection these go on in the next; addresses and certificates are those of the last.
const GOING_ON: [&str; 6] =
    ["transport", "inbound-rtp", "outbound-rtp", "remote-inbound-rtp", "remote-outbound-rtp", "data-channel"];

/// How members begin that count something.
const COUNTED: [&str; 7] =
    ["packets", "bytes", "frames", "messages", "total", "roundTripTimeMeasurements", "keyFrames"];

/// Joins the statistics with which each connection ended, in their order. What was counted is added up; the rest is as it was
/// last. What the last connection had no part of stays.
pub(super) fn joined(connections: Vec<Vec<Value>>) -> Vec<Value> {
    connections.into_iter().reduce(|before, after| join(&before, after)).unwrap_or_default()
}

fn join(before: &[Value], mut after: Vec<Value>) -> Vec<Value> {
    let mut left: Vec<&Value> =
        before.iter().filter(|object| GOING_ON.iter().any(|it| object["type"] == *it)).collect();
    for object in &mut after {
        if let Some(index) = left.iter().position(|other| is_same(other, object)) {
            add(left.remove(index), object);
        }
    }
    after.extend(left.into_iter().cloned());
    after
}

/// Whether two objects tell of the same, by whichever connection it goes: SSRCs and identifiers are other ones.
fn is_same(one: &Value, other: &Value) -> bool {
    ["type", "kind", "label"].iter().all(|member| one[member] == other[member])
}

fn add(before: &Value, to: &mut Value) {
    let (Some(before), Some(to)) = (before.as_object(), to.as_object_mut()) else { return };
    for (name, value) in before {
        let is_count = COUNTED.iter().any(|begin| name.starts_with(begin)) || name.ends_with("Count");
        match to.get_mut(name) {
            Some(sum) if is_count => {
                if let Some(number) = plus(sum, value) {
                    *sum = Value::Number(number);
                }
            }
            Some(_) => {}
            None => drop(to.insert(name.clone(), value.clone())),
        }
    }
}

fn plus(one: &Value, other: &Value) -> Option<Number> {
    match (one.as_i64(), other.as_i64()) {
        (Some(one), Some(other)) => Some(one.saturating_add(other).into()),
        _ => Number::from_f64(one.as_f64()? + other.as_f64()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_counted_adds_up_and_what_is_measured_is_as_it_was_last() {
        let video = |ssrc: u32, frames: u64, jitter: f64| {
            json!({"type": "inbound-rtp", "kind": "video", "ssrc": ssrc, "framesReceived": frames, "packetsLost": frames,
                "nackCount": 2, "jitter": jitter, "id": format!("in-{ssrc}")})
        };
        let first = vec![
            video(1, 300, 0.5),
            json!({"type": "inbound-rtp", "kind": "audio", "ssrc": 2, "framesReceived": 7}),
            json!({"type": "remote-inbound-rtp", "kind": "video", "totalRoundTripTime": 0.5, "roundTripTime": 0.1}),
            json!({"type": "local-candidate", "port": 9}),
        ];
        let second = vec![
            video(3, 200, 0.1),
            json!({"type": "remote-inbound-rtp", "kind": "video", "totalRoundTripTime": 0.25, "roundTripTime": 0.2}),
            json!({"type": "local-candidate", "port": 10}),
        ];
        let mut whole = video(3, 500, 0.1);
        whole["nackCount"] = 4.into();
        let expected = vec![
            whole,
            json!({"type": "remote-inbound-rtp", "kind": "video", "totalRoundTripTime": 0.75, "roundTripTime": 0.2}),
            json!({"type": "local-candidate", "port": 10}),
            first[1].clone(),
        ];
        assert_eq!(joined(vec![first.clone(), second]), expected);
        assert_eq!(joined(vec![first.clone()]), first);
        assert!(joined(Vec::new()).is_empty());
    }

    #[test]
    fn two_of_a_kind_are_kept_apart_by_their_order() {
        let two = |first: u64, second: u64| {
            [first, second]
                .map(|count| json!({"type": "inbound-rtp", "kind": "video", "packetsReceived": count}))
                .to_vec()
        };
        assert_eq!(joined(vec![two(1, 20), two(300, 4000), two(0, 0)]), two(301, 4020));
    }
}
