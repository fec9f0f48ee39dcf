//! Descriptions of a connection that is up already, as text: what of them is new, and what the library must not be told again.

use super::direction::Direction;
use crate::signaling::Candidate;

/// The ICE user name fragment and password (RFC 8839 section 5.4) of a description; all sections are bundled and share them.
pub(super) fn credentials(sdp: &str) -> (&str, &str) {
    let of = |prefix| sdp.lines().find_map(|line: &str| line.strip_prefix(prefix)).unwrap_or_default().trim();
    (of("a=ice-ufrag:"), of("a=ice-pwd:"))
}

/// Whether a candidate belongs to the restart that has this user name fragment, as far as it says.
pub(super) fn is_of_generation(candidate: &Candidate, fragment: &str) -> bool {
    let in_line = candidate.candidate.split_once(" ufrag ").and_then(|(_, rest)| rest.split_whitespace().next());
    let said = candidate.username_fragment.as_deref().filter(|said| !said.is_empty()).or(in_line);
    said.is_none_or(|said| said == fragment)
}

/// Whether a description comes from the connection that `before` is of: it has its certificate.
pub(super) fn is_of_same_peer(before: &str, sdp: &str) -> bool {
    let fingerprint = |sdp: &str| {
        sdp.lines().find_map(|line| line.strip_prefix("a=fingerprint:")).map(|value| value.trim().to_ascii_lowercase())
    };
    fingerprint(before) == fingerprint(sdp)
}

/// The description without candidates, which then follow one by one.
pub(super) fn without_candidates(sdp: &str) -> String {
    without(sdp, |line| line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates"))
}

/// An answer that keeps our part in DTLS (RFC 8842 section 5.5); the library would change it when the offerer of before answers.
pub(super) fn with_setup(sdp: &str, passive: bool) -> String {
    if passive { sdp.replace("a=setup:active", "a=setup:passive") } else { sdp.to_owned() }
}

/// The description without the streams of sections that had the same before: where the library is told of a stream, it begins with
/// it anew and forgets what it knows of it.
pub(super) fn without_known_streams(sdp: &str, before: &str) -> String {
    // What was not sent, the library left aside.
    let told_before = parts(before).skip(1).filter(|section| Direction::of(section).sends);
    let known: Vec<_> = told_before.map(|section| (mid(section), streams(section))).collect();
    let is_told = |line: &str| line.starts_with("a=ssrc") || line.starts_with("a=msid:");
    let told = parts(sdp).map(|section| match known.contains(&(mid(section), streams(section))) {
        true => without(section, is_told),
        false => section.to_owned(),
    });
    told.collect()
}

/// What precedes the media sections, and each of them, whole lines all.
pub(super) fn parts(sdp: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(sdp);
    std::iter::from_fn(move || {
        let whole = rest?;
        let (part, after) = whole.find("\nm=").map_or((whole, None), |at| (&whole[..=at], Some(&whole[at + 1..])));
        rest = after;
        Some(part)
    })
}

/// Whether the port of a media section, with or without its `m=`, is 0, and not since it leaves the port to its bundle (RFC 9143
/// section 6).
pub(super) fn is_refused(section: &str) -> bool {
    section.split_whitespace().nth(1) == Some("0") && !section.lines().any(|line| line.trim_end() == "a=bundle-only")
}

/// The name of a media section (RFC 5888).
pub(super) fn mid(section: &str) -> Option<&str> {
    section.lines().find_map(|line| line.strip_prefix("a=mid:")).map(str::trim)
}

/// The numbers of the streams that a section announces (RFC 5576).
fn streams(section: &str) -> Vec<&str> {
    let lines = section.lines().filter_map(|line| line.strip_prefix("a=ssrc:")?.split_whitespace().next());
    let mut streams: Vec<&str> = lines.collect();
    streams.sort_unstable();
    streams.dedup();
    streams
}

fn without(sdp: &str, is_left_out: impl Fn(&str) -> bool) -> String {
    sdp.split_inclusive('\n').filter(|line| !is_left_out(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "v=0\r\na=fingerprint:sha-256 AA:bb\r\nm=audio 9 X 0\r\na=ice-ufrag:one\r\na=ice-pwd:secret\r\n\
        a=mid:0\r\na=msid:s a\r\na=ssrc:7 cname:x\r\na=ssrc:7 msid:s a\r\nm=video 9 X 96\r\na=mid:1\r\na=ssrc-group:FID 8 9\r\n\
        a=ssrc:8 cname:x\r\na=ssrc:9 cname:x\r\n";

    #[test]
    fn only_streams_that_are_new_are_told() {
        let again = without_known_streams(BEFORE, BEFORE);
        assert!(!again.contains("\r\n\n"), "{again:?}");
        assert!(
            !again.contains("a=ssrc") && !again.contains("a=msid") && again.matches("\nm=").count() == 2,
            "{again}"
        );
        assert_eq!(again.lines().count() + 6, BEFORE.lines().count());
        let other = BEFORE.replace(":8", ":80");
        let told = without_known_streams(&other, BEFORE);
        assert!(told.contains("a=ssrc:80 cname") && !told.contains("a=ssrc:7"), "{told}");
        assert_eq!(without_known_streams(BEFORE, "v=0\r\n"), BEFORE);
        let held = BEFORE.replace("a=mid:1\r\n", "a=mid:1\r\na=inactive\r\n");
        let told = without_known_streams(BEFORE, &held);
        assert!(told.contains("a=ssrc:8 cname") && !told.contains("a=ssrc:7"), "held before: {told}");
    }

    #[test]
    fn a_restart_is_known_by_its_credentials_and_another_peer_by_its_certificate() {
        assert_eq!(credentials(BEFORE), ("one", "secret"));
        assert_eq!(credentials("v=0"), ("", ""));
        assert!(is_of_same_peer(BEFORE, &BEFORE.replace("AA:bb", "aa:BB").replace("one", "two")));
        assert!(!is_of_same_peer(BEFORE, &BEFORE.replace("AA", "AB")));
    }

    #[test]
    fn candidates_of_before_a_restart_are_told_apart_where_they_say_so() {
        let candidate = |line: &str, fragment: Option<&str>| Candidate {
            candidate: line.to_owned(),
            sdp_mid: None,
            sdp_m_line_index: None,
            username_fragment: fragment.map(str::to_owned),
        };
        let is = |line: &str, fragment| is_of_generation(&candidate(line, fragment), "new");
        assert!(is("candidate:1", None) && is("candidate:1", Some("")) && is("candidate:1", Some("new")));
        assert!(is("candidate:1 typ host ufrag new network-cost 9", None));
        assert!(!is("candidate:1", Some("old")) && !is("candidate:1 typ host ufrag old", None));
    }

    #[test]
    fn candidates_are_left_out_and_the_part_in_dtls_is_kept() {
        let sdp = "v=0\r\nm=audio 9 X 0\r\na=setup:active\r\na=candidate:1 1 udp\r\na=end-of-candidates\r\na=mid:0\r\n";
        assert_eq!(without_candidates(sdp), "v=0\r\nm=audio 9 X 0\r\na=setup:active\r\na=mid:0\r\n");
        assert!(with_setup(sdp, true).contains("a=setup:passive") && with_setup(sdp, false) == sdp);
    }
}
