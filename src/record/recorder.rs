//! One writer for every container: encoded tracks to WebM, Matroska and Ogg, samples to WAV.

use super::mime::Container;
use super::ogg::OggRecorder;
use super::output::{Existing, Output, Target};
use super::wav::WavSink;
use super::webm::{Recorded, RecordedTrack, TrackInfo, WebmRecorder};
use crate::error::{Error, ErrorKind};
use crate::media::{AudioFormat, AudioFrame, EncodedFrame, MediaTime};

/// What a recording is made of.
#[derive(Clone, Debug)]
pub enum Layout {
    /// Tracks of encoded frames, in a container for them.
    Encoded(Container, Vec<TrackInfo>),
    /// Samples, as WAV.
    Samples(AudioFormat),
}

/// Writes one file or stream. Blocks on the disk or pipe behind it.
///
/// Dropping it without [`finish`](Self::finish) leaves a `.part` that plays, if anything was written.
pub struct Recorder(Kind);

enum Kind {
    Webm(WebmRecorder),
    Ogg(OggRecorder),
    Wav { sink: WavSink, format: AudioFormat, frames: u64, end: Option<(MediaTime, MediaTime)> },
}

impl Recorder {
    /// Opens the output, so that what cannot be written fails now.
    ///
    /// # Errors
    /// When the output cannot be created, and when the container cannot hold the tracks.
    pub fn create(layout: &Layout, target: Target, existing: Existing) -> Result<Self, Error> {
        Ok(Self(match layout {
            Layout::Encoded(Container::Ogg, tracks) => match &tracks[..] {
                [TrackInfo::Audio { channels, sample_rate, .. }] => {
                    Kind::Ogg(OggRecorder::create(target, existing, *channels, *sample_rate)?)
                }
                _ => {
                    let message = "an Ogg file of ours holds one track of sound";
                    return Err(Error::new(ErrorKind::InvalidInput, "NotSupportedError", message));
                }
            },
            Layout::Encoded(container, tracks) => {
                Kind::Webm(WebmRecorder::create_as(*container, target, existing, tracks)?)
            }
            Layout::Samples(format) => Kind::Wav {
                sink: WavSink::create(target, existing, *format, None)?,
                format: *format,
                frames: 0,
                end: None,
            },
        }))
    }

    /// The output that is being written.
    pub fn output(&self) -> &Output {
        match &self.0 {
            Kind::Webm(recorder) => recorder.output(),
            Kind::Ogg(recorder) => recorder.output(),
            Kind::Wav { sink, .. } => sink.output(),
        }
    }

    /// See [`Output::keep_durable`].
    pub fn keep_durable(&mut self) {
        match &mut self.0 {
            Kind::Webm(recorder) => recorder.keep_durable(),
            Kind::Ogg(recorder) => recorder.keep_durable(),
            Kind::Wav { sink, .. } => sink.keep_durable(),
        }
    }

    /// The most bytes that the output can have if it is finished now.
    pub fn finished_bytes(&self) -> u64 {
        match &self.0 {
            Kind::Webm(recorder) => recorder.finished_bytes(),
            Kind::Ogg(recorder) => recorder.finished_bytes(),
            Kind::Wav { sink, .. } => sink.output().position(),
        }
    }

    /// Takes an encoded frame of track number `track`.
    ///
    /// # Errors
    /// When the output fails, and when the recording is not made of such frames.
    pub fn write(&mut self, track: usize, frame: &EncodedFrame) -> Result<(), Error> {
        match &mut self.0 {
            Kind::Webm(recorder) => Ok(recorder.write(track, frame)?),
            Kind::Ogg(recorder) => Ok(recorder.write(frame)?),
            Kind::Wav { .. } => Err(Error::new(ErrorKind::Internal, "OperationError", "encoded frames for a WAV file")),
        }
    }

    /// Takes samples.
    ///
    /// # Errors
    /// When the output fails, and when the recording is not made of samples.
    pub fn write_samples(&mut self, frame: &AudioFrame) -> Result<(), Error> {
        let Kind::Wav { sink, frames, end, .. } = &mut self.0 else {
            return Err(Error::new(ErrorKind::Internal, "OperationError", "samples for encoded tracks"));
        };
        sink.write(frame)?;
        *frames += 1;
        let first = end.map_or(frame.time, |(first, _)| first);
        *end = Some((first, frame.time.plus(frame.duration())));
        Ok(())
    }

    /// Hands what has its place in the file to the operating system: what is there now plays.
    ///
    /// # Errors
    /// When the output fails.
    pub fn end_slice(&mut self) -> Result<(), Error> {
        match &mut self.0 {
            Kind::Webm(recorder) => Ok(recorder.end_cluster()?),
            Kind::Ogg(recorder) => Ok(recorder.flush()?),
            Kind::Wav { .. } => Ok(()),
        }
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// When the output fails, which leaves a `.part` that plays, and when nothing was recorded.
    pub fn finish(self) -> Result<Recorded, Error> {
        match self.0 {
            Kind::Webm(recorder) => Ok(recorder.finish()?),
            Kind::Ogg(recorder) => Ok(recorder.finish()?),
            Kind::Wav { sink, end: None, .. } => {
                let message = format!("{}: nothing was recorded", sink.output().name().display());
                Err(Error::new(ErrorKind::Output, "output", message))
            }
            Kind::Wav { sink, format, frames, end: Some((first, last)) } => {
                let duration = last.minus(first).seconds();
                let finished = sink.finish()?;
                let track = RecordedTrack {
                    number: 1,
                    kind: "audio",
                    mime_type: if format.channels == 0 { "" } else { "audio/L16" },
                    frames,
                    key_frames: frames,
                    bytes: finished.bytes,
                    start: Some(0.0),
                    end: Some(duration),
                    before_first_key_frame: 0,
                    moved: 0,
                };
                Ok(Recorded { path: finished.path, bytes: finished.bytes, duration, tracks: vec![track] })
            }
        }
    }
}
