//! What keeps a connection that is up: candidates that come late, descriptions that the peer sends anew, and ICE restarts of both
//! sides (RFC 8445 section 9, RFC 8839 section 4.4.1.1.1), by signaling that still speaks.
//!
//! ```text
//! due: a message of signaling | a candidate of ours | a state | nothing heard for too long   (cancel-safe)
//!  -> attend: applies it, answers it, or offers a restart over the same signaling
//! ```
//!
//! A restart keeps DTLS, tracks and data channels; the library opens new sockets for it, on the interfaces that are up then. Both
//! sides may start one. When offers cross, the one that made the first offer insists and the other gives way (W3C
//! webrtc-pc, "perfect negotiation").

use super::bandwidth::Bandwidth;
use super::codecs::without_unspoken_forms;
use super::direction::{as_offered, with_nothing_ended};
use super::error::PeerError;
use super::negotiate::{Role, check_answer, origin_of, sections, with_session_attribute};
use super::reading::{Reading, read_answer, read_offer, taken};
use super::renegotiation::{
    credentials, is_of_generation, is_of_same_peer, with_setup, without_candidates, without_known_streams,
};
use super::session::{ConnectionState, Gathered, Session};
use super::undeclared::Stream;
use crate::error::Error;
use crate::signaling::{Candidate, Description, DescriptionKind, IN_REPLY_TO, Message, Presence, Signaling};
use rtc::peer_connection::configuration::RTCOfferOptions;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use webrtc::peer_connection::{RTCIceConnectionState, RTCSessionDescription};

/// How long things may take on a connection that was up.
#[derive(Clone, Copy, Debug)]
pub struct UpkeepTimes {
    /// Silence after which a path counts as dead and ICE is restarted: consent checks come every second.
    pub dead: Duration,
    /// How long a restart may take before it is tried again.
    pub restarting: Duration,
    /// Silence after which the peer counts as gone where nobody can be asked for a restart.
    pub alone: Duration,
    /// Silence after which the peer counts as gone that has left where it was met.
    pub departed: Duration,
    /// Silence after which it does where restarts are tried.
    pub within: Duration,
}

impl UpkeepTimes {
    /// Of a connection that may take `timeout` to come up, and as long to come back.
    pub fn within(timeout: Duration) -> Self {
        let alone = Duration::from_millis(8500);
        Self {
            dead: Duration::from_secs(7),
            restarting: Duration::from_secs(8),
            alone,
            departed: Duration::from_secs(4),
            within: timeout.max(alone),
        }
    }
}

/// Whose restart it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Ours.
    Local,
    /// The peer's.
    Remote,
}

