//! Offer and answer (RFC 8829): drives a [`Session`] and a [`Signaling`] until the connection is up.

use super::bandwidth::Bandwidth;
use super::codecs::without_unspoken_forms;
use super::direction::{as_offered, with_room_for};
use super::error::PeerError;
use super::explain::explain;
use super::reading::{Changes, is_readable, read_answer, read_offer, taken};
use super::session::{ConnectionState, Gathered, Session};
use super::timing::Mark;
use crate::ice_server::IceServer;
use crate::signaling::{Candidate, Description, DescriptionKind, IN_REPLY_TO, Message, Signaling};
use crate::stop::Stop;
use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use std::time::Duration;
use tokio::time::Instant;
use webrtc::peer_connection::{RTCIceCandidateInit, RTCIceConnectionState, RTCSessionDescription};

/// Which side of the exchange a peer is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Makes the offer.
    Call,
    /// Reads an offer and answers it.
    Answer,
}

/// How a connection is set up.
#[derive(Clone, Debug)]
pub struct NegotiateOptions {
    /// How long each side may take: to send its description, and then to be reached.
    pub timeout: Duration,
    /// How long the other side may take to come to where it is met; `None`: for ever.
    pub meeting: Option<Duration>,
    /// Whether a person carries the descriptions across; then the time that takes does not count.
    pub by_hand: bool,
}

impl Default for NegotiateOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), meeting: None, by_hand: false }
    }
}

/// How long gathering may hold back a description that carries all candidates: a dead STUN server must not.
pub(super) const GATHERING: Duration = Duration::from_secs(5);

/// How long DTLS may take once ICE has a pair. The library goes on for ever with a peer whose certificate is not the one
/// that was announced.
const HANDSHAKE: Duration = Duration::from_secs(8);

/// More candidates of a peer than this are nobody's interfaces; each costs checks and memory.
const MOST_CANDIDATES: usize = 256;

const NO_CODEC: &str = "no codec in common";

/// What an answer of ours answers.
struct Reply<'a> {
    /// The offer, as it came.
    to: &'a str,
    /// What we read in the place of what it says.
    changes: Changes,
}

/// Where an exchange stands.
struct Exchange {
    role: Role,
    trickle: bool,
    /// Whether the other side comes when it likes: until then time does not count.
    listens: bool,
    options: NegotiateOptions,
    /// Our own SDP; the answer is judged by it when it is an offer.
    local: String,
    remote_known: bool,
    signaling_ended: bool,
    early_candidates: Vec<Candidate>,
    /// Candidate lines of both sides, for telling why none of them was of use.
    offered: Offered,
    waiting_since: Instant,
    /// When our description went out without its candidates.
    gathering_since: Option<Instant>,
    nominated_at: Option<Instant>,
}

/// Candidate lines of both sides.
#[derive(Default)]
struct Offered {
    ours: Vec<String>,
    theirs: Vec<String>,
}

fn candidate_lines(sdp: &str) -> Vec<String> {
    sdp.lines().filter(|line| line.starts_with("a=candidate:")).map(str::to_owned).collect()
}

