//! Which codecs a session speaks of, and which of them two peers have in common (RFC 8829 sections 5.2 and 5.3, RFC 3264).

use super::error::PeerError;
use super::session::Session;
use crate::media::{Codec, MediaKind};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpRtxParameters, RtpCodecKind,
};
use std::sync::{Arc, OnceLock};
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::MediaEngine;
use webrtc::rtp_transceiver::{RtpSender, RtpTransceiver};

/// A track of ours, from when it is added until the peer has said what it takes.
pub(super) struct Outgoing {
    pub sender: Arc<dyn RtpSender>,
    pub ssrc: u32,
    pub rtx: Option<u32>,
    /// The codecs that it may be sent in, the preferred first; never empty.
    pub codecs: Vec<Codec>,
    /// Whether the same section receives as well.
    pub receives: bool,
    /// The one that was agreed on.
    pub agreed: Arc<OnceLock<Codec>>,
}

impl Outgoing {
    /// The track as the library knows it, sent as `codec`.
    pub fn library_track(&self, codec: Codec) -> TrackLocalStaticRTP {
        library_track(codec, self.ssrc, self.rtx)
    }
}

/// A track of the library that is sent as `codec`.
pub(super) fn library_track(codec: Codec, ssrc: u32, rtx: Option<u32>) -> TrackLocalStaticRTP {
    let rtx = rtx.map(|ssrc| RTCRtpRtxParameters { ssrc });
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), rtx, ..Default::default() },
        codec: library_codec(codec),
        active: true,
        ..Default::default()
    };
    let name = codec.kind().as_str();
    TrackLocalStaticRTP::new(MediaStreamTrack::new(
        "rtckit".to_owned(),
        format!("rtckit-{name}"),
        name.to_owned(),
        library_kind(codec.kind()),
        vec![encoding],
    ))
}

pub(super) fn library_kind(kind: MediaKind) -> RtpCodecKind {
    match kind {
        MediaKind::Audio => RtpCodecKind::Audio,
        MediaKind::Video => RtpCodecKind::Video,
    }
}

fn feedback(typ: &str, parameter: &str) -> RTCPFeedback {
    RTCPFeedback { typ: typ.to_owned(), parameter: parameter.to_owned() }
}

fn library_codec(codec: Codec) -> RTCRtpCodec {
    let sdp_fmtp_line = match codec {
        Codec::Vp8 | Codec::Pcmu | Codec::Pcma => "",
        Codec::Vp9 => "profile-id=0",
        Codec::H264 => "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        Codec::Av1 => "profile=0",
        Codec::Opus => "minptime=10;useinbandfec=1",
    };
    let rtcp_feedback = match codec.kind() {
        MediaKind::Video => {
            vec![feedback("nack", ""), feedback("nack", "pli"), feedback("goog-remb", ""), feedback("ccm", "fir")]
        }
        MediaKind::Audio => Vec::new(),
    };
    RTCRtpCodec {
        mime_type: codec.mime_type().to_owned(),
        clock_rate: codec.clock_rate().get(),
        // One is not said: RFC 8866 section 6.6.
        channels: codec.channels().filter(|channels| *channels > 1).unwrap_or(0),
        sdp_fmtp_line: sdp_fmtp_line.to_owned(),
        rtcp_feedback,
    }
}

/// The payload type under which we offer a codec. That of its retransmissions is one more.
const fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Vp8 => 96,
        Codec::Vp9 => 98,
        Codec::H264 => 102,
        Codec::Av1 => 104,
        Codec::Opus => 111,
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
    }
}

fn parameters(codec: Codec) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters { rtp_codec: library_codec(codec), payload_type: payload_type(codec) }
}

