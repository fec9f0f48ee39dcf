//! `call` and `answer`: one connection to one peer, with media and data both ways.
//!
//! ```text
//! send.rs     source -> encoder -> LocalTrack          (after the connection is up)
//! audience.rs source -> encoder -> fan -> LocalTracks, for several viewers of one listener
//! receive.rs  RemoteTrack -> outputs.rs: recorder | decoder -> y4m, wav, measure
//! data.rs     stdin <-> data channel <-> stdout
//! channels.rs lines of JSON <-> all data channels
//! files.rs    data channel -> files
//! bench       a load and pings over both
//! ```

mod audience;
mod bench;
mod channels;
mod comeback;
mod conformance;
mod data;
mod documents;
mod dump;
mod expect;
mod fan;
mod files;
mod lasting;
mod measure;
mod options;
mod outputs;
mod player;
mod receive;
mod report;
mod round;
mod send;
mod serving;
mod suiting;
#[cfg(test)]
mod tests;
mod whole;

pub use super::road::Signal;
pub use bench::{BenchMode, BenchReport, PingReport};
pub use conformance::Conformance;
pub use expect::{Expectation, Judged};
pub(in crate::ops) use measure::skew;
pub use measure::{Latency, Measured};
pub use options::{DataUse, Io, Options, ReceiveOptions};
pub use report::{ChannelReport, DataReport, Ended, Outcome, ReceivedTrack, Report, Viewer};

// What the options are made of, so that a caller of the operation need not know where in the house each part lives.
pub use crate::capture::SourceSpec;
pub use crate::capture::screen::{CursorCapture, Region, ScreenOptions};
pub use crate::ops::destination::Destination;
pub use crate::ops::media::{FilterList, SendLimits, SourceOptions, TerminalScreen, Volume};
pub use crate::peer::{
    Config, DataChannelInit, Family, IceServer, IceTransportPolicy, Identity, Interfaces, MulticastDns,
    NegotiateOptions, NetSim, PortRange, Role, Secret, StatsObject, check_server,
};
pub use crate::record::Existing;
pub use crate::signaling::whip::{
    ClientOptions as WhipOptions, ListenerOptions as WhipListenOptions, Protocol as WhipProtocol,
};
pub use crate::signaling::{RoomError, RoomOptions, RoomUrl, SdpFormat};

use super::control::Requests;
use super::road::{Entrance, Road};
use crate::error::{Error, ErrorKind};
use crate::peer::{Quality, Timing};
use crate::progress::{Event, Progress};
use crate::signaling::memory;
use crate::stop::{Stop, StopReason};
use documents::Documents;
use dump::Dump;
use outputs::Begun;
use round::GOODBYE;
use serde_json::Value;
use std::sync::Arc;
use std::time::Instant;

/// Makes or answers a call and serves it until it ends.
///
/// Ends when `stop` is asked for, after `options.duration`, when the peer hangs up, or when everything we had to send is
/// sent and nothing is to be received. `process_start` is the zero of all timing.
///
/// `requests` are commands to what is sent; a device that fails only ends its own track while something else is sent or wanted
/// of the peer, and is the outcome's error all the same.
pub async fn run(
    options: Options,
    io: Io,
    requests: Requests,
    process_start: Instant,
    progress: Arc<dyn Progress>,
    stop: Stop,
) -> Outcome {
    if let Err(error) = options.check() {
        return Outcome::failed(options.role, error);
    }
    let documents = match Documents::open(&options) {
        Ok(documents) => documents,
        Err(error) => return Outcome::failed(options.role, error),
    };
    let peer = Peer { progress, stop, process_start, dump: documents.dump() };
    let mut outcome = Box::pin(peer.run(options, io, requests)).await;
    // Small files: nothing else is left to be done meanwhile.
    if let Err(error) = documents.finish(&outcome) {
        outcome.error.get_or_insert(error);
    }
    outcome
}

impl Peer {
    async fn run(self, options: Options, io: Io, requests: Requests) -> Outcome {
        if options.signal == Signal::Loopback {
            return Box::pin(self.loopback(options, io, requests)).await;
        }
        let options = options.one_way();
        if let (Signal::WhipListen(listen), 2..) = (options.signal.clone(), options.max_viewers) {
            let media = MediaIo { input: io.media_input, ..MediaIo::default() };
            return Box::pin(self.broadcast(options, listen, media, requests)).await;
        }
        if let (Signal::Whip(client), true) = (options.signal.clone(), options.conformance) {
            let media = MediaIo { input: io.media_input, ..MediaIo::default() };
            return Box::pin(self.examine(options, client, media)).await;
        }
        match Entrance::open(&options.signal, io.input, io.output, options.negotiate.timeout) {
            Ok(mut road) => {
                if let Some(url) = road.listens_at() {
                    self.progress.event(Event::Listening { urls: vec![url.to_owned()] });
                }
                let (input, output) = (io.media_input, io.media_output);
                let media = MediaIo { input, output, screen: io.screen, begun: None };
                self.serve(options, road, media, requests).await
            }
            Err(error) => Outcome::failed(options.role, error),
        }
    }
}

