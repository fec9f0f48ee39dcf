//! What a capture is asked to do.

use crate::error::{Error, ErrorKind};
use crate::ops::call::Destination;
use crate::ops::media::SourceOptions;
use crate::record::{Existing, ImageFormat};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// How an output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Pictures with a header, at a constant rate.
    Y4m,
    /// Pictures as planes, without a header.
    I420,
    /// Pictures as R, G, B, without a header.
    Rgb,
    /// Samples with a header.
    Wav,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Y4m, Self::I420, Self::Rgb, Self::Wav];

    /// The word for it, which is also how names of its files end.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Y4m => "y4m",
            Self::I420 => "i420",
            Self::Rgb => "rgb",
            Self::Wav => "wav",
        }
    }

    /// The format that a name ends with.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "yuv" => Some(Self::I420),
            word => word.parse().ok(),
        }
    }

    /// Whether it holds sound.
    pub const fn is_audio(self) -> bool {
        matches!(self, Self::Wav)
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|format| format.as_str() == text);
        known.ok_or_else(|| format!("'{text}' is none of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// Which picture a snapshot is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Warmup {
    /// Of a device the first whose exposure has settled and that is not black, of a file the first.
    #[default]
    Auto,
    /// The one after so many.
    Frames(u32),
}

impl FromStr for Warmup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            count => count.parse().map(Self::Frames).map_err(|_| format!("'{count}' is neither auto nor a count")),
        }
    }
}

/// One picture to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it goes.
    pub to: Destination,
    /// How it is written.
    pub format: ImageFormat,
    /// Which one.
    pub warmup: Warmup,
}

/// What a capture is asked to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is captured.
    pub sources: SourceOptions,
    /// What is written, and how.
    pub outputs: Vec<(Destination, Format)>,
    /// The picture to keep. Without outputs and a duration the capture ends with it.
    pub snapshot: Option<Snapshot>,
    /// What to do with outputs that exist.
    pub existing: Existing,
    /// How long it lasts; without it until it is stopped or the sources end.
    pub duration: Option<Duration>,
    /// Whether commands will be taken: files are read at their own pace then.
    pub controlled: bool,
    /// Whether the pictures are shown while they are captured. Closing their window ends a capture that writes nothing.
    pub preview: bool,
    /// Whether the report says how each native mode of the cameras suits.
    pub explain: bool,
}

impl Options {
    /// Whether it is over once the snapshot is taken.
    pub(super) fn ends_with_snapshot(&self) -> bool {
        self.snapshot.is_some() && self.outputs.is_empty() && self.duration.is_none()
    }

    /// Whether what is asked for fits together.
    pub(super) fn check(&self) -> Result<(), Error> {
        use crate::capture::SourceSpec;
        let usage = |message: &str| Err(Error::new(ErrorKind::Usage, "usage", message));
        let (video, audio) = (self.sources.video != SourceSpec::None, self.sources.audio != SourceSpec::None);
        if !video && !audio {
            return usage("nothing to capture: give --video or --audio");
        }
        if !video && (self.snapshot.is_some() || self.outputs.iter().any(|(_, format)| !format.is_audio())) {
            return usage("there are no pictures to write: give --video");
        }
        if !video && self.preview {
            return usage("there are no pictures to show: give --video");
        }
        if !audio && self.outputs.iter().any(|(_, format)| format.is_audio()) {
            return usage("there is no sound to write: give --audio");
        }
        let destinations: Vec<&Destination> =
            self.outputs.iter().map(|(to, _)| to).chain(self.snapshot.iter().map(|snapshot| &snapshot.to)).collect();
        let same = |(index, to): (usize, &&Destination)| destinations[..index].contains(to);
        if destinations.iter().enumerate().any(same) {
            return usage("two outputs have the same name");
        }
        Ok(())
    }
}
