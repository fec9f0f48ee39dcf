//! Round trips beside a load: small messages that are neither repeated nor kept in order, as a conversation's packets are.

use crate::peer::{DataChannel, DataMessage};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// One every so often.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long the last ones may take.
const STRAGGLERS: Duration = Duration::from_millis(500);

/// What came of the pings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PingReport {
    /// How many were sent.
    pub sent: u64,
    /// How many never came back, of both ways together.
    pub lost: u64,
    /// The shortest round trip, in seconds; absent when none came back, as the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// Their mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
    /// 95 of 100 are no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// The longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// The mean difference of one to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<f64>,
}

impl PingReport {
    fn of(sent: u64, seconds: &[f64]) -> Self {
        let lost = sent - seconds.len() as u64;
        if seconds.is_empty() {
            return Self { sent, lost, ..Self::default() };
        }
        let mut sorted = seconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
            (count > 0).then(|| sum / f64::from(count))
        };
        Self {
            sent,
            lost,
            minimum: sorted.first().copied(),
            average: mean(&mut seconds.iter().copied()),
            p95: sorted.get((sorted.len() * 95).div_ceil(100) - 1).copied(),
            maximum: sorted.last().copied(),
            jitter: mean(&mut seconds.windows(2).map(|pair| (pair[1] - pair[0]).abs())),
        }
    }
}

/// What is sent on a channel and comes back by it.
pub(super) struct Pings {
    channel: DataChannel,
    sent_at: Vec<Instant>,
    /// In the order they came back.
    seconds: Vec<f64>,
}

impl Pings {
    pub fn new(channel: DataChannel) -> Self {
        Self { channel, sent_at: Vec::new(), seconds: Vec::new() }
    }

    /// Pings while `work` is done.
    pub async fn during<T>(mut self, work: impl Future<Output = T>) -> (T, PingReport) {
        let mut work = std::pin::pin!(work);
        let mut next = tokio::time::interval(INTERVAL);
        next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let done = loop {
            let channel = self.channel.clone();
            tokio::select! {
                done = &mut work => break done,
                // A ping that must wait for room comes late, and is counted from when it was due.
                _ = next.tick() => self.send().await,
                Some(back) = channel.receive() => self.note(&back),
            }
        };
        let deadline = tokio::time::Instant::now() + STRAGGLERS;
        while self.seconds.len() < self.sent_at.len()
            && let Ok(Some(back)) = tokio::time::timeout_at(deadline, self.channel.receive()).await
        {
            self.note(&back);
        }
        (done, PingReport::of(self.sent_at.len() as u64, &self.seconds))
    }

    async fn send(&mut self) {
        let number = self.sent_at.len() as u64;
        self.sent_at.push(Instant::now());
        // Where the channel is closed it comes to nothing, as any that is lost.
        let _ = self.channel.send_owned(DataMessage::Binary(Bytes::copy_from_slice(&number.to_be_bytes()))).await;
    }

    fn note(&mut self, back: &DataMessage) {
        if let DataMessage::Binary(bytes) = back
            && let Ok(number) = <[u8; 8]>::try_from(&bytes[..])
            && let Some(at) = usize::try_from(u64::from_be_bytes(number)).ok().and_then(|at| self.sent_at.get(at))
            && self.seconds.len() < self.sent_at.len()
        {
            self.seconds.push(at.elapsed().as_secs_f64());
        }
    }
}

/// Sends back whatever comes, until the channel is closed.
pub(super) async fn echo(channel: &DataChannel) {
    while let Some(message) = channel.receive().await {
        if channel.send_owned(message).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_told_in_figures_and_none_without_any() {
        let seconds: Vec<f64> = (1..=100).map(f64::from).collect();
        let report = PingReport::of(104, &seconds);
        assert_eq!((report.sent, report.lost), (104, 4));
        assert_eq!([report.minimum, report.p95, report.maximum], [1.0, 95.0, 100.0].map(Some));
        assert_eq!([report.average, report.jitter], [50.5, 1.0].map(Some));
        assert_eq!(PingReport::of(1, &[2.0]).jitter, None);
        assert_eq!(PingReport::of(3, &[]), PingReport { sent: 3, lost: 3, ..PingReport::default() });
    }
}
