//! What goes through a relay: packets to a peer of ours and back, and as much as goes one way.

use super::exchange::{Client, Origin};
use super::link::Broken;
use super::report::{Echo, RoundTrips, Throughput};
use super::wire::{self, CHANNEL};
use crate::stop::Stop;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;

/// Marks packets of ours: a random number, then one that counts.
const MARK: usize = 16;
/// The smallest packet: its mark and its number.
pub const MIN_SIZE: usize = MARK + 4;
/// How long the last packet may take to come back.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who sends back what comes out of the relay.
pub(super) enum Peer {
    /// A second allocation of ours.
    Allocation(Box<Client>),
    /// A socket of ours.
    Own(UdpSocket, Vec<u8>),
}

impl Peer {
    /// The next data from `relayed`, the address that the relay gave us.
    async fn receive(&mut self, relayed: SocketAddr) -> Result<(Instant, Vec<u8>), Broken> {
        loop {
            match self {
                Self::Allocation(client) => {
                    let data = client.relayed().await?;
                    if data.from == Origin::Peer(relayed) || data.from == Origin::Channel(CHANNEL) {
                        return Ok((data.at, data.data));
                    }
                }
                Self::Own(socket, buffer) => match socket.recv_from(buffer).await {
                    Ok((length, from)) if from == relayed => return Ok((Instant::now(), buffer[..length].to_vec())),
                    // What ICMP says of an earlier packet ends nothing.
                    _ => {}
                },
            }
        }
    }

    async fn send_back(&self, relayed: SocketAddr, data: &[u8]) {
        match self {
            Self::Allocation(client) => client.link.send(Client::send_indication(relayed, data)).await,
            Self::Own(socket, _) => {
                let _ = socket.send_to(data, relayed).await;
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Allocation(_) => "allocation",
            Self::Own(..) => "self",
        }
    }
}

/// Packets that tell which they are and whether they are whole.
struct Packets {
    mark: [u8; MARK],
    size: usize,
}

impl Packets {
    fn new(size: usize) -> Self {
        Self { mark: wire::new_transaction().to_be_bytes(), size: size.max(MIN_SIZE) }
    }

    fn write(&self, number: u32) -> Vec<u8> {
        let mut packet = [&self.mark[..], &number.to_be_bytes()].concat();
        packet.extend((packet.len()..self.size).map(|at| filler(number, at)));
        packet
    }

    /// Its number; `Err` when it is one of ours that was changed, `None` when it is none of ours.
    fn read(&self, packet: &[u8]) -> Option<Result<u32, ()>> {
        let rest = packet.strip_prefix(&self.mark)?;
        let Some(number) = rest.first_chunk().map(|number| u32::from_be_bytes(*number)) else { return Some(Err(())) };
        let whole = packet.len() == self.size
            && packet.iter().enumerate().skip(MIN_SIZE).all(|(at, byte)| *byte == filler(number, at));
        Some(if whole { Ok(number) } else { Err(()) })
    }
}

fn filler(number: u32, at: usize) -> u8 {
    let [.., low] = number.wrapping_mul(31).wrapping_add(u32::try_from(at).unwrap_or(0)).to_be_bytes();
    low
}

/// How packets are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub packets: u32,
    pub size: usize,
    pub interval: Duration,
}

