//! A peer that is gone without a word and comes back: what is recorded and sent waits for it, and goes on by a new connection.

use super::report::Ended;
use super::round::{Course, go_on_without, nobody_to_ask, obey};
use super::{Options, Peer};
use crate::error::Error;
use crate::peer::{Config, DataChannel, MediaPlan, PeerError, Role, Session, Timing};
use crate::progress::Event;
use crate::signaling::{Description, DescriptionKind, Meeting, Message, Signaling};
use std::sync::Arc;
use std::time::Instant;

/// What comes of waiting.
pub(super) enum Comeback {
    /// It is there again, by this connection.
    Back(Box<Session>, Role, Vec<DataChannel>),
    /// Nobody came in time, or the peer hung up after all.
    Nobody,
    /// The call is over meanwhile.
    Over(Result<Ended, Error>),
}

/// How the other side shows itself again.
enum Sign {
    /// Somebody came to where we meet.
    Met(Meeting),
    /// It makes an offer.
    Offer(Description),
    /// It says that it hung up, or nobody can come.
    Left,
}

/// What a connection is made from.
pub(super) struct Making<'a> {
    pub connection: Config,
    pub plan: MediaPlan,
    pub timing: &'a Arc<Timing>,
    /// The zero of the timeline of what is received.
    pub zero: Option<Instant>,
}

impl Peer {
    /// Waits until somebody is there again, and connects, for as long as connecting may take in the first place.
    pub(super) async fn come_back(
        &self,
        options: &mut Options,
        making: Making<'_>,
        offer: Option<Description>,
        course: &mut Course,
    ) -> Comeback {
        let patience = options.negotiate.timeout;
        let deadline = tokio::time::Instant::now() + patience;
        self.progress.event(Event::PeerGone { seconds: patience.as_secs_f64() });
        let mut sign = offer.map(Sign::Offer);
        loop {
            let found = match sign.take() {
                Some(sign) => sign,
                None => match self.look_out(course, deadline).await {
                    Ok(sign) => sign,
                    Err(over) => return Comeback::Over(over),
                },
            };
            let (role, early) = match found {
                Sign::Left => return Comeback::Nobody,
                Sign::Met(met) => match options.take_part(&met) {
                    Ok(()) => (options.role, None),
                    Err(error) => return Comeback::Over(Err(error)),
                },
                Sign::Offer(offer) => (Role::Answer, Some(offer)),
            };
            options.role = role;
            match self.connect_again(role, options, &making, early, course).await {
                Ok((session, channels)) => return Comeback::Back(Box::new(session), role, channels),
                Err(PeerError::Stopped) => return Comeback::Over(Ok(self.stopped())),
                Err(
                    error @ (PeerError::HungUp
                    | PeerError::SignalingEnded { .. }
                    | PeerError::Timeout { .. }
                    | PeerError::IceFailed { .. }
                    | PeerError::DtlsFailed { .. }),
                ) => {
                    let message = format!("the other side came back, but: {error}");
                    self.progress.event(Event::Warning { message });
                }
                Err(error) => return Comeback::Over(Err(error.erase())),
            }
        }
    }

    /// Waits for a sign of the other side; an error is the end of the call.
    async fn look_out(
        &self,
        course: &mut Course,
        deadline: tokio::time::Instant,
    ) -> Result<Sign, Result<Ended, Error>> {
        let Course { receiving, sending, requests, lasting, signaling, .. } = course;
        let Some(signaling) = signaling else { return Ok(Sign::Left) };
        loop {
            tokio::select! {
                () = self.stop.stopped() => return Err(Ok(self.stopped())),
                () = lasting.over() => return Err(Ok(Ended::Duration)),
                () = tokio::time::sleep_until(deadline) => return Ok(Sign::Left),
                sign = next_sign(signaling.as_mut()) => match sign {
                    Ok(sign) => return Ok(sign),
                    Err(error) => {
                        self.progress.event(Event::Warning { message: format!("signaling ended: {error}") });
                        return Ok(Sign::Left);
                    }
                },
                finished = sending.over() => go_on_without(sending, finished, false).map_err(Err)?,
                request = requests.next() => match request.command.as_str() {
                    "restartIce" => request.answer(Err(nobody_to_ask())),
                    _ => if obey(sending, request) {
                        return Err(Ok(Ended::Stopped));
                    },
                },
                failure = receiving.failed() => return Err(Err(failure)),
            }
        }
    }

    async fn connect_again(
        &self,
        role: Role,
        options: &Options,
        making: &Making<'_>,
        early: Option<Description>,
        course: &mut Course,
    ) -> Result<(Session, Vec<DataChannel>), PeerError> {
        let mut connection = making.connection.clone();
        if let Some(recorded) = course.receiving.recorded_video() {
            connection.video_codecs = connection.video_codecs.with_first(recorded);
        }
        let encoded = course.sending.codecs();
        let as_encoded = |codecs: &[_]| codecs.iter().copied().filter(|codec| encoded.contains(codec)).collect();
        let plan = MediaPlan {
            send_video: as_encoded(&making.plan.send_video),
            send_audio: as_encoded(&making.plan.send_audio),
            ..making.plan.clone()
        };
        let mut session = Session::new(&connection, Arc::clone(making.timing)).await?;
        session.continue_from(making.zero);
        if let Some(offer) = early {
            session.take_early(Message::Description(offer));
        }
        let signaling = course.signaling.as_deref_mut().expect("a sign came by it");
        let (video, audio, channels) = match self.connect(role, options, &plan, &mut session, signaling).await {
            Ok(connected) => connected,
            Err(error) => {
                session.close().await;
                return Err(error);
            }
        };
        for track in [video, audio].into_iter().flatten() {
            let kind = track.codec().kind();
            if !course.sending.go_on(track) {
                let message = format!("the peer takes the {kind} in another form than before: none is sent");
                self.progress.event(Event::Warning { message });
            }
        }
        course.receiving.go_on();
        Ok((session, channels))
    }
}

/// The next sign of the other side. Cancel-safe.
async fn next_sign(signaling: &mut dyn Signaling) -> Result<Sign, Error> {
    loop {
        match signaling.receive().await? {
            Some(Message::Bye) => return Ok(Sign::Left),
            Some(Message::Description(offer)) if offer.kind == DescriptionKind::Offer => return Ok(Sign::Offer(offer)),
            // Of the connection that is no more.
            Some(_) => {}
            None => return Ok(signaling.meet_again().await?.map_or(Sign::Left, Sign::Met)),
        }
    }
}
