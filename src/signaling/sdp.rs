//! A first look at SDP (RFC 8866, RFC 9429): is it whole, and what is in it. Not a parser: that is `peer`'s.

use crate::error::{Classify, ErrorKind};
use std::fmt;

/// What a description that was read lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// A line that is no `x=value`.
    #[error("SDP line {number} is no 'x=value': '{line}'")]
    Line {
        /// Counted from 1.
        number: usize,
        /// Its first 40 characters, escaped.
        line: String,
    },
    /// The first line is not `v=0`.
    #[error("SDP without v=0: it begins with '{found}'")]
    NoVersion {
        /// Its first 40 characters, escaped.
        found: String,
    },
    /// A line or attribute that every WebRTC description has.
    #[error("SDP without {what}")]
    Missing {
        /// E.g. `o= line`, `a=ice-ufrag`.
        what: &'static str,
    },
    /// No media section at all.
    #[error("a description with nothing in it: no m= section, so no audio, no video and no data")]
    Nothing,
}

impl Classify for SdpError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }

    fn name(&self) -> &'static str {
        "sdp-syntax-error"
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Nothing => Some("add a track or a data channel before making the offer".to_owned()),
            Self::Missing { what } if what.starts_with("a=") => {
                Some("this is not SDP of a WebRTC peer, or it was cut or edited on its way".to_owned())
            }
            _ => None,
        }
    }
}

/// What a description offers or accepts, without a secret in it; for logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The media sections, in order.
    pub media: Vec<MediaSection>,
    /// How many candidates are in it.
    pub candidates: usize,
    /// Whether it says that these are all.
    pub end_of_candidates: bool,
    /// The value of the first `a=setup` (RFC 8842).
    pub setup: Option<String>,
}

/// One `m=` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaSection {
    /// `audio`, `video` or `application`.
    pub kind: String,
    /// Whether its port is 0 and it is not `bundle-only`: refused or stopped.
    pub rejected: bool,
    /// The encoding names of `a=rtpmap`, in order, without repetition.
    pub codecs: Vec<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for section in &self.media {
            f.write_str(&section.kind)?;
            if section.rejected {
                f.write_str(" (rejected)")?;
            }
            if !section.codecs.is_empty() {
                write!(f, " {}", section.codecs.join("/"))?;
            }
            f.write_str(", ")?;
        }
        write!(f, "{} candidates", self.candidates)
    }
}

