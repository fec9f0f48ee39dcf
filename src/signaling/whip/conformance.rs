//! A WHIP or WHEP server examined step by step: what RFC 9725 and draft-ietf-wish-whep say that it answers, in order and out of it.
//!
//! ```text
//! before()     OPTIONS, and offers that must be refused
//! send(offer)  POST: the answer and its headers; receive() gives the answer
//! after()      PATCH, DELETE, and what must be refused then
//! ```
//!
//! Whether media flows in between is for whoever has the connection to say.

use super::client::{endpoint, with_rtcp_mux_only};
use super::http::{Body, Http, Reply};
use super::{ClientOptions, FRAGMENT, Fragment, Protocol, SDP, WhipError, link};
use crate::error::Error;
use crate::signaling::{Description, DescriptionKind, Message, Signaling, sdp};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};

/// A page that asks.
const ORIGIN: &str = "https://rtckit.example";

/// One step, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What should be so.
    pub title: &'static str,
    /// Whether it is.
    pub outcome: Verdict,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is so.
    Passed,
    /// It must be so, and is not.
    Failed(String),
    /// It should be so, and is not.
    Advised(String),
    /// It could not be looked at.
    Skipped(String),
}

/// Takes the checks as they are made.
pub type Tell = Box<dyn Fn(Check) + Send + Sync>;

/// A road to the server under examination.
pub struct Examination {
    http: Http,
    stranger: Http,
    endpoint: Url,
    options: ClientOptions,
    tell: Tell,
    offer: String,
    answer: Option<Description>,
    session: Option<Session>,
}

struct Session {
    url: Option<Url>,
    etag: Option<HeaderValue>,
}

impl Examination {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// When the URL or the token cannot be used.
    pub fn new(options: ClientOptions, tell: Tell) -> Result<Self, Error> {
        Ok(Self {
            http: Http::new(options.protocol, options.token.as_ref(), options.ca_file.as_deref())?,
            stranger: Http::new(options.protocol, None, options.ca_file.as_deref())?,
            endpoint: endpoint(&options.url)?,
            options,
            tell,
            offer: String::new(),
            answer: None,
            session: None,
        })
    }

    fn check(&self, title: &'static str, outcome: Verdict) {
        (self.tell)(Check { title, outcome });
    }

    /// What comes before an offer that can be used.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn before(&self) -> Result<(), Error> {
        let asked = self.stranger.preflight(&self.endpoint, ORIGIN).await?;
        self.check("OPTIONS of the endpoint is answered with 2xx", must(asked.status.is_success(), &asked));
        let allowed = asked.header(HeaderName::from_static("access-control-allow-origin"));
        let open = allowed.is_some_and(|origin| origin == "*" || origin == ORIGIN);
        let why = || "no Access-Control-Allow-Origin for pages of other origins".to_owned();
        self.check("pages of other origins may ask (CORS)", should(open, why));
        let accepts = asked.header(HeaderName::from_static("accept-post")).is_some_and(|types| types.contains(SDP));
        self.check("Accept-Post of the endpoint names application/sdp", should(accepts, || format!("no {SDP} in it")));

