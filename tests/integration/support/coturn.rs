//! A TURN server that is not ours.

use super::{Scratch, dies_with_us};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// coturn on loopback, with one user. It ends with the thread that started it.
pub struct Coturn {
    child: Child,
    port: u16,
    _scratch: Scratch,
}

impl Coturn {
    /// The user that it knows.
    pub const USER: &'static str = "alice";
    /// Her password, which nothing may print.
    pub const PASSWORD: &'static str = "correct-horse-battery";

    /// Starts it and waits until it answers.
    pub fn start() -> Self {
        let scratch = Scratch::new();
        let port = free_port();
        let config = scratch.path("turnserver.conf");
        let files = [("pidfile", scratch.path("pid")), ("userdb", scratch.path("db"))];
        let mut text = format!(
            "listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={port}\nno-tls\nno-dtls\nno-tcp\nno-cli\n\
             lt-cred-mech\nrealm=rtckit.test\nallow-loopback-peers\nlog-file=stdout\nuser={}:{}\n",
            Self::USER,
            Self::PASSWORD
        );
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
        let mut server = Self { child, port, _scratch: scratch };
        server.await_answer();
        server
    }

    /// A URL of it without credentials; `scheme` is `stun` or `turn`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}:127.0.0.1:{}", self.port)
    }

    /// Asks until a STUN binding request (RFC 8489 section 5) is answered.
    fn await_answer(&mut self) {
        let mut request = vec![0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42];
        request.extend([7; 12]);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let begin = Instant::now();
        loop {
            let _ = socket.send_to(&request, (Ipv4Addr::LOCALHOST, self.port));
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

fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
