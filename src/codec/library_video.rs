//! What VP8, VP9 and AV1 share as stages of a pipeline: libvpx and libaom are of one family, and the codecs differ in their
//! settings and headers.
#![allow(unsafe_code)] // They are C. Every block says why it may.

use super::picture_clock::PictureClock;
use super::settings::kilobits;
use super::{CodecError, EncoderSettings};
use crate::error::Error;
use crate::media::{
    Codec, EncodedFrame, FramePool, I420, VideoDecoder, VideoEncoder, VideoFormat, VideoFrame, frame_header,
};
use bytes::Bytes;
use std::ffi::{CStr, c_char, c_int};
use std::fmt;

/// What a library said.
#[derive(Debug)]
pub(super) struct LibraryError(String);

impl LibraryError {
    pub(super) const fn new(what: String) -> Self {
        Self(what)
    }
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a library says of an error, and perhaps in detail.
///
/// # Safety
/// Each is null or a C string that stays as it is during the call.
pub(super) unsafe fn said(what: *const c_char, detail: *const c_char) -> LibraryError {
    // SAFETY: the caller promises it.
    let [what, detail] = [what, detail]
        .map(|text| if text.is_null() { None } else { Some(unsafe { CStr::from_ptr(text) }.to_string_lossy()) });
    let what = what.as_deref().unwrap_or("unknown error");
    LibraryError::new(detail.map_or_else(|| what.to_owned(), |detail| format!("{what}: {detail}")))
}

/// Where the rows of `picture` begin, and how many bytes apart they are, as the libraries want to be told.
pub(super) fn layout(picture: &I420) -> Result<[(*mut u8, c_int); 3], LibraryError> {
    let [y, u, v] = picture.planes().map(|plane| plane.as_ptr().cast_mut());
    let stride =
        |width: u32| c_int::try_from(width).map_err(|_| LibraryError::new("the picture is too wide".to_owned()));
    let (luma, chroma) = (stride(picture.width())?, stride(picture.chroma_width())?);
    Ok([(y, luma), (u, chroma), (v, chroma)])
}

/// Fills a plane of a picture from rows of a library that begin at `from` and are `stride` bytes apart, upwards when that is
/// negative.
///
/// # Safety
/// There are `width` bytes to read in as many rows as `to` has of that width.
pub(super) unsafe fn copy_rows(from: *const u8, stride: c_int, width: usize, to: &mut [u8]) {
    for (row, to) in (0isize..).zip(to.chunks_exact_mut(width)) {
        // SAFETY: the caller promises it.
        to.copy_from_slice(unsafe { std::slice::from_raw_parts(from.offset(row * stride as isize), width) });
    }
}

/// One encoded frame, borrowed from the encoder until its next call.
pub(super) struct Packet<'a> {
    pub(super) data: &'a [u8],
    pub(super) key: bool,
}

/// An encoder of a library, for one picture size.
pub(super) trait FrameEncoder: Send {
    /// Encodes a picture of the configured size; `pts` must grow from call to call. `out` gets what is ready.
    fn encode(
        &mut self,
        picture: &I420,
        pts: i64,
        duration: u32,
        key: bool,
        out: &mut dyn FnMut(Packet<'_>),
    ) -> Result<(), LibraryError>;

    /// Sets the target in kilobits per second.
    fn set_kilobits(&mut self, kilobits: u32) -> Result<(), LibraryError>;
}

/// A decoder of a library.
pub(super) trait FrameDecoder: Send {
    /// Decodes one frame, which is not empty; `out` gets the pictures to show.
    fn decode(&mut self, data: &[u8], pool: &FramePool, out: &mut dyn FnMut(I420)) -> Result<(), LibraryError>;

