//! Streams that come without an announcement. RFC 8829 has no `a=ssrc` lines (RFC 5576) in descriptions, and some peers write
//! none; the library then passes media on where there is one section, and drops it where there are more.
//!
//! Our sockets see the SSRC and payload type of each packet, which SRTP leaves readable. Payload types tell the sections of a
//! bundle apart (RFC 9143 section 9.2), so the first packet of a stream says which section it is of, and the library is told the
//! peer's description once more, with that stream in it. Packets that came before are lost: a few milliseconds, and a key frame
//! that is asked for again.

use super::codecs::payload_types;
use super::error::PeerError;
use super::renegotiation::{mid, parts, without_candidates, without_known_streams};
use super::session::Session;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use webrtc::peer_connection::{RTCSdpType, RTCSessionDescription};

/// A section whose streams are not announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Silent {
    mid: String,
    /// Of its codecs, without retransmission and error correction.
    payload_types: Vec<u8>,
}

/// A stream that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// The section that it is of.
    pub(super) mid: String,
    pub(super) ssrc: u32,
}

/// What is awaited, and what came.
#[derive(Debug, Default)]
pub(super) struct Undeclared {
    is_awaited: AtomicBool,
    sections: Mutex<Vec<Section>>,
    came: Notify,
}

#[derive(Debug)]
struct Section {
    silent: Silent,
    /// The stream that is or will be passed on, and when its last packet came.
    stream: Option<(u32, Instant)>,
    told: bool,
    changes: u8,
}

impl Undeclared {
    /// A section's stream gives way to another one when nothing has come of it for so long.
    const QUIET: Duration = Duration::from_secs(1);
    /// Nobody begins anew so often.
    const MOST_CHANGES: u8 = 32;

    /// Awaits the streams of these sections, and of no others any more.
    pub(super) fn await_streams(&self, silent: Vec<Silent>) {
        self.is_awaited.store(!silent.is_empty(), Ordering::Relaxed);
        let mut sections = self.sections.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *sections);
        *sections = silent
            .into_iter()
            .map(|silent| match before.iter().position(|section| section.silent == silent) {
                Some(index) => before.swap_remove(index),
                None => Section { silent, stream: None, told: true, changes: 0 },
            })
            .collect();
    }

    /// Looks at a datagram that came.
    pub(super) fn note(&self, datagram: &[u8]) {
        if !self.is_awaited.load(Ordering::Relaxed) {
            return;
        }
        // Through a TURN server it comes behind four bytes of channel data (RFC 8656 section 12.4).
        let packet = if matches!(datagram, [64..=79, ..]) { datagram.get(4..).unwrap_or_default() } else { datagram };
        // RTP and not RTCP (RFC 5761 section 4).
        if let [128..=191, second, _, _, _, _, _, _, a, b, c, d, ..] = *packet
            && !(192..=223).contains(&second)
        {
            self.came(second & 0x7f, u32::from_be_bytes([a, b, c, d]), Instant::now());
        }
    }

    fn came(&self, payload_type: u8, ssrc: u32, now: Instant) {
        let mut sections = self.sections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, last)) =
            sections.iter_mut().filter_map(|section| section.stream.as_mut()).find(|own| own.0 == ssrc)
        {
            *last = now;
            return;
        }
        let is_free = |section: &&mut Section| {
            section.silent.payload_types.contains(&payload_type)
                && section.changes < Self::MOST_CHANGES
                && section.stream.is_none_or(|(_, last)| now.saturating_duration_since(last) > Self::QUIET)
        };
        if let Some(section) = sections.iter_mut().find(is_free) {
            (section.stream, section.told) = (Some((ssrc, now)), false);
            section.changes += 1;
            self.came.notify_one();
        }
    }

    /// The next stream that the library is to be told of. Cancel-safe.
    pub(super) async fn next(&self) -> Stream {
        loop {
            if let Some(stream) = self.take() {
                return stream;
            }
            self.came.notified().await;
        }
    }

    fn take(&self) -> Option<Stream> {
        let mut sections = self.sections.lock().unwrap_or_else(PoisonError::into_inner);
        let section = sections.iter_mut().find(|section| !section.told)?;
        section.told = true;
        section.stream.map(|(ssrc, _)| Stream { mid: section.silent.mid.clone(), ssrc })
    }
}

impl Session {
    /// Awaits the streams of these sections, unless there is but one for them to be of, which the library sees by itself.
    pub(super) async fn await_streams(&self, silent: Vec<Silent>) {
        let is_clear = self.pc.get_transceivers().await.len() == 1;
        self.runtime.undeclared().await_streams(if is_clear { Vec::new() } else { silent });
    }

    /// Tells the library of a stream that the peer did not announce, as if it had; the peer is told nothing.
    pub(super) async fn declare(&self, stream: &Stream) -> Result<(), PeerError> {
        let doing = || PeerError::library("awaiting a stream");
        let Some(before) = self.pc.remote_description().await else { return Ok(()) };
        let sdp = without_known_streams(&with_stream(&before.sdp, stream), &before.sdp);
        let sdp = without_candidates(&sdp);
        if before.sdp_type == RTCSdpType::Offer {
            return self.answer_again(&sdp).await.map(drop);
        }
        let offer = self.pc.create_offer(None).await.map_err(doing())?;
        self.pc.set_local_description(offer).await.map_err(doing())?;
        let answer = RTCSessionDescription::answer(sdp).map_err(doing())?;
        self.pc.set_remote_description(answer).await.map_err(doing())
    }
}

