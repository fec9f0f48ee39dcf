//! Sends a flight of the DTLS handshake again that brings no answer.
//!
//! The library stops its retransmission timer for good at anything of the handshake that is not the whole next flight, for
//! instance one that the peer repeated: when ours is lost then, both ends wait for ever. A datagram that comes twice is taken
//! once, by its record numbers (RFC 6347 section 4.1.2.6), so that what we repeat unchanged does no harm anywhere. The last flight
//! is repeated until the peer uses the keys.

use super::runtime::Wire;
use super::traffic::RoundTrips;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Context;
use std::time::Duration;
use tokio::time::Instant;
use webrtc::runtime::Transmit;

/// How long to wait for an answer, at least, and at most; twice the round trip if that is known.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
const MOST_PAUSE: Duration = Duration::from_secs(1);
/// Datagrams of one flight are sent together; what comes later is the library's own repetition.
const TOGETHER: Duration = Duration::from_millis(20);
const MOST_DATAGRAMS: usize = 16;
/// Nobody waits longer for a handshake.
const MOST_LONG: Duration = Duration::from_secs(30);

/// What a datagram carries, as far as the handshake is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Handshake,
    Alert,
    /// Only who has the keys can send this.
    Protected,
}

impl Kind {
    /// By the first byte (RFC 7983), in what TURN servers pass on too.
    pub(super) fn of(datagram: &[u8]) -> Option<Self> {
        match unwrapped(datagram).first()? {
            20 | 22 => Some(Self::Handshake),
            21 => Some(Self::Alert),
            23 | 128..=191 => Some(Self::Protected),
            _ => None,
        }
    }
}

/// Whether this is an alert under the keys of a handshake that is over (RFC 6347 section 4.1: the epoch).
pub(super) fn is_protected_alert(datagram: &[u8]) -> bool {
    matches!(unwrapped(datagram), [21, _, _, a, b, ..] if (*a, *b) != (0, 0))
}

/// What a TURN server passes on, by a channel or an indication (RFC 8656 sections 12.4 and 11).
fn unwrapped(datagram: &[u8]) -> &[u8] {
    match datagram {
        [64..=79, _, _, _, inner @ ..] => inner,
        [0, 0x16 | 0x17, ..] => data_of(datagram).unwrap_or(datagram),
        bare => bare,
    }
}

/// The attribute DATA of a message of STUN.
fn data_of(message: &[u8]) -> Option<&[u8]> {
    let mut rest = message.get(20..)?;
    while let [kind, number, a, b, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*a, *b]));
        if (*kind, *number) == (0, 0x13) {
            return behind.get(..length);
        }
        rest = behind.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[derive(Clone)]
struct Sent {
    wire: Arc<Wire>,
    contents: Vec<u8>,
    destination: SocketAddr,
    src_ip: Option<IpAddr>,
}

#[derive(Default)]
struct State {
    flight: Vec<Sent>,
    /// Since the flight was sent something came.
    answered: bool,
    repeats: u32,
    last: Option<Instant>,
    running: bool,
}

/// The last flight of one connection.
pub(super) struct Flights {
    round_trips: Arc<RoundTrips>,
    state: Mutex<State>,
    /// The peer has the keys.
    over: AtomicBool,
}

