//! Building a [`Session`]: servers, sockets, interceptors and settings of the library, and what carries its callbacks.

use super::advertised::Advertised;
use super::clock::ProtocolClock;
use super::codecs::{agreed_codecs, media_engine};
use super::config::{Config, IceServer, IceTransportPolicy, MulticastDns, check_server};
use super::congestion::{Congestion, CongestionTap};
use super::data_channel::{Connection, DataChannel};
use super::error::PeerError;
use super::form::Form;
use super::identity::Identity;
use super::local_names::LocalNames;
use super::net_sim::Network;
use super::network::Listening;
use super::reading::Changes;
use super::relay_stream::{Doors, StreamServer};
use super::remote_track::{RemoteTrack, Shared};
use super::repair::{Asker, Resender};
use super::rtcp::{RtcpState, RtcpTap};
use super::runtime::{Gate, SessionRuntime, Stage, sctp_receive_window};
use super::server_watch::ServerWatch;
use super::session::{ConnectionState, Gathered, MAX_MESSAGE_SIZE, Session};
use super::statistics::Live;
use super::timing::{Mark, Timing};
use crate::ice_server::ServerUrl;
use crate::media::Codec;
use crate::signaling::Candidate;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::Slot;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_rtcp_reports, configure_simulcast_extension_headers, configure_twcc_receiver_only,
};
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceConnectionState,
    RTCIceGatheringState, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
    Registry, SettingEngine, SettingEngineBuilder,
};

/// Bytes that a data channel may hold before `send` waits: what fills a fast path over a long distance.
const SEND_BUFFER: usize = 4 << 20;
/// Events that may wait for us; beyond it the driver drops them, which only a stuck owner can cause.
const EVENTS: usize = 1024;

impl Session {
    /// Opens the sockets of a new session. Nothing is sent yet.
    ///
    /// # Errors
    /// When no interface can be used or the sockets cannot be opened.
    pub async fn new(config: &Config, timing: Arc<Timing>) -> Result<Self, PeerError> {
        if config.multicast_dns == MulticastDns::Off {
            return Self::build(config, &timing, MulticastDnsMode::Disabled).await;
        }
        match Self::build(config, &timing, MulticastDnsMode::QueryOnly).await {
            Ok(session) => Ok(session),
            Err(PeerError::Library { source, .. }) if config.multicast_dns == MulticastDns::Resolve => {
                // Containers and bare namespaces have no multicast route: ENODEV.
                tracing::debug!("without mDNS, because: {source}");
                Self::build(config, &timing, MulticastDnsMode::Disabled).await
            }
            Err(error) => Err(error),
        }
    }