        let refused = "an offer without the token is refused with 401";
        match &self.options.token {
            Some(_) => {
                let reply = self.stranger.post(&self.endpoint, &body(SDP, "v=0\r\n")).await?;
                self.check(refused, must(reply.status == StatusCode::UNAUTHORIZED, &reply));
            }
            None => self.check(refused, Verdict::Skipped("there is no token".to_owned())),
        }
        let reply = self.http.post(&self.endpoint, &body("text/plain", "v=0\r\n")).await?;
        self.check("an offer that is no application/sdp is refused with 415", refusal(&reply, &[415]));
        let reply = self.http.post(&self.endpoint, &body(SDP, "this is no SDP\r\n")).await?;
        self.check("SDP that cannot be read is refused with 400 or 422", refusal(&reply, &[400, 422]));
        Ok(())
    }

    async fn post(&mut self, sdp: &str) -> Result<(), WhipError> {
        self.offer = with_rtcp_mux_only(sdp);
        let reply = self.http.post(&self.endpoint, &body(SDP, &self.offer)).await?;
        let created = reply.status == StatusCode::CREATED;
        self.check("an offer is answered with 201", must(created, &reply));
        if !created {
            return Err(self.http.refusal(&reply));
        }
        let what = || format!("it is {}", reply.content_type());
        self.check("the answer is application/sdp", must_be(reply.is(SDP), what));
        let (url, etag) = (reply.location(), reply.etag());
        let none = || "there is none that leads to http or https".to_owned();
        self.check("Location names the session", must_be(url.is_some(), none));
        let none = || "there is none, so that the ICE session has no name".to_owned();
        self.check("ETag names the ICE session", should(etag.is_some(), none));
        let faults = faults(&reply.body, self.options.protocol);
        self.check("the answer is one that a client can use", must_be(faults.is_empty(), || faults.join("; ")));
        self.check("Link names ICE servers that can be used", links(&reply));
        self.session = Some(Session { url, etag });
        self.answer = Some(Description { kind: DescriptionKind::Answer, sdp: reply.body });
        Ok(())
    }

    /// What is asked of the session, which is over then.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn after(&mut self) -> Result<(), Error> {
        let Some(Session { url: Some(url), etag }) = self.session.take() else { return Ok(()) };
        let fragment = Fragment { end_of_candidates: true, ..Fragment::of_session(&self.offer) }.encode(&self.offer);
        let patch = |kind, if_match| Body { content_type: kind, text: fragment.clone(), if_match };
        let reply = self.http.patch(&url, &patch(FRAGMENT, etag.clone())).await?;
        let trickles = reply.status.is_success();
        let none = matches!(reply.status.as_u16(), 404 | 405 | 415 | 422 | 501);
        self.check(
            "candidates are taken by PATCH",
            match none {
                true => Verdict::Skipped(format!("it has no trickle ICE: {}", reply.status)),
                false => must(trickles, &reply),
            },
        );
        let skipped = || Verdict::Skipped("it has no trickle ICE".to_owned());
        let (stale, nameless) = ("PATCH of another ICE session is refused with 412", "PATCH of none with 428");
        let no_fragment = "PATCH of what is no fragment is refused with 415";
        if trickles {
            let reply = self.http.patch(&url, &patch(FRAGMENT, Some(HeaderValue::from_static("\"another\"")))).await?;
            self.check(stale, refusal(&reply, &[412]));
            let reply = self.http.patch(&url, &patch(FRAGMENT, None)).await?;
            self.check(nameless, should(reply.status.as_u16() == 428, || said(&reply)));
            let reply = self.http.patch(&url, &patch("text/plain", etag)).await?;
            self.check(no_fragment, refusal(&reply, &[415]));
        } else {
            [stale, nameless, no_fragment].into_iter().for_each(|title| self.check(title, skipped()));
        }
        let reply = self.http.delete(&url).await?;
        self.check("DELETE ends the session with 2xx", must(reply.status.is_success(), &reply));
        let reply = self.http.delete(&url).await?;
        let gone = matches!(reply.status.as_u16(), 404 | 410);
        self.check(
            "a session that was ended is not there any more",
            match reply.status.is_success() {
                true => Verdict::Advised(said(&reply)),
                false => must(gone, &reply),
            },
        );
        Ok(())
    }

    /// Ends what an examination that broke off left behind.
    pub async fn clean_up(&mut self) {
        if let Some(Session { url: Some(url), .. }) = self.session.take() {
            // It may be what is broken.
            let _ = self.http.delete(&url).await;
        }
    }
}

#[async_trait::async_trait]
impl Signaling for Examination {
    async fn send(&mut self, message: &Message) -> Result<(), Error> {
        if let Message::Description(Description { kind: DescriptionKind::Offer, sdp }) = message {
            self.post(sdp).await?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        match self.answer.take() {
            Some(answer) => Ok(Some(Message::Description(answer))),
            None => std::future::pending().await,
        }
    }

    fn trickles(&self) -> bool {
        false
    }

    async fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

fn body(content_type: &'static str, text: &str) -> Body {
    Body { content_type, text: text.to_owned(), if_match: None }
}

fn said(reply: &Reply) -> String {
    format!("it says {}", reply.status)
}

fn must(holds: bool, reply: &Reply) -> Verdict {
    must_be(holds, || said(reply))
}

fn must_be(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Verdict::Passed } else { Verdict::Failed(why()) }
}

fn should(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Verdict::Passed } else { Verdict::Advised(why()) }
}

