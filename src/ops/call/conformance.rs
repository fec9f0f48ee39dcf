//! A WHIP or WHEP server examined: the requests are those of [`Examination`], and here the connection in between is made and used.

use super::outputs::Begun;
use super::player::Player;
use super::receive::{Means, Receiving};
use super::send::{Outlet, Sending};
use super::{GOODBYE, MediaIo, Options, Outcome, Peer, Report, values};
use crate::error::{Error, ErrorKind};
use crate::filter::FarEnd;
use crate::ops::media::Inputs;
use crate::peer::{Config, MediaPlan, PeerError, Role, Session, Timing};
use crate::progress::{Event, Progress};
use crate::signaling::whip::{Check, ClientOptions, Examination, Protocol, Verdict};
use crate::stop::{Stop, StopReason};
use serde::Serialize;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long media may take to flow once the connection is up, and the server to hang up when the session is ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// Packets that are no accident.
const SOME_PACKETS: u64 = 10;

/// A step of the examination of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conformance {
    /// Counted from 1.
    pub number: usize,
    /// What should be so.
    pub title: &'static str,
    /// `passed`, `failed`, `advised` (it should be so, and is not) or `skipped`.
    pub outcome: &'static str,
    /// Why it is not `passed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The steps so far.
#[derive(Clone)]
struct Steps(Arc<Mutex<Vec<Conformance>>>, Arc<dyn Progress>);

impl Steps {
    fn take(&self, check: Check) {
        let (outcome, message) = match check.outcome {
            Verdict::Passed => ("passed", None),
            Verdict::Failed(why) => ("failed", Some(why)),
            Verdict::Advised(why) => ("advised", Some(why)),
            Verdict::Skipped(why) => ("skipped", Some(why)),
        };
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let step = Conformance { number: steps.len() + 1, title: check.title, outcome, message };
        let Conformance { number, title, outcome, message } = step.clone();
        steps.push(step);
        self.1.event(Event::Conformance { number, title, outcome, message });
    }

    fn say(&self, title: &'static str, outcome: Verdict) {
        self.take(Check { title, outcome });
    }

