//! Which codecs a session speaks of, and which of them two peers have in common (RFC 8829 sections 5.2 and 5.3, RFC 3264).

use super::error::PeerError;
use super::form::{Form, Said, with_packetization_mode};
use super::renegotiation::is_refused;
use super::session::Session;
use crate::media::{Codec, MediaKind};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpRtxParameters, RtpCodecKind,
};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
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
    /// What was agreed on.
    pub agreed: Arc<OnceLock<Said>>,
    /// Whether the peer wants it now.
    pub wanted: watch::Sender<bool>,
}

impl Outgoing {
    /// The track as the library knows it, sent as was agreed.
    fn library_track(&self, agreed: &Said) -> TrackLocalStaticRTP {
        library_track(agreed.form.codec, &agreed.fmtp, self.ssrc, self.rtx)
    }
}

/// A track of the library that is sent in the preferred form of `codec`.
pub(super) fn wished_track(codec: Codec, ssrc: u32, rtx: Option<u32>) -> TrackLocalStaticRTP {
    let fmtp = Form::of(codec).next().map_or("", Form::fmtp);
    library_track(codec, fmtp, ssrc, rtx)
}

fn library_track(codec: Codec, fmtp: &str, ssrc: u32, rtx: Option<u32>) -> TrackLocalStaticRTP {
    let rtx = rtx.map(|ssrc| RTCRtpRtxParameters { ssrc });
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), rtx, ..Default::default() },
        codec: library_codec(codec, fmtp),
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

fn library_codec(codec: Codec, fmtp: &str) -> RTCRtpCodec {
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
        sdp_fmtp_line: fmtp.to_owned(),
        rtcp_feedback,
    }
}

/// A form as we offer it.
fn parameters(form: Form) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters { rtp_codec: library_codec(form.codec, form.fmtp()), payload_type: form.payload_type() }
}

/// An engine that knows these codecs, in this order.
pub(super) fn media_engine(audio: &[Codec], video: &[Codec]) -> webrtc::error::Result<MediaEngine> {
    let mut engine = MediaEngine::default();
    for form in audio.iter().copied().flat_map(Form::of) {
        engine.register_codec(parameters(form), RtpCodecKind::Audio)?;
    }
    for form in video.iter().copied().flat_map(Form::of) {
        engine.register_codec(parameters(form), RtpCodecKind::Video)?;
        let rtx = RTCRtpCodec {
            mime_type: "video/rtx".to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: format!("apt={}", form.payload_type()),
            rtcp_feedback: Vec::new(),
        };
        let parameters = RTCRtpCodecParameters { rtp_codec: rtx, payload_type: form.payload_type() + 1 };
        engine.register_codec(parameters, RtpCodecKind::Video)?;
    }
    Ok(engine)
}

/// The form of an `a=rtpmap` value such as `opus/48000/2` of a section of this kind, whose rate and channels count as well.
fn form_of_encoding(kind: &str, encoding: &str, fmtp: &str) -> Option<Form> {
    let mut parts = encoding.trim().split('/');
    let form = Form::read(&format!("{kind}/{}", parts.next().unwrap_or_default()), fmtp)?;
    let codec = form.codec;
    let rate = parts.next().and_then(|rate| rate.parse().ok());
    let channels = parts.next().map_or(Some(1), |channels| channels.parse().ok());
    let is_ours = rate == Some(codec.clock_rate().get()) && codec.channels().is_none_or(|ours| channels == Some(ours));
    is_ours.then_some(form)
}

/// The encodings that need no `a=rtpmap`, RFC 3551 table 4, so far as we speak them.
const STATIC_ENCODINGS: [(&str, &str); 2] = [("0", "PCMU/8000"), ("8", "PCMA/8000")];

fn form_of(parameters: &RTCRtpCodecParameters) -> Option<Form> {
    Form::read(&parameters.rtp_codec.mime_type, &parameters.rtp_codec.sdp_fmtp_line)
}

/// The payload types that were agreed on, and the codecs that they stand for.
pub(super) fn agreed_codecs(codecs: &[RTCRtpCodecParameters]) -> Vec<(u8, Codec)> {
    codecs.iter().filter_map(|parameters| Some((parameters.payload_type, form_of(parameters)?.codec))).collect()
}

/// The payload type that was agreed on for `form`.
pub(super) fn agreed_payload_type(codecs: &[RTCRtpCodecParameters], form: Form) -> Option<u8> {
    codecs.iter().find(|parameters| form_of(parameters) == Some(form)).map(|found| found.payload_type)
}

