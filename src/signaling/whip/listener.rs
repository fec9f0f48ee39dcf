//! The server end of WHIP and WHEP: one session, with whoever comes first.
//!
//! ```text
//! POST offer    -> receive() gives it; send(answer) -> 201, Location, ETag
//! PATCH         -> receive() gives the candidates     -> 204
//! DELETE        -> receive() gives a bye              -> 200
//! ```
//!
//! Whoever comes next is told 409. What has no token, is too long or no offer never gets as far as
//! [`Signaling::receive`]. A PATCH with another ICE session is given as an offer again, and answered
//! with 200 and our session (RFC 9725 section 4.3.3).

use super::serving::{Host, Serving, said};
use super::{FRAGMENT, Fragment, Protocol, SDP, is_type};
use crate::error::Error;
use crate::ice_server::Secret;
use crate::signaling::{Description, DescriptionKind, Message, Signaling, SignalingError, sdp};
use crate::trust::Security;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

/// As many messages may wait for their reader; a client that sends more waits too.
const WAITING: usize = 64;
/// How long our part of an ICE restart may take: gathering, at most.
const RESTARTING: Duration = Duration::from_secs(8);

/// What a listener is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// What it speaks.
    pub protocol: Protocol,
    /// Where: `HOST:PORT`; port 0 for any that is free.
    pub address: String,
    /// The bearer token that a client must have; without it anybody may come.
    pub token: Option<Secret>,
    /// TLS, which whoever binds it sees to.
    pub security: Security,
}

/// A road on which the other side comes to us.
pub struct Listener {
    shared: Arc<Shared>,
    messages: mpsc::Receiver<Message>,
    serving: Serving,
}

/// One session, and what its requests are answered from.
pub(super) struct Shared {
    path: &'static str,
    token: Option<Secret>,
    messages: mpsc::Sender<Message>,
    stage: Mutex<Stage>,
}

/// How far the one session is.
enum Stage {
    /// Nobody has come.
    Free,
    /// There is an offer, and its client waits for the answer.
    Offered { session: Session, answer: oneshot::Sender<String> },
    /// The session is there.
    Taken(Session),
    /// It is to go on with another ICE session, and its client waits for ours.
    Restarting { session: Session, answer: oneshot::Sender<String> },
    /// It is over.
    Over,
}

#[derive(Clone)]
struct Session {
    id: String,
    /// The description of the client, with its ICE session of now.
    offer: String,
    /// How many ICE sessions there were before.
    restarts: u32,
}

impl Session {
    fn etag(&self) -> String {
        format!("\"{}-{}\"", self.id, self.restarts)
    }

    fn username_fragment(&self) -> Option<String> {
        Fragment::of_session(&self.offer).username_fragment
    }
}

/// What a request is about.
enum Target<'a> {
    Endpoint,
    Session(&'a str),
    Nothing,
}

impl Listener {
    /// Begins to listen, with TLS if there is something to accept it with. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(options: ListenerOptions, tls: Option<TlsAcceptor>) -> Result<Self, Error> {
        let (shared, messages) = Shared::new(&options);
        let serving = Serving::start(&options, tls, Arc::clone(&shared))?;
        Ok(Self { shared, messages, serving })
    }
}

#[async_trait::async_trait]
impl Signaling for Listener {
    async fn send(&mut self, message: &Message) -> Result<(), Error> {
        self.shared.send(message)
    }

    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        Ok(self.messages.recv().await)
    }

    fn trickles(&self) -> bool {
        false
    }

    fn takes_offers(&self) -> bool {
        false
    }

    fn listens_at(&self) -> Option<&str> {
        Some(&self.serving.url)
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.shared.end();
        self.serving.close().await;
        Ok(())
    }
}

pub(super) fn path(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Whip => "/whip",
        Protocol::Whep => "/whep",
    }
}

#[async_trait::async_trait]
impl Host for Shared {
    async fn answer(self: Arc<Self>, method: &Method, path: &str, headers: &HeaderMap, body: &Bytes) -> Response {
        let target = self.target(path);
        let allowed = match target {
            Target::Endpoint => "POST, OPTIONS",
            Target::Session(_) => "PATCH, DELETE, OPTIONS",
            Target::Nothing => return said(StatusCode::NOT_FOUND, "there is nothing here"),
        };
        if method == Method::OPTIONS {
            return preflight(allowed, &target);
        }
        if !self.admits(headers) {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            return (challenge, said(StatusCode::UNAUTHORIZED, "the token is wrong or missing")).into_response();
        }
        match (method.as_str(), target) {
            ("GET" | "HEAD", _) => StatusCode::NO_CONTENT.into_response(),
            ("POST", Target::Endpoint) => self.post(headers, body).await,
            ("PATCH", Target::Session(id)) => self.patch(id, headers, body).await,
            ("DELETE", Target::Session(id)) => self.delete(id).await,
            _ => ([(header::ALLOW, allowed)], StatusCode::METHOD_NOT_ALLOWED).into_response(),
        }
    }
}

