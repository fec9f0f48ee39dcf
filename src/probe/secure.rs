//! TLS over TCP, and DTLS over UDP (RFC 7350), around a link.

use super::certificate::{Trust, Witness};
use super::link::{Broken, Ends, Link, refused};
use bytes::BytesMut;
use rtc_dtls::config::{ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto_provider;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

/// What a handshake came to.
pub(super) struct Secured<S> {
    pub stream: S,
    /// `TLSv1.3` and the like.
    pub version: &'static str,
    pub cipher: Option<String>,
}

/// The witness for `host`, a name or an address without brackets.
pub(super) fn witness(trust: &Trust, host: &str) -> Result<Witness, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("'{host}' is no name for a certificate"))?;
    Ok(Witness::new(trust, name))
}

/// What is wrong with the certificate, if it is that, else what TLS itself says.
fn failure(witness: &Witness, error: String) -> String {
    match witness.certificate().and_then(|certificate| certificate.error) {
        Some(why) => format!("its certificate does not hold: {why}"),
        None => error,
    }
}

/// Shakes hands over TCP.
pub(super) async fn tls(
    stream: TcpStream,
    host: &str,
    witness: &Witness,
) -> Result<Secured<TlsStream<TcpStream>>, String> {
    let mut config = ClientConfig::builder_with_provider(witness.provider())
        .with_safe_default_protocol_versions()
        .expect("ring has the default protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(witness.clone()))
        .with_no_client_auth();
    // RFC 7443: servers that share a port with others tell us apart by it.
    config.alpn_protocols = vec![b"stun.turn".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => {
            let (_, session) = stream.get_ref();
            let version = match session.protocol_version() {
                Some(tokio_rustls::rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            };
            let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
            let cipher = cipher.map(|name| name.replace("TLS13_", "TLS_"));
            Ok(Secured { stream, version, cipher })
        }
        Err(error) => Err(failure(witness, describe(&error))),
    }
}

fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it closed the connection during the handshake".to_owned(),
        std::io::ErrorKind::ConnectionReset => "it reset the connection during the handshake".to_owned(),
        _ if error.to_string().contains("corrupt message") => "it does not speak TLS".to_owned(),
        _ => error.to_string(),
    }
}

/// A DTLS session over a connected socket.
pub(super) struct Dtls {
    socket: UdpSocket,
    endpoint: Endpoint,
    server: SocketAddr,
    buffer: Vec<u8>,
}

/// Why DTLS did not come up.
pub(super) enum DtlsFailure {
    Broken(Broken),
    Handshake(String),
}

/// Shakes hands over UDP. Goes on until it is dropped; `heard` is set once anything came.
pub(super) async fn dtls(
    socket: UdpSocket,
    server: SocketAddr,
    host: &str,
    witness: &Witness,
    heard: &mut bool,
) -> Result<Secured<Dtls>, DtlsFailure> {
    let fail = |error: String| DtlsFailure::Handshake(failure(witness, error));
    let local = socket.local_addr().map_err(|error| DtlsFailure::Broken(refused(&error)))?;
    let config = dtls_config(host, witness).map_err(fail)?;
    let mut endpoint = Endpoint::new(local, Default::default(), None);
    endpoint.connect(Instant::now(), server, Arc::new(config), None).map_err(|error| fail(error.to_string()))?;
    let mut session = Dtls { socket, endpoint, server, buffer: vec![0; 65_536] };
    loop {
        session.flush().await.map_err(DtlsFailure::Broken)?;
        let events = session.step(heard).await.map_err(|error| match error {
            StepError::Broken(broken) => DtlsFailure::Broken(broken),
            StepError::Dtls(why) => fail(why),
        });
        let events = match events {
            Ok(events) => events,
            Err(failure) => {
                // The alert that tells the server why.
                let _ = session.flush().await;
                return Err(failure);
            }
        };
        if events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete)) {
            session.flush().await.map_err(DtlsFailure::Broken)?;
            return Ok(Secured { stream: session, version: "DTLSv1.2", cipher: None });
        }
    }
}

fn dtls_config(host: &str, witness: &Witness) -> Result<HandshakeConfig, String> {
    let provider = crypto_provider::default_provider().map_err(|error| error.to_string())?;
    let judge = witness.clone();
    ConfigBuilder::default()
        .with_crypto_provider(provider)
        .with_extended_master_secret(ExtendedMasterSecretType::Request)
        .with_server_name(host.to_owned())
        .with_flight_interval(Duration::from_millis(500))
        // The library's own check says nothing of what it saw; ours does, and ends the handshake all the same.
        .with_insecure_skip_verify(true)
        .with_verify_peer_certificate(Some(Arc::new(move |chain: &[Vec<u8>], _: &[CertificateDer<'static>]| {
            let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
            Ok(judge.judge(&chain).map_err(std::io::Error::other)?)
        })))
        .build(true, None)
        .map_err(|error| error.to_string())
}

enum StepError {
    Broken(Broken),
    Dtls(String),
}

impl Dtls {
    async fn flush(&mut self) -> Result<(), Broken> {
        while let Some(out) = self.endpoint.poll_transmit() {
            self.socket.send(&out.message).await.map_err(|error| refused(&error))?;
        }
        Ok(())
    }

    /// Waits for the next datagram or timer.
    async fn step(&mut self, heard: &mut bool) -> Result<Vec<EndpointEvent>, StepError> {
        const IDLE: Duration = Duration::from_secs(3600);
        let wake = self.endpoint.poll_timeout(&self.server).unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            received = self.socket.recv(&mut self.buffer) => {
                let length = received.map_err(|error| StepError::Broken(refused(&error)))?;
                *heard = true;
                self.take(length).map_err(StepError::Dtls)
            }
            () = tokio::time::sleep_until(wake.into()) => {
                let advanced = self.endpoint.handle_timeout(self.server, Instant::now());
                advanced.map(|()| Vec::new()).map_err(|error| StepError::Dtls(error.to_string()))
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<Vec<EndpointEvent>, String> {
        let datagram = BytesMut::from(&self.buffer[..length]);
        self.endpoint.read(Instant::now(), self.server, None, datagram).map_err(|error| error.to_string())
    }

    /// The link over this session.
    pub(super) fn into_link(self) -> Link {
        Link::start(false, |ends, _| self.carry(ends))
    }

    async fn carry(mut self, mut ends: Ends) {
        let mut heard = true;
        loop {
            if let Err(broken) = self.flush().await {
                ends.broken(broken).await;
            }
            tokio::select! {
                message = ends.outgoing.recv() => {
                    let Some(message) = message else { break };
                    if let Err(error) = self.endpoint.write(Instant::now(), self.server, &message) {
                        return ends.broken(Broken::Secure(error.to_string())).await;
                    }
                }
                stepped = self.step(&mut heard) => match stepped {
                    Ok(events) => {
                        for event in events {
                            match event {
                                EndpointEvent::ApplicationData(data) => ends.deliver(Instant::now(), data.to_vec()),
                                EndpointEvent::PeerClosed => return ends.broken(Broken::Closed).await,
                                _ => {}
                            }
                        }
                    }
                    Err(StepError::Broken(broken)) => ends.broken(broken).await,
                    // A record that cannot be read is one that was lost, RFC 6347 section 4.1.2.7.
                    Err(StepError::Dtls(why)) => tracing::debug!("a DTLS record was passed over: {why}"),
                },
            }
        }
        // A goodbye; nobody waits for its answer.
        let _ = self.endpoint.close(Instant::now());
        let _ = self.flush().await;
    }
}
