//! The roads by which operations find their peer, opened; and the streams that a road leaves free.

use crate::error::Error;
use crate::signaling::{Directory, Exec, Message, Rest, SdpFormat, Signaling, Stdio, memory};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// How long a road that has come to nothing may take to be closed.
const GIVING_UP: Duration = Duration::from_secs(2);

/// How the two sides find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Standard input and output.
    Stdio {
        /// How our description is written.
        format: SdpFormat,
        /// Whether candidates follow it one by one.
        trickle: bool,
    },
    /// A command, run by the shell, that speaks lines of JSON with trickle on its standard input and output.
    Exec {
        /// The command line.
        command: String,
    },
    /// Two files in a folder that both sides see.
    Directory {
        /// The folder.
        folder: PathBuf,
        /// How our description is written.
        format: SdpFormat,
    },
    /// Both sides are in this process.
    Loopback,
}

impl Default for Signal {
    fn default() -> Self {
        Self::Stdio { format: SdpFormat::default(), trickle: false }
    }
}

/// A stream that is read.
pub(super) type Input = Box<dyn AsyncRead + Send + Unpin>;
/// A stream that is written.
pub(super) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// The streams behind a chat, a pipe or a transfer.
pub(super) struct Streams {
    /// None: nothing is ever said on this side, but it listens.
    pub reader: Option<Input>,
    /// What comes from the peer goes here.
    pub writer: Output,
}

impl From<Rest> for Streams {
    fn from(rest: Rest) -> Self {
        let leftover = std::io::Cursor::new(rest.leftover);
        Self { reader: Some(Box::new(leftover.chain(rest.reader))), writer: rest.writer }
    }
}

/// A road, and what it leaves behind for data when the connection is up.
pub(super) enum Road {
    /// Signaling and data share the streams, one after the other.
    Stdio(Box<Stdio>),
    /// The streams are free of signaling.
    Apart(Box<dyn Signaling>, Option<Streams>),
}

impl Road {
    /// Opens the road that `signal` asks for. Must be called inside a runtime.
    pub(super) fn open(signal: &Signal, input: Input, output: Output) -> Result<Self, Error> {
        let streams = |input, output| Some(Streams { reader: Some(input), writer: output });
        let opened: Result<Box<dyn Signaling>, _> = match signal {
            Signal::Stdio { format, trickle } => {
                return Ok(Self::Stdio(Box::new(Stdio::new(input, output, *format, *trickle))));
            }
            Signal::Exec { command } => Exec::start(command).map(|exec| Box::new(exec) as _),
            Signal::Directory { folder, format } => {
                Directory::open(folder, *format).map(|directory| Box::new(directory) as _)
            }
            // The other end is opened by whoever has both; alone it leads nowhere.
            Signal::Loopback => Ok(Box::new(memory::pair().0)),
        };
        let signaling = opened.map_err(|error| Error::from(error).at("signaling"))?;
        Ok(Self::Apart(signaling, streams(input, output)))
    }

    pub(super) fn signaling(&mut self) -> &mut dyn Signaling {
        match self {
            Self::Stdio(stdio) => &mut **stdio,
            Self::Apart(signaling, _) => &mut **signaling,
        }
    }

    /// The streams for data, and the signaling that still speaks where the two are apart.
    pub(super) fn split(self) -> (Option<Box<dyn Signaling>>, Option<Streams>) {
        match self {
            Self::Stdio(stdio) if stdio.trickles() => (Some(stdio), None),
            Self::Stdio(stdio) => (None, Some(Streams::from(stdio.into_rest()))),
            Self::Apart(signaling, streams) => (Some(signaling), streams),
        }
    }

    /// Ends a road that has come to nothing.
    pub(super) async fn give_up(mut self) {
        // Why it came to nothing is known already.
        let _ = tokio::time::timeout(GIVING_UP, self.signaling().close()).await;
    }
}

/// Ends a road after the connection it made. What the other side says by it of itself is the error.
pub(super) async fn close(signaling: Option<Box<dyn Signaling>>) -> Result<(), Error> {
    match signaling {
        Some(mut signaling) => signaling.close().await.map_err(|error| error.at("signaling")),
        None => Ok(()),
    }
}

/// The next message of a road that still speaks; pending where none does. Cancel-safe.
pub(super) async fn receive_if_any(signaling: &mut Option<Box<dyn Signaling>>) -> Result<Option<Message>, Error> {
    match signaling {
        Some(signaling) => signaling.receive().await,
        None => std::future::pending().await,
    }
}