impl Shared {
    /// A session that nobody has begun, and what will be said in it.
    pub fn new(options: &ListenerOptions) -> (Arc<Self>, mpsc::Receiver<Message>) {
        let (messages, said) = mpsc::channel(WAITING);
        let (path, token) = (path(options.protocol), options.token.clone());
        (Arc::new(Self { path, token, messages, stage: Mutex::new(Stage::Free) }), said)
    }

    /// Answers the client, if it is a description.
    pub fn send(&self, message: &Message) -> Result<(), Error> {
        let Message::Description(Description { kind: DescriptionKind::Answer, sdp }) = message else { return Ok(()) };
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Offered { session, answer } => {
                // Its client has hung up on us meanwhile.
                answer.send(sdp.clone()).map_err(|_| SignalingError::Closed)?;
                *stage = Stage::Taken(session);
            }
            Stage::Restarting { session, answer } => {
                // A client that did not wait for it asks again.
                let _ = answer.send(sdp.clone());
                *stage = Stage::Taken(session);
            }
            Stage::Free | Stage::Taken(_) | Stage::Over => return Err(SignalingError::Closed.into()),
        }
        Ok(())
    }

    pub fn end(&self) {
        *self.stage() = Stage::Over;
    }

    /// Whether it is the session that `path` names.
    pub fn is_at(&self, path: &str) -> bool {
        matches!(self.target(path), Target::Session(id) if self.session(id).is_some())
    }

    /// Whether `path` is where sessions begin.
    pub fn begins_at(&self, path: &str) -> bool {
        matches!(self.target(path), Target::Endpoint)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn target<'a>(&self, path: &'a str) -> Target<'a> {
        match path.strip_prefix(self.path) {
            Some("" | "/") => Target::Endpoint,
            Some(rest) => rest.strip_prefix('/').map_or(Target::Nothing, Target::Session),
            None if path == "/" => Target::Endpoint,
            None => Target::Nothing,
        }
    }

    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = text(headers, header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case("Bearer") && is_same(given.trim().as_bytes(), token.reveal().as_bytes())
        })
    }

    async fn post(&self, headers: &HeaderMap, body: &Bytes) -> Response {
        if !is_type(text(headers, header::CONTENT_TYPE).unwrap_or_default(), SDP) {
            return said(StatusCode::UNSUPPORTED_MEDIA_TYPE, "an offer is application/sdp");
        }
        let Ok(offer) = std::str::from_utf8(body) else {
            return said(StatusCode::BAD_REQUEST, "the offer is no UTF-8");
        };
        if let Err(error) = sdp::inspect(offer) {
            return said(StatusCode::BAD_REQUEST, &error.to_string());
        }
        let session = Session { id: unguessable(), offer: offer.to_owned(), restarts: 0 };
        let (answer, answered) = oneshot::channel();
        {
            let mut stage = self.stage();
            match *stage {
                Stage::Free => {}
                Stage::Over => return said(StatusCode::GONE, "it is over"),
                _ => return said(StatusCode::CONFLICT, "somebody else is here already"),
            }
            let description = Description { kind: DescriptionKind::Offer, sdp: offer.to_owned() };
            if self.messages.try_send(Message::Description(description)).is_err() {
                return said(StatusCode::SERVICE_UNAVAILABLE, "too much is waiting here");
            }
            *stage = Stage::Offered { session: session.clone(), answer };
        }
        match answered.await {
            Ok(answer) => {
                let location = format!("{}/{}", self.path, session.id);
                let headers =
                    [(header::CONTENT_TYPE, SDP), (header::LOCATION, &location), (header::ETAG, &session.etag())];
                (StatusCode::CREATED, headers, answer).into_response()
            }
            Err(_) => said(StatusCode::NOT_ACCEPTABLE, "the offer cannot be used here"),
        }
    }

    /// The session that is there, if it is called `id`.
    fn session(&self, id: &str) -> Option<Session> {
        match &*self.stage() {
            Stage::Taken(session) | Stage::Restarting { session, .. } => {
                Some(session.clone()).filter(|session| session.id == id)
            }
            _ => None,
        }
    }

    async fn patch(&self, id: &str, headers: &HeaderMap, body: &Bytes) -> Response {
        let Some(session) = self.session(id) else { return said(StatusCode::NOT_FOUND, "no such session") };
        if !is_type(text(headers, header::CONTENT_TYPE).unwrap_or_default(), FRAGMENT) {
            return said(StatusCode::UNSUPPORTED_MEDIA_TYPE, "candidates are application/trickle-ice-sdpfrag");
        }
        let Some(named) = text(headers, header::IF_MATCH) else {
            return said(StatusCode::PRECONDITION_REQUIRED, "If-Match names the ICE session, by its ETag");
        };
        let any = matches!(named, "*" | "\"*\"");
        if !any && named != session.etag() {
            return said(StatusCode::PRECONDITION_FAILED, "it is another ICE session by now");
        }
        let fragment = match std::str::from_utf8(body).map(Fragment::parse) {
            Ok(Ok(fragment)) => fragment,
            Ok(Err(error)) => return said(StatusCode::BAD_REQUEST, &error.to_string()),
            Err(_) => return said(StatusCode::BAD_REQUEST, "the fragment is no UTF-8"),
        };
        if any {
            return self.restart(session, &fragment).await;
        }
        if fragment.username_fragment.is_some() && fragment.username_fragment != session.username_fragment() {
            return said(StatusCode::UNPROCESSABLE_ENTITY, "another ICE session begins with If-Match: *");
        }
        let end = fragment.end_of_candidates.then_some(Message::EndOfCandidates);
        for message in fragment.candidates.into_iter().map(Message::Candidate).chain(end) {
            if self.messages.send(message).await.is_err() {
                return said(StatusCode::GONE, "it is over");
            }
        }
        StatusCode::NO_CONTENT.into_response()
    }

    /// Goes on with another ICE session (RFC 9725 section 4.3.3).
    async fn restart(&self, before: Session, fragment: &Fragment) -> Response {
        if fragment.username_fragment.is_none() || fragment.password.is_none() {
            return said(StatusCode::UNPROCESSABLE_ENTITY, "an ICE session has a user name fragment and a password");
        }
        let offer = fragment.applied_to(&before.offer);
        let session = Session { offer: offer.clone(), restarts: before.restarts + 1, ..before.clone() };
        let (answer, answered) = oneshot::channel();
        {
            let mut stage = self.stage();
            let description = Description { kind: DescriptionKind::Offer, sdp: offer };
            if self.messages.try_send(Message::Description(description)).is_err() {
                return said(StatusCode::SERVICE_UNAVAILABLE, "too much is waiting here");
            }
            *stage = Stage::Restarting { session: session.clone(), answer };
        }
        match tokio::time::timeout(RESTARTING, answered).await {
            Ok(Ok(answer)) => {
                let headers = [(header::CONTENT_TYPE, FRAGMENT), (header::ETAG, &session.etag())];
                (StatusCode::OK, headers, Fragment::of_description(&answer).encode(&answer)).into_response()
            }
            _ => {
                let mut stage = self.stage();
                if matches!(&*stage, Stage::Restarting { session: current, .. } if current.restarts == session.restarts)
                {
                    *stage = Stage::Taken(before);
                }
                said(StatusCode::SERVICE_UNAVAILABLE, "ICE cannot be restarted now")
            }
        }
    }

    async fn delete(&self, id: &str) -> Response {
        if self.session(id).is_none() {
            return said(StatusCode::NOT_FOUND, "no such session");
        }
        *self.stage() = Stage::Over;
        // Nobody reads it only where the call is over already.
        let _ = self.messages.send(Message::Bye).await;
        StatusCode::OK.into_response()
    }
}

fn preflight(allowed: &'static str, target: &Target) -> Response {
    let headers = [
        (header::ALLOW, allowed),
        (header::ACCESS_CONTROL_ALLOW_METHODS, allowed),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    let accepted = match target {
        Target::Endpoint => (HeaderName::from_static("accept-post"), SDP),
        _ => (HeaderName::from_static("accept-patch"), FRAGMENT),
    };
    (StatusCode::OK, headers, [accepted]).into_response()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// Compares in a time that does not tell how much is right.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (left, right)| sum | (left ^ right)) == 0
}

/// The URL of a session is what it takes to end it.
fn unguessable() -> String {
    use ring::rand::SecureRandom;
    let mut bytes = [0_u8; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
