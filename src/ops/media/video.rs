//! One video track, from its source to encoded frames.

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
        let Self { input, encoding, stages, control, backlog } = self;
        match input {
            VideoInput::Encoded { source, .. } => {
                threads.feed("video-source", pace.of(false, source), encoded)?;
                Ok(None)
            }
            VideoInput::Raw { format, live, source } => {
                let encoder = codec::video_encoder(encoding.codec, &format, encoding.settings(&format))?;
                let overflow = match pace {
                    Pace::AsRead if !live => Overflow::Block,
                    _ => Overflow::Latest,
                };
                let (raw, pictures) = bounded(backlog, overflow);
                threads.feed("video-source", pace.of(live, source), raw)?;
                let pictures = Arc::new(pictures);
                let stats = PictureStats(Arc::clone(&pictures));
                threads.work("video-encode", move || encode(encoder, &pictures, stages, &encoded, &control))?;
                Ok(Some(stats))
            }
        }
    }
}

fn encode(
    mut encoder: Box<dyn VideoEncoder>,
    pictures: &Receiver<VideoFrame>,
    mut stages: Vec<PictureStage>,
    encoded: &Sender<EncodedFrame>,
    control: &EncoderControl,
) -> Result<(), Error> {
    let mut bitrate = None;
    while let Some(mut picture) = pictures.recv() {
        for stage in &mut stages {
            picture = stage(picture)?;
        }
        if let Some(wanted) = control.bitrate().filter(|wanted| bitrate != Some(*wanted)) {
            encoder.set_bitrate(wanted)?;
            bitrate = Some(wanted);
        }
        let mut gone = false;
        let key = control.take_key_frame_request();
        encoder.encode(&picture, key, &mut |frame| match encoded.send(frame) {
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
