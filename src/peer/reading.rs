//! What peers write, as the library can read it, and our answers as those peers can.
//!
//! - There is one transport, so of a peer that does not bundle (RFC 9143) the first section that it accepts is taken, and the others
//!   are refused: bundle policy `max-bundle` of JSEP (RFC 9429 section 5.3.1).
//! - Sections that are neither sound nor picture nor data channels are refused; the library would leave them out of its answer.
//! - Of several certificate fingerprints the one that can be checked is told, SHA-256 (RFC 8122 section 5 has it in all).
//! - Data channels as they were written before RFC 8841 are told as they are now.
//! - Tracks without a name, or with the same, get one of their own.
//! - A section that says no direction has that of the session, or else goes both ways (RFC 8866 section 6.7); the library would leave it
//!   out of its answer.
//! - Candidates of kinds that nobody knows are ignored (RFC 8839 section 5.1); the library would refuse all of the description.
//! - Of simulcast (RFC 8853) the largest layer is asked for: there is nobody here to pass the others on to.
//! - We wait for whoever offers to begin DTLS, although an answerer rather begins (RFC 8842 section 5.3): the library begins SCTP as the
//!   DTLS client alone, and then takes no beginning of the peer's (RFC 8841 section 9.3), on which some insist, nor begins when data
//!   channels are added later. It says that it begins, too, where the peer does, and then waits.

use super::direction::Direction;
use super::renegotiation::{is_refused, mid, parts, with_setup};
use super::undeclared::{Silent, silent_sections, without_silent_tracks};
use crate::signaling::{Candidate, Description};
use rtc::ice::candidate::unmarshal_candidate;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A description as the library is told it.
pub(super) struct Reading {
    /// The SDP.
    pub(super) sdp: String,
    /// How it differs from what the peer said.
    pub(super) changes: Changes,
    /// The sections whose streams come without an announcement.
    pub(super) silent: Vec<Silent>,
}

/// What was changed in a description, which decides how the answer to it must look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// The section that is taken of one that does not bundle: its index and its name.
    alone: Option<(usize, String)>,
    /// Its sections had no names.
    names: bool,
    /// Its data channels are written as of old, with this port.
    old_data: Option<String>,
    /// It begins DTLS.
    begins: bool,
    /// The sections that were left out, by their index, as we refuse them.
    left_out: Vec<(usize, String)>,
    /// Sections that the peer would have had, and does not get since it does not bundle.
    pub(super) apart: usize,
}

impl Changes {
    /// Whether a candidate of the peer is for a section that has it.
    pub(super) fn takes(&self, candidate: &Candidate) -> bool {
        let Some((index, name)) = self.alone.as_ref().filter(|_| self.apart > 0) else { return true };
        match (&candidate.sdp_mid, candidate.sdp_m_line_index) {
            (Some(mid), _) if !self.names => mid == name,
            (_, Some(line)) => usize::from(line) == *index,
            _ => true,
        }
    }
}

impl Reading {
    /// An offer of a new connection, of which whoever made it is to begin DTLS.
    pub(super) fn waiting(mut self) -> Self {
        self.sdp = self.sdp.replace("a=setup:actpass", "a=setup:active");
        self.changes.begins |= self.sdp.contains("a=setup:active");
        self
    }
}

impl Changes {
    /// Our answer, as the peer can read it.
    pub(super) fn answer(&self, sdp: String) -> String {
        if *self == Self::default() {
            return sdp;
        }
        let is_foreign = |line: &str| {
            (self.alone.is_some() && line.starts_with("a=group:BUNDLE")) || (self.names && line.starts_with("a=mid:"))
        };
        let sdp: String = sdp.split_inclusive('\n').filter(|line| !is_foreign(line)).collect();
        let mut said: Vec<String> = parts(&with_setup(&sdp, self.begins)).map(str::to_owned).collect();
        if let Some(port) = &self.old_data {
            for section in said.iter_mut().filter(|section| section.starts_with("m=application")) {
                *section = as_of_old(section, port);
            }
        }
        for (index, section) in &self.left_out {
            said.insert((1 + index).min(said.len()), section.clone());
        }
        said.concat()
    }
}

