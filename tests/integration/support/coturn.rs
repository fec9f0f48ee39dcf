//! A TURN server that is not ours.

use super::{Scratch, dies_with_us};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// coturn on loopback, with one user. It ends with the thread that started it.
pub struct Coturn {
    child: Child,
    ip: IpAddr,
    port: u16,
    tls_port: u16,
    _scratch: Scratch,
}

impl Coturn {
    /// The user that it knows.
    pub const USER: &'static str = "alice";
    /// Its realm.
    pub const REALM: &'static str = "rtckit.test";
    /// Her password, which nothing may print.
    pub const PASSWORD: &'static str = "correct-horse-battery";

    /// Starts it and waits until it answers.
    pub fn start() -> Self {
        Self::with(&format!("no-tls\nno-dtls\nno-tcp\nallow-loopback-peers\nuser={}:{}\n", Self::USER, Self::PASSWORD))
    }

    /// Starts it on IPv4 loopback with more lines of configuration.
    pub fn with(lines: &str) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), lines)
    }

    /// Starts it at an address of this machine with more lines of configuration.
    pub fn at(ip: IpAddr, lines: &str) -> Self {
        let scratch = Scratch::new();
        let (port, tls_port) = (free_port(), free_port());
        let config = scratch.path("turnserver.conf");
        let files = [("pidfile", scratch.path("pid")), ("userdb", scratch.path("db"))];
        let mut text = format!(
            "listening-ip={ip}\nrelay-ip={ip}\nlistening-port={port}\ntls-listening-port={tls_port}\nno-cli\n\
             realm={}\nlog-file=stdout\n{lines}",
            Self::REALM
        );
        if !lines.contains("auth") {
            text += "lt-cred-mech\n";
        }
        for (name, path) in files {
            text += &format!("{name}={}\n", path.display());
        }
        std::fs::write(&config, text).unwrap();
        let child = dies_with_us("turnserver")
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { child, ip, port, tls_port, _scratch: scratch };
        server.await_answer();
        server
    }

    /// A URL of its port for TLS and DTLS, without credentials; `scheme` is `stuns` or `turns`.
    pub fn secure_url(&self, scheme: &str) -> String {
        format!("{scheme}:{}", SocketAddr::new(self.ip, self.tls_port))
    }

    /// A URL of it without credentials; `scheme` is `stun` or `turn`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}:{}", SocketAddr::new(self.ip, self.port))
    }

    /// Asks until a STUN binding request (RFC 8489 section 5) is answered.
    fn await_answer(&mut self) {
        let mut request = vec![0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42];
        request.extend([7; 12]);
        let socket = UdpSocket::bind((self.ip, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let begin = Instant::now();
        loop {
            let _ = socket.send_to(&request, (self.ip, self.port));
            if socket.recv(&mut [0; 512]).is_ok() {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "coturn does not answer: {:?}", self.child.try_wait());
        }
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port below those that the system gives to sockets without one, of which other tests open many before coturn has bound it.
fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(61);
    let next = || 10_000 + u16::try_from((first + TAKEN.fetch_add(1, Ordering::Relaxed)) % 20_000).unwrap();
    let is_free = |port: &u16| {
        let address = (Ipv4Addr::LOCALHOST, *port);
        UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
    };
    std::iter::repeat_with(next).find(is_free).expect("repeated for ever")
}
