//! The client of a WHIP or WHEP server: offers, trickles, and ends what it began.

use super::http::{Body, Http, Reply, shown};
use super::{FRAGMENT, Fragment, Protocol, SDP, WhipError, link};
use crate::error::Error;
use crate::ice_server::{IceServer, Secret};
use crate::signaling::{Candidate, Description, DescriptionKind, Message, Signaling, sdp};
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Candidates that come within this time share a request.
const TOGETHER: Duration = Duration::from_millis(20);
/// How long a change of a session may take: its owner does not wait for it.
const PATCHING: Duration = Duration::from_secs(5);
/// How long the end of a session may take, and before it the answer to an offer that is not wanted any more.
const ENDING: Duration = Duration::from_millis(900);
/// Between two offers to a server that wants to be asked again.
const LEAST_PAUSE: Duration = Duration::from_millis(200);

/// What a client is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Whether it publishes or plays.
    pub protocol: Protocol,
    /// The endpoint, `http:` or `https:`.
    pub url: String,
    /// The bearer token.
    pub token: Option<Secret>,
    /// Whether candidates follow the offer instead of standing in it.
    pub trickle: bool,
    /// Authorities that are trusted besides those of this system: a PEM file.
    pub ca_file: Option<PathBuf>,
}

/// A road to a WHIP or WHEP server. What the server offers in return is received until it is answered.
pub struct Client {
    http: Arc<Http>,
    endpoint: Url,
    options: ClientOptions,
    patience: Duration,
    state: State,
    /// Our description: the first section of it takes the candidates.
    ours: String,
    /// That of the server.
    theirs: String,
    waiting: Fragment,
    /// When those that wait are sent.
    send_at: Option<Instant>,
    ice_servers: Vec<IceServer>,
}

enum State {
    Idle,
    Offering(JoinHandle<Result<Created, WhipError>>),
    Countered { session: Session, offer: Description },
    Answering { session: Session, request: JoinHandle<Result<(), WhipError>> },
    Up { session: Session, request: Option<JoinHandle<Trickled>> },
    Restarting { session: Session, request: JoinHandle<Result<Restarted, WhipError>> },
    Over,
}

/// What a server made of a restart (RFC 9725 section 4.3.3).
struct Restarted {
    fragment: Fragment,
    etag: Option<HeaderValue>,
}

#[derive(Clone)]
struct Session {
    url: Option<Url>,
    etag: Option<HeaderValue>,
    trickles: bool,
}

struct Created {
    session: Session,
    description: Description,
    ice_servers: Vec<IceServer>,
}

/// Whether the server takes candidates.
enum Trickled {
    Taken,
    Refused,
}

impl Client {
    /// A client that has asked for nothing yet, and will ask a server that is not ready again for as long as `patience`.
    ///
    /// # Errors
    /// When the URL or the token cannot be used.
    pub fn new(options: ClientOptions, patience: Duration) -> Result<Self, Error> {
        let endpoint = endpoint(&options.url)?;
        let http = Arc::new(Http::new(options.protocol, options.token.as_ref(), options.ca_file.as_deref())?);
        if options.token.is_some() && endpoint.scheme() == "http" && !is_here(&endpoint) {
            tracing::warn!("{}: the token travels in clear", shown(&endpoint));
        }
        Ok(Self {
            http,
            endpoint,
            options,
            patience,
            state: State::Idle,
            ours: String::new(),
            theirs: String::new(),
            waiting: Fragment::default(),
            send_at: None,
            ice_servers: Vec::new(),
        })
    }

    fn offer(&mut self, sdp: &str) {
        self.ours = with_rtcp_mux_only(sdp);
        self.waiting = Fragment::of_session(sdp);
        let (http, endpoint) = (Arc::clone(&self.http), self.endpoint.clone());
        let (offer, protocol, deadline) = (self.ours.clone(), self.options.protocol, Instant::now() + self.patience);
        self.state = State::Offering(tokio::spawn(create(http, endpoint, protocol, offer, deadline)));
    }

