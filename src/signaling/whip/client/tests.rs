//! The client against servers that answer as they are told, well and badly.

use super::*;
use crate::error::ErrorKind;
use crate::signaling::sdp::tests::OFFER;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server of one connection for each request.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// `answer` gets the number of the request, from 0, and all of its text. An empty answer is never given.
    async fn start(answer: impl Fn(usize, &str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !is_whole(&request) && stream.read_buf(&mut request).await.is_ok_and(|count| count > 0) {}
                let request = String::from_utf8_lossy(&request).into_owned();
                let number = seen.lock().unwrap().len();
                seen.lock().unwrap().push(request.clone());
                match answer(number, &request) {
                    silence if silence.is_empty() => kept.push(stream),
                    // The client may hang up on an answer that is too long.
                    answer => drop(stream.write_all(answer.as_bytes()).await),
                }
            }
        });
        Self { address, requests, task }
    }

    fn client(&self, protocol: Protocol, trickle: bool) -> Client {
        let options = ClientOptions {
            protocol,
            url: format!("http://{}/live/x", self.address),
            token: Some(Secret::new("s3cret")),
            trickle,
            ca_file: None,
        };
        Client::new(options, PATIENCE).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn is_whole(request: &[u8]) -> bool {
    // A client that speaks TLS waits for a word in return.
    if request.first() == Some(&0x16) {
        return true;
    }
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
}

fn answered() -> String {
    response("201 Created", "Content-Type: application/sdp\r\nLocation: s/1\r\nETag: \"one\"\r\n", OFFER)
}

fn ours(kind: DescriptionKind) -> Message {
    Message::Description(Description { kind, sdp: OFFER.to_owned() })
}

fn candidate(port: u16) -> Message {
    let candidate = format!("candidate:9 1 udp 2122260223 192.0.2.9 {port} typ host");
    Message::Candidate(Candidate {
        candidate,
        sdp_mid: Some("0".to_owned()),
        sdp_m_line_index: None,
        username_fragment: None,
    })
}

async fn received(client: &mut Client) -> Result<Option<Message>, Error> {
    timeout(PATIENCE, client.receive()).await.expect("an answer comes in time")
}

/// Lets the client work until the server has got `count` requests.
async fn await_requests(client: &mut Client, server: &Server, count: usize) {
    let all = async {
        while server.requests().len() < count {
            let _ = timeout(Duration::from_millis(5), client.receive()).await;
        }
    };
    timeout(PATIENCE, all).await.expect("the requests come");
}

/// The error that the server's only answer is.
async fn failure(protocol: Protocol, answer: String) -> Error {
    let server = Server::start(move |_, _| answer.clone()).await;
    let mut client = server.client(protocol, false);
    client.send(&ours(DescriptionKind::Offer)).await.unwrap();
    received(&mut client).await.unwrap_err()
}

#[tokio::test]
async fn an_offer_is_answered_and_the_session_ended_where_the_server_said() {
    let server = Server::start(|number, _| if number == 0 { answered() } else { response("200 OK", "", "") }).await;
    let mut client = server.client(Protocol::Whip, false);
    client.send(&ours(DescriptionKind::Offer)).await.unwrap();
    assert_eq!(received(&mut client).await.unwrap(), Some(ours(DescriptionKind::Answer)));
    client.close().await.unwrap();
    let requests = server.requests();
    assert!(requests[0].starts_with("POST /live/x HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests[0].contains("content-type: application/sdp\r\n") && requests[0].contains("a=rtcp-mux-only\r\n"));
    assert!(requests[1].starts_with("DELETE /live/s/1 HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests.iter().all(|request| request.contains("authorization: Bearer s3cret\r\n")), "{requests:?}");
    assert_eq!(requests.len(), 2);
}

#[tokio::test]
async fn a_redirected_offer_goes_to_the_other_server_without_the_token() {
    let far = Server::start(|_, _| answered()).await;
    let to = format!("Location: http://{}/elsewhere\r\n", far.address);
    let near = Server::start(move |_, _| response("307 Temporary Redirect", &to, "")).await;
    let mut client = near.client(Protocol::Whip, false);
    client.send(&ours(DescriptionKind::Offer)).await.unwrap();
    assert!(received(&mut client).await.is_ok());
    let request = &far.requests()[0];
    assert!(request.starts_with("POST /elsewhere ") && request.contains("a=ice-ufrag:"), "{request}");
    assert!(!request.contains("s3cret"), "the token leaked: {request}");
}

#[tokio::test]
async fn redirections_end() {
    let error = failure(Protocol::Whip, response("308 Permanent Redirect", "Location: /live/x\r\n", "")).await;
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("redirections"), "{error}");
    let error = failure(Protocol::Whip, response("307 Temporary Redirect", "", "")).await;
    assert!(error.to_string().contains("without a Location"), "{error}");
    // A browser would make a GET of it.
    let error = failure(Protocol::Whip, response("302 Found", "Location: /\r\n", "")).await;
    assert!(error.to_string().contains("302 Found"), "{error}");
}

#[tokio::test]
async fn refusals_say_why_and_of_which_kind_they_are() {
    let problem = r#"{"title":"No such stream","detail":"live/x"}"#;
    for (status, headers, body, kind, said) in [
        ("401 Unauthorized", "", "", ErrorKind::Auth, "401 Unauthorized"),
        ("403 Forbidden", "Content-Type: text/plain\r\n", "not you", ErrorKind::Auth, "not you"),
        (
            "404 Not Found",
            "Content-Type: application/problem+json\r\n",
            problem,
            ErrorKind::Refused,
            "No such stream: live/x",
        ),
        ("409 Conflict", "", "", ErrorKind::Refused, "409 Conflict"),
        ("503 Service Unavailable", "Retry-After: 3600\r\n", "", ErrorKind::Refused, "3600 s"),
        ("406 Not Acceptable", "", "", ErrorKind::Refused, "406"),
        ("500 Internal Server Error", "Content-Type: text/html\r\n", "<p>", ErrorKind::Refused, "500"),
        ("201 Created", "Content-Type: text/html\r\n", "<p>", ErrorKind::Refused, "text/html"),
        ("201 Created", "", "", ErrorKind::Refused, "application/sdp"),
        ("201 Created", "Content-Type: application/sdp\r\n", "v=0\r\n", ErrorKind::Refused, "SDP without"),
    ] {
        let error = failure(Protocol::Whip, response(status, headers, body)).await;
        assert_eq!(error.kind(), kind, "{status}: {error}");
        assert!(error.to_string().contains(said), "{status}: {error}");
    }
}

#[tokio::test]
async fn answers_without_end_or_that_break_off_are_no_answers() {
    let endless = format!("HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\n\r\n{}", "v".repeat(3 << 20));
    let error = failure(Protocol::Whip, endless).await;
    assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("longer than"), "{error}");
    let cut = "HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\nContent-Length: 500\r\n\r\nv=0".to_owned();
    assert_eq!(failure(Protocol::Whip, cut).await.kind(), ErrorKind::Unreachable);
    assert_eq!(failure(Protocol::Whip, "SSH-2.0-x\r\n".to_owned()).await.kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_no_tls_is_told_from_it() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Server::start(|_, _| "no TLS here\r\n".to_owned()).await;
    for (url, kind) in [
        (format!("http://{closed}/"), ErrorKind::Unreachable),
        (format!("https://{}/", server.address), ErrorKind::Dtls),
        ("http://nowhere.invalid/".to_owned(), ErrorKind::Dns),
    ] {
        let options =
            ClientOptions { protocol: Protocol::Whip, url: url.clone(), token: None, trickle: false, ca_file: None };
        let mut client = Client::new(options, PATIENCE).unwrap();
        client.send(&ours(DescriptionKind::Offer)).await.unwrap();
        let error = received(&mut client).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{url}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_ready_is_asked_again_when_it_says() {
    let server = Server::start(|number, _| match number {
        0 => response("409 Conflict", "Retry-After: 0\r\n", ""),
        1 => response("503 Service Unavailable", "Retry-After: 0\r\n", ""),
        _ => answered(),
    })
    .await;
    let mut client = server.client(Protocol::Whep, false);
    client.send(&ours(DescriptionKind::Offer)).await.unwrap();
    assert!(received(&mut client).await.is_ok());
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_counter_offer_is_received_until_it_is_answered() {
    let server = Server::start(|number, _| match number {
        0 => response("406 Not Acceptable", "Content-Type: application/sdp\r\nLocation: /s/2\r\n", OFFER),
        _ => response("204 No Content", "", ""),
    })
    .await;
    let mut client = server.client(Protocol::Whep, true);
    client.send(&ours(DescriptionKind::Offer)).await.unwrap();
    assert_eq!(received(&mut client).await.unwrap(), Some(ours(DescriptionKind::Offer)));
    assert_eq!(received(&mut client).await.unwrap(), Some(ours(DescriptionKind::Offer)));
    assert!(!client.trickles(), "an answer is complete");
    client.send(&ours(DescriptionKind::Answer)).await.unwrap();
    await_requests(&mut client, &server, 2).await;
    client.close().await.unwrap();
    let requests = server.requests();
    assert!(requests[1].starts_with("PATCH /s/2 ") && requests[1].contains("content-type: application/sdp\r\n"));
    assert!(requests[2].starts_with("DELETE /s/2 "), "{requests:?}");
}

#[tokio::test]
async fn candidates_wait_for_the_session_and_travel_together() {
    let server = Server::start(|number, _| match number {
        0 => answered(),
        _ => response("204 No Content", "", ""),
    })
    .await;
    let mut client = server.client(Protocol::Whip, true);
    assert!(client.trickles());
    client.send(&ours(DescriptionKind::Offer)).await.unwrap();
    for port in [1, 2, 2, 3] {
        client.send(&candidate(port)).await.unwrap();
    }
    assert!(received(&mut client).await.is_ok());
    await_requests(&mut client, &server, 2).await;
    client.send(&candidate(4)).await.unwrap();
    client.send(&Message::EndOfCandidates).await.unwrap();
    await_requests(&mut client, &server, 3).await;
    let requests = server.requests();
    let (first, second) = (&requests[1], &requests[2]);
    assert!(first.starts_with("PATCH /live/s/1 ") && first.contains("if-match: \"one\"\r\n"), "{first}");
    assert!(first.contains("content-type: application/trickle-ice-sdpfrag\r\n"), "{first}");
    let count = |text: &str| text.matches("a=candidate:9").count();
    assert_eq!((count(first), first.contains("end-of-candidates")), (3, false), "{first}");
    assert_eq!((count(second), second.contains("end-of-candidates")), (1, true), "{second}");
    assert!(second.contains("a=ice-ufrag:"), "{second}");
}

#[tokio::test]
async fn a_server_without_trickle_is_not_asked_twice() {
    let server = Server::start(|number, _| match number {
        0 => answered(),
        _ => response("405 Method Not Allowed", "", ""),
    })
    .await;
    let mut client = server.client(Protocol::Whip, true);
    client.send(&ours(DescriptionKind::Offer)).await.unwrap();
    assert!(received(&mut client).await.is_ok());
    client.send(&candidate(1)).await.unwrap();
    await_requests(&mut client, &server, 2).await;
    client.send(&candidate(2)).await.unwrap();
    client.close().await.unwrap();
    let requests = server.requests();
    assert!(requests[2].starts_with("DELETE "), "{requests:?}");
}

#[tokio::test]
async fn a_silent_server_holds_nobody_and_a_session_that_comes_too_late_is_ended() {
    let server = Server::start(|_, _| String::new()).await;
    let mut client = server.client(Protocol::Whip, false);
    client.send(&ours(DescriptionKind::Offer)).await.unwrap();
    assert!(timeout(Duration::from_millis(50), client.receive()).await.is_err());
    timeout(PATIENCE, client.close()).await.unwrap().unwrap();

    let server =
        Server::start(|number, _| if number == 0 { answered() } else { response("404 Not Found", "", "") }).await;
    let mut client = server.client(Protocol::Whip, false);
    client.send(&ours(DescriptionKind::Offer)).await.unwrap();
    client.close().await.unwrap();
    assert!(server.requests()[1].starts_with("DELETE /live/s/1 "), "{:?}", server.requests());
}

#[tokio::test]
async fn servers_of_link_headers_are_handed_on_once() {
    let link = "Link: <stun:stun.example>; rel=\"ice-server\"\r\nLink: <turn:t.example>; rel=\"ice-server\"; \
                username=\"u\"; credential=\"c\"\r\n";
    let headers = format!("Content-Type: application/sdp\r\nLocation: /s\r\n{link}");
    let server = Server::start(move |_, _| response("201 Created", &headers, OFFER)).await;
    let mut client = server.client(Protocol::Whip, false);
    client.send(&ours(DescriptionKind::Offer)).await.unwrap();
    assert!(received(&mut client).await.is_ok());
    let urls: Vec<_> = client.take_ice_servers().into_iter().flat_map(|server| server.urls).collect();
    assert_eq!(urls, ["stun:stun.example", "turn:t.example"]);
    assert!(client.take_ice_servers().is_empty());
}

#[test]
fn urls_that_cannot_be_asked_are_refused_without_their_password() {
    for url in ["ftp://a/", "http://", "https://me:hush@a/", "http:// a/"] {
        let options =
            ClientOptions { protocol: Protocol::Whip, url: url.to_owned(), token: None, trickle: false, ca_file: None };
        let Err(error) = Client::new(options, PATIENCE) else { panic!("{url} was taken") };
        assert!(error.kind() == ErrorKind::InvalidInput && !error.to_string().contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn ice_is_restarted_by_a_patch_and_what_follows_belongs_to_the_new_session() {
    let fragment = "a=ice-ufrag:theirs2\r\na=ice-pwd:theirsecondpassword00\r\nm=audio 9 X 0\r\na=mid:0\r\n\
        a=candidate:7 1 udp 1 192.0.2.7 7777 typ host\r\n";
    let server = Server::start(move |number, _| match number {
        0 => answered(),
        1 => response("422 Unprocessable Content", "Content-Type: text/plain\r\n", "not now"),
        2 => response("200 OK", "Content-Type: application/trickle-ice-sdpfrag\r\nETag: \"two\"\r\n", fragment),
        _ => response("204 No Content", "", ""),
    })
    .await;
    let mut client = server.client(Protocol::Whip, true);
    client.send(&ours(DescriptionKind::Offer)).await.unwrap();
    received(&mut client).await.unwrap();
    let restart = OFFER.replace("a=ice-ufrag:", "a=ice-ufrag:new");
    let offer = Message::Description(Description { kind: DescriptionKind::Offer, sdp: restart });
    // A server that cannot leaves the session as it is.
    client.send(&offer).await.unwrap();
    await_requests(&mut client, &server, 2).await;
    assert!(timeout(Duration::from_millis(100), client.receive()).await.is_err(), "a refusal is no answer");

    client.send(&offer).await.unwrap();
    client.send(&candidate(9)).await.unwrap();
    let Some(Message::Description(answer)) = received(&mut client).await.unwrap() else { panic!("no answer") };
    assert_eq!(answer.kind, DescriptionKind::Answer);
    assert!(answer.sdp.contains("a=ice-ufrag:theirs2\r\n") && answer.sdp.contains("192.0.2.7 7777"), "{}", answer.sdp);
    assert_eq!(answer.sdp.matches("\nm=").count(), OFFER.matches("\nm=").count());
    await_requests(&mut client, &server, 4).await;
    let requests = server.requests();
    for restart in &requests[1..3] {
        assert!(restart.starts_with("PATCH /live/s/1 ") && restart.contains("if-match: *\r\n"), "{restart}");
        assert!(restart.contains("a=ice-ufrag:new") && restart.matches("\nm=").count() == 1, "{restart}");
    }
    assert!(
        requests[3].contains("if-match: \"two\"\r\n") && requests[3].contains("a=ice-ufrag:new"),
        "{}",
        requests[3]
    );
}
