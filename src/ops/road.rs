//! The roads by which operations find their peer, opened; and the streams that a road leaves free.
//!
//! ```text
//! Signal -> Entrance -(nobody is bothered before)-> enter, meet -> Road -> (connected) -> Signaling, Streams
//! ```

use super::signal;
use crate::error::Error;
use crate::peer::{Config, PeerError, Role, check_server};
use crate::progress::{Event, Progress};
use crate::signaling::whip::{Client, ClientOptions, Listener, ListenerOptions, Protocol};
use crate::signaling::{
    Code, CodeError, Directory, Exec, Meeting, Message, Part, Rendezvous, Rest, Room, RoomOptions, SdpFormat, Sealed,
    Signaling, SignalingError, Stdio, memory,
};
use crate::stop::Stop;
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
    /// A room of `rtckit signal`.
    Room(RoomOptions),
    /// A room under a code, which keeps the server out.
    Code {
        /// The server; its URL names no room.
        server: RoomOptions,
        /// What the other side was told; `None` to draw one.
        code: Option<Code>,
    },
    /// A server of WHIP or WHEP.
    Whip(ClientOptions),
    /// Clients of WHIP or WHEP come to us.
    WhipListen(ListenerOptions),
    /// Both sides are in this process.
    Loopback,
}

/// The one way in which media goes, where a road does not have both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OneWay {
    /// To the other side.
    Out,
    /// From it.
    In,
}

impl Signal {
    /// Who offers, whatever the command is called.
    pub(super) fn role(&self, role: Role) -> Role {
        match self {
            Self::Whip(_) => Role::Call,
            Self::WhipListen(_) => Role::Answer,
            _ => role,
        }
    }

    /// Whether what comes in return to our offer may be an offer, which is answered instead.
    pub(super) fn may_counter(&self) -> bool {
        matches!(self, Self::Whip(ClientOptions { protocol: Protocol::Whep, .. }))
    }

    /// Which way media goes, where it goes but one.
    pub(super) fn one_way(&self) -> Option<OneWay> {
        match self {
            Self::Whip(ClientOptions { protocol: Protocol::Whip, .. })
            | Self::WhipListen(ListenerOptions { protocol: Protocol::Whep, .. }) => Some(OneWay::Out),
            Self::Whip(_) | Self::WhipListen(_) => Some(OneWay::In),
            _ => None,
        }
    }
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

/// A road before anybody is bothered.
pub(super) enum Entrance {
    /// It is open.
    Open(Road),
    /// It leads through a room, which is to be entered.
    Room(RoomOptions, Streams),
    /// The same, by a code.
    Code(RoomOptions, Option<Code>, Streams),
}

impl Entrance {
    /// Opens the road that `signal` asks for, on which the other side may take as long as `patience`. Must be called inside a
    /// runtime.
    pub(super) fn open(signal: &Signal, input: Input, output: Output, patience: Duration) -> Result<Self, Error> {
        let streams = |input, output| Streams { reader: Some(input), writer: output };
        let opened: Result<Box<dyn Signaling>, Error> = match signal {
            Signal::Stdio { format, trickle } => {
                let stdio = Stdio::new(input, output, *format, *trickle);
                return Ok(Self::Open(Road::Stdio(Box::new(stdio))));
            }
            Signal::Room(room) => return Ok(Self::Room(room.clone(), streams(input, output))),
            Signal::Code { server, code } => {
                return Ok(Self::Code(server.clone(), code.clone(), streams(input, output)));
            }
            Signal::Exec { command } => Exec::start(command).map(|exec| Box::new(exec) as _).map_err(Error::from),
            Signal::Directory { folder, format } => {
                Directory::open(folder, *format).map(|directory| Box::new(directory) as _).map_err(Error::from)
            }
            Signal::Whip(client) => Client::new(client.clone(), patience).map(|client| Box::new(client) as _),
            Signal::WhipListen(listener) => acceptor(listener)
                .and_then(|tls| Listener::bind(listener.clone(), tls))
                .map(|listener| Box::new(listener) as _),
            // The other end is opened by whoever has both; alone it leads nowhere.
            Signal::Loopback => Ok(Box::new(memory::pair().0)),
        };
        let signaling = opened.map_err(|error| error.at("signaling"))?;
        Ok(Self::Open(Road::Apart(signaling, Some(streams(input, output)))))
    }

    /// Where the other side finds us, if it is to come.
    pub(super) fn listens_at(&mut self) -> Option<&str> {
        match self {
            Self::Open(road) => road.signaling().listens_at(),
            _ => None,
        }
    }

    /// Enters a room, where there is one, and waits there for the other side.
    pub(super) async fn enter(self, part: Part, visit: Visit<'_>) -> Result<(Road, Option<Meeting>), Error> {
        let (signaling, streams, met): (Box<dyn Signaling>, _, _) = match self {
            Self::Open(road) => return Ok((road, None)),
            Self::Room(options, streams) => {
                let (room, met) = visit.room(&options, part).await.map_err(|error| error.at("signaling"))?;
                (Box::new(room), streams, met)
            }
            Self::Code(options, code, streams) => {
                let (sealed, met) =
                    Box::pin(visit.code(&options, code)).await.map_err(|error| error.at("signaling"))?;
                (Box::new(sealed), streams, met)
            }
        };
        Ok((Road::Apart(signaling, Some(streams)), Some(met)))
    }
}

/// Asks a person whether the check string is the same at the other side.
pub type Verify = Box<dyn FnOnce(&str) -> bool + Send + Sync>;

/// How a room is visited.
pub(super) struct Visit<'a> {
    /// How long the other side may take to come; `None`: for ever.
    pub patience: Option<Duration>,
    /// Who compares the check string of a code, if anybody does.
    pub verify: Option<Verify>,
    pub progress: &'a dyn Progress,
    pub stop: &'a Stop,
}

