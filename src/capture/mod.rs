//! Sources of media: the synthetic ones, files, screens and windows. Level 1 of the house: imports level 0 only.
//!
//! ```text
//! SourceSpec + constraints -> open -> MediaInput { video, audio } -> pipeline
//! ```
//!
//! [`open`] is the one registry. The synthetic sources
//! are live and pace themselves by the origin they are given; files answer as fast as they are read and their times
//! start at 0. Constraints follow mediacapture-main: the test sources are made to fit, a file either fits or is refused.

pub mod camera;
mod crop_scale;
mod error;
pub mod file;
mod range;
pub mod screen;
mod spec;
mod test_pattern;
mod test_tone;

pub use error::CaptureError;
pub use spec::SourceSpec;
pub use test_pattern::TestPattern;
pub use test_tone::TestTone;

use crate::media::{
    AudioConstraints, AudioInput, DeviceSalt, MediaInput, MediaKind, Source, VideoConstraints, VideoFormat, VideoFrame,
    VideoInput, VideoSettings,
};
use screen::SurfaceKind;
use std::io::Read;
use std::time::Instant;

/// Which tracks of a source are to be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its video.
    pub video: bool,
    /// Its audio.
    pub audio: bool,
}

/// What opening may need besides the name.
pub struct OpenOptions {
    /// Start a file again when it ends, for ever.
    pub repeat: bool,
    /// What device IDs are made with.
    pub salt: DeviceSalt,
    /// What `-` reads. Reading it may block, and a [`Stop`](crate::stop::Stop) does not interrupt that.
    pub stdin: Option<Box<dyn Read + Send>>,
    /// How a screen or window is captured.
    pub screen: screen::ScreenOptions,
    /// Where the timeline of live sources begins. Sources with the same origin are in sync.
    pub origin: Instant,
    /// Give synthetic media as fast as it is read, with times from 0, instead of live.
    pub unpaced: bool,
}

impl Default for OpenOptions {
    /// Plays once, without standard input, from now on.
    fn default() -> Self {
        Self {
            repeat: false,
            salt: DeviceSalt::default(),
            stdin: None,
            screen: screen::ScreenOptions::default(),
            origin: Instant::now(),
            unpaced: false,
        }
    }
}

/// Opens the wanted tracks of a source. All that were wanted are there on return. Blocks while the start of a file is read.
///
/// Opening a file for its video and again for its audio gives the same timeline as opening it once for both.
///
/// # Errors
/// When the source does not exist, has no track of a wanted kind or none in a supported codec, is damaged at its start,
/// or cannot meet a constraint.
pub fn open(
    spec: &SourceSpec,
    wanted: Wanted,
    video: &VideoConstraints,
    audio: &AudioConstraints,
    options: OpenOptions,
) -> Result<MediaInput, CaptureError> {
    match spec {
        SourceSpec::None => Ok(MediaInput::default()),
        SourceSpec::Test => open_test(wanted, video, audio, &options),
        SourceSpec::File(path) => {
            let location = file::Location::of_path(path)?;
            file::open(location, options.repeat, wanted, video, audio)
        }
        SourceSpec::Stdin => {
            let location = file::Location::once("stdin", options.stdin.ok_or(CaptureError::NoStdin)?);
            file::open(location, options.repeat, wanted, video, audio)
        }
        SourceSpec::Camera(id) => open_camera(spec, id.as_deref(), wanted, video, &options),
        SourceSpec::Screen(id) => open_screen(spec, SurfaceKind::Monitor, id.as_deref(), wanted, video, &options),
        SourceSpec::Window(id) => open_screen(spec, SurfaceKind::Window, id.as_deref(), wanted, video, &options),
        SourceSpec::Microphone(_) | SourceSpec::System => Err(CaptureError::NoDevice { what: spec.to_string() }),
    }
}

fn open_camera(
    spec: &SourceSpec,
    id: Option<&str>,
    wanted: Wanted,
    constraints: &VideoConstraints,
    options: &OpenOptions,
) -> Result<MediaInput, CaptureError> {
    if wanted.audio {
        return Err(CaptureError::NoTrack { source_name: spec.to_string(), kind: MediaKind::Audio });
    }
    let mut input = MediaInput::default();
    if wanted.video {
        let camera::OpenCamera { settings, format, source } =
            camera::open(id, &options.salt, constraints, options.origin)?;
        input.video = Some(VideoInput::Raw { format, live: true, source });
        input.video_settings = Some(settings);
    }
    Ok(input)
}

fn open_screen(
    spec: &SourceSpec,
    kind: SurfaceKind,
    id: Option<&str>,
    wanted: Wanted,
    constraints: &VideoConstraints,
    options: &OpenOptions,
) -> Result<MediaInput, CaptureError> {
    if wanted.audio {
        return Err(CaptureError::NoTrack { source_name: spec.to_string(), kind: MediaKind::Audio });
    }
    let mut input = MediaInput::default();
    if wanted.video {
        let source = screen::open(kind, id, &options.screen, constraints, options.origin)?;
        input.video = Some(VideoInput::Raw { format: source.format(), live: true, source: Box::new(source) });
    }
    Ok(input)
}