    fn answer(&mut self, sdp: &str) -> Result<(), WhipError> {
        let State::Countered { session, .. } = std::mem::replace(&mut self.state, State::Over) else {
            return Err(self.http.breach("an answer without an offer".to_owned()));
        };
        self.ours = with_rtcp_mux_only(sdp);
        self.waiting = Fragment::of_session(sdp);
        let (http, url) = (Arc::clone(&self.http), session.url.clone());
        let body = Body { content_type: SDP, text: self.ours.clone(), if_match: None };
        let request = tokio::spawn(async move {
            let url = url.ok_or_else(|| http.breach("an offer of its own without a Location for the answer".into()))?;
            let reply = http.patch(&url, &body).await?;
            if reply.status.is_success() { Ok(()) } else { Err(http.refusal(&reply)) }
        });
        self.state = State::Answering { session, request };
        Ok(())
    }

    /// Offers another ICE session to a server that has a session of ours.
    fn restart(&mut self, sdp: &str) {
        let session = match std::mem::replace(&mut self.state, State::Over) {
            State::Up { session, request } => {
                if let Some(request) = request {
                    request.abort();
                }
                session
            }
            // The one before is not answered yet.
            state => {
                self.state = state;
                return;
            }
        };
        let Some(url) = session.url.clone() else {
            self.state = State::Up { session, request: None };
            return;
        };
        self.ours = with_rtcp_mux_only(sdp);
        (self.waiting, self.send_at) = (Fragment::of_session(sdp), None);
        let http = Arc::clone(&self.http);
        let text = Fragment::of_description(sdp).encode(sdp);
        let body = Body { content_type: FRAGMENT, text, if_match: Some(HeaderValue::from_static("*")) };
        let request = tokio::spawn(async move {
            let reply = timeout(PATCHING, http.patch(&url, &body)).await;
            let reply = reply.map_err(|_| http.breach("no answer to a restart".to_owned()))??;
            if reply.status != StatusCode::OK {
                return Err(http.refusal(&reply));
            }
            let fragment = Fragment::parse(&reply.body).map_err(|error| http.breach(error.to_string()))?;
            Ok(Restarted { fragment, etag: reply.etag() })
        });
        self.state = State::Restarting { session, request };
    }

    fn trickle(&mut self, message: &Message) {
        match message {
            Message::Candidate(candidate) if self.is_new(candidate) => {
                self.waiting.candidates.push(candidate.clone());
            }
            Message::EndOfCandidates => self.waiting.end_of_candidates = true,
            _ => return,
        }
        self.send_at.get_or_insert_with(|| Instant::now() + TOGETHER);
    }

    /// Gathering anew for servers that the answer named finds what was offered already.
    fn is_new(&self, candidate: &Candidate) -> bool {
        !self.ours.lines().any(|line| line.strip_prefix("a=") == Some(candidate.candidate.as_str()))
            && !self.waiting.candidates.iter().any(|other| other.candidate == candidate.candidate)
    }

    /// Sends the candidates that wait.
    fn patch(&mut self, session: &Session) -> Option<JoinHandle<Trickled>> {
        self.send_at = None;
        let fresh = Fragment { candidates: Vec::new(), end_of_candidates: false, ..self.waiting.clone() };
        let fragment = std::mem::replace(&mut self.waiting, fresh);
        let url = session.url.clone().filter(|_| session.trickles)?;
        let http = Arc::clone(&self.http);
        let body = Body { content_type: FRAGMENT, text: fragment.encode(&self.ours), if_match: session.etag.clone() };
        Some(tokio::spawn(async move {
            match timeout(PATCHING, http.patch(&url, &body)).await {
                Ok(Ok(reply)) if reply.status.is_success() => Trickled::Taken,
                Ok(Ok(reply)) => {
                    // What the offer held, and what the checks themselves tell, must do then.
                    tracing::info!("no trickle: {}", http.refusal(&reply));
                    Trickled::Refused
                }
                Ok(Err(error)) => {
                    tracing::info!("candidates were not taken: {error}");
                    Trickled::Taken
                }
                Err(_) => Trickled::Taken,
            }
        }))
    }

