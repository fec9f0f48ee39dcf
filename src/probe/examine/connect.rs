//! The steps before the first request: a socket, a connection, TLS or DTLS.

use super::Examination;
use crate::ice_server::ServerTransport;
use crate::probe::exchange::{Client, Failure};
use crate::probe::link::{self, Link};
use crate::probe::report::Stage;
use crate::probe::secure::{self, DtlsFailure};
use crate::probe::verdict::Verdict;
use crate::probe::{Ending, explain};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use tokio::net::{TcpSocket, UdpSocket};

impl Examination<'_> {
    /// Connect, and TLS or DTLS.
    pub(super) async fn connect(&mut self) -> Result<Client, Ending> {
        let began = Instant::now();
        let transport = self.target.url.transport;
        if transport.is_stream() {
            let connected = self.connect_tcp().await;
            self.note(Stage::Connect, began, &connected, None);
            let stream = connected?;
            let local = stream.local_addr().map_err(|error| explain::broken(link::refused(&error), false))?;
            self.report.local_address = Some(local);
            if transport == ServerTransport::Tcp {
                return Ok(self.client(Link::over_stream(stream)));
            }
            let began = Instant::now();
            let secured = self.secure_stream(stream).await;
            let shown = self.secured_as();
            self.note(Stage::Tls, began, &secured, shown);
            return Ok(self.client(Link::over_stream(secured?)));
        }
        let socket = self.bind_udp();
        self.note(Stage::Connect, began, &socket, None);
        let socket = socket?;
        self.report.local_address = socket.local_addr().ok();
        if transport == ServerTransport::Udp {
            return Ok(self.client(Link::over_udp(socket)));
        }
        let began = Instant::now();
        let secured = self.secure_datagrams(socket).await;
        let shown = self.secured_as();
        self.note(Stage::Tls, began, &secured, shown);
        Ok(self.client(secured?.into_link()))
    }

    fn client(&self, link: Link) -> Client {
        Client::new(link, self.stop.clone())
    }

    fn local(&self) -> SocketAddr {
        let unspecified: IpAddr = match self.address {
            SocketAddr::V4(_) => [0; 4].into(),
            SocketAddr::V6(_) => [0; 16].into(),
        };
        let ours = self.settings.local.iter().find(|ip| ip.is_ipv4() == self.address.is_ipv4());
        SocketAddr::new(ours.copied().unwrap_or(unspecified), 0)
    }

    fn bind_udp(&self) -> Result<UdpSocket, Ending> {
        link::udp_socket(self.local(), self.address).map_err(|error| explain::broken(link::refused(&error), false))
    }

    async fn connect_tcp(&self) -> Result<tokio::net::TcpStream, Ending> {
        let broken = |error: std::io::Error| explain::broken(link::refused(&error), false);
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }
        .map_err(broken)?;
        socket.bind(self.local()).map_err(broken)?;
        let began = Instant::now();
        let connecting = socket.connect(self.address);
        tokio::select! {
            () = self.stop.stopped() => Err(Ending::Stopped),
            connected = tokio::time::timeout_at(self.deadline.into(), connecting) => match connected {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    Ok(stream)
                }
                Ok(Err(error)) => Err(broken(error)),
                Err(_) => Err(self.failed(Failure::Silent { waited: began.elapsed() }, false)),
            },
        }
    }

    async fn secure_stream(
        &mut self,
        stream: tokio::net::TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, Ending> {
        let host = self.target.url.bare_host();
        let witness = secure::witness(&self.settings.trust, host).map_err(|why| Ending::verdict(Verdict::Tls, why))?;
        let secured = tokio::select! {
            () = self.stop.stopped() => return Err(Ending::Stopped),
            secured = tokio::time::timeout_at(self.deadline.into(), secure::tls(stream, host, &witness)) => secured,
        };
        self.report.certificate = witness.certificate();
        match secured {
            Ok(Ok(secured)) => {
                self.report.tls_version = Some(secured.version);
                self.report.tls_cipher = secured.cipher;
                Ok(secured.stream)
            }
            Ok(Err(why)) => Err(Ending::verdict(Verdict::Tls, why).with_hint(explain::tls_hint(&self.report))),
            Err(_) => Err(Ending::verdict(Verdict::Tls, "the connection is up and TLS does not answer")),
        }
    }

    async fn secure_datagrams(&mut self, socket: UdpSocket) -> Result<secure::Dtls, Ending> {
        let host = self.target.url.bare_host();
        let witness = secure::witness(&self.settings.trust, host).map_err(|why| Ending::verdict(Verdict::Tls, why))?;
        let began = Instant::now();
        let mut heard = false;
        let shaking = secure::dtls(socket, self.address, host, &witness, &mut heard);
        let secured = tokio::select! {
            () = self.stop.stopped() => return Err(Ending::Stopped),
            secured = tokio::time::timeout_at(self.deadline.into(), shaking) => secured,
        };
        self.report.certificate = witness.certificate();
        match secured {
            Ok(Ok(secured)) => {
                self.report.tls_version = Some(secured.version);
                Ok(secured.stream)
            }
            Ok(Err(DtlsFailure::Broken(broken))) => Err(explain::broken(broken, heard)),
            Ok(Err(DtlsFailure::Handshake(why))) => {
                Err(Ending::verdict(Verdict::Tls, why).with_hint(explain::tls_hint(&self.report)))
            }
            Err(_) if heard => {
                Err(Ending::verdict(Verdict::Tls, "it answers, and the DTLS handshake does not complete"))
            }
            Err(_) => Err(self.failed(Failure::Silent { waited: began.elapsed() }, false)),
        }
    }

    fn secured_as(&self) -> Option<String> {
        let version = self.report.tls_version?;
        let days = self.report.certificate.as_ref().map_or(0.0, |certificate| certificate.days_left);
        Some(format!("{version}, certificate for {days:.0} more days"))
    }
}
