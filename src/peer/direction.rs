//! Which way media goes in each section once a connection is up (RFC 3264 section 8.4: holding and resuming).
//!
//! The library answers a direction of ours that the offer does not allow, and ends for good what an offer holds. So it is told
//! directions that keep everything alive, the answer is put right, and tracks rest while the peer does not want them.

use super::codecs::Outgoing;
use super::renegotiation::{is_refused, mid, parts};
use super::session::Session;
use crate::media::MediaKind;

/// A direction as the one who says it means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    pub sends: bool,
    pub receives: bool,
}

impl Direction {
    const LINES: [(&str, Self); 4] = [
        ("a=sendrecv", Self { sends: true, receives: true }),
        ("a=sendonly", Self { sends: true, receives: false }),
        ("a=recvonly", Self { sends: false, receives: true }),
        ("a=inactive", Self { sends: false, receives: false }),
    ];

    fn of_line(line: &str) -> Option<Self> {
        Self::LINES.iter().find(|(text, _)| *text == line.trim_end()).map(|(_, direction)| *direction)
    }

    /// That of a section: both ways where it does not say; none where it is refused.
    pub(super) fn of(section: &str) -> Self {
        if is_refused(section) {
            return Self { sends: false, receives: false };
        }
        Self::said_in(section).unwrap_or(Self { sends: true, receives: true })
    }

    /// What a part of a description says of it.
    pub(super) fn said_in(part: &str) -> Option<Self> {
        part.lines().find_map(Self::of_line)
    }

    pub(super) fn line(self) -> &'static str {
        Self::LINES.iter().find(|(_, direction)| *direction == self).map_or("a=inactive", |(text, _)| *text)
    }
}

/// An offer for the library: what is held or stopped is told as received only, which can be resumed. What is stopped is in no
/// bundle, and so refused in the answer.
pub(super) fn with_nothing_ended(offer: &str) -> String {
    offer
        .split_inclusive('\n')
        .map(|line| if line.trim_end() == "a=inactive" { "a=recvonly\r\n" } else { line })
        .collect()
}

/// The first offer, for the library, where it takes nothing of a kind of which we have a track: told is that one section would. The
/// track is given to that, which cannot be done later, and rests until it is wanted.
pub(super) fn with_room_for(offer: &str, kinds: impl Iterator<Item = MediaKind>) -> String {
    let mut told: Vec<String> = parts(offer).map(str::to_owned).collect();
    for kind in kinds {
        let is_of_kind = |part: &&mut String| part.starts_with(&format!("m={kind} ")) && !is_refused(part);
        let mut sections: Vec<&mut String> = told.iter_mut().filter(is_of_kind).collect();
        if sections.iter().any(|section| Direction::of(section).receives) {
            continue;
        }
        if let Some(section) = sections.first_mut() {
            let (theirs, room) = (Direction::of(section), Direction { receives: true, ..Direction::of(section) });
            **section = section.replacen(theirs.line(), room.line(), 1);
        }
    }
    told.concat()
}

/// Our answer to an offer, with directions that the offer allows.
pub(super) fn as_offered(answer: &str, offer: &str) -> String {
    let mut offered = parts(offer);
    let said = parts(answer).map(|part| {
        let theirs = offered.next().map_or(Direction { sends: true, receives: true }, Direction::of);
        if !part.starts_with("m=") {
            return part.to_owned();
        }
        let lines = part.split_inclusive('\n').map(|line| match Direction::of_line(line) {
            Some(ours) => {
                let both = Direction { sends: ours.sends && theirs.receives, receives: ours.receives && theirs.sends };
                format!("{}\r\n", both.line())
            }
            None => line.to_owned(),
        });
        lines.collect()
    });
    said.collect()
}

/// What of these kinds one description sends and the other receives.
fn sent(theirs: &str, ours: &str) -> Vec<MediaKind> {
    let kind = |part: &str| {
        [MediaKind::Video, MediaKind::Audio].into_iter().find(|kind| part.starts_with(&format!("m={kind} ")))
    };
    let both = parts(theirs).zip(parts(ours));
    both.filter(|(theirs, ours)| Direction::of(theirs).sends && Direction::of(ours).receives)
        .filter_map(|(theirs, _)| kind(theirs))
        .collect()
}

