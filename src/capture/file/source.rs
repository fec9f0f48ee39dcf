//! From passes over a file to sources that may repeat.

use super::Input;
use crate::capture::CaptureError;
use crate::error::Error;
use crate::media::{AudioFrame, EncodedFrame, MediaTime, Source, VideoFrame};
use crate::stop::Stop;
use std::num::NonZeroU32;
use std::path::PathBuf;

/// The rate of times that come from several rates.
pub(super) const NANOS: NonZeroU32 = NonZeroU32::new(1_000_000_000).expect("not zero");

/// One reading of one track, with times from 0.
pub(super) trait Pass<T>: Send {
    /// The next item; `None` at the end or after a stop.
    fn read(&mut self, stop: &Stop) -> Result<Option<T>, CaptureError>;

    /// After the end: where the whole file ends, all its tracks considered.
    fn end(&self) -> MediaTime;
}

/// Something with a time.
pub(super) trait Shift {
    /// Moves it `by` along the timeline.
    fn shift(&mut self, by: MediaTime);
}

impl Shift for VideoFrame {
    fn shift(&mut self, by: MediaTime) {
        self.time = self.time.plus(by);
    }
}

impl Shift for AudioFrame {
    fn shift(&mut self, by: MediaTime) {
        self.time = self.time.plus(by);
    }
}

impl Shift for EncodedFrame {
    fn shift(&mut self, by: MediaTime) {
        self.time = self.time.plus(by);
    }
}

type Reopen<P> = Box<dyn Fn() -> Result<P, CaptureError> + Send>;

/// Passes over a track, one or for ever.
pub(super) struct FileSource<P> {
    pass: P,
    again: Option<Reopen<P>>,
    offset: MediaTime,
    /// Whether the running pass has given anything: one that has not will not next time either.
    gave: bool,
    over: bool,
}

impl<P: 'static> FileSource<P> {
    /// `pass`, and when it ends a new one over `path` if that is given.
    pub(super) fn boxed<T>(
        pass: P,
        path: Option<PathBuf>,
        open: impl Fn(Input) -> Result<P, CaptureError> + Send + 'static,
    ) -> Box<dyn Source<T>>
    where
        P: Pass<T>,
        T: Shift,
    {
        let again = path.map(|path| -> Reopen<P> { Box::new(move || open(Input::open(&path)?)) });
        Box::new(Self { pass, again, offset: MediaTime::new(0, NANOS), gave: false, over: false })
    }

    fn advance<T>(&mut self, stop: &Stop) -> Result<Option<T>, CaptureError>
    where
        P: Pass<T>,
        T: Shift,
    {
        loop {
            if let Some(mut item) = self.pass.read(stop)? {
                item.shift(self.offset);
                self.gave = true;
                return Ok(Some(item));
            }
            match &self.again {
                Some(again) if self.gave && !stop.is_stopped() => {
                    // A pass without length would repeat at one instant.
                    self.offset = self.offset.plus(self.pass.end().max(MediaTime::from_micros(1000)));
                    self.pass = again()?;
                    self.gave = false;
                }
                _ => return Ok(None),
            }
        }
    }
}

impl<T: Shift, P: Pass<T> + 'static> Source<T> for FileSource<P> {
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error> {
        if self.over || stop.is_stopped() {
            return Ok(None);
        }
        let item = self.advance(stop);
        self.over = !matches!(item, Ok(Some(_)));
        Ok(item?)
    }
}
