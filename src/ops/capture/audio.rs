//! Samples to where they are wanted: a file, or nowhere but the level meter.

use super::meter::Meter;
use super::options::Format;
use super::video::{SharedResults, written};
use crate::error::Error;
use crate::media::{AudioFrame, Source};
use crate::record::WavSink;
use crate::stop::Stop;
use std::sync::{Arc, PoisonError};

/// The thread of the sound: it reads, measures and writes.
pub(super) struct AudioWriter {
    pub(super) source: Box<dyn Source<AudioFrame>>,
    pub(super) sinks: Vec<WavSink>,
    /// Whether sound came.
    pub(super) any: bool,
    pub(super) meter: Arc<Meter>,
    pub(super) results: SharedResults,
}

impl AudioWriter {
    /// Runs until the source ends or `stop` is asked for, and completes the files.
    pub(super) fn run(mut self, stop: &Stop) -> Result<(), Error> {
        let written_all = self.write_all(stop);
        // Of a source that gave nothing no file is left.
        for sink in self.sinks.into_iter().filter(|_| self.any) {
            let done = sink.finish().map_err(|error| Error::from(error).at("output"))?;
            self.results.lock().unwrap_or_else(PoisonError::into_inner).outputs.push(written(done, Format::Wav));
        }
        written_all
    }

    fn write_all(&mut self, stop: &Stop) -> Result<(), Error> {
        while let Some(frame) = self.source.next(stop).map_err(|error| error.at("capture"))? {
            self.meter.sound(&frame);
            self.any = true;
            for sink in &mut self.sinks {
                sink.write(&frame).map_err(|error| Error::from(error).at("output"))?;
            }
            if stop.is_stopped() {
                break;
            }
        }
        Ok(())
    }
}
