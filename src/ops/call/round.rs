//! One connection of a call, from when it is up until it ends. What outlives it is a [`Course`].

use super::data::Data;
use super::lasting::Lasting;
use super::receive::Receiving;
use super::report::Ended;
use super::send::Sending;
use super::{Options, Peer, values};
use crate::error::{Error, ErrorKind};
use crate::ops::control::{Request, Requests};
use crate::ops::road::Streams;
use crate::ops::transfer::served::{Incoming, LOOK_EVERY};
use crate::peer::{DataChannel, Happened, PeerError, RemoteTrack, Session, Upkeep};
use crate::progress::Event;
use crate::record::Existing;
use crate::signaling::{Description, Message, Signaling};
use crate::transfer;
use std::sync::Arc;
use std::time::Duration;

/// How often the statistics are taken that are dumped, where nothing else says so: as often as a browser does.
const DUMP_EVERY: Duration = Duration::from_secs(1);
/// How long a goodbye may take.
pub(super) const GOODBYE: Duration = Duration::from_millis(200);

/// How long a peer that hangs up may go on sending what it has.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What outlives a connection.
pub(super) struct Course {
    pub receiving: Receiving,
    pub sending: Sending,
    pub requests: Requests,
    pub lasting: Lasting,
    pub signaling: Option<Box<dyn Signaling>>,
    /// The streams of the data channels, until they are used.
    pub data_io: Option<Streams>,
}

/// How a connection ended.
pub(super) enum Ending {
    /// The call is over with it.
    Over(Result<Ended, Error>),
    /// The peer is gone without a word.
    Gone {
        /// What it comes to if it does not come back.
        otherwise: Result<Ended, Error>,
        /// The offer with which it began another connection.
        offer: Option<Description>,
    },
}

impl Peer {
    pub(super) async fn until_end(
        &self,
        options: &Options,
        session: &mut Session,
        mut upkeep: Upkeep,
        course: &mut Course,
        our_channels: Vec<DataChannel>,
    ) -> (Ending, Data) {
        let (mut tracks, channels) = session.take_arrivals();
        let mut data = match self.incoming(options) {
            Some(incoming) => {
                let relayed = session.report().await.is_relayed();
                Data::receive_files(incoming, channels, (session.traffic(), relayed), options.lives_by_data())
            }
            None => {
                let (io, progress) = (course.data_io.take(), Arc::clone(&self.progress));
                Data::start(options.data_use, our_channels, channels, io, progress)
            }
        };
        let Course { receiving, sending, requests, lasting, signaling, .. } = course;
        receiving.expect(&session.announced().await);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let sends_only = sending.is_active() && options.lives_by_sending();
        let dump_every = self.dump.as_ref().map(|_| DUMP_EVERY);
        let mut looking = options.stats.or(dump_every).map(tokio::time::interval);
        let mut data_over = false;
        let ending = loop {
            tokio::select! {
                () = self.stop.stopped() => break Ending::Over(Ok(self.stopped())),
                () = lasting.over() => break Ending::Over(Ok(Ended::Duration)),
                due = upkeep.due(session, signaling) => match upkeep.attend(due, session, signaling).await {
                    Ok(happened) => happened.into_iter().for_each(|happened| self.tell(happened)),
                    Err(PeerError::HungUp) if upkeep.said_bye() => {
                        // What it said by another way may have overtaken what it sent.
                        let _ = tokio::time::timeout(LAST_WORDS, session.gone(LAST_WORDS / 3)).await;
                        break Ending::Over(Ok(Ended::PeerHungUp));
                    }
                    Err(PeerError::HungUp) => {
                        break Ending::Gone { otherwise: Ok(Ended::PeerHungUp), offer: upkeep.take_new_offer() };
                    }
                    Err(lost) => break Ending::Gone { otherwise: Err(lost.erase()), offer: None },
                },
                _ = look.tick(), if options.receive_files.is_some() => session.suit_timers(),
                Some(track) = tracks.recv() => if let Err(failure) = self.take_track(track, receiving) {
                    break Ending::Over(Err(failure));
                },
                finished = data.over(), if !data_over => {
                    data_over = true;
                    match finished {
                        // Which of the two shows first that the peer is gone is chance.
                        Ok(Ended::PeerHungUp) if options.outlives_peer() => {}
                        Ok(reason) if options.lives_by_data() => break Ending::Over(Ok(reason)),
                        Ok(_) => {}
                        Err(failure) => break Ending::Over(Err(failure)),
                    }
                }
                finished = sending.over() => match finished {
                    Ok(()) if sends_only => break Ending::Over(Ok(Ended::InputEnded)),
                    finished => if let Err(failure) = go_on_without(sending, finished, sends_only) {
                        break Ending::Over(Err(failure));
                    },
                },
                request = requests.next() => match request.command.as_str() {
                    "restartIce" => request.answer(match upkeep.restart_ice(signaling) {
                        true => Ok(serde_json::Value::Null),
                        false => Err(nobody_to_ask()),
                    }),
                    _ => if obey(sending, request) {
                        break Ending::Over(Ok(Ended::Stopped));
                    },
                },
                failure = receiving.failed() => break Ending::Over(Err(failure)),
                () = next_look(&mut looking) => self.tell_stats(session, options.stats.is_some()).await,
            }
        };
        let spoke = upkeep.signaling_speaks() && !matches!(ending, Ending::Over(Ok(Ended::PeerHungUp)));
        if let (Ending::Over(_), true) = (&ending, spoke) {
            say_goodbye(signaling).await;
        }
        (ending, data)
    }

