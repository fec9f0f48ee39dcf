//! Files and streams: y4m, ivf, webm and mkv, wav, ogg; told apart by their content, never by their name.
//!
//! ```text
//! Location -> Input (bytes) -> one reader per format (a Pass) -> FileSource (repeats, ends) -> pipeline
//! ```
//!
//! Nothing seeks, so a pipe reads like a file. Times start at 0 with the earliest track. A file that breaks off is read up to
//! there and then ends; content that contradicts its format is an error. Memory follows the bytes that
//! really come, never a size that a header claims.

mod ebml;
mod input;
mod ivf;
mod matroska;
mod ogg;
mod opus;
mod shared;
mod source;
#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test values are small")]
mod tests;
mod wav;
mod y4m;

pub use input::Location;

use super::{CaptureError, Wanted};
use crate::error::Error;
use crate::media::{
    self, AudioConstraints, AudioFormat, AudioInput, Codec, MediaInput, MediaKind, Overconstrained, Property,
    ResizeMode, Settings, Value, VideoConstraints, VideoInput,
};
use crate::stop::Stop;
use input::Input;
use shared::{Shared, TrackPass};
use source::{FileSource, Pass};
use std::sync::Arc;

/// A reader that has seen the header of its format.
enum Opened {
    Y4m(y4m::Y4m),
    Ivf(ivf::Ivf),
    Wav(wav::Wav),
    Ogg(ogg::Ogg),
    Matroska(Arc<Shared>),
}

impl Opened {
    fn new(mut input: Input) -> Result<Self, CaptureError> {
        let magic = input.peek(12)?;
        Ok(match magic {
            [b'Y', b'U', b'V', b'4', b'M', b'P', b'E', b'G', b'2', ..] => Self::Y4m(y4m::Y4m::new(input)?),
            [b'D', b'K', b'I', b'F', ..] => Self::Ivf(ivf::Ivf::new(input)?),
            [b'R', b'I', b'F', b'F' | b'X', _, _, _, _, b'W', b'A', b'V', b'E'] => Self::Wav(wav::Wav::new(input)?),
            [b'R', b'F', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E'] => Self::Wav(wav::Wav::new(input)?),
            [b'O', b'g', b'g', b'S', ..] => Self::Ogg(ogg::Ogg::new(input)?),
            [0x1A, 0x45, 0xDF, 0xA3, ..] => Self::Matroska(Shared::new(matroska::Matroska::new(input)?)),
            _ => return Err(CaptureError::UnknownFormat { source_name: input.name().to_owned() }),
        })
    }

    fn kinds(&self) -> Wanted {
        match self {
            Self::Y4m(_) | Self::Ivf(_) => Wanted { video: true, audio: false },
            Self::Wav(_) | Self::Ogg(_) => Wanted { video: false, audio: true },
            Self::Matroska(shared) => {
                Wanted { video: shared.tracks().video.is_some(), audio: shared.tracks().audio.is_some() }
            }
        }
    }
}

/// Opens the wanted tracks of a file. See [`open`](super::open).
///
/// # Errors
/// As [`open`](super::open).
pub fn open(
    location: Location,
    repeat: bool,
    wanted: Wanted,
    video: &VideoConstraints,
    audio: &AudioConstraints,
) -> Result<MediaInput, CaptureError> {
    let name = location.name().to_owned();
    let again = location.again();
    if repeat && again.is_none() {
        return Err(CaptureError::NotRepeatable { source_name: name });
    }
    let opened = Opened::new(location.into_input()?)?;
    for (kind, is_wanted, is_there) in
        [(MediaKind::Video, wanted.video, opened.kinds().video), (MediaKind::Audio, wanted.audio, opened.kinds().audio)]
    {
        if is_wanted && !is_there {
            return Err(match &opened {
                Opened::Matroska(shared) => shared.tracks().missing(&name, kind),
                _ => CaptureError::NoTrack { source_name: name, kind },
            });
        }
    }
    let terms = Terms { name: &name, video, audio };
    let repeated = again.clone().filter(|_| repeat);
    let mut input = MediaInput::default();
    match opened {
        Opened::Y4m(pass) if wanted.video => {
            let format = pass.format();
            terms.check_video(Some((format.width, format.height)), Some(format.frame_rate.as_f64()))?;
            let source = FileSource::boxed(pass, repeated, y4m::Y4m::new);
            input.video = Some(VideoInput::Raw { format, live: false, source });
        }
        Opened::Ivf(pass) if wanted.video => {
            let (codec, size) = (pass.codec(), pass.size());
            terms.check_video(Some(size), pass.frame_rate())?;
            let source = FileSource::boxed(pass, repeated, ivf::Ivf::new);
            input.video = Some(VideoInput::Encoded { codec, size: Some(size), source });
        }
        Opened::Wav(pass) if wanted.audio => {
            let format = pass.format();
            terms.check_audio(format.sample_rate.get(), format.channels)?;
            let source = FileSource::boxed(pass, repeated, wav::Wav::new);
            input.audio = Some(AudioInput::Raw { format, live: false, source });
        }
        Opened::Ogg(pass) if wanted.audio => {
            let channels = pass.channels();
            terms.check_audio(48_000, channels)?;
            let source = FileSource::boxed(pass, repeated, ogg::Ogg::new);
            input.audio = Some(AudioInput::Encoded { codec: Codec::Opus, channels, source });
        }
        Opened::Matroska(shared) => {
            // A file is opened once per track, so that its readers do not wait for each other; a pipe is shared.
            let second = match &again {
                Some(again) if wanted.video && wanted.audio => {
                    Shared::new(matroska::Matroska::new(Input::open(again)?)?)
                }
                _ => Arc::clone(&shared),
            };
            let reopen = |kind| {
                move |input| {
                    let shared = Shared::new(matroska::Matroska::new(input)?);
                    Ok(TrackPass::new(shared, kind))
                }
            };
            let tracks = shared.tracks().clone();
            if let Some(track) = tracks.video.filter(|_| wanted.video) {
                terms.check_video(track.size, track.frame_rate)?;
                let pass = TrackPass::new(shared, MediaKind::Video);
                let source = FileSource::boxed(pass, repeated.clone(), reopen(MediaKind::Video));
                input.video = Some(VideoInput::Encoded { codec: track.codec, size: track.size, source });
            }
            if let Some(track) = tracks.audio.filter(|_| wanted.audio) {
                terms.check_audio(48_000, track.channels)?;
                let pass = TrackPass::new(second, MediaKind::Audio);
                let source = FileSource::boxed(pass, repeated, reopen(MediaKind::Audio));
                input.audio = Some(AudioInput::Encoded { codec: track.codec, channels: track.channels, source });
            }
        }
        _ => {}
    }
    Ok(input)
}

/// What is asked of a file.
struct Terms<'a> {
    name: &'a str,
    video: &'a VideoConstraints,
    audio: &'a AudioConstraints,
}

