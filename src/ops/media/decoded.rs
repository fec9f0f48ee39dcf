//! Encoded sources as raw ones, for operations that want pictures and samples.

use crate::codec;
use crate::error::{Error, ErrorKind};
use crate::media::{
    AudioDecoder, AudioFormat, AudioFrame, AudioInput, Codec, EncodedFrame, FrameRate, Source, VideoDecoder,
    VideoFormat, VideoFrame, VideoInput,
};
use crate::stop::Stop;
use std::collections::VecDeque;

/// What an encoded file is said to have where its container does not tell.
const UNKNOWN_RATE: FrameRate = FrameRate::new(30, 1).expect("not zero");

/// A source of pictures, its shape, and whether it paces itself.
pub(in crate::ops) struct RawVideo {
    pub(in crate::ops) format: VideoFormat,
    pub(in crate::ops) live: bool,
    pub(in crate::ops) source: Box<dyn Source<VideoFrame>>,
}

/// A source of samples, their shape, and whether it paces itself.
pub(in crate::ops) struct RawAudio {
    pub(in crate::ops) format: AudioFormat,
    pub(in crate::ops) live: bool,
    pub(in crate::ops) source: Box<dyn Source<AudioFrame>>,
}

impl RawVideo {
    /// The shape of what [`of`](Self::of) gives; of an encoded input that does not tell, a guess.
    pub(in crate::ops) fn format_of(input: &VideoInput) -> VideoFormat {
        match input {
            VideoInput::Raw { format, .. } => *format,
            VideoInput::Encoded { size, .. } => {
                let (width, height) = size.unwrap_or_default();
                VideoFormat { width, height, frame_rate: UNKNOWN_RATE }
            }
        }
    }

    /// The input, decoded if need be.
    pub(in crate::ops) fn of(input: VideoInput) -> Result<Self, Error> {
        let format = Self::format_of(&input);
        Ok(match input {
            VideoInput::Raw { live, source, .. } => Self { format, live, source },
            VideoInput::Encoded { codec, source, .. } => {
                Self { format, live: false, source: Box::new(DecodedVideo::new(codec, source)?) }
            }
        })
    }
}

impl From<RawVideo> for VideoInput {
    fn from(RawVideo { format, live, source }: RawVideo) -> Self {
        Self::Raw { format, live, source }
    }
}

impl RawAudio {
    /// The shape of what [`of`](Self::of) gives.
    pub(in crate::ops) fn format_of(input: &AudioInput) -> AudioFormat {
        match input {
            AudioInput::Raw { format, .. } => *format,
            AudioInput::Encoded { codec, channels, .. } => codec::decoded_format(*codec, (*channels).clamp(1, 2)),
        }
    }

    /// The input, decoded if need be.
    pub(in crate::ops) fn of(input: AudioInput) -> Result<Self, Error> {
        Ok(match input {
            AudioInput::Raw { format, live, source } => Self { format, live, source },
            AudioInput::Encoded { codec, channels, source } => {
                let decoder = codec::audio_decoder(codec, channels.clamp(1, 2))?;
                let format = decoder.format();
                let source = Box::new(DecodedAudio { source, decoder, ready: VecDeque::new() });
                Self { format, live: false, source }
            }
        })
    }
}

/// The pictures of `input`, decoded if need be. Blocks until the first is there, which alone knows its size.
pub(in crate::ops) fn decoded_video(input: VideoInput) -> Result<VideoInput, Error> {
    let VideoInput::Encoded { codec, source, .. } = input else { return Ok(input) };
    let mut pictures = DecodedVideo::new(codec, source)?;
    let Some(first) = pictures.next(&Stop::new())? else { return Err(nothing("picture")) };
    let format = VideoFormat { width: first.width(), height: first.height(), frame_rate: UNKNOWN_RATE };
    pictures.ready.push_front(first);
    Ok(VideoInput::Raw { format, live: false, source: Box::new(pictures) })
}

/// The sound of `input`, decoded if need be.
pub(in crate::ops) fn decoded_audio(input: AudioInput) -> Result<AudioInput, Error> {
    let RawAudio { format, live, source } = RawAudio::of(input)?;
    Ok(AudioInput::Raw { format, live, source })
}

pub(super) fn nothing(what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "DataError", format!("the source has no {what} that can be decoded")).at("open")
}

struct DecodedVideo {
    source: Box<dyn Source<EncodedFrame>>,
    decoder: Box<dyn VideoDecoder>,
    ready: VecDeque<VideoFrame>,
}

impl DecodedVideo {
    fn new(codec: Codec, source: Box<dyn Source<EncodedFrame>>) -> Result<Self, Error> {
        Ok(Self { source, decoder: codec::video_decoder(codec)?, ready: VecDeque::new() })
    }
}

impl Source<VideoFrame> for DecodedVideo {
    fn next(&mut self, stop: &Stop) -> Result<Option<VideoFrame>, Error> {
        loop {
            if let Some(picture) = self.ready.pop_front() {
                return Ok(Some(picture));
            }
            let Some(frame) = self.source.next(stop)? else { return Ok(None) };
            let ready = &mut self.ready;
            // A damaged frame costs its picture; a key frame mends what follows.
            if let Err(error) = self.decoder.decode(&frame, &mut |picture| ready.push_back(picture)) {
                tracing::debug!("a frame is left out: {error}");
            }
        }
    }
}

struct DecodedAudio {
    source: Box<dyn Source<EncodedFrame>>,
    decoder: Box<dyn AudioDecoder>,
    ready: VecDeque<AudioFrame>,
}

impl Source<AudioFrame> for DecodedAudio {
    fn next(&mut self, stop: &Stop) -> Result<Option<AudioFrame>, Error> {
        loop {
            if let Some(sound) = self.ready.pop_front() {
                return Ok(Some(sound));
            }
            let Some(frame) = self.source.next(stop)? else { return Ok(None) };
            let ready = &mut self.ready;
            if let Err(error) = self.decoder.decode(&frame, &mut |sound| ready.push_back(sound)) {
                tracing::debug!("a packet is left out: {error}");
            }
        }
    }
}