/// The sections of a peer's description that bring streams and announce none.
pub(super) fn silent_sections(sdp: &str) -> Vec<Silent> {
    let sections = parts(sdp).skip(1).filter(|section| is_silent(section));
    let silent = sections.filter_map(|section| {
        let payload_types = payload_types(section);
        (!payload_types.is_empty()).then(|| Some(Silent { mid: mid(section)?.to_owned(), payload_types }))?
    });
    silent.collect()
}

fn is_silent(section: &str) -> bool {
    const TELLING: [&str; 5] = ["a=ssrc:", "a=rid:", "a=simulcast:", "a=recvonly", "a=inactive"];
    section.lines().all(|line| !TELLING.iter().any(|prefix| line.starts_with(prefix)))
}

/// The description without the tracks of sections that announce no streams, which the library would look for in vain, and without
/// retransmissions in streams of their own where there is nothing else to retransmit for.
pub(super) fn without_silent_tracks(sdp: &str) -> String {
    let told = parts(sdp).enumerate().map(|(index, part)| {
        if index == 0 || !is_silent(part) {
            return part.to_owned();
        }
        let sends_only = part.lines().any(|line| line.trim() == "a=sendonly");
        let lines = part.split_inclusive('\n').filter(|line| !line.starts_with("a=msid:"));
        let told = lines.map(|line| match line.starts_with("a=rtpmap:") && sends_only {
            true => line.replace(" rtx/", " unspoken-rtx/"),
            false => line.to_owned(),
        });
        told.collect()
    });
    told.collect()
}

/// The description with a stream that came.
pub(super) fn with_stream(sdp: &str, stream: &Stream) -> String {
    let Stream { mid: name, ssrc } = stream;
    let is_told = |line: &str| line.starts_with("a=ssrc:") || line.starts_with("a=msid:");
    let told = parts(sdp).map(|part| match mid(part) == Some(name) {
        true => {
            let rest: String = part.split_inclusive('\n').filter(|line| !is_told(line)).collect();
            format!("{rest}a=msid:- {name}\r\na=ssrc:{ssrc} cname:-\r\n")
        }
        false => part.to_owned(),
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 13\r\na=mid:0\r\na=msid:s a\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=msid:s v\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n\
        a=fmtp:97 apt=96\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:3\r\na=msid:s b\r\na=ssrc:7 cname:x\r\na=rtpmap:111 opus/48000/2\r\n";

    fn silent(mid: &str, payload_types: &[u8]) -> Silent {
        Silent { mid: mid.to_owned(), payload_types: payload_types.to_vec() }
    }

    fn rtp(payload_type: u8, ssrc: u32) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type | 0x80, 0, 1, 0, 0, 0, 0];
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet
    }

    #[test]
    fn sections_that_send_and_announce_nothing_are_found() {
        assert_eq!(silent_sections(OFFER), [silent("0", &[111]), silent("1", &[96])]);
        let told = without_silent_tracks(OFFER);
        assert!(!told.contains("a=msid:s a") && !told.contains("a=msid:s v") && told.contains("a=msid:s b"), "{told}");
        assert!(told.contains(" rtx/90000"), "{told}");
        let one_way = without_silent_tracks(&OFFER.replace("a=mid:1\r\n", "a=mid:1\r\na=sendonly\r\n"));
        assert!(one_way.contains("a=rtpmap:97 unspoken-rtx/90000\r\n"), "{one_way}");
        let with = with_stream(&told, &Stream { mid: "1".to_owned(), ssrc: 9 });
        assert!(with.contains("apt=96\r\na=msid:- 1\r\na=ssrc:9 cname:-\r\nm=video"), "{with}");
        assert_eq!(silent_sections(&with), [silent("0", &[111])]);
    }

    #[test]
    fn a_stream_belongs_to_the_section_of_its_payload_type_and_is_told_once() {
        let undeclared = Undeclared::default();
        undeclared.note(&rtp(111, 1));
        assert_eq!(undeclared.take(), None, "nothing is awaited");
        undeclared.await_streams(vec![silent("0", &[111, 8]), silent("1", &[96])]);
        for packet in [rtp(97, 5), vec![0x80, 200, 0, 6, 0, 0, 0, 9, 1, 2, 3, 4], vec![0x80, 111], rtp(96, 6)] {
            undeclared.note(&packet);
        }
        undeclared.note(&[&[0x40, 0, 0, 12][..], &rtp(8, 7)].concat());
        undeclared.note(&rtp(96, 6));
        let next = || undeclared.take().map(|stream| (stream.mid, stream.ssrc));
        assert_eq!(next(), Some(("0".to_owned(), 7)));
        assert_eq!(next(), Some(("1".to_owned(), 6)));
        assert_eq!(next(), None);
    }

    #[test]
    fn another_stream_follows_one_that_is_quiet_and_never_one_that_is_not() {
        let undeclared = Undeclared::default();
        undeclared.await_streams(vec![silent("1", &[96])]);
        let begin = Instant::now();
        let came = |ssrc, after| undeclared.came(96, ssrc, begin + Duration::from_millis(after));
        let next = || undeclared.take().map(|stream| stream.ssrc);
        came(1, 0);
        came(2, 10);
        assert_eq!((next(), next()), (Some(1), None));
        came(1, 900);
        came(2, 1800);
        assert_eq!(next(), None);
        came(2, 1901);
        assert_eq!(next(), Some(2));
        for ssrc in 3..100 {
            came(ssrc, u64::from(ssrc) * 2000);
        }
        assert_eq!(next(), Some(u32::from(Undeclared::MOST_CHANGES)), "no more than so many");
    }
}
