//! `call` and `answer`: one connection to one peer, with media and data both ways.
//!
//! ```text
//! send.rs     source -> encoder -> LocalTrack          (after the connection is up)
//! audience.rs source -> encoder -> fan -> LocalTracks, for several viewers of one listener
//! receive.rs  RemoteTrack -> recorder | decoder -> y4m, wav, measure
//! data.rs     stdin <-> data channel <-> stdout
//! channels.rs lines of JSON <-> all data channels
//! files.rs    data channel -> files
//! ```

mod audience;
mod channels;
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
mod receive;
mod report;
mod send;
#[cfg(test)]
mod tests;

pub use super::road::Signal;
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
use super::road::{self, Entrance, Road, Streams, Visit};
use crate::error::{Error, ErrorKind};
use crate::filter::FarEnd;
use crate::ops::media::Inputs;
use crate::ops::transfer::served::{Incoming, LOOK_EVERY};
use crate::peer::{
    ConnectionState, DataChannel, Happened, LocalTrack, MediaPlan, PeerError, Quality, RemoteTrack, Session, Timing,
    Upkeep, UpkeepTimes,
};
use crate::progress::{Event, Progress};
use crate::signaling::{Message, Signaling, memory};
use crate::stop::{Stop, StopReason};
use crate::transfer;
use data::Data;
use documents::Documents;
use dump::Dump;
use lasting::Lasting;
use receive::{Player, Receiving};
use send::{Outlet, Sending};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the statistics are taken that are dumped, where nothing else says so: as often as a browser does.
const DUMP_EVERY: Duration = Duration::from_secs(1);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(200);

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
    let mut outcome = peer.run(options, io, requests).await;
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
                let media = MediaIo { input: io.media_input, output: io.media_output, screen: io.screen };
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
        let caller = Self { progress: Arc::clone(&self.progress), stop: self.stop.clone(), ..self };
        let answerer = Self {
            progress: Arc::new(crate::progress::Silent),
            stop: Stop::new(),
            dump: None,
            process_start: self.process_start,
        };
        let (call_io, answer_io) = data::across(data_use, io.input, io.output);
        let sent = MediaIo { input: io.media_input, ..MediaIo::default() };
        let received = MediaIo { output: io.media_output, screen: io.screen, ..MediaIo::default() };
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
                    // Stopped before the connection was up: what the other makes of that is an echo too.
                    (None, other) => other.filter(|_| called.report.was_connected()),
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
        let timing = Arc::new(Timing::new(self.process_start));
        let mut report = Report::new(options.role);
        let result = Box::pin(self.serve_reporting(options, road, media, requests, &timing, &mut report)).await;
        report.timing = timing.waterfall();
        Outcome { report, error: result.err() }
    }

    async fn serve_reporting(
        self,
        mut options: Options,
        road: Entrance,
        media: MediaIo,
        requests: Requests,
        timing: &Arc<Timing>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let far_end = FarEnd::new();
        // Everything that can be wrong with inputs and outputs is found before the peer is bothered.
        let inputs = tokio::select! {
            biased;
            // The first bytes of a pipe may never come; a thread that still waits for them ends with the process.
            () = self.stop.stopped() => {
                report.ended = self.stop.reason().map(Ended::from);
                return Ok(());
            }
            inputs = Inputs::open_for_conversation(options.send.clone(), media.input, far_end.clone()) => inputs?,
        };
        let inputs = if options.controlled { inputs.decoded().await? } else { inputs };
        let mut connection = Config { video_codecs: options.video_codecs()?, ..options.connection.clone() };
        let plan = MediaPlan {
            send_video: inputs.video_codecs(&connection.video_codecs)?,
            send_audio: if inputs.audio.is_some() { connection.audio_codecs.to_vec() } else { Vec::new() },
            receive_video: options.receive.wants_video(inputs.video.is_some()),
            receive_audio: options.receive.wants_audio(inputs.audio.is_some()),
        };
        let codecs = &connection.video_codecs;
        let player =
            Player::open(&options.receive, &plan, media.screen, options.send.salt, far_end, &self.progress).await?;
        let mut receiving =
            Receiving::prepare(&options.receive, &plan, codecs, media.output, player, Arc::clone(timing))?;
        let patience = options.negotiate.meeting;
        let visit = Visit { patience, verify: None, progress: &*self.progress, stop: &self.stop };
        let (mut road, met) = match Box::pin(road.enter(options.part(&plan), visit)).await {
            Ok(entered) => entered,
            Err(error) => {
                receiving.discard().await;
                report.ended = self.stop.reason().map(Ended::from);
                return if report.ended.is_some() { Ok(()) } else { Err(error) };
            }
        };
        if let Some(met) = met {
            road::take_ice_servers(&met, &mut connection);
            if let Err(error) = options.take_part(&met) {
                receiving.discard().await;
                road.give_up().await;
                return Err(error);
            }
            report.role = Report::new(options.role).role;
        }
        let mut role = options.signal.role(options.role);
        let (mut session, connected) = loop {
            let mut session = Session::new(&connection, Arc::clone(timing)).await.map_err(PeerError::erase)?;
            match self.connect(role, &options, &plan, &mut session, &mut road).await {
                Err(PeerError::Unexpected { got: "offer", .. })
                    if role == Role::Call && options.signal.may_counter() =>
                {
                    session.close().await;
                    role = Role::Answer;
                }
                // Whoever was there before us went; somebody else may come.
                Err(ended @ PeerError::SignalingEnded { .. }) => {
                    let visit = Visit { patience, verify: None, progress: &*self.progress, stop: &self.stop };
                    match road.meet_again(visit).await {
                        Ok(Some(met)) => {
                            session.close().await;
                            if let Err(error) = options.take_part(&met) {
                                receiving.discard().await;
                                road.give_up().await;
                                return Err(error);
                            }
                            report.role = Report::new(options.role).role;
                            role = options.role;
                        }
                        Ok(None) => break (session, Err(ended.erase())),
                        Err(error) => break (session, Err(error)),
                    }
                }
                connected => break (session, connected.map_err(PeerError::erase)),
            }
        };
        let (video_track, audio_track, our_channels) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                session.close().await;
                road.give_up().await;
                let stopped = self.stop.reason();
                receiving.discard().await;
                return match stopped {
                    Some(reason) => {
                        report.ended = Some(Ended::from(reason));
                        Ok(())
                    }
                    None => Err(error),
                };
            }
        };
        let began = Instant::now();
        let sending_stop = Stop::new();
        let progress = Arc::clone(&self.progress);
        let (limits, vacancy) = (options.limits, options.vacancy());
        let (video, audio) = (video_track.map(Outlet::Peer), audio_track.map(Outlet::Peer));
        let sending = match Sending::start(inputs, limits, video, audio, vacancy, progress, &sending_stop) {
            Ok(sending) => sending,
            Err(error) => {
                session.close().await;
                road.give_up().await;
                return Err(error);
            }
        };
        let (mut signaling, data_io) = road.split();
        let upkeep = session.upkeep(role, UpkeepTimes::within(options.negotiate.timeout)).await;
        let end = self
            .until_end(
                &options,
                &mut session,
                upkeep,
                &mut receiving,
                sending,
                requests,
                &mut signaling,
                our_channels,
                data_io,
            )
            .await;
        report.seconds = began.elapsed().as_secs_f64();
        report.connection = Some(session.report().await);
        let stats = values(&session.stats().await);
        self.dump.iter().for_each(|dump| dump.take(&stats));
        sending_stop.stop(StopReason::Done);
        let (sent, sending) = end.sending.finish(session.close()).await;
        let (received, receiving) = receiving.finish().await;
        report.sent = sent;
        let (data, came) = end.data.finish().await;
        report.take_data(data);
        report.transfer = came.report;
        report.ended = end.ended.filter(|_| came.error.is_none());
        report.take_received(received);
        report.quality = report.judge();
        report.expectations = expect::judge(&options.expect, &with_decoded(stats, &report.received));
        let signaling = road::close(signaling).await;
        let kept = expect::disappointment(&report.expectations).map_or(Ok(()), Err);
        end.error.or(came.error).map_or(Ok(()), Err).and(sending).and(receiving).and(signaling).and(kept)
    }

    async fn connect(
        &self,
        role: Role,
        options: &Options,
        plan: &MediaPlan,
        session: &mut Session,
        road: &mut Road,
    ) -> Result<(Option<LocalTrack>, Option<LocalTrack>, Vec<DataChannel>), PeerError> {
        let (video, audio) = session.add_media(plan).await?;
        let mut channels = Vec::new();
        for init in options.opened_channels() {
            channels.push(session.create_data_channel(init).await?);
        }
        let signaling = road.signaling();
        if let Err(error) = session.connect(role, signaling, &options.negotiate, &self.stop).await {
            // A road that is broken or takes nothing more is no news now.
            let _ = tokio::time::timeout(GOODBYE, signaling.send(&Message::Bye)).await;
            return Err(error);
        }
        self.tell(Happened::ConnectionState(ConnectionState::Connected));
        for server in session.server_troubles().into_iter().filter(|server| server.trouble.is_definite()) {
            self.progress.event(Event::Warning { message: format!("ICE server {server}") });
        }
        Ok((self.if_taken(video, session).await, self.if_taken(audio, session).await, channels))
    }

    /// The track, unless the peer refused it; then the user is told.
    async fn if_taken(&self, track: Option<LocalTrack>, session: &Session) -> Option<LocalTrack> {
        let track = track?;
        if session.takes(&track).await {
            return Some(track);
        }
        let message = format!("the peer takes no {}: none is sent", track.codec().kind());
        self.progress.event(Event::Warning { message });
        None
    }

    #[expect(clippy::too_many_arguments, reason = "each is an end of the connection that is served here")]
    async fn until_end(
        &self,
        options: &Options,
        session: &mut Session,
        mut upkeep: Upkeep,
        receiving: &mut Receiving,
        mut sending: Sending,
        mut requests: Requests,
        signaling: &mut Option<Box<dyn Signaling>>,
        our_channels: Vec<DataChannel>,
        data_io: Option<Streams>,
    ) -> End {
        let (mut tracks, channels) = session.take_arrivals();
        let mut data = match self.incoming(options) {
            Some(incoming) => {
                let relayed = session.report().await.is_relayed();
                Data::receive_files(incoming, channels, (session.traffic(), relayed), options.lives_by_data())
            }
            None => Data::start(options.data_use, our_channels, channels, data_io, Arc::clone(&self.progress)),
        };
        let mut look = tokio::time::interval(LOOK_EVERY);
        let files = options.receive.has_files().then(|| receiving.begun());
        let mut lasting = Lasting::begin(options.duration, files);
        let sends_only = sending.is_active() && options.lives_by_sending();
        let dump_every = self.dump.as_ref().map(|_| DUMP_EVERY);
        let mut looking = options.stats.or(dump_every).map(tokio::time::interval);
        let mut ended = None;
        let mut error = None;
        let mut data_over = false;
        while ended.is_none() && error.is_none() {
            tokio::select! {
                () = self.stop.stopped() => ended = self.stop.reason().map(Ended::from),
                () = lasting.over(|| session.zero()) => ended = Some(Ended::Duration),
                due = upkeep.due(session, signaling) => match upkeep.attend(due, session, signaling).await {
                    Ok(happened) => happened.into_iter().for_each(|happened| self.tell(happened)),
                    Err(PeerError::HungUp) => ended = Some(Ended::PeerHungUp),
                    Err(lost) => error = Some(lost.erase()),
                },
                _ = look.tick(), if options.receive_files.is_some() => session.suit_timers(),
                Some(track) = tracks.recv() => self.take_track(track, receiving),
                finished = data.over(), if !data_over => {
                    data_over = true;
                    match finished {
                        Ok(reason) if options.lives_by_data() => ended = Some(reason),
                        Ok(_) => {}
                        Err(failure) => error = Some(failure),
                    }
                }
                finished = sending.over() => match finished {
                    Ok(()) if sends_only => ended = Some(Ended::InputEnded),
                    Ok(()) => {}
                    // The peer may still be of use.
                    Err(failure) if failure.kind() == ErrorKind::Device && !sends_only => {
                        sending.go_on_without(failure);
                    }
                    Err(failure) => error = Some(failure),
                },
                request = requests.next() => match request.command.as_str() {
                    "hangup" => {
                        request.answer(Ok(serde_json::Value::Null));
                        ended = Some(Ended::Stopped);
                    }
                    "restartIce" => request.answer(match upkeep.restart_ice(signaling) {
                        true => Ok(serde_json::Value::Null),
                        false => Err(nobody_to_ask()),
                    }),
                    _ => sending.obey(request, &["restartIce", "hangup"]),
                },
                failure = receiving.failed() => error = Some(failure),
                () = next_look(&mut looking) => self.tell_stats(session, options.stats.is_some()).await,
            }
        }
        if let Some(signaling) =
            signaling.as_mut().filter(|_| upkeep.signaling_speaks() && ended != Some(Ended::PeerHungUp))
        {
            let goodbye = signaling.send(&Message::Bye);
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
        End { ended, error, data, sending }
    }

    async fn tell_stats(&self, session: &Session, wanted: bool) {
        let report = values(&session.stats().await);
        self.dump.iter().for_each(|dump| dump.take(&report));
        if wanted {
            self.progress.event(Event::Stats { report });
        }
    }

    /// What becomes of files, if they are welcome.
    fn incoming(&self, options: &Options) -> Option<Incoming> {
        Some(Incoming {
            folder: options.receive_files.clone()?,
            existing: match options.receive.existing {
                Existing::Refuse => transfer::Existing::Refuse,
                Existing::Overwrite => transfer::Existing::Overwrite,
                Existing::Rename => transfer::Existing::Rename,
            },
            connection: options.connection.clone(),
            stop: self.stop.clone(),
            progress: Arc::clone(&self.progress),
        })
    }

    fn tell(&self, happened: Happened) {
        let event = event_of(happened);
        let noted = match &event {
            Event::ConnectionStateChange { state } => Some(("connectionstatechange", state.as_str())),
            Event::IceConnectionStateChange { state } => Some(("iceconnectionstatechange", state.as_ref())),
            _ => None,
        };
        if let (Some(dump), Some((what, value))) = (&self.dump, noted) {
            dump.note(what, value);
        }
        self.progress.event(event);
    }

    fn take_track(&self, track: RemoteTrack, receiving: &mut Receiving) {
        let codec = track.codec();
        self.progress.event(Event::Track { kind: codec.kind().to_string(), mime_type: codec.mime_type().to_owned() });
        if let Err(error) = receiving.take_track(track) {
            self.progress.event(Event::Warning { message: error.to_string() });
        }
    }
}