impl Side {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// What happened to a connection.
#[derive(Debug)]
pub enum Happened {
    /// Its `connectionState` changed.
    ConnectionState(ConnectionState),
    /// Its `iceConnectionState` changed, to this word of W3C webrtc-pc.
    IceConnectionState(String),
    /// ICE is restarted.
    IceRestart(Side),
    /// Signaling failed. The connection goes on without it.
    SignalingBroken(Error),
}

/// What is to be attended to.
#[derive(Debug)]
pub struct Due(Matter);

#[derive(Debug)]
enum Matter {
    State(ConnectionState),
    IceState(RTCIceConnectionState),
    Gathered(Gathered),
    Message(Message),
    SignalingEnded(Option<Error>),
    /// Whether somebody asked for it.
    Restart(bool),
    /// A stream came that was not announced.
    Stream(Stream),
    Gone(PeerError),
}

/// Signaling that may be over.
type Road = Option<Box<dyn Signaling>>;

/// Keeps one connection up.
pub struct Upkeep {
    times: UpkeepTimes,
    /// Whether we give way when offers cross.
    polite: bool,
    /// Whether we are the server of DTLS, which no description changes.
    passive: bool,
    gathered: mpsc::Receiver<Gathered>,
    states: watch::Receiver<ConnectionState>,
    ice_states: watch::Receiver<RTCIceConnectionState>,
    /// The last description of the peer, as it came.
    remote: String,
    /// An offer of ours that nobody has answered yet.
    offered: Option<String>,
    /// An offer of the peer that waits for a network of ours.
    postponed: Option<Description>,
    unconnected_since: Option<Instant>,
    restarted_at: Option<Instant>,
    /// Whether somebody wants a restart although nothing is wrong.
    wanted: bool,
    signaling_over: bool,
    /// What the road last said of the other side, and when.
    presence: Option<(Presence, Instant)>,
    /// Whether the peer said that it hangs up.
    said_bye: bool,
    /// The offer with which it began another connection.
    anew: Option<Description>,
}

impl Session {
    /// Keeps the connection up from now on: it is, and `role` is whose it was in the first exchange. To be called once.
    pub async fn upkeep(&mut self, role: Role, times: UpkeepTimes) -> Upkeep {
        let (_, nothing) = mpsc::channel(1);
        let remote = self.pc.remote_description().await.map(|remote| remote.sdp).unwrap_or_default();
        let mut ice_states = self.ice_state.clone();
        ice_states.mark_unchanged();
        Upkeep {
            times,
            polite: role == Role::Answer,
            passive: remote.contains("a=setup:active"),
            gathered: std::mem::replace(&mut self.gathered, nothing),
            states: self.state.clone(),
            ice_states,
            remote,
            offered: None,
            postponed: None,
            unconnected_since: None,
            restarted_at: None,
            wanted: false,
            signaling_over: false,
            presence: None,
            said_bye: false,
            anew: None,
        }
    }

    /// Lets the protocol's timers suit the path, for a connection that is up and carries data alone; to be called now and
    /// then, since paths change. Without it a packet lost at the end of a burst costs a second.
    pub fn suit_timers(&self) {
        // Of a path through a relay nothing is known but that it is no short one.
        const UNKNOWN: Duration = Duration::from_millis(50);
        // SCTP retransmits five times, at intervals that double, and then never again although the path may come back.
        // Where nothing is heard it must not get there before a silence counts as the end.
        const QUIET: Duration = Duration::from_millis(100);
        const PATIENT: Duration = Duration::from_secs(1);
        if !self.carries_media.load(Ordering::Relaxed) {
            let round_trip = self.round_trip().unwrap_or(UNKNOWN);
            let quiet = self.silence().is_some_and(|silence| silence > QUIET.max(round_trip * 3));
            self.runtime.clock().suit(if quiet { PATIENT } else { round_trip });
        }
    }

    /// Applies an offer and our answer to it, which is given.
    pub(super) async fn answer_again(&self, sdp: &str) -> Result<String, PeerError> {
        let refused = |error: webrtc::error::Error| PeerError::Description { what: "offer", why: error.to_string() };
        let offer = RTCSessionDescription::offer(sdp.to_owned()).map_err(refused)?;
        self.pc.set_remote_description(offer).await.map_err(refused)?;
        self.agree_on_codecs(sdp, true).await?;
        let answer = self.pc.create_answer(None).await.map_err(refused)?;
        self.pc.set_local_description(answer.clone()).await.map_err(refused)?;
        Ok(answer.sdp)
    }