impl Terms<'_> {
    fn check_video(&self, size: Option<(u32, u32)>, frame_rate: Option<f64>) -> Result<(), CaptureError> {
        self.refuse(media::check(&Shape { size, rate: frame_rate, ..Shape::default() }, self.video))
    }

    fn check_audio(&self, sample_rate: u32, channels: u16) -> Result<(), CaptureError> {
        let shape = Shape { rate: Some(f64::from(sample_rate)), channels: Some(channels), ..Shape::default() };
        self.refuse(media::check(&shape, self.audio))
    }

    fn refuse(&self, checked: Result<(), Overconstrained>) -> Result<(), CaptureError> {
        checked.map_err(|error| CaptureError::Overconstrained { source_name: self.name.to_owned(), error })
    }
}

/// What a file says of a track; what it does not say meets no demand.
#[derive(Default)]
struct Shape {
    size: Option<(u32, u32)>,
    /// Frames or samples per second.
    rate: Option<f64>,
    channels: Option<u16>,
}

impl Settings for Shape {
    fn value(&self, property: Property) -> Option<Value<'_>> {
        let size = self.size.map(|(width, height)| (f64::from(width), f64::from(height)));
        match property {
            Property::Width => size.map(|(width, _)| Value::Number(width)),
            Property::Height => size.map(|(_, height)| Value::Number(height)),
            Property::AspectRatio => size.map(|(width, height)| Value::Number(width / height.max(1.0))),
            Property::FrameRate | Property::SampleRate => self.rate.map(Value::Number),
            Property::ChannelCount => self.channels.map(|channels| Value::Number(f64::from(channels))),
            Property::ResizeMode => Some(Value::Text(ResizeMode::None.as_str())),
            _ => None,
        }
    }
}

/// What reading a whole file came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Contents {
    /// Pictures, or encoded frames.
    pub video_frames: u64,
    /// Runs of samples, or encoded packets.
    pub audio_frames: u64,
    /// Bytes of all of them, as they are in memory.
    pub bytes: u64,
}

/// Reads a whole file from memory and counts what is in it; the body of fuzz targets.
///
/// # Errors
/// When it is damaged or holds nothing we support.
pub fn walk_bytes(bytes: &[u8]) -> Result<Contents, Error> {
    let input = Location::once("input", Box::new(std::io::Cursor::new(bytes.to_vec()))).into_input()?;
    let mut contents = Contents::default();
    let mut count = |kind, len: usize| {
        match kind {
            MediaKind::Video => contents.video_frames += 1,
            MediaKind::Audio => contents.audio_frames += 1,
        }
        contents.bytes += len as u64;
    };
    let stop = Stop::new();
    match Opened::new(input)? {
        Opened::Y4m(mut pass) => {
            while let Some(frame) = pass.read(&stop)? {
                count(MediaKind::Video, frame.data().len());
            }
        }
        Opened::Ivf(mut pass) => {
            while let Some(frame) = pass.read(&stop)? {
                count(MediaKind::Video, frame.data.len());
            }
        }
        Opened::Wav(mut pass) => {
            while let Some(frame) = pass.read(&stop)? {
                count(MediaKind::Audio, frame.samples.len() * 4);
            }
        }
        Opened::Ogg(mut pass) => {
            while let Some(frame) = pass.read(&stop)? {
                count(MediaKind::Audio, frame.data.len());
            }
        }
        Opened::Matroska(shared) => {
            for kind in [MediaKind::Video, MediaKind::Audio] {
                if shared.tracks().of(kind).is_none() {
                    continue;
                }
                let mut pass = TrackPass::new(
                    Shared::new(matroska::Matroska::new(
                        Location::once("input", Box::new(std::io::Cursor::new(bytes.to_vec()))).into_input()?,
                    )?),
                    kind,
                );
                while let Some(frame) = pass.read(&stop)? {
                    count(kind, frame.data.len());
                }
            }
        }
    }
    Ok(contents)
}

/// The shape that raw audio from a file must have.
fn audio_format(input: &Input, sample_rate: u32, channels: u16) -> Result<AudioFormat, CaptureError> {
    match std::num::NonZeroU32::new(sample_rate) {
        Some(rate) if rate.get() <= 768_000 && (1..=2).contains(&channels) => {
            Ok(AudioFormat { sample_rate: rate, channels })
        }
        Some(rate) if rate.get() <= 768_000 && channels > 2 => {
            Err(input.unsupported(&format!("sound in {channels} channels (mono and stereo are read)")))
        }
        _ => Err(input.damaged(&format!("{sample_rate} Hz in {channels} channels"))),
    }
}