/// Refused as it is to be; any other refusal that blames the client will do.
fn refusal(reply: &Reply, with: &[u16]) -> Verdict {
    match reply.status {
        status if with.contains(&status.as_u16()) => Verdict::Passed,
        status if status.is_client_error() => Verdict::Advised(said(reply)),
        _ => Verdict::Failed(said(reply)),
    }
}

fn links(reply: &Reply) -> Verdict {
    let named: Vec<&str> = reply.links().filter(|value| value.contains("ice-server")).collect();
    if named.is_empty() {
        return Verdict::Skipped("it names none".to_owned());
    }
    // Those that cannot be used are left out.
    let usable = |value: &&str| link::ice_servers(value).len() >= value.matches("ice-server").count();
    must_be(named.iter().all(usable), || "one of them cannot be read, or lacks credentials".to_owned())
}

/// What is wrong with an answer, besides what keeps it from being read.
fn faults(answer: &str, protocol: Protocol) -> Vec<String> {
    if let Err(error) = sdp::inspect(answer) {
        return vec![error.to_string()];
    }
    let mut faults = Vec::new();
    let mut lack = |found: bool, what: String| {
        if !found {
            faults.push(what);
        }
    };
    let (session, sections) = match answer.find("\nm=") {
        Some(at) => answer.split_at(at + 1),
        None => (answer, ""),
    };
    let has = |text: &str, wanted: &str| text.lines().any(|line| line.trim_end() == wanted);
    let begins = |text: &str, wanted: &str| text.lines().any(|line| line.starts_with(wanted));
    lack(begins(session, "a=group:BUNDLE"), "it does not bundle".to_owned());
    let wrong = match protocol {
        Protocol::Whip => ["a=sendrecv", "a=sendonly"],
        Protocol::Whep => ["a=sendrecv", "a=recvonly"],
    };
    for section in sections.split("\nm=").map(|section| section.trim_start_matches("m=")) {
        let kind = section.split_whitespace().next().unwrap_or_default();
        let port = section.split_whitespace().nth(1).unwrap_or_default();
        if port == "0" && !has(section, "a=bundle-only") {
            continue;
        }
        lack(has(section, "a=rtcp-mux"), format!("{kind} has no rtcp-mux"));
        let direction = wrong.iter().find(|wrong| has(section, wrong));
        lack(direction.is_none(), format!("{kind} is {}", direction.map_or("", |wrong| &wrong[2..])));
        let role = ["a=setup:active", "a=setup:passive"].iter().any(|role| has(section, role) || has(session, role));
        lack(role, format!("{kind} does not say who begins DTLS"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_answer_is_said() {
        let answer = |direction: &str, more: &str| {
            format!(
                "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=fingerprint:sha-256 \
                 {}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n\
                 a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na={direction}\r\n{more}",
                ["AB"; 32].join(":")
            )
        };
        let good = "a=rtcp-mux\r\na=setup:passive\r\n";
        assert_eq!(faults(&answer("recvonly", good), Protocol::Whip), [""; 0]);
        assert_eq!(faults(&answer("sendonly", good), Protocol::Whep), [""; 0]);
        assert_eq!(faults(&answer("sendonly", good), Protocol::Whip), ["audio is sendonly"]);
        let bare = faults(&answer("sendrecv", "a=setup:actpass\r\n").replace("a=group", "a=x"), Protocol::Whep);
        let expected =
            ["it does not bundle", "audio has no rtcp-mux", "audio is sendrecv", "audio does not say who begins DTLS"];
        assert_eq!(bare, expected);
        assert_eq!(faults("nonsense", Protocol::Whip).len(), 1);
    }
}