/// A description as it came, with what goes without saying in it, and without candidates that nobody can use.
pub(super) fn taken(description: Description) -> Description {
    let mut unknown = Vec::new();
    let known = description.sdp.split_inclusive('\n').filter(|line| {
        let candidate = line.strip_prefix("a=candidate:").filter(|candidate| !is_readable(candidate));
        unknown.extend(candidate);
        candidate.is_none()
    });
    let sdp: String = known.collect();
    if let Some(first) = unknown.first() {
        let first: String = first.trim_end().chars().take(80).collect();
        tracing::warn!("ignored {} of the peer's candidates, which cannot be read: {first}", unknown.len());
    }
    let mut all = parts(&sdp);
    let session = all.next().unwrap_or_default();
    let unsaid = |section: &&str| section.starts_with("m=audio") || section.starts_with("m=video");
    let sections = all.map(|section| match Direction::said_in(section) {
        None if unsaid(&section) => with_line(section.to_owned(), Direction::of(session).line()),
        _ => section.to_owned(),
    });
    let sdp = session.to_owned() + &sections.collect::<String>();
    Description { sdp, ..description }
}

/// Whether a candidate, without what its line begins with, is of a kind that is known and whole.
pub(super) fn is_readable(candidate: &str) -> bool {
    unmarshal_candidate(candidate.strip_prefix("candidate:").unwrap_or(candidate)).is_ok()
}

/// An offer.
///
/// # Errors
/// What no part of it can make good.
pub(super) fn read_offer(sdp: &str) -> Result<Reading, String> {
    let names = parts(sdp).skip(1).all(|section| mid(section).is_none());
    let sdp = if names { named(sdp, |index| Some(index.to_string())) } else { sdp.into() };
    let begins = sdp.lines().any(|line| line.trim() == "a=setup:active");
    let mut changes = Changes { names, begins, ..Changes::default() };
    let sdp = legible(&sdp, &mut changes)?;
    let sdp = if group(&sdp).is_some() { sdp } else { first_alone(sdp, &mut changes) };
    Ok(Reading { silent: silent_sections(&sdp), sdp: without_silent_tracks(&sdp), changes })
}

/// An answer to `offer`, whose names are those of the answer where that has none (RFC 9429 section 5.10). One whose sections all
/// have the same transport is one of a peer that bundles and does not say so.
///
/// # Errors
/// What no part of it can make good.
pub(super) fn read_answer(sdp: &str, offer: &str) -> Result<Reading, String> {
    let offered: Vec<_> = parts(offer).skip(1).map(mid).collect();
    let is_named = parts(sdp).skip(1).all(|section| mid(section).is_some());
    let of_offer = |index: usize| offered.get(index).copied().flatten().map(str::to_owned);
    let sdp = if is_named { sdp.into() } else { named(sdp, of_offer) };
    let mut changes = Changes::default();
    let sdp = legible(&sdp, &mut changes)?;
    let sdp = if group(&sdp).is_some() || is_one_transport(&sdp) { sdp } else { first_alone(sdp, &mut changes) };
    Ok(Reading { silent: silent_sections(&sdp), sdp: without_silent_tracks(&sdp), changes })
}

/// Whether the sections that are accepted share their addresses, as far as they are told. The same user fragment says little:
/// webrtcbin of GStreamer has one for all of its transports.
fn is_one_transport(sdp: &str) -> bool {
    let accepted: Vec<&str> = parts(sdp).skip(1).filter(|section| !is_refused(section)).collect();
    let addresses = |section: &str| -> BTreeSet<String> {
        let addresses = section.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
        addresses.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect()
    };
    let told: Vec<_> = accepted.iter().map(|section| addresses(section)).filter(|told| !told.is_empty()).collect();
    let same = accepted.windows(2).all(|pair| user_fragment(pair[0]) == user_fragment(pair[1]));
    accepted.len() < 2 || (same && !told.is_empty() && told.windows(2).all(|pair| pair[0] == pair[1]))
}

