//! One video track, from its source to encoded frames.

use super::adaptation::{Adaptation, SendLimits};
use super::encoding::VideoEncoding;
use super::threads::{Pace, Threads};
use crate::codec;
use crate::error::Error;
use crate::media::{EncodedFrame, EncoderControl, VideoEncoder, VideoFrame, VideoInput};
use crate::pipeline::queue::{Overflow, QueueStats, Receiver, Sender, Sent, bounded};
use std::sync::Arc;

/// Changes pictures before they are encoded, on the encoder's thread: a filter, a meter.
pub(in crate::ops) type PictureStage = Box<dyn FnMut(VideoFrame) -> Result<VideoFrame, Error> + Send>;

/// What is to run.
pub(in crate::ops) struct VideoTrack {
    pub(in crate::ops) input: VideoInput,
    /// How raw pictures are encoded; encoded ones pass as they are.
    pub(in crate::ops) encoding: VideoEncoding,
    /// What is done to raw pictures first, in this order.
    pub(in crate::ops) stages: Vec<PictureStage>,
    /// What is sent of raw pictures, and what gives way when bits are few; without it all of them as they are.
    pub(in crate::ops) limits: Option<SendLimits>,
    /// Who wants key frames or another bitrate.
    pub(in crate::ops) control: Arc<EncoderControl>,
    /// Raw pictures that may wait for the encoder. Of a live source older ones give way; a source that is read as fast
    /// as it goes waits.
    pub(in crate::ops) backlog: usize,
}

/// Counts the raw pictures of a track.
#[derive(Clone)]
pub(in crate::ops) struct PictureStats(Arc<Receiver<VideoFrame>>);

impl PictureStats {
    /// What has reached the encoder so far, and what gave way.
    pub(in crate::ops) fn get(&self) -> QueueStats {
        self.0.stats()
    }
}

impl VideoTrack {
    /// Starts its threads. They end with the input, with the stop of `threads`, and when nobody takes the frames.
    ///
    /// Gives the count of raw pictures; `None` where the input is encoded.
    pub(in crate::ops) fn start(
        self,
        threads: &mut Threads,
        pace: Pace,
        encoded: Sender<EncodedFrame>,
    ) -> Result<Option<PictureStats>, Error> {
        let Self { input, encoding, stages, limits, control, backlog } = self;
        match input {
            VideoInput::Encoded { source, .. } => {
                threads.feed("video-source", pace.of(false, source), encoded)?;
                Ok(None)
            }
            VideoInput::Raw { format, live, source } => {
                let shape = limits.map_or(format, |limits| limits.shape(&format));
                let mut settings = encoding.settings(&shape);
                if let Some(level) = limits.and_then(|limits| limits.level) {
                    settings.bitrate = settings.bitrate.min(level.max_bitrate());
                }
                let encoder = codec::video_encoder(encoding.codec, &shape, settings)?;
                let adaptation = limits.map(|limits| Adaptation::new(limits, &format));
                let encoding = Encoding { encoder, most: settings.bitrate, stages, adaptation, encoded, control };
                let overflow = match pace {
                    Pace::AsRead if !live => Overflow::Block,
                    _ => Overflow::Latest,
                };
                let (raw, pictures) = bounded(backlog, overflow);
                threads.feed("video-source", pace.of(live, source), raw)?;
                let pictures = Arc::new(pictures);
                let stats = PictureStats(Arc::clone(&pictures));
                threads.work("video-encode", move || encoding.run(&pictures))?;
                Ok(Some(stats))
            }
        }
    }
}

struct Encoding {
    encoder: Box<dyn VideoEncoder>,
    /// Bits per second that it was made for, and never exceeds.
    most: u32,
    stages: Vec<PictureStage>,
    adaptation: Option<Adaptation>,
    encoded: Sender<EncodedFrame>,
    control: Arc<EncoderControl>,
}

impl Encoding {
    fn run(mut self, pictures: &Receiver<VideoFrame>) -> Result<(), Error> {
        let mut bitrate = self.most;
        while let Some(mut picture) = pictures.recv() {
            for stage in &mut self.stages {
                picture = stage(picture)?;
            }
            if self.control.is_held() {
                continue;
            }
            let wanted = self.control.bitrate().map_or(self.most, |wanted| wanted.min(self.most));
            if wanted != bitrate {
                self.encoder.set_bitrate(wanted)?;
                bitrate = wanted;
            }
            if let Some(adaptation) = &mut self.adaptation {
                let Some(adapted) = adaptation.adapt(picture, bitrate)? else { continue };
                picture = adapted;
            }
            let (encoded, control) = (&self.encoded, &self.control);
            let mut gone = false;
            let key = control.take_key_frame_request();
            self.encoder.encode(&picture, key, &mut |frame| match encoded.send(frame) {
                Ok(Sent::Queued) => {}
                Ok(Sent::NeedsKey) => control.request_key_frame(),
                Err(_) => gone = true,
            })?;
            if gone {
                break;
            }
        }
        Ok(())
    }
}
