//! What a call is asked to do.

use super::bench::BenchMode;
use super::expect::Expectation;
use crate::error::{Error, ErrorKind};
use crate::media::VideoCodecs;
use crate::ops::destination::Destination;
use crate::ops::media::{Inputs, SendLimits, SourceOptions, TerminalScreen, Vacancy};
use crate::ops::road::{OneWay, Signal};
use crate::peer::{
    Config, DataChannelInit, IceServer, IceTransportPolicy, Interfaces, MediaPlan, NegotiateOptions, Role,
};
use crate::record::{Container, Existing};
use crate::signaling::{Meeting, Part, Receives, RoomRole};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// The streams of the process, given by the binary; the library opens none itself.
pub struct Io {
    /// Where signaling, chat and pipe read.
    pub input: Box<dyn AsyncRead + Send + Unpin>,
    /// Where signaling, chat and pipe write.
    pub output: Box<dyn AsyncWrite + Send + Unpin>,
    /// Where a source called `-` reads.
    pub media_input: Option<Box<dyn std::io::Read + Send>>,
    /// Where a destination called `-` writes.
    pub media_output: Option<Box<dyn std::io::Write + Send>>,
    /// Where pictures are shown if there is no window for them.
    pub screen: Option<TerminalScreen>,
}

/// What becomes of what is received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveOptions {
    /// Both tracks as they come, in WebM.
    pub record: Option<Destination>,
    /// The video, decoded, as Y4M.
    pub video_output: Option<Destination>,
    /// The audio, decoded, as WAV.
    pub audio_output: Option<Destination>,
    /// What to do with outputs that exist.
    pub existing: Existing,
    /// Whether the peer may send video; by default if we send some or have a use for it.
    pub offer_to_receive_video: Option<bool>,
    /// Whether the peer may send audio; by default if we send some or have a use for it.
    pub offer_to_receive_audio: Option<bool>,
    /// Whether `test` media is decoded and measured.
    pub measure: bool,
    /// Whether it is heard and seen: by the default speaker, and in a window or the terminal.
    pub play: bool,
    /// Which speaker plays it, by its deviceId, path or a part of its label; without it the default one.
    pub sink_id: Option<String>,
}

impl ReceiveOptions {
    pub(super) fn has_sinks(&self) -> bool {
        self.measure || self.play || self.record.is_some() || self.video_output.is_some() || self.audio_output.is_some()
    }

    /// Whether files are written.
    pub(super) fn has_files(&self) -> bool {
        self.destinations().next().is_some()
    }

    /// What the recording is; `None` without one.
    pub(super) fn container(&self) -> Option<Container> {
        let name = match self.record.as_ref()? {
            Destination::File(path) => Container::of_path(path),
            Destination::Stdout => None,
        };
        Some(name.filter(|container| *container == Container::Matroska).unwrap_or(Container::WebM))
    }

    /// Whether the name of the recording does not promise something else.
    fn check_record(&self) -> Result<(), Error> {
        let Some(Destination::File(path)) = &self.record else { return Ok(()) };
        match Container::of_path(path) {
            Some(Container::WebM | Container::Matroska) => Ok(()),
            None if path.extension().is_none() => Ok(()),
            _ => {
                let message = format!("a call is recorded as WebM or Matroska, not as {}", path.display());
                let hint = "give a name that ends in .webm or .mkv; --audio-output writes WAV";
                Err(Error::new(ErrorKind::Usage, "usage", message).with_hint(hint))
            }
        }
    }

    pub(super) fn wants_video(&self, sends: bool) -> bool {
        let use_for_it = self.measure || self.play || self.record.is_some() || self.video_output.is_some();
        self.offer_to_receive_video.unwrap_or(sends || use_for_it)
    }

    pub(super) fn wants_audio(&self, sends: bool) -> bool {
        let use_for_it = self.measure || self.play || self.record.is_some() || self.audio_output.is_some();
        self.offer_to_receive_audio.unwrap_or(sends || use_for_it)
    }

    fn destinations(&self) -> impl Iterator<Item = &Destination> {
        [&self.record, &self.video_output, &self.audio_output].into_iter().flatten()
    }
}

/// What the data channels carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataUse {
    /// Whatever comes is counted and reported.
    #[default]
    Count,
    /// Lines of text, both ways.
    Chat,
    /// Bytes, both ways.
    Pipe,
    /// Messages of all channels, both ways, each as a line of JSON that names its channel.
    Messages,
}