/// The description with names for the sections that have none.
fn named(sdp: &str, name: impl Fn(usize) -> Option<String>) -> Cow<'_, str> {
    let mut sections = parts(sdp);
    let session = sections.next().unwrap_or_default().to_owned();
    let named = sections.enumerate().map(|(index, section)| match name(index).filter(|_| mid(section).is_none()) {
        Some(name) => with_line(section.to_owned(), &format!("a=mid:{name}")),
        None => section.to_owned(),
    });
    (session + &named.collect::<String>()).into()
}

/// The description with one fingerprint that can be checked, data channels as they are written now, and without sections of
/// other kinds than ours.
fn legible(sdp: &str, changes: &mut Changes) -> Result<String, String> {
    let algorithms: Vec<String> = sdp.lines().filter_map(fingerprint_algorithm).collect();
    if let Some(other) = algorithms.first().filter(|_| !algorithms.iter().any(|one| one == CHECKED)) {
        return Err(format!("its certificate fingerprint is {other}, and only {CHECKED} can be checked"));
    }
    let mut said = parts(sdp).map(with_checked_fingerprint);
    let mut out = said.next().unwrap_or_default();
    let (mut candidates, mut tracks) = (String::new(), BTreeSet::new());
    for (index, section) in said.enumerate() {
        let Some(kind) = Kind::of(&section) else {
            // Where sections are bundled, the candidates of all stand in the first.
            candidates.extend(section.split_inclusive('\n').filter(|line| line.starts_with("a=candidate:")));
            changes.left_out.push((index, refusal(&section)));
            continue;
        };
        let section = match kind {
            Kind::Known => with_track_name(with_largest_layer(&section).unwrap_or(section), &mut tracks),
            Kind::OldData => {
                let port = section.split_whitespace().nth(3).unwrap_or_default().to_owned();
                let told = as_of_now(&section, &port);
                changes.old_data = Some(port);
                told
            }
        };
        out += &match section.contains("\na=candidate:") {
            false if group(sdp).is_some() => std::mem::take(&mut candidates).lines().fold(section, with_line),
            _ => section,
        };
    }
    Ok(out)
}

/// A section whose track has a name (RFC 8830), another one than those `taken`, and before its streams: the library takes those of one
/// name for one track.
fn with_track_name(section: String, taken: &mut BTreeSet<String>) -> String {
    let Some(streams) = section.find("\na=ssrc:") else { return section };
    let by_stream = |line: &str| Some(line.strip_prefix("a=ssrc:")?.split_once(" msid:")?.1.trim().to_owned());
    let of_section = |line: &str| Some(line.strip_prefix("a=msid:")?.trim().to_owned());
    let early = section.lines().find_map(by_stream).or_else(|| section[..streams].lines().find_map(of_section));
    if let Some((_, track)) = early.as_deref().and_then(|name| name.split_once(' '))
        && taken.insert(track.to_owned())
    {
        return section;
    }
    let name = early.or_else(|| section.lines().find_map(of_section)).unwrap_or_default();
    let stream = name.split_whitespace().next().unwrap_or("-");
    let track = mid(&section).unwrap_or_default();
    let mut name = format!("a=msid:{stream} {track}\r\n");
    taken.insert(track.to_owned());
    let lines =
        section.split_inclusive('\n').filter(|line| !line.starts_with("a=msid:")).map(|line| match by_stream(line) {
            Some(_) => line.split_once(" msid:").map_or(line.to_owned(), |(ssrc, _)| format!("{ssrc} cname:-\r\n")),
            None => line.to_owned(),
        });
    lines.map(|line| if line.starts_with("a=ssrc:") { std::mem::take(&mut name) + &line } else { line }).collect()
}