/// Where media comes from and goes to that is none of the options.
#[derive(Default)]
struct MediaIo {
    input: Option<Box<dyn std::io::Read + Send>>,
    output: Option<Box<dyn std::io::Write + Send>>,
    screen: Option<TerminalScreen>,
    /// Where it is told when the files begin of which this call is to hold its duration, where they may be those of its other end.
    begun: Option<Begun>,
}

struct Peer {
    progress: Arc<dyn Progress>,
    stop: Stop,
    process_start: Instant,
    /// Where the course of the call is noted.
    dump: Option<Arc<Dump>>,
}

impl Peer {
    /// Both ends in one process: this side sends as asked, the other receives as asked.
    async fn loopback(self, options: Options, io: Io, requests: Requests) -> Outcome {
        let (near, far) = memory::pair();
        let data_use = options.data_use;
        let (calling, answering) = options.split_for_loopback();
        let stop = self.stop.clone();
        let caller = Self { progress: Arc::clone(&self.progress), stop: stop.clone(), ..self };
        let answerer = Self {
            progress: Arc::new(crate::progress::Silent),
            stop: Stop::new(),
            dump: None,
            process_start: self.process_start,
        };
        let (call_io, answer_io) = data::across(data_use, io.input, io.output);
        let begun = answering.receive.has_files().then(Begun::default);
        let sent = MediaIo { input: io.media_input, begun: begun.clone(), ..MediaIo::default() };
        let received = MediaIo { output: io.media_output, screen: io.screen, begun, ..MediaIo::default() };
        let answer_stop = answerer.stop.clone();
        let far = Entrance::Open(Road::Apart(Box::new(far), Some(answer_io)));
        let answer = tokio::spawn(answerer.serve(answering, far, received, Requests::none()));
        let near = Entrance::Open(Road::Apart(Box::new(near), Some(call_io)));
        let mut called = caller.serve(calling, near, sent, requests).await;
        if !called.report.was_connected() {
            answer_stop.stop(StopReason::Done);
        }
        match answer.await {
            Ok(answered) => {
                called.error = match (called.error.take(), answered.error) {
                    // Whoever fails first ends the other's signaling: that error is only the echo.
                    (Some(error), Some(other)) if matches!(error.stage(), "signaling" | "session") => Some(other),
                    (Some(error), _) => Some(error),
                    // Stopped before the connection was up, or before all was measured: what the other makes of that is an
                    // echo too.
                    (None, other) => other.filter(|error| {
                        called.report.was_connected() && !(stop.is_stopped() && error.stage() == "session")
                    }),
                };
                called.report.peer = Some(Box::new(answered.report));
            }
            Err(error) => {
                let message = format!("the answering side: {error}");
                called.error.get_or_insert(Error::new(ErrorKind::Internal, "OperationError", message));
            }
        }
        called
    }

    async fn serve(self, options: Options, road: Entrance, media: MediaIo, requests: Requests) -> Outcome {
        if let Some(mode) = options.bench {
            return self.bench(mode, options, road).await;
        }
        let timing = Arc::new(Timing::new(self.process_start));
        let mut report = Report::new(options.role);
        let result = Box::pin(self.serve_reporting(options, road, media, requests, &timing, &mut report)).await;
        report.timing = timing.waterfall();
        Outcome { report, error: result.err() }
    }
}

fn values(stats: &[StatsObject]) -> Vec<Value> {
    stats.iter().filter_map(|object| serde_json::to_value(object).ok()).collect()
}

/// Statistics joined by the frames that were decoded, of which the connection knows nothing.
fn with_decoded(mut stats: Vec<Value>, received: &[ReceivedTrack]) -> Vec<Value> {
    for track in received {
        if let Some(decoded) = track.frames_decoded
            && let Some(stream) =
                stats.iter_mut().find(|it| it["type"] == "inbound-rtp" && it["ssrc"] == track.rtp.ssrc)
        {
            stream["framesDecoded"] = decoded.into();
        }
    }
    stats
}

impl Report {
    fn judge(&self) -> Option<Quality> {
        let by_rtcp = self.sent.iter().filter_map(|track| track.round_trip_time).reduce(f64::max);
        let by_stun = self.connection.as_ref()?.selected_pair.as_ref().and_then(|pair| pair.current_round_trip_time);
        let lost = self.sent.iter().map(|track| track.fraction_lost).fold(0.0, f64::max);
        by_rtcp.or(by_stun).map(|seconds| Quality::judge(seconds, lost))
    }
}