    /// Waits for the answer to an offer. Cancel-safe, as all that it waits for is kept in `self`.
    async fn next(&mut self) -> Result<Message, Error> {
        loop {
            match &mut self.state {
                State::Idle | State::Over => return std::future::pending().await,
                State::Offering(task) => {
                    let created = task.await;
                    self.state = State::Over;
                    let created = created.map_err(internal)??;
                    return Ok(Message::Description(self.take(created)));
                }
                State::Countered { offer, .. } => return Ok(Message::Description(offer.clone())),
                State::Answering { session, request } => {
                    let answered = request.await;
                    let session = session.clone();
                    self.state = State::Up { session, request: None };
                    answered.map_err(internal)??;
                }
                State::Restarting { session, request } => {
                    let restarted = request.await;
                    let mut session = session.clone();
                    match restarted.map_err(internal)? {
                        Ok(Restarted { fragment, etag }) => {
                            session.etag = etag.or(session.etag);
                            self.state = State::Up { session, request: None };
                            self.theirs = fragment.applied_to(&self.theirs);
                            let sdp = self.theirs.clone();
                            return Ok(Message::Description(Description { kind: DescriptionKind::Answer, sdp }));
                        }
                        Err(error) => {
                            tracing::warn!("ICE is not restarted: {error}");
                            self.state = State::Up { session, request: None };
                        }
                    }
                }
                State::Up { session, request } => {
                    if let Some(running) = request {
                        let trickled = running.await;
                        *request = None;
                        session.trickles &= matches!(trickled, Ok(Trickled::Taken));
                        continue;
                    }
                    let Some(at) = self.send_at else { return std::future::pending().await };
                    tokio::time::sleep_until(at).await;
                    let session = session.clone();
                    let request = self.patch(&session);
                    self.state = State::Up { session, request };
                }
            }
        }
    }

    fn take(&mut self, created: Created) -> Description {
        let Created { session, description, ice_servers } = created;
        self.ice_servers = ice_servers;
        self.theirs.clone_from(&description.sdp);
        self.state = match description.kind {
            DescriptionKind::Offer => State::Countered { session, offer: description.clone() },
            _ => State::Up { session, request: None },
        };
        description
    }
}

