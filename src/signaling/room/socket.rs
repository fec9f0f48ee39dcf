//! One WebSocket to the server, over TCP or TLS.

use super::{RoomError, RoomOptions};
use crate::trust;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, crypto};
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Larger messages are nobody's description.
const LONGEST: usize = 2 << 20;

/// Any stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// What TLS is made with; `None` where there is none. Reads files.
pub(super) fn tls(options: &RoomOptions) -> Result<Option<TlsConnector>, RoomError> {
    if !options.url.is_secure() {
        return Ok(None);
    }
    let file = options.ca_file.as_deref();
    let roots = trust::authorities_and(file)
        .map_err(|why| RoomError::Authorities { path: file.map(Path::to_owned).unwrap_or_default(), why })?;
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

/// Connects, at the first of the server's addresses that answers.
pub(super) async fn connect(options: &RoomOptions, tls: Option<&TlsConnector>) -> Result<Socket, RoomError> {
    let url = &options.url;
    let unreachable = |why: String| RoomError::Unreachable { url: url.to_string(), why };
    let lookup = timeout(PATIENCE, tokio::net::lookup_host((url.host(), url.port()))).await;
    let found = lookup.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let addresses: Vec<SocketAddr> =
        found.map_err(|source| RoomError::Dns { host: url.host().to_owned(), source })?.collect();
    let mut last = unreachable("its name has no address".to_owned());
    for address in addresses {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                let shaken = timeout(PATIENCE, shake_hands(options, stream, tls)).await;
                return shaken.unwrap_or_else(|_| Err(unreachable("it does not answer".to_owned())));
            }
            Ok(Err(error)) => last = unreachable(error.to_string()),
            Err(_) => last = unreachable("it does not answer".to_owned()),
        }
    }
    Err(last)
}

async fn shake_hands(
    options: &RoomOptions,
    stream: TcpStream,
    tls: Option<&TlsConnector>,
) -> Result<Socket, RoomError> {
    let url = &options.url;
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(connector) => {
            let fail = |why: String| RoomError::Tls { host: url.host().to_owned(), why };
            let name = ServerName::try_from(url.host().to_owned()).map_err(|error| fail(error.to_string()))?;
            let connected = connector.connect(name, stream).await;
            Box::new(connected.map_err(|error| match error.to_string() {
                text if text.contains("corrupt message") => fail("it does not speak TLS".to_owned()),
                text => fail(text),
            })?)
        }
    };
    let config = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
    let shaken = client_async_with_config(url.to_string(), stream, Some(config)).await;
    shaken.map(|(socket, _)| socket).map_err(|error| match error {
        WsError::Http(response) => {
            let said = response.body().as_deref().map(super::super::error::excerpt).unwrap_or_default();
            let why = format!("HTTP status {}{}{said}", response.status(), if said.is_empty() { "" } else { ": " });
            RoomError::NoRoom { url: url.to_string(), why }
        }
        WsError::Io(error) => RoomError::Unreachable { url: url.to_string(), why: error.to_string() },
        error => RoomError::NoRoom { url: url.to_string(), why: error.to_string() },
    })
}
