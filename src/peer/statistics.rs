//! W3C webrtc-stats: what `getStats` gives a page, by the same names. What the library leaves at zero is measured here (round
//! trips, loss and jitter from RTCP) or left out: a member that is there is true.

use super::local_track::SentReport;
use super::remote_track::ReceivedReport;
use super::session::Session;
use crate::media::Codec;
use rtc::statistics::report::RTCStatsReportEntry;
use rtc::statistics::stats::ice_candidate::RTCIceCandidateStats;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use webrtc::peer_connection::StatsSelector;

/// One object of an `RTCStatsReport`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsObject {
    /// Unique in its report, and the same in the next.
    pub id: String,
    /// When it was so, in milliseconds since 1970.
    pub timestamp: f64,
    /// What it is about.
    #[serde(flatten)]
    pub kind: StatsKind,
}

/// What an object is about, `RTCStatsType`, with its members.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum StatsKind {
    /// `RTCTransportStats`.
    Transport {
        /// Packets, all protocols together.
        packets_sent: u64,
        /// Likewise.
        packets_received: u64,
        /// Their bytes.
        bytes_sent: u64,
        /// Likewise.
        bytes_received: u64,
        /// `controlling` or `controlled`.
        ice_role: String,
        /// `RTCDtlsTransportState`.
        dtls_state: String,
        /// As IANA names it.
        dtls_cipher: String,
        /// As IANA names it.
        srtp_cipher: String,
        /// The pair in use.
        #[serde(skip_serializing_if = "Option::is_none")]
        selected_candidate_pair_id: Option<String>,
    },
    /// `RTCIceCandidatePairStats`.
    CandidatePair {
        /// Our end.
        local_candidate_id: String,
        /// The peer's.
        remote_candidate_id: String,
        /// `frozen`, `waiting`, `in-progress`, `failed` or `succeeded`.
        state: String,
        /// Whether it was nominated for use.
        nominated: bool,
        /// Packets over it.
        packets_sent: u64,
        /// Likewise.
        packets_received: u64,
        /// Their bytes.
        bytes_sent: u64,
        /// Likewise.
        bytes_received: u64,
        /// Seconds there and back, by the last check; of the pair in use alone.
        #[serde(skip_serializing_if = "Option::is_none")]
        current_round_trip_time: Option<f64>,
        /// Bits per second that it carries, of the pair in use alone, where the peer helps to know it.
        #[serde(skip_serializing_if = "Option::is_none")]
        available_outgoing_bitrate: Option<f64>,
    },
    /// `RTCIceCandidateStats` of ours.
    LocalCandidate(Candidate),
    /// `RTCIceCandidateStats` of the peer's.
    RemoteCandidate(Candidate),
    /// `RTCCodecStats`.
    Codec {
        /// Of RTP.
        payload_type: u8,
        /// The RTP media type.
        mime_type: String,
        /// Hz.
        clock_rate: u32,
        /// Of audio.
        #[serde(skip_serializing_if = "Option::is_none")]
        channels: Option<u16>,
        /// The format parameters, as SDP has them.
        #[serde(skip_serializing_if = "String::is_empty")]
        sdp_fmtp_line: String,
    },
    /// `RTCDataChannelStats`.
    DataChannel {
        /// Its label.
        label: String,
        /// Its subprotocol.
        #[serde(skip_serializing_if = "String::is_empty")]
        protocol: String,
        /// The stream of SCTP.
        data_channel_identifier: u16,
        /// `RTCDataChannelState`.
        state: String,
        /// Messages out.
        messages_sent: u32,
        /// Bytes in them.
        bytes_sent: u64,
        /// Messages in.
        messages_received: u32,
        /// Bytes in them.
        bytes_received: u64,
    },
    /// `RTCOutboundRtpStreamStats`.
    OutboundRtp {
        /// The stream.
        ssrc: u32,
        /// `audio` or `video`.
        kind: String,
        /// How it is coded.
        codec_id: String,
        /// Packets, retransmissions not counted.
        packets_sent: u64,
        /// Their payload.
        bytes_sent: u64,
        /// Frames.
        frames_sent: u64,
        /// Bits per second that its encoder may make, where the peer helps to know it; video only.
        #[serde(skip_serializing_if = "Option::is_none")]
        target_bitrate: Option<u32>,
        /// Retransmission requests of the peer.
        nack_count: u32,
        /// Key frames that the peer asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pli_count: Option<u64>,
        /// What the peer says of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        remote_id: Option<String>,
    },
    /// `RTCRemoteInboundRtpStreamStats`: how the peer receives a stream of ours.
    RemoteInboundRtp {
        /// The stream.
        ssrc: u32,
        /// `audio` or `video`.
        kind: String,
        /// Our side of it.
        local_id: String,
        /// Packets that the peer misses.
        packets_lost: i64,
        /// Of the packets since the report before, 0 ..= 1.
        fraction_lost: f64,
        /// Interarrival jitter, in seconds.
        jitter: f64,
        /// Seconds there and back, by the last report.
        #[serde(skip_serializing_if = "Option::is_none")]
        round_trip_time: Option<f64>,
        /// All of them together.
        total_round_trip_time: f64,
        /// How many there were.
        round_trip_time_measurements: u64,
    },
    /// `RTCInboundRtpStreamStats`.
    InboundRtp {
        /// The stream.
        ssrc: u32,
        /// `audio` or `video`.
        kind: String,
        /// How it is coded.
        codec_id: String,
        /// Packets.
        packets_received: u64,
        /// Their payload.
        bytes_received: u64,
        /// Packets that never came.
        packets_lost: u64,
        /// Interarrival jitter, in seconds.
        jitter: f64,
        /// Whole frames.
        frames_received: u64,
        /// Retransmission requests of ours.
        nack_count: u32,
        /// Key frames that we asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pli_count: Option<u64>,
    },
    /// `RTCCertificateStats`.
    Certificate {
        /// In hexadecimal, with colons.
        fingerprint: String,
        /// `sha-256`.
        fingerprint_algorithm: String,
    },
}

