//! How media is coded, and what is sent of it.

use crate::cli::value::{self, possible};
use clap::Args;
use rtckit::media::{AudioCodecs, ContentHint, DegradationPreference, VideoCodecs};
use rtckit::ops::call::{SendLimits, SourceOptions};

/// `--content-hint`.
#[derive(Args, Clone, Debug)]
pub struct HintArgs {
    /// What the pictures show, for their encoder: motion, smooth before sharp; detail, sharp before smooth; or text, the
    /// same for letters and plain areas; without it text for screens and windows, else motion
    #[arg(long, value_name = "HINT", value_parser = possible(ContentHint::ALL))]
    content_hint: Option<ContentHint>,
}

impl HintArgs {
    /// The sources with this said of them.
    pub fn said_of(&self, sources: SourceOptions) -> SourceOptions {
        SourceOptions { content_hint: self.content_hint, ..sources }
    }
}

/// `--video-codec`, `--audio-codec` and the limits of what is sent.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Codecs")]
pub struct CodecArgs {
    /// What video may be sent and received as, the preferred first; the others are not offered
    #[arg(long, value_name = "CODEC,…", default_value_t)]
    pub video_codec: VideoCodecs,
    /// The same for audio; PCMU and PCMA are G.711, 64 kbit/s in telephone quality
    #[arg(long, value_name = "CODEC,…", default_value_t)]
    pub audio_codec: AudioCodecs,
    /// Send video at no more bits per second, e.g. 500k; by default what suits its size, 0.07 for each pixel
    #[arg(long, value_name = "BITRATE", value_parser = value::bits_per_second)]
    max_bitrate: Option<u32>,
    /// Send no more pictures a second
    #[arg(long, value_name = "FPS", value_parser = frame_rate)]
    max_frame_rate: Option<f64>,
    /// Send video smaller, its width and height divided by this, 1 or more
    #[arg(long, value_name = "FACTOR", value_parser = factor, default_value = "1")]
    scale_resolution_down_by: f64,
    /// What gives way where the bitrate is too low for size and frame rate: both in turn, the size, or the frame rate
    #[arg(long, value_name = "WHAT", value_parser = clap::builder::PossibleValuesParser::new(DegradationPreference::ALL.map(DegradationPreference::as_str)), default_value = DegradationPreference::default().as_str())]
    degradation_preference: String,
    #[command(flatten)]
    pub hint: HintArgs,
}

impl CodecArgs {
    /// The limits of what is sent.
    pub fn limits(&self) -> SendLimits {
        SendLimits {
            max_bitrate: self.max_bitrate,
            max_frame_rate: self.max_frame_rate,
            scale_resolution_down_by: self.scale_resolution_down_by,
            degradation_preference: self.degradation_preference.parse().unwrap_or_default(),
            ..SendLimits::default()
        }
    }
}

fn frame_rate(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|rate| (0.1..=240.0).contains(rate));
    parsed.ok_or_else(|| format!("'{text}' is not a frame rate from 0.1 to 240"))
}

fn factor(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|factor| (1.0..=64.0).contains(factor));
    parsed.ok_or_else(|| format!("'{text}' is not a factor from 1 to 64"))
}
