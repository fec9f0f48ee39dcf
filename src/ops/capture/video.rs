//! Pictures to where they are wanted: files, a snapshot, or nowhere but the counts.

use super::meter::Meter;
use super::options::Format;
use super::report::{SnapshotReport, Written};
use super::snapshot::{Exposure, Judgement};
use crate::error::Error;
use crate::media::{FrameRate, VideoFrame};
use crate::ops::media::Viewing;
use crate::pipeline::queue::Receiver;
use crate::progress::{Event, Progress};
use crate::record::{Existing, Finished, ImageSink, RawPixels, RawVideoSink, Target, Y4mSink};
use crate::stop::{Stop, StopReason};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a writer waits for a picture before it looks whether it was stopped.
const PATIENCE: Duration = Duration::from_millis(100);

/// A file or stream of pictures.
pub(super) enum VideoSink {
    Y4m(Y4mSink),
    Raw(RawVideoSink, Format),
}

impl VideoSink {
    pub(super) fn create(target: Target, existing: Existing, format: Format, rate: FrameRate) -> Result<Self, Error> {
        Ok(match format {
            Format::Rgb => Self::Raw(RawVideoSink::create(target, existing, RawPixels::Rgb)?, format),
            Format::I420 => Self::Raw(RawVideoSink::create(target, existing, RawPixels::I420)?, format),
            Format::Y4m | Format::Wav => Self::Y4m(Y4mSink::create(target, existing, rate, None)?),
        })
    }

    fn write(&mut self, frame: &VideoFrame) -> Result<(), Error> {
        match self {
            Self::Y4m(sink) => Ok(sink.write(frame)?),
            Self::Raw(sink, _) => Ok(sink.write(frame)?),
        }
    }

    fn finish(self) -> Result<Written, Error> {
        Ok(match self {
            Self::Y4m(sink) => {
                let (repeated, left_out) = (sink.repeated(), sink.left_out());
                let written = written(sink.finish()?, Format::Y4m);
                Written { frames_repeated: Some(repeated), frames_left_out: Some(left_out), ..written }
            }
            Self::Raw(sink, format) => written(sink.finish()?, format),
        })
    }
}

pub(super) fn written(finished: Finished, format: Format) -> Written {
    Written {
        path: name(&finished),
        format: format.as_str(),
        bytes: finished.bytes,
        frames_repeated: None,
        frames_left_out: None,
    }
}

fn name(finished: &Finished) -> String {
    finished.path.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string())
}

/// What the writers of a capture leave behind.
#[derive(Default)]
pub(super) struct Results {
    pub(super) outputs: Vec<Written>,
    pub(super) snapshot: Option<SnapshotReport>,
}

/// Shared between the writers and whoever makes the report.
pub(super) type SharedResults = Arc<Mutex<Results>>;

/// A snapshot that is still to be taken.
pub(super) struct Pending {
    pub(super) image: ImageSink,
    pub(super) exposure: Exposure,
    pub(super) taken: Stop,
    /// The newest picture that was judged: better than none, if no more come.
    pub(super) newest: Option<VideoFrame>,
}

/// The thread behind the queue of pictures.
pub(super) struct VideoWriter {
    pub(super) sinks: Vec<VideoSink>,
    pub(super) pending: Option<Pending>,
    /// At which pictures are due, where they have a pace of their own.
    pub(super) rate: Option<FrameRate>,
    /// Whether a picture came.
    pub(super) any: bool,
    pub(super) preview: Option<Viewing>,
    /// Asked when the preview is closed and nothing else is done with the pictures.
    pub(super) closed: Stop,
    pub(super) meter: Arc<Meter>,
    pub(super) results: SharedResults,
    pub(super) progress: Arc<dyn Progress>,
}

impl VideoWriter {
    /// Takes pictures until they end, or until `stop` when no more come, and completes the files.
    pub(super) fn run(mut self, pictures: &Receiver<VideoFrame>, stop: &Stop) -> Result<(), Error> {
        let written = self.write_all(pictures, stop).and_then(|()| self.settle());
        // Of a source that gave nothing no file is left.
        for sink in self.sinks.into_iter().filter(|_| self.any) {
            let done = sink.finish().map_err(|error| error.at("output"))?;
            self.results.lock().unwrap_or_else(PoisonError::into_inner).outputs.push(done);
        }
        written
    }

    fn write_all(&mut self, pictures: &Receiver<VideoFrame>, stop: &Stop) -> Result<(), Error> {
        loop {
            let frame = match pictures.recv_timeout(PATIENCE) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(_) if stop.is_stopped() => return Ok(()),
                Err(_) => continue,
            };
            self.meter.picture(frame.time, self.rate);
            self.any = true;
            for sink in &mut self.sinks {
                sink.write(&frame).map_err(|error| error.at("output"))?;
            }
            self.consider(&frame)?;
            self.show(&frame);
        }
    }

    fn show(&mut self, frame: &VideoFrame) {
        let Some(preview) = &mut self.preview else { return };
        if !preview.show(frame) {
            self.preview = None;
            if self.sinks.is_empty() && self.pending.is_none() {
                self.closed.stop(StopReason::Done);
            }
        }
    }

    fn consider(&mut self, frame: &VideoFrame) -> Result<(), Error> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        let judgement = pending.exposure.judge(frame);
        pending.newest = Some(frame.clone());
        match judgement {
            Judgement::Wait => return Ok(()),
            Judgement::Take => {}
            Judgement::TakeAnyway => {
                self.warn("the picture is dark, or its brightness does not settle: the snapshot may not be good");
            }
        }
        self.take()
    }

    /// Of a capture that ended before a picture was good enough, the last one is kept.
    fn settle(&mut self) -> Result<(), Error> {
        if self.pending.as_ref().is_some_and(|pending| pending.newest.is_some()) {
            self.warn("the capture ended before its pictures had settled: the snapshot is of the last one");
        }
        self.take()
    }

    fn warn(&self, message: &str) {
        self.progress.event(Event::Warning { message: message.to_owned() });
    }

    fn take(&mut self) -> Result<(), Error> {
        let Some(Pending { image, exposure, taken, newest: Some(frame) }) = self.pending.take() else { return Ok(()) };
        let done = image.write(&frame.picture).map_err(|error| Error::from(error).at("output"))?;
        let report = SnapshotReport {
            path: name(&done),
            bytes: done.bytes,
            width: frame.width(),
            height: frame.height(),
            warmup_frames: exposure.passed_over(),
            time: frame.time.seconds(),
        };
        self.results.lock().unwrap_or_else(PoisonError::into_inner).snapshot = Some(report);
        taken.stop(StopReason::Done);
        Ok(())
    }
}
