//! Requests of a WHIP or WHEP client: authorised, bounded, and redirected where the protocol allows it.

use super::{Protocol, WhipError, is_type};
use crate::error::Error;
use crate::ice_server::Secret;
use crate::signaling::MAX_MESSAGE_BYTES;
use crate::trust;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH};
use reqwest::header::{LINK, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url, redirect};
use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls::{self, ClientConfig, crypto};

/// How long TCP and TLS may take together.
const CONNECTING: Duration = Duration::from_secs(10);
/// How often an offer is passed on to another server.
const MOST_REDIRECTIONS: usize = 5;
/// As much of a server's explanation is shown.
const SHOWN: usize = 200;

/// A client of one endpoint.
pub(super) struct Http {
    client: Client,
    protocol: Protocol,
    authorization: Option<HeaderValue>,
}

/// A body and what it is.
pub(super) struct Body {
    pub content_type: &'static str,
    pub text: String,
    /// The ICE session it is about, if the server told its name.
    pub if_match: Option<HeaderValue>,
}

/// What a server answered.
pub(super) struct Reply {
    pub status: StatusCode,
    headers: HeaderMap,
    pub body: String,
    /// Who answered, after redirections.
    pub url: Url,
}

impl Http {
    /// Reads the certificates of this system.
    pub fn new(protocol: Protocol, token: Option<&Secret>, ca_file: Option<&Path>) -> Result<Self, Error> {
        let roots = trust::authorities_and(ca_file)
            .map_err(|why| WhipError::Authorities { path: ca_file.map(Path::to_owned).unwrap_or_default(), why })?;
        let tls = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECTING)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("rtckit/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::new(crate::error::ErrorKind::Internal, "OperationError", chain(&error)))?;
        let authorization = token.map(bearer).transpose()?;
        Ok(Self { client, protocol, authorization })
    }

    /// Sends an offer, to wherever the endpoint passes it on with 307 or 308.
    pub async fn post(&self, endpoint: &Url, body: &Body) -> Result<Reply, WhipError> {
        let mut url = endpoint.clone();
        for _ in 0..=MOST_REDIRECTIONS {
            // Another server has no business with the token, whatever the endpoint says.
            let authorised = url.origin() == endpoint.origin();
            let reply = self.request(Method::POST, &url, Some(body), authorised).await?;
            if !matches!(reply.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return Ok(reply);
            }
            let next = reply.location().ok_or_else(|| self.breach(format!("{} without a Location", reply.status)))?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(self.breach(format!("it redirects from https to {}", shown(&next))));
            }
            tracing::info!("{} passes us on to {}", shown(&url), shown(&next));
            url = next;
        }
        Err(self.breach(format!("more than {MOST_REDIRECTIONS} redirections")))
    }

    /// Changes the session at `url`.
    pub async fn patch(&self, url: &Url, body: &Body) -> Result<Reply, WhipError> {
        self.request(Method::PATCH, url, Some(body), true).await
    }

    /// Asks what a page of `origin` may do.
    pub async fn preflight(&self, url: &Url, origin: &str) -> Result<Reply, WhipError> {
        let request = self.client.request(Method::OPTIONS, url.clone()).header("Origin", origin);
        let request = request.header("Access-Control-Request-Method", "POST");
        self.send(url, request.header("Access-Control-Request-Headers", "authorization,content-type")).await
    }

    /// Ends the session at `url`.
    pub async fn delete(&self, url: &Url) -> Result<Reply, WhipError> {
        self.request(Method::DELETE, url, None, true).await
    }

    async fn request(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Body>,
        authorised: bool,
    ) -> Result<Reply, WhipError> {
        let mut request = self.client.request(method, url.clone());
        if let Some(authorization) = self.authorization.as_ref().filter(|_| authorised) {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, body.content_type).header(ACCEPT, body.content_type);
            if let Some(session) = &body.if_match {
                request = request.header(IF_MATCH, session);
            }
            request = request.body(body.text.clone());
        }
        self.send(url, request).await
    }

    async fn send(&self, url: &Url, request: reqwest::RequestBuilder) -> Result<Reply, WhipError> {
        let failed = |error: reqwest::Error| failure(url, &error);
        let mut response = request.send().await.map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_MESSAGE_BYTES {
                return Err(self.breach(format!("its answer is longer than {MAX_MESSAGE_BYTES} bytes")));
            }
        }
        Ok(Reply {
            status: response.status(),
            headers: response.headers().clone(),
            body: String::from_utf8_lossy(&bytes).into_owned(),
            url: url.clone(),
        })
    }

    pub fn breach(&self, why: String) -> WhipError {
        WhipError::Breach { protocol: self.protocol, why }
    }

    /// The error that `reply` is.
    pub fn refusal(&self, reply: &Reply) -> WhipError {
        WhipError::Refused {
            protocol: self.protocol,
            status: reply.status.to_string(),
            code: reply.status.as_u16(),
            said: reply.explanation(),
            retry_after: reply.retry_after(),
        }
    }
}