/// A section that sends several layers, with the largest alone.
fn with_largest_layer(section: &str) -> Option<String> {
    let list = section.lines().find_map(|line| line.strip_prefix("a=simulcast:send "))?;
    let layers: Vec<&str> = list.split([';', ',', ' ']).map(|layer| layer.trim().trim_start_matches('~')).collect();
    let largest = largest_layer(section, &layers)?;
    let lines = section.split_inclusive('\n').filter_map(|line| match line.strip_prefix("a=rid:") {
        Some(rid) => (rid.split_whitespace().next() == Some(largest)).then(|| line.into()),
        None if line.starts_with("a=simulcast:") => Some(format!("a=simulcast:send {largest}\r\n").into()),
        None => Some(Cow::from(line)),
    });
    Some(lines.collect())
}

/// By what the section says of their sizes (RFC 8851), else by their names and order. Browsers and their servers begin with the
/// smallest; OBS numbers from the largest, and some name the smallest last.
fn largest_layer<'a>(section: &str, layers: &[&'a str]) -> Option<&'a str> {
    let (first, last) = (layers.first()?, layers.last()?);
    let pixels = |layer: &str| -> Option<u64> {
        let is_this = |rid: &&str| rid.split_whitespace().next() == Some(layer);
        let rid = section.lines().filter_map(|line| line.strip_prefix("a=rid:")).find(is_this)?;
        let most =
            |key: &str| rid.split([';', ' ']).find_map(|term| term.strip_prefix(key)?.trim().parse::<u64>().ok());
        most("max-width=").zip(most("max-height=")).map(|(width, height)| width.saturating_mul(height))
    };
    let falling = matches!(*first, "0" | "f" | "hi" | "high") || matches!(*last, "l" | "lo" | "low" | "q");
    let said = layers.iter().filter_map(|layer| Some((pixels(layer)?, *layer))).max_by_key(|(pixels, _)| *pixels);
    Some(said.map_or(if falling { *first } else { *last }, |(_, layer)| layer))
}

/// The algorithm of fingerprints that the library checks.
const CHECKED: &str = "sha-256";

fn fingerprint_algorithm(line: &str) -> Option<String> {
    line.strip_prefix("a=fingerprint:")?.split_whitespace().next().map(str::to_ascii_lowercase)
}

fn with_checked_fingerprint(part: &str) -> String {
    let lines = part.split_inclusive('\n').filter_map(|line| match fingerprint_algorithm(line) {
        None => Some(Cow::from(line)),
        Some(algorithm) if algorithm == CHECKED => {
            let value = line.split_once(' ').map_or("", |(_, value)| value);
            Some(format!("a=fingerprint:{CHECKED} {value}").into())
        }
        Some(_) => None,
    });
    lines.collect()
}

/// What a section is about, as far as we can do it.
enum Kind {
    Known,
    /// Data channels, as they were written before RFC 8841: the port in the place of the format.
    OldData,
}

impl Kind {
    fn of(section: &str) -> Option<Self> {
        let mut words = section.split_whitespace();
        match (words.next()?, words.nth(1)?, words.next()?) {
            ("m=audio" | "m=video", ..) | ("m=application", _, "webrtc-datachannel") => Some(Self::Known),
            ("m=application", "DTLS/SCTP", port) if port.parse::<u16>().is_ok() => Some(Self::OldData),
            _ => None,
        }
    }
}

fn as_of_now(section: &str, port: &str) -> String {
    let lines = section.split_inclusive('\n').map(|line| match line {
        line if line.starts_with("m=") => {
            line.replacen(&format!("DTLS/SCTP {port}"), "UDP/DTLS/SCTP webrtc-datachannel", 1)
        }
        line if line.starts_with("a=sctpmap:") => format!("a=sctp-port:{port}\r\n"),
        line => line.to_owned(),
    });
    lines.collect()
}

