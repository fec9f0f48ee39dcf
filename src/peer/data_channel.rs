//! Data channels (RFC 8831, RFC 8832, W3C `RTCDataChannel`).

use super::error::PeerError;
use super::renegotiation::{is_refused, parts};
use super::timing::{Mark, Timing};
use bytes::{Bytes, BytesMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use webrtc::data_channel::{DataChannel as Inner, DataChannelEvent, RTCDataChannelInit, RTCDataChannelMessage};
use webrtc::peer_connection::{PeerConnection, StatsSelector};

/// How long a channel may take to open.
const OPENS: Duration = Duration::from_secs(30);

/// W3C `RTCDataChannelInit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataChannelInit {
    /// Its name.
    pub label: String,
    /// Whether messages come in the order they were sent.
    pub ordered: bool,
    /// Milliseconds after which a message is given up; excludes `max_retransmits`.
    pub max_packet_life_time: Option<u16>,
    /// Retransmissions after which a message is given up; excludes `max_packet_life_time`.
    pub max_retransmits: Option<u16>,
    /// The sub-protocol that the application speaks.
    pub protocol: String,
    /// The stream of a channel that both sides open without telling each other (`negotiated` and `id`); `None` for one
    /// that we announce.
    pub negotiated: Option<u16>,
}

impl DataChannelInit {
    /// An ordered, reliable channel.
    pub fn reliable(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            ordered: true,
            max_packet_life_time: None,
            max_retransmits: None,
            protocol: String::new(),
            negotiated: None,
        }
    }

    pub(super) fn to_library(&self) -> RTCDataChannelInit {
        RTCDataChannelInit {
            ordered: self.ordered,
            max_packet_life_time: self.max_packet_life_time,
            max_retransmits: self.max_retransmits,
            protocol: self.protocol.clone(),
            negotiated: self.negotiated,
        }
    }
}

/// One message. Either may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataMessage {
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl DataMessage {
    /// Its size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<RTCDataChannelMessage> for DataMessage {
    fn from(message: RTCDataChannelMessage) -> Self {
        match message.is_string {
            true => Self::Text(String::from_utf8_lossy(&message.data).into_owned()),
            false => Self::Binary(message.data.freeze()),
        }
    }
}

/// A data channel, ours or the peer's. Clones share it; one of them should receive.
#[derive(Clone)]
pub struct DataChannel {
    inner: Arc<dyn Inner>,
    label: Arc<str>,
    timing: Arc<Timing>,
    max_message_size: Arc<AtomicUsize>,
    /// A message that came before we were told that the channel is open: one that both sides open themselves may be used
    /// by the peer a moment earlier.
    early: Arc<Mutex<Option<DataMessage>>>,
    negotiated: bool,
    connection: Connection,
}

/// The connection of a channel, once it is built.
pub(super) type Connection = Arc<OnceLock<Weak<dyn PeerConnection>>>;

/// How long we say nothing on a channel that both sides open themselves. A peer made of webrtc 0.21 forgets what comes
/// together with the end of the handshake, since it opens its end a moment after that.
const SETTLING: Duration = Duration::from_millis(200);

impl DataChannel {
    pub(super) fn new(
        inner: Arc<dyn Inner>,
        label: &str,
        timing: Arc<Timing>,
        max_message_size: Arc<AtomicUsize>,
        connection: Connection,
    ) -> Self {
        let (label, early) = (label.into(), Arc::default());
        Self { inner, label, timing, max_message_size, early, negotiated: false, connection }
    }

    /// One that both sides open without telling each other.
    pub(super) fn negotiated(self) -> Self {
        Self { negotiated: true, ..self }
    }

    /// Its label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether messages come in the order they were sent; `false` also when the channel is gone.
    pub async fn ordered(&self) -> bool {
        self.inner.ordered().await.unwrap_or(false)
    }

    /// The sub-protocol that whoever opened it asked for; empty when there is none or the channel is gone.
    pub async fn protocol(&self) -> String {
        self.inner.protocol().await.unwrap_or_default()
    }

    /// The stream of SCTP that it is; `None` before it is open. The library only tells its statistics, which have it by its own
    /// number of the channel.
    pub async fn id(&self) -> Option<u16> {
        let connection = self.connection.get()?.upgrade()?;
        let report = connection.get_stats(Instant::now(), StatsSelector::None).await;
        let name = format!("RTCDataChannel_{}", self.inner.id());
        report.data_channels().find(|stats| stats.stats.id == name).map(|stats| stats.data_channel_identifier)
    }

