//! What `call` and `answer` share: what is received, data, and how long it runs.

use super::super::value;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// What is done with the media that arrives.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Media in")]
pub struct ReceiveArgs {
    /// Record what arrives into a WebM file, without transcoding
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Decode the video that arrives into Y4M
    #[arg(long, value_name = "FILE|-")]
    pub video_output: Option<PathBuf>,
    /// Decode the audio that arrives into WAV
    #[arg(long, value_name = "FILE|-")]
    pub audio_output: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    pub overwrite: bool,
}

/// Data channels and who uses them.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Open a data channel
    #[arg(long, value_name = "LABEL", num_args = 0..=1, require_equals = true, default_missing_value = "data")]
    pub data: Option<String>,
    /// Lines from standard input to the other side, and its lines to standard output
    #[arg(long, conflicts_with = "pipe")]
    pub chat: bool,
    /// Bytes from standard input to the other side, and its bytes to standard output
    #[arg(long)]
    pub pipe: bool,
}

/// How long it may take and how long it runs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// How long connecting may take, from the moment both descriptions are there; 0 is for ever
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = value::duration)]
    pub timeout: Duration,
    /// Hang up after this long
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub duration: Option<Duration>,
    /// Show when each step of connecting was done
    #[arg(long)]
    pub timing: bool,
}