impl Reply {
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Where `Location` leads to, seen from who answered.
    pub fn location(&self) -> Option<Url> {
        let url = self.url.join(self.header(LOCATION)?).ok()?;
        matches!(url.scheme(), "http" | "https").then_some(url)
    }

    pub fn etag(&self) -> Option<HeaderValue> {
        self.headers.get(ETAG).cloned()
    }

    pub fn content_type(&self) -> &str {
        self.header(CONTENT_TYPE).unwrap_or("nothing that says what it is")
    }

    pub fn is(&self, content_type: &str) -> bool {
        is_type(self.content_type(), content_type)
    }

    pub fn links(&self) -> impl Iterator<Item = &str> {
        self.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok())
    }

    /// `Retry-After`: seconds, or a date.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.header(RETRY_AFTER)?.trim();
        match value.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => {
                let at = httpdate::parse_http_date(value).ok()?;
                Some(at.duration_since(SystemTime::now()).unwrap_or_default())
            }
        }
    }

    /// What the body says, where it is meant for people: RFC 9457 problem details, other JSON, plain text.
    fn explanation(&self) -> Option<String> {
        let json = self.is("application/json") || self.is("application/problem+json");
        let text = if json {
            let value: serde_json::Value = serde_json::from_str(&self.body).ok()?;
            let member = |name: &str| value.get(name).and_then(|value| value.as_str()).filter(|text| !text.is_empty());
            match (member("title"), member("detail")) {
                (Some(title), Some(detail)) => format!("{title}: {detail}"),
                (title, detail) => {
                    let found = title.or(detail).or_else(|| member("error")).or_else(|| member("message"));
                    found.map(str::to_owned)?
                }
            }
        } else if self.is("text/plain") {
            self.body.clone()
        } else {
            return None;
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let line: String = words.join(" ").chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        (!line.is_empty()).then_some(line)
    }
}

/// `url` without what may be secret in it.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for URLs without a host.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

fn bearer(token: &Secret) -> Result<HeaderValue, WhipError> {
    let token = token.reveal();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(WhipError::Token);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| WhipError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Which of the steps below HTTP failed.
fn failure(url: &Url, error: &reqwest::Error) -> WhipError {
    let why = root(error);
    if error.is_dns() {
        return WhipError::Dns { host: url.host_str().unwrap_or_default().to_owned(), why };
    }
    let url = shown(url);
    if is_tls(error) {
        return WhipError::Tls { url, why };
    }
    if error.is_timeout() {
        return WhipError::Connect { url, why: format!("no connection within {} s", CONNECTING.as_secs()) };
    }
    WhipError::Connect { url, why }
}

fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>() || is_tls(inner)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// What began it all.
fn root(error: &(dyn StdError + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text += &format!(": {error}");
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(headers: &[(HeaderName, &str)], body: &str) -> Reply {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        Reply {
            status: StatusCode::OK,
            headers: headers.collect(),
            body: body.to_owned(),
            url: Url::parse("https://a.example/live/x?key=1").unwrap(),
        }
    }

    #[test]
    fn a_location_is_seen_from_the_endpoint_and_must_be_http() {
        let location = |value: &str| reply(&[(LOCATION, value)], "").location().map(String::from);
        assert_eq!(location("/s/1").as_deref(), Some("https://a.example/s/1"));
        assert_eq!(location("s/1").as_deref(), Some("https://a.example/live/s/1"));
        assert_eq!(location("//b.example/s").as_deref(), Some("https://b.example/s"));
        assert_eq!(location("file:///etc/passwd"), None);
    }

    #[test]
    fn an_explanation_is_one_line_of_what_is_meant_for_people() {
        let said = |kind: &str, body: &str| reply(&[(CONTENT_TYPE, kind)], body).explanation();
        let problem = r#"{"type":"about:blank","title":"No stream","detail":"live/x\nis\u001b[31m off"}"#;
        assert_eq!(said("application/problem+json", problem).as_deref(), Some("No stream: live/x is[31m off"));
        assert_eq!(said("application/json; charset=utf-8", r#"{"error":"no"}"#).as_deref(), Some("no"));
        assert_eq!(said("text/plain", &"x".repeat(1000)).map(|text| text.len()), Some(SHOWN));
        assert_eq!(said("text/html", "<h1>no</h1>"), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |value: &str| reply(&[(RETRY_AFTER, value)], "").retry_after();
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Wed, 09 Oct 2024 10:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn tokens_that_no_header_can_carry_are_refused_and_urls_are_shown_without_secrets() {
        for token in ["", "two words", "line\nInjected: x", "é"] {
            assert!(bearer(&Secret::new(token)).is_err(), "{token}");
        }
        assert!(bearer(&Secret::new("a.b-c_~+/=")).unwrap().is_sensitive());
        let url = Url::parse("https://me:hush@a.example/x?token=hush#hush").unwrap();
        assert_eq!(shown(&url), "https://a.example/x");
    }
}