    /// Waits until the peer is gone: [`PeerError::HungUp`] when it said so (DTLS `close_notify`), [`PeerError::Lost`] when
    /// nothing has come for `patience`. Cancel-safe.
    pub async fn gone(&self, patience: Duration) -> PeerError {
        let lost = async {
            loop {
                let silence = self.silence().unwrap_or_default();
                if silence >= patience {
                    return PeerError::Lost { silence };
                }
                tokio::time::sleep(patience - silence).await;
            }
        };
        tokio::select! {
            biased;
            // The library answers a goodbye but tells nobody.
            () = self.runtime.departures().closed() => PeerError::HungUp,
            lost = lost => lost,
        }
    }
}

impl Session {
    /// The same for a peer of which the road knows that it is cut off or has left. `known` is since when we know of it; until then
    /// we may have been cut off ourselves, and its silence says nothing. Cancel-safe.
    async fn forsaken(
        &self,
        presence: Option<watch::Receiver<Presence>>,
        known: &mut Option<(Presence, Instant)>,
        times: &UpkeepTimes,
    ) -> PeerError {
        let Some(mut presence) = presence else { return std::future::pending().await };
        loop {
            let now = *presence.borrow_and_update();
            let (_, since) = *match known {
                Some((before, _)) if *before != now => known.insert((now, Instant::now())),
                _ => known.get_or_insert_with(|| (now, Instant::now())),
            };
            let patience = match now {
                Presence::Here => None,
                Presence::Cut => Some(times.alone),
                Presence::Gone => Some(times.departed),
            };
            let gone = async {
                let patience = patience.unwrap_or_default();
                tokio::time::sleep_until((since + patience).into()).await;
                self.gone(patience).await
            };
            tokio::select! {
                gone = gone, if patience.is_some() => return gone,
                Ok(()) = presence.changed() => {}
                else => return std::future::pending().await,
            }
        }
    }
}

/// Whether it is time for a restart of ours, or for another one.
fn is_restart_due(times: &UpkeepTimes, polite: bool, trouble: Duration, since_restart: Option<Duration>) -> bool {
    // Whoever gives way lets the other side begin.
    let patience = if polite { times.dead + times.dead / 4 } else { times.dead };
    trouble >= patience && since_restart.is_none_or(|since| since >= times.restarting)
}

impl Upkeep {
    /// Waits for what is to be attended to. Cancel-safe.
    pub async fn due(&mut self, session: &Session, signaling: &mut Road) -> Due {
        Due(self.next(session, signaling).await)
    }

