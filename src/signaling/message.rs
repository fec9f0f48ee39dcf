//! The messages of signaling and their JSON.

use super::SignalingError;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;

/// Our own attribute in an answer: the session id of the offer it belongs to. Browsers ignore it.
pub const IN_REPLY_TO: &str = "a=x-rtckit-in-reply-to:";

/// What one side tells the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A session description.
    Description(Description),
    /// One more ICE candidate (RFC 8838).
    Candidate(Candidate),
    /// There will be no more candidates.
    EndOfCandidates,
    /// A hang-up.
    Bye,
}

/// W3C `RTCSdpType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescriptionKind {
    /// `offer`
    Offer,
    /// `answer`
    Answer,
    /// `pranswer`
    Pranswer,
    /// `rollback`; its SDP is empty.
    Rollback,
}

impl DescriptionKind {
    const ALL: [Self; 4] = [Self::Offer, Self::Answer, Self::Pranswer, Self::Rollback];

    /// The word of W3C `RTCSdpType`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Pranswer => "pranswer",
            Self::Rollback => "rollback",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for DescriptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// W3C `RTCSessionDescriptionInit`. `Debug` keeps the SDP, which holds the ICE password, to itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Description {
    /// Offer or answer.
    pub kind: DescriptionKind,
    /// SDP, lines ended by CRLF.
    pub sdp: String,
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Description({}, {} bytes of SDP)", self.kind, self.sdp.len())
    }
}

/// W3C `RTCIceCandidateInit`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// `candidate:…` as RFC 8839 writes the attribute, without `a=`.
    pub candidate: String,
    /// The `a=mid` of its media section.
    pub sdp_mid: Option<String>,
    /// The index of its media section, from 0.
    pub sdp_m_line_index: Option<u16>,
    /// The ICE user name fragment it belongs to.
    pub username_fragment: Option<String>,
}

/// A message as it is written: `type` first, members of other types left out, `null` where W3C has it.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdp_mid: Option<Option<&'a str>>,
    #[serde(rename = "sdpMLineIndex", skip_serializing_if = "Option::is_none")]
    sdp_m_line_index: Option<Option<u16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username_fragment: Option<Option<&'a str>>,
}

impl<'a> Line<'a> {
    fn new(r#type: &'a str) -> Self {
        Self { r#type, ..Self::default() }
    }
}

impl Message {
    /// The message as one line of JSON, without line end.
    pub fn to_json(&self) -> String {
        let line = match self {
            Self::Description(Description { kind, sdp }) => Line { sdp: Some(sdp), ..Line::new(kind.as_str()) },
            Self::Candidate(candidate) => Line {
                candidate: Some(&candidate.candidate),
                sdp_mid: Some(candidate.sdp_mid.as_deref()),
                sdp_m_line_index: Some(candidate.sdp_m_line_index),
                username_fragment: Some(candidate.username_fragment.as_deref()),
                ..Line::new("candidate")
            },
            Self::EndOfCandidates => Line::new("end-of-candidates"),
            Self::Bye => Line::new("bye"),
        };
        serde_json::to_string(&line).expect("strings and numbers always serialise")
    }

    /// Reads one JSON object: a message as [`to_json`](Self::to_json) writes it, or a bare `RTCIceCandidateInit`.
    /// Members we do not know are ignored; an empty candidate means the end of candidates. The SDP is taken as it is.
    ///
    /// # Errors
    /// [`SignalingError::Damaged`] when it is no JSON, [`SignalingError::Shape`] naming the member that is missing or wrong.
    pub fn from_json(text: &str) -> Result<Self, SignalingError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| SignalingError::Damaged { form: "JSON", reason: error.to_string() })?;
        let Value::Object(object) = value else {
            return Err(shape(format!("it is {}, not an object", type_name(&value))));
        };
        let Some(kind) = string(&object, "type")? else {
            if object.contains_key("candidate") {
                return candidate(&object);
            }
            return Err(shape("member 'type' is missing"));
        };
        match kind {
            "candidate" => candidate(&object),
            "end-of-candidates" => Ok(Self::EndOfCandidates),
            "bye" => Ok(Self::Bye),
            word => {
                let kind = DescriptionKind::from_word(word).ok_or_else(|| {
                    let word = super::error::excerpt(word.as_bytes());
                    shape(format!(
                        "'type' is '{word}', not offer, answer, pranswer, rollback, candidate, end-of-candidates or bye"
                    ))
                })?;
                let sdp = string(&object, "sdp")?;
                if sdp.is_none() && kind != DescriptionKind::Rollback {
                    return Err(shape("member 'sdp' is missing"));
                }
                Ok(Self::Description(Description { kind, sdp: sdp.unwrap_or_default().to_owned() }))
            }
        }
    }
}

