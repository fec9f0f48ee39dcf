//! One peer connection that was built: W3C `RTCPeerConnection`, with our runtime below it and plain channels above it.

use super::advertised::Advertised;
use super::codecs::{Outgoing, library_kind, wished_track};
use super::config::MediaPlan;
use super::data_channel::{Connection, DataChannel, DataChannelInit};
use super::error::PeerError;
use super::local_track::{LocalTrack, random_u32};
use super::network::Listening;
use super::reading::Changes;
use super::remote_track::{RemoteTrack, Shared};
use super::runtime::SessionRuntime;
use super::server_watch::ServerTrouble;
use crate::media::{AudioCodecs, Codec, MediaKind, VideoCodecs};
use crate::signaling::{Candidate, Message};
use rtc::mdns::MulticastSocket;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::peer_connection::{PeerConnection, RTCIceConnectionState, RTCPeerConnectionState};

/// What came with the peer's goodbye takes so long to reach tracks and channels, and closing would cut it off.
pub(crate) const AFTERMATH: Duration = Duration::from_millis(100);

/// W3C `RTCPeerConnectionState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionState {
    /// Nothing has begun.
    #[default]
    New,
    /// ICE or DTLS is under way.
    Connecting,
    /// Everything is up.
    Connected,
    /// Nothing comes from the peer at the moment.
    Disconnected,
    /// It cannot come up, or not again.
    Failed,
    /// It is over.
    Closed,
}

impl ConnectionState {
    /// The word of W3C webrtc-pc.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }
}

impl From<RTCPeerConnectionState> for ConnectionState {
    fn from(state: RTCPeerConnectionState) -> Self {
        match state {
            RTCPeerConnectionState::Connecting => Self::Connecting,
            RTCPeerConnectionState::Connected => Self::Connected,
            RTCPeerConnectionState::Disconnected => Self::Disconnected,
            RTCPeerConnectionState::Failed => Self::Failed,
            RTCPeerConnectionState::Closed => Self::Closed,
            _ => Self::New,
        }
    }
}

/// Whether a peer takes a track of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// It does.
    Now,
    /// It holds it: the track rests, and goes on once another description says so.
    Later,
    /// Its description refused the track, or has no section for it.
    Never,
}

/// What a session's background driver reports about setting the connection up.
#[derive(Debug)]
pub(super) enum Gathered {
    Candidate(Candidate),
    Complete,
}

/// One peer connection.
pub struct Session {
    pub(super) pc: Arc<dyn PeerConnection>,
    pub(super) runtime: Arc<SessionRuntime>,
    pub(super) shared: Arc<Shared>,
    pub(super) state: watch::Receiver<ConnectionState>,
    pub(super) ice_state: watch::Receiver<RTCIceConnectionState>,
    pub(super) gathered: mpsc::Receiver<Gathered>,
    pub(super) tracks: mpsc::Receiver<RemoteTrack>,
    pub(super) channels: mpsc::Receiver<DataChannel>,
    /// A message of signaling that came before anybody listened.
    pub(super) early: Option<Message>,
    pub(super) max_message_size: Arc<AtomicUsize>,
    pub(super) connection: Connection,
    pub(super) carries_media: Arc<AtomicBool>,
    pub(super) audio_codecs: AudioCodecs,
    pub(super) video_codecs: VideoCodecs,
    pub(super) outgoing: Vec<Outgoing>,
    /// How the other side is told of our candidates.
    pub(super) advertised: Advertised,
    /// ICE restarts that were negotiated.
    pub(super) ice_restarts: AtomicU32,
    pub(super) listening: Listening,
    /// Whether the library opens a socket for mDNS beside the others.
    pub(super) resolves_names: bool,
    /// How the peer's first description was read.
    pub(super) read: Changes,
}

/// The largest message we take, in bytes: the most that the library allows.
pub(super) const MAX_MESSAGE_SIZE: u32 = 256 << 10;

/// What passes the sockets of a session.
#[derive(Clone)]
pub struct Traffic {
    runtime: Arc<SessionRuntime>,
}

impl Traffic {
    /// Bytes sent so far, with all headers but those of UDP and IP.
    pub fn bytes_sent(&self) -> u64 {
        self.runtime.departures().bytes()
    }

