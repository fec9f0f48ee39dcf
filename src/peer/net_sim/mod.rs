//! A bad network on purpose, between a session and its sockets: loss, delay, jitter and a narrow link with a queue, both
//! ways. Datagrams only: what goes by TCP is not touched.

mod link;
mod socket;

use link::Link;
use socket::SimulatedSocket;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use webrtc::runtime::AsyncUdpSocket;

/// How bad a network is. Text like `loss=2%,delay=80ms±10ms,rate=1500k,queue=300ms,seed=7`; what follows a `;` and a time
/// changes once the connection is that old: `rate=2M;10s:rate=500k;20s:rate=2M`.
#[derive(Clone, Debug, PartialEq)]
pub struct NetSim {
    /// The first holds from the start; later ones since their time.
    phases: Vec<(Duration, Conditions)>,
    seed: u64,
}

/// What happens to a datagram in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Conditions {
    /// Part that is lost, 0 ..= 1.
    loss: f64,
    /// One way.
    delay: Duration,
    /// The delay of each is so much more or less.
    jitter: Duration,
    /// Bits per second, with the headers of UDP and IP.
    rate: Option<f64>,
    /// What would wait longer for the link is lost.
    queue: Duration,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { loss: 0.0, delay: Duration::ZERO, jitter: Duration::ZERO, rate: None, queue: Duration::from_millis(500) }
    }
}

impl FromStr for NetSim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut sim = Self { phases: Vec::new(), seed: 1 };
        let mut conditions = Conditions::default();
        for (index, phase) in text.split(';').enumerate() {
            let (since, settings) = match phase.split_once(':') {
                Some((since, settings)) if index > 0 => (time(since)?, settings),
                None if index == 0 => (Duration::ZERO, phase),
                _ => {
                    return Err(format!(
                        "'{phase}': every part but the first begins with its time, as in 10s:rate=500k"
                    ));
                }
            };
            if sim.phases.last().is_some_and(|(before, _)| *before >= since) && index > 0 {
                return Err(format!("'{phase}' is not after the part before it"));
            }
            for setting in settings.split(',') {
                let (name, value) = setting.split_once('=').ok_or_else(|| format!("'{setting}' is no NAME=VALUE"))?;
                match name.trim() {
                    "loss" => conditions.loss = percent(value)?,
                    "delay" => (conditions.delay, conditions.jitter) = delay(value)?,
                    "rate" => conditions.rate = rate(value)?,
                    "queue" => conditions.queue = time(value)?,
                    "seed" if index == 0 => {
                        sim.seed = value.parse().map_err(|_| format!("seed '{value}' is no whole number"))?;
                    }
                    other => return Err(format!("'{other}' is none of loss, delay, rate, queue, seed")),
                }
            }
            sim.phases.push((since, conditions));
        }
        Ok(sim)
    }
}

/// `2%`, or the part itself.
fn percent(text: &str) -> Result<f64, String> {
    let (number, whole) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let parsed = number.parse::<f64>().ok().map(|number| number / whole).filter(|part| (0.0..=1.0).contains(part));
    parsed.ok_or_else(|| format!("loss '{text}' is not from 0% to 100%"))
}

/// `80ms`, or `80ms±10ms`.
fn delay(text: &str) -> Result<(Duration, Duration), String> {
    let (delay, jitter) = text.split_once('±').or_else(|| text.split_once("+-")).unwrap_or((text, "0ms"));
    let (delay, jitter) = (time(delay)?, time(jitter)?);
    if jitter > delay {
        return Err(format!("delay '{text}' varies by more than it is"));
    }
    Ok((delay, jitter))
}

/// `80ms` or `1.5s`, at most an hour.
fn time(text: &str) -> Result<Duration, String> {
    let parsed = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => number.parse::<f64>().map(|number| number / 1000.0),
        (_, Some(number)) => number.parse::<f64>(),
        _ => return Err(format!("'{text}' is no time: use 80ms or 1.5s")),
    };
    let seconds = parsed.ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("'{text}' is no time up to an hour"))
}

