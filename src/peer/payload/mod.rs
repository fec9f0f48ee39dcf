//! RTP payload formats: encoded frames to the payloads of packets, and back to what a jitter buffer puts together.
//!
//! | codec | format | written by |
//! |---|---|---|
//! | VP8 | RFC 7741 | the library |
//! | VP9 | RFC 9628 | us: the library's descriptor marks every frame as a key frame, and refuses three references |
//! | H.264 | RFC 6184 | the library, packets of single NAL units us; read by us, since the library's reader panics on some payloads and mixes up what is lost |
//! | AV1 | AOMedia's | us: the library's payloader panics on units that claim to be too long |
//! | Opus, PCMU, PCMA | RFC 7587, RFC 3551 | nobody: a packet is a payload |

mod av1;
mod h264;
mod vp9;

use super::form::Form;
use super::jitter::Arrival;
use crate::media::{Codec, MediaKind};
use bytes::{Bytes, BytesMut};
use rtc::rtp;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::codec::vp8::{Vp8Packet, Vp8Payloader};
use rtc::rtp::packetizer::{Depacketizer, Payloader};

/// Takes frames apart.
pub(super) enum Packetiser {
    Vp8(Vp8Payloader),
    Vp9(vp9::Packetiser),
    H264(H264Payloader),
    H264SingleUnits,
    Av1,
    OnePerFrame,
}

impl Packetiser {
    pub(super) fn new(Form { codec, single_units }: Form) -> Self {
        match codec {
            Codec::Vp8 => {
                let mut payloader = Vp8Payloader::default();
                payloader.enable_picture_id = true;
                Self::Vp8(payloader)
            }
            Codec::Vp9 => Self::Vp9(vp9::Packetiser::new()),
            Codec::H264 if single_units => Self::H264SingleUnits,
            Codec::H264 => Self::H264(H264Payloader::default()),
            Codec::Av1 => Self::Av1,
            Codec::Opus | Codec::Pcmu | Codec::Pcma => Self::OnePerFrame,
        }
    }

    /// The payloads of one frame, of at most `most` bytes each where the format can split it.
    pub(super) fn payloads(&mut self, frame: &Bytes, most: usize) -> Vec<Bytes> {
        match self {
            Self::Vp8(payloader) => payloader.payload(most, frame).unwrap_or_default(),
            Self::Vp9(packetiser) => packetiser.payloads(frame, most),
            Self::H264(payloader) => payloader.payload(most, frame).unwrap_or_default(),
            Self::H264SingleUnits => h264::single_units(frame),
            Self::Av1 => av1::payloads(frame, most),
            Self::OnePerFrame if frame.is_empty() => Vec::new(),
            Self::OnePerFrame => vec![frame.clone()],
        }
    }
}

/// What the jitter buffer needs to know of a packet; `None` when it is damaged.
pub(super) fn depacketise(codec: Codec, packet: rtp::Packet) -> Option<Arrival> {
    let rtp::Packet { header, payload } = packet;
    let arrival = |first, key, payload: Bytes| Arrival {
        sequence: header.sequence_number,
        timestamp: header.timestamp,
        first,
        last: header.marker || codec.kind() == MediaKind::Audio,
        key,
        payload,
    };
    if payload.is_empty() {
        return Some(arrival(false, false, payload));
    }
    match codec {
        Codec::Vp8 => {
            let mut descriptor = Vp8Packet::default();
            let payload = descriptor.depacketize(&payload).ok()?;
            let first = descriptor.s == 1 && descriptor.pid == 0;
            // RFC 6386 section 9.1: the lowest bit of a frame is clear in key frames.
            let key = first && payload.first().is_some_and(|byte| byte & 1 == 0);
            Some(arrival(first, key, payload))
        }
        Codec::Vp9 => {
            let part = vp9::depacketise(&payload)?;
            Some(arrival(part.first, part.key, part.data))
        }
        Codec::H264 => {
            let part = h264::depacketise(&payload)?;
            Some(arrival(part.first, part.key, part.data))
        }
        Codec::Av1 => {
            let (first, key) = av1::begins(&payload);
            Some(arrival(first, key, payload))
        }
        Codec::Opus | Codec::Pcmu | Codec::Pcma => Some(arrival(true, true, payload)),
    }
}

/// Puts what the packets of one frame hold together; `None` when it contradicts itself.
pub(super) fn assemble(codec: Codec, mut parts: Vec<Bytes>) -> Option<Bytes> {
    match (codec, parts.len()) {
        (Codec::Av1, _) => av1::assemble(&parts),
        (_, 1) => parts.pop(),
        _ => {
            let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
            parts.iter().for_each(|part| whole.extend_from_slice(part));
            Some(whole.freeze())
        }
    }
}
