//! Sources whose pictures are filtered or whose sound is made quieter. What is encoded is decoded first.

use crate::codec;
use crate::error::{Error, ErrorKind};
use crate::filter::{FilterList, PictureFilter, Volume};
use crate::media::{
    AudioDecoder, AudioFrame, AudioInput, EncodedFrame, FrameRate, Source, VideoDecoder, VideoFormat, VideoFrame,
    VideoInput,
};
use crate::stop::Stop;
use std::collections::VecDeque;

/// The rate that is told to encoders where a file does not say its own.
const USUAL_RATE: FrameRate = FrameRate::new(30, 1).expect("not zero");

/// `input` with this filter applied.
pub(super) fn video(input: VideoInput, filter: &FilterList) -> Result<VideoInput, Error> {
    if filter.is_empty() {
        return Ok(input);
    }
    let VideoInput::Raw { format, live, source } = decoded_video(input)? else { return Err(nothing("picture")) };
    let mut filter = PictureFilter::new(filter.clone());
    Ok(VideoInput::Raw {
        format,
        live,
        source: Box::new(Changed { source, change: move |frame| filter.apply(&frame) }),
    })
}

/// `input` at this volume.
pub(super) fn audio(input: AudioInput, volume: Volume) -> Result<AudioInput, Error> {
    if volume == Volume::FULL {
        return Ok(input);
    }
    let AudioInput::Raw { format, live, source } = decoded_audio(input)? else { return Err(nothing("sound")) };
    let change = move |mut frame: AudioFrame| {
        volume.apply(&mut frame);
        frame
    };
    Ok(AudioInput::Raw { format, live, source: Box::new(Changed { source, change }) })
}

/// The pictures of `input`, decoded if need be. Blocks until the first is there, which alone knows its size.
pub(in crate::ops) fn decoded_video(input: VideoInput) -> Result<VideoInput, Error> {
    let VideoInput::Encoded { codec, source, .. } = input else { return Ok(input) };
    let mut pictures = Decoded { source, decoder: VideoDecoding(codec::video_decoder(codec)?), ready: VecDeque::new() };
    let Some(first) = pictures.next(&Stop::new())? else { return Err(nothing("picture")) };
    let format = VideoFormat { width: first.width(), height: first.height(), frame_rate: USUAL_RATE };
    pictures.ready.push_front(first);
    Ok(VideoInput::Raw { format, live: false, source: Box::new(pictures) })
}

/// The sound of `input`, decoded if need be.
pub(in crate::ops) fn decoded_audio(input: AudioInput) -> Result<AudioInput, Error> {
    let AudioInput::Encoded { codec, channels, source } = input else { return Ok(input) };
    let decoder = codec::audio_decoder(codec, channels.clamp(1, 2))?;
    let format = decoder.format();
    let sound = Decoded { source, decoder: AudioDecoding(decoder), ready: VecDeque::new() };
    Ok(AudioInput::Raw { format, live: false, source: Box::new(sound) })
}

fn nothing(what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "DataError", format!("the source has no {what} that can be decoded")).at("open")
}

/// A source, each of whose items is changed.
struct Changed<T, F> {
    source: Box<dyn Source<T>>,
    change: F,
}

impl<T, F: FnMut(T) -> T + Send> Source<T> for Changed<T, F> {
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error> {
        Ok(self.source.next(stop)?.map(&mut self.change))
    }
}

/// A decoder of either kind.
trait Decode: Send {
    type Raw: Send;

    fn decode(&mut self, frame: &EncodedFrame, out: &mut dyn FnMut(Self::Raw)) -> Result<(), Error>;
}

struct VideoDecoding(Box<dyn VideoDecoder>);

impl Decode for VideoDecoding {
    type Raw = VideoFrame;

    fn decode(&mut self, frame: &EncodedFrame, out: &mut dyn FnMut(VideoFrame)) -> Result<(), Error> {
        self.0.decode(frame, out)
    }
}

struct AudioDecoding(Box<dyn AudioDecoder>);

impl Decode for AudioDecoding {
    type Raw = AudioFrame;

    fn decode(&mut self, frame: &EncodedFrame, out: &mut dyn FnMut(AudioFrame)) -> Result<(), Error> {
        self.0.decode(frame, out)
    }
}

/// What an encoded source holds, decoded as it is read.
struct Decoded<D: Decode> {
    source: Box<dyn Source<EncodedFrame>>,
    decoder: D,
    ready: VecDeque<D::Raw>,
}

impl<D: Decode> Source<D::Raw> for Decoded<D> {
    fn next(&mut self, stop: &Stop) -> Result<Option<D::Raw>, Error> {
        loop {
            if let Some(raw) = self.ready.pop_front() {
                return Ok(Some(raw));
            }
            let Some(frame) = self.source.next(stop)? else { return Ok(None) };
            let ready = &mut self.ready;
            // The decoder goes on behind what is damaged, as players do.
            if let Err(error) = self.decoder.decode(&frame, &mut |raw| ready.push_back(raw)) {
                tracing::debug!("{error}");
            }
        }
    }
}