    /// Whether the last frame was damaged although it could be decoded.
    fn corrupted(&mut self) -> bool;
}

/// Opens an encoder for pictures of one size.
type Open<E> = fn(&VideoFormat, &EncoderSettings) -> Result<E, CodecError>;

/// Refuses a frame that costs more than its bytes can justify.
type Check = fn(&[u8]) -> Result<(), CodecError>;

/// Brings what a library writes into the form that frames have here; `None` when it is not what it should be.
type Reframe = fn(&[u8]) -> Option<Bytes>;

pub(super) fn library(codec: Codec) -> impl Fn(LibraryError) -> CodecError {
    move |error| CodecError::Library { codec, detail: error.to_string() }
}

/// Encodes in real time.
///
/// A key frame comes first, after a change of size, and when asked for; never else. With frame dropping on (see
/// [`EncoderSettings::drop_below`]) a picture may give no frame.
pub(super) struct LibraryEncoder<E> {
    codec: Codec,
    open: Open<E>,
    encoder: E,
    reframe: Reframe,
    settings: EncoderSettings,
    format: VideoFormat,
    clock: PictureClock,
    /// A key frame was asked for and has not come yet.
    key: bool,
}

impl<E: FrameEncoder> LibraryEncoder<E> {
    /// An encoder for pictures of `format`. Pictures of other sizes are taken too, each change at the cost of a key frame.
    pub(super) fn new(
        codec: Codec,
        open: Open<E>,
        format: &VideoFormat,
        settings: EncoderSettings,
    ) -> Result<Self, CodecError> {
        let encoder = open(format, &settings)?;
        let clock = PictureClock::new(format.frame_rate);
        let reframe = |data: &[u8]| Some(Bytes::copy_from_slice(data));
        Ok(Self { codec, open, encoder, reframe, settings, format: *format, clock, key: true })
    }

    /// The same, with frames in another form than the library writes them in.
    pub(super) fn reframed_by(self, reframe: Reframe) -> Self {
        Self { reframe, ..self }
    }
}

impl<E: FrameEncoder> VideoEncoder for LibraryEncoder<E> {
    fn codec(&self) -> Codec {
        self.codec
    }

    fn encode(&mut self, frame: &VideoFrame, key: bool, out: &mut dyn FnMut(EncodedFrame)) -> Result<(), Error> {
        let (codec, reframe) = (self.codec, self.reframe);
        let format = VideoFormat { width: frame.width(), height: frame.height(), ..self.format };
        if format != self.format {
            self.encoder = (self.open)(&format, &self.settings)?;
            (self.format, self.key) = (format, true);
        }
        self.key |= key;
        let (time, duration) = self.clock.advance(frame.time);
        let wanted = &mut self.key;
        let mut broken = false;
        self.encoder
            .encode(&frame.picture, time, duration, *wanted, &mut |packet| {
                *wanted &= !packet.key;
                match reframe(packet.data) {
                    Some(data) => out(EncodedFrame { codec, time: frame.time, key: packet.key, data }),
                    None => broken = true,
                }
            })
            .map_err(library(codec))?;
        if broken {
            let detail = "it wrote a frame that cannot be read".to_owned();
            return Err(CodecError::Library { codec, detail }.into());
        }
        Ok(())
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), Error> {
        if bits_per_second != self.settings.bitrate {
            self.encoder.set_kilobits(kilobits(self.codec, bits_per_second)?).map_err(library(self.codec))?;
            self.settings.bitrate = bits_per_second;
        }
        Ok(())
    }
}

/// Decodes. Pictures come from a pool of its own.
///
/// After damage it refuses everything up to the next key frame, so it never shows a picture built on a damaged one.
pub(super) struct LibraryDecoder<D> {
    codec: Codec,
    check: Check,
    decoder: D,
    pool: FramePool,
    needs_key: bool,
}

impl<D: FrameDecoder> LibraryDecoder<D> {
    /// A decoder that waits for its first key frame.
    pub(super) fn new(codec: Codec, decoder: D, check: Check) -> Self {
        Self { codec, check, decoder, pool: FramePool::new(), needs_key: true }
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

impl<D: FrameDecoder> VideoDecoder for LibraryDecoder<D> {
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
            .decode(&frame.data, &self.pool, &mut |shown| picture = Some(shown))
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
