//! What an operation tells its caller while it runs. The library reports; the caller decides what is shown.

use crate::media::DeviceInfo;
use serde::Serialize;

/// Receives the events of a run. Called from any thread; must return quickly and never block.
pub trait Progress: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event) {}
}

/// Something that happened during a run. In `--events` each is one JSON line, `type` first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// `RTCPeerConnection.connectionState` became `state`.
    ConnectionStateChange {
        /// `new`, `connecting`, `connected`, `disconnected`, `failed` or `closed`.
        state: String,
    },
    /// `RTCPeerConnection.iceConnectionState` became `state`.
    IceConnectionStateChange {
        /// `checking`, `connected`, `completed`, `disconnected`, `failed` or `closed`.
        state: String,
    },
    /// The path died or changed, and another one is looked for (RFC 8445 section 9).
    IceRestart {
        /// Who began it: `local` or `remote`.
        side: &'static str,
    },
    /// A second of `--bench` went by.
    Bench {
        /// Since the first of it.
        seconds: f64,
        /// What was carried in it.
        bits_per_second: f64,
    },
    /// The peer of a call that goes on without it is gone without a word, and may come back.
    PeerGone {
        /// How long it is waited for.
        seconds: f64,
    },
    /// `RTCPeerConnection.iceGatheringState` became `state`.
    IceGatheringStateChange {
        /// `new`, `gathering` or `complete`.
        state: String,
    },
    /// W3C `RTCStatsReport`, every so often.
    Stats {
        /// Its objects, as webrtc-stats has them.
        report: Vec<serde_json::Value>,
    },
    /// A remote track began.
    Track {
        /// `audio` or `video`.
        kind: String,
        /// The RTP media type, e.g. `video/VP8`.
        mime_type: String,
    },
    /// A data channel is open, ours or the peer's.
    DataChannel {
        /// Its label.
        label: String,
    },
    /// An output began: the file or stream it is written to.
    Output {
        /// The path, or `-`.
        path: String,
    },
    /// What a transfer consists of is known.
    Offer {
        /// How many files.
        files: u64,
        /// Their sizes together; `None` when a size is not known.
        bytes: Option<u64>,
    },
    /// A transfer goes on; a few times a second.
    Progress {
        /// Bytes that are there, those of earlier runs included.
        bytes: u64,
        /// Of how many; `None` when nobody knows.
        total: Option<u64>,
        /// Files that are done.
        files: u64,
        /// The file at hand.
        path: String,
        /// Bytes of it that are there.
        file_bytes: u64,
        /// Its size; `None` when nobody knows.
        file_size: Option<u64>,
    },
    /// A file is whole, verified and in its place at the receiver.
    File {
        /// Its name as it was sent.
        path: String,
        /// Bytes.
        size: u64,
        /// Its BLAKE3 hash, hexadecimal.
        blake3: String,
    },
    /// A recording began (mediastream-recording `start`).
    Start {
        /// The file, or `-`.
        path: String,
        /// What it is recorded as.
        mime_type: String,
    },
    /// A slice of a recording is in its file; all slices together are the recording.
    DataAvailable {
        /// The file, or `-`.
        path: String,
        /// When the slice begins, in seconds from the start of the recording.
        timecode: f64,
        /// Where in the file it begins.
        offset: u64,
        /// Its size.
        bytes: u64,
    },
    /// A recording is paused.
    Pause {
        /// Its length so far.
        seconds: f64,
    },
    /// A recording goes on.
    Resume {
        /// Its length so far.
        seconds: f64,
    },
    /// A recording is complete.
    Stop,
    /// A recording failed.
    Error {
        /// The name of the error, as in the report.
        name: String,
        /// One line.
        message: String,
    },
    /// A recording goes on; a few times a second.
    Recording {
        /// Its length so far.
        seconds: f64,
        /// Bytes so far.
        bytes: u64,
        /// Pictures per second since the last of these events.
        frames_per_second: f64,
        /// Pictures that the encoder was too slow for, since the start.
        frames_dropped: u64,
        /// The loudest sample since the last of these events, 0 to 1; absent where no sound is encoded.
        #[serde(skip_serializing_if = "Option::is_none")]
        audio_level: Option<f64>,
        /// Whether it is paused.
        paused: bool,
    },
    /// A step of the examination of a server is over.
    Stage {
        /// Its URL as given, without credentials.
        url: String,
        /// Which of its addresses; `None` before it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// The step, as `probe::Stage` names it.
        stage: &'static str,
        /// Whether it did what it is there for.
        ok: bool,
        /// How long it took.
        seconds: f64,
        /// The error code of the server, where there was one.
        error_code: Option<u16>,
        /// What came of it, or why not.
        message: Option<String>,
    },
    /// It is watched for devices that come and go; what is there now was listed.
    Watching {
        /// How many are there.
        devices: usize,
    },
    /// Devices came or went; mediacapture-main `devicechange`.
    DeviceChange {
        /// Those that came.
        added: Vec<DeviceInfo>,
        /// Those that went.
        removed: Vec<DeviceInfo>,
    },
    /// A source ended by itself; mediacapture-main `ended`.
    Ended {
        /// `audio` or `video`.
        kind: String,
        /// Why, when it failed.
        message: Option<String>,
    },
    /// A capture goes on; a few times a second.
    Capturing {
        /// Since its start.
        seconds: f64,
        /// Pictures that came out so far.
        delivered_frames: u64,
        /// Pictures that gave way so far.
        discarded_frames: u64,
        /// Pictures that the source or its driver lost so far.
        lost_frames: u64,
        /// Pictures that came late so far.
        late_frames: u64,
        /// Pictures per second since the last of these events.
        frames_per_second: f64,
        /// The loudest sample since the last of these events, in dBFS.
        peak: Option<f64>,
        /// The power since the last of these events, in dBFS.
        rms: Option<f64>,
    },
    /// The examination of a server is over.
    Verdict {
        /// Its URL as given, without credentials.
        url: String,
        /// Which of its addresses; `None` when it has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// The verdict, as `probe::Verdict` names it; `None` when it was ended before.
        verdict: Option<&'static str>,
        /// What is wrong with it, if anything is.
        message: Option<String>,
    },
    /// We are in a room, alone.
    Waiting {
        /// Its URL.
        room: String,
    },
    /// A code was drawn, by which the other side finds us.
    Code {
        /// The code.
        code: String,
        /// The server on which it holds.
        server: String,
    },
    /// What people at both sides compare, if they do not trust the server: it is the same unless somebody is in between.
    Check {
        /// The check string.
        words: String,
    },
    /// A viewer of a listener that serves several is there.
    ViewerJoin {
        /// Which, counted from 1 as they came.
        viewer: u64,
        /// How many are there now.
        viewers: usize,
    },
    /// It is not any more, or never was.
    ViewerLeave {
        /// Which.
        viewer: u64,
        /// How many are there now.
        viewers: usize,
        /// What went wrong, if anything did.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// A step of the examination of a WHIP or WHEP server is over.
    Conformance {
        /// Counted from 1.
        number: usize,
        /// What should be so.
        title: &'static str,
        /// `passed`, `failed`, `advised` or `skipped`.
        outcome: &'static str,
        /// Why it is not `passed`.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// A server listens.
    Listening {
        /// Where: its URLs, the best one first.
        urls: Vec<String>,
    },
    /// Somebody is in a room.
    Join {
        /// The room.
        room: String,
        /// The member's ID.
        id: String,
        /// Its address.
        address: String,
        /// Members of the room now.
        members: usize,
        /// Whether it was a member before, and lost its connection.
        resumed: bool,
    },
    /// Somebody was not let into a room.
    Refused {
        /// The room.
        room: String,
        /// Its address.
        address: String,
        /// Why, in the words of the protocol: `full`, `bad-message`, …
        reason: String,
    },
    /// A member is gone for good.
    Bye {
        /// The room.
        room: String,
        /// The member's ID.
        id: String,
        /// `leave`, `lost`, or why it was sent away.
        reason: String,
    },
    /// Something the user should know and that does not end the run.
    Warning {
        /// One line.
        message: String,
    },
}
