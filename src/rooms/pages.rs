//! What is at which path: rooms, the page, and what watches the server.

use super::connection;
use super::protocol;
use super::server::Shared;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY, UPGRADE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tower_http::services::{ServeDir, ServeFile};

/// The page in front of every room.
const INDEX: &str = include_str!("page/index.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page, and its media type.
macro_rules! asset {
    ($name:literal, $kind:expr) => {
        ($name, $kind, include_bytes!(concat!("page/", $name)))
    };
}

/// What the page is made of: below `/page/`, the name, the media type, the content.
const ASSETS: &[(&str, &str, &[u8])] = &[
    asset!("app.js", SCRIPT),
    asset!("blake3.js", SCRIPT),
    asset!("call.js", SCRIPT),
    asset!("chat.js", SCRIPT),
    asset!("filelist.js", SCRIPT),
    asset!("icon.svg", "image/svg+xml"),
    asset!("media.js", SCRIPT),
    asset!("peer.js", SCRIPT),
    asset!("receive.js", SCRIPT),
    asset!("room.js", SCRIPT),
    asset!("spool.js", SCRIPT),
    asset!("stats.js", SCRIPT),
    asset!("style.css", "text/css; charset=utf-8"),
    asset!("tiles.js", SCRIPT),
    asset!("transfer.js", SCRIPT),
];

/// What the page may do: its own scripts, styles and pictures, and a connection to where it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      media-src 'self' blob: mediastream:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";
/// Bytes that a WebSocket has for what it reads, whether or not anything comes. Larger messages get more for as long as they take.
const READ_BUFFER: usize = 2 << 10;

/// Where the client is.
#[derive(Clone, Copy)]
pub(super) struct Remote(pub SocketAddr);

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .route("/{room}", get(room))
        .route("/page/{asset}", get(asset))
        .fallback(file)
        .layer(axum::middleware::map_response(harden))
        .with_state(shared)
}

/// What holds for whatever comes from here.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    match (shared.stop.is_stopped(), shared.rooms.redis_is_up()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "it stops\n").into_response(),
        (false, Some(false)) => (StatusCode::SERVICE_UNAVAILABLE, "degraded: Redis does not answer\n").into_response(),
        (false, _) => "ok\n".into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let (rooms, members) = shared.rooms.census();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], shared.rooms.counters().openmetrics(rooms, members, shared.rooms.redis_is_up()))
        .into_response()
}

async fn front(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    page(&shared, request).await
}

async fn asset(State(shared): State<Arc<Shared>>, Path(name): Path<String>, request: Request) -> Response {
    if shared.files.is_some() {
        return file(State(shared), request).await;
    }
    match ASSETS.iter().find(|(asset, ..)| *asset == name) {
        Some((_, kind, content)) => built_in(kind, content),
        None => not_found(),
    }
}

/// A file of the folder that is served.
async fn file(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let Some(files) = &shared.files else { return not_found() };
    match ServeDir::new(files).try_call(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// The built-in page, or that of the folder that is served.
async fn page(shared: &Shared, request: Request) -> Response {
    let Some(files) = &shared.files else { return built_in("text/html; charset=utf-8", INDEX.as_bytes()) };
    match ServeFile::new(files.join("index.html")).try_call(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn built_in(kind: &'static str, content: &'static [u8]) -> Response {
    let permissions = HeaderName::from_static("permissions-policy");
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
        (permissions, "camera=(self), microphone=(self), display-capture=(self), geolocation=()"),
    ];
    (headers, content).into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing here\n").into_response()
}

async fn room(State(shared): State<Arc<Shared>>, Path(name): Path<String>, request: Request) -> Response {
    let upgrades = request.headers().get(UPGRADE).is_some_and(|value| {
        value.to_str().is_ok_and(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("websocket")))
    });
    match (upgrades, protocol::is_room(&name)) {
        (true, true) => enter(shared, name, request),
        (true, false) => (StatusCode::NOT_FOUND, "no name of a room: 1 to 64 of A-Za-z0-9._~-\n").into_response(),
        (false, is_room) => {
            let there = match &shared.files {
                // The last component of a path that was decoded: it may hold separators.
                Some(files) => !name.contains(['/', '\\']) && name != ".." && files.join(&name).is_file(),
                None => false,
            };
            match there || !is_room {
                true => file(State(shared), request).await,
                false => page(&shared, request).await,
            }
        }
    }
}

/// Makes a WebSocket of a request.
fn enter(shared: Arc<Shared>, room: String, mut request: Request) -> Response {
    if !origin_allowed(request.headers(), &shared.origins) {
        shared.rooms.counters().wrong_origin();
        let origin =
            request.headers().get(ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned());
        tracing::warn!("a page of {} may not connect: see --allow-origin", origin.unwrap_or_default().escape_debug());
        return (StatusCode::FORBIDDEN, "pages of this origin may not connect here\n").into_response();
    }
    let limits = shared.rooms.limits();
    if shared.rooms.counters().clients.load(Ordering::Relaxed) >= limits.max_clients {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many clients\n").into_response();
    }
    let response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let Some(Remote(address)) = request.extensions().get::<Remote>().copied() else { return not_found() };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(limits.backlog())
        .max_message_size(Some(limits.max_message_size))
        .max_frame_size(Some(limits.max_message_size));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let io = TokioIo::new(upgraded);
                let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
                connection::run(shared, socket, room, address).await;
            }
            Err(error) => tracing::debug!("{address} asked for a WebSocket and did not take it: {error}"),
        }
    });
    response
}

/// Whether a page of the request's origin may connect: one from here, or one that is listed. Programs have no origin.
fn origin_allowed(headers: &HeaderMap, listed: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if listed.iter().any(|other| other == "*" || other.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse::<Uri>().ok());
    let (Some(host), Ok(origin)) = (host, origin.parse::<Uri>()) else { return false };
    let default = if origin.scheme_str() == Some("https") { 443 } else { 80 };
    let same_host = match (origin.host(), host.host()) {
        (Some(origin), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    };
    same_host && origin.port_u16().unwrap_or(default) == host.port_u16().unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rooms/page");
        let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "index.html").collect();
        names.sort();
        assert_eq!(names, ASSETS.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    }

    #[test]
    fn pages_from_here_and_listed_ones_may_connect() {
        let allowed = |host: &str, origin: Option<&str>, listed: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            origin_allowed(&headers, &listed.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert!(allowed("a.example:8443", None, &[]));
        assert!(allowed("a.example:8443", Some("https://a.example:8443"), &[]));
        assert!(allowed("a.example", Some("https://A.example"), &[]));
        assert!(allowed("[::1]:8080", Some("http://[::1]:8080"), &[]));
        for origin in ["https://b.example:8443", "https://a.example", "https://a.example:8444", "null", "file://", ""] {
            assert!(!allowed("a.example:8443", Some(origin), &[]), "{origin}");
        }
        assert!(allowed("a.example", Some("https://b.example"), &["https://b.example"]));
        assert!(!allowed("a.example", Some("https://b.example.org"), &["https://b.example"]));
        assert!(allowed("a.example", Some("null"), &["*"]));
    }
}
