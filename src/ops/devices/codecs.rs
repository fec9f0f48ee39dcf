//! What can be sent, received and recorded; webrtc-pc `getCapabilities`, mediastream-recording `isTypeSupported`.

use crate::codec::{self, AudioEncoderSettings, EncoderSettings};
use crate::media::{Codec, FrameRate, MediaKind, VideoFormat};
use crate::record::{Container, MimeType};
use serde::Serialize;

/// A codec, and what it can be used for here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CodecInfo {
    /// `video` or `audio`.
    pub kind: &'static str,
    /// The RTP media type.
    pub mime_type: &'static str,
    /// Ticks per second of its RTP timestamps.
    pub clock_rate: u32,
    /// Channels; of audio only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u16>,
    /// Whether it can be encoded.
    pub send: bool,
    /// Whether it can be decoded.
    pub receive: bool,
    /// What it can be recorded as, as `MediaRecorder.isTypeSupported` takes it.
    pub record: Vec<String>,
}

/// All of them, the preferred first. An encoder and a decoder of each is made to see whether it can be.
pub(super) fn codecs() -> Vec<CodecInfo> {
    Codec::ALL.into_iter().map(info).collect()
}

fn info(codec: Codec) -> CodecInfo {
    let pictures = VideoFormat { width: 64, height: 64, frame_rate: FrameRate::new(30, 1).expect("not zero") };
    let (send, receive) = match codec.kind() {
        MediaKind::Video => (
            codec::video_encoder(codec, &pictures, EncoderSettings::default()).is_ok(),
            codec::video_decoder(codec).is_ok(),
        ),
        MediaKind::Audio => (
            codec::audio_encoder(codec, codec::decoded_format(codec, 2), AudioEncoderSettings::default()).is_ok(),
            codec::audio_decoder(codec, 2).is_ok(),
        ),
    };
    let audio = codec.kind() == MediaKind::Audio;
    let recorded = |container: &Container| {
        let (video, sound) = if audio { (None, Some(codec)) } else { (Some(codec), None) };
        MimeType { container: *container, audio_only: audio, video, audio: sound }.to_string()
    };
    CodecInfo {
        kind: codec.kind().as_str(),
        mime_type: codec.mime_type(),
        clock_rate: codec.clock_rate().get(),
        channels: codec.channels(),
        send,
        receive,
        record: Container::ALL.iter().filter(|container| container.holds(codec)).map(recorded).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_can_be_sent_and_received_and_recorded_as_what_it_says() {
        let codecs = codecs();
        assert_eq!(codecs.len(), Codec::ALL.len());
        for codec in codecs {
            let of_telephones = ["audio/PCMU", "audio/PCMA"].contains(&codec.mime_type);
            assert!(codec.send && codec.receive && codec.record.is_empty() == of_telephones, "{codec:?}");
            assert!(codec.record.iter().all(|mime_type| MimeType::is_supported(mime_type)), "{codec:?}");
        }
    }
}
