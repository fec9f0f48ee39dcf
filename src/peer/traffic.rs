//! What passes our sockets, seen from outside: when the peer was last heard, and which media is really on its way.

use super::flight::is_protected_alert;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// When the last datagram came from the peer. What STUN and TURN servers say of themselves does not count.
#[derive(Debug)]
pub(super) struct Arrivals {
    began: Instant,
    /// 0 before the first.
    last_micros: AtomicU64,
    /// The same of what is no connectivity check.
    last_data_micros: AtomicU64,
    /// Who has asked, shaken hands or sent media: such an address is the peer's, and its answers count as well.
    peers: Mutex<Vec<SocketAddr>>,
}

impl Arrivals {
    const MOST_PEERS: usize = 64;

    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            last_micros: AtomicU64::new(0),
            last_data_micros: AtomicU64::new(0),
            peers: Mutex::default(),
        }
    }

    pub(super) fn note(&self, datagram: &[u8], from: SocketAddr) {
        let is_peer = match datagram {
            // Binding requests, and the indications in which a TURN server passes the peer's datagrams on.
            [0, 0x01 | 0x17, ..] | [20..=63, ..] => {
                let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
                if !peers.contains(&from) && peers.len() < Self::MOST_PEERS {
                    peers.push(from);
                }
                true
            }
            [0..=3, ..] => self.peers.lock().unwrap_or_else(PoisonError::into_inner).contains(&from),
            // TURN channel data and media.
            [64..=79 | 128..=191, ..] => true,
            _ => false,
        };
        if is_peer {
            // What a TURN server wraps may be either.
            self.heard(matches!(datagram, [0, 0x17, ..] | [20..=191, ..]) && !is_wrapped_check(datagram));
        }
    }

    /// Notes that something came of which it is known that the peer sent it; `data` unless it was a connectivity check.
    pub(super) fn heard(&self, data: bool) {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_micros.store(micros.max(1), Ordering::Relaxed);
        if data {
            self.last_data_micros.store(micros.max(1), Ordering::Relaxed);
        }
    }

    /// Whether all that is known of the peer is on this machine.
    pub(super) fn peer_is_here(&self) -> bool {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).iter().all(|peer| peer.ip().is_loopback())
    }

    /// Time since the last datagram; `None` before the first.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.since(&self.last_micros)
    }

    /// Time since the last datagram that was no connectivity check; `None` before the first.
    pub(super) fn data_silence(&self) -> Option<Duration> {
        self.since(&self.last_data_micros)
    }

    fn since(&self, last_micros: &AtomicU64) -> Option<Duration> {
        let micros = last_micros.load(Ordering::Relaxed);
        (micros != 0).then(|| self.began.elapsed().saturating_sub(Duration::from_micros(micros)))
    }
}

/// Whether this is a connectivity check inside of a TURN channel (RFC 8656 section 12.4).
fn is_wrapped_check(datagram: &[u8]) -> bool {
    matches!(datagram, [64..=79, _, _, _, 0..=3, ..])
}

/// How long binding requests (RFC 8489) take to be answered, in real time: those of connectivity and consent checks.
/// What goes through a TURN server is wrapped and not seen.
#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    asked: Mutex<VecDeque<([u8; 12], Instant)>>,
    /// 0 before the first.
    last_micros: AtomicU64,
}

impl RoundTrips {
    /// More unanswered requests than this are for addresses where nobody is.
    const MOST_ASKED: usize = 64;

    fn transaction(datagram: &[u8], kind: [u8; 2]) -> Option<[u8; 12]> {
        const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
        let header = datagram.get(..20)?;
        (header[..2] == kind && header[4..8] == COOKIE).then(|| header[8..20].try_into().ok())?
    }

    pub(super) fn sent(&self, datagram: &[u8]) {
        if let Some(transaction) = Self::transaction(datagram, [0, 1]) {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.len() == Self::MOST_ASKED {
                asked.pop_front();
            }
            asked.push_back((transaction, Instant::now()));
        }
    }

    pub(super) fn received(&self, datagram: &[u8]) {
        if let Some(transaction) = Self::transaction(datagram, [1, 1]) {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(index) = asked.iter().position(|(other, _)| *other == transaction)
                && let Some((_, at)) = asked.remove(index)
            {
                let micros = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.last_micros.store(micros.max(1), Ordering::Relaxed);
            }
        }
    }