impl Session {
    /// Exchanges descriptions and candidates over `signaling` until the connection is up. Media and data channels of
    /// ours must have been added before.
    ///
    /// # Errors
    /// When the other side's messages cannot be used, nobody answers in time, or ICE or DTLS fails.
    pub async fn connect(
        &mut self,
        role: Role,
        signaling: &mut dyn Signaling,
        options: &NegotiateOptions,
        stop: &Stop,
    ) -> Result<(), PeerError> {
        let mut exchange = Exchange {
            role,
            trickle: signaling.trickles(),
            listens: signaling.listens_at().is_some(),
            options: options.clone(),
            local: String::new(),
            remote_known: false,
            signaling_ended: false,
            early_candidates: Vec::new(),
            offered: Offered::default(),
            waiting_since: Instant::now(),
            gathering_since: None,
            nominated_at: None,
        };
        if role == Role::Call {
            self.limit_directions().await?;
            let offer = self.pc.create_offer(None).await.map_err(PeerError::library("making the offer"))?;
            self.shared.timing.mark(Mark::OfferCreated);
            exchange.local = self.publish(offer, None, signaling, exchange.trickle).await?;
            exchange.offered.ours = candidate_lines(&exchange.local);
            exchange.waiting_since = Instant::now();
            exchange.gathering_since = Some(exchange.waiting_since);
        }
        if let Some(message) = self.early.take() {
            self.take(message, &mut exchange, signaling).await?;
        }
        loop {
            let deadline = exchange.deadline(self);
            let servers_may_come = signaling.may_bring_ice_servers();
            tokio::select! {
                biased;
                () = stop.stopped() => return Err(PeerError::Stopped),
                changed = self.state.changed() => {
                    let state = *self.state.borrow_and_update();
                    match state {
                        // To the library a DTLS that was closed before it was up is as good as one that is up.
                        ConnectionState::Connected if self.never_shook_hands().await => {
                            return Err(self.failure(&exchange));
                        }
                        ConnectionState::Connected => return Ok(()),
                        ConnectionState::Failed | ConnectionState::Closed => return Err(self.failure(&exchange)),
                        _ if changed.is_err() => return Err(self.failure(&exchange)),
                        _ => {}
                    }
                }
                gathered = self.gathered.recv(), if exchange.trickle => {
                    let message = match gathered {
                        Some(Gathered::Candidate(candidate)) => {
                            let candidate = exchange.placed(candidate);
                            for candidate in self.advertised.candidates(candidate) {
                                signaling.send(&Message::Candidate(candidate)).await.map_err(PeerError::Signaling)?;
                            }
                            continue;
                        }
                        Some(Gathered::Complete) if exchange.offered.ours.is_empty() && servers_may_come => continue,
                        Some(Gathered::Complete) if exchange.offered.ours.is_empty() => {
                            return Err(PeerError::NoCandidates { servers: self.server_troubles() });
                        }
                        Some(Gathered::Complete) => Message::EndOfCandidates,
                        None => return Err(self.failure(&exchange)),
                    };
                    signaling.send(&message).await.map_err(PeerError::Signaling)?;
                }
                message = signaling.receive(), if !exchange.signaling_ended => {
                    match message.map_err(PeerError::Signaling)? {
                        Some(message) => self.take(message, &mut exchange, signaling).await?,
                        None if exchange.remote_known => exchange.signaling_ended = true,
                        None => return Err(PeerError::SignalingEnded { expected: exchange.expected() }),
                    }
                }
                Ok(()) = self.ice_state.changed() => {
                    if self.has_pair() {
                        exchange.nominated_at.get_or_insert_with(Instant::now);
                    }
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return Err(self.failure(&exchange));
                }
                () = tokio::time::sleep_until(exchange.gathering_since.unwrap_or_else(Instant::now) + GATHERING),
                    if exchange.lacks_candidates() && !servers_may_come =>
                {
                    return Err(PeerError::NoCandidates { servers: self.server_troubles() });
                }
                () = tokio::time::sleep(Duration::from_millis(500)), if deadline.is_none() => {}
            }
        }
    }

    /// Whether ICE has found a pair.
    fn has_pair(&self) -> bool {
        matches!(*self.ice_state.borrow(), RTCIceConnectionState::Connected | RTCIceConnectionState::Completed)
    }

    async fn take(
        &mut self,
        message: Message,
        exchange: &mut Exchange,
        signaling: &mut dyn Signaling,
    ) -> Result<(), PeerError> {
        match message {
            Message::Bye => return Err(PeerError::HungUp),
            Message::EndOfCandidates => {}
            Message::Candidate(_)
                if exchange.offered.theirs.len() + exchange.early_candidates.len() >= MOST_CANDIDATES =>
            {
                tracing::debug!("ignored a candidate of the peer: it gave {MOST_CANDIDATES} already");
            }
            Message::Candidate(candidate) if exchange.remote_known => {
                exchange.offered.theirs.push(candidate.candidate.clone());
                self.add_candidate(candidate).await;
            }
            Message::Candidate(candidate) => exchange.early_candidates.push(candidate),
            Message::Description(description) => self.take_description(description, exchange, signaling).await?,
        }
        Ok(())
    }