fn as_of_old(section: &str, port: &str) -> String {
    const STREAMS: u16 = 1024;
    let lines = section.split_inclusive('\n').map(|line| match line {
        line if line.starts_with("m=") => {
            line.replacen("UDP/DTLS/SCTP webrtc-datachannel", &format!("DTLS/SCTP {port}"), 1)
        }
        line if line.starts_with("a=sctp-port:") => format!("a=sctpmap:{port} webrtc-datachannel {STREAMS}\r\n"),
        line => line.to_owned(),
    });
    lines.collect()
}

/// How a section is refused in an answer (RFC 3264 section 6): its first line with the port 0.
fn refusal(section: &str) -> String {
    let first = with_port_0(section.lines().next().unwrap_or_default());
    let name = mid(section).map(|mid| format!("a=mid:{mid}\r\n")).unwrap_or_default();
    format!("{}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n{name}", first.trim_end())
}

/// The description with its first accepted section in a bundle, and the others refused.
fn first_alone(sdp: String, changes: &mut Changes) -> String {
    let first = parts(&sdp).skip(1).enumerate().find(|(_, section)| !is_refused(section));
    let Some((index, first)) = first.and_then(|(index, section)| Some((index, mid(section)?))) else { return sdp };
    let mut sections = parts(&sdp);
    let mut out = with_line(sections.next().unwrap_or_default().to_owned(), &format!("a=group:BUNDLE {first}"));
    for section in sections {
        if mid(section) == Some(first) {
            out += section;
        } else {
            changes.apart += usize::from(!is_refused(section));
            out += &apart(section);
        }
    }
    let before = changes.left_out.iter().fold(index, |at, (left, _)| at + usize::from(*left <= at));
    changes.alone = Some((before, first.to_owned()));
    out
}

/// The mids of the first bundle.
fn group(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=group:BUNDLE"))
}

fn user_fragment(section: &str) -> Option<&str> {
    section.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).map(str::trim)
}

/// A section with the port 0 and without a transport of its own.
fn apart(section: &str) -> String {
    const TRANSPORT: [&str; 5] = ["a=ice-", "a=candidate:", "a=end-of-candidates", "a=fingerprint:", "a=bundle-only"];
    let lines = section.split_inclusive('\n').filter(|line| !TRANSPORT.iter().any(|prefix| line.starts_with(prefix)));
    lines.map(|line| if line.starts_with("m=") { with_port_0(line) } else { line.to_owned() }).collect()
}

fn with_port_0(line: &str) -> String {
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(kind), Some(_), Some(rest)) => format!("{kind} 0 {rest}"),
        _ => line.to_owned(),
    }
}

/// A part of a description and one more line.
fn with_line(part: String, line: &str) -> String {
    let end = if part.is_empty() || part.ends_with('\n') { "" } else { "\r\n" };
    format!("{part}{end}{line}\r\n")
}

#[cfg(test)]
mod tests {
    use super::super::renegotiation::without_candidates;
    use super::*;

    const APART: &str = "v=0\r\ns=-\r\nm=audio 0 X 0\r\na=mid:a\r\nm=audio 9 X 0\r\na=mid:b\r\na=ice-ufrag:one\r\n\
        a=candidate:1 1 udp\r\nm=video 9 X 96\r\na=mid:c\r\na=ice-ufrag:two\r\na=ice-pwd:x\r\na=candidate:2 1 udp\r\n\
        a=fingerprint:sha-256 AA\r\na=setup:actpass\r\n";

