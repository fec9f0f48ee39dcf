//! What a session is made from.

use super::error::PeerError;
pub use crate::ice_server::{IceServer, IceServerError, Secret};
use crate::ice_server::{ServerTransport, ServerUrl};
use crate::media::{Codec, VideoCodecs};
use std::net::{IpAddr, SocketAddr};

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

/// On which local addresses a session listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Interfaces {
    /// Every interface that is up; the loopback interface only where there is no other.
    #[default]
    All,
    /// The loopback interface alone, for two peers on one machine.
    Loopback,
    /// The interface of this name, or the one that has this address.
    Named(String),
}

impl Interfaces {
    /// The addresses to bind, each with port 0.
    ///
    /// # Errors
    /// When there is none.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, PeerError> {
        let fail = |detail: String| PeerError::NoInterface { detail };
        let found = rtc::shared::ifaces::ifaces().map_err(|error| fail(error.to_string()))?;
        let all: Vec<(String, IpAddr)> =
            found.into_iter().filter_map(|interface| Some((interface.name, interface.addr?.ip()))).collect();
        let usable = |ip: &IpAddr| !ip.is_unspecified() && !is_link_local(ip);
        let chosen: Vec<IpAddr> = match self {
            Self::All => {
                let mut up: Vec<IpAddr> =
                    all.iter().map(|(_, ip)| *ip).filter(|ip| usable(ip) && !ip.is_loopback()).collect();
                if up.is_empty() {
                    up = all.iter().map(|(_, ip)| *ip).filter(IpAddr::is_loopback).collect();
                }
                up
            }
            Self::Loopback => vec![IpAddr::from([127, 0, 0, 1])],
            Self::Named(name) => {
                let address = name.parse::<IpAddr>().ok();
                all.iter()
                    .filter(|(interface, ip)| (interface == name || Some(*ip) == address) && usable(ip))
                    .map(|(_, ip)| *ip)
                    .collect()
            }
        };
        let mut addresses: Vec<SocketAddr> = chosen.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(fail(match self {
                Self::Named(name) => format!("no interface or address '{name}' is up"),
                _ => "none is up".to_owned(),
            }));
        }
        Ok(addresses)
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
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
    /// What video may be sent and received as.
    pub video_codecs: VideoCodecs,
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

    #[test]
    fn loopback_is_an_address_and_an_unknown_interface_is_not() {
        assert_eq!(Interfaces::Loopback.addresses().unwrap(), [SocketAddr::from(([127, 0, 0, 1], 0))]);
        assert_eq!(Interfaces::Named("127.0.0.1".into()).addresses().unwrap().len(), 1);
        assert!(matches!(Interfaces::Named("nope0".into()).addresses(), Err(PeerError::NoInterface { .. })));
    }
}
