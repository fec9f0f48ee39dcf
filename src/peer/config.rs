//! What a session is made from.

use super::identity::Identity;
use super::net_sim::NetSim;
use super::network::{Interfaces, PortRange};
pub use crate::ice_server::{Family, IceServer, IceServerError, Secret};
use crate::ice_server::{ServerTransport, ServerUrl};
use crate::media::{AudioCodecs, Codec, VideoCodecs};
use std::net::IpAddr;

/// Whether a session can use a server: media over UDP has no use for all that can be probed.
///
/// # Errors
/// When it cannot, with the reason.
pub fn check_server(server: &IceServer) -> Result<(), IceServerError> {
    for url in &server.urls {
        let parsed = ServerUrl::parse(url)?;
        let why = match (parsed.turn, parsed.transport) {
            (false, ServerTransport::Udp)
            | (true, ServerTransport::Udp | ServerTransport::Tcp | ServerTransport::Tls) => {
                continue;
            }
            (false, _) => {
                "the address that a stream shows is of no use for media over UDP, and browsers skip it too; use stun:"
            }
            (true, ServerTransport::Dtls) => "TURN over DTLS is not supported",
        };
        return Err(IceServerError::new(url, why));
    }
    Ok(())
}

/// W3C `RTCIceTransportPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IceTransportPolicy {
    /// Any candidate.
    #[default]
    All,
    /// Only through a TURN server.
    Relay,
}

/// What names of multicast DNS (RFC 6762) are used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MulticastDns {
    /// Nothing: a candidate of the peer that is a name is of no use.
    Off,
    /// Those of the peer are resolved.
    #[default]
    Resolve,
    /// That, and our own addresses are hidden behind such names (draft-ietf-mmusic-mdns-ice-candidates).
    Hide,
}

/// Which media a session sends and which it is ready to receive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaPlan {
    /// What the video that we send may be coded as, the preferred first; empty when we send none.
    pub send_video: Vec<Codec>,
    /// What the audio that we send may be coded as, likewise.
    pub send_audio: Vec<Codec>,
    /// Whether the peer may send video.
    pub receive_video: bool,
    /// Whether the peer may send audio.
    pub receive_audio: bool,
}

/// What a session is made from.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// Whether direct paths may be used.
    pub ice_transport_policy: IceTransportPolicy,
    /// Where to listen.
    pub interfaces: Interfaces,
    /// Which addresses are used, of ours and of servers.
    pub family: Family,
    /// The ports to listen on; `None` for any.
    pub ports: Option<PortRange>,
    /// Addresses at which a NAT with fixed mappings passes on to us what comes to the same port.
    pub public_addresses: Vec<IpAddr>,
    /// Names in place of addresses.
    pub multicast_dns: MulticastDns,
    /// Whether candidates for TCP (RFC 6544) are offered as well.
    pub ice_tcp: bool,
    /// The certificate of DTLS; `None` for a new one that signs itself.
    pub identity: Option<Identity>,
    /// What audio may be sent and received as.
    pub audio_codecs: AudioCodecs,
    /// The largest packet of SCTP, in bytes, that the path is known to take; `None` for what every path takes.
    pub sctp_mtu: Option<u32>,
    /// Whether packets that were lost stay lost: they are not asked for.
    pub without_repair: bool,
    /// What video may be sent and received as.
    pub video_codecs: VideoCodecs,
    /// A bad network on purpose.
    pub net_sim: Option<NetSim>,
    /// A bad network, for tests.
    #[cfg(test)]
    pub(crate) bad_network: Option<BadNetwork>,
}

/// What happens to datagrams on their way out.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(crate) struct BadNetwork {
    /// Of so many one is lost, by chance; 0: none.
    pub one_in: u32,
    /// Which.
    pub seed: u32,
    /// Larger ones all are; 0: none.
    pub most: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    /// All are, while it is set.
    pub cut: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// The same for further connections of a transfer.
    pub cut_further: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// How many connections carried more than a few full datagrams one way.
    pub carriers: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    /// The largest datagram.
    pub largest: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_calls_cannot_use_is_refused_with_its_reason() {
        let check = |url: &str| check_server(&IceServer::parse(url).unwrap());
        for url in ["stun:a", "turn:a", "turn:a?transport=tcp", "turns:a", "turns:[::1]:443?transport=tcp"] {
            assert!(check(url).is_ok(), "{url}");
        }
        for (url, why) in [("turns:a?transport=udp", "DTLS"), ("stuns:a", "stun:"), ("stun:a?transport=tcp", "stun:")] {
            assert!(check(url).unwrap_err().to_string().contains(why), "{url}");
        }
    }
}
