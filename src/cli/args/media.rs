//! What is captured, recorded or sent: sources and constraints.

use super::{ConstraintArgs, ScreenArgs};
use crate::cli::salt;
use clap::Args;
use rtckit::error::Error;
use rtckit::media::DeviceSalt;
use rtckit::ops::call::{FilterList, SourceOptions, SourceSpec, Volume};

/// `--video`, `--audio` and what is asked of them.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sources")]
pub struct MediaArgs {
    /// The video: camera (the default), camera:ID (a deviceId, a path, or what is unique in a label), screen or screen:ID,
    /// window:ID or window:TITLE, test (a moving pattern), a file or - (y4m, ivf, webm, mkv), none
    #[arg(long, value_name = "SOURCE", require_equals = true, num_args = 0..=1, default_missing_value = "camera")]
    pub video: Option<SourceSpec>,
    /// The audio: microphone (the default), microphone:ID, system (what the speakers play), test (a tone with a chirp every second), a
    /// file or - (wav, ogg/opus, webm, mkv), none
    #[arg(long, value_name = "SOURCE", require_equals = true, num_args = 0..=1, default_missing_value = "microphone")]
    pub audio: Option<SourceSpec>,
    /// Begin a file again at its end
    #[arg(long = "loop")]
    pub repeat: bool,
    #[command(flatten)]
    pub constraints: ConstraintArgs,
    /// CSS filters: grayscale sepia saturate hue-rotate invert opacity brightness contrast blur drop-shadow
    #[arg(long, value_name = "LIST")]
    pub filter: Option<FilterList>,
    /// How loud the sound is sent, from 0, silence, to 1
    #[arg(long, value_name = "0..1")]
    pub volume: Option<Volume>,
    #[command(flatten)]
    pub screen: ScreenArgs,
}

impl MediaArgs {
    /// What these ask for. `replaceable`: devices may be named later.
    pub fn options(self, replaceable: bool) -> Result<SourceOptions, Error> {
        let Self { video, audio, repeat, constraints, filter, volume, screen } = self;
        let asked = constraints.asked()?;
        let default = |spec: Option<SourceSpec>, by_constraints: Option<SourceSpec>| {
            spec.or(by_constraints).unwrap_or(SourceSpec::None)
        };
        // As in getUserMedia: to ask for video is to ask for a camera, unless another source is named; audio likewise.
        let video = default(video, asked.video.is_some().then_some(SourceSpec::Camera(None)));
        let audio = default(audio, asked.audio.is_some().then_some(SourceSpec::Microphone(None)));
        let (video_constraints, audio_constraints) = constraints.merged(asked)?;
        let device = |spec: &SourceSpec| matches!(spec, SourceSpec::Camera(_) | SourceSpec::Microphone(_));
        let salt = if replaceable || device(&video) || device(&audio) { kept_salt() } else { DeviceSalt::default() };
        Ok(SourceOptions {
            video,
            audio,
            video_constraints,
            audio_constraints,
            repeat,
            salt,
            unpaced: false,
            filter: filter.unwrap_or_default(),
            volume: volume.unwrap_or_default(),
            screen: screen.options(),
            content_hint: None,
        })
    }
}

fn kept_salt() -> DeviceSalt {
    let (salt, warning) = salt::load();
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    salt
}