    /// The last one; `None` before the first.
    pub(super) fn last(&self) -> Option<Duration> {
        Some(self.last_micros.load(Ordering::Relaxed)).filter(|micros| *micros > 0).map(Duration::from_micros)
    }
}

/// What was handed to the kernel: bytes, and media packets by RTP stream. What goes through a TURN server is wrapped and not seen.
#[derive(Debug, Default)]
pub(super) struct Departures {
    packets: Mutex<HashMap<u32, u64>>,
    bytes: AtomicU64,
    goodbye: watch::Sender<bool>,
}

impl Departures {
    /// Takes a datagram, or several that the kernel cuts into `segment` bytes each.
    pub(super) fn note(&self, contents: &[u8], segment: Option<usize>) {
        // Not the checks of connectivity and consent, RFC 8489: binding requests and their answers.
        if !matches!(contents, [0 | 1, 1, ..]) {
            self.bytes.fetch_add(contents.len() as u64, Ordering::Relaxed);
        }
        for datagram in contents.chunks(segment.unwrap_or(contents.len()).max(1)) {
            // RTP and not RTCP, RFC 5761 section 4. SRTP leaves the header in clear.
            if let [128..=191, payload_type, _, _, _, _, _, _, a, b, c, d, ..] = *datagram
                && !(192..=223).contains(&payload_type)
            {
                let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
                *packets.entry(u32::from_be_bytes([a, b, c, d])).or_default() += 1;
            }
            if is_protected_alert(datagram) {
                self.goodbye.send_replace(true);
            }
        }
    }

    /// Whether the connection was closed, by whichever side: of an alert, DTLS says the same in return (RFC 5246 section 7.2.1),
    /// but only if it came under the keys, so that nobody else can make it.
    pub(super) fn goodbye(&self) -> bool {
        *self.goodbye.borrow()
    }

    /// Waits until it is closed.
    pub(super) async fn closed(&self) {
        // The sender is ours.
        let _ = self.goodbye.subscribe().wait_for(|goodbye| *goodbye).await;
    }

    /// Bytes of all datagrams so far, but for connectivity checks.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Packets of this stream so far, retransmissions under the same SSRC included.
    pub(super) fn of(&self, ssrc: u32) -> u64 {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner).get(&ssrc).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connectivity_checks_break_the_silence_but_not_that_of_data() {
        let peer = SocketAddr::from(([192, 0, 2, 1], 9));
        let heard = |datagram: &[u8]| {
            let arrivals = Arrivals::new();
            arrivals.note(datagram, peer);
            (arrivals.silence().is_some(), arrivals.data_silence().is_some())
        };
        assert_eq!(heard(&[0, 1, 0, 0]), (true, false));
        assert_eq!(heard(&[64, 0, 0, 4, 1, 1, 0, 0]), (true, false), "an answer through a relay");
        assert_eq!(heard(&[23, 254, 253]), (true, true));
        assert_eq!(heard(&[64, 0, 0, 4, 23, 254, 253, 0]), (true, true));
        assert_eq!(heard(&[1, 1, 0, 0]), (false, false), "whoever answers need not be the peer");
    }

    #[test]
    fn only_media_is_counted_and_each_segment_once() {
        let rtp = |ssrc: u8, payload_type: u8| [128, payload_type, 0, 1, 0, 0, 0, 0, 0, 0, 0, ssrc, 9, 9];
        let departures = Departures::default();
        departures.note(&rtp(7, 96), None);
        departures.note(&rtp(7, 200), None);
        departures.note(&[0, 1, 0, 0], None);
        departures.note(&[], Some(0));
        let burst: Vec<u8> = (0..3).flat_map(|_| rtp(8, 96 | 128)).collect();
        departures.note(&burst, Some(14));
        departures.note(&[rtp(8, 111).as_slice(), &rtp(8, 111)[..12]].concat(), Some(14));
        assert_eq!((departures.of(7), departures.of(8), departures.of(9)), (1, 5, 0));
        departures.note(&[21, 254, 253, 0, 0, 0, 0, 0], None);
        assert!(!departures.goodbye(), "an alert of before the keys");
        departures.note(&[rtp(8, 111).as_slice(), &[21, 254, 253, 0, 1, 0]].concat(), Some(14));
        assert!(departures.goodbye());
    }
}