/// Checks that `sdp` is whole and a WebRTC peer's, and says what is in it. Takes LF and CRLF.
///
/// # Errors
/// The first thing it lacks. ICE credentials and a fingerprint are asked for only where a section is not rejected.
pub fn inspect(sdp: &str) -> Result<Summary, SdpError> {
    let mut summary = Summary::default();
    let (mut origin, mut name, mut time) = (false, false, false);
    let (mut ufrag, mut pwd, mut fingerprint) = (false, false, false);
    for (index, line) in sdp.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        let &[key, b'=', ..] = line.as_bytes() else {
            if index == 0 {
                return Err(SdpError::NoVersion { found: super::error::excerpt(line.as_bytes()) });
            }
            if line.is_empty() {
                continue;
            }
            return Err(SdpError::Line { number: index + 1, line: super::error::excerpt(line.as_bytes()) });
        };
        if index == 0 && line.trim_end() != "v=0" {
            return Err(SdpError::NoVersion { found: super::error::excerpt(line.as_bytes()) });
        }
        let value = &line[2..];
        match key {
            b'o' => origin = true,
            b's' => name = true,
            b't' => time = true,
            b'm' => {
                let mut words = value.split_ascii_whitespace();
                let kind = words.next().unwrap_or_default().chars().take(32).flat_map(char::escape_debug).collect();
                let rejected = words.next().is_some_and(|port| port == "0");
                summary.media.push(MediaSection { kind, rejected, codecs: Vec::new() });
            }
            b'a' => {
                let (attribute, value) = value.split_once(':').unwrap_or((value, ""));
                match attribute {
                    "ice-ufrag" => ufrag = true,
                    "ice-pwd" => pwd = true,
                    "fingerprint" => fingerprint = true,
                    "setup" if summary.setup.is_none() => summary.setup = Some(value.trim().to_owned()),
                    "candidate" => summary.candidates += 1,
                    "end-of-candidates" => summary.end_of_candidates = true,
                    "bundle-only" => {
                        if let Some(section) = summary.media.last_mut() {
                            section.rejected = false;
                        }
                    }
                    "rtpmap" => {
                        if let (Some(section), Some(codec)) = (summary.media.last_mut(), encoding_name(value))
                            && section.codecs.len() < 32
                            && !section.codecs.contains(&codec)
                        {
                            section.codecs.push(codec);
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    let alive = summary.media.iter().any(|section| !section.rejected);
    let demands = [
        (!sdp.is_empty(), "v=0 line"),
        (origin, "o= line"),
        (name, "s= line"),
        (time, "t= line"),
        (ufrag || !alive, "a=ice-ufrag"),
        (pwd || !alive, "a=ice-pwd"),
        (fingerprint || !alive, "a=fingerprint"),
    ];
    if let Some((_, what)) = demands.into_iter().find(|(there, _)| !there) {
        return Err(SdpError::Missing { what });
    }
    if summary.media.is_empty() { Err(SdpError::Nothing) } else { Ok(summary) }
}

/// Whether `sdp` passes [`inspect`] and holds every section that its `a=group:BUNDLE` names (RFC 9143): nothing says that
/// more of it is to come, although its last line may be cut.
pub(super) fn seems_whole(sdp: &str) -> bool {
    let values = |name: &'static str| sdp.lines().filter_map(move |line| line.trim_end().strip_prefix(name));
    let mut bundled = values("a=group:BUNDLE").flat_map(str::split_ascii_whitespace);
    inspect(sdp).is_ok() && bundled.all(|mid| values("a=mid:").any(|there| there == mid))
}

fn encoding_name(rtpmap: &str) -> Option<String> {
    let name = rtpmap.split_ascii_whitespace().nth(1)?.split('/').next()?;
    Some(name.chars().take(32).flat_map(char::escape_debug).collect())
}

/// The same SDP with every line ended by CRLF and no empty lines.
pub fn normalise(sdp: &str) -> String {
    let mut normal = String::with_capacity(sdp.len() + 64);
    for line in sdp.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty()) {
        normal.push_str(line);
        normal.push_str("\r\n");
    }
    normal
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A small whole description with one video and one data section.
    pub const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\n\
        a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
        a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\n\
        a=candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
        c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\na=setup:actpass\r\na=mid:1\r\na=sctp-port:5000\r\n";

    #[test]
    fn a_summary_says_what_is_offered_and_holds_no_secret() {
        let summary = inspect(OFFER).unwrap();
        assert_eq!(summary.to_string(), "video VP8/H264, application, 1 candidates");
        assert_eq!(summary.setup.as_deref(), Some("actpass"));
        assert!(!format!("{summary:?}").contains("0123456789abcdefghijkl"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (gone, named) in [
            ("o=", "o= line"),
            ("s=", "s= line"),
            ("t=", "t= line"),
            ("a=ice-ufrag", "a=ice-ufrag"),
            ("a=ice-pwd", "a=ice-pwd"),
            ("a=fingerprint", "a=fingerprint"),
        ] {
            let cut: String =
                OFFER.lines().filter(|line| !line.starts_with(gone)).map(|line| format!("{line}\n")).collect();
            assert_eq!(inspect(&cut), Err(SdpError::Missing { what: named }));
        }
        assert_eq!(inspect("v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\n"), Err(SdpError::Nothing));
        assert!(matches!(inspect("v=1\n"), Err(SdpError::NoVersion { .. })));
        assert!(matches!(inspect("v=0\nhello\n"), Err(SdpError::Line { number: 2, .. })));
        assert!(inspect("").is_err());
    }

    #[test]
    fn a_description_that_rejects_everything_needs_no_credentials() {
        let rejected = "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\nm=video 0 UDP/TLS/RTP/SAVPF 96\n";
        assert!(inspect(rejected).unwrap().media[0].rejected);
    }
}
