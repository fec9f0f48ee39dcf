//! What `call` and `answer` share: what is received, data, and how long it runs.

use crate::cli::value;
use clap::Args;
use rtckit::error::{Error, ErrorKind};
use rtckit::ops::call::{
    BenchMode, DataChannelInit, DataUse, Destination, Existing, Expectation, NegotiateOptions, ReceiveOptions, Role,
};
use std::path::PathBuf;
use std::str::FromStr;
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
    /// encoded again, as Opus. Every track is in it, also one that comes late, unless the file is a stream
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
    /// Open a data channel; may be repeated. What differs from one to the other stands behind the label, by the names of
    /// RTCDataChannelInit: --data=LABEL,ordered=false,maxRetransmits=0,protocol=NAME,negotiated=true,id=7
    #[arg(long, value_name = "LABEL[,NAME=VALUE…]", num_args = 0..=1, require_equals = true, default_missing_value = "data", action = clap::ArgAction::Append)]
    pub data: Vec<ChannelArg>,
    /// Lines from standard input to the other side, and its lines to standard output
    #[arg(long, conflicts_with_all = ["pipe", "messages"])]
    pub chat: bool,
    /// Bytes from standard input to the other side, and its bytes to standard output
    #[arg(long, conflicts_with = "messages")]
    pub pipe: bool,
    /// Messages of all data channels as lines of JSON that name the channel by its label or id, from standard input to the other
    /// side and from there to standard output: {"channel":"LABEL","text":"hello"}, or "base64" for bytes
    #[arg(long)]
    pub messages: bool,
    /// Messages may overtake each other, as ordered=false has it for one channel
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
    /// What these ask for: the channels, and what they carry. Messages alone need none of ours where somebody calls us.
    pub fn options(self, role: Role) -> Result<(Vec<DataChannelInit>, DataUse), Error> {
        let (label, data_use) = match (self.chat, self.pipe, self.messages) {
            (true, ..) => (Some("chat"), DataUse::Chat),
            (_, true, _) => (Some("pipe"), DataUse::Pipe),
            (.., true) => (Some("data").filter(|_| role == Role::Call), DataUse::Messages),
            _ => (None, DataUse::Count),
        };
        let mut channels = self.data.clone();
        if channels.is_empty() {
            channels.extend(label.map(|label| ChannelArg { label: label.to_owned(), ..ChannelArg::default() }));
        }
        if self.id.is_some() && channels.len() > 1 {
            let message =
                "--negotiated and --id are about one channel: with several, say negotiated=true,id=… in --data";
            return Err(Error::new(ErrorKind::Usage, "usage", message));
        }
        Ok((channels.into_iter().map(|channel| self.init(channel)).collect(), data_use))
    }

    /// A channel, with what is said of all where it says nothing of its own.
    fn init(&self, channel: ChannelArg) -> DataChannelInit {
        let own = channel.max_packet_life_time.is_some() || channel.max_retransmits.is_some();
        let of_all = |value: Option<u16>| value.filter(|_| !own);
        DataChannelInit {
            ordered: channel.ordered.unwrap_or(!self.unordered),
            max_packet_life_time: channel.max_packet_life_time.or(of_all(self.max_packet_life_time)),
            max_retransmits: channel.max_retransmits.or(of_all(self.max_retransmits)),
            protocol: channel.protocol.unwrap_or_else(|| self.protocol.clone()),
            negotiated: channel.id.or(self.id),
            ..DataChannelInit::reliable(channel.label)
        }
    }
}

/// A data channel on the command line: its label, and what is said of it alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelArg {
    label: String,
    ordered: Option<bool>,
    max_packet_life_time: Option<u16>,
    max_retransmits: Option<u16>,
    protocol: Option<String>,
    /// The stream of one that is negotiated.
    id: Option<u16>,
}

impl FromStr for ChannelArg {
    type Err = String;

