//! What a capture came to.

use crate::media::{AudioSettings, ConsideredVideo, VideoMode, VideoSettings};
use crate::stop::StopReason;
use serde::Serialize;
use std::path::PathBuf;

/// Why a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Its time was over.
    Duration,
    /// The snapshot was taken, and nothing else was asked for.
    Snapshot,
    /// The sources have ended, by themselves or since they failed.
    InputEnded,
    /// A command asked for it, or whoever watched has closed the preview.
    Stopped,
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl From<StopReason> for Ended {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::Interrupt => Self::Interrupt,
            StopReason::Terminate => Self::Terminate,
            StopReason::Done => Self::Duration,
        }
    }
}

/// What became of the pictures; the names are those of mediacapture-extensions (`MediaStreamTrackVideoStats`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VideoReport {
    /// `getSettings()`.
    pub settings: VideoSettings,
    /// Pictures that were captured: delivered, discarded and lost ones.
    pub total_frames: u64,
    /// Pictures that came out.
    pub delivered_frames: u64,
    /// Pictures that gave way since what follows was too slow.
    pub discarded_frames: u64,
    /// Pictures that the source or its driver lost, or that were damaged.
    pub lost_frames: u64,
    /// Pictures that came more than one and a half periods after the one before.
    pub late_frames: u64,
}

impl VideoReport {
    /// Of a track that is about to begin.
    pub(super) fn of(settings: VideoSettings) -> Self {
        Self { settings, total_frames: 0, delivered_frames: 0, discarded_frames: 0, lost_frames: 0, late_frames: 0 }
    }
}

/// What became of the sound.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AudioReport {
    /// `getSettings()`.
    pub settings: AudioSettings,
    /// Samples per channel that came.
    pub samples: u64,
    /// Samples per channel that nobody read in time.
    pub lost_samples: u64,
    /// The loudest sample, in dBFS; `None` when all was silent.
    pub peak: Option<f64>,
    /// The power of all samples, in dBFS; `None` when all was silent.
    pub rms: Option<f64>,
}

/// A file or stream that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// The file, under the name it got, or `-`.
    pub path: String,
    /// How it is written.
    pub format: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Pictures written more than once to keep the rate of a y4m constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames_repeated: Option<u64>,
    /// Pictures left out since others had their time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames_left_out: Option<u64>,
}

/// A picture that was kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotReport {
    /// The file, under the name it got, or `-`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pictures that were passed over before.
    pub warmup_frames: u32,
    /// When it was captured, in seconds since the start.
    pub time: f64,
}

/// How one way to set a camera suits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Considered {
    /// What people call the camera.
    pub label: String,
    /// Its node.
    pub path: PathBuf,
    /// The native mode.
    pub mode: VideoMode,
    /// What its track would be set to.
    pub settings: VideoSettings,
    /// The fitness distance; `None` where it was ruled out.
    pub distance: Option<f64>,
    /// The constraint that ruled it out.
    pub ruled_out_by: Option<String>,
}

impl Considered {
    pub(super) fn new(label: &str, path: &std::path::Path, considered: &ConsideredVideo) -> Self {
        Self {
            label: label.to_owned(),
            path: path.to_owned(),
            mode: considered.mode.clone(),
            settings: considered.settings.clone(),
            distance: considered.verdict.ok(),
            ruled_out_by: considered.ruled_out(),
        }
    }
}

/// What a capture came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Why it ended; `None` when it never began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// How long it lasted.
    pub seconds: f64,
    /// The pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoReport>,
    /// The sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioReport>,
    /// What was written.
    pub outputs: Vec<Written>,
    /// The picture that was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotReport>,
    /// With `explain`: every way to set the cameras that were considered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub considered: Option<Vec<Considered>>,
}
