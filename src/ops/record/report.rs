//! What a recording leaves behind: the JSON of `rtckit.record/1`.

use crate::error::Error;
use crate::record::Recorded;
use crate::stop::StopReason;
use serde::Serialize;

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ended {
    /// It is as long as was asked for.
    Duration,
    /// It would have become larger than was asked for.
    MaxSize,
    /// All sources ended.
    InputEnded,
    /// It was told to.
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
            StopReason::Done => Self::Stopped,
        }
    }
}

/// What a recording leaves behind.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What it was recorded as; absent when it never began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Why it ended; absent when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// How long it ran, pauses included, in seconds.
    pub seconds: f64,
    /// How often it was paused.
    pub pauses: u64,
    /// How long it was paused, in seconds.
    pub paused_seconds: f64,
    /// Raw pictures that the encoder was too slow for.
    pub frames_dropped: u64,
    /// The file or stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<Recorded>,
    /// The files, where each slice has its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<Chunk>,
}

/// A slice with a file of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chunk {
    /// The file, under the name it got.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// When it begins, in seconds from the start of the recording.
    pub start: f64,
    /// Its length in seconds.
    pub duration: f64,
}

/// A recording that is over: what it left behind, and what went wrong, if anything did.
#[derive(Debug)]
pub struct Outcome {
    /// What it left behind.
    pub report: Report,
    /// What went wrong.
    pub error: Option<Error>,
}