    async fn build(config: &Config, timing: &Arc<Timing>, mdns: MulticastDnsMode) -> Result<Self, PeerError> {
        let watch = Arc::new(ServerWatch::default());
        let (mut servers, streams) = library_servers(&config.ice_servers, &watch);
        let has_relay = config.ice_servers.iter().any(IceServer::relays);
        if config.ice_transport_policy == IceTransportPolicy::Relay && !has_relay {
            servers.push(nobody());
        }
        let doors = Doors::open(&streams, &watch, config.family).await.map_err(|error| PeerError::NoInterface {
            detail: format!("none on loopback, where TURN over TCP needs one: {error}"),
        })?;
        let runtime = Arc::new(SessionRuntime::new(watch, doors, config));
        #[cfg(test)]
        config.bad_network.iter().for_each(|bad| runtime.suffer(bad));
        let rtcp = Arc::new(RtcpState::default());
        let mut media = media_engine(&config.audio_codecs, &config.video_codecs)
            .map_err(PeerError::library("registering codecs"))?;
        let (congestion, round_trips) = (Arc::new(Congestion::new()), runtime.round_trips());
        let registry = configure_simulcast_extension_headers(&mut media)
            .and_then(|()| configure_twcc_receiver_only(Registry::new(), &mut media))
            .map(configure_rtcp_reports)
            .map_err(PeerError::library("registering interceptors"))?
            .with(RtcpTap::SLOT.into(), RtcpTap::new(Arc::clone(&rtcp)))
            .with(Slot::CongestionControl, CongestionTap::new(Arc::clone(&congestion)))
            .with(Slot::NackResponder, Resender::new(Arc::clone(&congestion), Arc::clone(round_trips)))
            .with(Slot::NackGenerator, Asker::new(Arc::clone(round_trips), !config.without_repair));
        let shared = Arc::new(Shared {
            rtcp,
            congestion,
            round_trips: Arc::clone(round_trips),
            timing: Arc::clone(timing),
            live: Live::default(),
            origin: OnceLock::new(),
            reference: Mutex::default(),
        });
        let max_message_size = Arc::new(AtomicUsize::new(MAX_MESSAGE_SIZE as usize));
        let (state_sender, state) = watch::channel(ConnectionState::New);
        let (ice_sender, ice_state) = watch::channel(RTCIceConnectionState::New);
        let (gathered_sender, gathered) = mpsc::channel(EVENTS);
        let (track_sender, tracks) = mpsc::channel(EVENTS);
        let (channel_sender, channels) = mpsc::channel(EVENTS);
        let carries_media = Arc::new(AtomicBool::new(false));
        let connection = Connection::default();
        let handler = Arc::new(Handler {
            shared: Arc::clone(&shared),
            clock: Arc::clone(runtime.clock()),
            network: runtime.network().cloned(),
            gate: Arc::clone(runtime.gate()),
            carries_media: Arc::clone(&carries_media),
            was_connected: AtomicBool::new(false),
            max_message_size: Arc::clone(&max_message_size),
            connection: Arc::clone(&connection),
            state: state_sender,
            ice_state: ice_sender,
            gathered: gathered_sender,
            tracks: track_sender,
            channels: channel_sender,
        });
        let policy = match config.ice_transport_policy {
            IceTransportPolicy::All => RTCIceTransportPolicy::All,
            IceTransportPolicy::Relay => RTCIceTransportPolicy::Relay,
        };
        let certificates = config.identity.iter().map(Identity::certificate).collect();
        let configuration = RTCConfigurationBuilder::default()
            .with_ice_servers(servers)
            .with_ice_transport_policy(policy)
            .with_certificates(certificates)
            .build();
        let listening = Listening::new(config.interfaces.clone(), config.family, config.ports);
        let addresses = listening.addresses()?;
        let names = (config.multicast_dns == MulticastDns::Hide).then(|| LocalNames::answer(&addresses)).transpose()?;
        let streams = if config.ice_tcp { vec![listening.for_tcp()] } else { Vec::new() };
        let building = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(media)
            .with_setting_engine(settings(mdns, config.sctp_mtu))
            .with_interceptor_registry(registry)
            .with_runtime(Arc::clone(&runtime) as _)
            .with_handler(handler)
            .with_udp_addrs(vec![listening.clone()])
            .with_tcp_addrs(streams)
            .with_data_channel_send_buffer_limit(SEND_BUFFER)
            .build();
        let pc = Box::pin(building).await.map_err(PeerError::library("opening sockets"))?;
        let pc: Arc<dyn PeerConnection> = Arc::new(pc);
        let _ = connection.set(Arc::downgrade(&pc));
        Ok(Self {
            pc,
            connection,
            runtime,
            shared,
            state,
            ice_state,
            ice_restarts: AtomicU32::new(0),
            listening,
            resolves_names: mdns != MulticastDnsMode::Disabled,
            read: Changes::default(),
            gathered,
            tracks,
            channels,
            early: None,
            max_message_size,
            carries_media,
            audio_codecs: config.audio_codecs.clone(),
            video_codecs: config.video_codecs.clone(),
            outgoing: Vec::new(),
            advertised: Advertised::new(config.public_addresses.clone(), names),
        })
    }