/// Sends packets through the relay to the peer, which sends them back, and watches them come.
pub(super) async fn echo(
    main: &mut Client,
    relayed: SocketAddr,
    peer: &mut Peer,
    pace: Pace,
    stop: &Stop,
) -> Result<Echo, Broken> {
    let packets = Packets::new(pace.size);
    let mut echo = Echo { peer: peer.name(), ..Echo::default() };
    let mut sent: Vec<Instant> = Vec::new();
    let mut trips: Vec<f64> = Vec::new();
    let (mut seen, mut highest, mut jitter) = (HashSet::new(), None, 0.0);
    let mut tick = tokio::time::interval(pace.interval.max(Duration::from_micros(100)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until = Instant::now() + PATIENCE;
    while echo.packets_received < pace.packets {
        let all_sent = echo.packets_sent == pace.packets;
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            data = main.relayed() => {
                let data = data?;
                match packets.read(&data.data) {
                    None => {}
                    Some(Err(())) => echo.packets_corrupted += 1,
                    Some(Ok(number)) if !seen.insert(number) => echo.packets_duplicated += 1,
                    Some(Ok(number)) => {
                        let Some(at) = sent.get(number as usize) else { continue };
                        let trip = data.at.saturating_duration_since(*at).as_secs_f64();
                        if let Some(last) = trips.last() {
                            jitter += ((trip - last).abs() - jitter) / 16.0;
                        }
                        echo.packets_reordered += u32::from(highest.is_some_and(|highest| highest > number));
                        highest = highest.max(Some(number));
                        trips.push(trip);
                        echo.packets_received += 1;
                    }
                }
            }
            came = peer.receive(relayed) => {
                let (_, data) = came?;
                if packets.read(&data).is_some() {
                    peer.send_back(relayed, &data).await;
                }
            }
            _ = tick.tick(), if !all_sent => {
                let message = wire::channel_data(CHANNEL, &packets.write(echo.packets_sent), main.link.stream);
                sent.push(Instant::now());
                main.link.send(message).await;
                echo.packets_sent += 1;
                until = Instant::now() + PATIENCE;
            }
            () = tokio::time::sleep_until(until.into()), if all_sent => break,
        }
    }
    echo.loss = 1.0 - f64::from(echo.packets_received) / f64::from(echo.packets_sent.max(1));
    echo.jitter = jitter;
    echo.round_trip_time = RoundTrips::of(trips);
    Ok(echo)
}

/// Finds out by which address the relay knows a socket of ours behind a NAT: sends to the relay until it hands something on.
pub(super) async fn learn_own_address(
    main: &mut Client,
    relayed: SocketAddr,
    socket: &UdpSocket,
) -> Option<SocketAddr> {
    const EVERY: Duration = Duration::from_millis(100);
    let packets = Packets::new(MIN_SIZE);
    let mut tick = tokio::time::interval(EVERY);
    let until = Instant::now() + PATIENCE;
    loop {
        tokio::select! {
            data = main.relayed() => {
                let data = data.ok()?;
                if let (Origin::Peer(peer), Some(Ok(_))) = (data.from, packets.read(&data.data)) {
                    return Some(peer);
                }
            }
            _ = tick.tick() => {
                let _ = socket.send_to(&packets.write(0), relayed).await;
            }
            () = tokio::time::sleep_until(until.into()) => return None,
        }
    }
}

/// How many packets may be under way. It grows fast until the first loss; from then on it gives way by a quarter where more than one
/// packet in a hundred of a round was lost, and feels its way up again slowly, so that looking for the limit costs little.
struct Window {
    width: f64,
    fast: bool,
    /// The first packet of this round.
    began: u32,
    /// Those of this round that came.
    came: u32,
}

impl Window {
    const LEAST: f64 = 4.0;
    const MOST: f64 = 4000.0;

    fn new() -> Self {
        Self { width: 32.0, fast: true, began: 0, came: 0 }
    }

    fn has_room(&self, under_way: u32) -> bool {
        f64::from(under_way) < self.width
    }

    /// A packet came; it and all before it, `settled`, came or were lost.
    fn take(&mut self, settled: u32) {
        self.came += 1;
        let due = settled.saturating_sub(self.began);
        if f64::from(due) < self.width {
            return;
        }
        let lost = 1.0 - f64::from(self.came) / f64::from(due);
        if lost > 0.01 {
            self.fast = false;
            self.width *= 0.75;
        } else {
            self.width += self.width / if self.fast { 4.0 } else { 64.0 };
        }
        self.width = self.width.clamp(Self::LEAST, Self::MOST);
        (self.began, self.came) = (settled, 0);
    }

    /// Nothing came for long: what was under way, up to `settled`, is lost.
    fn stall(&mut self, settled: u32) {
        *self = Self { width: (self.width / 2.0).max(Self::LEAST), fast: false, began: settled, came: 0 };
    }
}

/// Sends as much as goes through the relay to the peer for `duration`.
pub(super) async fn throughput(
    main: &mut Client,
    relayed: SocketAddr,
    peer: &mut Peer,
    size: usize,
    duration: Duration,
    stop: &Stop,
) -> Result<Throughput, Broken> {
    const STALLED: Duration = Duration::from_millis(300);
    let packets = Packets::new(size);
    let sender = main.link.sender();
    let until = Instant::now() + duration;
    let (mut sent, mut settled, mut received, mut bytes) = (0_u32, 0_u32, 0_u32, 0_u64);
    let mut window = Window::new();
    let mut span: Option<(Instant, Instant)> = None;
    while Instant::now() < until && !stop.is_stopped() {
        while window.has_room(sent - settled) {
            let message = wire::channel_data(CHANNEL, &packets.write(sent), main.link.stream);
            if sender.try_send(message).is_err() {
                break;
            }
            sent += 1;
        }
        tokio::select! {
            biased;
            came = peer.receive(relayed) => {
                let (at, data) = came?;
                let Some(Ok(number)) = packets.read(&data) else { continue };
                received += 1;
                bytes += data.len() as u64;
                settled = settled.max(number + 1);
                window.take(settled);
                span = Some((span.map_or(at, |(first, _)| first), at));
            }
            () = stop.stopped() => {}
            () = tokio::time::sleep_until((Instant::now() + STALLED).min(until).into()) => {
                settled = sent;
                window.stall(settled);
            }
        }
    }
    let seconds = span.map_or(0.0, |(first, last)| last.saturating_duration_since(first).as_secs_f64());
    // What is still under way at the end is not lost.
    let lost = 1.0 - f64::from(received) / f64::from(settled.max(1));
    let bits_per_second = if seconds > 0.0 { bytes as f64 * 8.0 / seconds } else { 0.0 };
    Ok(Throughput { bits_per_second, bytes, seconds, loss: lost.clamp(0.0, 1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_known_by_its_mark_and_a_changed_one_by_its_content() {
        let (packets, others) = (Packets::new(100), Packets::new(100));
        let mut packet = packets.write(7);
        assert_eq!(packet.len(), 100);
        assert_eq!(packets.read(&packet), Some(Ok(7)));
        assert_eq!(others.read(&packet), None);
        assert_eq!(packets.read(&packet[..99]), Some(Err(())));
        packet[50] ^= 1;
        assert_eq!(packets.read(&packet), Some(Err(())));
    }

    #[test]
    fn the_window_fills_a_queue_and_loses_little_in_looking_for_its_end() {
        for queue in [8_u32, 56, 700] {
            let (mut window, mut settled, mut came) = (Window::new(), 0, 0);
            for _ in 0..20_000 {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
                let burst = window.width.ceil() as u32;
                // What has no room in the queue is lost, and the packet behind it tells.
                for number in (0..burst).filter(|number| *number < queue || *number + 1 == burst) {
                    came += 1;
                    window.take(settled + number + 1);
                }
                settled += burst;
            }
            let lost = 1.0 - f64::from(came) / f64::from(settled);
            let mean = f64::from(settled) / 20_000.0;
            assert!(lost < 0.03, "{queue}: {lost} lost");
            assert!(mean > 0.7 * f64::from(queue), "{queue}: {mean} packets at a time");
        }
    }
}