    async fn take_description(
        &mut self,
        description: Description,
        exchange: &mut Exchange,
        signaling: &mut dyn Signaling,
    ) -> Result<(), PeerError> {
        if exchange.remote_known {
            tracing::warn!("ignored another {}", description.kind);
            return Ok(());
        }
        let description = taken(description);
        let (what, expected) = match exchange.role {
            Role::Call => ("answer", DescriptionKind::Answer),
            Role::Answer => ("offer", DescriptionKind::Offer),
        };
        if description.kind != expected {
            return Err(PeerError::Unexpected { expected: exchange.expected(), got: description.kind.as_str() });
        }
        let refused = |error: webrtc::error::Error| PeerError::Description { what, why: error.to_string() };
        exchange.offered.theirs = candidate_lines(&description.sdp);
        self.note_remote(&description.sdp);
        match exchange.role {
            Role::Call => {
                check_answer(&exchange.local, &description.sdp).map_err(|why| PeerError::Description { what, why })?;
                self.gather_with(signaling.take_ice_servers(), exchange).await?;
                let reading = read_answer(&description.sdp, &exchange.local);
                let reading = reading.map_err(|why| PeerError::Description { what, why })?;
                tell_refused(&reading.changes, what);
                let sdp = without_unspoken_forms(&reading.sdp);
                self.agree_on_codecs(&sdp, false).await?;
                let answer = RTCSessionDescription::answer(sdp).map_err(refused)?;
                self.runtime.clock().begin_setup();
                self.pc.set_remote_description(answer).await.map_err(refused)?;
                self.await_streams(reading.silent).await;
                self.rest_unwanted(&reading.sdp).await;
                self.shared.congestion.allow(Bandwidth::of(&description.sdp));
                self.read = reading.changes;
            }
            Role::Answer => {
                self.shared.timing.mark(Mark::OfferCreated);
                match signaling.take_ice_servers() {
                    servers if servers.is_empty() => {}
                    servers => self.add_ice_servers(servers).await?,
                }
                let reading = read_offer(&description.sdp);
                let reading = reading.map_err(|why| PeerError::Description { what, why })?.waiting();
                tell_refused(&reading.changes, what);
                let sdp = without_unspoken_forms(&reading.sdp);
                let kinds = self.outgoing.iter().map(|outgoing| outgoing.codecs[0].kind());
                let offer = RTCSessionDescription::offer(with_room_for(&sdp, kinds)).map_err(refused)?;
                self.pc.set_remote_description(offer).await.map_err(refused)?;
                self.await_streams(reading.silent).await;
                self.shared.congestion.allow(Bandwidth::of(&description.sdp));
                self.limit_directions().await?;
                self.agree_on_codecs(&sdp, true).await?;
                let answer = self.pc.create_answer(None).await.map_err(|error| match error.to_string() {
                    // What it says of a track of ours that the offer has no codec for.
                    why if why.contains("no codecs") => PeerError::Description { what, why: NO_CODEC.to_owned() },
                    why => PeerError::Description { what, why },
                })?;
                check_common_ground(&answer.sdp).map_err(|why| PeerError::Description { what, why })?;
                self.rest_unwanted(&sdp).await;
                self.read = reading.changes;
                let reply = Reply { to: &description.sdp, changes: self.read.clone() };
                exchange.local = self.publish(answer, Some(reply), signaling, exchange.trickle).await?;
                exchange.offered.ours = candidate_lines(&exchange.local);
                self.runtime.clock().begin_setup();
            }
        }
        self.shared.timing.mark(Mark::ChecksStarted);
        exchange.gathering_since.get_or_insert_with(Instant::now);
        exchange.remote_known = true;
        exchange.waiting_since = Instant::now();
        for candidate in std::mem::take(&mut exchange.early_candidates) {
            exchange.offered.theirs.push(candidate.candidate.clone());
            self.add_candidate(candidate).await;
        }
        Ok(())
    }

    /// Limits the tracks beside which nothing is received to sending. Not before an offer is applied that we answer: the library
    /// gives no such track to a section that would go both ways.
    async fn limit_directions(&self) -> Result<(), PeerError> {
        for outgoing in self.outgoing.iter().filter(|outgoing| !outgoing.receives) {
            if let Some(transceiver) = self.transceiver_of(outgoing.sender.id()).await {
                let limited = transceiver.set_direction(RTCRtpTransceiverDirection::Sendonly).await;
                limited.map_err(PeerError::library("limiting a track to sending"))?;
            }
        }
        Ok(())
    }

    /// Applies a description of ours and sends it, with its candidates unless they trickle. Returns the SDP that was sent.
    async fn publish(
        &mut self,
        description: RTCSessionDescription,
        reply: Option<Reply<'_>>,
        signaling: &mut dyn Signaling,
        trickle: bool,
    ) -> Result<String, PeerError> {
        self.pc
            .set_local_description(description.clone())
            .await
            .map_err(PeerError::library("applying our own description"))?;
        let mut sdp = description.sdp;
        if !trickle {
            self.gather().await;
            if let Some(complete) = self.pc.local_description().await {
                sdp = self.advertised.description(&complete.sdp);
            }
            if !sdp.contains("\na=candidate:") && !signaling.may_bring_ice_servers() {
                return Err(PeerError::NoCandidates { servers: self.server_troubles() });
            }
        }
        let kind = if reply.is_some() { DescriptionKind::Answer } else { DescriptionKind::Offer };
        if let Some(reply) = reply {
            sdp = as_offered(&reply.changes.answer(sdp), reply.to);
            if let Some(origin) = origin_of(reply.to) {
                sdp = with_session_attribute(&sdp, &format!("{IN_REPLY_TO}{origin}"));
            }
        }
        let message = Message::Description(Description { kind, sdp: sdp.clone() });
        signaling.send(&message).await.map_err(PeerError::Signaling)?;
        Ok(sdp)
    }