fn nobody_to_ask() -> Error {
    Error::new(ErrorKind::InvalidInput, "InvalidStateError", "signaling is over, and a restart is offered by it")
}

/// What happened to the connection, as it is told.
fn event_of(happened: Happened) -> Event {
    match happened {
        Happened::ConnectionState(state) => Event::ConnectionStateChange { state: state.as_str().to_owned() },
        Happened::IceConnectionState(state) => Event::IceConnectionStateChange { state },
        Happened::IceRestart(side) => Event::IceRestart { side: side.as_str() },
        Happened::SignalingBroken(broken) => Event::Warning { message: format!("signaling ended: {broken}") },
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

/// Never, when nobody wants to look. Cancel-safe.
async fn next_look(looking: &mut Option<tokio::time::Interval>) {
    match looking {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

struct End {
    ended: Option<Ended>,
    error: Option<Error>,
    data: Data,
    sending: Sending,
}

impl Report {
    fn judge(&self) -> Option<Quality> {
        let by_rtcp = self.sent.iter().filter_map(|track| track.round_trip_time).reduce(f64::max);
        let by_stun = self.connection.as_ref()?.selected_pair.as_ref().and_then(|pair| pair.current_round_trip_time);
        let lost = self.sent.iter().map(|track| track.fraction_lost).fold(0.0, f64::max);
        by_rtcp.or(by_stun).map(|seconds| Quality::judge(seconds, lost))
    }
}
