//! The connection to the other side: the only code that names the `webrtc` and `rtc` crates.
//!
//! In: encoded frames from [`pipeline::queue`](crate::pipeline::queue), messages for data channels, descriptions and
//! candidates from a [`Signaling`](crate::signaling::Signaling). Out: the same, received. It does not capture, encode,
//! decode or write files, and it never prints.
//!
//! ```text
//! queue -EncodedFrame-> LocalTrack -RTP-> Session -> sockets (SessionRuntime) -> network
//! network -> sockets -> Session -RTP-> RemoteTrack [jitter buffer, depacketise] -EncodedFrame-> queue
//! signaling <-> Upkeep -> Session                 (once it is up: late candidates, ICE restarts)
//! RTCP in: RtcpTap -> EncoderControl (PLI, FIR), round-trip time, loss, sender clocks
//!          Congestion -> EncoderControl (bitrate), pace of LocalTrack; repair: NACK both ways
//! ```
//!
//! Follows W3C webrtc-pc, RFC 8829 (JSEP), RFC 8445 (ICE), RFC 8834 (RTP), RFC 8831 (data channels).

mod advertised;
mod bandwidth;
mod building;
mod clock;
mod codecs;
mod config;
mod congestion;
mod data_channel;
mod direction;
mod error;
mod explain;
mod flight;
mod form;
mod identity;
mod jitter;
mod local_names;
mod local_track;
mod negotiate;
mod net_sim;
mod network;
mod payload;
mod reading;
mod relay_stream;
mod remote_track;
mod renegotiation;
mod repair;
mod rtcp;
mod runtime;
mod server_watch;
mod session;
mod statistics;
mod stats;
mod streams;
#[cfg(test)]
mod tests;
mod timing;
mod traffic;
mod undeclared;
mod upkeep;

#[cfg(test)]
pub(crate) use config::BadNetwork;
pub use config::{
    Config, Family, IceServer, IceServerError, IceTransportPolicy, MediaPlan, MulticastDns, Secret, check_server,
};
pub use data_channel::{DataChannel, DataChannelInit, DataMessage};
pub use error::PeerError;
pub use identity::{Identity, IdentityError};
pub use local_track::{LocalTrack, SentReport};
pub use negotiate::{NegotiateOptions, Role};
pub use net_sim::NetSim;
pub use network::{Interfaces, PortRange};
pub use remote_track::{KeyFrameRequester, ReceivedReport, RemoteTrack};
pub(crate) use runtime::sctp_receive_window;
pub use server_watch::{ServerTrouble, Trouble};
pub(crate) use session::AFTERMATH;
pub use session::{ConnectionState, Session, Taking, Traffic};
pub use statistics::{Candidate as CandidateStats, StatsKind, StatsObject};
pub use stats::{CandidateReport, ConnectionReport, Quality, SelectedPair};
pub use timing::{Mark, Timing, Waterfall};
pub use upkeep::{Due, Happened, Side, Upkeep, UpkeepTimes};
