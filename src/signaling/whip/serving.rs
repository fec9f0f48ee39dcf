//! The socket of a listener: HTTP, with TLS or without, for pages of any origin (CORS). Who is let in is up to the token.

use super::listener::{ListenerOptions, path};
use super::secure::Secure;
use crate::error::Error;
use crate::signaling::SignalingError;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// A longer description is nobody's.
const LONGEST_BODY: usize = 256 << 10;
/// How long requests that are being answered may hold up the end.
const ENDING: Duration = Duration::from_millis(500);

/// Who answers what is asked of a listener.
#[async_trait::async_trait]
pub(super) trait Host: Send + Sync + 'static {
    async fn answer(self: Arc<Self>, method: &Method, path: &str, headers: &HeaderMap, body: &Bytes) -> Response;
}

async fn serve<H: Host>(
    State(host): State<Arc<H>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let mut response = match body {
        Ok(body) => host.answer(&method, uri.path(), &headers, &body).await,
        Err(rejection) => rejection.into_response(),
    };
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Location, ETag, Link, Retry-After"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// An answer for people, who see it in the log of their client.
pub(super) fn said(status: StatusCode, why: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{why}\n")).into_response()
}

/// The socket, and whoever answers on it.
pub(super) struct Serving {
    pub url: String,
    stop: CancellationToken,
    server: Option<JoinHandle<()>>,
}

impl Serving {
    /// Must be called inside a runtime.
    pub fn start(options: &ListenerOptions, tls: Option<TlsAcceptor>, host: Arc<impl Host>) -> Result<Self, Error> {
        let fail = |source| SignalingError::Listen { address: options.address.clone(), source };
        let socket = TcpListener::bind(&options.address).map_err(fail)?;
        let address = socket.local_addr().map_err(fail)?;
        socket.set_nonblocking(true).map_err(fail)?;
        let socket = tokio::net::TcpListener::from_std(socket).map_err(fail)?;
        if options.token.is_none() && !address.ip().is_loopback() {
            tracing::warn!("{address}: without --token-file anybody who gets there may come");
        }
        let stop = CancellationToken::new();
        let router = Router::new().fallback(serve).with_state(host).layer(DefaultBodyLimit::max(LONGEST_BODY));
        let stopped = stop.clone().cancelled_owned();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let server = match tls {
            None => tokio::spawn(last(axum::serve(socket, router).with_graceful_shutdown(stopped).into_future())),
            Some(tls) => {
                let serving = axum::serve(Secure::new(socket, tls), router).with_graceful_shutdown(stopped);
                tokio::spawn(last(serving.into_future()))
            }
        };
        let host = match options.address.rsplit_once(':') {
            // Certificates are for names.
            Some((host, _)) if host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() => {
                format!("{host}:{}", address.port())
            }
            _ => address.to_string(),
        };
        let url = format!("{scheme}://{host}{}", path(options.protocol));
        Ok(Self { url, stop, server: Some(server) })
    }

    pub async fn close(&mut self) {
        self.stop.cancel();
        if let Some(server) = self.server.take() {
            let abort = server.abort_handle();
            if tokio::time::timeout(ENDING, server).await.is_err() {
                abort.abort();
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

async fn last(serving: impl Future<Output = std::io::Result<()>>) {
    if let Err(error) = serving.await {
        tracing::warn!("no longer listening: {error}");
    }
}