/// An engine that knows these codecs, in this order.
pub(super) fn media_engine(audio: &[Codec], video: &[Codec]) -> webrtc::error::Result<MediaEngine> {
    let mut engine = MediaEngine::default();
    for &codec in audio {
        engine.register_codec(parameters(codec), RtpCodecKind::Audio)?;
    }
    for &codec in video {
        engine.register_codec(parameters(codec), RtpCodecKind::Video)?;
        let rtx = RTCRtpCodec {
            mime_type: "video/rtx".to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: format!("apt={}", payload_type(codec)),
            rtcp_feedback: Vec::new(),
        };
        let parameters = RTCRtpCodecParameters { rtp_codec: rtx, payload_type: payload_type(codec) + 1 };
        engine.register_codec(parameters, RtpCodecKind::Video)?;
    }
    Ok(engine)
}

/// The codec that a media type with these format parameters is; `None` for one that we do not speak, or not in this form.
pub(super) fn codec_of(mime_type: &str, fmtp: &str) -> Option<Codec> {
    let codec = Codec::from_mime_type(mime_type)?;
    let parameter = |wanted: &str| {
        let mut pairs = fmtp.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let is_ours = match codec {
        Codec::Vp8 | Codec::Opus | Codec::Pcmu | Codec::Pcma => true,
        // RFC 9628 section 7: profile 0 where it is not said.
        Codec::Vp9 => parameter("profile-id").is_none_or(|profile| profile == "0"),
        // Main where it is not said. Level and tier are what each side can receive, and need not be the same.
        Codec::Av1 => parameter("profile").is_none_or(|profile| profile == "0"),
        // RFC 6184 section 8.2.2: both are to be the same on both sides; the level is not.
        Codec::H264 => {
            parameter("packetization-mode") == Some("1")
                && parameter("profile-level-id").is_some_and(is_constrained_baseline)
        }
    };
    is_ours.then_some(codec)
}

/// Whether a `profile-level-id` is one of those that mean Constrained Baseline, RFC 6184 table 5.
fn is_constrained_baseline(profile_level_id: &str) -> bool {
    let Ok(id) = u32::from_str_radix(profile_level_id, 16) else { return false };
    let [0, profile, constraints, _] = id.to_be_bytes() else { return false };
    profile_level_id.len() == 6
        && match profile {
            0x42 => constraints & 0x4f == 0x40,
            0x4d => constraints & 0x8f == 0x80,
            0x58 => constraints & 0xcf == 0xc0,
            _ => false,
        }
}

/// The same of an `a=rtpmap` value such as `opus/48000/2` of a section of this kind, whose rate and channels count as well.
fn codec_of_encoding(kind: &str, encoding: &str, fmtp: &str) -> Option<Codec> {
    let mut parts = encoding.trim().split('/');
    let codec = codec_of(&format!("{kind}/{}", parts.next().unwrap_or_default()), fmtp)?;
    let rate = parts.next().and_then(|rate| rate.parse().ok());
    let channels = parts.next().map_or(Some(1), |channels| channels.parse().ok());
    let is_ours = rate == Some(codec.clock_rate().get()) && codec.channels().is_none_or(|ours| channels == Some(ours));
    is_ours.then_some(codec)
}

/// The encodings that need no `a=rtpmap`, RFC 3551 table 4, so far as we speak them.
const STATIC_ENCODINGS: [(&str, &str); 2] = [("0", "PCMU/8000"), ("8", "PCMA/8000")];

fn codec_of_parameters(parameters: &RTCRtpCodecParameters) -> Option<Codec> {
    codec_of(&parameters.rtp_codec.mime_type, &parameters.rtp_codec.sdp_fmtp_line)
}

/// The payload type that was agreed on for `codec`.
pub(super) fn agreed_payload_type(codecs: &[RTCRtpCodecParameters], codec: Codec) -> Option<u8> {
    codecs.iter().find(|parameters| codec_of_parameters(parameters) == Some(codec)).map(|found| found.payload_type)
}

/// The description with other names for codecs of ours in forms that we do not speak: where the library finds none in the right
/// form, it takes one in any. Payload types whose encoding goes without saying get it said: without it the library refuses the
/// description.
pub(super) fn without_unspoken_forms(sdp: &str) -> String {
    let mut out = String::with_capacity(sdp.len() + 64);
    let (mut section, mut unsaid, mut at) = (Section(""), String::new(), 0);
    for line in sdp.split_inclusive('\n') {
        if line.starts_with("m=") {
            out += &std::mem::take(&mut unsaid);
            section = Section(sdp[at + 2..].split("\nm=").next().unwrap_or_default());
            unsaid = section.unsaid_encodings();
        }
        at += line.len();
        let map = line.strip_prefix("a=rtpmap:").and_then(|map| map.split_once(' '));
        match map.filter(|(payload, encoding)| section.is_unspoken_form(payload, encoding)) {
            Some((payload, encoding)) => out += &format!("a=rtpmap:{payload} unspoken-{encoding}"),
            None => out += line,
        }
    }
    if !unsaid.is_empty() && !out.ends_with('\n') {
        out += "\r\n";
    }
    out + &unsaid
}

/// A media section, without its `m=`.
#[derive(Clone, Copy)]
struct Section<'a>(&'a str);

