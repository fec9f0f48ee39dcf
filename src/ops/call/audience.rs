//! Several viewers of one WHEP listener, from one encode. It begins with the first that comes, and none of them ends it.

use super::fan::Fan;
use super::report::{Ended, SentTrack, Viewer};
use super::send::{self, Outlet, Sending};
use super::{GOODBYE, MediaIo, Options, Outcome, Peer, Report};
use crate::error::{Error, ErrorKind};
use crate::filter::FarEnd;
use crate::ops::control::Requests;
use crate::ops::media::Inputs;
use crate::ops::road;
use crate::peer::{
    Config, LocalTrack, MediaPlan, NegotiateOptions, PeerError, Role, Session, Taking, Timing, UpkeepTimes,
};
use crate::progress::{Event, Progress};
use crate::signaling::Signaling;
use crate::signaling::whip::{Audience, ListenerOptions, Seat};
use crate::stop::{Stop, StopReason};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How long viewers may take to be told that it is over.
const LEAVING: Duration = Duration::from_secs(2);

/// Why a viewer cannot share an encode.
const NO_SHARE: &str = "H.264 in packetization-mode 0 alone, which needs an encoder of its own";

/// What all viewers share.
struct Stage {
    connection: Config,
    negotiate: NegotiateOptions,
    plan: MediaPlan,
    video: Option<Arc<Fan>>,
    audio: Option<Arc<Fan>>,
    /// Somebody is there to be sent to.
    begin: Notify,
    watching: AtomicUsize,
    progress: Arc<dyn Progress>,
    stop: Stop,
    process_start: Instant,
}

impl Peer {
    pub(super) async fn broadcast(
        self,
        options: Options,
        listen: ListenerOptions,
        media: MediaIo,
        requests: Requests,
    ) -> Outcome {
        let mut report = Report::new(options.role);
        let timing = Timing::new(self.process_start);
        let result = self.broadcast_reporting(options, listen, media, requests, &mut report).await;
        report.timing = timing.waterfall();
        Outcome { report, error: result.err() }
    }

    async fn broadcast_reporting(
        self,
        options: Options,
        listen: ListenerOptions,
        media: MediaIo,
        mut requests: Requests,
        report: &mut Report,
    ) -> Result<(), Error> {
        let mut audience = road::acceptor(&listen)
            .and_then(|tls| Audience::bind(listen, options.max_viewers, tls))
            .map_err(|error| error.at("signaling"))?;
        let inputs = tokio::select! {
            biased;
            () = self.stop.stopped() => {
                report.ended = self.stop.reason().map(Ended::from);
                return Ok(());
            }
            inputs = Inputs::open_for_conversation(options.send.clone(), media.input, FarEnd::new()) => inputs?,
        };
        let inputs = options.prepared(inputs).await?;
        let connection = Config { video_codecs: options.video_codecs()?, ..options.connection.clone() };
        // One encode has one codec: the first that we would take.
        let video: Vec<_> = inputs.video_codecs(&connection.video_codecs)?.into_iter().take(1).collect();
        let audio: Vec<_> = connection.audio_codecs.iter().copied().take(usize::from(inputs.audio.is_some())).collect();
        let fan = |codecs: &[_]| codecs.first().map(|codec| Fan::new(*codec));
        let stage = Arc::new(Stage {
            video: fan(&video),
            audio: fan(&audio),
            plan: MediaPlan { send_video: video, send_audio: audio, receive_video: false, receive_audio: false },
            connection,
            negotiate: options.negotiate.clone(),
            begin: Notify::new(),
            watching: AtomicUsize::new(0),
            progress: Arc::clone(&self.progress),
            stop: Stop::new(),
            process_start: self.process_start,
        });
        self.progress.event(Event::Listening { urls: vec![audience.url().to_owned()] });

        let sending_stop = Stop::new();
        let (mut inputs, mut sending, mut began) = (Some(inputs), None::<Sending>, None);
        let mut viewers: JoinSet<Viewer> = JoinSet::new();
        let (mut came, mut ended, mut error) = (0, None, None);
        while ended.is_none() && error.is_none() {
            tokio::select! {
                () = self.stop.stopped() => ended = self.stop.reason().map(Ended::from),
                () = past(began, options.duration) => ended = Some(Ended::Duration),
                Some(seat) = audience.next() => {
                    came += 1;
                    viewers.spawn(Arc::clone(&stage).view(came, seat));
                }
                Some(done) = viewers.join_next() => report.viewers.extend(done.ok()),
                () = stage.begin.notified(), if inputs.is_some() => {
                    let Some(inputs) = inputs.take() else { continue };
                    let outlets = [&stage.video, &stage.audio].map(|fan| fan.clone().map(Outlet::Viewers));
                    let ([video, audio], progress) = (outlets, Arc::clone(&self.progress));
                    began = Some(Instant::now());
                    match Sending::start(inputs, options.limits, video, audio, options.vacancy(), false, progress, &sending_stop) {
                        Ok(started) => sending = Some(started),
                        Err(failure) => error = Some(failure),
                    }
                }
                finished = over(&mut sending) => match finished {
                    Ok(()) => ended = Some(Ended::InputEnded),
                    Err(failure) => error = Some(failure),
                },
                request = requests.next() => match (request.command.as_str(), &mut sending) {
                    ("hangup", _) => {
                        request.answer(Ok(serde_json::Value::Null));
                        ended = Some(Ended::Stopped);
                    }
                    (_, Some(sending)) => sending.obey(request, &["hangup"]),
                    (_, None) => {
                        let message = "nobody is there yet, and nothing is sent";
                        request.answer(Err(Error::new(ErrorKind::InvalidInput, "InvalidStateError", message)));
                    }
                },
            }
        }
        report.seconds = began.map_or(0.0, |began: Instant| began.elapsed().as_secs_f64());
        report.ended = ended;
        sending_stop.stop(StopReason::Done);
        let sent = match sending {
            Some(sending) => sending.finish(std::future::ready(())).await.1,
            None => Ok(()),
        };
        // What was encoded is on its way to them; then they are told.
        stage.stop.stop(StopReason::Done);
        let deadline = Instant::now() + LEAVING;
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline.into(), viewers.join_next()).await {
            report.viewers.extend(done.ok());
        }
        report.viewers.sort_by_key(|viewer| viewer.viewer);
        audience.close().await;
        error.map_or(Ok(()), Err).and(sent)
    }
}

