//! TURN over TCP and TLS (RFC 8656 section 3.1) for a library that speaks it over UDP alone.
//!
//! ```text
//! library -UDP, loopback-> door -TCP or TLS-> server        one stream for each socket of the library
//! ```
//!
//! The library is given a door on the loopback interface in place of the server. On the stream STUN messages delimit
//! themselves and channel data is padded to four bytes. When the server cannot be reached, the door answers in its place
//! with an error, so that the library does not ask it for half a minute.

use super::server_watch::{ServerWatch, Trouble};
use crate::ice_server::Family;
use crate::trust;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, crypto};

/// A TURN server behind a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamServer {
    pub host: String,
    pub port: u16,
    pub tls: bool,
    /// What the library calls it: see [`ServerWatch::add`].
    pub authority: String,
}

/// How long connecting may take: gathering must not wait for a dead server.
const CONNECTING: Duration = Duration::from_secs(3);
/// Sockets of the library: one for each address of ours.
const MOST_STREAMS: usize = 32;
/// Datagrams that may wait for a stream; more are dropped, as on any congested path.
const WAITING: usize = 256;
/// Larger than any UDP datagram.
const DATAGRAM: usize = 65_536;

/// The doors of one session. They close when it is dropped.
#[derive(Default)]
pub(super) struct Doors {
    addresses: HashMap<String, Vec<SocketAddr>>,
    tasks: JoinSet<()>,
}

impl Doors {
    /// Opens a door to each server, which is reached at its addresses of `family`. Nothing is connected before the library
    /// asks.
    pub(super) async fn open(servers: &[StreamServer], watch: &Arc<ServerWatch>, family: Family) -> io::Result<Self> {
        let mut doors = Self::default();
        let tls = servers.iter().any(|server| server.tls).then(tls_config).map(Arc::new);
        for server in servers {
            let mut addresses = Vec::new();
            for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
                // Machines without IPv6 are not rare.
                let Ok(socket) = UdpSocket::bind(SocketAddr::new(ip, 0)).await else { continue };
                addresses.push(socket.local_addr()?);
                let door = Door {
                    server: server.clone(),
                    socket: Arc::new(socket),
                    tls: tls.clone().filter(|_| server.tls),
                    watch: Arc::clone(watch),
                    family,
                };
                doors.tasks.spawn(door.serve());
            }
            doors.addresses.insert(server.authority.clone(), addresses);
        }
        Ok(doors)
    }

    /// Where the library finds the server that it calls `authority`, if that is one of ours.
    pub(super) fn addresses(&self, authority: &str) -> Option<&[SocketAddr]> {
        self.addresses.get(authority).map(Vec::as_slice)
    }
}

fn tls_config() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the default protocol versions")
        .with_root_certificates(trust::authorities())
        .with_no_client_auth()
}

struct Door {
    server: StreamServer,
    socket: Arc<UdpSocket>,
    tls: Option<Arc<ClientConfig>>,
    watch: Arc<ServerWatch>,
    family: Family,
}