    /// Why it was asked to stop.
    pub(super) fn stopped(&self) -> Ended {
        self.stop.reason().map_or(Ended::Stopped, Ended::from)
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

    pub(super) fn tell(&self, happened: Happened) {
        let event = event_of(happened);
        let noted = match &event {
            Event::ConnectionStateChange { state } => Some(("connectionstatechange", state.as_str())),
            Event::IceConnectionStateChange { state } => Some(("iceconnectionstatechange", state.as_ref())),
            _ => None,
        };
        if let (Some(dump), Some((what, value))) = (self.dump.as_deref(), noted) {
            dump.note(what, value);
        }
        self.progress.event(event);
    }

    fn take_track(&self, track: RemoteTrack, receiving: &mut Receiving) -> Result<(), Error> {
        let codec = track.codec();
        self.progress.event(Event::Track { kind: codec.kind().to_string(), mime_type: codec.mime_type().to_owned() });
        receiving.take_track(track)
    }
}

/// Tells the other side that we hang up, where signaling still speaks.
pub(super) async fn say_goodbye(signaling: &mut Option<Box<dyn Signaling>>) {
    if let Some(signaling) = signaling {
        let _ = tokio::time::timeout(GOODBYE, signaling.send(&Message::Bye)).await;
    }
}

/// Obeys a command about what is sent; true when it hangs up.
pub(super) fn obey(sending: &mut Sending, request: Request) -> bool {
    let hangs_up = request.command == "hangup";
    match hangs_up {
        true => request.answer(Ok(serde_json::Value::Null)),
        false => sending.obey(request, &["restartIce", "hangup"]),
    }
    hangs_up
}

/// Goes on where only a device failed: the peer may still be of use.
pub(super) fn go_on_without(sending: &mut Sending, finished: Result<(), Error>, sends_only: bool) -> Result<(), Error> {
    match finished {
        Err(failure) if failure.kind() == ErrorKind::Device && !sends_only => {
            sending.go_on_without(failure);
            Ok(())
        }
        finished => finished,
    }
}

pub(super) fn nobody_to_ask() -> Error {
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

/// Never, when nobody wants to look. Cancel-safe.
async fn next_look(looking: &mut Option<tokio::time::Interval>) {
    match looking {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}