    /// A label may hold anything but what looks like one of the members: `a,b` is one, `a,id=1` is not.
    fn from_str(text: &str) -> Result<Self, String> {
        const MEMBERS: [&str; 6] = ["ordered", "maxPacketLifeTime", "maxRetransmits", "protocol", "negotiated", "id"];
        let begins_member = |rest: &str| {
            MEMBERS.iter().any(|member| rest.strip_prefix(member).is_some_and(|rest| rest.starts_with('=')))
        };
        let starts = text.match_indices(',').map(|(at, _)| at).filter(|at| begins_member(&text[at + 1..]));
        let bounds: Vec<usize> = starts.chain([text.len()]).collect();
        let mut channel = Self { label: text[..bounds[0]].to_owned(), ..Self::default() };
        let mut negotiated = None;
        for pair in bounds.windows(2) {
            let Some((member, value)) = text[pair[0] + 1..pair[1]].split_once('=') else { continue };
            let number = || value.parse::<u16>().map_err(|_| format!("{member}={value} is no number from 0 to 65535"));
            let word = || value.parse::<bool>().map_err(|_| format!("{member}={value} is neither true nor false"));
            match member {
                "ordered" => channel.ordered = Some(word()?),
                "maxPacketLifeTime" => channel.max_packet_life_time = Some(number()?),
                "maxRetransmits" => channel.max_retransmits = Some(number()?),
                "protocol" => channel.protocol = Some(value.to_owned()),
                "negotiated" => negotiated = Some(word()?),
                _ => channel.id = Some(number()?),
            }
        }
        match (negotiated, channel.id) {
            (Some(true), None) => Err("negotiated=true needs an id".to_owned()),
            (None | Some(false), Some(_)) => Err("an id is of a channel with negotiated=true".to_owned()),
            (_, Some(65_535)) => Err("id=65535 is no stream: the last is 65534".to_owned()),
            _ if channel.max_packet_life_time.is_some() && channel.max_retransmits.is_some() => {
                Err("a channel has either maxPacketLifeTime or maxRetransmits".to_owned())
            }
            _ => Ok(channel),
        }
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
    /// Hang up after this long, counted from when the call is up; where files are written, from where they begin
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub duration: Option<Duration>,
    /// Measure the path in place of a call, with the same at the other end: whoever offers sends messages over a data channel
    /// (dc), or RTP as fast as congestion control and --max-bitrate allow (rtp), for --duration or 10 s
    #[arg(long, value_name = "dc|rtp", value_parser = value::possible([BenchMode::Dc, BenchMode::Rtp]), conflicts_with_all = [
        "video", "audio", "play", "record", "video_output", "audio_output", "measure", "data", "chat", "pipe", "messages",
        "stats", "expect", "control"
    ])]
    pub bench: Option<BenchMode>,
    /// Write the statistics of the connection this often, as webrtc-stats has them; turns --events on
    #[arg(long, value_name = "INTERVAL", value_parser = interval, num_args = 0..=1, require_equals = true, default_missing_value = "1s")]
    pub stats: Option<Duration>,
    /// Fail with exit code 14 unless the statistics at the end are like this, e.g. 'inbound-rtp[kind=video].framesDecoded>=500';
    /// may be repeated
    #[arg(long, value_name = "CONDITION", action = clap::ArgAction::Append)]
    pub expect: Vec<Expectation>,
    /// Write what came of the call and of each --expect as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the statistics of the whole call in the form in which chrome://webrtc-internals exports them, taken every second, or
    /// as often as --stats says
    #[arg(long, value_name = "FILE")]
    pub stats_dump: Option<PathBuf>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        data: DataArgs,
    }

    fn channels(args: &[&str]) -> Result<Vec<DataChannelInit>, String> {
        let line = Line::try_parse_from([&["rtckit"], args].concat()).map_err(|error| error.to_string())?;
        line.data.options(Role::Call).map(|(channels, _)| channels).map_err(|error| error.to_string())
    }

    #[test]
    fn each_channel_has_what_is_said_of_it_and_what_is_said_of_all() {
        let found = channels(&[
            "--data",
            "--data=a,b,ordered=true,maxRetransmits=0",
            "--data=c,protocol=x,y,negotiated=true,id=7",
            "--unordered",
            "--max-packet-life-time=500",
        ]);
        let of = |label: &str| DataChannelInit { ordered: false, ..DataChannelInit::reliable(label) };
        let expected = [
            DataChannelInit { max_packet_life_time: Some(500), ..of("data") },
            DataChannelInit { ordered: true, max_retransmits: Some(0), ..of("a,b") },
            DataChannelInit {
                max_packet_life_time: Some(500),
                protocol: "x,y".to_owned(),
                negotiated: Some(7),
                ..of("c")
            },
        ];
        assert_eq!(found.unwrap(), expected);
        assert_eq!(channels(&["--messages"]).unwrap(), [DataChannelInit::reliable("data")]);
    }

    #[test]
    fn what_no_channel_can_be_is_refused_with_the_reason() {
        for (args, why) in [
            (&["--data=a,id=1"][..], "negotiated"),
            (&["--data=a,negotiated=true"], "needs an id"),
            (&["--data=a,negotiated=true,id=65535"], "65534"),
            (&["--data=a,maxRetransmits=1,maxPacketLifeTime=1"], "either"),
            (&["--data=a,ordered=no"], "neither true nor false"),
            (&["--data=a,maxRetransmits=70000"], "65535"),
            (&["--data=a", "--data=b", "--negotiated", "--id=3"], "several"),
            (&["--chat", "--messages"], "cannot be used"),
        ] {
            let error = channels(args).unwrap_err();
            assert!(error.contains(why), "{args:?}: {error}");
        }
    }
}