impl<'a> Section<'a> {
    fn words(self) -> impl Iterator<Item = &'a str> {
        self.0.lines().next().unwrap_or_default().split_whitespace()
    }

    fn kind(self) -> &'a str {
        self.words().next().unwrap_or_default()
    }

    fn payloads(self) -> impl Iterator<Item = &'a str> {
        self.words().skip(3)
    }

    /// The value of an attribute that begins with this payload type.
    fn attribute(self, attribute: &str, payload: &str) -> Option<&'a str> {
        let mut values = self.0.lines().filter_map(|line| line.strip_prefix(attribute)?.split_once(' '));
        values.find(|(number, _)| *number == payload).map(|(_, value)| value.trim())
    }

    /// How this payload type is coded, said or not.
    fn encoding(self, payload: &str) -> Option<&'a str> {
        let unsaid = || STATIC_ENCODINGS.iter().find(|(number, _)| *number == payload).map(|(_, encoding)| *encoding);
        self.attribute("a=rtpmap:", payload).or_else(unsaid)
    }

    fn codec(self, payload: &str, encoding: &str) -> Option<Codec> {
        codec_of_encoding(self.kind(), encoding, self.attribute("a=fmtp:", payload).unwrap_or_default())
    }

    fn is_unspoken_form(self, payload: &str, encoding: &str) -> bool {
        let name = encoding.split('/').next().unwrap_or_default().trim();
        let is_ours = Codec::from_mime_type(&format!("{}/{name}", self.kind())).is_some();
        is_ours && self.codec(payload, encoding).is_none()
    }

    /// Lines for the payload types without `a=rtpmap`.
    fn unsaid_encodings(self) -> String {
        if !matches!(self.kind(), "audio" | "video") {
            return String::new();
        }
        let unsaid = self.payloads().filter(|payload| self.attribute("a=rtpmap:", payload).is_none());
        let line = |payload| format!("a=rtpmap:{payload} {}\r\n", self.encoding(payload).unwrap_or("unspoken/8000"));
        unsaid.map(line).collect()
    }

    /// What we speak of it, in its order.
    fn codecs(self) -> Vec<Codec> {
        self.payloads().filter_map(|payload| self.codec(payload, self.encoding(payload)?)).collect()
    }
}

/// The codecs of the media section with this mid, in its order; those that we do not speak are left out.
fn codecs_of_section(sdp: &str, mid: &str) -> Vec<Codec> {
    let (_, sections) = sdp.split_once("\nm=").unwrap_or_default();
    let is_this = |section: &&str| section.lines().any(|line| line.strip_prefix("a=mid:").map(str::trim) == Some(mid));
    sections.split("\nm=").find(is_this).map_or_else(Vec::new, |section| Section(section).codecs())
}

