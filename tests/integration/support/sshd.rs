//! An OpenSSH server that lets the user of the tests in, and nobody else.

use super::{Scratch, dies_with_us, have, skip};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The server, on a port of IPv4 loopback, with keys of its own. It ends with the thread that started it.
pub struct Sshd {
    child: Child,
    port: u16,
    scratch: Scratch,
}

impl Sshd {
    /// It insists on being started by its full name.
    const PROGRAM: &'static str = "/usr/sbin/sshd";

    /// Starts it and waits until it listens; `None`, and the skip is said, where there is none.
    pub fn start() -> Option<Self> {
        if !Path::new(Self::PROGRAM).is_file() {
            skip("sshd is not installed (scripts/setup test)");
            return None;
        }
        if !have("ssh-keygen") || !have("ssh") {
            return None;
        }
        // Where it runs as root it wants this folder, which its service makes as well.
        let _ = std::fs::create_dir("/run/sshd");
        let scratch = Scratch::new();
        for key in ["host", "user"] {
            let mut make = Command::new("ssh-keygen");
            make.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(scratch.path(key));
            assert!(make.status().unwrap().success());
        }
        std::fs::copy(scratch.path("user.pub"), scratch.path("authorized_keys")).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let host = std::fs::read_to_string(scratch.path("host.pub")).unwrap();
        std::fs::write(scratch.path("known_hosts"), format!("[127.0.0.1]:{port} {host}")).unwrap();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin prohibit-password\nStrictModes no\n",
            scratch.path("host").display(),
            scratch.path("authorized_keys").display()
        );
        std::fs::write(scratch.path("config"), config).unwrap();
        let log = std::fs::File::create(scratch.path("log")).unwrap();
        let mut server = dies_with_us(Self::PROGRAM);
        server.args(["-D", "-e", "-f"]).arg(scratch.path("config"));
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut this = Self { child, port, scratch };
        let begin = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = this.child.try_wait().unwrap();
            assert!(ended.is_none() && begin.elapsed() < Duration::from_secs(10), "sshd: {ended:?}, {}", this.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(this)
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path("log")).unwrap_or_default()
    }

    /// A shell command that runs what is put behind it on the other side.
    pub fn ssh(&self) -> String {
        format!(
            "ssh -F none -p {} -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile={} 127.0.0.1",
            self.port,
            self.scratch.path("user").display(),
            self.scratch.path("known_hosts").display()
        )
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
