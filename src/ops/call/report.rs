//! What a call leaves behind: the JSON of `rtckit.call/1` and `rtckit.answer/1`.

use super::bench::BenchReport;
use super::conformance::Conformance;
use super::expect::Judged;
use super::measure::Measured;
use crate::error::Error;
use crate::peer::{ConnectionReport, DataChannel, Quality, ReceivedReport, Role, SentReport, Waterfall};
use crate::pipeline::queue::QueueStats;
use crate::record::Recorded;
use crate::stop::StopReason;
use crate::transfer::TransferReport;
use serde::Serialize;

/// Why a call that was up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ended {
    /// Its `--duration` was over.
    Duration,
    /// The peer hung up.
    PeerHungUp,
    /// All input was sent.
    InputEnded,
    /// A command hung up.
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
            StopReason::Done => Self::PeerHungUp,
        }
    }
}

/// What went over a data channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataReport {
    /// Its label.
    pub label: String,
    /// Messages sent.
    pub messages_sent: u64,
    /// Bytes of those.
    pub bytes_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Bytes of those.
    pub bytes_received: u64,
}

/// A data channel, and what went over it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelReport {
    /// What went over it.
    #[serde(flatten)]
    pub data: DataReport,
    /// Its sub-protocol.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// The stream of SCTP that it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// Whether messages came in the order they were sent.
    pub ordered: bool,
    /// Milliseconds after which a message was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_packet_life_time: Option<u16>,
    /// Retransmissions after which a message was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retransmits: Option<u16>,
}

impl ChannelReport {
    /// A channel over which nothing went yet.
    pub(super) async fn of(channel: &DataChannel) -> Self {
        Self {
            data: DataReport { label: channel.label().to_owned(), ..DataReport::default() },
            protocol: channel.protocol().await,
            id: channel.id().await,
            ordered: channel.ordered().await,
            max_packet_life_time: channel.max_packet_life_time().await,
            max_retransmits: channel.max_retransmits().await,
        }
    }
}

/// A sent track, and what gave way before it reached the network.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SentTrack {
    /// What the network saw.
    #[serde(flatten)]
    pub rtp: SentReport,
    /// Raw frames that the encoder was too slow for.
    pub frames_dropped: u64,
    /// Encoded frames that the network was too slow for.
    pub encoded_dropped: u64,
}

impl std::ops::Deref for SentTrack {
    type Target = SentReport;

    fn deref(&self) -> &SentReport {
        &self.rtp
    }
}

/// A received track, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedTrack {
    /// What the network brought.
    #[serde(flatten)]
    pub rtp: ReceivedReport,
    /// Frames decoded; absent when nothing needed them decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames_decoded: Option<u64>,
    /// Frames that recorder or decoder was too slow for.
    pub frames_dropped: u64,
    /// The numbers of the tracks of the recording that hold it: one for each codec that it came in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recorded_tracks: Vec<u64>,
}

/// A decoded output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputReport {
    /// The file, under the name it got; `-` for a stream.
    pub path: String,
    /// Bytes written.
    pub bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What a call leaves behind.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `call` or `answer`.
    pub role: &'static str,
    /// Why it ended; absent when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// How long it was up, in seconds.
    pub seconds: f64,
    /// How often the peer was gone without a word and came back.
    #[serde(skip_serializing_if = "is_zero")]
    pub rejoined: u32,
    /// The transport, the last one; absent when it never came up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionReport>,
    /// How good it was for a conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// The set-up, step by step.
    pub timing: Waterfall,
    /// What was sent.
    pub sent: Vec<SentTrack>,
    /// What was received.
    pub received: Vec<ReceivedTrack>,
    /// What went over the first data channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataReport>,
    /// All of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data_channels: Vec<ChannelReport>,
    /// The files that came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferReport>,
    /// The recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<Recorded>,
    /// The decoded video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_output: Option<OutputReport>,
    /// The decoded audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<OutputReport>,
    /// What `test` media from the peer showed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// What came of the expectations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<Judged>,
    /// What the path carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bench: Option<BenchReport>,
    /// Those that a listener served several of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub viewers: Vec<Viewer>,
    /// What came of the steps of an examination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conformance: Vec<Conformance>,
    /// The other side, when it ran in this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Box<Report>>,
}

impl Report {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role: match role {
                Role::Call => "call",
                Role::Answer => "answer",
            },
            ended: None,
            seconds: 0.0,
            rejoined: 0,
            connection: None,
            quality: None,
            timing: Waterfall::default(),
            sent: Vec::new(),
            received: Vec::new(),
            data: None,
            data_channels: Vec::new(),
            transfer: None,
            recording: None,
            video_output: None,
            audio_output: None,
            measured: None,
            expectations: Vec::new(),
            bench: None,
            viewers: Vec::new(),
            conformance: Vec::new(),
            peer: None,
        }
    }

    /// Whether the connection ever came up.
    pub fn was_connected(&self) -> bool {
        self.connection.is_some()
    }

    pub(super) fn take_data(&mut self, channels: Vec<ChannelReport>) {
        self.data_channels.extend(channels);
        self.data = self.data_channels.first().map(|channel| channel.data.clone());
    }

    pub(super) fn take_received(&mut self, received: Received) {
        self.received = received.tracks;
        self.recording = received.recording;
        self.video_output = received.video_output;
        self.audio_output = received.audio_output;
        self.measured = received.measured;
    }
}

/// One of several that a listener served.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Viewer {
    /// Which, counted from 1 as they came.
    pub viewer: u64,
    /// How long it was up, in seconds.
    pub seconds: f64,
    /// Why it is not there any more, in the words of `ended`; absent when something went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// What went wrong: one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Bytes sent by all protocols together.
    pub bytes_sent: u64,
    /// Pictures sent.
    pub frames_sent: u64,
    /// Encoded frames that its network was too slow for.
    pub encoded_dropped: u64,
    /// Packets that it missed, by its own count.
    pub packets_lost: i64,
}

impl Viewer {
    pub(super) fn take_sent(&mut self, track: &SentTrack) {
        if track.key_frames_sent.is_some() {
            self.frames_sent += track.frames_sent;
        }
        self.encoded_dropped += track.encoded_dropped;
        self.packets_lost += track.packets_lost;
    }
}

/// What the receiving half leaves behind.
#[derive(Default)]
pub(super) struct Received {
    pub tracks: Vec<ReceivedTrack>,
    pub recording: Option<Recorded>,
    pub video_output: Option<OutputReport>,
    pub audio_output: Option<OutputReport>,
    pub measured: Option<Measured>,
}

impl SentTrack {
    pub(super) fn new(rtp: SentReport, raw: Option<QueueStats>, encoded: QueueStats) -> Self {
        Self { rtp, frames_dropped: raw.map_or(0, |stats| stats.dropped), encoded_dropped: encoded.dropped }
    }
}

/// A call that is over: what it left behind, and what went wrong, if anything did. Files that were begun are complete
/// either way.
#[derive(Debug)]
pub struct Outcome {
    /// What it left behind.
    pub report: Report,
    /// What went wrong.
    pub error: Option<Error>,
}

impl Outcome {
    pub(super) fn failed(role: Role, error: Error) -> Self {
        Self { report: Report::new(role), error: Some(error) }
    }
}