/// What a call is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who makes the offer.
    pub role: Role,
    /// How the sides find each other.
    pub signal: Signal,
    /// Servers, policy, interfaces.
    pub connection: Config,
    /// Time-outs of the set-up.
    pub negotiate: NegotiateOptions,
    /// What is sent.
    pub send: SourceOptions,
    /// What is sent of the video at most.
    pub limits: SendLimits,
    /// What becomes of what is received.
    pub receive: ReceiveOptions,
    /// The data channels; for a chat or a pipe one.
    pub data: Vec<DataChannelInit>,
    /// What they carry.
    pub data_use: DataUse,
    /// The folder that files of the peer go to, if they are welcome; answering only.
    pub receive_files: Option<PathBuf>,
    /// How long the call lasts once it is up; without it until somebody hangs up.
    pub duration: Option<Duration>,
    /// How often the statistics of the connection are told; `None` for never.
    pub stats: Option<Duration>,
    /// Whether commands will be taken: what is encoded is decoded then, so that other sources can take its place.
    pub controlled: bool,
    /// What the statistics at the end are to be like.
    pub expect: Vec<Expectation>,
    /// How many viewers a WHEP listener serves at the same time. With more than one it goes on when one leaves.
    pub max_viewers: usize,
    /// Whether the path is measured, in place of a call, and what is sent for it.
    pub bench: Option<BenchMode>,
    /// Whether the WHIP or WHEP server is examined instead of used.
    pub conformance: bool,
    /// Where it is written what came of the call and its expectations, as JUnit XML.
    pub junit: Option<PathBuf>,
    /// Where the statistics of the whole call are written, as `chrome://webrtc-internals` exports them.
    pub stats_dump: Option<PathBuf>,
}