fn candidate(object: &Map<String, Value>) -> Result<Message, SignalingError> {
    let text = string(object, "candidate")?.ok_or_else(|| shape("member 'candidate' is missing"))?;
    let sdp_m_line_index =
        match object.get("sdpMLineIndex") {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_u64().and_then(|index| u16::try_from(index).ok()).ok_or_else(|| {
                shape(format!("'sdpMLineIndex' is {}, not a number from 0 to 65535", type_name(value)))
            })?),
        };
    let sdp_mid = string(object, "sdpMid")?.map(str::to_owned);
    let username_fragment = string(object, "usernameFragment")?.map(str::to_owned);
    let text = text.trim();
    if text.is_empty() {
        return Ok(Message::EndOfCandidates);
    }
    let candidate = text.strip_prefix("a=").unwrap_or(text).to_owned();
    Ok(Message::Candidate(Candidate { candidate, sdp_mid, sdp_m_line_index, username_fragment }))
}

fn string<'a>(object: &'a Map<String, Value>, member: &str) -> Result<Option<&'a str>, SignalingError> {
    match object.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(shape(format!("'{member}' is {}, not a string", type_name(other)))),
    }
}

fn shape(reason: impl Into<String>) -> SignalingError {
    SignalingError::Shape { reason: reason.into() }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_reads_back_as_written() {
        let candidate = Candidate {
            candidate: "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host".into(),
            sdp_mid: Some("0".into()),
            sdp_m_line_index: Some(0),
            username_fragment: None,
        };
        let description = Description { kind: DescriptionKind::Pranswer, sdp: "v=0\r\n".into() };
        for message in
            [Message::Description(description), Message::Candidate(candidate), Message::EndOfCandidates, Message::Bye]
        {
            let json = message.to_json();
            assert!(json.starts_with("{\"type\":") && !json.contains('\n'));
            assert_eq!(Message::from_json(&json).unwrap(), message);
        }
    }

    #[test]
    fn a_bare_candidate_init_and_an_empty_candidate_are_understood() {
        let bare = r#"{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0","sdpMLineIndex":null}"#;
        let Message::Candidate(candidate) = Message::from_json(bare).unwrap() else { panic!("no candidate") };
        assert_eq!((candidate.sdp_mid.as_deref(), candidate.sdp_m_line_index), (Some("0"), None));
        assert_eq!(Message::from_json(r#"{"candidate":"","sdpMid":"0"}"#).unwrap(), Message::EndOfCandidates);
    }

    #[test]
    fn a_wrong_shape_names_its_member() {
        for (json, member) in [
            (r#"{"sdp":"v=0"}"#, "'type' is missing"),
            (r#"{"type":"offer"}"#, "'sdp' is missing"),
            (r#"{"type":"offer","sdp":7}"#, "'sdp' is a number"),
            (r#"{"type":"ofer","sdp":""}"#, "'type' is 'ofer'"),
            (r#"{"type":["offer"],"sdp":""}"#, "'type' is an array"),
            (r#"{"candidate":"x","sdpMLineIndex":-1}"#, "'sdpMLineIndex'"),
            (r#"[1]"#, "an array"),
        ] {
            let error = Message::from_json(json).unwrap_err();
            assert!(
                matches!(error, SignalingError::Shape { .. }) && error.to_string().contains(member),
                "{json}: {error}"
            );
        }
    }

    #[test]
    fn debug_output_holds_no_sdp() {
        let sdp = "v=0\r\na=ice-pwd:hush\r\n".to_owned();
        let message = Message::Description(Description { kind: DescriptionKind::Offer, sdp });
        assert!(!format!("{message:?}").contains("hush"));
    }
}