    /// Uses these servers as well from the next gathering on. Those that a session cannot use are left out, with a note in
    /// the log.
    pub(super) async fn add_ice_servers(&self, servers: Vec<IceServer>) -> Result<(), PeerError> {
        let (useful, useless): (Vec<_>, Vec<_>) = servers.into_iter().partition(|server| check_server(server).is_ok());
        for server in useless {
            tracing::warn!("ignored an ICE server of the other side: {}", server.urls.join(", "));
        }
        let (servers, streams) = library_servers(&useful, self.runtime.servers());
        self.runtime.open_doors(&streams).await.map_err(|error| PeerError::NoInterface {
            detail: format!("none on loopback, where TURN over TCP needs one: {error}"),
        })?;
        let before = self.pc.get_configuration().await;
        let configuration = RTCConfigurationBuilder::default()
            .with_ice_servers([before.ice_servers().to_vec(), servers].concat())
            .with_ice_transport_policy(before.ice_transport_policy())
            .build();
        self.pc.set_configuration(configuration).await.map_err(PeerError::library("using servers of the other side"))
    }
}

/// The servers as the library is given them: those behind TCP or TLS under the name of a door of ours.
fn library_servers(servers: &[IceServer], watch: &ServerWatch) -> (Vec<RTCIceServer>, Vec<StreamServer>) {
    let mut streams = Vec::new();
    let given = servers.iter().map(|server| {
        let urls = server.urls.iter().map(|url| match ServerUrl::parse(url) {
            Ok(ServerUrl { host, port, transport, .. }) if transport.is_stream() => {
                let name = format!("door-{}.invalid", watch.count());
                let authority = format!("{name}:3478");
                watch.add(url, authority.clone());
                streams.push(StreamServer { host, port, tls: transport.is_secure(), authority });
                format!("turn:{name}:3478?transport=udp")
            }
            Ok(ServerUrl { host, port, .. }) => {
                watch.add(url, format!("{host}:{port}"));
                url.clone()
            }
            Err(_) => url.clone(),
        });
        RTCIceServer {
            urls: urls.collect(),
            username: server.username.clone().unwrap_or_default(),
            credential: server.credential.as_ref().map_or_else(String::new, |secret| secret.reveal().to_owned()),
        }
    });
    (given.collect(), streams)
}

/// A TURN server that is not there: the library does not open a session that may only use relays without one, and those that the
/// other side names are known later.
fn nobody() -> RTCIceServer {
    let (username, credential) = ("nobody".to_owned(), "nothing".to_owned());
    RTCIceServer { urls: vec!["turn:127.0.0.1:9?transport=udp".to_owned()], username, credential }
}

fn settings(mdns: MulticastDnsMode, sctp_mtu: Option<u32>) -> SettingEngine {
    // Silence is judged by us (`Session::gone`), because the agent counts the time in which it waits for a person to
    // carry an answer across as well.
    const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);
    let settings = SettingEngineBuilder::new();
    let settings = match sctp_mtu {
        Some(mtu) => settings.with_sctp_mtu(mtu),
        None => settings,
    };
    settings
        .with_multicast_dns_mode(mdns)
        .with_ice_timeouts(Some(Duration::from_secs(5)), Some(NEVER), Some(Duration::from_secs(1)))
        .with_ice_connection_attempts(None, Some(u16::MAX))
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::from_millis(100)))
        .with_prflx_acceptance_min_wait(Some(Duration::from_millis(100)))
        .with_relay_acceptance_min_wait(Some(Duration::from_millis(500)))
        .with_discard_local_candidates_during_ice_restart(true)
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_MESSAGE_SIZE))
        .with_sctp_max_receive_buffer_size(sctp_receive_window())
        .build()
}