impl Session {
    /// Prefers `codecs` for a track of ours: they are offered, in this order; where we receive on the same section, all the
    /// others behind them.
    pub(super) async fn prefer(
        &self,
        sender: RTCRtpSenderId,
        codecs: &[Codec],
        receives: bool,
    ) -> Result<(), PeerError> {
        let Some(transceiver) = self.transceiver_of(sender).await else { return Ok(()) };
        let others = self.codecs_like(codecs).iter().filter(|other| receives && !codecs.contains(other));
        let preferred = codecs.iter().chain(others).map(|codec| parameters(*codec)).collect();
        transceiver.set_codec_preferences(preferred).await.map_err(PeerError::library("ordering the codecs"))
    }

    /// All codecs of this session of the kind that these are.
    fn codecs_like(&self, codecs: &[Codec]) -> &[Codec] {
        match codecs.first().map(|codec| codec.kind()) {
            Some(MediaKind::Audio) => &self.audio_codecs,
            Some(MediaKind::Video) => &self.video_codecs,
            None => &[],
        }
    }

    /// Settles the codec of each track of ours by the peer's description. For an answer of ours the offer must have been
    /// applied, and the answer then has the codecs in our order; for one of the peer's it must not have been applied yet.
    pub(super) async fn agree_on_codecs(&self, remote_sdp: &str, answering: bool) -> Result<(), PeerError> {
        if answering {
            for transceiver in self.pc.get_transceivers().await {
                self.reorder(&*transceiver).await?;
            }
        }
        for outgoing in &self.outgoing {
            let Some(transceiver) = self.transceiver_of(outgoing.sender.id()).await else { continue };
            let Ok(Some(mid)) = transceiver.mid().await else { continue };
            let theirs = codecs_of_section(remote_sdp, &mid);
            // An answer is in the order of the peer's preference, ours in the order of ours.
            let agreed = match answering {
                true => outgoing.codecs.iter().find(|codec| theirs.contains(codec)),
                false => theirs.iter().find(|codec| outgoing.codecs.contains(codec)),
            };
            let Some(&agreed) = agreed else { continue };
            if outgoing.agreed.set(agreed).is_ok() && agreed != outgoing.codecs[0] {
                // The library binds its interceptors by the codec that the track was added with.
                let track = Arc::new(outgoing.library_track(agreed));
                let replaced = outgoing.sender.replace_track(track).await;
                replaced.map_err(PeerError::library("settling the codec of a track"))?;
            }
        }
        Ok(())
    }

    /// Brings the codecs that an offer and we have in common into our order.
    async fn reorder(&self, transceiver: &dyn RtpTransceiver) -> Result<(), PeerError> {
        let doing = || PeerError::library("ordering the codecs");
        let sender = transceiver.sender().await.map_err(doing())?;
        let common = match (&sender, transceiver.receiver().await.map_err(doing())?) {
            (Some(sender), _) => sender.get_parameters().await.map_err(doing())?.rtp_parameters.codecs,
            (None, Some(receiver)) => receiver.get_parameters().await.map_err(doing())?.rtp_parameters.codecs,
            (None, None) => return Ok(()),
        };
        let spoken: Vec<Codec> = common.iter().filter_map(codec_of_parameters).collect();
        let ours =
            self.outgoing.iter().find(|ours| sender.as_ref().is_some_and(|sender| sender.id() == ours.sender.id()));
        let first = ours.map_or(&[][..], |ours| &ours.codecs);
        let rank = |parameters: &RTCRtpCodecParameters| {
            let codec = codec_of_parameters(parameters);
            let mut order = first.iter().chain(self.codecs_like(&spoken));
            codec.and_then(|codec| order.position(|other| *other == codec)).unwrap_or(usize::MAX)
        };
        let mut ordered = common;
        ordered.sort_by_key(rank);
        transceiver.set_codec_preferences(ordered).await.map_err(doing())
    }