impl Door {
    async fn serve(self) {
        let mut streams: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
        let mut tasks = JoinSet::new();
        let mut datagram = vec![0; DATAGRAM];
        let door = Arc::new(self);
        loop {
            let (length, from) = match door.socket.recv_from(&mut datagram).await {
                Ok(received) => received,
                // The library closed the socket that an answer went to.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => {
                    tracing::debug!("{}: {error}", door.server.authority);
                    return;
                }
            };
            streams.retain(|_, stream| !stream.is_closed());
            if !streams.contains_key(&from) && streams.len() < MOST_STREAMS {
                let (sender, waiting) = mpsc::channel(WAITING);
                streams.insert(from, sender);
                let door = Arc::clone(&door);
                tasks.spawn(async move { door.carry(from, waiting).await });
            }
            if let Some(stream) = streams.get(&from) {
                // Full: the datagram is lost, as on any congested path.
                let _ = stream.try_send(datagram[..length].to_vec());
            }
        }
    }

    async fn carry(&self, client: SocketAddr, mut waiting: mpsc::Receiver<Vec<u8>>) {
        let connected = tokio::time::timeout(CONNECTING, self.connect()).await;
        let trouble = match connected {
            Ok(Ok(Stream::Plain(stream))) => return self.pump(stream, client, waiting).await,
            Ok(Ok(Stream::Tls(stream))) => return self.pump(*stream, client, waiting).await,
            Ok(Err(trouble)) => trouble,
            Err(_) => Trouble::Connect(format!("nothing within {} s", CONNECTING.as_secs())),
        };
        self.watch.failed(&self.server.authority, &trouble);
        while let Some(request) = waiting.recv().await {
            if let Some(refusal) = refusal(&request) {
                let _ = self.socket.send_to(&refusal, client).await;
            }
        }
    }

    async fn connect(&self) -> Result<Stream, Trouble> {
        let StreamServer { host, port, .. } = &self.server;
        let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), *port)).await;
        let addresses = found.map_err(|error| Trouble::Dns(error.to_string()))?;
        let mut last = Trouble::Dns("it has no address".to_owned());
        for address in addresses.filter(|address| self.family.admits(&address.ip())) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return self.secure(stream).await;
                }
                Err(error) => last = Trouble::Connect(error.to_string()),
            }
        }
        Err(last)
    }

    async fn secure(&self, stream: TcpStream) -> Result<Stream, Trouble> {
        let Some(config) = &self.tls else { return Ok(Stream::Plain(stream)) };
        let failed = |error: String| Trouble::Tls(error);
        let name = ServerName::try_from(self.server.host.trim_matches(['[', ']']).to_owned())
            .map_err(|error| failed(error.to_string()))?;
        let connecting = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
        connecting.map(|stream| Stream::Tls(Box::new(stream))).map_err(|error| failed(error.to_string()))
    }

    /// Moves messages both ways until one side ends.
    async fn pump<S: AsyncRead + AsyncWrite>(
        &self,
        stream: S,
        client: SocketAddr,
        mut waiting: mpsc::Receiver<Vec<u8>>,
    ) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let outwards = async {
            while let Some(mut message) = waiting.recv().await {
                message.resize(message.len().next_multiple_of(4), 0);
                writer.write_all(&message).await?;
                writer.flush().await?;
            }
            io::Result::Ok(())
        };
        let inwards = async {
            let mut message = Vec::with_capacity(DATAGRAM);
            loop {
                read_message(&mut reader, &mut message).await?;
                // A library that is slow loses it, as any datagram.
                let _ = self.socket.send_to(&message, client).await;
            }
        };
        let ended: io::Result<()> = tokio::select! {
            ended = outwards => ended,
            ended = inwards => ended,
        };
        if let Err(error) = ended {
            tracing::debug!("the stream to {} ended: {error}", self.server.authority);
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Reads one STUN message or one channel message without its padding (RFC 8656 section 12.5).
async fn read_message(reader: &mut (impl AsyncRead + Unpin), message: &mut Vec<u8>) -> io::Result<()> {
    message.resize(4, 0);
    reader.read_exact(message).await?;
    let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
    let (whole, padded) = match message[0] {
        0..=63 => (20 + length, 20 + length),
        64..=79 => (4 + length, (4 + length).next_multiple_of(4)),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "what came is neither STUN nor channel data")),
    };
    message.resize(padded, 0);
    reader.read_exact(&mut message[4..]).await?;
    message.truncate(whole);
    Ok(())
}

/// The error response to a STUN request; `None` for anything else. A request without credentials is challenged first (RFC
/// 8489 section 9.2.3), because the library only understands a refusal of its second request; then it is 500 Server Error.
fn refusal(request: &[u8]) -> Option<Vec<u8>> {
    const CHALLENGE: &[u8] = b"\0\x09\0\x04\0\0\x04\x01\0\x14\0\x04none\0\x15\0\x04none";
    const SERVER_ERROR: &[u8] = b"\0\x09\0\x04\0\0\x05\0";
    const USERNAME: [u8; 2] = [0, 6];
    let (header, attributes) = request.split_at_checked(20)?;
    // A request has both class bits clear, RFC 8489 section 5.
    if header[0] & 0xc1 != 0 || header[1] & 0x10 != 0 {
        return None;
    }
    // Its first two attributes are the transport and the user name.
    let authenticated = attributes.chunks(4).any(|word| word.starts_with(&USERNAME));
    let said = if authenticated { SERVER_ERROR } else { CHALLENGE };
    let length = u8::try_from(said.len()).expect("a few attributes");
    Some([&[header[0] | 0x01, header[1] | 0x10, 0, length], &header[4..], said].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_told_apart_in_a_stream_and_padding_is_taken_off() {
        let stun = [&[0, 1, 0, 4][..], &[7; 16], &[1, 2, 3, 4]].concat();
        let channel = [0x40, 0, 0, 5, 1, 2, 3, 4, 5];
        let stream = [&stun[..], &channel, &[0, 0, 0], &stun].concat();
        let (mut reader, mut message) = (&stream[..], Vec::new());
        for expected in [&stun[..], &channel, &stun] {
            read_message(&mut reader, &mut message).await.unwrap();
            assert_eq!(message, expected);
        }
        assert_eq!(read_message(&mut reader, &mut message).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(read_message(&mut &b"HTTP/1.1 400"[..], &mut message).await.is_err());
    }

    #[test]
    fn only_requests_are_refused() {
        let request = [&[0, 3, 0, 0][..], &[9; 16]].concat();
        let challenge = refusal(&request).unwrap();
        assert_eq!((&challenge[..4], &challenge[4..20]), (&[1, 0x13, 0, 24][..], &request[4..]));
        assert_eq!(challenge[20..28], [0, 9, 0, 4, 0, 0, 4, 1]);
        let answer = refusal(&[&request[..], &[0, 6, 0, 1, b'u', 0, 0, 0]].concat()).unwrap();
        assert_eq!(answer[20..], [0, 9, 0, 4, 0, 0, 5, 0]);
        assert_eq!(refusal(&answer), None);
        assert_eq!(refusal(&[0x40, 0, 0, 1, 9]), None);
        assert_eq!(refusal(&[&[0, 0x16, 0, 0][..], &[9; 16]].concat()), None);
    }
}