    async fn gather(&mut self) {
        let deadline = Instant::now() + GATHERING;
        loop {
            match tokio::time::timeout_at(deadline, self.gathered.recv()).await {
                Ok(Some(Gathered::Candidate(_))) => {}
                Ok(Some(Gathered::Complete) | None) => return,
                Err(_) => {
                    tracing::warn!(
                        "some ICE servers did not answer in {} s; going on without them",
                        GATHERING.as_secs()
                    );
                    return;
                }
            }
        }
    }

    /// Gathers once more, with servers that came with the answer to the offer of `exchange`; what they give trickles.
    async fn gather_with(&self, servers: Vec<IceServer>, exchange: &mut Exchange) -> Result<(), PeerError> {
        if servers.is_empty() {
            return Ok(());
        }
        self.add_ice_servers(servers).await?;
        let doing = "gathering with servers of the other side";
        let offer = RTCSessionDescription::offer(exchange.local.clone()).map_err(PeerError::library(doing))?;
        self.pc.set_local_description(offer).await.map_err(PeerError::library(doing))?;
        exchange.trickle = true;
        exchange.gathering_since = Some(Instant::now());
        Ok(())
    }

    pub(super) async fn add_candidate(&self, candidate: Candidate) {
        if !self.read.takes(&candidate) {
            return;
        }
        if !candidate.candidate.is_empty() && !is_readable(&candidate.candidate) {
            let shown: String = candidate.candidate.chars().take(80).collect();
            return tracing::warn!("ignored a candidate of the peer, which cannot be read: {shown}");
        }
        let init = RTCIceCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_mline_index: candidate.sdp_m_line_index,
            username_fragment: candidate.username_fragment,
            url: None,
        };
        if let Err(error) = self.pc.add_ice_candidate(init).await {
            tracing::warn!("ignored a candidate of the peer: {error}");
        }
    }

    fn failure(&self, exchange: &Exchange) -> PeerError {
        let after = exchange.waiting_since.elapsed();
        if !exchange.remote_known {
            return PeerError::Timeout { expected: exchange.expected(), after };
        }
        if exchange.nominated_at.is_some() || self.has_pair() {
            return match *self.state.borrow() {
                ConnectionState::Closed => PeerError::HungUp,
                _ => PeerError::DtlsFailed {
                    detail: format!("ICE found a path, nothing usable came over it in {:.1} s", after.as_secs_f64()),
                },
            };
        }
        let Offered { ours, theirs } = &exchange.offered;
        let (ours, theirs) = (ours.iter().map(String::as_str), theirs.iter().map(String::as_str));
        let detail = explain(ours, theirs, self.silence().is_some());
        let servers = self.server_troubles().into_iter().map(|server| format!("; {server}"));
        PeerError::IceFailed { after, detail: detail + &servers.collect::<String>() }
    }
}

impl Exchange {
    /// Whether candidates should trickle and none has come yet.
    fn lacks_candidates(&self) -> bool {
        self.trickle && self.offered.ours.is_empty() && self.gathering_since.is_some()
    }

    /// Counts a candidate of ours and says which section it is for, which the library leaves empty: all are bundled with
    /// the first.
    fn placed(&mut self, mut candidate: Candidate) -> Candidate {
        self.offered.ours.push(candidate.candidate.clone());
        if candidate.sdp_mid.as_deref().is_none_or(str::is_empty) {
            candidate.sdp_mid = sections(&self.local).first().and_then(|(_, mid)| mid.map(str::to_owned));
        }
        candidate
    }

    fn expected(&self) -> &'static str {
        match self.role {
            Role::Call => "the answer",
            Role::Answer => "an offer",
        }
    }

    /// When patience ends; never while a person is at work.
    fn deadline(&self, session: &Session) -> Option<Instant> {
        let person_at_work = self.options.by_hand
            && match self.role {
                Role::Call => !self.remote_known,
                Role::Answer => !self.remote_known || session.silence().is_none(),
            };
        if self.listens && !self.remote_known {
            return None;
        }
        let patience = self.waiting_since + self.options.timeout;
        match self.nominated_at {
            Some(at) => Some(patience.min(at + HANDSHAKE)),
            None => (!person_at_work).then_some(patience),
        }
    }
}