    #[test]
    fn of_sections_with_transports_of_their_own_the_first_is_taken() {
        for Reading { sdp, changes, .. } in [read_offer(APART).unwrap(), read_answer(APART, APART).unwrap()] {
            assert_eq!(changes, Changes { alone: Some((1, "b".into())), apart: 1, ..Changes::default() });
            for (mid, line, takes) in [
                (Some("b"), None, true),
                (Some("c"), Some(1), false),
                (None, Some(2), false),
                (None, Some(1), true),
                (None, None, true),
            ] {
                let candidate =
                    Candidate { sdp_mid: mid.map(str::to_owned), sdp_m_line_index: line, ..Candidate::default() };
                assert_eq!(changes.takes(&candidate), takes, "{candidate:?}");
            }
            assert!(sdp.contains("s=-\r\na=group:BUNDLE b\r\nm=audio 0 X 0\r\n"), "{sdp}");
            assert!(sdp.contains("m=audio 9 X 0\r\na=mid:b\r\na=ice-ufrag:one\r\na=candidate:1"), "{sdp}");
            assert!(sdp.ends_with("m=video 0 X 96\r\na=mid:c\r\na=setup:actpass\r\n"), "{sdp}");
            let answer = "v=0\r\na=group:BUNDLE b\r\nm=audio 9 X 0\r\na=mid:b\r\n";
            assert_eq!(changes.answer(answer.to_owned()), "v=0\r\nm=audio 9 X 0\r\na=mid:b\r\n");
        }
    }

    #[test]
    fn what_goes_without_saying_is_said_and_what_nobody_knows_is_left_out() {
        let readable =
            "a=candidate:1 1 udp 5 10.0.0.1 9 typ host\r\na=candidate:2 1 udp 5 x.local 9 typ host ufrag x\r\n";
        let unknown = "a=candidate:3 1 udp 5 10.0.0.1 9 typ token\r\na=candidate:x\r\na=candidate:\r\n";
        let sections =
            "m=audio 9 X 0\r\na=mid:0\r\nm=video 9 X 96\r\na=sendonly\r\nm=application 9 Y z\r\nm=video 9 X 96";
        let came = |session: &str| {
            let sdp = format!("v=0\r\n{session}{readable}{unknown}{sections}");
            taken(Description { kind: crate::signaling::DescriptionKind::Offer, sdp }).sdp
        };
        let told = |all: &str| {
            format!(
                "m=audio 9 X 0\r\na=mid:0\r\na={all}\r\nm=video 9 X 96\r\na=sendonly\r\nm=application 9 Y z\r\nm=video 9 X 96\r\na={all}\r\n"
            )
        };
        assert_eq!(came(""), format!("v=0\r\n{readable}{}", told("sendrecv")));
        assert_eq!(came("a=recvonly\r\n"), format!("v=0\r\na=recvonly\r\n{readable}{}", told("recvonly")));
    }

    #[test]
    fn an_offer_without_names_is_answered_without() {
        let unnamed: String = APART.split_inclusive('\n').filter(|line| !line.starts_with("a=mid:")).collect();
        let Reading { sdp, changes, .. } = read_offer(&unnamed).unwrap();
        assert!(sdp.contains("a=group:BUNDLE 1\r\n") && sdp.contains("a=candidate:1 1 udp\r\na=mid:1\r\n"), "{sdp}");
        let answer = changes.answer("v=0\r\na=group:BUNDLE 1\r\nm=audio 9 X 0\r\na=mid:1\r\n".to_owned());
        assert_eq!(answer, "v=0\r\nm=audio 9 X 0\r\n");
        // The last line of a description may have no end.
        let sdp = read_offer("v=0\r\nm=audio 9 X 0").unwrap().sdp;
        assert_eq!(sdp, "v=0\r\na=group:BUNDLE 0\r\nm=audio 9 X 0\r\na=mid:0\r\n");
    }

