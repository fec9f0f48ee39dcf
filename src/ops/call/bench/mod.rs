//! `--bench`: what the path between two peers carries. Whoever offers sends, the other counts, and both have the report.
//!
//! ```text
//! load.rs  messages with back-pressure, or RTP as fast as congestion control allows; and who counts it
//! ping.rs  small messages that are not repeated, there and back: round trips, loss and jitter under that load
//! ```
//!
//! Three data channels, opened by whoever offers. `bench`, protocol `rtckit-bench/1`, carries JSON: `{"type":"start","mode",
//! "seconds"}` is answered by `{"type":"ready"}`, with `"seconds"` where that side was told how long; `{"type":"end","bytes","packets"}` when all is sent by `{"type":"result",…}`;
//! then `{"type":"report","bench"}` for the other to keep. `bench-load` carries what is counted, `bench-ping` what is echoed.

mod load;
mod ping;

use super::round::GOODBYE;
use super::{Ended, Options, Outcome, Peer, Report, values};
use crate::error::{Error, ErrorKind};
use crate::media::Codec;
use crate::ops::road::{self, Entrance, Visit};
use crate::peer::{
    Config, DataChannel, DataChannelInit, DataMessage, LocalTrack, MediaPlan, PeerError, RemoteTrack, Role, Session,
    Timing, Upkeep, UpkeepTimes,
};
use crate::progress::{Event, Progress};
use crate::signaling::{Message, Signaling};
use load::{Counted, Sent};
pub use ping::PingReport;
use ping::Pings;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long it runs where nothing says so.
const DURATION: Duration = Duration::from_secs(10);
/// How long the other side may take to say that it is ready.
const READY: Duration = Duration::from_secs(5);
/// And to count what is still on its way.
const COUNTING: Duration = Duration::from_secs(30);
/// What RTP carries: the codec that every peer knows.
const CODEC: Codec = Codec::Vp8;

const CONTROL: &str = "bench";
const LOAD: &str = "bench-load";
const PING: &str = "bench-ping";
const PROTOCOL: &str = "rtckit-bench/1";

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BenchMode {
    /// Messages over a data channel.
    Dc,
    /// RTP.
    Rtp,
}

impl std::fmt::Display for BenchMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dc => "dc",
            Self::Rtp => "rtp",
        })
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchReport {
    /// What was sent.
    pub mode: BenchMode,
    /// `send` or `receive`: what this side did.
    pub direction: String,
    /// From when the first of it came until the last did.
    pub seconds: f64,
    /// Payload that came: of messages, or of RTP packets.
    pub bytes: u64,
    /// The same by that time.
    pub bits_per_second: f64,
    /// How much that was in each second; the last may be shorter.
    pub intervals: Vec<f64>,
    /// RTP packets that were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets_sent: Option<u64>,
    /// Those that never came; lost ones are not sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets_lost: Option<u64>,
    /// Their part of all, 0 ..= 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction_lost: Option<f64>,
    /// Interarrival jitter of RTP at the receiver, in seconds (RFC 3550 section 6.4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<f64>,
    /// Bits per second that congestion control allowed at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_bitrate: Option<u32>,
    /// Round trips while it was loaded.
    pub ping: PingReport,
}

/// What the two say by the control channel.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Word {
    Start {
        mode: BenchMode,
        seconds: f64,
    },
    Ready {
        /// How long whoever counts was asked to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    End(Sent),
    Result(Counted),
    Report {
        bench: Box<BenchReport>,
    },
}

/// The three channels.
struct Channels {
    control: DataChannel,
    load: DataChannel,
    ping: DataChannel,
}

impl Channels {
    /// What whoever offers opens, in this order.
    fn inits() -> Vec<DataChannelInit> {
        let control = DataChannelInit { protocol: PROTOCOL.to_owned(), ..DataChannelInit::reliable(CONTROL) };
        let ping = DataChannelInit { ordered: false, max_retransmits: Some(0), ..DataChannelInit::reliable(PING) };
        vec![control, DataChannelInit::reliable(LOAD), ping]
    }

    fn of(opened: Vec<DataChannel>) -> Self {
        let Ok([control, load, ping]) = <[DataChannel; 3]>::try_from(opened) else {
            unreachable!("three were asked for")
        };
        Self { control, load, ping }
    }

    /// Those that the peer opens.
    async fn await_all(session: &mut Session) -> Result<Self, Error> {
        let mut found: [Option<DataChannel>; 3] = [None, None, None];
        while let Some(channel) = session.next_data_channel().await {
            if let Some(place) = [CONTROL, LOAD, PING].iter().position(|label| *label == channel.label()) {
                found[place] = Some(channel);
            }
            if let [Some(control), Some(load), Some(ping)] = &mut found {
                return Ok(Self { control: control.clone(), load: load.clone(), ping: ping.clone() });
            }
        }
        Err(PeerError::HungUp.erase())
    }

    async fn opened(&self) -> Result<(), Error> {
        for channel in [&self.control, &self.load, &self.ping] {
            if !channel.opened().await.map_err(PeerError::erase)? {
                return Err(PeerError::HungUp.erase());
            }
        }
        Ok(())
    }