impl Visit<'_> {
    async fn room(&self, options: &RoomOptions, part: Part) -> Result<(Room, Meeting), Error> {
        let mut room = self.answered(Room::join(options, part)).await?;
        if room.is_alone() {
            self.progress.event(Event::Waiting { room: options.url.to_string() });
        }
        match self.patiently(room.meet()).await {
            Ok(met) => Ok((room, met)),
            Err(error) => {
                room.leave().await;
                Err(error)
            }
        }
    }

    async fn code(mut self, options: &RoomOptions, code: Option<Code>) -> Result<(Sealed, Meeting), Error> {
        let server = options.url.to_string();
        let mut rendezvous = match code {
            Some(code) => {
                let found = self.answered(Rendezvous::find(options, code)).await?;
                if found.is_alone() {
                    self.progress.event(Event::Waiting { room: server });
                }
                found
            }
            None => {
                let opened = self.answered(Rendezvous::open(options)).await?;
                self.progress.event(Event::Code { code: opened.code().to_string(), server });
                opened
            }
        };
        let agreed = async {
            let met = self.patiently(rendezvous.meet()).await?;
            let keys = self.unless_stopped(rendezvous.prove(self.verify.is_some())).await?;
            Ok((met, keys))
        };
        let (met, keys) = match agreed.await {
            Ok(agreed) => agreed,
            Err(error) => {
                rendezvous.leave().await;
                return Err(error);
            }
        };
        if keys.is_checked {
            self.progress.event(Event::Check { words: keys.check.clone() });
        }
        let check = keys.check.clone();
        let mut sealed = rendezvous.sealed(keys);
        let confirmed = async {
            if let Some(verify) = self.verify.take() {
                let asked = async { Ok(tokio::task::spawn_blocking(move || verify(&check)).await.unwrap_or(false)) };
                if !self.unless_stopped(asked).await? {
                    return Err(SignalingError::from(CodeError::Unconfirmed).into());
                }
            }
            self.unless_stopped(sealed.ready()).await
        };
        if let Err(error) = confirmed.await {
            // Whatever comes in place of the word that all is well tells the other side that it is not.
            let _ = sealed.send(&Message::Bye).await;
            let _ = sealed.close().await;
            return Err(error);
        }
        Ok((sealed, met))
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, SignalingError>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.stop.stopped() => Err(PeerError::Stopped.erase()),
            done = work => Ok(done?),
        }
    }

    /// What the server says, for which we have no more patience than for the other side.
    async fn answered<T>(&self, work: impl Future<Output = Result<T, SignalingError>>) -> Result<T, Error> {
        self.no_longer_than_patience("an answer of the server", self.unless_stopped(work)).await
    }

    /// No longer than we have patience.
    async fn patiently<T>(&self, work: impl Future<Output = Result<T, SignalingError>>) -> Result<T, Error> {
        self.no_longer_than_patience("the other side", self.unless_stopped(work)).await
    }

    async fn no_longer_than_patience<T>(
        &self,
        expected: &'static str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(after) = self.patience else { return work.await };
        match tokio::time::timeout(after, work).await {
            Ok(done) => done,
            Err(_) => Err(PeerError::Timeout { expected, after }.erase()),
        }
    }
}

/// The servers of a room, where the user named none; those that connections cannot use are left out.
pub(super) fn take_ice_servers(meeting: &Meeting, connection: &mut Config) {
    if connection.ice_servers.is_empty() {
        let usable =
            |server: &&crate::ice_server::IceServer| !server.lacks_credentials() && check_server(server).is_ok();
        connection.ice_servers = meeting.ice_servers.iter().filter(usable).cloned().collect();
    }
}

impl Road {
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

    /// Waits for somebody else where the other side is gone; `None` where nobody can come.
    pub(super) async fn meet_again(&mut self, visit: Visit<'_>) -> Result<Option<Meeting>, Error> {
        let meeting = self.signaling().meet_again();
        let meeting = async {
            visit.no_longer_than_patience("the other side", meeting).await.map_err(|error| error.at("signaling"))
        };
        tokio::select! {
            biased;
            () = visit.stop.stopped() => Err(PeerError::Stopped.erase()),
            met = meeting => met,
        }
    }

    /// Ends a road that has come to nothing.
    pub(super) async fn give_up(mut self) {
        // Why it came to nothing is known already.
        let _ = tokio::time::timeout(GIVING_UP, self.signaling().close()).await;
    }
}

/// What a listener accepts TLS connections with, if it does.
pub(super) fn acceptor(listener: &ListenerOptions) -> Result<Option<tokio_rustls::TlsAcceptor>, Error> {
    Ok(signal::tls(&listener.security, &listener.address)?.map(|tls| tls.acceptor().clone()))
}

/// Ends a road after the connection it made. What the other side says by it of itself is the error.
pub(super) async fn close(signaling: Option<Box<dyn Signaling>>) -> Result<(), Error> {
    match signaling {
        Some(mut signaling) => signaling.close().await.map_err(|error| error.at("signaling")),
        None => Ok(()),
    }
}
