//! TLS and DTLS, and certificates that do not hold.

use super::liar::{Liar, Lie, ReadTimeout, serve_stream};
use super::{Probed, probe, probe_with};
use crate::support::{Coturn, Scratch, have};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_rustls::rustls;

/// What is wrong with a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    SelfSigned,
    Expired,
    WrongName,
}

/// A certificate for 127.0.0.1 with its key, and the authority that signed it, as files.
struct Files {
    scratch: Scratch,
}

static AUTHORITIES: AtomicU32 = AtomicU32::new(1);

impl Files {
    fn new(flaw: Flaw) -> Self {
        let scratch = Scratch::new();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Authorities of one name would be taken for each other.
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        authority.distinguished_name.push(DnType::CommonName, format!("Test Authority {number}"));
        let authority_key = KeyPair::generate().unwrap();
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let name = if flaw == Flaw::WrongName { "elsewhere.example" } else { "127.0.0.1" };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Test Server");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = if flaw == Flaw::Expired { date_time_ymd(2021, 1, 1) } else { date_time_ymd(2120, 1, 1) };
        let key = KeyPair::generate().unwrap();
        let certificate = match flaw {
            Flaw::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &Issuer::new(authority, authority_key)),
        };
        std::fs::write(scratch.path("ca.pem"), authority_pem).unwrap();
        std::fs::write(scratch.path("cert.pem"), certificate.unwrap().pem()).unwrap();
        std::fs::write(scratch.path("key.pem"), key.serialize_pem()).unwrap();
        Self { scratch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    fn coturn(&self) -> Coturn {
        self.coturn_at(Ipv4Addr::LOCALHOST.into())
    }

    fn coturn_at(&self, ip: IpAddr) -> Coturn {
        let files = format!("cert={}\npkey={}\n", self.path("cert.pem").display(), self.path("key.pem").display());
        Coturn::at(ip, &format!("allow-loopback-peers\nuser={}:{}\n{files}", Coturn::USER, Coturn::PASSWORD))
    }

    /// Probes while this authority is trusted.
    fn probe(&self, args: &[&str]) -> Probed {
        let ca = self.path("ca.pem");
        let environment = [("RTCKIT_CREDENTIAL", Coturn::PASSWORD), ("SSL_CERT_FILE", ca.to_str().unwrap())];
        probe_with(&environment, &[&["--username", Coturn::USER], args].concat())
    }
}

/// TLS and DTLS of the same server.
fn both(server: &Coturn) -> [String; 2] {
    [server.secure_url("turns"), server.secure_url("turns") + "?transport=udp"]
}

#[test]
fn a_relay_over_tls_and_dtls_is_ok_and_its_certificate_is_told_of() {
    if !have("turnserver") {
        return;
    }
    let files = Files::new(Flaw::None);
    let server = files.coturn();
    for (url, transport) in both(&server).iter().zip(["tls", "dtls"]) {
        let probed = files.probe(&[url, "--throughput=200ms"]);
        let report = probed.expect("ok", 0, "");
        assert_eq!((&report["transport"], &report["echo"]["packetsReceived"]), (&transport.into(), &10.into()));
        assert_eq!(probed.stage("tls")["ok"], true);
        let certificate = &report["certificate"];
        assert_eq!((&certificate["verified"], &certificate["names"][0]), (&true.into(), &"127.0.0.1".into()));
        assert!(certificate["subject"].as_str().unwrap().contains("Test Server"), "{certificate}");
        assert!(certificate["issuer"].as_str().unwrap().contains("Test Authority"), "{certificate}");
        assert!(certificate["daysLeft"].as_f64() > Some(30_000.0), "{certificate}");
        assert!(report["tlsVersion"].as_str().unwrap().contains("TLSv1."), "{report:#}");
        let days = files.probe(&[url, "--min-cert-days=100000"]);
        days.expect("threshold", 14, "days left");
    }
    for url in [server.secure_url("stuns"), server.secure_url("stuns") + "?transport=udp"] {
        files.probe(&[&url]).expect("ok", 0, "");
    }
}

#[test]
fn tls_and_dtls_over_ipv6_are_ok_and_the_name_is_checked_there_too() {
    if !have("turnserver") {
        return;
    }
    let files = Files::new(Flaw::None);
    let server = files.coturn_at(Ipv6Addr::LOCALHOST.into());
    for url in both(&server) {
        let probed = files.probe(&[&url, "--insecure"]);
        let report = probed.expect("ok", 0, "");
        assert!(report["relayedAddress"].as_str().unwrap().starts_with("[::1]:"), "{report:#}");
        // It is for 127.0.0.1.
        files.probe(&[&url]).expect("tls", 10, "not for '::1'");
    }
}

#[test]
fn certificates_that_do_not_hold_are_tls_and_say_why() {
    if !have("turnserver") {
        return;
    }
    for (flaw, why) in
        [(Flaw::SelfSigned, "self-signed"), (Flaw::Expired, "it has expired"), (Flaw::WrongName, "not for '127.0.0.1'")]
    {
        let files = Files::new(flaw);
        let server = files.coturn();
        for url in both(&server) {
            let probed = files.probe(&[&url]);
            let report = probed.expect("tls", 10, why);
            assert_eq!(probed.stage("tls")["ok"], false);
            assert_eq!(report["certificate"]["verified"], false);
            assert!(report["certificate"]["error"].as_str().unwrap().contains(why), "{report:#}");
            let careless = files.probe(&[&url, "--insecure"]);
            let report = careless.expect("ok", 0, "");
            assert_eq!(report["certificate"]["verified"], false, "--insecure hides nothing");
        }
    }
}

#[test]
fn an_authority_that_this_system_does_not_know_is_tls() {
    if !have("turnserver") {
        return;
    }
    let (files, others) = (Files::new(Flaw::None), Files::new(Flaw::None));
    let server = files.coturn();
    for url in both(&server) {
        others.probe(&[&url]).expect("tls", 10, "does not trust");
    }
}

struct TlsStream(rustls::StreamOwned<rustls::ServerConnection, TcpStream>);

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl ReadTimeout for TlsStream {
    fn set_read_timeout(&self, timeout: Duration) {
        self.0.sock.set_read_timeout(Some(timeout)).unwrap();
    }
}

/// A TLS server that shakes hands well and then lies.
fn liar_over_tls(files: &Files, lie: Lie) -> Liar {
    let certificate = CertificateDer::from_pem_file(files.path("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(files.path("key.pem")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    Liar::run(address, move |over, seen| {
        while !over.load(Ordering::Relaxed) {
            let Ok((stream, client)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            stream.set_nonblocking(false).unwrap();
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = TlsStream(rustls::StreamOwned::new(session, stream));
            let (over, seen) = (Arc::clone(&over), Arc::clone(&seen));
            std::thread::spawn(move || serve_stream(stream, client, lie, &over, &seen));
        }
    })
}

#[test]
fn garbage_after_tls_is_a_breach_of_protocol() {
    let files = Files::new(Flaw::None);
    let url = |liar: &Liar| liar.url("turns");
    let liar = liar_over_tls(&files, Lie::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let probed = files.probe(&[&url(&liar)]);
    probed.expect("protocol", 5, "HTTP/1.1 400");
    assert_eq!(probed.stage("tls")["ok"], true);
    let liar = liar_over_tls(&files, Lie::Bytes(b"\xff\xfe\xfd\xfc\0\0\0\0"));
    files.probe(&[&url(&liar)]).expect("protocol", 5, "ff fe fd fc");
    let liar = liar_over_tls(&files, Lie::Slow);
    files.probe(&[&url(&liar)]).expect("protocol", 5, "not the rest");
}

#[test]
fn a_port_without_tls_is_tls() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
            // What the client says first is read, so that closing resets nothing.
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    probe(&[&format!("turns:{address}")]).expect("tls", 10, "does not speak TLS");
}
