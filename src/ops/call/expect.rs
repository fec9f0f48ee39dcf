//! What a call is expected to have been like: conditions on its statistics when it ends.

use crate::error::{Error, ErrorKind};
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// A condition on a member of every object of one type: `inbound-rtp[kind=video].framesReceived>=500`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    text: String,
    kind: String,
    filters: Vec<(String, String)>,
    member: String,
    comparison: Comparison,
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    AtLeast,
    AtMost,
    Equal,
    Different,
    More,
    Less,
}

impl Comparison {
    /// Those of two letters first, since the others are their beginnings.
    const ALL: [(&'static str, Self); 7] = [
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        ("==", Self::Equal),
        ("!=", Self::Different),
        (">", Self::More),
        ("<", Self::Less),
        ("=", Self::Equal),
    ];
}

#[derive(Clone, Debug, PartialEq)]
enum Bound {
    Number(f64),
    Word(String),
}

/// What came of an expectation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// As it was given.
    pub expectation: String,
    /// Whether every object of its kind kept it, and there was one.
    pub holds: bool,
    /// The values that were found.
    pub found: Vec<Value>,
}

impl Judged {
    pub(super) fn found_in_words(&self) -> String {
        let found: Vec<String> = self.found.iter().map(word_of).collect();
        match found.len() {
            0 => "there is no such object in the statistics".to_owned(),
            _ => format!("it was {}", found.join(", ").replace("null", "absent")),
        }
    }
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = |why: &str| format!("'{text}': {why}; e.g. 'inbound-rtp[kind=video].framesReceived>=500'");
        let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        // A filter may have dots of its own.
        let mut inside = false;
        let dot = text.find(|c| {
            inside = (inside || c == '[') && c != ']';
            c == '.' && !inside
        });
        let (mut object, rest) =
            dot.map(|at| (&text[..at], &text[at + 1..])).ok_or_else(|| fail("no member is named"))?;
        let mut filters = Vec::new();
        while let Some((before, filter)) = object.strip_suffix(']').and_then(|object| object.rsplit_once('[')) {
            let (name, value) = filter.split_once('=').ok_or_else(|| fail("a filter is [member=value]"))?;
            filters.push((name.trim().to_owned(), value.trim().to_owned()));
            object = before;
        }
        let at = rest.find(['<', '>', '=', '!']).ok_or_else(|| fail("nothing is compared"))?;
        let (member, condition) = (rest[..at].trim(), &rest[at..]);
        let known = Comparison::ALL.into_iter().find(|(sign, _)| condition.starts_with(sign));
        let (sign, comparison) = known.ok_or_else(|| fail("compare by >= <= > < == or !="))?;
        let bound = condition[sign.len()..].trim();
        if !is_word(object.trim()) || !is_word(member) || bound.is_empty() {
            return Err(fail("it is no TYPE[MEMBER=VALUE].MEMBER>=BOUND"));
        }
        let bound = match bound.parse::<f64>() {
            Ok(number) if number.is_finite() => Bound::Number(number),
            _ if matches!(comparison, Comparison::Equal | Comparison::Different) => Bound::Word(bound.to_owned()),
            _ => return Err(fail("the bound is no number")),
        };
        let (kind, member) = (object.trim().to_owned(), member.to_owned());
        Ok(Self { text: text.to_owned(), kind, filters, member, comparison, bound })
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expectation {
    /// Whether it is about what is received.
    pub(super) fn is_of_receiver(&self) -> bool {
        self.kind == "inbound-rtp"
    }

    fn judge(&self, stats: &[Value]) -> Judged {
        let selected = stats.iter().filter(|object| {
            object["type"] == self.kind.as_str()
                && self.filters.iter().all(|(name, value)| word_of(&object[name.as_str()]) == *value)
        });
        let found: Vec<Value> = selected.map(|object| object[self.member.as_str()].clone()).collect();
        let holds = !found.is_empty() && found.iter().all(|value| self.is_kept_by(value));
        Judged { expectation: self.text.clone(), holds, found }
    }

    fn is_kept_by(&self, value: &Value) -> bool {
        match (&self.bound, value.as_f64()) {
            (Bound::Number(bound), Some(value)) => match self.comparison {
                Comparison::AtLeast => value >= *bound,
                Comparison::AtMost => value <= *bound,
                Comparison::Equal => value == *bound,
                Comparison::Different => value != *bound,
                Comparison::More => value > *bound,
                Comparison::Less => value < *bound,
            },
            (Bound::Word(_), _) if value.is_null() => false,
            (Bound::Word(bound), _) => (word_of(value) == *bound) == (self.comparison == Comparison::Equal),
            (Bound::Number(_), None) => false,
        }
    }
}

/// A value as it is written behind a sign of comparison.
fn word_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Holds what was expected against the last statistics.
pub(super) fn judge(expectations: &[Expectation], stats: &[Value]) -> Vec<Judged> {
    expectations.iter().map(|expectation| expectation.judge(stats)).collect()
}

/// The first that did not hold.
pub(super) fn disappointment(judged: &[Judged]) -> Option<Error> {
    let failed = judged.iter().find(|judged| !judged.holds)?;
    let message = format!("expected {}: {}", failed.expectation, failed.found_in_words());
    Some(Error::new(ErrorKind::Threshold, "OperationError", message).at("expect"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(text: &str) -> bool {
        let stats = [
            json!({"type": "inbound-rtp", "kind": "video", "framesReceived": 500, "ssrc": 1}),
            json!({"type": "inbound-rtp", "kind": "audio", "framesReceived": 900, "jitter": 0.01}),
            json!({"type": "transport", "dtlsState": "connected"}),
        ];
        text.parse::<Expectation>().unwrap().judge(&stats).holds
    }

    #[test]
    fn every_object_of_the_kind_has_to_keep_it_and_there_has_to_be_one() {
        assert!(holds("inbound-rtp[kind=video].framesReceived>=500"));
        assert!(!holds("inbound-rtp[kind=video].framesReceived>500"));
        assert!(holds("inbound-rtp.framesReceived >= 500"));
        assert!(!holds("inbound-rtp.framesReceived>=501"));
        assert!(holds("inbound-rtp[kind=audio].jitter<0.02"));
        assert!(!holds("inbound-rtp.jitter<0.02"), "one has no such member");
        assert!(holds("inbound-rtp[kind=video][ssrc=1].framesReceived==500"));
        assert!(!holds("inbound-rtp[kind=smell].framesReceived>=0"));
        assert!(!holds("outbound-rtp.framesSent>=0"));
    }

    #[test]
    fn words_are_the_same_or_not() {
        assert!(holds("transport.dtlsState==connected"));
        assert!(holds("transport.dtlsState!=failed"));
        assert!(!holds("transport[dtlsState=1.5].dtlsState!=failed"));
        assert!(!holds("transport.dtlsState!=connected"));
        assert!(!holds("transport.iceState!=failed"), "what is not there says nothing");
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in ["", "x", "a.b", "a.b>", "a.b>x", ".b>1", "a.>1", "a[k].b>1", "a[k=v.b>1", "a b.c>1", "a.b>nan"] {
            assert!(text.parse::<Expectation>().is_err(), "{text}");
        }
    }
}