    /// The transceiver of a sender of ours.
    pub(super) async fn transceiver_of(&self, sender: RTCRtpSenderId) -> Option<Arc<dyn RtpTransceiver>> {
        for transceiver in self.pc.get_transceivers().await {
            if matches!(transceiver.sender().await, Ok(Some(other)) if other.id() == sender) {
                return Some(transceiver);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 42 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 100 97 98 96 45\r\na=mid:one\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=0\r\na=rtpmap:100 VP9/90000\r\na=fmtp:100 profile-id=2\r\n";

    #[test]
    fn the_codecs_of_a_section_come_in_its_order_and_only_in_forms_that_we_speak() {
        assert_eq!(codecs_of_section(OFFER, "one"), [Codec::Vp9, Codec::Vp8]);
        assert_eq!(codecs_of_section(OFFER, "0"), [Codec::Opus]);
        assert_eq!(codecs_of_section(OFFER, "on"), []);
        assert_eq!(codecs_of_section("v=0\r\n", "0"), []);
    }

    #[test]
    fn forms_that_we_do_not_speak_get_another_name_and_nothing_else_changes() {
        let hidden = without_unspoken_forms(OFFER);
        let expected = OFFER.replace("a=rtpmap:100 VP9", "a=rtpmap:100 unspoken-VP9") + "a=rtpmap:45 unspoken/8000\r\n";
        assert_eq!(hidden, expected);
        assert_eq!(codecs_of_section(&hidden, "one"), codecs_of_section(OFFER, "one"));
        let wide = OFFER.replace("opus/48000/2", "PCMU/16000");
        assert!(without_unspoken_forms(&wide).contains("a=rtpmap:111 unspoken-PCMU/16000\r\n"));
    }

    #[test]
    fn encodings_that_go_without_saying_are_understood_and_said() {
        let telephone = "v=0\r\no=- 42 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 18 8 0 101\r\na=mid:0\r\na=rtpmap:101 telephone-event/8000\r\n";
        let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n";
        let said = "a=rtpmap:18 unspoken/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n";
        assert_eq!(codecs_of_section(telephone, "0"), [Codec::Pcma, Codec::Pcmu]);
        assert_eq!(without_unspoken_forms(telephone), format!("{telephone}{said}"));
        let both = format!("{telephone}{video}");
        assert_eq!(without_unspoken_forms(&both), format!("{telephone}{said}{video}"));
        let data = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n";
        assert_eq!(without_unspoken_forms(data), data);
    }

    #[test]
    fn format_parameters_decide() {
        assert_eq!(codec_of("video/vp9", ""), Some(Codec::Vp9));
        assert_eq!(codec_of("video/VP9", "max-fr=30; profile-id = 1"), None);
        assert_eq!(codec_of("video/AV1", "level-idx=5;profile=0;tier=0"), Some(Codec::Av1));
        assert_eq!(codec_of("video/AV1", "level-idx=5;profile=1;tier=0"), None);
        assert_eq!(codec_of("video/rtx", "apt=96"), None);
        let h264 = |mode: u8, profile: &str| {
            codec_of("video/H264", &format!("packetization-mode={mode};profile-level-id={profile}")).is_some()
        };
        assert!(h264(1, "42e01f") && h264(1, "42C02A") && h264(1, "4d801f") && h264(1, "58c01e"));
        assert!(!h264(0, "42e01f"), "packets of single NAL units");
        for other in ["42001f", "4d001f", "64001f", "640c1f", "42e0", "", "zzzzzz", "142e01f"] {
            assert!(!h264(1, other), "{other}");
        }
        assert_eq!(codec_of("video/H264", ""), None, "Baseline in single NAL units, where nothing is said");
    }

    #[test]
    fn payload_types_do_not_collide() {
        let mut all: Vec<u8> =
            Codec::ALL.into_iter().flat_map(|codec| [payload_type(codec), payload_type(codec) + 1]).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
    }
}