impl Stage {
    async fn view(self: Arc<Self>, viewer: u64, seat: Seat) -> Viewer {
        let mut report = Viewer { viewer, ..Viewer::default() };
        let mut road: Option<Box<dyn Signaling>> = Some(Box::new(seat));
        if let Err(error) = self.serve(&mut road, &mut report).await {
            report.error = Some(error.to_string());
        }
        if let Some(mut road) = road {
            // One that is broken is no news now.
            let _ = tokio::time::timeout(GOODBYE, road.close()).await;
        }
        let (viewers, message) = (self.watching.load(Ordering::Relaxed), report.error.clone());
        self.progress.event(Event::ViewerLeave { viewer, viewers, message });
        report
    }

    async fn serve(&self, road: &mut Option<Box<dyn Signaling>>, report: &mut Viewer) -> Result<(), PeerError> {
        let timing = Arc::new(Timing::new(self.process_start));
        let mut session = Session::new(&self.connection, timing).await?;
        let connected = async {
            let (video, audio) = session.add_media(&self.plan).await?;
            let road = road.as_deref_mut().expect("it is there until it was served");
            session.connect(Role::Answer, road, &self.negotiate, &self.stop).await?;
            Ok((video, audio))
        };
        let (video, audio) = match connected.await {
            Ok(tracks) => tracks,
            Err(error) => {
                session.close().await;
                return Err(error);
            }
        };
        let began = Instant::now();
        let viewers = self.watching.fetch_add(1, Ordering::Relaxed) + 1;
        self.progress.event(Event::ViewerJoin { viewer: report.viewer, viewers });
        self.begin.notify_one();
        let (mut tracks, leaving) = (JoinSet::new(), Stop::new());
        for (track, fan) in [(video, &self.video), (audio, &self.audio)] {
            if let (Some(track), Some(fan)) = (track, fan)
                && session.takes(&track).await == Taking::Now
            {
                if track.most_unit_bytes().is_some() {
                    session.close().await;
                    self.watching.fetch_sub(1, Ordering::Relaxed);
                    return Err(PeerError::Description { what: "offer", why: NO_SHARE.to_owned() });
                }
                tracks.spawn(send_from(track, Arc::clone(fan), leaving.clone()));
            }
        }
        let ended = self.until_end(road, &mut session, &mut tracks, report).await;
        self.watching.fetch_sub(1, Ordering::Relaxed);
        report.seconds = began.elapsed().as_secs_f64();
        report.bytes_sent = session.report().await.bytes_sent;
        leaving.stop(StopReason::Done);
        let deadline = Instant::now() + send::LETTING_GO;
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline.into(), tracks.join_next()).await {
            if let Ok(Ok(track)) = done {
                report.take_sent(&track);
            }
        }
        session.close().await;
        report.ended = Some(ended?);
        Ok(())
    }

    async fn until_end(
        &self,
        road: &mut Option<Box<dyn Signaling>>,
        session: &mut Session,
        tracks: &mut JoinSet<Result<SentTrack, PeerError>>,
        report: &mut Viewer,
    ) -> Result<Ended, PeerError> {
        let mut upkeep = session.upkeep(Role::Answer, UpkeepTimes::within(self.negotiate.timeout)).await;
        let nothing_to_send = tracks.is_empty();
        loop {
            tokio::select! {
                due = upkeep.due(session, road) => match upkeep.attend(due, session, road).await {
                    Ok(_) => {}
                    Err(PeerError::HungUp) => return Ok(Ended::PeerHungUp),
                    Err(lost) => return Err(lost),
                },
                done = tracks.join_next(), if !nothing_to_send => match done {
                    Some(Ok(done)) => report.take_sent(&done?),
                    Some(Err(_)) => {}
                    None => return Ok(Ended::InputEnded),
                },
                () = self.stop.stopped() => return Ok(Ended::Stopped),
            }
        }
    }
}

/// Sends a track to one viewer until either ends.
async fn send_from(track: LocalTrack, fan: Arc<Fan>, leaving: Stop) -> Result<SentTrack, PeerError> {
    let (frames, captured_at) = fan.join(track.control()).await;
    let frames = Arc::new(frames);
    let mut running = std::pin::pin!(track.run(Arc::clone(&frames), captured_at));
    let report = tokio::select! {
        report = &mut running => report?,
        () = leaving.stopped() => {
            frames.close();
            running.await?
        }
    };
    Ok(SentTrack::new(report, None, frames.stats()))
}

/// Completes when what is sent is over; never before it began. Cancel-safe.
async fn over(sending: &mut Option<Sending>) -> Result<(), Error> {
    match sending {
        Some(sending) => sending.over().await,
        None => std::future::pending().await,
    }
}

/// Completes when the time is over; never without one. Cancel-safe.
async fn past(began: Option<Instant>, duration: Option<Duration>) {
    match (began, duration) {
        (Some(began), Some(duration)) => tokio::time::sleep_until((began + duration).into()).await,
        _ => std::future::pending().await,
    }
}
