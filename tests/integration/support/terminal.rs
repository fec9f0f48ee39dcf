//! A pseudo-terminal whose far side is the stdin of a program, or its stderr: what a paste looks like to it, and who holds it up.

use rustix::fd::OwnedFd;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Action, LocalModes, tcflow, tcgetattr};
use std::fs::File;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The near side of a terminal.
pub struct Terminal {
    near: File,
    far: OwnedFd,
}

impl Terminal {
    pub fn open() -> Self {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let far = ioctl_tiocgptpeer(&near, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        let near = File::from(near);
        // Somebody must read what the terminal shows, or echoing fills it up and everything stops.
        let mut screen = near.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut screen, &mut std::io::sink()));
        Self { near, far }
    }

    /// The far side, for the program; it is not only good for reading. The terminal keeps a copy so that its settings can be seen after the program.
    pub fn stdin(&self) -> Stdio {
        self.far.try_clone().unwrap().into()
    }

    /// Whether the kernel edits lines, in which case it keeps at most 4095 bytes of one.
    pub fn edits_lines(&self) -> bool {
        tcgetattr(&self.near).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    /// Waits until the program has taken line editing over; true when it did.
    pub fn wait_for_raw_input(&self, patience: Duration) -> bool {
        let begin = Instant::now();
        while self.edits_lines() {
            if begin.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// What Ctrl-S does, and Ctrl-Q: whoever writes to it waits meanwhile.
    pub fn hold(&self, held: bool) {
        tcflow(&self.far, if held { Action::OOff } else { Action::OOn }).unwrap();
    }

    /// Types or pastes.
    pub fn paste(&mut self, text: &str) {
        self.near.write_all(text.as_bytes()).unwrap();
    }
}
