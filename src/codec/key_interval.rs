//! Key frames by themselves, for every codec alike: W3C mediastream-recording `videoKeyFrameIntervalDuration` and
//! `videoKeyFrameIntervalCount`.

use super::EncoderSettings;
use crate::error::Error;
use crate::media::{Codec, EncodedFrame, I420, MediaTime, VideoEncoder, VideoFrame};
use std::sync::Arc;
use std::time::Duration;

/// What a picture that stands may wait with its key frame, where it is spared: how much a player decodes after a seek.
const STANDING: Duration = Duration::from_secs(60);

/// An encoder that is asked for a key frame whenever an interval is over. One that was asked for otherwise begins the
/// interval anew.
pub(super) struct KeyInterval {
    inner: Box<dyn VideoEncoder>,
    most_pictures: u32,
    most_time: Duration,
    spares_stills: bool,
    shown: Option<Arc<I420>>,
    pictures: u32,
    last_key: Option<MediaTime>,
}

impl KeyInterval {
    pub(super) fn new(inner: Box<dyn VideoEncoder>, settings: &EncoderSettings) -> Self {
        Self {
            inner,
            most_pictures: settings.key_frame_interval_count,
            most_time: settings.key_frame_interval_duration,
            spares_stills: settings.spares_stills,
            shown: None,
            pictures: 0,
            last_key: None,
        }
    }

    /// Whether this is the picture that was given before.
    fn stands(&mut self, picture: &Arc<I420>) -> bool {
        let shown = self.shown.replace(Arc::clone(picture));
        shown.is_some_and(|shown| Arc::ptr_eq(&shown, picture))
    }

    fn is_due(&self, time: MediaTime, stands: bool) -> bool {
        let most_time = if stands { self.most_time.max(STANDING) } else { self.most_time };
        // Half a millisecond: times of other clocks were rounded.
        let elapsed = self.last_key.map_or(0.0, |last| time.minus(last).seconds() + 5e-4);
        (self.most_pictures > 0 && self.pictures >= self.most_pictures)
            || (!self.most_time.is_zero() && elapsed >= most_time.as_secs_f64())
    }
}

impl VideoEncoder for KeyInterval {
    fn codec(&self) -> Codec {
        self.inner.codec()
    }

    fn encode(&mut self, frame: &VideoFrame, key: bool, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error> {
        let stands = self.spares_stills && self.stands(&frame.picture);
        let due = self.is_due(frame.time, stands);
        let mut came = false;
        self.inner.encode(frame, key || due, &mut |encoded| {
            came |= encoded.key;
            out(encoded);
        })?;
        if came {
            (self.pictures, self.last_key) = (0, Some(frame.time));
        }
        self.pictures += 1;
        Ok(())
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), Error> {
        self.inner.set_bitrate(bits_per_second)
    }
}
