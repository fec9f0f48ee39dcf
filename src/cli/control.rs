//! `--control`: where commands to a running operation come from, and where their answers go.

use super::descriptor;
use super::output::Output;
use rtckit::error::{Error, ErrorKind};
use rtckit::ops::control::{self, Remote, Requests};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

/// Clients of a socket at once.
const MOST_CLIENTS: usize = 16;

/// Where commands come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Standard input; answers go where JSON goes.
    Stdin,
    /// A descriptor that the caller opened: a socket, which also gets the answers, or something to read.
    Descriptor(i32),
    /// A fifo, if there is one of this name; answers go where JSON goes. Else a socket that is made, for any number of clients
    /// one after the other or at once.
    Path(PathBuf),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("fd:")) {
            ("-", _) => Ok(Self::Stdin),
            ("", _) => Err("it is empty".to_owned()),
            (_, None) => Ok(Self::Path(text.into())),
            (_, Some(number)) => match number.parse() {
                Ok(number) if number >= 0 => Ok(Self::Descriptor(number)),
                _ => Err(format!("'{number}' is no descriptor: use fd:3")),
            },
        }
    }
}

/// Both ends of the way for commands, which are taken from `endpoint` if there is one.
pub async fn open(
    endpoint: Option<Endpoint>,
    output: &Arc<Output>,
) -> Result<(Remote, Requests, Option<Served>), Error> {
    let (remote, requests) = control::channel();
    let served = match endpoint {
        Some(endpoint) => Some(endpoint.serve(remote.clone(), Arc::clone(output)).await?),
        None => None,
    };
    Ok((remote, requests, served))
}

/// Commands cannot be read from standard input that carries `something else`.
pub fn check(endpoint: Option<&Endpoint>, something_else: Option<&str>) -> Result<(), Error> {
    match (endpoint, something_else) {
        (Some(Endpoint::Stdin), Some(what)) => {
            let message = format!("standard input carries {what}: commands cannot be read from it");
            Err(Error::new(ErrorKind::Usage, "usage", message))
        }
        _ => Ok(()),
    }
}

/// Commands are taken while it lives.
#[must_use = "no command is taken any more once this is dropped"]
pub struct Served {
    task: AbortHandle,
    socket: Option<PathBuf>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(socket) = &self.socket {
            // Somebody may have removed it before us.
            let _ = std::fs::remove_file(socket);
        }
    }
}

impl Endpoint {
    /// Begins to take commands.
    async fn serve(self, remote: Remote, output: Arc<Output>) -> Result<Served, Error> {
        let (task, socket) = match self {
            Self::Stdin => (read(tokio::io::stdin(), remote, output), None),
            Self::Descriptor(number) => {
                let name = format!("fd:{number}");
                let file = descriptor::duplicate(number).map_err(|error| cannot(&name, &error))?;
                match as_socket(&file) {
                    Some(stream) => (tokio::spawn(talk(stream, remote)).abort_handle(), None),
                    None => (read(tokio::fs::File::from_std(file), remote, output), None),
                }
            }
            Self::Path(path) => match std::fs::metadata(&path) {
                Ok(there) if there.file_type().is_fifo() => (read(open_fifo(&path)?, remote, output), None),
                _ => {
                    let listener = listen(&path)?;
                    (tokio::spawn(welcome(listener, remote)).abort_handle(), Some(path))
                }
            },
        };
        Ok(Served { task, socket })
    }
}

fn cannot(what: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Output, "output", format!("cannot take commands from {what}: {error}"))
}

/// A fifo that is opened for writing too has no end, whoever comes and goes.
fn open_fifo(path: &Path) -> Result<tokio::fs::File, Error> {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path);
    file.map(tokio::fs::File::from_std).map_err(|error| cannot(&path.display().to_string(), &error))
}

fn listen(path: &Path) -> Result<UnixListener, Error> {
    let name = path.display().to_string();
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        // Left behind by a run that died.
        std::fs::remove_file(path).map_err(|error| cannot(&name, &error))?;
    }
    UnixListener::bind(path).map_err(|error| cannot(&name, &error))
}

fn as_socket(file: &std::fs::File) -> Option<UnixStream> {
    if !file.metadata().ok()?.file_type().is_socket() {
        return None;
    }
    let stream = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(file.try_clone().ok()?));
    stream.set_nonblocking(true).ok()?;
    UnixStream::from_std(stream).ok()
}

fn read(lines: impl AsyncRead + Unpin + Send + 'static, remote: Remote, output: Arc<Output>) -> AbortHandle {
    let reading = async move {
        let mut lines = BufReader::new(lines);
        loop {
            match remote.serve(&mut lines).await {
                Ok(Some(answer)) => output.answer(&answer),
                Ok(None) => break,
                Err(error) => break output.warn(&format!("no more commands are read: {error}")),
            }
        }
    };
    tokio::spawn(reading).abort_handle()
}

async fn welcome(listener: UnixListener, remote: Remote) {
    let mut clients = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        clients.spawn(talk(stream, remote.clone()));
        while clients.len() >= MOST_CLIENTS {
            clients.join_next().await;
        }
    }
}

async fn talk(stream: UnixStream, remote: Remote) {
    let (lines, mut back) = stream.into_split();
    let mut lines = BufReader::new(lines);
    while let Ok(Some(answer)) = remote.serve(&mut lines).await {
        if back.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_told_apart() {
        assert_eq!("-".parse(), Ok(Endpoint::Stdin));
        assert_eq!("fd:3".parse(), Ok(Endpoint::Descriptor(3)));
        assert_eq!("/run/x".parse(), Ok(Endpoint::Path("/run/x".into())));
        assert!(["", "fd:", "fd:-1", "fd:x"].iter().all(|text| text.parse::<Endpoint>().is_err()));
    }
}