    #[test]
    fn an_answer_without_names_has_those_of_the_offer() {
        let answer = "v=0\r\nm=audio 0 X 0\r\nm=audio 9 X 0\r\na=mid:else\r\na=candidate:1 1 udp 1 h 9\r\n\
            m=video 9 X 96\r\na=candidate:2 1 udp 1 h 9\r\n";
        let told = read_answer(answer, APART).unwrap();
        let expected = "v=0\r\nm=audio 0 X 0\r\na=mid:a\r\nm=audio 9 X 0\r\na=mid:else\r\na=candidate:1 1 udp 1 h 9\r\n\
            m=video 9 X 96\r\na=candidate:2 1 udp 1 h 9\r\na=mid:c\r\n";
        assert_eq!((&*told.sdp, told.changes), (expected, Changes::default()));
        let elsewhere = read_answer(&answer.replacen("h 9", "h 8", 1), APART).unwrap().changes;
        let unknown = read_answer(&without_candidates(answer), APART).unwrap().changes;
        assert_eq!((elsewhere.apart, unknown.apart), (1, 1), "that is no bundle");
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        let bundled = APART.replace("s=-\r\n", "s=-\r\na=group:BUNDLE b c\r\n");
        let (same, none) = (APART.replace("two", "one"), "v=0\r\nm=audio 0 X 0\r\na=mid:0\r\n".to_owned());
        for (told, given) in [
            (read_offer(&bundled), &bundled),
            (read_answer(&bundled, APART), &bundled),
            (read_answer(&same, APART), &same),
            (read_offer(&none), &none),
        ] {
            let told = told.unwrap();
            assert!(told.changes == Changes::default() && told.sdp == *given, "{}", told.sdp);
            assert_eq!(told.changes.answer(given.clone()), *given);
        }
    }

    #[test]
    fn sections_of_other_kinds_are_refused_in_their_places() {
        let offer = "v=0\r\na=group:BUNDLE 0 1 2\r\nm=text 9 RTP/SAVPF 98\r\na=mid:0\r\na=candidate:1 1 udp\r\n\
            m=audio 9 X 0\r\na=mid:1\r\nm=application 9 UDP/BFCP *\r\na=mid:2\r\n";
        let Reading { sdp, changes, .. } = read_offer(offer).unwrap();
        let told = "v=0\r\na=group:BUNDLE 0 1 2\r\nm=audio 9 X 0\r\na=mid:1\r\na=candidate:1 1 udp\r\n";
        assert_eq!((&*sdp, changes.apart), (told, 0));
        let refused = |line: &str, mid: u8| format!("{line}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:{mid}\r\n");
        let (text, floor) = (refused("m=text 0 RTP/SAVPF 98", 0), refused("m=application 0 UDP/BFCP *", 2));
        let answer = "m=audio 9 X 0\r\na=mid:1\r\n";
        assert_eq!(changes.answer(format!("v=0\r\n{answer}")), format!("v=0\r\n{text}{answer}{floor}"));
    }

    #[test]
    fn of_several_fingerprints_the_one_that_can_be_checked_is_told() {
        let with = |lines: &str| format!("v=0\r\n{lines}m=audio 9 X 0\r\na=mid:0\r\n");
        let offer = with("a=group:BUNDLE 0\r\na=fingerprint:sha-1 AA\r\na=fingerprint:SHA-256 BB:cc\r\n");
        let told = read_offer(&offer).unwrap();
        assert_eq!(told.sdp, with("a=group:BUNDLE 0\r\na=fingerprint:sha-256 BB:cc\r\n"));
        let why = read_offer(&with("a=fingerprint:sha-512 AA\r\n")).err().unwrap();
        assert!(why.contains("sha-512") && why.contains("sha-256"), "{why}");
    }

    #[test]
    fn data_channels_as_of_old_are_answered_as_of_old() {
        let section = "m=application 9 DTLS/SCTP 5000\r\na=mid:0\r\na=sctpmap:5000 webrtc-datachannel 1024\r\n";
        let Reading { sdp, changes, .. } = read_offer(&format!("v=0\r\na=group:BUNDLE 0\r\n{section}")).unwrap();
        let now = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\na=sctp-port:5000\r\n";
        assert!(sdp.ends_with(now), "{sdp}");
        assert_eq!(changes.answer(format!("v=0\r\n{now}")), format!("v=0\r\n{section}"));
    }

