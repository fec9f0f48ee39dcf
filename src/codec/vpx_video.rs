//! What VP8 and VP9 share as stages of a pipeline: both are libvpx, and differ in settings and in their headers.

use super::picture_clock::PictureClock;
use super::settings::kilobits;
use super::vpx::{self, Interface, VpxError};
use super::{CodecError, EncoderSettings};
use crate::error::Error;
use crate::media::{
    Codec, EncodedFrame, FramePool, FrameRate, VideoDecoder, VideoEncoder, VideoFormat, VideoFrame, frame_header,
};
use bytes::Bytes;

/// Opens an encoder of libvpx for pictures of one size.
pub(super) type Open = fn(u32, u32, FrameRate, &EncoderSettings) -> Result<vpx::Encoder, CodecError>;

/// Refuses a frame that costs more than its bytes can justify.
pub(super) type Check = fn(&[u8]) -> Result<(), CodecError>;

pub(super) fn library(codec: Codec) -> impl Fn(VpxError) -> CodecError {
    move |error| CodecError::Library { codec, detail: error.to_string() }
}

/// Encodes in real time.
///
/// A key frame comes first, after a change of size, and when asked for; never else. With frame dropping on (see
/// [`EncoderSettings::drop_below`]) a picture may give no frame.
pub(super) struct VpxEncoder {
    codec: Codec,
    open: Open,
    encoder: vpx::Encoder,
    settings: EncoderSettings,
    frame_rate: FrameRate,
    size: (u32, u32),
    clock: PictureClock,
    /// A key frame was asked for and has not come yet.
    key: bool,
}

impl VpxEncoder {
    /// An encoder for pictures of `format`. Pictures of other sizes are taken too, each change at the cost of a key frame.
    pub(super) fn new(
        codec: Codec,
        open: Open,
        format: &VideoFormat,
        settings: EncoderSettings,
    ) -> Result<Self, CodecError> {
        let (size, frame_rate) = ((format.width, format.height), format.frame_rate);
        let encoder = open(size.0, size.1, frame_rate, &settings)?;
        let clock = PictureClock::new(frame_rate);
        Ok(Self { codec, open, encoder, settings, frame_rate, size, clock, key: true })
    }
}

impl VideoEncoder for VpxEncoder {
    fn codec(&self) -> Codec {
        self.codec
    }

    fn encode(&mut self, frame: &VideoFrame, key: bool, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error> {
        let (codec, size) = (self.codec, (frame.width(), frame.height()));
        if size != self.size {
            self.encoder = (self.open)(size.0, size.1, self.frame_rate, &self.settings)?;
            (self.size, self.key) = (size, true);
        }
        self.key |= key;
        let (time, duration) = self.clock.advance(frame.time);
        let wanted = &mut self.key;
        self.encoder
            .encode(&frame.picture, time, duration, *wanted, |packet| {
                *wanted &= !packet.key;
                let data = Bytes::copy_from_slice(packet.data);
                out(EncodedFrame { codec, time: frame.time, key: packet.key, data });
            })
            .map_err(library(codec))?;
        Ok(())
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), Error> {
        if bits_per_second != self.settings.bitrate {
            let kilobits = kilobits(self.codec, bits_per_second)?;
            self.encoder.reconfigure(|config| config.rc_target_bitrate = kilobits).map_err(library(self.codec))?;
            self.settings.bitrate = bits_per_second;
        }
        Ok(())
    }
}

/// Decodes. Pictures come from a pool of its own.
///
/// After damage it refuses everything up to the next key frame, so it never shows a picture built on a damaged one.
pub(super) struct VpxDecoder {
    codec: Codec,
    check: Check,
    decoder: vpx::Decoder,
    pool: FramePool,
    needs_key: bool,
}

impl VpxDecoder {
    /// A decoder that waits for its first key frame.
    pub(super) fn new(codec: Codec, interface: Interface, check: Check) -> Result<Self, CodecError> {
        let decoder = vpx::Decoder::open(interface, 1).map_err(library(codec))?;
        Ok(Self { codec, check, decoder, pool: FramePool::new(), needs_key: true })
    }

    fn admit(&self, data: &[u8]) -> Result<(), CodecError> {
        let codec = self.codec;
        let header = frame_header(codec, data)
            .ok_or_else(|| CodecError::Damaged { codec, detail: "no frame header".to_owned() })?;
        if self.needs_key && !header.key {
            return Err(CodecError::NeedsKey { codec });
        }
        (self.check)(data)
    }
}

impl VideoDecoder for VpxDecoder {
    fn decode(&mut self, frame: &EncodedFrame, out: &mut dyn FnMut(VideoFrame)) -> Result<(), Error> {
        let codec = self.codec;
        if frame.codec != codec {
            return Err(CodecError::WrongCodec { codec, found: frame.codec }.into());
        }
        let damaged = |detail: String| CodecError::Damaged { codec, detail };
        let admitted = self.admit(&frame.data);
        self.needs_key = true;
        admitted?;
        let mut picture = None;
        self.decoder
            .decode(&frame.data, &self.pool, |shown| picture = Some(shown))
            .map_err(|error| damaged(error.to_string()))?;
        if self.decoder.corrupted() {
            return Err(damaged("its data ends early".to_owned()).into());
        }
        self.needs_key = false;
        if let Some(picture) = picture {
            out(VideoFrame::new(frame.time, picture));
        }
        Ok(())
    }
}