/// The session id of `o=` (RFC 8866 section 5.2).
pub(super) fn origin_of(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix("o="))?.split_whitespace().nth(1)
}

/// Says that we cannot have all that a peer would send and receive.
fn tell_refused(changes: &Changes, what: &str) {
    if changes.apart > 0 {
        let others = changes.apart;
        tracing::warn!("the {what} does not bundle its media (RFC 9143): the first section is taken, {others} refused");
    }
}

/// Adds `attribute` to the session part of `sdp`.
pub(super) fn with_session_attribute(sdp: &str, attribute: &str) -> String {
    let at = sdp.find("\r\nm=").map_or(sdp.len(), |at| at + 2);
    format!("{}{attribute}\r\n{}", &sdp[..at], &sdp[at..])
}

/// Kind and mid of each media section.
pub(super) fn sections(sdp: &str) -> Vec<(&str, Option<&str>)> {
    let mut sections: Vec<(&str, Option<&str>)> = Vec::new();
    for line in sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            sections.push((media.split(' ').next().unwrap_or_default(), None));
        } else if let (Some(mid), Some(section)) = (line.strip_prefix("a=mid:"), sections.last_mut()) {
            section.1 = Some(mid.trim());
        }
    }
    sections
}

/// Whether `answer` can belong to `offer` (RFC 3264 section 6: one section for each, in order, of the same kind).
pub(super) fn check_answer(offer: &str, answer: &str) -> Result<(), String> {
    if let Some(id) = answer.lines().find_map(|line| line.strip_prefix(IN_REPLY_TO))
        && origin_of(offer) != Some(id.trim())
    {
        return Err("it answers another offer".to_owned());
    }
    let (offered, answered) = (sections(offer), sections(answer));
    if offered.len() != answered.len() {
        return Err(format!(
            "it answers another offer: {} media sections for {} offered",
            answered.len(),
            offered.len()
        ));
    }
    for (index, ((kind, mid), (answered_kind, answered_mid))) in offered.iter().zip(&answered).enumerate() {
        if kind != answered_kind {
            return Err(format!("it answers another offer: section {index} is {answered_kind}, {kind} was offered"));
        }
        if answered_mid.is_some() && mid != answered_mid {
            return Err(format!("it answers another offer: section {index} has another mid"));
        }
    }
    check_common_ground(answer)
}

/// Whether an answer accepts anything at all.
fn check_common_ground(answer: &str) -> Result<(), String> {
    let mut media = answer.lines().filter_map(|line| line.strip_prefix("m=")).peekable();
    if media.peek().is_none() {
        return Err("there is nothing in it".to_owned());
    }
    if media.all(|line| line.split(' ').nth(1) == Some("0")) {
        return Err(format!("{NO_CODEC}: every media section is refused"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 42 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n";

    fn answer(kinds: &[(&str, u16, &str)]) -> String {
        let mut sdp = "v=0\r\no=- 7 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_owned();
        for (kind, port, mid) in kinds {
            sdp += &format!("m={kind} {port} UDP/TLS/RTP/SAVPF 111\r\na=mid:{mid}\r\n");
        }
        sdp
    }

    #[test]
    fn an_answer_must_mirror_the_offer() {
        assert_eq!(check_answer(OFFER, &answer(&[("audio", 9, "0"), ("video", 9, "1")])), Ok(()));
        assert_eq!(check_answer(OFFER, &answer(&[("audio", 9, "0"), ("video", 0, "1")])), Ok(()));
        for other in [
            answer(&[("audio", 9, "0")]),
            answer(&[("video", 9, "0"), ("audio", 9, "1")]),
            answer(&[("audio", 9, "a"), ("video", 9, "b")]),
            answer(&[("audio", 0, "0"), ("video", 0, "1")]),
        ] {
            assert!(check_answer(OFFER, &other).is_err(), "{other}");
        }
    }

    #[test]
    fn an_answer_that_says_which_offer_it_belongs_to_is_held_to_it() {
        let plain = answer(&[("audio", 9, "0"), ("video", 9, "1")]);
        let named = |id: &str| with_session_attribute(&plain, &format!("{IN_REPLY_TO}{id}"));
        assert_eq!(check_answer(OFFER, &named("42")), Ok(()));
        assert_eq!(check_answer(OFFER, &named("43")), Err("it answers another offer".to_owned()));
        assert_eq!(sections(&named("42")), sections(&plain));
    }
}
