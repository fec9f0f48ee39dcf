//! The listener asked by a client of HTTP, in order and out of it.

use super::*;
use crate::signaling::sdp::tests::OFFER;
use reqwest::{Client, RequestBuilder, Url};

const PATIENCE: Duration = Duration::from_secs(20);

fn listener(token: Option<&str>) -> Listener {
    let options = ListenerOptions {
        protocol: Protocol::Whip,
        address: "127.0.0.1:0".to_owned(),
        token: token.map(Secret::new),
        security: Security::None,
    };
    Listener::bind(options, None).unwrap()
}

fn client() -> Client {
    let tls = tokio_rustls::rustls::ClientConfig::builder_with_provider(Arc::new(
        tokio_rustls::rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
    .with_no_client_auth();
    Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap()
}

fn offer(client: &Client, url: &str) -> RequestBuilder {
    client.post(url).header("Content-Type", SDP).body(OFFER)
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

async fn received(listener: &mut Listener) -> Message {
    tokio::time::timeout(PATIENCE, listener.receive()).await.expect("a message comes").unwrap().expect("it is open")
}

/// An offer that is answered: the URL of its session, and its entity tag.
async fn admitted(listener: &mut Listener, client: &Client) -> (Url, String) {
    let url = listener.serving.url.clone();
    let posting = tokio::spawn(offer(client, &url).send());
    let Message::Description(found) = received(listener).await else { panic!("no offer") };
    assert_eq!((found.kind, found.sdp.as_str()), (DescriptionKind::Offer, OFFER));
    let answer = Description { kind: DescriptionKind::Answer, sdp: "v=0\r\nanswer".to_owned() };
    listener.send(&Message::Description(answer)).await.unwrap();
    let response = posting.await.unwrap().unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((response.status().as_u16(), header("content-type").as_str()), (201, SDP));
    let (session, etag) = (Url::parse(&url).unwrap().join(&header("location")).unwrap(), header("etag"));
    assert_eq!(response.text().await.unwrap(), "v=0\r\nanswer");
    (session, etag)
}

#[tokio::test]
async fn a_client_offers_trickles_and_ends() {
    let (mut listener, client) = (listener(None), client());
    let (session, etag) = admitted(&mut listener, &client).await;
    let fragment = format!(
        "{}a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n",
        Fragment::of_session(OFFER).encode(OFFER)
    );
    let patch = |if_match: Option<&str>, kind: &str, body: &str| {
        let request = client.patch(session.clone()).header("Content-Type", kind).body(body.to_owned());
        if_match.into_iter().fold(request, |request, etag| request.header("If-Match", etag))
    };
    assert_eq!(status(patch(Some(&etag), FRAGMENT, &fragment)).await, 204);
    let Message::Candidate(candidate) = received(&mut listener).await else { panic!("no candidate") };
    assert_eq!(candidate.candidate, "candidate:1 1 udp 1 192.0.2.1 9 typ host");
    assert_eq!(received(&mut listener).await, Message::EndOfCandidates);

    assert_eq!(status(patch(None, FRAGMENT, "a=end-of-candidates\r\n")).await, 428);
    assert_eq!(status(patch(Some("\"other\""), FRAGMENT, &fragment)).await, 412);
    assert_eq!(status(patch(Some(&etag), SDP, &fragment)).await, 415);
    assert_eq!(status(patch(Some(&etag), FRAGMENT, "nonsense")).await, 400);
    let restart = "a=ice-ufrag:new\r\na=ice-pwd:newnewnewnewnewnewnewnew\r\n";
    assert_eq!(status(patch(Some(&etag), FRAGMENT, restart)).await, 422);

    assert_eq!(status(patch(Some("*"), FRAGMENT, "a=ice-ufrag:new\r\n")).await, 422);
    let restarting = tokio::spawn(patch(Some("*"), FRAGMENT, restart).send());
    let Message::Description(offer) = received(&mut listener).await else { panic!("no offer") };
    assert_eq!(offer.kind, DescriptionKind::Offer);
    let expected = Fragment::parse(restart).unwrap().applied_to(OFFER);
    assert_eq!(offer.sdp, expected);
    let sdp = OFFER.replace("a=ice-ufrag:", "a=ice-ufrag:our");
    listener
        .send(&Message::Description(Description { kind: DescriptionKind::Answer, sdp: sdp.clone() }))
        .await
        .unwrap();
    let response = restarting.await.unwrap().unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((response.status().as_u16(), header("content-type").as_str()), (200, FRAGMENT));
    let second = header("etag");
    assert_ne!(second, etag);
    assert_eq!(Fragment::parse(&response.text().await.unwrap()).unwrap(), Fragment::of_description(&sdp));
    assert_eq!(status(patch(Some(&etag), FRAGMENT, "a=end-of-candidates\r\n")).await, 412);
    assert_eq!(status(patch(Some(&second), FRAGMENT, "a=end-of-candidates\r\n")).await, 204);
    assert_eq!(received(&mut listener).await, Message::EndOfCandidates);

    assert_eq!(status(client.post(session.clone()).body("")).await, 405);
    assert_eq!(status(client.delete(session.clone())).await, 200);
    assert_eq!(received(&mut listener).await, Message::Bye);
    assert_eq!(status(client.delete(session)).await, 404);
}

#[tokio::test]
async fn whoever_comes_second_is_told_so_and_who_comes_too_late_as_well() {
    let (mut listener, client) = (listener(None), client());
    let url = listener.serving.url.clone();
    let posting = tokio::spawn(offer(&client, &url).send());
    received(&mut listener).await;
    assert_eq!(status(offer(&client, &url)).await, 409);
    // The offer cannot be used: its client learns it while the road is closed.
    listener.close().await.unwrap();
    assert_eq!(posting.await.unwrap().unwrap().status().as_u16(), 406);
    assert!(offer(&client, &url).send().await.is_err(), "it still listens");
}

#[tokio::test]
async fn what_is_no_offer_gets_no_further_and_leaves_the_place_free() {
    let (mut listener, client) = (listener(None), client());
    let url = listener.serving.url.clone();
    assert_eq!(status(client.post(&url).header("Content-Type", "text/plain").body(OFFER)).await, 415);
    for body in ["", "v=0\r\n", "hello", "\u{0}"] {
        assert_eq!(status(client.post(&url).header("Content-Type", SDP).body(body)).await, 400, "{body}");
    }
    assert_eq!(status(client.post(&url).header("Content-Type", SDP).body("v".repeat(1 << 20))).await, 413);
    assert_eq!(status(client.get(&url)).await, 204);
    assert_eq!(status(client.put(&url)).await, 405);
    assert_eq!(status(client.get(format!("{url}ed"))).await, 404);
    assert_eq!(status(client.delete(format!("{url}/guess"))).await, 404);
    admitted(&mut listener, &client).await;
}

#[tokio::test]
async fn without_the_token_only_a_page_may_ask_what_it_may_do() {
    let (listener, client) = (listener(Some("s3cret")), client());
    let url = listener.serving.url.clone();
    for wrong in ["s3cre", "s3cret2", "S3cret", ""] {
        let response = offer(&client, &url).bearer_auth(wrong).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
    assert_eq!(status(offer(&client, &url).basic_auth("s3cret", None::<&str>)).await, 401);
    assert_eq!(status(client.get(&url).bearer_auth("s3cret")).await, 204);
    let response = client.request(Method::OPTIONS, &url).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((header("accept-post").as_str(), header("access-control-allow-origin").as_str()), (SDP, "*"));
    assert!(header("access-control-allow-headers").contains("Authorization"));
    assert!(header("access-control-allow-methods").contains("POST"));
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_with_the_address_in_it() {
    let taken = listener(None);
    let address = taken.serving.url.trim_start_matches("http://").trim_end_matches("/whip").to_owned();
    let options =
        ListenerOptions { protocol: Protocol::Whep, address: address.clone(), token: None, security: Security::None };
    let Err(error) = Listener::bind(options, None) else { panic!("two listen on {address}") };
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn each_of_an_audience_has_a_session_of_its_own_and_there_are_as_many_as_may_be() {
    use crate::signaling::whip::Audience;
    let options = ListenerOptions {
        protocol: Protocol::Whep,
        address: "127.0.0.1:0".to_owned(),
        token: None,
        security: Security::None,
    };
    let mut audience = Audience::bind(options, 2, None).unwrap();
    let (url, client) = (audience.url().to_owned(), client());
    // What is no offer, and an offer that cannot be used, take no place.
    for _ in 0..5 {
        assert_eq!(status(client.post(&url).header("Content-Type", "text/plain").body(OFFER)).await, 415);
        assert_eq!(status(client.post(&url).header("Content-Type", SDP).body("nonsense")).await, 400);
        let posting = tokio::spawn(offer(&client, &url).send());
        drop(audience.next().await.unwrap());
        assert_eq!(posting.await.unwrap().unwrap().status(), 406);
    }
    let mut seats = Vec::new();
    for _ in 0..2 {
        let posting = tokio::spawn(offer(&client, &url).send());
        let mut seat = audience.next().await.unwrap();
        assert!(matches!(seat.receive().await, Ok(Some(Message::Description(_)))));
        let answer = Description { kind: DescriptionKind::Answer, sdp: "v=0\r\nanswer".to_owned() };
        seat.send(&Message::Description(answer)).await.unwrap();
        let response = posting.await.unwrap().unwrap();
        assert_eq!(response.status(), 201);
        let session = Url::parse(&url).unwrap().join(response.headers()["location"].to_str().unwrap()).unwrap();
        seats.push((seat, session));
    }
    let full = offer(&client, &url).send().await.unwrap();
    assert_eq!(
        (full.status().as_u16(), &full.headers()["retry-after"]),
        (503, &axum::http::HeaderValue::from_static("5"))
    );
    // The end of one is not that of the other, and its place is free when it has gone.
    let (mut first, session) = seats.remove(0);
    assert_eq!(status(client.delete(session.as_str())).await, 200);
    assert!(matches!(first.receive().await, Ok(Some(Message::Bye))));
    drop(first);
    assert_eq!(status(client.delete(session.as_str())).await, 404);
    let (mut second, session) = seats.remove(0);
    let (_, id) = session.as_str().rsplit_once('/').unwrap();
    let patch =
        || client.patch(session.as_str()).header("Content-Type", FRAGMENT).header("If-Match", format!("\"{id}-0\""));
    let fragment = format!("{}a=end-of-candidates\r\n", Fragment::of_session(OFFER).encode(OFFER));
    assert_eq!(status(patch().body(fragment)).await, 204);
    assert!(matches!(second.receive().await, Ok(Some(Message::EndOfCandidates))));
    tokio::spawn(offer(&client, &url).send());
    assert!(audience.next().await.is_some());
}
