//! Pictures that stand: a screen on which nothing changes gives few frames, and the last of them is seen until the end.

use super::gate::Gate;
use crate::error::Error;
use crate::media::{MediaTime, Source, VideoFrame};
use crate::stop::Stop;
use std::sync::Arc;

/// Gives the last picture again just before the length that was asked for is over, unless another came as late. So the file is
/// as long as that, however long the picture stood.
pub(super) struct Standing {
    source: Box<dyn Source<VideoFrame>>,
    gate: Arc<Gate>,
    /// How long a picture is seen.
    period: MediaTime,
    last: Option<VideoFrame>,
    over: bool,
}

impl Standing {
    /// `source` has passed `gate` already.
    pub(super) fn new(source: Box<dyn Source<VideoFrame>>, gate: Arc<Gate>, period: MediaTime) -> Self {
        Self { source, gate, period, last: None, over: false }
    }
}

impl Source<VideoFrame> for Standing {
    fn next(&mut self, stop: &Stop) -> Result<Option<VideoFrame>, Error> {
        if self.over {
            return Ok(None);
        }
        if let Some(frame) = self.source.next(stop)? {
            self.last = Some(frame.clone());
            return Ok(Some(frame));
        }
        self.over = true;
        let (Some(last), Some(end)) = (self.last.take(), self.gate.end()) else { return Ok(None) };
        let time = end.minus(self.period);
        Ok((time > last.time.plus(self.period)).then_some(VideoFrame { time, ..last }))
    }
}