    async fn say(&self, word: &Word) -> Result<(), Error> {
        let text = serde_json::to_string(word).expect("numbers and names are JSON");
        self.control.send(&DataMessage::Text(text)).await.map_err(PeerError::erase)
    }

    async fn hear(&self) -> Result<Word, Error> {
        let damaged = |why: String| Error::new(ErrorKind::Refused, "refused", format!("the other side's bench: {why}"));
        match self.control.receive().await {
            Some(DataMessage::Text(text)) => serde_json::from_str(&text).map_err(|error| damaged(error.to_string())),
            Some(DataMessage::Binary(_)) => Err(damaged("bytes in place of words".to_owned())),
            None => Err(PeerError::HungUp.erase()),
        }
    }

    /// The word that is due, within the time it may take.
    async fn hear_within(&self, patience: Duration, missing: &str) -> Result<Word, Error> {
        match tokio::time::timeout(patience, self.hear()).await {
            Ok(word) => word,
            Err(_) => Err(Error::new(ErrorKind::Refused, "refused", missing)),
        }
    }
}

fn out_of_turn(word: &Word) -> Error {
    let name = match word {
        Word::Start { .. } => "start",
        Word::Ready { .. } => "ready",
        Word::End(_) => "end",
        Word::Result(_) => "result",
        Word::Report { .. } => "report",
    };
    Error::new(ErrorKind::Refused, "refused", format!("the other side's bench says '{name}' out of turn"))
}

impl Peer {
    pub(super) async fn bench(self, mode: BenchMode, options: Options, road: Entrance) -> Outcome {
        let timing = Arc::new(Timing::new(self.process_start));
        let mut report = Report::new(options.role);
        let result = Box::pin(self.bench_reporting(mode, options, road, &timing, &mut report)).await;
        report.timing = timing.waterfall();
        Outcome { report, error: result.err() }
    }

