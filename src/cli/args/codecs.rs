//! How media is coded.

use clap::Args;
use rtckit::media::VideoCodecs;

/// `--video-codec`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Codecs")]
pub struct CodecArgs {
    /// What video may be sent and received as, the preferred first; the others are not offered
    #[arg(long, value_name = "CODEC,…", default_value_t)]
    pub video_codec: VideoCodecs,
}