    /// After how many milliseconds a message is given up, if at all; of a channel that the peer opened the library does not tell.
    pub async fn max_packet_life_time(&self) -> Option<u16> {
        self.inner.max_packet_life_time().await.unwrap_or_default()
    }

    /// After how many retransmissions a message is given up, if at all; likewise.
    pub async fn max_retransmits(&self) -> Option<u16> {
        self.inner.max_retransmits().await.unwrap_or_default()
    }

    /// The largest message, in bytes, that both sides take (RFC 8841). Known once the channel is open.
    pub fn max_message_size(&self) -> usize {
        self.max_message_size.load(Ordering::Relaxed)
    }

    /// Sends one message; waits while the send buffer is full. The channel must be [`opened`](Self::opened).
    ///
    /// # Errors
    /// When the channel is closed or the message is larger than [`max_message_size`](Self::max_message_size).
    pub async fn send(&self, message: &DataMessage) -> Result<(), PeerError> {
        self.send_owned(message.clone()).await
    }

    /// As [`send`](Self::send), without copying bytes that nobody else holds.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_owned(&self, message: DataMessage) -> Result<(), PeerError> {
        let fail = |why: String| PeerError::DataChannel { label: self.label.to_string(), why };
        let most = self.max_message_size();
        if message.len() > most {
            return Err(fail(format!(
                "a message of {} bytes is larger than the {most} that both sides take",
                message.len()
            )));
        }
        match message {
            DataMessage::Text(text) => self.inner.send_text(&text).await,
            DataMessage::Binary(bytes) => {
                self.inner.send(bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))).await
            }
        }
        .map_err(|error| fail(error.to_string()))
    }

    /// The next message; `None` once the channel is closed. Cancel-safe.
    pub async fn receive(&self) -> Option<DataMessage> {
        if let Some(message) = self.early().take() {
            return Some(message);
        }
        loop {
            match self.inner.poll().await? {
                DataChannelEvent::OnMessage(message) => return Some(DataMessage::from(message)),
                DataChannelEvent::OnOpen => self.timing.mark(Mark::DataChannelOpen),
                DataChannelEvent::OnClose => return None,
                _ => {}
            }
        }
    }

    /// Waits until the channel of a connection that is up is open, which takes an exchange or two; false when it closed instead.
    /// Messages that come meanwhile wait.
    ///
    /// # Errors
    /// [`PeerError::NoDataChannels`] at once where the peer takes none, else [`PeerError::Unopened`] after half a minute.
    pub async fn opened(&self) -> Result<bool, PeerError> {
        let label = || self.label().to_owned();
        if self.is_refused().await {
            return Err(PeerError::NoDataChannels { label: label() });
        }
        let unopened = |_| PeerError::Unopened { label: label(), after: OPENS };
        tokio::time::timeout(OPENS, self.opens()).await.map_err(unopened)
    }

    /// Whether the peer's description has no section for data channels.
    async fn is_refused(&self) -> bool {
        let Some(connection) = self.connection.get().and_then(Weak::upgrade) else { return false };
        let remote = connection.remote_description().await;
        let takes = |section: &str| section.starts_with("m=application") && !is_refused(section);
        remote.is_some_and(|remote| !parts(&remote.sdp).any(takes))
    }

    /// The same for however long it takes: a peer may add data channels later.
    pub async fn opens(&self) -> bool {
        while let Some(event) = self.inner.poll().await {
            match event {
                DataChannelEvent::OnOpen => {}
                DataChannelEvent::OnMessage(message) => *self.early() = Some(DataMessage::from(message)),
                DataChannelEvent::OnClose => return false,
                _ => continue,
            }
            self.timing.mark(Mark::DataChannelOpen);
            if self.negotiated {
                tokio::time::sleep(SETTLING).await;
            }
            return true;
        }
        false
    }

    fn early(&self) -> MutexGuard<'_, Option<DataMessage>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the peer has acknowledged everything sent; at most until the channel closes.
    pub async fn flushed(&self) {
        while matches!(self.inner.outstanding_bytes().await, Ok(1..)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Bytes sent that the peer has not acknowledged yet, those that still wait included; `None` once it is closed.
    pub async fn outstanding(&self) -> Option<usize> {
        self.inner.outstanding_bytes().await.ok()
    }

    /// Closes it; what was sent before still arrives.
    pub async fn close(&self) {
        if let Err(error) = self.inner.close().await {
            tracing::debug!("closing data channel {}: {error}", self.label);
        }
    }
}
