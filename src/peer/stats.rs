//! What is known of a connection when it ends, in the words of webrtc-stats.

use super::session::Session;
use rtc::peer_connection::transport::{RTCDtlsTransportState, RTCIceCandidate, RTCIceCandidatePair};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use webrtc::peer_connection::StatsSelector;
use webrtc::peer_connection::transport::DtlsTransport;

/// One end of the selected pair; `RTCIceCandidateStats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateReport {
    /// `host`, `srflx`, `prflx` or `relay`.
    pub candidate_type: String,
    /// IP address; absent where the peer hid it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Port.
    pub port: u16,
    /// `udp` or `tcp`.
    pub protocol: String,
}

/// The pair that ICE selected; `RTCIceCandidatePairStats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SelectedPair {
    /// Our end.
    pub local: CandidateReport,
    /// The peer's end.
    pub remote: CandidateReport,
    /// Seconds there and back, by STUN consent checks; absent in the first second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_round_trip_time: Option<f64>,
}

/// How good a connection is for a conversation, by its delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Up to 100 ms and no loss to speak of.
    Excellent,
    /// Up to 200 ms.
    Good,
    /// Up to 500 ms.
    Acceptable,
    /// Slower, or too much is lost.
    Poor,
}

impl Quality {
    /// Judges a round-trip time in seconds and a part of packets lost, 0 ..= 1.
    pub fn judge(round_trip_time: f64, fraction_lost: f64) -> Self {
        match (round_trip_time, fraction_lost) {
            (..=0.1, ..=0.02) => Self::Excellent,
            (..=0.2, ..=0.05) => Self::Good,
            (..=0.5, ..=0.1) => Self::Acceptable,
            _ => Self::Poor,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Excellent => "excellent",
            Self::Good => "good",
            Self::Acceptable => "acceptable",
            Self::Poor => "poor",
        }
    }
}

/// The transport of a connection; `RTCTransportStats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionReport {
    /// The path in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected_pair: Option<SelectedPair>,
    /// Bytes sent, all protocols.
    pub bytes_sent: u64,
    /// Bytes received, all protocols.
    pub bytes_received: u64,
    /// e.g. `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`.
    pub dtls_cipher: String,
    /// e.g. `SRTP_AEAD_AES_128_GCM`.
    pub srtp_cipher: String,
    /// ICE restarts that both sides agreed on.
    #[serde(skip_serializing_if = "is_none")]
    pub ice_restarts: u32,
    /// Transport-wide congestion-control reports received.
    pub transport_feedback_received: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde has it so")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

impl ConnectionReport {
    /// Whether the path in use leads through a TURN server.
    pub fn is_relayed(&self) -> bool {
        let relay = |end: &CandidateReport| end.candidate_type == "relay";
        self.selected_pair.as_ref().is_some_and(|pair| relay(&pair.local) || relay(&pair.remote))
    }
}

impl Session {
    /// Whether DTLS was closed before it was up: since the peer gave up, or we refused its certificate.
    pub(super) async fn never_shook_hands(&self) -> bool {
        let stats = self.pc.get_stats(Instant::now(), StatsSelector::None).await;
        stats.transport().is_some_and(|transport| {
            transport.dtls_cipher.is_empty() && transport.dtls_state != RTCDtlsTransportState::Connected
        })
    }

    /// What is known of the connection now.
    pub async fn report(&self) -> ConnectionReport {
        let stats = self.pc.get_stats(Instant::now(), StatsSelector::None).await;
        let mut report =
            ConnectionReport { transport_feedback_received: self.transport_feedback(), ..ConnectionReport::default() };
        report.ice_restarts = self.ice_restarts.load(Ordering::Relaxed);
        if let Some(transport) = stats.transport() {
            report.bytes_sent = transport.bytes_sent;
            report.bytes_received = transport.bytes_received;
            report.dtls_cipher.clone_from(&transport.dtls_cipher);
            report.srtp_cipher.clone_from(&transport.srtp_cipher);
        }
        // What the library measured counts once its clock was true for the time between two checks.
        let measured = self.runtime.clock().true_for() > Duration::from_millis(1200);
        let rtt = stats.candidate_pairs().find(|pair| pair.nominated).map(|pair| pair.current_round_trip_time);
        let by_library = rtt.filter(|seconds| measured && *seconds > 0.0);
        report.selected_pair = self.selected_pair().await.map(|pair| SelectedPair {
            local: CandidateReport::from(pair.local()),
            remote: CandidateReport::from(pair.remote()),
            current_round_trip_time: self.round_trip().map(|round_trip| round_trip.as_secs_f64()).or(by_library),
        });
        report
    }

    async fn selected_pair(&self) -> Option<RTCIceCandidatePair> {
        self.transport().await?.ice_transport().get_selected_candidate_pair().await.ok()?
    }

    /// The transport that all bundled sections share; any sender, receiver or the association leads to it.
    async fn transport(&self) -> Option<Arc<dyn DtlsTransport>> {
        let mut transport = self.pc.sctp().await.map(|sctp| sctp.transport());
        for sender in self.pc.get_senders().await {
            transport = transport.or(sender.transport().await.ok().flatten());
        }
        for receiver in self.pc.get_receivers().await {
            transport = transport.or(receiver.transport().await.ok().flatten());
        }
        transport
    }
}

impl From<&RTCIceCandidate> for CandidateReport {
    fn from(candidate: &RTCIceCandidate) -> Self {
        Self {
            candidate_type: candidate.typ.to_string(),
            address: Some(candidate.address.clone()).filter(|address| !address.is_empty()),
            port: candidate.port,
            protocol: candidate.protocol.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_follows_delay_and_loss() {
        assert_eq!(Quality::judge(0.02, 0.0), Quality::Excellent);
        assert_eq!(Quality::judge(0.15, 0.0), Quality::Good);
        assert_eq!(Quality::judge(0.02, 0.08), Quality::Acceptable);
        assert_eq!(Quality::judge(1.0, 0.0), Quality::Poor);
        assert_eq!(Quality::judge(f64::NAN, 0.0), Quality::Poor);
    }
}