#[async_trait::async_trait]
impl Signaling for Client {
    async fn send(&mut self, message: &Message) -> Result<(), Error> {
        match message {
            Message::Description(Description { kind: DescriptionKind::Answer, sdp }) => self.answer(sdp)?,
            Message::Description(Description { sdp, .. }) if matches!(self.state, State::Idle) => self.offer(sdp),
            Message::Description(Description { sdp, .. }) => self.restart(sdp),
            // The goodbye is the DELETE that closes the road.
            Message::Bye => {}
            candidate => self.trickle(candidate),
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        self.next().await.map(Some)
    }

    fn trickles(&self) -> bool {
        self.options.trickle && !matches!(self.state, State::Countered { .. })
    }

    fn may_bring_ice_servers(&self) -> bool {
        matches!(self.state, State::Idle | State::Offering(_)) || !self.ice_servers.is_empty()
    }

    fn take_ice_servers(&mut self) -> Vec<IceServer> {
        std::mem::take(&mut self.ice_servers)
    }

    async fn close(&mut self) -> Result<(), Error> {
        let session = match std::mem::replace(&mut self.state, State::Over) {
            State::Idle | State::Over => return Ok(()),
            State::Offering(task) => {
                let abort = task.abort_handle();
                let Ok(Ok(Ok(created))) = timeout(ENDING, task).await else {
                    abort.abort();
                    return Ok(());
                };
                created.session
            }
            State::Countered { session, .. } => session,
            State::Answering { session, request } => {
                request.abort();
                session
            }
            State::Restarting { session, request } => {
                request.abort();
                session
            }
            State::Up { session, request } => {
                if let Some(request) = request {
                    request.abort();
                }
                session
            }
        };
        let Some(url) = session.url else { return Ok(()) };
        match timeout(ENDING, self.http.delete(&url)).await {
            // It may know of the end already by the goodbye on the connection.
            Ok(Ok(reply)) if reply.status.is_success() || is_gone(reply.status) => {}
            Ok(Ok(reply)) => tracing::warn!("the session was not ended: {}", self.http.refusal(&reply)),
            Ok(Err(error)) => tracing::warn!("the session was not ended: {error}"),
            Err(_) => tracing::warn!("the session was not ended: {} does not answer", shown(&url)),
        }
        Ok(())
    }
}

/// Asks for a session until there is one, or a reason why there will be none before `deadline`.
async fn create(
    http: Arc<Http>,
    endpoint: Url,
    protocol: Protocol,
    offer: String,
    deadline: Instant,
) -> Result<Created, WhipError> {
    let body = Body { content_type: SDP, text: offer, if_match: None };
    let mut backoff = 1;
    loop {
        let reply = http.post(&endpoint, &body).await?;
        match reply.status {
            StatusCode::CREATED | StatusCode::OK => return created(&http, &reply, DescriptionKind::Answer),
            StatusCode::NOT_ACCEPTABLE if protocol == Protocol::Whep && reply.is(SDP) => {
                return created(&http, &reply, DescriptionKind::Offer);
            }
            StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let Some(after) = reply.retry_after() else { return Err(http.refusal(&reply)) };
                let pause = after.max(LEAST_PAUSE).saturating_mul(backoff);
                if Instant::now().checked_add(pause).is_none_or(|then| then >= deadline) {
                    return Err(http.refusal(&reply));
                }
                tracing::warn!("{}; asking again in {:.1} s", http.refusal(&reply), pause.as_secs_f64());
                tokio::time::sleep(pause).await;
                backoff *= 2;
            }
            _ => return Err(http.refusal(&reply)),
        }
    }
}

fn created(http: &Http, reply: &Reply, kind: DescriptionKind) -> Result<Created, WhipError> {
    if !reply.is(SDP) {
        return Err(http.breach(format!("{} with {}, not {SDP}", reply.status, reply.content_type().escape_debug())));
    }
    sdp::inspect(&reply.body).map_err(|error| http.breach(format!("{} with {error}", reply.status)))?;
    let url = reply.location();
    if url.is_none() {
        tracing::warn!("the server gave no Location: the session cannot be changed, nor ended before its time");
    }
    Ok(Created {
        session: Session { url, etag: reply.etag(), trickles: true },
        description: Description { kind, sdp: reply.body.clone() },
        ice_servers: reply.links().flat_map(link::ice_servers).collect(),
    })
}

pub(super) fn endpoint(url: &str) -> Result<Url, WhipError> {
    let fail = |why: &str| WhipError::Url { url: url.to_owned(), why: why.to_owned() };
    let parsed = Url::parse(url).map_err(|error| fail(&error.to_string()))?;
    match parsed {
        _ if !matches!(parsed.scheme(), "http" | "https") => Err(fail("use http: or https:")),
        _ if parsed.host_str().is_none_or(str::is_empty) => Err(fail("it has no host")),
        _ if !parsed.username().is_empty() || parsed.password().is_some() => {
            Err(WhipError::Url { url: shown(&parsed), why: "a user name and password are no use here".to_owned() })
        }
        _ => Ok(parsed),
    }
}

/// Whether what is sent to `url` stays on this machine.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn is_gone(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

fn internal(error: tokio::task::JoinError) -> Error {
    Error::new(crate::error::ErrorKind::Internal, "OperationError", error.to_string())
}

/// RFC 9725 section 4.4.1: RTP and RTCP share a port whatever the other side would like (RFC 8858).
pub(super) fn with_rtcp_mux_only(sdp: &str) -> String {
    const ONLY: &str = "a=rtcp-mux-only\r\n";
    if sdp.contains(ONLY) { sdp.to_owned() } else { sdp.replace("a=rtcp-mux\r\n", &format!("a=rtcp-mux\r\n{ONLY}")) }
}

#[cfg(test)]
mod tests;
