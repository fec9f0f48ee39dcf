//! A call from its inputs to its report: it meets the peer and serves the connection, and the next one where the peer comes back.

use super::comeback::{Comeback, Making};
use super::files::Came;
use super::lasting::Lasting;
use super::outputs::Begun;
use super::player::Player;
use super::receive::{Means, Receiving};
use super::round::{Course, Ending, GOODBYE, say_goodbye};
use super::send::{Outlet, Sending};
use super::whole::joined;
use super::{Ended, MediaIo, Options, Peer, Report, expect, values, with_decoded};
use crate::error::Error;
use crate::filter::FarEnd;
use crate::ops::control::Requests;
use crate::ops::media::Inputs;
use crate::ops::road::{self, Entrance, Visit};
use crate::peer::{
    Config, ConnectionState, DataChannel, Happened, LocalTrack, MediaPlan, PeerError, Role, Session, Taking, Timing,
    UpkeepTimes,
};
use crate::progress::Event;
use crate::signaling::{Message, Signaling};
use crate::stop::{Stop, StopReason};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Silence after which a peer is gone that has left where it was met, where it may come back.
const DEPARTED: Duration = Duration::from_millis(1500);

impl Peer {
    pub(super) async fn serve_reporting(
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
        let inputs = options.prepared(inputs).await?;
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
        let begun = media.begun.or_else(|| options.receive.has_files().then(Begun::default));
        let files = begun.as_ref().map(Begun::subscribe);
        let (begun, timed) = (begun.unwrap_or_default(), Arc::clone(timing));
        let progress = Arc::clone(&self.progress);
        let means = Means { stdout: media.output, player, timing: timed, begun, progress };
        let receiving = Receiving::prepare(&options.receive, &plan, codecs, means)?;
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
            match self.connect(role, &options, &plan, &mut session, road.signaling()).await {
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
        let (video_track, audio_track, mut our_channels) = match connected {
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
        let sending_stop = Stop::new();
        let (limits, vacancy, progress) = (options.limits, options.vacancy(), Arc::clone(&self.progress));
        let (video, audio) = (video_track.map(Outlet::Peer), audio_track.map(Outlet::Peer));
        let may_go_on = options.outlives_peer();
        let sending = match Sending::start(inputs, limits, video, audio, vacancy, may_go_on, progress, &sending_stop) {
            Ok(sending) => sending,
            Err(error) => {
                session.close().await;
                road.give_up().await;
                return Err(error);
            }
        };
        let (signaling, data_io) = road.split();
        let lasting = Lasting::begin(options.duration, files);
        let mut course = Course { receiving, sending, requests, lasting, signaling, data_io };
        let mut connections = Vec::new();
        let (result, data) = loop {
            let began = Instant::now();
            let mut times = UpkeepTimes::within(options.negotiate.timeout);
            if options.outlives_peer() {
                // Nothing is over with it, and whoever comes next is not to wait.
                times.departed = DEPARTED;
            }
            let upkeep = session.upkeep(role, times).await;
            let (ending, data) =
                self.until_end(&options, &mut session, upkeep, &mut course, std::mem::take(&mut our_channels)).await;
            report.seconds += began.elapsed().as_secs_f64();
            report.connection = Some(session.report().await);
            let stats = values(&session.stats().await);
            self.dump.iter().for_each(|dump| dump.take(&stats));
            connections.push(stats);
            let (otherwise, offer) = match ending {
                Ending::Gone { otherwise, offer } if options.outlives_peer() => (otherwise, offer),
                Ending::Gone { mut otherwise, .. } => {
                    if otherwise.is_err() && data.outlive().await {
                        otherwise = Ok(Ended::PeerHungUp);
                    }
                    if otherwise.is_err() {
                        say_goodbye(&mut course.signaling).await;
                    }
                    break (otherwise, Some(data));
                }
                Ending::Over(result) => break (result, Some(data)),
            };
            let zero = session.zero();
            session.close().await;
            report.take_data(data.finish().await.0);
            let making = Making { connection: connection.clone(), plan: plan.clone(), timing, zero };
            match Box::pin(self.come_back(&mut options, making, offer, &mut course)).await {
                Comeback::Back(back, now, channels) => {
                    (session, role, our_channels) = (*back, now, channels);
                    report.rejoined += 1;
                }
                Comeback::Nobody => break (otherwise, None),
                Comeback::Over(result) => break (result, None),
            }
        };
        sending_stop.stop(StopReason::Done);
        let Course { receiving, sending, signaling, .. } = course;
        let (sent, sending) = sending.finish(session.close()).await;
        let (received, receiving) = receiving.finish().await;
        report.sent = sent;
        let came = match data {
            Some(data) => {
                let (channels, came) = data.finish().await;
                report.take_data(channels);
                came
            }
            None => Came::default(),
        };
        report.transfer = came.report;
        report.ended = result.as_ref().ok().copied().filter(|_| came.error.is_none());
        report.take_received(received);
        report.quality = report.judge();
        let connections = connections.into_iter().map(|stats| with_decoded(stats, &report.received)).collect();
        report.expectations = expect::judge(&options.expect, &joined(connections));
        let signaling = road::close(signaling).await;
        let kept = expect::disappointment(&report.expectations).map_or(Ok(()), Err);
        result.map(drop).and(came.error.map_or(Ok(()), Err)).and(sending).and(receiving).and(signaling).and(kept)
    }

    pub(super) async fn connect(
        &self,
        role: Role,
        options: &Options,
        plan: &MediaPlan,
        session: &mut Session,
        signaling: &mut dyn Signaling,
    ) -> Result<(Option<LocalTrack>, Option<LocalTrack>, Vec<DataChannel>), PeerError> {
        let (video, audio) = session.add_media(plan).await?;
        let mut channels = Vec::new();
        for init in options.opened_channels() {
            channels.push(session.create_data_channel(init).await?);
        }
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

    /// The track, unless the peer refused it; where it is not sent, or not now, the user is told.
    async fn if_taken(&self, track: Option<LocalTrack>, session: &Session) -> Option<LocalTrack> {
        let track = track?;
        let taking = session.takes(&track).await;
        let until = match taking {
            Taking::Now => return Some(track),
            Taking::Later => " until it does",
            Taking::Never => "",
        };
        let message = format!("the peer takes no {}: none is sent{until}", track.codec().kind());
        self.progress.event(Event::Warning { message });
        (taking == Taking::Later).then_some(track)
    }
}