    /// See [`Session::silence`].
    pub fn silence(&self) -> Option<Duration> {
        self.runtime.arrivals().silence()
    }

    /// How long nothing has come from the peer but connectivity checks; `None` before the first.
    pub fn data_silence(&self) -> Option<Duration> {
        self.runtime.arrivals().data_silence()
    }

    /// See [`Session::round_trip`].
    pub fn round_trip(&self) -> Option<Duration> {
        self.runtime.round_trips().last()
    }
}

impl Session {
    /// Goes on with the timeline of a session before it; before the connection is up.
    pub fn continue_from(&self, zero: Option<Instant>) {
        if let Some(zero) = zero {
            // Nothing has come yet that could have set it.
            let _ = self.shared.origin.set(zero);
        }
    }

    /// Takes note of a message that came by signaling before [`connect`](Self::connect) listens to it.
    pub fn take_early(&mut self, message: Message) {
        self.early = Some(message);
    }

    /// Adds what `plan` sends and prepares for what it receives. Before the first offer; when answering, after the offer
    /// was applied, the offer's media sections are used.
    ///
    /// Returns the tracks to send, video and audio.
    ///
    /// # Errors
    /// When the library refuses a track.
    pub async fn add_media(&mut self, plan: &MediaPlan) -> Result<(Option<LocalTrack>, Option<LocalTrack>), PeerError> {
        let mut video = None;
        let mut audio = None;
        for (codecs, receive, slot, kind) in [
            (&plan.send_audio, plan.receive_audio, &mut audio, MediaKind::Audio),
            (&plan.send_video, plan.receive_video, &mut video, MediaKind::Video),
        ] {
            if !codecs.is_empty() {
                *slot = Some(self.add_local_track(codecs, receive).await?);
            } else if receive {
                self.add_receiver(kind).await?;
            }
        }
        Ok((video, audio))
    }

    async fn add_local_track(&mut self, codecs: &[Codec], receive: bool) -> Result<LocalTrack, PeerError> {
        let first = codecs[0];
        let ssrc = random_u32();
        let rtx = (first.kind() == MediaKind::Video).then(random_u32);
        let track = Arc::new(wished_track(first, ssrc, rtx));
        let doing = PeerError::library("adding a track");
        let sender = match self.pc.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await {
            Ok(sender) => sender,
            Err(error) => return Err(doing(error)),
        };
        self.prefer(sender.id(), codecs, receive).await?;
        let (shared, departures) = (Arc::clone(&self.shared), Arc::clone(self.runtime.departures()));
        let (agreed, (tell_wanted, wanted)) = (Arc::new(OnceLock::new()), watch::channel(true));
        let outgoing = Outgoing {
            sender: Arc::clone(&sender),
            ssrc,
            rtx,
            codecs: codecs.to_vec(),
            receives: receive,
            agreed: Arc::clone(&agreed),
            wanted: tell_wanted,
        };
        self.outgoing.push(outgoing);
        Ok(LocalTrack::new(track, sender, ssrc, (first, agreed, wanted), shared, departures))
    }