impl Session {
    /// The tracks that the peer announced and we take, in the order of their media sections.
    pub async fn announced(&self) -> Vec<MediaKind> {
        match (self.pc.remote_description().await, self.pc.local_description().await) {
            (Some(theirs), Some(ours)) => sent(&theirs.sdp, &ours.sdp),
            _ => Vec::new(),
        }
    }

    /// Lets tracks rest that the peer's description does not want, and wakes those that it wants.
    pub(super) async fn rest_unwanted(&self, theirs: &str) {
        for Outgoing { sender, wanted, .. } in &self.outgoing {
            let Some(transceiver) = self.transceiver_of(sender.id()).await else { continue };
            let Ok(Some(name)) = transceiver.mid().await else { continue };
            let section = parts(theirs).find(|part| mid(part) == Some(&name));
            let now = section.is_some_and(|section| Direction::of(section).receives);
            wanted.send_if_modified(|wanted| std::mem::replace(wanted, now) != now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(directions: [&str; 4]) -> String {
        let section = |direction| format!("m=audio 9 X 0\r\n{direction}\r\na=mid:0\r\n");
        format!("v=0\r\n{}", directions.map(section).concat())
    }

    #[test]
    fn an_answer_goes_no_way_that_the_offer_does_not() {
        let offer = sections(["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"]);
        let ours = |line| as_offered(&sections([line; 4]), &offer);
        assert_eq!(ours("a=sendrecv"), sections(["a=sendrecv", "a=recvonly", "a=sendonly", "a=inactive"]));
        assert_eq!(ours("a=sendonly"), sections(["a=sendonly", "a=inactive", "a=sendonly", "a=inactive"]));
        assert_eq!(ours("a=recvonly"), sections(["a=recvonly", "a=recvonly", "a=inactive", "a=inactive"]));
        assert_eq!(ours("a=inactive"), sections(["a=inactive"; 4]));
        let stopped = offer.replacen("m=audio 9", "m=audio 0", 1);
        assert!(
            as_offered(&sections(["a=sendrecv"; 4]), &stopped).starts_with("v=0\r\nm=audio 9 X 0\r\na=inactive\r\n")
        );
    }

    #[test]
    fn a_track_gets_a_section_though_none_takes_it_yet_and_none_where_another_does() {
        let told = |directions| with_room_for(&sections(directions), [MediaKind::Audio, MediaKind::Video].into_iter());
        let (recvonly, inactive) = ("a=recvonly", "a=inactive");
        assert_eq!(told([inactive; 4]), sections([recvonly, inactive, inactive, inactive]));
        assert_eq!(
            told(["a=sendonly", inactive, inactive, inactive]),
            sections(["a=sendrecv", inactive, inactive, inactive])
        );
        for taken in [[inactive, recvonly, inactive, inactive], ["a=sendonly", "a=x", inactive, inactive]] {
            assert_eq!(told(taken), sections(taken));
        }
        let stopped = sections([inactive; 4]).replacen("m=audio 9", "m=audio 0", 1);
        let told = with_room_for(&stopped, [MediaKind::Audio].into_iter());
        assert_eq!(parts(&told).filter(|part| part.contains(recvonly)).count(), 1);
        assert!(parts(&told).nth(1).unwrap().contains(inactive), "{told}");
    }

    #[test]
    fn a_track_is_announced_where_one_side_sends_what_the_other_takes() {
        let theirs = "v=0\r\nm=audio 9 X 0\r\nm=video 9 X 96\r\na=sendonly\r\nm=video 9 X 96\r\na=sendrecv\r\n\
            m=video 9 X 96\r\na=recvonly\r\nm=application 9 X y\r\nm=video 0 X 96\r\na=sendrecv\r\n";
        let ours = theirs.replace("sendonly", "recvonly").replacen("m=audio 9", "m=audio 0", 1);
        assert_eq!(sent(theirs, &ours), [MediaKind::Video; 2]);
        assert_eq!(sent(theirs, theirs), [MediaKind::Audio, MediaKind::Video]);
    }

    #[test]
    fn what_is_held_is_not_ended() {
        let offer = sections(["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"]);
        assert_eq!(with_nothing_ended(&offer), sections(["a=sendrecv", "a=sendonly", "a=recvonly", "a=recvonly"]));
    }
}
