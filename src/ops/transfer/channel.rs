//! Data channels as the transfer sees them: the one that it begins with, and those of further connections.

use crate::error::{Error, ErrorKind};
#[cfg(test)]
use crate::peer::BadNetwork;
use crate::peer::{
    AFTERMATH, Config, ConnectionReport, DataChannel, DataChannelInit, DataMessage, NegotiateOptions, PeerError, Role,
    Session, Timing, Traffic, sctp_receive_window,
};
use crate::signaling::{Message, Signaling, SignalingError};
use crate::stop::Stop;
use crate::transfer::{CHANNEL, Connection, Connector, Frame, Line, MessageChannel, Side, Silence, TransferError};
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Silence after which a peer counts as gone: consent checks come every second.
pub(super) const LOST_AFTER: Duration = Duration::from_millis(if cfg!(test) { 3000 } else { 8500 });
/// How often to look how long the path is, and whether it is there.
pub(in crate::ops) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A packet of SCTP that fits into a record of DTLS, and five of which hold a message of content.
const LARGE_PACKET: u32 = 13_200;

/// The channel for files, as whoever opens it asks for it.
pub(super) fn init() -> DataChannelInit {
    DataChannelInit { protocol: CHANNEL.to_owned(), ..DataChannelInit::reliable(CHANNEL) }
}

/// A data channel.
pub(super) struct Channel {
    channel: DataChannel,
    traffic: Traffic,
    /// The connection, where it is nobody else's.
    session: Option<Session>,
}

impl Channel {
    /// The channel of a connection that somebody else serves.
    pub(super) fn first(channel: DataChannel, traffic: Traffic) -> Self {
        Self { channel, traffic, session: None }
    }
}

#[async_trait::async_trait]
impl MessageChannel for Channel {
    async fn send(&self, frame: Frame) -> Result<(), Error> {
        let message = match frame {
            Frame::Text(text) => DataMessage::Text(text),
            Frame::Binary(bytes) => DataMessage::Binary(bytes),
        };
        self.channel.send_owned(message).await.map_err(PeerError::erase)
    }

    async fn receive(&self) -> Option<Frame> {
        Some(match self.channel.receive().await? {
            DataMessage::Text(text) => Frame::Text(text),
            DataMessage::Binary(bytes) => Frame::Binary(bytes),
        })
    }

    fn max_message_size(&self) -> usize {
        self.channel.max_message_size()
    }

    async fn flushed(&self) {
        self.channel.flushed().await;
    }
}

#[async_trait::async_trait]
impl Connection for Channel {
    async fn outstanding(&self) -> Option<usize> {
        self.channel.outstanding().await
    }

    fn bytes_sent(&self) -> u64 {
        self.traffic.bytes_sent()
    }

    fn round_trip(&self) -> Option<Duration> {
        self.traffic.round_trip()
    }

    fn silence(&self) -> Option<Silence> {
        Some(Silence { all: self.traffic.silence()?, data: self.traffic.data_silence()? })
    }

    async fn lost(&self) -> TransferError {
        let Some(session) = &self.session else {
            loop {
                let silence = self.traffic.silence().unwrap_or_default();
                if silence >= LOST_AFTER {
                    return TransferError::Channel(PeerError::Lost { silence }.erase());
                }
                tokio::time::sleep(LOST_AFTER - silence).await;
            }
        };
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = look.tick() => session.suit_timers(),
                gone = session.gone(LOST_AFTER) => {
                    tokio::time::sleep(AFTERMATH).await;
                    return TransferError::Channel(gone.erase());
                }
            }
        }
    }

    async fn close(&self) {
        if let Some(session) = &self.session {
            session.close_now().await;
        }
    }
}

/// Makes further connections, as the first one was made.
pub(super) struct Further {
    pub connection: Config,
    pub negotiate: NegotiateOptions,
    pub stop: Stop,
    /// Whether the first does not leave this machine.
    pub within_machine: bool,
}

/// Whether what is sent to the peer does not leave this machine.
pub(super) fn stays_here(connection: &ConnectionReport) -> bool {
    let Some(pair) = &connection.selected_pair else { return false };
    // Elsewhere the library takes no packets of more than 2000 bytes.
    cfg!(target_os = "linux")
        && !connection.is_relayed()
        && pair
            .remote
            .address
            .as_ref()
            .and_then(|address| address.parse::<IpAddr>().ok())
            .is_some_and(|address| UdpSocket::bind((address, 0)).is_ok())
}

#[async_trait::async_trait]
impl Connector for Further {
    async fn connect(&self, side: Side, line: Line) -> Result<Box<dyn Connection>, Error> {
        let timing = Arc::new(Timing::new(Instant::now()));
        let sctp_mtu = self.within_machine.then_some(LARGE_PACKET);
        let connection = Config { sctp_mtu, ..self.connection.clone() };
        #[cfg(test)]
        let connection = Config {
            bad_network: connection.bad_network.map(|bad| BadNetwork { cut: bad.cut_further.clone(), ..bad }),
            ..connection
        };
        let mut session = Session::new(&connection, timing).await.map_err(PeerError::erase)?;
        let (role, ours) = match side {
            Side::Offers => (Role::Call, Some(session.create_data_channel(&init()).await.map_err(PeerError::erase)?)),
            Side::Answers => (Role::Answer, None),
        };
        let negotiate = NegotiateOptions { by_hand: false, ..self.negotiate.clone() };
        session.connect(role, &mut Wire(line), &negotiate, &self.stop).await.map_err(PeerError::erase)?;
        let channel = match ours {
            Some(channel) => Some(channel),
            None => session.next_data_channel().await,
        };
        let no_channel = || Error::new(ErrorKind::SessionLost, "NetworkError", "it has no channel");
        let channel = channel.ok_or_else(no_channel)?;
        if !channel.opened().await.map_err(PeerError::erase)? {
            return Err(no_channel());
        }
        Ok(Box::new(Channel { channel, traffic: session.traffic(), session: Some(session) }))
    }

    fn receive_window(&self) -> usize {
        sctp_receive_window() as usize
    }

    fn within_machine(&self) -> usize {
        // Where the window is small each end would wait for the other: two windows, and while one is emptied the other is filled.
        const SMALL: u32 = 1 << 20;
        match self.within_machine {
            false => 0,
            true if sctp_receive_window() < SMALL => 2,
            true => 1,
        }
    }
}

/// Signaling by the channel of the first connection.
struct Wire(Line);

#[async_trait::async_trait]
impl Signaling for Wire {
    async fn send(&mut self, message: &Message) -> Result<(), Error> {
        let closed = |_| Error::from(SignalingError::Closed);
        let value = serde_json::from_str(&message.to_json()).unwrap_or_default();
        self.0.outgoing.send(value).await.map_err(closed)
    }

    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        match self.0.incoming.recv().await {
            Some(value) => Ok(Some(Message::from_json(&value.to_string())?)),
            None => Ok(None),
        }
    }

    fn trickles(&self) -> bool {
        true
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