    async fn bench_reporting(
        &self,
        mode: BenchMode,
        mut options: Options,
        road: Entrance,
        timing: &Arc<Timing>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let patience = options.negotiate.meeting;
        let visit = Visit { patience, verify: None, progress: &*self.progress, stop: &self.stop };
        let (mut road, met) = match Box::pin(road.enter(options.part(&MediaPlan::default()), visit)).await {
            Ok(entered) => entered,
            Err(_) if self.stop.reason().is_some() => {
                report.ended = Some(self.stopped());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        // Lost packets are what is measured.
        let mut connection = Config { without_repair: true, ..options.connection.clone() };
        if let Some(met) = met {
            road::take_ice_servers(&met, &mut connection);
            options.take_part(&met)?;
            report.role = Report::new(options.role).role;
        }
        let sends = options.role == Role::Call;
        options.data = if sends { Channels::inits() } else { Vec::new() };
        let plan = MediaPlan {
            send_video: if sends && mode == BenchMode::Rtp { vec![CODEC] } else { Vec::new() },
            receive_video: !sends,
            ..MediaPlan::default()
        };
        let mut session = Session::new(&connection, Arc::clone(timing)).await.map_err(PeerError::erase)?;
        let connected = self.connect(options.role, &options, &plan, &mut session, road.signaling()).await;
        let (track, ours) = match connected {
            Ok((video, _, channels)) => (video, channels),
            Err(error) => {
                session.close().await;
                road.give_up().await;
                return match error {
                    PeerError::Stopped => {
                        report.ended = Some(self.stopped());
                        Ok(())
                    }
                    error => Err(error.erase()),
                };
            }
        };
        let began = std::time::Instant::now();
        let (mut signaling, _) = road.split();
        let mut upkeep = session.upkeep(options.role, UpkeepTimes::within(options.negotiate.timeout)).await;
        let channels = match sends {
            true => Ok(Channels::of(ours)),
            false => Channels::await_all(&mut session).await,
        };
        let (mut tracks, _) = session.take_arrivals();
        let bench = OnceLock::new();
        let measured = async {
            let channels = channels?;
            if sends {
                let limits = (options.duration, options.limits.max_bitrate);
                self.send_load(mode, limits, &channels, track, &bench).await
            } else {
                let done = self.take_load(options.duration, &session, &channels, &mut tracks).await?;
                bench.get_or_init(|| done);
                Ok(())
            }
        };
        let result = tokio::select! {
            biased;
            () = self.stop.stopped() => Ok(self.stopped()),
            measured = measured => measured.map(|()| Ended::Duration),
            // Who has all of it may go.
            lost = keep_up(&session, &mut upkeep, &mut signaling) => match bench.get() {
                Some(_) => Ok(Ended::Duration),
                None => Err(lost.erase()),
            },
        };
        report.bench = bench.into_inner();
        report.seconds = began.elapsed().as_secs_f64();
        report.connection = Some(session.report().await);
        if let Some(signaling) = signaling.as_mut().filter(|_| upkeep.signaling_speaks()) {
            let _ = tokio::time::timeout(GOODBYE, signaling.send(&Message::Bye)).await;
        }
        let stats = values(&session.stats().await);
        self.dump.iter().for_each(|dump| dump.take(&stats));
        session.close().await;
        let closed = road::close(signaling).await;
        report.ended = Some(result?);
        closed
    }

    async fn send_load(
        &self,
        mode: BenchMode,
        (wanted, most): (Option<Duration>, Option<u32>),
        channels: &Channels,
        track: Option<LocalTrack>,
        done: &OnceLock<BenchReport>,
    ) -> Result<(), Error> {
        channels.opened().await?;
        let seconds = wanted.unwrap_or(DURATION).as_secs_f64();
        channels.say(&Word::Start { mode, seconds }).await?;
        let duration = match channels.hear_within(READY, "the other side runs no --bench").await? {
            Word::Ready { seconds } => how_long(wanted, seconds),
            other => return Err(out_of_turn(&other)),
        };
        let pings = Pings::new(channels.ping.clone());
        let (sent, ping) = match (mode, track) {
            (BenchMode::Dc, _) => pings.during(load::send_messages(&channels.load, duration, &*self.progress)).await,
            (BenchMode::Rtp, Some(track)) => pings.during(load::send_rtp(track, duration, most, &*self.progress)).await,
            (BenchMode::Rtp, None) => {
                return Err(Error::new(
                    ErrorKind::Refused,
                    "refused",
                    "the other side takes no VP8, which RTP is sent as",
                ));
            }
        };
        let sent = sent?;
        channels.say(&Word::End(sent)).await?;
        let counted = match channels.hear_within(COUNTING, "the other side does not tell what came").await? {
            Word::Result(counted) => counted,
            other => return Err(out_of_turn(&other)),
        };
        let bench = done.get_or_init(|| counted.report(mode, &sent, ping));
        channels.say(&Word::Report { bench: Box::new(bench.clone()) }).await?;
        // It hangs up when it has it; a goodbye of ours could overtake that.
        let _ = tokio::time::timeout(READY, channels.hear()).await;
        Ok(())
    }

    async fn take_load(
        &self,
        wanted: Option<Duration>,
        session: &Session,
        channels: &Channels,
        tracks: &mut mpsc::Receiver<RemoteTrack>,
    ) -> Result<BenchReport, Error> {
        channels.opened().await?;
        let echo = ping::echo(&channels.ping);
        let counting = async {
            let mode = match channels.hear().await? {
                Word::Start { mode, .. } => mode,
                other => return Err(out_of_turn(&other)),
            };
            channels.say(&Word::Ready { seconds: wanted.map(|wanted| wanted.as_secs_f64()) }).await?;
            let end = async {
                match channels.hear().await? {
                    Word::End(sent) => Ok(sent),
                    other => Err(out_of_turn(&other)),
                }
            };
            let counted = match mode {
                BenchMode::Dc => load::count_messages(&channels.load, end, &*self.progress).await?,
                BenchMode::Rtp => load::count_rtp(session, tracks, end, &*self.progress).await?,
            };
            channels.say(&Word::Result(counted)).await?;
            match channels.hear_within(READY, "the other side does not tell what it saw").await? {
                Word::Report { bench } => Ok(BenchReport { direction: "receive".to_owned(), ..*bench }),
                other => Err(out_of_turn(&other)),
            }
        };
        tokio::select! {
            counted = counting => counted,
            () = echo => Err(PeerError::HungUp.erase()),
        }
    }
}

/// How long is sent: as we were asked to, or as the other side was.
fn how_long(ours: Option<Duration>, theirs: Option<f64>) -> Duration {
    let theirs = || theirs.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    ours.or_else(theirs).unwrap_or(DURATION)
}

/// Keeps the connection up; completes with what ends it.
async fn keep_up(session: &Session, upkeep: &mut Upkeep, signaling: &mut Option<Box<dyn Signaling>>) -> PeerError {
    loop {
        let due = upkeep.due(session, signaling).await;
        if let Err(lost) = upkeep.attend(due, session, signaling).await {
            return lost;
        }
    }
}

/// Tells what went by in a second.
fn tell(progress: &dyn Progress, seconds: f64, bits_per_second: f64) {
    progress.event(Event::Bench { seconds, bits_per_second });
}

/// Bits per second of so many bytes.
fn rate(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { bytes as f64 * 8.0 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_how_long_is_heard_and_who_sends_first() {
        let (two, seconds) = (Duration::from_secs(2), Duration::from_secs);
        assert_eq!(how_long(Some(two), Some(7.0)), two);
        assert_eq!(how_long(None, Some(7.0)), seconds(7));
        assert_eq!([None, Some(-1.0), Some(f64::NAN), Some(1e300)].map(|theirs| how_long(None, theirs)), [DURATION; 4]);
        // Benches of before say nothing of it, and hear nothing.
        let ready: Word = serde_json::from_str(r#"{"type":"ready"}"#).unwrap();
        assert!(matches!(ready, Word::Ready { seconds: None }));
        assert_eq!(serde_json::to_string(&ready).unwrap(), r#"{"type":"ready"}"#);
    }
}