impl Flights {
    pub(super) fn new(round_trips: Arc<RoundTrips>) -> Arc<Self> {
        Arc::new(Self { round_trips, state: Mutex::default(), over: AtomicBool::new(false) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Notes what is about to leave by `wire`.
    pub(super) fn sent(self: &Arc<Self>, wire: &Arc<Wire>, transmit: &Transmit<'_>) {
        if self.is_over() || Kind::of(transmit.contents) != Some(Kind::Handshake) || transmit.segment_size.is_some() {
            return;
        }
        let mut state = self.state();
        let now = Instant::now();
        if state.answered || state.last.is_none_or(|last| now - last > TOGETHER) {
            if state.answered {
                state.repeats = 0;
            }
            state.flight.clear();
            state.answered = false;
        }
        state.last = Some(now);
        if state.flight.len() < MOST_DATAGRAMS {
            let Transmit { destination, src_ip, .. } = *transmit;
            state.flight.push(Sent {
                wire: Arc::clone(wire),
                contents: transmit.contents.to_vec(),
                destination,
                src_ip,
            });
        }
        if !std::mem::replace(&mut state.running, true) {
            tokio::spawn(repeat(Arc::downgrade(self)));
        }
    }

    /// Notes what came.
    pub(super) fn received(&self, datagram: &[u8]) {
        match Kind::of(datagram) {
            _ if self.is_over() => {}
            Some(Kind::Handshake) => self.state().answered = true,
            Some(Kind::Protected) => {
                self.over.store(true, Ordering::Relaxed);
                self.state().flight.clear();
            }
            _ => {}
        }
    }

    /// What is to be sent again now, and when to ask next.
    fn due(&self) -> (Vec<Sent>, Duration) {
        let base = (self.round_trips.last().unwrap_or_default() * 2).clamp(LEAST_PAUSE, MOST_PAUSE);
        let mut state = self.state();
        let pause = base.saturating_mul(1 << state.repeats.min(8)).min(MOST_PAUSE);
        let waited = state.last.map_or(Duration::ZERO, |last| last.elapsed());
        if waited < pause {
            return (Vec::new(), pause - waited);
        }
        state.repeats += 1;
        state.last = Some(Instant::now());
        (state.flight.clone(), pause)
    }
}

async fn repeat(flights: Weak<Flights>) {
    let began = Instant::now();
    while began.elapsed() < MOST_LONG {
        let Some(this) = flights.upgrade().filter(|flights| !flights.is_over()) else { return };
        let (again, pause) = this.due();
        drop(this);
        if !again.is_empty() {
            tracing::debug!("a flight of the DTLS handshake goes again: {} datagrams", again.len());
        }
        for Sent { wire, contents, destination, src_ip } in &again {
            let transmit =
                Transmit { destination: *destination, ecn: None, contents, segment_size: None, src_ip: *src_ip };
            // One that finds no room is lost, like others.
            let _ = wire.poll_send(&mut Context::from_waker(std::task::Waker::noop()), &transmit);
        }
        tokio::time::sleep(pause.max(Duration::from_millis(5))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_datagram_is_seen_through_a_turn_server_too() {
        assert_eq!(Kind::of(&[22, 254, 253]), Some(Kind::Handshake));
        assert_eq!(Kind::of(&[0x40, 0, 0, 3, 20, 254, 253]), Some(Kind::Handshake));
        assert_eq!(Kind::of(&[21, 254, 253]), Some(Kind::Alert));
        assert_eq!(Kind::of(&[0x4f, 0, 0, 3, 23, 254, 253]), Some(Kind::Protected));
        assert_eq!(Kind::of(&[128, 96]), Some(Kind::Protected));
        assert_eq!(Kind::of(&[0, 1, 0, 0]), None);
        assert_eq!(Kind::of(&[0x40, 0, 0, 0]), None);
        assert_eq!(Kind::of(&[]), None);
        // An indication with the peer's address and an alert of two bytes more than its header.
        let mut indication = [&[0, 0x17, 0, 20][..], &[7; 16], &[0, 0x12, 0, 5, 1, 1, 1, 1, 1, 0, 0, 0]].concat();
        assert_eq!(Kind::of(&indication), None);
        indication.extend([0, 0x13, 0, 5, 21, 254, 253, 0, 1, 0, 0, 0]);
        assert_eq!((Kind::of(&indication), is_protected_alert(&indication)), (Some(Kind::Alert), true));
        indication.truncate(indication.len() - 5);
        assert_eq!(Kind::of(&indication), None);
    }

    #[test]
    fn an_alert_counts_only_under_the_keys() {
        assert!(
            is_protected_alert(&[21, 254, 253, 0, 1, 0]) && is_protected_alert(&[0x40, 0, 0, 5, 21, 254, 253, 1, 0])
        );
        assert!(!is_protected_alert(&[21, 254, 253, 0, 0, 0]) && !is_protected_alert(&[23, 254, 253, 0, 1, 0]));
        assert!(!is_protected_alert(&[21, 254, 253]));
    }
}
