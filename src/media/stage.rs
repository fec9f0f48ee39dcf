//! The stages of a pipeline, as traits: sources give, encoders and decoders turn, sinks take.
//!
//! Stages are blocking and single-threaded: the pipeline runs each on a thread of its own. A stage
//! is handed a [`Stop`] wherever it may wait for longer than a frame.

use super::{AudioFormat, AudioFrame, AudioSettings, Codec, EncodedFrame, VideoFormat, VideoFrame, VideoSettings};
use crate::error::Error;
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Gives items until it ends.
pub trait Source<T>: Send {
    /// The next item; `None` at the end of the stream or once `stop` was asked for. Live sources block until the
    /// item is due; files answer at once.
    ///
    /// # Errors
    /// When the device or file fails; the source is over then.
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error>;

    /// Counts the items that the source itself lost, where it can tell; readable while it runs on another thread.
    fn lost(&self) -> Option<Arc<AtomicU64>> {
        None
    }
}

impl<T, S: Source<T> + ?Sized> Source<T> for Box<S> {
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error> {
        (**self).next(stop)
    }

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        (**self).lost()
    }
}

/// Takes items until it is finished.
pub trait Sink<T>: Send {
    /// Takes one item. May block on the disk or pipe behind it.
    ///
    /// # Errors
    /// When the item could not be written; later items will fail too.
    fn write(&mut self, item: &T) -> Result<(), Error>;

    /// Completes the output. What was written is only whole after this.
    ///
    /// # Errors
    /// When the output could not be completed.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// The video of an opened source.
pub enum VideoInput {
    /// Pictures.
    Raw {
        /// The shape of every frame.
        format: VideoFormat,
        /// Whether frames come at their own pace (a camera, the test pattern) or as fast as they are read (a file).
        live: bool,
        /// The frames.
        source: Box<dyn Source<VideoFrame>>,
    },
    /// Frames that are encoded already.
    Encoded {
        /// How.
        codec: Codec,
        /// Width and height in pixels, where the container says so.
        size: Option<(u32, u32)>,
        /// The frames, in decoding order, as fast as they are read.
        source: Box<dyn Source<EncodedFrame>>,
    },
}

/// The audio of an opened source.
pub enum AudioInput {
    /// Samples.
    Raw {
        /// The shape of every frame.
        format: AudioFormat,
        /// Whether frames come at their own pace or as fast as they are read.
        live: bool,
        /// The frames; each holds 20 ms, a usual packet of a call, or less where the source can choose.
        source: Box<dyn Source<AudioFrame>>,
    },
    /// Packets that are encoded already.
    Encoded {
        /// How.
        codec: Codec,
        /// Channels as the container says.
        channels: u16,
        /// The packets, as fast as they are read.
        source: Box<dyn Source<EncodedFrame>>,
    },
}

/// What one opened source offers. Both tracks share one timeline.
#[derive(Default)]
pub struct MediaInput {
    /// Its video, if it has any.
    pub video: Option<VideoInput>,
    /// Its audio, if it has any.
    pub audio: Option<AudioInput>,
    /// What the video is set to, where that is more than its format says.
    pub video_settings: Option<VideoSettings>,
    /// What the audio is set to, where that is more than its format says.
    pub audio_settings: Option<AudioSettings>,
}

/// Turns pictures into encoded frames, in real time.
pub trait VideoEncoder: Send {
    /// What it writes.
    fn codec(&self) -> Codec;

    /// Encodes one picture and calls `out` with what is ready: usually one frame, none when the encoder drops the picture
    /// to hold its bitrate. A picture of another size than the last restarts the stream with a key frame.
    /// `key` asks for a key frame.
    ///
    /// # Errors
    /// When the encoder refuses the picture.
    fn encode(&mut self, frame: &VideoFrame, key: bool, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error>;

    /// Sets the target in bits per second, from the next picture on.
    ///
    /// # Errors
    /// When the encoder refuses the value.
    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), Error>;
}

/// Turns encoded frames back into pictures.
pub trait VideoDecoder: Send {
    /// Decodes one frame and calls `out` with each picture it completes.
    ///
    /// # Errors
    /// When the bytes are damaged, or a frame before it is missing; the decoder stays usable and a key frame mends it.
    fn decode(&mut self, frame: &EncodedFrame, out: &mut dyn FnMut(VideoFrame)) -> Result<(), Error>;
}

/// Turns samples into encoded packets.
pub trait AudioEncoder: Send {
    /// What it writes.
    fn codec(&self) -> Codec;

    /// Takes any number of samples in the format it was made for, and calls `out` with each packet they complete.
    ///
    /// # Errors
    /// When the samples have another format.
    fn encode(&mut self, frame: &AudioFrame, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error>;

    /// Pads what is left with silence and gives the last packet.
    ///
    /// # Errors
    /// When the encoder fails.
    fn flush(&mut self, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error>;

    /// Sets the target in bits per second, from the next packet on.
    ///
    /// # Errors
    /// When the encoder refuses the value.
    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), Error>;
}

/// A hole in an audio stream that a decoder is asked to fill.
#[derive(Clone, Copy, Debug)]
pub struct Loss<'a> {
    /// Where the hole begins.
    pub time: super::MediaTime,
    /// How many samples per channel are missing, at the rate that the decoder gives.
    pub samples: usize,
    /// The packet after the hole, whose forward error correction may hold the end of it.
    pub next: Option<&'a EncodedFrame>,
}

/// Turns encoded packets back into samples.
pub trait AudioDecoder: Send {
    /// The format of what it gives.
    fn format(&self) -> AudioFormat;

    /// Decodes one packet.
    ///
    /// # Errors
    /// When the bytes are damaged; the decoder stays usable.
    fn decode(&mut self, frame: &EncodedFrame, out: &mut dyn FnMut(AudioFrame)) -> Result<(), Error>;

    /// Fills a hole by error correction or concealment.
    ///
    /// # Errors
    /// When the decoder fails.
    fn conceal(&mut self, loss: Loss<'_>, out: &mut dyn FnMut(AudioFrame)) -> Result<(), Error>;
}

/// The way back up a pipeline: what the receiver wants of an encoder. Shared by reference; the encoder's thread looks
/// before every frame.
#[derive(Debug, Default)]
pub struct EncoderControl {
    key_frame: AtomicBool,
    bits_per_second: AtomicU32,
    held: AtomicBool,
}

impl EncoderControl {
    /// Nothing asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a key frame (PLI and FIR, RFC 4585 and RFC 5104).
    pub fn request_key_frame(&self) {
        self.key_frame.store(true, Ordering::Release);
    }

    /// Whether a key frame is wanted; taking it clears the wish.
    pub fn take_key_frame_request(&self) -> bool {
        self.key_frame.swap(false, Ordering::AcqRel)
    }

    /// Asks for a target in bits per second; 0 takes the wish back.
    pub fn set_bitrate(&self, bits_per_second: u32) {
        self.bits_per_second.store(bits_per_second, Ordering::Release);
    }

    /// Asks for no more pictures, or for pictures again: what was encoded is still on its way.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    /// Whether no picture is wanted at the moment.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// The wanted target in bits per second, if any.
    pub fn bitrate(&self) -> Option<u32> {
        Some(self.bits_per_second.load(Ordering::Acquire)).filter(|&bps| bps != 0)
    }
}