    async fn add_receiver(&self, kind: MediaKind) -> Result<(), PeerError> {
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Recvonly,
            streams: Vec::new(),
            send_encodings: Vec::new(),
        };
        self.pc
            .add_transceiver_from_kind(library_kind(kind), Some(init))
            .await
            .map(drop)
            .map_err(PeerError::library("preparing to receive"))
    }

    /// Whether the peer takes this track.
    pub async fn takes(&self, track: &LocalTrack) -> Taking {
        let transceiver = self.transceiver_of(track.sender_id()).await;
        let section = match &transceiver {
            Some(transceiver) => transceiver.mid().await.ok().flatten(),
            None => None,
        };
        match section {
            Some(_) if track.is_agreed() && track.is_wanted() => Taking::Now,
            Some(_) if track.is_agreed() => Taking::Later,
            _ => Taking::Never,
        }
    }

    /// Opens a data channel of ours. It is usable once it is [`opened`](DataChannel::opened).
    ///
    /// # Errors
    /// When the label or protocol is too long.
    pub async fn create_data_channel(&self, init: &DataChannelInit) -> Result<DataChannel, PeerError> {
        let inner = self
            .pc
            .create_data_channel(&init.label, Some(init.to_library()))
            .await
            .map_err(|error| PeerError::DataChannel { label: init.label.clone(), why: error.to_string() })?;
        let (timing, most) = (Arc::clone(&self.shared.timing), Arc::clone(&self.max_message_size));
        let channel = DataChannel::new(inner, &init.label, timing, most, Arc::clone(&self.connection));
        Ok(if init.negotiated.is_some() { channel.negotiated() } else { channel })
    }

    /// The next track that the peer sends; `None` when the session is over. Cancel-safe.
    pub async fn next_track(&mut self) -> Option<RemoteTrack> {
        self.tracks.recv().await
    }

    /// The next data channel that the peer opened; `None` when the session is over. Cancel-safe.
    pub async fn next_data_channel(&mut self) -> Option<DataChannel> {
        self.channels.recv().await
    }

    /// Takes the two streams of arrivals out of the session, to be served by tasks of their own.
    pub fn take_arrivals(&mut self) -> (mpsc::Receiver<RemoteTrack>, mpsc::Receiver<DataChannel>) {
        let (_, no_tracks) = mpsc::channel(1);
        let (_, no_channels) = mpsc::channel(1);
        (std::mem::replace(&mut self.tracks, no_tracks), std::mem::replace(&mut self.channels, no_channels))
    }

    /// The state now and every change of it.
    pub fn states(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }

    /// Time since anything came from the peer; `None` when nothing has come yet. A live peer answers consent checks
    /// every few seconds (RFC 7675).
    pub fn silence(&self) -> Option<Duration> {
        self.runtime.arrivals().silence()
    }

    /// The zero of the timeline of all that is received; `None` before anything was.
    pub fn zero(&self) -> Option<Instant> {
        self.shared.origin.get().copied()
    }

    /// The ICE servers that have been of no use so far, and why.
    pub fn server_troubles(&self) -> Vec<ServerTrouble> {
        self.runtime.servers().troubles()
    }

    /// How long the last connectivity or consent check took to be answered; `None` before the first, and through a TURN
    /// server.
    pub fn round_trip(&self) -> Option<Duration> {
        self.runtime.round_trips().last()
    }

    /// What passes its sockets, to be looked at while somebody else has the session.
    pub fn traffic(&self) -> Traffic {
        Traffic { runtime: Arc::clone(&self.runtime) }
    }

    /// Whether sockets for a restart could be opened now, from which a peer can be reached: the library ends a connection for
    /// good when there is none.
    pub(super) fn leads_out(&self) -> bool {
        let names = !self.resolves_names || MulticastSocket::new().into_std().is_ok();
        names && self.listening.leads_out(self.runtime.arrivals().peer_is_here())
    }

    /// Transport-wide congestion-control reports received from the peer.
    pub fn transport_feedback(&self) -> u64 {
        self.shared.rtcp.transport_feedback()
    }

    /// Hangs up: the peer is told at once (SCTP ABORT, DTLS `close_notify`), sockets close, tracks and channels end.
    pub async fn close(&self) {
        if self.runtime.departures().goodbye() {
            tokio::time::sleep(AFTERMATH).await;
        }
        self.close_now().await;
    }

    /// The same for whoever has all that it wanted: what the peer sent last may be cut off.
    pub async fn close_now(&self) {
        if let Err(error) = self.pc.close().await {
            tracing::debug!("closing the connection: {error}");
        }
        if let Some(network) = self.runtime.network() {
            network.drained(Duration::from_secs(1)).await;
        }
    }

    /// Notes what of a remote description matters outside of the library: whether there is media, and how large messages
    /// may be (RFC 8841 section 6.1).
    pub(super) fn note_remote(&self, remote_sdp: &str) {
        let media = remote_sdp.lines().any(|line| line.starts_with("m=audio") || line.starts_with("m=video"));
        self.carries_media.store(media, Ordering::Relaxed);
        const UNSAID: usize = 64 << 10;
        let said = remote_sdp
            .lines()
            .find_map(|line| line.strip_prefix("a=max-message-size:"))
            .map_or(UNSAID, |value| value.trim().parse().unwrap_or(UNSAID));
        let most = MAX_MESSAGE_SIZE as usize;
        self.max_message_size.store(if said == 0 { most } else { said.min(most) }, Ordering::Relaxed);
    }
}
