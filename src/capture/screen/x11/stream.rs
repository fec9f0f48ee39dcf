//! A connection to an X server that may be slow or silent, but not for ever.

use super::super::ScreenError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, IoSlice};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;
use x11rb::reexports::x11rb_protocol::parse_display::{ConnectAddress, ParsedDisplay, parse_display};
use x11rb::reexports::x11rb_protocol::xauth::{Family, get_auth};
use x11rb::rust_connection::{DefaultStream, PollMode, RustConnection, Stream};
use x11rb::utils::RawFdContainer;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The TCP port of the display 0.
const FIRST_PORT: u16 = 6000;

/// A connection whose every wait is bounded.
pub(super) type Connection = RustConnection<Patient>;

/// A stream that gives up waiting with an error.
pub(super) struct Patient(DefaultStream);

impl Stream for Patient {
    fn poll(&self, mode: PollMode) -> io::Result<()> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, mode.readable());
        flags.set(PollFlags::OUT, mode.writable());
        let timeout = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.0, flags)], Some(&timeout)) {
            Ok(0) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the server has not answered for {} s", PATIENCE.as_secs()),
            )),
            // The caller tries again, which an interruption allows.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self, buf: &mut [u8], fd_storage: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        self.0.read(buf, fd_storage)
    }

    fn write(&self, buf: &[u8], fds: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        self.0.write(buf, fds)
    }

    fn write_vectored(&self, bufs: &[IoSlice<'_>], fds: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        self.0.write_vectored(bufs, fds)
    }
}

/// Connects to the display that `name` says, e.g. `:0`. Gives the number of its screen, too.
pub(super) fn connect(name: &str) -> Result<(Connection, usize), ScreenError> {
    let fail = |detail: String| ScreenError::Display { display: name.to_owned(), detail };
    let nameless = || fail("that is not the name of a display".to_owned());
    let display = parse_display(Some(name)).map_err(|_| nameless())?;
    // x11rb 0.14 adds its number to the first port of TCP without looking.
    if display.display > u16::MAX - FIRST_PORT {
        return Err(nameless());
    }
    let mut last = None;
    for address in display.connect_instruction() {
        match reach(&address) {
            Ok((stream, peer)) => {
                let connection = greet(stream, peer, &display).map_err(|error| fail(error.to_string()))?;
                return Ok((connection, display.screen.into()));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(fail(last.map_or_else(|| "it has no address".to_owned(), |error| error.to_string())))
}

fn reach(address: &ConnectAddress<'_>) -> io::Result<(DefaultStream, (Family, Vec<u8>))> {
    let ConnectAddress::Hostname(host, port) = address else { return DefaultStream::connect(address) };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (*host, *port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return DefaultStream::from_tcp_stream(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn greet(
    stream: DefaultStream,
    (family, address): (Family, Vec<u8>),
    display: &ParsedDisplay,
) -> Result<Connection, x11rb::errors::ConnectError> {
    // Without a key in ~/.Xauthority or XAUTHORITY some servers let us in all the same.
    let (name, key) = get_auth(family, &address, display.display).ok().flatten().unwrap_or_default();
    RustConnection::connect_to_stream_with_auth_info(Patient(stream), display.screen.into(), name, key)
}