fn open_test(
    wanted: Wanted,
    video: &VideoConstraints,
    audio: &AudioConstraints,
    options: &OpenOptions,
) -> Result<MediaInput, CaptureError> {
    let (origin, live) = (options.origin, !options.unpaced);
    let mut input = MediaInput::default();
    if wanted.video {
        let format = TestPattern::format(video)?;
        let source = TestPattern::new(format, origin);
        let source = if live { source } else { source.unpaced() };
        input.video_settings = Some(VideoSettings::of_format("test", &format));
        input.video = Some(VideoInput::Raw { format, live, source: Box::new(source) });
    }
    if wanted.audio {
        let format = TestTone::format(audio)?;
        let source = TestTone::new(format, origin);
        let source = if live { source } else { source.unpaced() };
        input.audio = Some(AudioInput::Raw { format, live, source: Box::new(source) });
    }
    Ok(input)
}

/// The pictures of `source`, of the `native` shape, as `wanted`: cropped and scaled, and left out where fewer are wanted.
pub fn crop_and_scale(
    source: Box<dyn Source<VideoFrame>>,
    native: VideoFormat,
    wanted: VideoFormat,
) -> Box<dyn Source<VideoFrame>> {
    if native == wanted { source } else { Box::new(crop_scale::CropAndScale::new(source, native, wanted)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Classify, ErrorKind};
    use crate::stop::Stop;

    const BOTH: Wanted = Wanted { video: true, audio: true };

    fn open_spec(text: &str) -> Result<MediaInput, CaptureError> {
        open(&text.parse()?, BOTH, &VideoConstraints::default(), &AudioConstraints::default(), OpenOptions::default())
    }

    #[test]
    fn the_test_source_is_there_with_its_defaults() {
        let input = open_spec("test").unwrap();
        let (
            Some(VideoInput::Raw { format: video, live: true, .. }),
            Some(AudioInput::Raw { format: audio, live: true, .. }),
        ) = (&input.video, &input.audio)
        else {
            panic!("both are raw and live")
        };
        assert_eq!((video.width, video.height, video.frame_rate.as_f64()), (640, 480, 30.0));
        assert_eq!((audio.sample_rate.get(), audio.channels), (48_000, 2));
    }

    #[test]
    fn flash_and_chirp_of_two_separately_opened_test_sources_coincide() {
        use crate::media::{barcode, chirp::ChirpDetector};
        let (spec, stop, origin) = (SourceSpec::Test, Stop::new(), Instant::now());
        let options = || OpenOptions { origin, ..OpenOptions::default() };
        let (video, audio) = (VideoConstraints::default(), AudioConstraints::default());
        let only_video = open(&spec, Wanted { video: true, audio: false }, &video, &audio, options()).unwrap();
        let only_audio = open(&spec, Wanted { video: false, audio: true }, &video, &audio, options()).unwrap();
        assert!(only_video.audio.is_none() && only_audio.video.is_none());
        let (Some(VideoInput::Raw { source: mut pictures, .. }), Some(AudioInput::Raw { source: mut sound, .. })) =
            (only_video.video, only_audio.audio)
        else {
            panic!("raw")
        };
        let (mut detector, mut chirp) = (ChirpDetector::new(), None);
        while chirp.is_none() {
            detector.push(&sound.next(&stop).unwrap().unwrap(), &mut |time| chirp = Some(time));
        }
        let mut lit = pictures.next(&stop).unwrap().unwrap();
        while !barcode::flash(&lit) {
            lit = pictures.next(&stop).unwrap().unwrap();
        }
        let second = lit.time.seconds().floor();
        assert!((chirp.unwrap().seconds() - chirp.unwrap().seconds().round()).abs() < 0.005);
        assert!(lit.time.seconds() - second < 0.1);
    }

    #[test]
    fn devices_are_refused_as_devices() {
        for text in ["microphone:1", "system"] {
            let error = open_spec(text).err().unwrap();
            assert_eq!((error.kind(), error.name()), (ErrorKind::Device, "NotFoundError"), "{text}");
            assert!(error.to_string().contains(text));
        }
    }

    #[test]
    fn a_camera_that_is_not_there_is_not_found() {
        let (only_video, none) = (Wanted { video: true, audio: false }, AudioConstraints::default());
        let spec = SourceSpec::Camera(Some("no camera is called so".to_owned()));
        let error = open(&spec, only_video, &VideoConstraints::default(), &none, OpenOptions::default()).err().unwrap();
        assert_eq!((error.kind(), error.name()), (ErrorKind::Device, "NotFoundError"));
        assert!(error.to_string().contains("camera:no camera is called so"));
        assert!(open_spec("camera").err().unwrap().to_string().contains("no audio"), "a camera has no sound");
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let kinds = |text: &str| open_spec(text).err().map(|e| (e.kind(), e.name())).unwrap();
        assert_eq!(kinds("no/such/file.webm"), (ErrorKind::InvalidInput, "NotFoundError"));
        assert_eq!(kinds("src"), (ErrorKind::InvalidInput, "NotReadableError"));
        assert_eq!(kinds("Cargo.toml"), (ErrorKind::InvalidInput, "NotSupportedError"));
        assert_eq!(kinds("-"), (ErrorKind::Usage, "usage"));
        assert!(open_spec("none").unwrap().video.is_none());
    }
}
