//! Names in place of our addresses (draft-ietf-mmusic-mdns-ice-candidates): a new one for each address of each session, told
//! by multicast DNS (RFC 6762) to whoever is in the same network and was given the name.
//!
//! IPv4 alone, as the library resolves no others: addresses of IPv6 have no name, and are not offered where names are.

use super::error::PeerError;
use bytes::BytesMut;
use rtc::mdns::{MDNS_DEST_ADDR, MDNS_MULTICAST_IPV4, MDNS_PORT, Mdns, MdnsConfig, MulticastSocket};
use rtc::sansio::Protocol;
use rtc::shared::{TransportContext, TransportMessage, TransportProtocol};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The largest datagram of multicast DNS (RFC 6762 section 17).
const LARGEST: usize = 9000;

/// The names of one session. Questions are answered for as long as it lives.
pub(super) struct LocalNames {
    book: Arc<Book>,
    task: JoinHandle<()>,
}

struct Book {
    socket: UdpSocket,
    entries: Mutex<Vec<Entry>>,
}

struct Entry {
    address: Ipv4Addr,
    name: String,
    mdns: Mdns,
}

impl LocalNames {
    /// Begins to answer questions about names that are given to `addresses`, and to others later. Must be called inside a
    /// runtime.
    ///
    /// # Errors
    /// When there is no IPv4 address, or no way for multicast.
    pub fn answer(addresses: &[SocketAddr]) -> Result<Self, PeerError> {
        if !addresses.iter().any(SocketAddr::is_ipv4) {
            return Err(PeerError::NoInterface { detail: "names of mDNS are for IPv4, and there is none".to_owned() });
        }
        let opened = MulticastSocket::new().into_std().and_then(UdpSocket::from_std);
        let socket = opened.map_err(|error| PeerError::NoInterface { detail: format!("none for mDNS: {error}") })?;
        let book = Arc::new(Book { socket, entries: Mutex::default() });
        let task = tokio::spawn(Arc::clone(&book).serve());
        Ok(Self { book, task })
    }

    /// The name of an address of ours; `None` when it can have none.
    pub fn name_of(&self, address: IpAddr) -> Option<String> {
        let IpAddr::V4(address) = address else { return None };
        let mut entries = self.book.entries();
        if let Some(known) = entries.iter().find(|entry| entry.address == address) {
            return Some(known.name.clone());
        }
        // Of several interfaces only one is joined by default; which may be this one.
        let _ = self.book.socket.join_multicast_v4(MDNS_MULTICAST_IPV4, address);
        let entry = Entry::new(address);
        let name = entry.name.clone();
        entries.push(entry);
        Some(name)
    }
}

impl Drop for LocalNames {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Entry {
    fn new(address: Ipv4Addr) -> Self {
        let name = format!("{}.local", uuid::Uuid::new_v4());
        let config = MdnsConfig::new().with_local_names(vec![name.clone()]).with_local_ip(address.into());
        Self { address, name, mdns: Mdns::new(Instant::now(), config) }
    }

    /// What answers a datagram, if it asks for this name.
    fn answers(&mut self, datagram: &[u8], from: SocketAddr) -> Vec<BytesMut> {
        let transport = TransportContext {
            local_addr: SocketAddr::new(self.address.into(), MDNS_PORT),
            peer_addr: from,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        let message = TransportMessage { now: Instant::now(), transport, message: BytesMut::from(datagram) };
        // What is no question is nothing to it.
        let _ = self.mdns.handle_read(message);
        std::iter::from_fn(|| self.mdns.poll_write()).map(|answer| answer.message).collect()
    }
}

impl Book {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>) {
        const PAUSE: Duration = Duration::from_millis(100);
        let mut buffer = vec![0; LARGEST];
        loop {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let answers: Vec<_> = {
                let mut entries = self.entries();
                let answers = |entry: &mut Entry| (entry.address, entry.answers(&buffer[..length], from));
                entries.iter_mut().map(answers).collect()
            };
            for (address, answers) in answers {
                for answer in answers {
                    if let Err(error) = self.say(address, &answer).await {
                        tracing::debug!("a name of {address} could not be told: {error}");
                    }
                }
            }
        }
    }

    /// Says it where the address is.
    async fn say(&self, address: Ipv4Addr, answer: &[u8]) -> io::Result<()> {
        // Peers on this machine listen at its network, not at loopback.
        let interface = if address.is_loopback() { Ipv4Addr::UNSPECIFIED } else { address };
        socket2::SockRef::from(&self.socket).set_multicast_if_v4(&interface)?;
        self.socket.send_to(answer, MDNS_DEST_ADDR).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_for_the_name_is_answered_with_the_address_and_others_are_not() {
        let mut ours = Entry::new(Ipv4Addr::new(192, 0, 2, 7));
        let other = Entry::new(Ipv4Addr::new(192, 0, 2, 8));
        assert_ne!(ours.name, other.name);
        let from = SocketAddr::from(([192, 0, 2, 9], MDNS_PORT));
        let question = |name: &str| {
            let mut asking = Mdns::new(Instant::now(), MdnsConfig::new());
            asking.query_now(Instant::now(), name);
            asking.poll_write().unwrap().message
        };
        assert_eq!(ours.answers(&question(&other.name), from).len(), 0);
        let answers = ours.answers(&question(&ours.name), from);
        assert_eq!(answers.len(), 1);
        assert!(answers[0].ends_with(&[192, 0, 2, 7]), "{:?}", answers[0]);
        for damaged in [&[][..], b"x", &question(&ours.name)[..20]] {
            assert_eq!(ours.answers(damaged, from).len(), 0);
        }
    }
}