impl Options {
    /// A call in this role that does nothing yet.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            signal: Signal::default(),
            connection: Config::default(),
            negotiate: NegotiateOptions::default(),
            send: SourceOptions::default(),
            limits: SendLimits::default(),
            receive: ReceiveOptions::default(),
            data: Vec::new(),
            data_use: DataUse::default(),
            receive_files: None,
            duration: None,
            stats: None,
            controlled: false,
            expect: Vec::new(),
            max_viewers: 1,
            bench: None,
            conformance: false,
            junit: None,
            stats_dump: None,
        }
    }

    /// Sources as they are to be sent: what is encoded goes as it is, unless something else may take its place or it is limited.
    pub(super) async fn prepared(&self, inputs: Inputs) -> Result<Inputs, Error> {
        match (self.controlled, self.limits.are_any()) {
            (true, _) => inputs.decoded().await,
            (_, true) => inputs.with_video_decoded().await,
            _ => Ok(inputs),
        }
    }

    /// What video may be coded as, so that it can be recorded: WebM has no H.264.
    pub(super) fn video_codecs(&self) -> Result<VideoCodecs, Error> {
        let codecs = &self.connection.video_codecs;
        let container = self.receive.container();
        codecs.filtered(|codec| container.is_none_or(|container| container.holds(codec))).ok_or_else(|| {
            let message = format!("WebM cannot hold {codecs}: record to a name that ends in .mkv");
            Error::new(ErrorKind::InvalidInput, "NotSupportedError", message).at("record")
        })
    }

    /// Whether there is anything that an offer of ours could be about.
    fn can_offer(&self) -> bool {
        let receives = self.receive.wants_video(false) || self.receive.wants_audio(false);
        let has_something = self.send.any() || receives || !self.data.is_empty() || self.bench.is_some();
        self.receive_files.is_none() && has_something
    }

    /// What we can do in a room, whichever command this is, with this media.
    pub(super) fn part(&self, plan: &MediaPlan) -> Part {
        let receives = [
            (Receives::Audio, plan.receive_audio),
            (Receives::Video, plan.receive_video),
            (Receives::Chat, self.data_use == DataUse::Chat),
            (Receives::Files, self.receive_files.is_some()),
        ];
        let receives = receives.into_iter().filter_map(|(what, does)| does.then_some(what)).collect();
        Part { role: if self.can_offer() { RoomRole::Any } else { RoomRole::Answer }, receives: Some(receives) }
    }

    /// Takes the part in which we have met.
    pub(super) fn take_part(&mut self, met: &Meeting) -> Result<(), Error> {
        self.role = if met.we_offer { Role::Call } else { Role::Answer };
        if !self.can_offer() && (met.we_offer || met.other == RoomRole::Answer) {
            let error = Error::new(ErrorKind::Refused, "refused", "neither side has anything to offer").at("signaling");
            return Err(error.with_hint("give --video, --audio, --record, --data, --chat or --pipe on one of them"));
        }
        Ok(())
    }

    /// The channels that we open: an answerer waits for that of a chat or a pipe, unless both are to open it.
    pub(super) fn opened_channels(&self) -> impl Iterator<Item = &DataChannelInit> {
        let waits = self.role == Role::Answer && matches!(self.data_use, DataUse::Chat | DataUse::Pipe);
        self.data.iter().filter(move |init| !waits || init.negotiated.is_some())
    }

    /// Whether the call waits for a peer that is gone without a word: what it writes would end, or begin anew, and whoever hears and
    /// sees it would have to start it again.
    pub(super) fn outlives_peer(&self) -> bool {
        let meets_again = matches!(self.signal, Signal::Room(_));
        let is_for_somebody = self.receive.has_files() || self.receive.play;
        meets_again && is_for_somebody && self.data_use == DataUse::Count && self.receive_files.is_none()
    }

    /// Whether anything is about data.
    fn has_data(&self) -> bool {
        !self.data.is_empty() || self.data_use != DataUse::Count
    }

    /// Whether nothing is left of the call when nothing is sent any more.
    pub(super) fn lives_by_sending(&self) -> bool {
        !self.receive.has_sinks() && self.receive_files.is_none() && !self.has_data()
    }

    /// How long what is sent may come from nowhere.
    pub(super) fn vacancy(&self) -> Vacancy {
        match (self.controlled, self.lives_by_sending()) {
            (false, _) => Vacancy::Closed,
            (true, true) => Vacancy::WithOthers,
            (true, false) => Vacancy::Open,
        }
    }

    /// Whether the call is over when its data channel is.
    pub(super) fn lives_by_data(&self) -> bool {
        let has_media = self.send.any() || self.receive.has_sinks();
        self.data_use != DataUse::Count || ((self.has_data() || self.receive_files.is_some()) && !has_media)
    }

    /// Whether what is asked for fits together.
    pub(super) fn check(&self) -> Result<(), Error> {
        let usage = |message: &str| Err(Error::new(ErrorKind::Usage, "usage", message));
        let stdio = matches!(self.signal, Signal::Stdio { .. });
        let reads_stdin = self.send.reads_stdin();
        let writes_stdout = self.receive.destinations().filter(|to| **to == Destination::Stdout).count();
        let talks = self.data_use != DataUse::Count;
        self.check_one_way()?;
        self.check_viewers()?;
        self.receive.check_record()?;
        let relay_only = self.connection.ice_transport_policy == IceTransportPolicy::Relay;
        let named_later = matches!(self.signal, Signal::Whip(_) | Signal::Room(_) | Signal::Code { .. });
        if relay_only && !named_later && !self.connection.ice_servers.iter().any(IceServer::relays) {
            return usage("--ice-transport-policy relay needs a TURN server: give --ice-server turn:…");
        }
        if self.conformance && !matches!(self.signal, Signal::Whip(_)) {
            return usage("--conformance examines a server: --signal whip+https://… or whep+https://…");
        }
        let plays = self.signal.one_way() == Some(OneWay::In);
        if self.role == Role::Call && self.receive_files.is_none() && !self.can_offer() && !plays {
            return usage("nothing to offer: give --video, --audio, --record, --data, --chat or --pipe");
        }
        self.check_channels()?;
        if self.bench.is_some() && (self.send.any() || self.receive.has_sinks() || self.has_data()) {
            return usage("--bench is in place of sound, pictures and data");
        }
        if self.stats_dump.is_some() && (self.max_viewers > 1 || self.conformance) {
            return usage("--stats-dump is of one connection: not with --max-viewers or --conformance");
        }
        if stdio && reads_stdin {
            return usage("standard input carries the signaling: media cannot be read from it");
        }
        if stdio && writes_stdout > 0 {
            return usage("standard output carries the signaling: media cannot be written to it");
        }
        if writes_stdout > 1 {
            return usage("only one output can be written to standard output");
        }
        if talks && (reads_stdin || writes_stdout > 0) {
            return usage("--chat, --pipe and --messages use standard input and output: media cannot");
        }
        if talks && matches!(self.signal, Signal::Stdio { trickle: true, .. }) {
            return usage(
                "with --trickle signaling keeps standard input and output: --chat, --pipe and --messages cannot use them",
            );
        }
        if self.receive_files.is_some() && (self.role == Role::Call || self.has_data()) {
            return usage(
                "files are received by answering an offer, and instead of --data, --chat, --pipe or --messages",
            );
        }
        let mut files: Vec<&PathBuf> = self
            .receive
            .destinations()
            .filter_map(|to| match to {
                Destination::File(path) => Some(path),
                Destination::Stdout => None,
            })
            .chain(self.junit.iter().chain(&self.stats_dump))
            .collect();
        files.sort_unstable();
        if files.windows(2).any(|pair| pair[0] == pair[1]) {
            return usage("two outputs have the same name");
        }
        Ok(())
    }

    fn check_channels(&self) -> Result<(), Error> {
        let usage = |message: &str| Err(Error::new(ErrorKind::Usage, "usage", message));
        // RFC 8832 section 5.1: both lengths are 16 bits. The library would send them modulo 65536.
        if self.data.iter().any(|channel| channel.label.len().max(channel.protocol.len()) > 65_535) {
            return usage("the label or protocol of a data channel is longer than 65535 bytes");
        }
        if self.data.iter().any(|init| init.max_packet_life_time.is_some() && init.max_retransmits.is_some()) {
            return usage("a data channel has either a maxPacketLifeTime or maxRetransmits");
        }
        let mut ids: Vec<u16> = self.data.iter().filter_map(|channel| channel.negotiated).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return usage("two data channels have the same id");
        }
        if self.data.len() > 1 && matches!(self.data_use, DataUse::Chat | DataUse::Pipe) {
            return usage("--chat and --pipe are about one data channel: with several, use --messages");
        }
        Ok(())
    }

    /// Whether what is asked for goes the way of the road.
    fn check_one_way(&self) -> Result<(), Error> {
        let usage = |message: &str| Err(Error::new(ErrorKind::Usage, "usage", message));
        let Some(way) = self.signal.one_way() else { return Ok(()) };
        if self.bench.is_some() {
            return usage("--bench needs rtckit at the other end, which WHIP and WHEP are not about");
        }
        if self.has_data() || self.receive_files.is_some() {
            return usage("WHIP and WHEP carry sound and pictures, no data and no files");
        }
        let receives = self.receive.wants_video(false) || self.receive.wants_audio(false);
        let listens = matches!(self.signal, Signal::WhipListen(_));
        match way {
            OneWay::Out if self.role == Role::Answer => usage("sound and pictures go out that way: use rtckit call"),
            OneWay::In if self.role == Role::Call && listens => usage("they come in that way: use rtckit answer"),
            OneWay::Out if !self.send.any() => usage("nothing to publish: give --video or --audio"),
            OneWay::Out if receives => usage("nothing comes back that way: sound and pictures only go out"),
            OneWay::In if self.send.any() => usage("nothing can be sent that way: sound and pictures only come in"),
            _ => Ok(()),
        }
    }

    fn check_viewers(&self) -> Result<(), Error> {
        let usage = |message: &str| Err(Error::new(ErrorKind::Usage, "usage", message));
        let listens = matches!(self.signal, Signal::WhipListen(_)) && self.signal.one_way() == Some(OneWay::Out);
        match self.max_viewers {
            1 => Ok(()),
            0 => usage("somebody must be able to come: --max-viewers is at least 1"),
            _ if !listens => usage("--max-viewers is for --signal whep-listen:ADDRESS"),
            _ if self.stats.is_some() || !self.expect.is_empty() => {
                usage("--stats and --expect are about one connection: with --max-viewers there are several")
            }
            _ => Ok(()),
        }
    }

    /// The same with nothing received where the road only leads out; where it only leads in, with all of it where nothing
    /// says what it is for.
    pub(super) fn one_way(mut self) -> Self {
        let receive = &mut self.receive;
        match self.signal.one_way() {
            Some(OneWay::Out) => {
                receive.offer_to_receive_video = Some(false);
                receive.offer_to_receive_audio = Some(false);
            }
            Some(OneWay::In) if !receive.wants_video(false) && !receive.wants_audio(false) => {
                receive.offer_to_receive_video.get_or_insert(true);
                receive.offer_to_receive_audio.get_or_insert(true);
            }
            _ => {}
        }
        self
    }

    /// What each side does when both are in this process: the caller sends, the answerer receives.
    pub(super) fn split_for_loopback(self) -> (Self, Self) {
        let interfaces = match &self.connection.interfaces {
            Interfaces::All => Interfaces::Loopback,
            named => named.clone(),
        };
        let connection = Config { interfaces, ..self.connection.clone() };
        let (received, sent) = self.expect.iter().cloned().partition(Expectation::is_of_receiver);
        let answering = Self {
            role: Role::Answer,
            signal: Signal::Loopback,
            // One bad network is enough.
            connection: Config { net_sim: None, ..connection.clone() },
            negotiate: self.negotiate.clone(),
            send: SourceOptions { salt: self.send.salt, ..SourceOptions::default() },
            limits: SendLimits::default(),
            receive: self.receive.clone(),
            data: self.data.iter().filter(|init| init.negotiated.is_some()).cloned().collect(),
            data_use: self.data_use,
            receive_files: None,
            duration: None,
            stats: None,
            controlled: false,
            expect: received,
            max_viewers: 1,
            bench: self.bench,
            conformance: false,
            junit: None,
            stats_dump: None,
        };
        let refuse = ReceiveOptions {
            offer_to_receive_video: Some(false),
            offer_to_receive_audio: Some(false),
            ..ReceiveOptions::default()
        };
        (Self { role: Role::Call, connection, receive: refuse, expect: sent, ..self }, answering)
    }
}