/// The description with other names for codecs of ours in forms that we do not speak: where the library finds none in the right
/// form, it takes one in any. Payload types whose encoding goes without saying get it said: without it the library refuses the
/// description. So does a packetization mode.
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
            None => match section.with_mode(line) {
                Some(said) => out += &said,
                None => out += line,
            },
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

    fn form(self, payload: &str, encoding: &str) -> Option<Form> {
        form_of_encoding(self.kind(), encoding, self.fmtp(payload))
    }

    fn fmtp(self, payload: &str) -> &'a str {
        self.attribute("a=fmtp:", payload).unwrap_or_default()
    }

    /// A line of H.264's format parameters with their packetization mode.
    fn with_mode(self, line: &str) -> Option<String> {
        let (payload, fmtp) = line.strip_prefix("a=fmtp:")?.trim_end().split_once(' ')?;
        let form = self.form(payload, self.encoding(payload)?)?;
        (form.codec == Codec::H264).then(|| format!("a=fmtp:{payload} {}\r\n", with_packetization_mode(fmtp)))
    }

    fn is_unspoken_form(self, payload: &str, encoding: &str) -> bool {
        let name = encoding.split('/').next().unwrap_or_default().trim();
        let is_ours = Codec::from_mime_type(&format!("{}/{name}", self.kind())).is_some();
        is_ours && self.form(payload, encoding).is_none()
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
    fn said(self) -> Vec<Said> {
        let said = |payload| {
            Some(Said { form: self.form(payload, self.encoding(payload)?)?, fmtp: self.fmtp(payload).to_owned() })
        };
        self.payloads().filter_map(said).collect()
    }
}

/// The codecs of the media section with this mid, in its order; those that we do not speak are left out. None when it is refused.
fn said_in_section(sdp: &str, mid: &str) -> Vec<Said> {
    let (_, sections) = sdp.split_once("\nm=").unwrap_or_default();
    let is_this = |section: &&str| section.lines().any(|line| line.strip_prefix("a=mid:").map(str::trim) == Some(mid));
    let section = sections.split("\nm=").find(is_this).map(Section).filter(|section| !is_refused(section.0));
    section.map_or_else(Vec::new, Section::said)
}

/// The payload types of the codecs of a media section that we speak; none when it is refused.
pub(super) fn payload_types(section: &str) -> Vec<u8> {
    let section = Section(section.strip_prefix("m=").unwrap_or(section));
    let is_spoken = |payload: &&str| section.encoding(payload).and_then(|it| section.form(payload, it)).is_some();
    let spoken = section.payloads().filter(|_| !is_refused(section.0)).filter(is_spoken);
    spoken.filter_map(|payload| payload.parse().ok()).collect()
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
        let preferred = codecs.iter().chain(others).copied().flat_map(Form::of).map(parameters).collect();
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
            let theirs = said_in_section(remote_sdp, &mid);
            // An answer is in the order of the peer's preference, ours in the order of ours.
            let agreed = match answering {
                true => {
                    let mut ours = outgoing.codecs.iter().copied().flat_map(Form::of);
                    ours.find_map(|form| theirs.iter().find(|theirs| theirs.form == form))
                }
                false => theirs.iter().find(|theirs| outgoing.codecs.contains(&theirs.form.codec)),
            };
            let Some(agreed) = agreed else { continue };
            let wished = Form::of(outgoing.codecs[0]).next();
            if outgoing.agreed.set(agreed.clone()).is_ok() && wished != Some(agreed.form) {
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
        let spoken: Vec<Codec> = common.iter().filter_map(form_of).map(|form| form.codec).collect();
        let ours =
            self.outgoing.iter().find(|ours| sender.as_ref().is_some_and(|sender| sender.id() == ours.sender.id()));
        let first = ours.map_or(&[][..], |ours| &ours.codecs);
        let rank = |parameters: &RTCRtpCodecParameters| {
            let form = form_of(parameters);
            let mut order = first.iter().chain(self.codecs_like(&spoken)).copied().flat_map(Form::of);
            form.and_then(|form| order.position(|other| other == form)).unwrap_or(usize::MAX)
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

    fn codecs_of_section(sdp: &str, mid: &str) -> Vec<Codec> {
        said_in_section(sdp, mid).into_iter().map(|said| said.form.codec).collect()
    }

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
    fn a_packetization_mode_that_goes_without_saying_is_said() {
        let sdp = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 97 98\r\na=mid:0\r\na=rtpmap:97 H264/90000\r\n\
            a=fmtp:97 profile-level-id=42e00c;max-fs=1200\r\na=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=0\r\n";
        let said = without_unspoken_forms(sdp);
        assert_eq!(said, sdp.replace("max-fs=1200", "max-fs=1200;packetization-mode=0"));
        let h264 = &said_in_section(&said, "0")[0];
        assert_eq!((h264.form.single_units, h264.level().unwrap().holds(640, 480)), (true, true));
    }
}