    async fn next(&mut self, session: &Session, signaling: &mut Road) -> Matter {
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        let speaks = signaling.is_some() && !self.signaling_over;
        let may_offer = speaks && signaling.as_ref().is_some_and(|road| road.takes_offers());
        let patience = if speaks { self.times.within } else { self.times.alone };
        let (times, polite, unconnected_since, restarted_at) =
            (self.times, self.polite, self.unconnected_since, self.restarted_at);
        let trouble = async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let unconnected = unconnected_since.map(|since| since.elapsed()).unwrap_or_default();
                if unconnected >= patience {
                    return Matter::Gone(PeerError::Lost { silence: unconnected });
                }
                let trouble = unconnected.max(session.silence().unwrap_or_default());
                if may_offer && is_restart_due(&times, polite, trouble, restarted_at.map(|at| at.elapsed())) {
                    return Matter::Restart(false);
                }
            }
        };
        let postponed = self.postponed.is_some();
        let presence = signaling.as_ref().and_then(|road| road.presence());
        tokio::select! {
            biased;
            () = std::future::ready(()), if self.wanted => {
                self.wanted = false;
                Matter::Restart(true)
            }
            changed = self.states.changed() => match changed {
                Ok(()) => Matter::State(*self.states.borrow_and_update()),
                Err(_) => Matter::Gone(PeerError::HungUp),
            },
            Ok(()) = self.ice_states.changed() => Matter::IceState(*self.ice_states.borrow_and_update()),
            Some(gathered) = self.gathered.recv() => Matter::Gathered(gathered),
            message = receive(signaling), if speaks => match message {
                Ok(Some(message)) => Matter::Message(message),
                Ok(None) => Matter::SignalingEnded(None),
                Err(error) => Matter::SignalingEnded(Some(error)),
            },
            stream = session.runtime.undeclared().next() => Matter::Stream(stream),
            gone = session.gone(patience) => Matter::Gone(gone),
            gone = session.forsaken(presence, &mut self.presence, &times) => Matter::Gone(gone),
            due = trouble => due,
            () = tokio::time::sleep(LOOK_EVERY), if postponed => match self.postponed.take() {
                Some(description) => Matter::Message(Message::Description(description)),
                None => Matter::Restart(false),
            },
        }
    }

    /// Attends to it. What the peer or the network makes impossible is logged, and tried again in its time.
    ///
    /// # Errors
    /// [`PeerError::HungUp`] or [`PeerError::Lost`] when the connection is over.
    pub async fn attend(
        &mut self,
        due: Due,
        session: &Session,
        signaling: &mut Road,
    ) -> Result<Option<Happened>, PeerError> {
        let done = match due.0 {
            Matter::Gone(error) => return Err(error),
            Matter::State(ConnectionState::Closed) => return Err(PeerError::HungUp),
            Matter::Message(Message::Bye) => {
                self.said_bye = true;
                return Err(PeerError::HungUp);
            }
            Matter::State(ConnectionState::Failed) => return Err(session.gone(Duration::ZERO).await),
            Matter::State(state) => {
                if state == ConnectionState::Connected {
                    (self.unconnected_since, self.restarted_at) = (None, None);
                } else {
                    self.unconnected_since.get_or_insert_with(Instant::now);
                }
                return Ok(Some(Happened::ConnectionState(state)));
            }
            Matter::IceState(state) => return Ok(Some(Happened::IceConnectionState(state.to_string()))),
            Matter::SignalingEnded(error) => return Ok(self.signaling_ended(error)),
            Matter::Message(Message::EndOfCandidates) => return Ok(None),
            Matter::Message(Message::Candidate(candidate)) => {
                self.take_candidate(candidate, session).await;
                return Ok(None);
            }
            Matter::Stream(stream) => {
                if let Err(error) = session.declare(&stream).await {
                    tracing::warn!("a stream that the peer did not announce is lost: {error}");
                }
                return Ok(None);
            }
            Matter::Message(Message::Description(description)) => self.take(description, session, signaling).await,
            Matter::Gathered(gathered) => self.pass_on(gathered, session, signaling).await,
            Matter::Restart(asked) => self.restart(asked, session, signaling).await,
        };
        match done {
            Ok(happened) => Ok(happened),
            Err(PeerError::HungUp) => Err(PeerError::HungUp),
            Err(PeerError::Signaling(error)) => Ok(self.signaling_ended(Some(error))),
            Err(error) => {
                tracing::warn!("the path could not be renewed: {error}");
                Ok(None)
            }
        }
    }

    fn signaling_ended(&mut self, error: Option<Error>) -> Option<Happened> {
        self.signaling_over = true;
        error.map(Happened::SignalingBroken)
    }

    /// Restarts ICE (W3C `restartIce`); false when there is no signaling to offer it by.
    pub fn restart_ice(&mut self, signaling: &Road) -> bool {
        self.wanted = !self.signaling_over && signaling.as_ref().is_some_and(|road| road.takes_offers());
        self.wanted
    }

    /// Whether the peer said by signaling that it hangs up. One that is gone without a word may come back.
    pub fn said_bye(&self) -> bool {
        self.said_bye
    }

    /// The offer with which the peer began another connection, if that is why this one is over.
    pub fn take_new_offer(&mut self) -> Option<Description> {
        self.anew.take()
    }

    /// Whether signaling still speaks.
    pub fn signaling_speaks(&self) -> bool {
        !self.signaling_over
    }

    async fn take_candidate(&self, candidate: Candidate, session: &Session) {
        let generation = credentials(&self.remote).0;
        if self.offered.is_some() || !is_of_generation(&candidate, generation) {
            tracing::debug!("ignored a candidate of before a restart");
        } else {
            session.add_candidate(candidate).await;
        }
    }

    /// A candidate of ours, or that there are no more.
    async fn pass_on(
        &mut self,
        gathered: Gathered,
        session: &Session,
        signaling: &mut Road,
    ) -> Result<Option<Happened>, PeerError> {
        let Some(signaling) = signaling.as_mut().filter(|road| road.trickles() && !self.signaling_over) else {
            return Ok(None);
        };
        let mut messages = vec![Message::EndOfCandidates];
        if let Gathered::Candidate(mut candidate) = gathered {
            let local = session.pc.local_description().await.map(|local| local.sdp).unwrap_or_default();
            candidate.sdp_mid = sections(&local).first().and_then(|(_, mid)| mid.map(str::to_owned));
            candidate.username_fragment = Some(credentials(&local).0.to_owned()).filter(|it| !it.is_empty());
            let known = session.advertised.candidates(candidate);
            messages = known.into_iter().map(Message::Candidate).collect();
        }
        for message in messages {
            signaling.send(&message).await.map_err(PeerError::Signaling)?;
        }
        Ok(None)
    }

    /// Offers a restart; one that was offered before is said again, since it may not have come there.
    async fn restart(
        &mut self,
        asked: bool,
        session: &Session,
        signaling: &mut Road,
    ) -> Result<Option<Happened>, PeerError> {
        if !session.leads_out() {
            // Not at once again, but soon.
            const SOON: Duration = Duration::from_millis(500);
            self.restarted_at = Instant::now().checked_sub(self.times.restarting.saturating_sub(SOON));
            return Ok(None);
        }
        self.restarted_at = Some(Instant::now());
        if !asked && let Some(road) = signaling {
            road.network_changed().await;
        }
        if self.offered.is_some() {
            let said = session.pc.local_description().await.map(|local| local.sdp).unwrap_or_default();
            let said = session.advertised.description(&said);
            self.say(DescriptionKind::Offer, said, signaling).await?;
            return Ok(None);
        }
        let doing = || PeerError::library("restarting ICE");
        self.forget_gathered();
        let offer = session.pc.create_offer(Some(RTCOfferOptions { ice_restart: true })).await.map_err(doing())?;
        session.pc.set_local_description(offer.clone()).await.map_err(doing())?;
        let said = self.complete(without_candidates(&offer.sdp), session, trickles(signaling)).await;
        self.offered = Some(said.clone());
        self.say(DescriptionKind::Offer, said, signaling).await?;
        Ok(Some(Happened::IceRestart(Side::Local)))
    }

    async fn take(
        &mut self,
        description: Description,
        session: &Session,
        signaling: &mut Road,
    ) -> Result<Option<Happened>, PeerError> {
        let description = taken(description);
        match description.kind {
            DescriptionKind::Offer if !is_of_same_peer(&self.remote, &description.sdp) => {
                // A page that was loaded anew, say: the connection that we have is nobody's any more.
                tracing::warn!("the other side began another connection");
                self.anew = Some(description);
                Err(PeerError::HungUp)
            }
            DescriptionKind::Offer if self.offered.is_some() && !self.polite => {
                tracing::debug!("ignored an offer that crossed ours");
                Ok(None)
            }
            DescriptionKind::Offer if !session.leads_out() => {
                self.postponed = Some(description);
                Ok(None)
            }
            DescriptionKind::Offer => self.answer(description, session, signaling).await,
            DescriptionKind::Answer => self.take_answer(description, session).await,
            other => {
                tracing::warn!("ignored a {other} on a connection that is up");
                Ok(None)
            }
        }
    }

    async fn answer(
        &mut self,
        description: Description,
        session: &Session,
        signaling: &mut Road,
    ) -> Result<Option<Happened>, PeerError> {
        let refused = |error: webrtc::error::Error| PeerError::Description { what: "offer", why: error.to_string() };
        if self.offered.take().is_some() {
            let rollback = RTCSessionDescription::rollback(None).map_err(refused)?;
            session.pc.set_local_description(rollback).await.map_err(refused)?;
        }
        self.forget_gathered();
        let restarts = credentials(&description.sdp) != credentials(&self.remote);
        let Reading { sdp, changes, silent } =
            read_offer(&description.sdp).map_err(|why| PeerError::Description { what: "offer", why })?;
        let sdp = without_unspoken_forms(&without_known_streams(&sdp, &self.remote));
        let answer = match session.answer_again(&with_nothing_ended(&sdp)).await {
            Ok(answer) => answer,
            Err(why) => {
                // It may be that none is there to be taken back.
                let rollback = RTCSessionDescription::rollback(None).map_err(refused)?;
                let _ = session.pc.set_remote_description(rollback).await;
                return Err(why);
            }
        };
        session.await_streams(silent).await;
        session.shared.congestion.allow(Bandwidth::of(&description.sdp));
        session.rest_unwanted(&sdp).await;
        let said = self.complete(without_candidates(&answer), session, trickles(signaling)).await;
        let mut said = as_offered(&changes.answer(said), &description.sdp);
        if let Some(origin) = origin_of(&description.sdp) {
            said = with_session_attribute(&said, &format!("{IN_REPLY_TO}{origin}"));
        }
        self.remote = description.sdp;
        self.say(DescriptionKind::Answer, with_setup(&said, self.passive), signaling).await?;
        if !restarts {
            return Ok(None);
        }
        self.restarted_at = Some(Instant::now());
        session.ice_restarts.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Happened::IceRestart(Side::Remote)))
    }

    async fn take_answer(
        &mut self,
        description: Description,
        session: &Session,
    ) -> Result<Option<Happened>, PeerError> {
        let Some(offered) = self.offered.take() else {
            tracing::debug!("ignored an answer to an offer that was made twice");
            return Ok(None);
        };
        let refused = |why| PeerError::Description { what: "answer", why };
        if let Err(why) = check_answer(&offered, &description.sdp) {
            self.offered = Some(offered);
            return Err(refused(why));
        }
        let Reading { sdp, silent, .. } = read_answer(&description.sdp, &offered).map_err(refused)?;
        let told = without_unspoken_forms(&without_known_streams(&sdp, &self.remote));
        let answer = RTCSessionDescription::answer(told.clone()).map_err(|error| refused(error.to_string()))?;
        session.pc.set_remote_description(answer).await.map_err(|error| refused(error.to_string()))?;
        session.await_streams(silent).await;
        session.shared.congestion.allow(Bandwidth::of(&description.sdp));
        session.rest_unwanted(&told).await;
        self.remote = description.sdp;
        session.ice_restarts.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }

    /// A description of ours with all its candidates, where they cannot follow one by one.
    async fn complete(&mut self, sdp: String, session: &Session, trickle: bool) -> String {
        if trickle {
            return sdp;
        }
        let gathering = async { while let Some(Gathered::Candidate(_)) = self.gathered.recv().await {} };
        // A server that does not answer does not hold it up for ever.
        let _ = tokio::time::timeout(super::negotiate::GATHERING, gathering).await;
        let complete = session.pc.local_description().await.map_or(sdp, |local| local.sdp);
        session.advertised.description(&complete)
    }

    /// Candidates of before are of no use to a peer that is told anew.
    fn forget_gathered(&mut self) {
        while self.gathered.try_recv().is_ok() {}
    }

    async fn say(&mut self, kind: DescriptionKind, sdp: String, signaling: &mut Road) -> Result<(), PeerError> {
        let Some(signaling) = signaling.as_mut() else { return Ok(()) };
        let message = Message::Description(Description { kind, sdp });
        signaling.send(&message).await.map_err(PeerError::Signaling)
    }
}

fn trickles(signaling: &Road) -> bool {
    signaling.as_ref().is_none_or(|road| road.trickles())
}

/// The next message of signaling that still speaks; pending where none does. Cancel-safe.
async fn receive(signaling: &mut Road) -> Result<Option<Message>, Error> {
    match signaling {
        Some(signaling) => signaling.receive().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