    #[test]
    fn of_several_layers_the_largest_is_asked_for() {
        let section = |rids: &[&str], list: &str| {
            let rids: String = rids.iter().map(|rid| format!("a=rid:{rid}\r\n")).collect();
            format!("v=0\r\na=group:BUNDLE 0\r\nm=video 9 X 96\r\na=mid:0\r\n{rids}a=simulcast:send {list}\r\n")
        };
        for (rids, list, largest) in [
            (vec!["q send", "h send", "f send"], "q;h;f", "f send"),
            (vec!["h send", "m send", "l send"], "h;m;~l", "h send"),
            (vec!["0 send", "1 send"], "0;1", "0 send"),
            (vec!["r0 send", "r1 send"], "r0;r1", "r1 send"),
            (
                vec!["a send max-width=640;max-height=360", "b send pt=96;max-width=320;max-height=180"],
                "a;b",
                "a send max-width=640;max-height=360",
            ),
        ] {
            let name = largest.split(' ').next().unwrap();
            assert_eq!(read_offer(&section(&rids, list)).unwrap().sdp, section(&[largest], name), "{list}");
        }
    }

    #[test]
    fn every_track_has_a_name_of_its_own_before_its_streams() {
        let said = "v=0\r\na=group:BUNDLE a b c d e\r\n\
            m=audio 9 X 0\r\na=mid:a\r\na=ssrc:1 cname:x\r\n\
            m=video 9 X 96\r\na=mid:b\r\na=ssrc:2 cname:x\r\na=msid:stream\r\n\
            m=video 9 X 96\r\na=mid:c\r\na=msid:s t\r\na=ssrc:3 cname:x\r\n\
            m=video 9 X 96\r\na=mid:d\r\na=ssrc:4 msid:s t\r\n\
            m=video 9 X 96\r\na=mid:e\r\na=ssrc:5 cname:x\r\na=ssrc:5 msid:s u\r\n";
        let told = "v=0\r\na=group:BUNDLE a b c d e\r\n\
            m=audio 9 X 0\r\na=mid:a\r\na=msid:- a\r\na=ssrc:1 cname:x\r\n\
            m=video 9 X 96\r\na=mid:b\r\na=msid:stream b\r\na=ssrc:2 cname:x\r\n\
            m=video 9 X 96\r\na=mid:c\r\na=msid:s t\r\na=ssrc:3 cname:x\r\n\
            m=video 9 X 96\r\na=mid:d\r\na=msid:s d\r\na=ssrc:4 cname:-\r\n\
            m=video 9 X 96\r\na=mid:e\r\na=ssrc:5 cname:x\r\na=ssrc:5 msid:s u\r\n";
        let Reading { sdp, changes, .. } = read_offer(said).unwrap();
        assert_eq!((sdp.as_str(), changes), (told, Changes::default()));
    }

    #[test]
    fn whoever_offers_begins_dtls() {
        let offer = APART.replace("s=-\r\n", "s=-\r\na=group:BUNDLE b c\r\n");
        assert_eq!(read_offer(&offer).unwrap().changes, Changes::default());
        let Reading { sdp, changes, .. } = read_offer(&offer).unwrap().waiting();
        assert!(sdp.contains("a=setup:active") && !sdp.contains("actpass"), "{sdp}");
        assert_eq!(read_offer(&sdp).unwrap().changes, changes, "as to one that offers to begin");
        assert_eq!(changes.answer("v=0\r\nm=x\r\na=setup:active\r\n".to_owned()), "v=0\r\nm=x\r\na=setup:passive\r\n");
    }
}
