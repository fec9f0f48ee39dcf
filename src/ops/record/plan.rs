//! What each track is recorded as: what the media has already where that fits, else what was asked for, else the
//! container's own.

use super::options::Options;
use crate::error::{Error, ErrorKind};
use crate::media::{AudioInput, Codec, MediaKind, VideoInput};
use crate::ops::media::{Inputs, decoded_audio, decoded_video};
use crate::record::{Container, Layout, MimeType, TrackInfo};
use std::num::NonZeroU32;

/// The inputs as they go into the recording: raw what is encoded here, encoded what passes.
pub(super) struct Plan {
    pub mime_type: MimeType,
    pub video: Option<VideoInput>,
    pub audio: Option<AudioInput>,
    pub layout: Layout,
}

/// Settles it. May block, since the size of a picture that has to be decoded is only known then.
pub(super) fn plan(inputs: Inputs, options: &Options) -> Result<Plan, Error> {
    let asked = options.asked_type()?;
    let mut mime_type = MimeType { video: None, audio: None, ..asked };
    let mut video = inputs.video;
    if let Some(input) = video.take() {
        let has = match &input {
            VideoInput::Raw { .. } => None,
            VideoInput::Encoded { codec, .. } => Some(*codec),
        };
        let wanted = settle(asked, options, MediaKind::Video, has)?;
        let anew = wanted != has || options.shapes(MediaKind::Video);
        mime_type.video = wanted;
        video = Some(if anew { decoded_video(input)? } else { input });
    }
    let mut audio = inputs.audio;
    if let Some(input) = audio.take() {
        let has = match &input {
            AudioInput::Raw { .. } => None,
            AudioInput::Encoded { codec, .. } => Some(*codec),
        };
        let wanted = settle(asked, options, MediaKind::Audio, has)?;
        let anew = wanted != has || options.shapes(MediaKind::Audio);
        mime_type.audio = wanted;
        audio = Some(if anew { decoded_audio(input)? } else { input });
    }
    mime_type.audio_only = video.is_none();
    let layout = layout(mime_type, video.as_ref(), audio.as_ref());
    Ok(Plan { mime_type, video, audio, layout })
}

/// The codec of one kind; `None` where samples are recorded as they are.
fn settle(asked: MimeType, options: &Options, kind: MediaKind, has: Option<Codec>) -> Result<Option<Codec>, Error> {
    let refuse = || {
        let message = format!("{asked} holds no {kind}, and there is a {kind} source");
        Error::new(ErrorKind::InvalidInput, "NotSupportedError", message)
    };
    if !asked.holds(kind) {
        return Err(refuse());
    }
    if asked.container == Container::Wav {
        return Ok(None);
    }
    let fits = has.filter(|codec| asked.container.holds(*codec) && !options.shapes(kind));
    asked.named(kind).or(fits).or(asked.container.default_codec(kind)).map(Some).ok_or_else(refuse)
}

fn layout(mime_type: MimeType, video: Option<&VideoInput>, audio: Option<&AudioInput>) -> Layout {
    if let (Container::Wav, Some(AudioInput::Raw { format, .. })) = (mime_type.container, audio) {
        return Layout::Samples(*format);
    }
    let tracks = [video.map(|input| video_track(input, mime_type)), audio.map(|input| audio_track(input, mime_type))];
    Layout::Encoded(mime_type.container, tracks.into_iter().flatten().collect())
}

fn video_track(input: &VideoInput, mime_type: MimeType) -> TrackInfo {
    let (codec, size) = match input {
        VideoInput::Raw { format, .. } => (mime_type.video.unwrap_or(Codec::Vp8), Some((format.width, format.height))),
        VideoInput::Encoded { codec, size, .. } => (*codec, *size),
    };
    TrackInfo::Video { codec, size }
}

fn audio_track(input: &AudioInput, mime_type: MimeType) -> TrackInfo {
    const OPUS_RATE: NonZeroU32 = NonZeroU32::new(48_000).expect("not zero");
    match input {
        AudioInput::Raw { format, .. } => TrackInfo::Audio {
            codec: mime_type.audio.unwrap_or(Codec::Opus),
            channels: format.channels.clamp(1, 2),
            sample_rate: format.sample_rate,
        },
        AudioInput::Encoded { codec, channels, .. } => {
            TrackInfo::Audio { codec: *codec, channels: *channels, sample_rate: OPUS_RATE }
        }
    }
}
