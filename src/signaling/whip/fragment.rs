//! SDP fragments: candidates, and the ICE session that they belong to (RFC 8840; RFC 9725 section 4.3).

use crate::signaling::{Candidate, SignalingError};
use std::fmt::Write;

/// A body of `application/trickle-ice-sdpfrag`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// `a=ice-ufrag`: which ICE session it is about.
    pub username_fragment: Option<String>,
    /// `a=ice-pwd`; one that differs from the last restarts ICE.
    pub password: Option<String>,
    /// The candidates.
    pub candidates: Vec<Candidate>,
    /// Whether these are all.
    pub end_of_candidates: bool,
}

impl Fragment {
    /// Reads a fragment: session-level lines, then media sections, of which `m=` and `a=mid` say where a candidate belongs.
    /// What is unknown is passed over.
    ///
    /// # Errors
    /// When a line is no `x=value`, or it says nothing of ICE at all.
    pub fn parse(text: &str) -> Result<Self, SignalingError> {
        let damaged = |reason: String| SignalingError::Damaged { form: "SDP fragment", reason };
        let mut fragment = Self::default();
        let (mut mid, mut index) = (None, None::<u16>);
        for line in text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty()) {
            let Some((key, value)) = line.split_once('=').filter(|(key, _)| key.len() == 1) else {
                return Err(damaged(format!("'{}' is no line of SDP", super::super::error::excerpt(line.as_bytes()))));
            };
            if key == "m" {
                index = Some(index.map_or(0, |index| index.saturating_add(1)));
                mid = None;
                continue;
            }
            if key != "a" {
                continue;
            }
            let (attribute, value) = value.split_once(':').map_or((value, ""), |(name, value)| (name, value.trim()));
            match attribute {
                "mid" => mid = Some(value.to_owned()),
                "ice-ufrag" => fragment.username_fragment = Some(value.to_owned()),
                "ice-pwd" => fragment.password = Some(value.to_owned()),
                "end-of-candidates" => fragment.end_of_candidates = true,
                "candidate" => fragment.candidates.push(Candidate {
                    candidate: format!("candidate:{value}"),
                    sdp_mid: mid.clone(),
                    sdp_m_line_index: if mid.is_none() { index } else { None },
                    username_fragment: fragment.username_fragment.clone(),
                }),
                _ => {}
            }
        }
        let empty = fragment.username_fragment.is_none() && fragment.candidates.is_empty();
        if empty && !fragment.end_of_candidates {
            return Err(damaged("it holds neither candidates nor ICE credentials".to_owned()));
        }
        Ok(fragment)
    }

    /// The fragment, for the bundle whose description of ours is `sdp`: all candidates belong to its first section. RTCP shares
    /// the path of what it is about (RFC 9143 section 9.3), so there is but one component.
    pub fn encode(&self, sdp: &str) -> String {
        let mut text = String::new();
        let mut write = |line: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{line}{value}\r\n");
        };
        if let Some(group) = line(sdp, "a=group:BUNDLE") {
            write("a=group:BUNDLE", group);
        }
        if let Some(media) = line(sdp, "m=") {
            write("m=", media);
        }
        if let Some(mid) = line(sdp, "a=mid:") {
            write("a=mid:", mid);
        }
        for (name, value) in [("a=ice-ufrag:", &self.username_fragment), ("a=ice-pwd:", &self.password)] {
            if let Some(value) = value {
                write(name, value);
            }
        }
        let shared = |found: &&Candidate| found.candidate.split(' ').nth(1) != Some("2");
        let candidates = self.candidates.iter().filter(shared).cloned().collect();
        Self { candidates, ..self.clone() }.write_candidates(&mut text);
        text
    }

    /// The description `sdp` with this ICE session in place of its own: what an ICE restart makes of it.
    pub fn applied_to(&self, sdp: &str) -> String {
        let mut out = String::with_capacity(sdp.len());
        let mut sections = 0;
        for line in sdp.lines().map(|line| line.trim_end_matches('\r')) {
            if line.starts_with("m=") {
                sections += 1;
                if sections == 2 {
                    self.write_candidates(&mut out);
                }
            }
            let credential = |name: &str, value: &Option<String>| {
                let own = line.starts_with(name);
                own.then(|| value.as_ref().map_or_else(|| line.to_owned(), |value| format!("{name}{value}")))
            };
            let replaced = credential("a=ice-ufrag:", &self.username_fragment)
                .or_else(|| credential("a=ice-pwd:", &self.password));
            if !line.starts_with("a=candidate:") && line != "a=end-of-candidates" {
                out += replaced.as_deref().unwrap_or(line);
                out += "\r\n";
            }
        }
        if sections < 2 {
            self.write_candidates(&mut out);
        }
        out
    }

    fn write_candidates(&self, out: &mut String) {
        for candidate in &self.candidates {
            *out += &format!("a={}\r\n", candidate.candidate);
        }
        if self.end_of_candidates {
            *out += "a=end-of-candidates\r\n";
        }
    }

    /// The ICE session of a description, with its candidates.
    pub fn of_description(sdp: &str) -> Self {
        let read = Self::parse(sdp).unwrap_or_default();
        Self { candidates: read.candidates, end_of_candidates: read.end_of_candidates, ..Self::of_session(sdp) }
    }

    /// A fragment with the ICE credentials of a description, and no candidates yet.
    pub fn of_session(sdp: &str) -> Self {
        let value = |name| line(sdp, name).map(|value| value.trim().to_owned());
        Self { username_fragment: value("a=ice-ufrag:"), password: value("a=ice-pwd:"), ..Self::default() }
    }
}

