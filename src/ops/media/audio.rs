//! One audio track, from its source to encoded packets.

use super::encoding::AudioEncoding;
use super::threads::{Pace, Threads};
use crate::codec;
use crate::error::Error;
use crate::filter::Resampler;
use crate::media::{AudioEncoder, AudioFrame, AudioInput, EncodedFrame, EncoderControl, Source};
use crate::pipeline::queue::Sender;
use crate::stop::Stop;
use std::sync::Arc;

/// Changes sound before it is encoded, at the rate of the encoder and on the encoder's thread: a gain, a meter.
pub(in crate::ops) type SoundStage = Box<dyn FnMut(AudioFrame) -> Result<AudioFrame, Error> + Send>;

/// What is to run.
pub(in crate::ops) struct AudioTrack {
    pub(in crate::ops) input: AudioInput,
    /// How raw sound is encoded; encoded sound passes as it is.
    pub(in crate::ops) encoding: AudioEncoding,
    /// What is done to raw sound first, in this order.
    pub(in crate::ops) stages: Vec<SoundStage>,
    /// What the receiver wants of the encoder.
    pub(in crate::ops) control: Option<Arc<EncoderControl>>,
}

impl AudioTrack {
    /// Starts its thread, which ends with the input, with the stop of `threads`, and when nobody takes the packets.
    pub(in crate::ops) fn start(
        self,
        threads: &mut Threads,
        pace: Pace,
        encoded: Sender<EncodedFrame>,
    ) -> Result<(), Error> {
        let Self { input, encoding, stages, control } = self;
        match input {
            AudioInput::Encoded { source, .. } => threads.feed("audio-source", pace.of(false, source), encoded),
            AudioInput::Raw { format, live, source } => {
                let wanted = codec::decoded_format(encoding.codec, format.channels.clamp(1, 2));
                let resampler = if format == wanted { None } else { Some(Resampler::new(format, wanted)?) };
                let settings = encoding.settings();
                let most = settings.bitrate;
                let encoder = codec::audio_encoder(encoding.codec, wanted, settings)?;
                let (source, stop) = (pace.of(live, source), threads.stop().clone());
                let encoding = Encoding { encoder, most, bitrate: most, stages, encoded, control };
                threads.work("audio-encode", move || encoding.run(source, resampler, &stop))
            }
        }
    }
}

struct Encoding {
    encoder: Box<dyn AudioEncoder>,
    /// Bits per second that it was made for, and never exceeds; and those that it makes.
    most: u32,
    bitrate: u32,
    stages: Vec<SoundStage>,
    encoded: Sender<EncodedFrame>,
    control: Option<Arc<EncoderControl>>,
}

impl Encoding {
    fn run(
        mut self,
        mut source: Box<dyn Source<AudioFrame>>,
        mut resampler: Option<Resampler>,
        stop: &Stop,
    ) -> Result<(), Error> {
        while let Some(frame) = source.next(stop).map_err(|error| error.at("capture"))? {
            let wanted = match &mut resampler {
                None => self.take(frame)?,
                Some(resampler) => {
                    let mut ready = Vec::new();
                    resampler.process(&frame, &mut |frame| ready.push(frame))?;
                    self.take_all(ready)?
                }
            };
            if stop.is_stopped() || !wanted {
                break;
            }
        }
        if let Some(mut resampler) = resampler {
            let mut rest = Vec::new();
            resampler.flush(&mut |frame| rest.push(frame))?;
            self.take_all(rest)?;
        }
        let encoded = &self.encoded;
        self.encoder.flush(&mut |frame| {
            // Nobody takes it: then nobody misses it.
            let _ = encoded.send(frame);
        })
    }

    fn take_all(&mut self, frames: Vec<AudioFrame>) -> Result<bool, Error> {
        let mut wanted = true;
        for frame in frames {
            wanted &= self.take(frame)?;
        }
        Ok(wanted)
    }

    /// Encodes one frame; whether somebody still takes the packets.
    fn take(&mut self, mut frame: AudioFrame) -> Result<bool, Error> {
        for stage in &mut self.stages {
            frame = stage(frame)?;
        }
        if let Some(bits) = self.control.as_ref().and_then(|control| control.bitrate()) {
            let bits = bits.clamp(1, self.most);
            if bits != self.bitrate {
                self.encoder.set_bitrate(bits)?;
                self.bitrate = bits;
            }
        }
        let (encoded, mut wanted) = (&self.encoded, true);
        self.encoder.encode(&frame, &mut |packet| wanted &= encoded.send(packet).is_ok())?;
        Ok(wanted)
    }
}