/// `1500k`, `2M`; 0 is no limit.
fn rate(text: &str) -> Result<Option<f64>, String> {
    let (number, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'M') => (&text[..text.len() - 1], 1e6),
        Some(b'G') => (&text[..text.len() - 1], 1e9),
        _ => (text, 1.0),
    };
    let parsed = number
        .parse::<f64>()
        .ok()
        .map(|number| number * factor)
        .filter(|rate| *rate == 0.0 || (1e3..=1e12).contains(rate));
    parsed
        .map(|rate| Some(rate).filter(|rate| *rate > 0.0))
        .ok_or_else(|| format!("rate '{text}' is not from 1k to 1000G"))
}

impl fmt::Display for NetSim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (since, conditions)) in self.phases.iter().enumerate() {
            let Conditions { loss, delay, jitter, rate, queue } = conditions;
            if index > 0 {
                write!(f, ";{}ms:", since.as_millis())?;
            }
            write!(f, "loss={}%,delay={}ms±{}ms", loss * 100.0, delay.as_millis(), jitter.as_millis())?;
            write!(f, ",rate={},queue={}ms", rate.unwrap_or(0.0), queue.as_millis())?;
            if index == 0 {
                write!(f, ",seed={}", self.seed)?;
            }
        }
        Ok(())
    }
}

/// The network of one session: both directions, which all its sockets share.
#[derive(Debug)]
pub(super) struct Network {
    sim: NetSim,
    /// When the connection came up.
    began: OnceLock<Instant>,
    out: Mutex<Link>,
    inward: Mutex<Link>,
    /// Datagrams on their way out.
    leaving: AtomicUsize,
}

impl Network {
    pub(super) fn new(sim: NetSim) -> Arc<Self> {
        let (out, inward) = (Mutex::new(Link::new(sim.seed)), Mutex::new(Link::new(!sim.seed)));
        Arc::new(Self { sim, began: OnceLock::new(), out, inward, leaving: AtomicUsize::new(0) })
    }

    /// The connection is up: the times of the phases count from now.
    pub(super) fn begin(&self) {
        self.began.get_or_init(Instant::now);
    }

    /// A socket behind this network.
    pub(super) fn wrap(self: &Arc<Self>, socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        SimulatedSocket::open(Arc::clone(self), socket)
    }

    /// Waits until all that was sent is on the real network, or `patience` is over.
    pub(super) async fn drained(&self, patience: Duration) {
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        let begin = Instant::now();
        while self.leaving.load(Ordering::Acquire) > 0 && begin.elapsed() < patience {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn conditions(&self, now: Instant) -> &Conditions {
        let age = self.began.get().map_or(Duration::ZERO, |began| now.saturating_duration_since(*began));
        let phases = &self.sim.phases;
        let phase = phases.iter().rev().find(|(since, _)| *since <= age).or(phases.first());
        phase.map(|(_, conditions)| conditions).expect("text has at least one part")
    }

    /// When a datagram of `bytes` that is sent now arrives, if it does.
    fn passes(&self, link: &Mutex<Link>, bytes: usize, now: Instant) -> Option<Instant> {
        link.lock().unwrap_or_else(PoisonError::into_inner).pass(bytes, self.conditions(now), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back_and_what_is_wrong_is_said() {
        let sim: NetSim = "loss=2%,delay=80ms±10ms,rate=1500k,seed=7;10s:rate=0,loss=0.5".parse().unwrap();
        let (since, later) = sim.phases[1];
        assert_eq!((since, later.rate, later.loss), (Duration::from_secs(10), None, 0.5));
        assert_eq!((later.delay.as_millis(), later.jitter.as_millis(), sim.seed), (80, 10, 7));
        assert_eq!(sim.to_string().parse(), Ok(sim));
        for (text, why) in [
            ("", "NAME=VALUE"),
            ("loss=101%", "0% to 100%"),
            ("delay=5", "no time"),
            ("delay=5ms±6ms", "varies"),
            ("rate=5", "1k"),
            ("lose=5%", "none of"),
            ("rate=5k;rate=6k", "begins with its time"),
            ("rate=5k;2s:rate=6k;1s:rate=7k", "not after"),
            ("rate=5k;1s:seed=2", "none of"),
            ("seed=x", "whole number"),
        ] {
            let error = text.parse::<NetSim>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