/// `RTCIceCandidateStats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// IP address; absent where it is hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Port.
    pub port: u16,
    /// `udp` or `tcp`.
    pub protocol: String,
    /// `host`, `srflx`, `prflx` or `relay`.
    pub candidate_type: String,
    /// RFC 8445 section 5.1.1.3.
    pub foundation: String,
}

/// The tracks' counts while they run.
#[derive(Debug, Default)]
pub(super) struct Live {
    sent: Mutex<BTreeMap<u32, SentReport>>,
    received: Mutex<BTreeMap<u32, ReceivedReport>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    pub(super) fn note_sent(&self, report: &SentReport) {
        lock(&self.sent).insert(report.ssrc, report.clone());
    }

    pub(super) fn note_received(&self, report: &ReceivedReport) {
        lock(&self.received).insert(report.ssrc, report.clone());
    }
}

impl Session {
    /// What is known of the connection and its streams now: W3C `getStats`.
    pub async fn stats(&self) -> Vec<StatsObject> {
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1e3);
        let report = self.pc.get_stats(Instant::now(), StatsSelector::None).await;
        let selected = report
            .transport()
            .map(|transport| transport.selected_candidate_pair_id.clone())
            .filter(|id| !id.is_empty())
            .or_else(|| report.candidate_pairs().find(|pair| pair.nominated).map(|pair| pair.stats.id.clone()));
        let mut objects = Vec::new();
        for entry in report.iter() {
            let kinds = match entry {
                RTCStatsReportEntry::OutboundRtp(_) => self.outbound(entry),
                RTCStatsReportEntry::InboundRtp(_) => self.inbound(entry).into_iter().collect(),
                _ => self
                    .of_connection(entry, selected.as_deref())
                    .map(|kind| (entry.id().to_owned(), kind))
                    .into_iter()
                    .collect(),
            };
            objects.extend(kinds.into_iter().map(|(id, kind)| StatsObject { id, timestamp, kind }));
        }
        objects
    }

    fn of_connection(&self, entry: &RTCStatsReportEntry, selected: Option<&str>) -> Option<StatsKind> {
        Some(match entry {
            RTCStatsReportEntry::Transport(it) => StatsKind::Transport {
                packets_sent: it.packets_sent,
                packets_received: it.packets_received,
                bytes_sent: it.bytes_sent,
                bytes_received: it.bytes_received,
                ice_role: it.ice_role.to_string(),
                dtls_state: it.dtls_state.to_string(),
                dtls_cipher: it.dtls_cipher.clone(),
                srtp_cipher: it.srtp_cipher.clone(),
                selected_candidate_pair_id: selected.map(str::to_owned),
            },
            RTCStatsReportEntry::IceCandidatePair(it) => StatsKind::CandidatePair {
                // The library names a candidate otherwise in a pair than by its own id.
                local_candidate_id: format!("RTCLocalIceCandidate_{}", it.local_candidate_id),
                remote_candidate_id: format!("RTCRemoteIceCandidate_{}", it.remote_candidate_id),
                state: word(&it.state),
                nominated: it.nominated,
                packets_sent: it.packets_sent,
                packets_received: it.packets_received,
                bytes_sent: it.bytes_sent,
                bytes_received: it.bytes_received,
                current_round_trip_time: self
                    .round_trip()
                    .filter(|_| selected == Some(it.stats.id.as_str()))
                    .map(|time| time.as_secs_f64()),
                available_outgoing_bitrate: self
                    .shared
                    .congestion
                    .available()
                    .filter(|_| selected == Some(it.stats.id.as_str()))
                    .map(f64::round),
            },
            RTCStatsReportEntry::LocalCandidate(it) => StatsKind::LocalCandidate(Candidate::of(it)),
            RTCStatsReportEntry::RemoteCandidate(it) => StatsKind::RemoteCandidate(Candidate::of(it)),
            RTCStatsReportEntry::Codec(it) => StatsKind::Codec {
                payload_type: it.payload_type,
                mime_type: it.mime_type.clone(),
                clock_rate: it.clock_rate,
                channels: Some(it.channels).filter(|channels| *channels > 0),
                sdp_fmtp_line: it.sdp_fmtp_line.clone(),
            },
            RTCStatsReportEntry::DataChannel(it) => StatsKind::DataChannel {
                label: it.label.clone(),
                protocol: it.protocol.clone(),
                data_channel_identifier: it.data_channel_identifier,
                state: it.state.to_string(),
                messages_sent: it.messages_sent,
                bytes_sent: it.bytes_sent,
                messages_received: it.messages_received,
                bytes_received: it.bytes_received,
            },
            RTCStatsReportEntry::Certificate(it) if !it.fingerprint.is_empty() => StatsKind::Certificate {
                fingerprint: it.fingerprint.clone(),
                fingerprint_algorithm: it.fingerprint_algorithm.clone(),
            },
            _ => return None,
        })
    }

    /// A stream that we send, and how the peer receives it.
    fn outbound(&self, entry: &RTCStatsReportEntry) -> Vec<(String, StatsKind)> {
        let RTCStatsReportEntry::OutboundRtp(it) = entry else { return Vec::new() };
        let stream = &it.sent_rtp_stream_stats.rtp_stream_stats;
        let Some(live) = lock(&self.shared.live.sent).get(&stream.ssrc).cloned() else { return Vec::new() };
        let id = entry.id().to_owned();
        let remote_id = format!("remote-{id}");
        let reception = self.shared.rtcp.reception(stream.ssrc);
        let ours = StatsKind::OutboundRtp {
            ssrc: live.ssrc,
            kind: live.kind.clone(),
            codec_id: stream.codec_id.clone(),
            packets_sent: live.packets_sent,
            bytes_sent: live.bytes_sent,
            frames_sent: live.frames_sent,
            target_bitrate: self.shared.congestion.target_of(live.ssrc),
            nack_count: self.shared.rtcp.nack_count(live.ssrc),
            pli_count: live.key_frames_sent.map(|_| self.shared.rtcp.key_frame_requests(stream.ssrc)),
            remote_id: reception.map(|_| remote_id.clone()),
        };
        let theirs = reception.map(|reception| {
            let clock_rate =
                Codec::from_mime_type(&live.mime_type).map_or(1.0, |codec| f64::from(codec.clock_rate().get()));
            let kind = StatsKind::RemoteInboundRtp {
                ssrc: live.ssrc,
                kind: live.kind,
                local_id: id.clone(),
                packets_lost: reception.packets_lost,
                fraction_lost: reception.fraction_lost,
                jitter: f64::from(reception.jitter) / clock_rate,
                round_trip_time: reception.round_trip_time.map(|time| time.as_secs_f64()),
                total_round_trip_time: reception.total_round_trip_time.as_secs_f64(),
                round_trip_time_measurements: reception.round_trip_time_measurements,
            };
            (remote_id, kind)
        });
        std::iter::once((id, ours)).chain(theirs).collect()
    }

    /// A stream that we receive.
    fn inbound(&self, entry: &RTCStatsReportEntry) -> Option<(String, StatsKind)> {
        let RTCStatsReportEntry::InboundRtp(it) = entry else { return None };
        let stream = &it.received_rtp_stream_stats.rtp_stream_stats;
        let live = lock(&self.shared.live.received).get(&stream.ssrc).cloned()?;
        let kind = StatsKind::InboundRtp {
            ssrc: live.ssrc,
            kind: live.kind,
            codec_id: stream.codec_id.clone(),
            packets_received: live.packets_received,
            bytes_received: live.bytes_received,
            packets_lost: live.packets_lost,
            jitter: live.jitter,
            frames_received: live.frames_received,
            nack_count: self.shared.rtcp.nack_count(live.ssrc),
            pli_count: live.pli_count,
        };
        Some((entry.id().to_owned(), kind))
    }
}

impl Candidate {
    fn of(it: &RTCIceCandidateStats) -> Self {
        Self {
            address: it.address.clone().filter(|address| !address.is_empty()),
            port: it.port,
            protocol: it.protocol.clone(),
            candidate_type: it.candidate_type.to_string(),
            foundation: it.foundation.clone(),
        }
    }
}

/// The word that an enumeration of the library is in JSON.
fn word(of: &impl Serialize) -> String {
    serde_json::to_value(of).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
