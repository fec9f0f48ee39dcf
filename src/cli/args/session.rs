//! What `call` and `answer` share: what is received, data, and how long it runs.

use crate::cli::value;
use clap::Args;
use rtckit::ops::call::{
    DataChannelInit, DataUse, Destination, Existing, Expectation, NegotiateOptions, ReceiveOptions,
};
use std::time::Duration;

/// What is done with the media that arrives.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Media in")]
pub struct ReceiveArgs {
    /// Play what arrives: by the default speaker, and in a window, or the terminal where there is no display
    #[arg(long)]
    pub play: bool,
    /// Which speaker plays it: a deviceId, a path, or what is unique in a label; without it the default one
    #[arg(long, value_name = "ID", requires = "play")]
    pub sink_id: Option<String>,
    /// Record what arrives without transcoding, as WebM, or Matroska if the name ends in .mkv; WebM has no H.264. G.711 alone is
    /// encoded again, as Opus
    #[arg(long, value_name = "FILE|-")]
    pub record: Option<String>,
    /// Decode the video that arrives into Y4M
    #[arg(long, value_name = "FILE|-")]
    pub video_output: Option<String>,
    /// Decode the audio that arrives into WAV
    #[arg(long, value_name = "FILE|-")]
    pub audio_output: Option<String>,
    /// Replace outputs that exist
    #[arg(long, conflicts_with = "rename")]
    pub overwrite: bool,
    /// Where an output exists, take the next free name: call-1.webm
    #[arg(long)]
    pub rename: bool,
    /// Whether the other side may send video; by default when we send some or have a use for it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub offer_to_receive_video: Option<bool>,
    /// Whether the other side may send audio; by default when we send some or have a use for it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub offer_to_receive_audio: Option<bool>,
    /// Decode 'test' media that arrives and measure its latency, freezes and sync
    #[arg(long)]
    pub measure: bool,
}

impl ReceiveArgs {
    /// What these ask for.
    pub fn options(self) -> ReceiveOptions {
        let existing = match (self.overwrite, self.rename) {
            (true, _) => Existing::Overwrite,
            (_, true) => Existing::Rename,
            _ => Existing::Refuse,
        };
        let destination = |to: Option<String>| to.as_deref().map(Destination::from);
        ReceiveOptions {
            record: destination(self.record),
            video_output: destination(self.video_output),
            audio_output: destination(self.audio_output),
            existing,
            offer_to_receive_video: self.offer_to_receive_video,
            offer_to_receive_audio: self.offer_to_receive_audio,
            measure: self.measure,
            play: self.play,
            sink_id: self.sink_id,
        }
    }
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
    /// Messages may overtake each other
    #[arg(long)]
    pub unordered: bool,
    /// Give a message up after so many milliseconds
    #[arg(long, value_name = "MS", conflicts_with = "max_retransmits")]
    pub max_packet_life_time: Option<u16>,
    /// Give a message up after so many retransmissions
    #[arg(long, value_name = "COUNT")]
    pub max_retransmits: Option<u16>,
    /// The sub-protocol of the channel
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub protocol: String,
    /// Both sides open the channel on the stream of --id, and none announces it
    #[arg(long, requires = "id")]
    pub negotiated: bool,
    /// The stream of a channel that is --negotiated
    #[arg(long, value_name = "NUMBER", requires = "negotiated", value_parser = clap::value_parser!(u16).range(..=65534))]
    pub id: Option<u16>,
}

impl DataArgs {
    /// What these ask for: the channel, and what it carries.
    pub fn options(self) -> (Option<DataChannelInit>, DataUse) {
        let (label, data_use) = match (self.chat, self.pipe) {
            (true, _) => (Some("chat"), DataUse::Chat),
            (_, true) => (Some("pipe"), DataUse::Pipe),
            _ => (None, DataUse::Count),
        };
        let label = self.data.or(label.map(str::to_owned));
        let channel = label.map(|label| DataChannelInit {
            ordered: !self.unordered,
            max_packet_life_time: self.max_packet_life_time,
            max_retransmits: self.max_retransmits,
            protocol: self.protocol,
            negotiated: self.id,
            ..DataChannelInit::reliable(label)
        });
        (channel, data_use)
    }
}

/// How long connecting may take, and what is told of it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Run")]
pub struct SetupArgs {
    /// How long connecting may take, 30s if nothing is said; while a person carries the descriptions across, the clock stands still.
    /// The other side may take as long to come into a room, and for ever if nothing is said; a path that dies may take as long to be
    /// replaced
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub timeout: Option<Duration>,
    /// Show when each step of connecting was done, in seconds since the start of the process
    #[arg(long)]
    pub timing: bool,
}

/// How long it may take and how long it runs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    #[command(flatten)]
    pub setup: SetupArgs,
    /// Hang up after this long
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub duration: Option<Duration>,
    /// Write the statistics of the connection this often, as webrtc-stats has them; turns --events on
    #[arg(long, value_name = "INTERVAL", value_parser = interval, num_args = 0..=1, require_equals = true, default_missing_value = "1s")]
    pub stats: Option<Duration>,
    /// Fail with exit code 14 unless the statistics at the end are like this, e.g. 'inbound-rtp[kind=video].framesDecoded>=500';
    /// may be repeated
    #[arg(long, value_name = "CONDITION", action = clap::ArgAction::Append)]
    pub expect: Vec<Expectation>,
}

fn interval(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(10);
    value::duration(text).and_then(|interval| match interval {
        interval if interval < LEAST => Err(format!("'{text}' is too often: at least {LEAST:?}")),
        interval => Ok(interval),
    })
}

impl SetupArgs {
    /// What these ask for.
    pub fn options(&self, by_hand: bool) -> NegotiateOptions {
        let default = NegotiateOptions::default();
        NegotiateOptions { timeout: self.timeout.unwrap_or(default.timeout), meeting: self.timeout, by_hand }
    }
}