/// Carries the library's callbacks, which run on its driver and must not wait, into channels.
struct Handler {
    shared: Arc<Shared>,
    clock: Arc<ProtocolClock>,
    network: Option<Arc<Network>>,
    gate: Arc<Gate>,
    carries_media: Arc<AtomicBool>,
    was_connected: AtomicBool,
    max_message_size: Arc<AtomicUsize>,
    connection: Connection,
    state: watch::Sender<ConnectionState>,
    ice_state: watch::Sender<RTCIceConnectionState>,
    gathered: mpsc::Sender<Gathered>,
    tracks: mpsc::Sender<RemoteTrack>,
    channels: mpsc::Sender<DataChannel>,
}

fn pass_on<T>(what: &str, sender: &mpsc::Sender<T>, item: T) {
    if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(item) {
        tracing::warn!("dropped a {what}: nobody takes them");
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        match event.candidate.to_json() {
            Ok(init) if !init.candidate.is_empty() => {
                let candidate = Candidate {
                    candidate: init.candidate,
                    sdp_mid: init.sdp_mid,
                    sdp_m_line_index: init.sdp_mline_index,
                    username_fragment: init.username_fragment,
                };
                pass_on("candidate", &self.gathered, Gathered::Candidate(candidate));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("a local candidate cannot be written: {error}"),
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.shared.timing.mark(Mark::GatheringComplete);
            pass_on("gathering state", &self.gathered, Gathered::Complete);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        if matches!(state, RTCIceConnectionState::Connected | RTCIceConnectionState::Completed) {
            self.shared.timing.mark(Mark::Nominated);
            self.gate.reach(Stage::Handshake);
        }
        self.ice_state.send_replace(state);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let state = ConnectionState::from(state);
        if state == ConnectionState::Connected {
            self.shared.timing.mark(Mark::DtlsConnected);
            self.gate.reach(Stage::Media);
            self.network.iter().for_each(|network| network.begin());
            // Media may follow at once, and its reports are measured with this clock.
            match (self.carries_media.load(Ordering::Relaxed), self.was_connected.swap(true, Ordering::Relaxed)) {
                (true, _) => self.clock.stop_hurrying(),
                (false, false) => self.clock.settle(),
                (false, true) => self.clock.resettle(),
            }
        }
        self.state.send_replace(state);
    }

    async fn on_data_channel(&self, channel: Arc<dyn webrtc::data_channel::DataChannel>) {
        let label = channel.label().await.unwrap_or_default();
        let (timing, most) = (Arc::clone(&self.shared.timing), Arc::clone(&self.max_message_size));
        let channel = DataChannel::new(channel, &label, timing, most, Arc::clone(&self.connection));
        pass_on("data channel", &self.channels, channel);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let Some(ssrc) = track.ssrcs().await.first().copied() else {
            tracing::warn!("a remote track without a stream");
            return;
        };
        let found = track.codec(ssrc).await.unwrap_or_default();
        let Some(Form { codec, .. }) = Form::read(&found.mime_type, &found.sdp_fmtp_line) else {
            tracing::warn!("a remote track of unknown codec '{}'", found.mime_type);
            return;
        };
        let (section, codecs) = self.receiving(&track).await.unwrap_or_default();
        let track = RemoteTrack::new(track, ssrc, codec, Arc::clone(&self.shared));
        pass_on("track", &self.tracks, track.of_section(section).which_may_be(codecs));
    }
}

impl Handler {
    /// The media section by which a track comes, and what it may be coded as.
    async fn receiving(&self, track: &Arc<dyn TrackRemote>) -> Option<(Option<String>, Vec<(u8, Codec)>)> {
        let pc = self.connection.get()?.upgrade()?;
        for transceiver in pc.get_transceivers().await {
            let receiver = transceiver.receiver().await.ok().flatten();
            if let Some(receiver) = receiver.filter(|receiver| Arc::ptr_eq(receiver.track(), track)) {
                let agreed = receiver.get_parameters().await.map(|agreed| agreed_codecs(&agreed.rtp_parameters.codecs));
                return Some((transceiver.mid().await.ok().flatten(), agreed.unwrap_or_default()));
            }
        }
        None
    }
}