/// What follows `prefix` on the first line that begins with it.
fn line<'a>(sdp: &'a str, prefix: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.trim_end_matches('\r').strip_prefix(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n";

    fn candidate(text: &str) -> Candidate {
        Candidate {
            candidate: text.to_owned(),
            sdp_mid: Some("0".to_owned()),
            sdp_m_line_index: None,
            username_fragment: Some("EsAw".to_owned()),
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_stands_in_the_first_section() {
        let mut fragment = Fragment::of_session(SDP);
        fragment.candidates.push(candidate("candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host"));
        fragment.end_of_candidates = true;
        let text = fragment.encode(SDP);
        assert!(
            text.starts_with(
                "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n"
            )
        );
        assert!(text.ends_with("typ host\r\na=end-of-candidates\r\n") && !text.contains("m=video"), "{text}");
        assert_eq!(Fragment::parse(&text).unwrap(), fragment);
        let mut both = fragment.clone();
        both.candidates.push(candidate("candidate:1 2 udp 2122260223 192.0.2.1 61764 typ host"));
        assert_eq!(both.encode(SDP), text, "nothing is heard of a component of its own for RTCP");
    }

    #[test]
    fn a_restart_changes_the_ice_session_of_a_description_and_nothing_else() {
        let restart = "a=ice-ufrag:new\r\na=ice-pwd:newpwd\r\nm=audio 9 X 0\r\na=mid:0\r\na=candidate:2 1 udp 1 192.0.2.2 7 typ host\r\n";
        let before =
            SDP.replace("m=video", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\nm=video");
        let expected = SDP
            .replace("EsAw", "new")
            .replace("P2uYro0UCOQ4zxjKXaWCBui1", "newpwd")
            .replace("m=video", "a=candidate:2 1 udp 1 192.0.2.2 7 typ host\r\nm=video");
        let restarted = Fragment::parse(restart).unwrap().applied_to(&before);
        assert_eq!(restarted, expected);
        let again = Fragment::of_description(&restarted);
        assert_eq!((again.username_fragment.as_deref(), again.candidates.len()), (Some("new"), 1));
        assert_eq!(again.applied_to(&before), expected);
    }

    #[test]
    fn credentials_before_the_sections_and_sections_without_mid_are_understood() {
        let text = "a=ice-ufrag:u\na=ice-pwd:p\nm=audio 9 RTP/AVP 0\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\nm=video 9 RTP/AVP 0\na=mid:v\na=candidate:2 1 udp 1 192.0.2.1 2 typ host\n";
        let fragment = Fragment::parse(text).unwrap();
        let places: Vec<_> =
            fragment.candidates.iter().map(|found| (found.sdp_mid.as_deref(), found.sdp_m_line_index)).collect();
        assert_eq!(places, [(None, Some(0)), (Some("v"), None)]);
        assert_eq!((fragment.username_fragment.as_deref(), fragment.password.as_deref()), (Some("u"), Some("p")));
        assert!(!fragment.end_of_candidates);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "hello", "a=mid:0\r\n", "{\"candidate\":\"\"}", "aa=b\r\n"] {
            assert!(Fragment::parse(text).is_err(), "{text}");
        }
    }
}
