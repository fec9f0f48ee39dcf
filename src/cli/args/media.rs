//! Sources and constraints: what is sent or recorded.

use super::ScreenArgs;
use crate::cli::salt;
use clap::Args;
use rtckit::media::{AudioConstraints, Constraint, DeviceSalt, VideoConstraints};
use rtckit::ops::call::{FilterList, SourceOptions, SourceSpec, Volume};

/// `--video`, `--audio` and what is asked of them.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sources")]
pub struct MediaArgs {
    /// The video: test (a moving pattern), screen or screen:ID, window:ID or window:TITLE, a file or - (y4m, ivf, webm, mkv),
    /// none
    #[arg(long, value_name = "SOURCE", require_equals = true)]
    pub video: Option<SourceSpec>,
    /// The audio: microphone, microphone:ID, system (what the speakers play), test (a tone with a chirp every second), a
    /// file or - (wav, ogg/opus, webm, mkv), none
    #[arg(long, value_name = "SOURCE", require_equals = true)]
    pub audio: Option<SourceSpec>,
    /// Begin a file again at its end
    #[arg(long = "loop")]
    pub repeat: bool,
    /// Pixels: 640, ideal:640, exact:640, min:300,max:640; the other constraints likewise
    #[arg(long, value_name = "CONSTRAINT")]
    pub width: Option<Constraint>,
    /// Pixels
    #[arg(long, value_name = "CONSTRAINT")]
    pub height: Option<Constraint>,
    /// Frames per second
    #[arg(long, value_name = "CONSTRAINT")]
    pub frame_rate: Option<Constraint>,
    /// Hertz
    #[arg(long, value_name = "CONSTRAINT")]
    pub sample_rate: Option<Constraint>,
    /// 1 mono, 2 stereo
    #[arg(long, value_name = "CONSTRAINT")]
    pub channel_count: Option<Constraint>,
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
    /// What these ask for.
    pub fn options(self) -> SourceOptions {
        let Self {
            video,
            audio,
            repeat,
            width,
            height,
            frame_rate,
            sample_rate,
            channel_count,
            filter,
            volume,
            screen,
        } = self;
        let salt = if matches!(audio, Some(SourceSpec::Microphone(_))) { kept_salt() } else { DeviceSalt::default() };
        SourceOptions {
            video: video.unwrap_or(SourceSpec::None),
            audio: audio.unwrap_or(SourceSpec::None),
            video_constraints: VideoConstraints { width, height, frame_rate, ..VideoConstraints::default() },
            audio_constraints: AudioConstraints { sample_rate, channel_count, ..AudioConstraints::default() },
            repeat,
            salt,
            unpaced: false,
            filter: filter.unwrap_or_default(),
            volume: volume.unwrap_or_default(),
            screen: screen.options(),
        }
    }
}

fn kept_salt() -> DeviceSalt {
    let (salt, warning) = salt::load();
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    salt
}