    fn all(&self) -> Vec<Conformance> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Peer {
    pub(super) async fn examine(self, options: Options, client: ClientOptions, media: MediaIo) -> Outcome {
        let steps = Steps(Arc::default(), Arc::clone(&self.progress));
        let mut report = Report::new(options.role);
        let timing = Arc::new(Timing::new(self.process_start));
        let result = self.examine_stepwise(options, client, media, &timing, &steps).await;
        report.timing = timing.waterfall();
        report.conformance = steps.all();
        let failed = report.conformance.iter().filter(|step| step.outcome == "failed").count();
        let error = result.err().or_else(|| {
            let message = format!("{failed} of {} checks failed", report.conformance.len());
            (failed > 0).then(|| Error::new(ErrorKind::Refused, "refused", message).at("signaling"))
        });
        Outcome { report, error }
    }

    async fn examine_stepwise(
        &self,
        options: Options,
        client: ClientOptions,
        media: MediaIo,
        timing: &Arc<Timing>,
        steps: &Steps,
    ) -> Result<(), Error> {
        let protocol = client.protocol;
        let tell = steps.clone();
        let mut examination = Examination::new(client, Box::new(move |check| tell.take(check)))?;
        let inputs = Inputs::open_for_conversation(options.send.clone(), media.input, FarEnd::new()).await?;
        let connection = Config { video_codecs: options.video_codecs()?, ..options.connection.clone() };
        let plan = MediaPlan {
            send_video: inputs.video_codecs(&connection.video_codecs)?,
            send_audio: if inputs.audio.is_some() { connection.audio_codecs.to_vec() } else { Vec::new() },
            receive_video: options.receive.wants_video(false),
            receive_audio: options.receive.wants_audio(false),
        };
        let far_end = FarEnd::new();
        let player = Player::open(&options.receive, &plan, None, options.send.salt, far_end, &self.progress).await?;
        let codecs = &connection.video_codecs;
        let (timed, progress) = (Arc::clone(timing), Arc::clone(&self.progress));
        let means = Means { stdout: None, player, timing: timed, begun: Begun::default(), progress };
        let mut receiving = Receiving::prepare(&options.receive, &plan, codecs, means)?;
        self.unless_stopped(examination.before()).await?;

        let mut session = Session::new(&connection, Arc::clone(timing)).await.map_err(PeerError::erase)?;
        let (video, audio) = session.add_media(&plan).await.map_err(PeerError::erase)?;
        let up = session.connect(Role::Call, &mut examination, &options.negotiate, &self.stop).await;
        let connected = "ICE and DTLS come up";
        let sending_stop = Stop::new();
        let result = match up {
            Err(error @ (PeerError::Signaling(_) | PeerError::Stopped)) => Err(error.erase()),
            Err(error) => {
                steps.say(connected, Verdict::Failed(error.to_string()));
                steps.say("media flows", Verdict::Skipped("there is no connection".to_owned()));
                self.unless_stopped(examination.after()).await
            }
            Ok(()) => {
                steps.say(connected, Verdict::Passed);
                let (video, audio) = (video.map(Outlet::Peer), audio.map(Outlet::Peer));
                let (progress, vacancy) = (Arc::clone(&self.progress), options.vacancy());
                let sending =
                    Sending::start(inputs, options.limits, video, audio, vacancy, false, progress, &sending_stop)?;
                let flows = self.unless_stopped(flows(protocol, &mut session, &mut receiving)).await;
                let result = match flows {
                    Ok(outcome) => {
                        steps.say("media flows", outcome);
                        self.unless_stopped(examination.after()).await
                    }
                    Err(error) => Err(error),
                };
                if result.is_ok() {
                    let gone = tokio::time::timeout(PATIENCE, session.gone(PATIENCE)).await;
                    let lasts = || Verdict::Advised(format!("it is still there after {} s", PATIENCE.as_secs()));
                    let over = matches!(gone, Ok(PeerError::HungUp));
                    steps.say("the connection ends with the session", if over { Verdict::Passed } else { lasts() });
                }
                sending_stop.stop(StopReason::Done);
                // What it sent is no matter here.
                let _ = sending.finish(std::future::ready(())).await;
                result
            }
        };
        let _ = tokio::time::timeout(GOODBYE, examination.clean_up()).await;
        session.close().await;
        // What came is no matter either.
        let _ = receiving.finish().await;
        result
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.stop.stopped() => Err(PeerError::Stopped.erase()),
            done = work => done,
        }
    }
}

/// Whether the server confirms that it gets something, or gives something.
async fn flows(protocol: Protocol, session: &mut Session, receiving: &mut Receiving) -> Result<Verdict, Error> {
    let (mut tracks, _channels) = session.take_arrivals();
    let (kind, silent) = match protocol {
        Protocol::Whip => ("remote-inbound-rtp", "no RTCP says that anything arrived"),
        Protocol::Whep => ("inbound-rtp", "nothing came"),
    };
    let deadline = Instant::now() + PATIENCE;
    let mut look = tokio::time::interval(Duration::from_millis(50));
    while Instant::now() < deadline {
        tokio::select! {
            Some(track) = tracks.recv() => receiving.take_track(track)?,
            _ = look.tick() => {
                let enough = |object: &Value| object["type"] == kind && is_some(object, protocol);
                let fed_back = protocol == Protocol::Whip && session.transport_feedback() > 0;
                if fed_back || values(&session.stats().await).iter().any(enough) {
                    return Ok(Verdict::Passed);
                }
            }
        }
    }
    Ok(Verdict::Failed(format!("{silent} within {} s", PATIENCE.as_secs())))
}

fn is_some(stream: &Value, protocol: Protocol) -> bool {
    protocol == Protocol::Whip || stream["packetsReceived"].as_u64() >= Some(SOME_PACKETS)
}
