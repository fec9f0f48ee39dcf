//! How media is recorded: what `record` takes besides its sources.

use super::HintArgs;
use crate::cli::value;
use clap::Args;
use rtckit::ops::record::{BitrateMode, ChunkPattern, Destination, Existing, MimeType, Options, Output, SourceOptions};
use std::time::Duration;

/// The output, how it is encoded, and when it ends.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Recording")]
pub struct RecordingArgs {
    /// Where to: a file, whose extension tells the container (webm, mkv, ogg, opus, wav), or - for standard output
    #[arg(short, long, value_name = "FILE|-")]
    pub output: Option<String>,
    /// Replace an output that exists
    #[arg(long, conflicts_with = "rename")]
    pub overwrite: bool,
    /// Where an output exists, take the next free name: film-1.webm
    #[arg(long)]
    pub rename: bool,
    /// Container and codecs, e.g. 'video/webm;codecs=vp8,opus'; without it by the name of the output
    #[arg(long, value_name = "TYPE")]
    pub mime_type: Option<MimeType>,
    /// Target for the video: 500k, 2M; without it by size and frame rate
    #[arg(long, value_name = "BITS", value_parser = value::bits_per_second)]
    pub video_bits_per_second: Option<u32>,
    /// Target for the audio
    #[arg(long, value_name = "BITS", value_parser = value::bits_per_second)]
    pub audio_bits_per_second: Option<u32>,
    /// Target for both together, where they have none of their own
    #[arg(long, value_name = "BITS", value_parser = value::bits_per_second)]
    pub bits_per_second: Option<u32>,
    /// Whether the packets of audio are all of one size: constant, or as large as they need to be: variable
    #[arg(long, value_name = "MODE", default_value_t = BitrateMode::Variable)]
    pub audio_bitrate_mode: BitrateMode,
    /// A key frame at the latest this long after the last; 5s unless the count is given
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub video_key_frame_interval_duration: Option<Duration>,
    /// A key frame at the latest so many frames after the last
    #[arg(long, value_name = "COUNT")]
    pub video_key_frame_interval_count: Option<u32>,
    /// Hand the recording out in slices of this length, each told of by an event; all slices together are the file
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub timeslice: Option<Duration>,
    /// With --timeslice, a file for each slice that plays alone: 'out-%05d.webm'
    #[arg(long, value_name = "PATTERN", requires = "timeslice", conflicts_with = "output")]
    pub chunk_pattern: Option<ChunkPattern>,
    /// Record so much; pauses do not count
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub duration: Option<Duration>,
    /// End before the output is larger: 500k, 2G
    #[arg(long, value_name = "BYTES", value_parser = value::count)]
    pub max_size: Option<u64>,
    #[command(flatten)]
    pub hint: HintArgs,
}

impl RecordingArgs {
    /// What is done with an output that exists.
    pub fn existing(&self) -> Existing {
        match (self.overwrite, self.rename) {
            (true, _) => Existing::Overwrite,
            (_, true) => Existing::Rename,
            _ => Existing::Refuse,
        }
    }

    /// What these ask for, of these sources. `None` without an output.
    pub fn options(self, sources: SourceOptions) -> Option<Options> {
        let existing = self.existing();
        let output = match (self.chunk_pattern, self.output) {
            (Some(pattern), _) => Output::Chunks(pattern),
            (None, output) => Destination::from(output?.as_str()).into(),
        };
        Some(Options {
            sources: self.hint.said_of(sources),
            existing,
            mime_type: self.mime_type,
            audio_bits_per_second: self.audio_bits_per_second,
            video_bits_per_second: self.video_bits_per_second,
            bits_per_second: self.bits_per_second,
            audio_bitrate_mode: self.audio_bitrate_mode,
            video_key_frame_interval_duration: self.video_key_frame_interval_duration,
            video_key_frame_interval_count: self.video_key_frame_interval_count,
            timeslice: self.timeslice,
            duration: self.duration,
            max_size: self.max_size,
            ..Options::new(output)
        })
    }
}
