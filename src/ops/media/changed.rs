//! Sources whose pictures are filtered or whose sound is made quieter. What is encoded is decoded first.

use super::decoded::{decoded_audio, decoded_video, nothing};
use crate::error::Error;
use crate::filter::{FilterList, PictureFilter, Volume};
use crate::media::{AudioFrame, AudioInput, Source, VideoInput};
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

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
