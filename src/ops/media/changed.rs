//! Sources whose pictures are filtered or whose sound is made quieter. What is encoded is decoded first.

use super::decoded::{self, RawAudio};
use crate::error::{Error, ErrorKind};
use crate::filter::{FilterList, PictureFilter, Volume};
use crate::media::{AudioFrame, AudioInput, Source, VideoFormat, VideoFrame, VideoInput};
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// `input` with this filter applied.
pub(super) fn video(input: VideoInput, filter: &FilterList) -> Result<VideoInput, Error> {
    if filter.is_empty() {
        return Ok(input);
    }
    let (format, live, source) = match input {
        VideoInput::Raw { format, live, source } => (format, live, source),
        VideoInput::Encoded { codec, source, .. } => {
            let mut source = decoded::pictures(codec, source)?;
            let Some(first) = source.next(&Stop::new())? else { return Err(nothing("picture")) };
            let frame_rate = decoded::UNKNOWN_RATE;
            let format = VideoFormat { width: first.width(), height: first.height(), frame_rate };
            (format, false, Box::new(Begun { first: Some(first), source }) as Box<dyn Source<VideoFrame>>)
        }
    };
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
    let RawAudio { format, live, source } = RawAudio::of(input)?;
    let change = move |mut frame: AudioFrame| {
        volume.apply(&mut frame);
        frame
    };
    Ok(AudioInput::Raw { format, live, source: Box::new(Changed { source, change }) })
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

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        self.source.lost()
    }
}

/// A source whose first item was looked at.
struct Begun<T> {
    first: Option<T>,
    source: Box<dyn Source<T>>,
}

impl<T: Send> Source<T> for Begun<T> {
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.source.next(stop),
        }
    }
}
