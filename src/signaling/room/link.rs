//! A membership that outlives its connections: a task that owns the WebSocket, and connects anew and resumes when it is lost.

use super::socket::{self, Socket};
use super::words::{Event, Part, Peer, Say, VERSION, ice_servers};
use super::{RoomError, RoomOptions};
use crate::ice_server::IceServer;
use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// As many messages may wait, on the way out and on the way in.
const WAITING: usize = 256;
/// A server pings every ten seconds: after such a silence it is gone, or the network is.
const SILENCE: Duration = Duration::from_secs(25);
/// How long it is tried to come back: longer than servers keep a place, since it may be the server that is away.
const COMING_BACK: Duration = Duration::from_secs(60);
/// The first pause between two attempts, which doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// How long the answer to `join` may take.
const JOINING: Duration = Duration::from_secs(10);

/// What we are told on joining.
pub(super) struct Joined {
    pub peers: Vec<Peer>,
    pub ice_servers: Vec<IceServer>,
}

/// What comes of others.
pub(super) enum Heard {
    Came(Peer),
    /// Its connection was lost; it may come back.
    Lost(String),
    Back(String),
    Gone(String),
    Data {
        from: String,
        text: String,
    },
    /// The connection was lost for too long: we are somebody new, and these are there.
    Anew(Vec<Peer>),
}

enum Order {
    Say(String),
    Leave,
}

/// The end that is driven.
pub(super) struct Link {
    orders: mpsc::Sender<Order>,
    heard: mpsc::Receiver<Result<Heard, RoomError>>,
    other: watch::Sender<Option<String>>,
    renewals: watch::Sender<u32>,
    joined: Joined,
    task: JoinHandle<()>,
    /// How the connection ended for good; it is told again.
    ended: bool,
}

impl Link {
    pub async fn open(options: &RoomOptions, part: Part) -> Result<Self, RoomError> {
        let tls = socket::tls(options)?;
        let mut member = Member {
            options: options.clone(),
            tls,
            part,
            token: None,
            seen: 0,
            said: 0,
            unheard: VecDeque::new(),
            leaving: false,
        };
        let (socket, event) = member.join().await?;
        let joined = Joined { peers: event.peers, ice_servers: ice_servers(&event.ice_servers) };
        let (orders, given) = mpsc::channel(WAITING);
        let (tell, heard) = mpsc::channel(WAITING);
        let (other, known) = watch::channel(None);
        let (renewals, renewed) = watch::channel(0);
        let wishes = Wishes { orders: given, other: known, renewals: renewed };
        let task = tokio::spawn(member.serve(socket, wishes, tell));
        Ok(Self { orders, heard, other, renewals, joined, task, ended: false })
    }

    pub fn joined(&self) -> &Joined {
        &self.joined
    }

    /// Whom what is said from now on is for.
    pub fn speak_with(&self, id: String) {
        self.other.send_replace(Some(id));
    }

    /// Says something to the other, now or once we are connected again.
    pub async fn say(&self, json: String) -> Result<(), RoomError> {
        self.orders.send(Order::Say(json)).await.map_err(|_| over())
    }

    /// Connects anew and resumes, if it is not at it already.
    pub fn renew(&self) {
        self.renewals.send_modify(|count| *count += 1);
    }

    /// What comes next. Cancel-safe.
    pub async fn hear(&mut self) -> Result<Heard, RoomError> {
        match self.heard.recv().await {
            Some(heard) => heard,
            None if self.ended => std::future::pending().await,
            None => {
                self.ended = true;
                Err(over())
            }
        }
    }

    /// Goes in order, when all that was said is out.
    pub async fn leave(&mut self) {
        if self.orders.send(Order::Leave).await.is_ok() {
            self.heard.close();
            let _ = (&mut self.task).await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn over() -> RoomError {
    RoomError::Closed { why: "it is over".to_owned() }
}

/// How a connection ended.
enum Cut {
    /// Nobody needs it any more.
    Left,
    /// It may be made again.
    Lost(String),
    /// It may not.
    Ended(RoomError),
}

/// What is wanted of the task.
struct Wishes {
    orders: mpsc::Receiver<Order>,
    /// Whom what is said is for.
    other: watch::Receiver<Option<String>>,
    /// Changes when the connection is to be made anew.
    renewals: watch::Receiver<u32>,
}

struct Member {
    options: RoomOptions,
    tls: Option<TlsConnector>,
    part: Part,
    token: Option<String>,
    /// The number of the last event that came.
    seen: u64,
    /// The number of the last message that was said.
    said: u64,
    /// The last messages, of which the server may not know.
    unheard: VecDeque<(u64, String)>,
    /// Whether all is said, and it only remains to go.
    leaving: bool,
}

impl Member {
    /// Connects and joins, or resumes.
    async fn join(&mut self) -> Result<(Socket, Event), RoomError> {
        let mut socket = socket::connect(&self.options, self.tls.as_ref()).await?;
        let resume = self.token.as_deref();
        let (role, capabilities) = (self.part.role, self.part.capabilities());
        let join = Say::Join { version: VERSION, role, capabilities, resume, seq: resume.map(|_| self.seen) };
        let unreachable = |why: String| RoomError::Unreachable { url: self.options.url.to_string(), why };
        socket.send(Message::text(join.to_json())).await.map_err(|error| unreachable(error.to_string()))?;
        let deadline = Instant::now() + JOINING;
        loop {
            let message = timeout_at(deadline, socket.next()).await;
            let message = message.map_err(|_| unreachable("no answer to 'join'".to_owned()))?;
            match message {
                Some(Ok(Message::Text(text))) => {
                    let event = self.read(&text)?;
                    match event.r#type.as_str() {
                        "joined" => {
                            self.token = Some(event.token.clone());
                            return Ok((socket, event));
                        }
                        "full" => {
                            let room = self.options.url.room().unwrap_or_default().to_owned();
                            return Err(RoomError::Full { room, max_peers: event.max_peers });
                        }
                        "error" if event.code == "unavailable" => return Err(unreachable(event.message)),
                        "error" => return Err(closed(&event)),
                        _ => {}
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(unreachable(error.to_string())),
                None => return Err(unreachable("it closed the connection".to_owned())),
            }
        }
    }

    fn read(&self, text: &str) -> Result<Event, RoomError> {
        serde_json::from_str(text).map_err(|error| {
            let why = format!("it says what is no event of a room: {error}");
            RoomError::NoRoom { url: self.options.url.to_string(), why }
        })
    }

    async fn serve(mut self, mut socket: Socket, mut wishes: Wishes, tell: mpsc::Sender<Result<Heard, RoomError>>) {
        loop {
            let why = match self.converse(&mut socket, &mut wishes, &tell).await {
                Cut::Left => return,
                Cut::Lost(why) => why,
                Cut::Ended(error) => {
                    let _ = tell.send(Err(error)).await;
                    return;
                }
            };
            tracing::info!("the connection to {} was lost: {why}", self.options.url);
            drop(socket);
            let (fresh, event) = match self.come_back(&mut wishes.renewals).await {
                Ok(back) => back,
                Err(error) => {
                    let _ = tell.send(Err(error)).await;
                    return;
                }
            };
            socket = fresh;
            // What goes wrong in either is noticed by the conversation.
            if event.resumed {
                let _ = self.say_again(&mut socket, event.received, &wishes.other).await;
            } else {
                (self.seen, self.said) = (0, 0);
                self.unheard.clear();
                let _ = tell.send(Ok(Heard::Anew(event.peers))).await;
            }
        }
    }

    /// Tries to come back; at once whenever it may be worth it.
    async fn come_back(&mut self, renewals: &mut watch::Receiver<u32>) -> Result<(Socket, Event), RoomError> {
        let deadline = Instant::now() + COMING_BACK;
        let mut pause = PAUSE;
        renewals.mark_unchanged();
        loop {
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                Ok(()) = renewals.changed() => pause = PAUSE,
            }
            match self.join().await {
                Ok(back) => return Ok(back),
                Err(RoomError::Unreachable { url, why }) if Instant::now() >= deadline => {
                    return Err(RoomError::Lost { url, why });
                }
                Err(RoomError::Unreachable { .. } | RoomError::Dns { .. }) if Instant::now() < deadline => {}
                // Our own place may still be taken by the connection that was lost.
                Err(RoomError::Full { .. }) if Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn converse(
        &mut self,
        socket: &mut Socket,
        wishes: &mut Wishes,
        tell: &mpsc::Sender<Result<Heard, RoomError>>,
    ) -> Cut {
        let mut heard = Instant::now();
        // This connection is new enough.
        wishes.renewals.mark_unchanged();
        loop {
            if self.leaving {
                return leave(socket).await;
            }
            let message = tokio::select! {
                Ok(()) = wishes.renewals.changed() => return Cut::Lost("it may be cut".to_owned()),
                order = wishes.orders.recv() => match order {
                    Some(Order::Say(json)) => {
                        let Some(to) = wishes.other.borrow().clone() else { continue };
                        match self.say(socket, &to, json).await {
                            Ok(()) => continue,
                            Err(why) => return Cut::Lost(why),
                        }
                    }
                    Some(Order::Leave) => {
                        self.leaving = true;
                        continue;
                    }
                    None => return Cut::Left,
                },
                message = socket.next() => message,
                () = tokio::time::sleep_until(heard + SILENCE) => return Cut::Lost("it is silent".to_owned()),
            };
            heard = Instant::now();
            let event = match message {
                Some(Ok(Message::Text(text))) => match self.read(&text) {
                    Ok(event) => event,
                    Err(error) => return Cut::Ended(error),
                },
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Cut::Lost(error.to_string()),
                None => return Cut::Lost("it closed the connection".to_owned()),
            };
            if let Some(seq) = event.seq {
                if seq <= self.seen {
                    continue;
                }
                self.seen = seq;
            }
            let news = match (event.r#type.as_str(), event.data) {
                ("otherjoin", _) => Heard::Came(Peer { id: event.id, role: event.role }),
                ("lost", _) => Heard::Lost(event.id),
                ("rejoined", _) => Heard::Back(event.id),
                ("bye", _) => Heard::Gone(event.id),
                ("message", Some(data)) => Heard::Data { from: event.from, text: data.get().to_owned() },
                // It went just now, which we are told of as well.
                ("error", _) if event.code == "no-such-peer" => continue,
                // The server wants to hear of us again before it goes on, or others stand in for it.
                ("error", _) if matches!(event.code.as_str(), "idle" | "unavailable") => {
                    return Cut::Lost(event.message);
                }
                ("error", _) => return Cut::Ended(closed(&Event { data: None, ..event })),
                _ => continue,
            };
            // Who is about to go hears nothing more; what was said before that is still to go out.
            let _ = tell.send(Ok(news)).await;
        }
    }

    async fn say(&mut self, socket: &mut Socket, to: &str, json: String) -> Result<(), String> {
        self.said += 1;
        self.unheard.push_back((self.said, json));
        if self.unheard.len() > WAITING {
            self.unheard.pop_front();
        }
        let (seq, json) = self.unheard.back().expect("it was put there");
        send(socket, to, *seq, json).await
    }

    /// What the server did not get of what we said before.
    async fn say_again(
        &mut self,
        socket: &mut Socket,
        received: u64,
        other: &watch::Receiver<Option<String>>,
    ) -> Result<(), String> {
        self.unheard.retain(|(seq, _)| *seq > received);
        let Some(to) = other.borrow().clone() else { return Ok(()) };
        for (seq, json) in &self.unheard {
            send(socket, &to, *seq, json).await?;
        }
        Ok(())
    }
}

async fn send(socket: &mut Socket, to: &str, seq: u64, json: &str) -> Result<(), String> {
    let data: &RawValue = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let sent = timeout(SILENCE, socket.send(Message::text(Say::Message { to, data, seq }.to_json()))).await;
    sent.map_err(|_| "it takes nothing".to_owned())?.map_err(|error| error.to_string())
}

/// Leaves, and waits until the server has closed: then all that was said before has come there.
async fn leave(socket: &mut Socket) -> Cut {
    let mut last = socket.send(Message::text(Say::Leave.to_json())).await.err().map(|error| error.to_string());
    while last.is_none() {
        match socket.next().await {
            // It may be the server that goes.
            Some(Ok(Message::Close(Some(frame)))) if matches!(frame.code, CloseCode::Away | CloseCode::Restart) => {
                last = Some(frame.reason.to_string());
            }
            Some(Ok(Message::Close(_))) => {
                // Our answer to it.
                let _ = socket.flush().await;
                return Cut::Left;
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => last = Some(error.to_string()),
            None => last = Some("it closed the connection".to_owned()),
        }
    }
    Cut::Lost(last.unwrap_or_default())
}

fn closed(event: &Event) -> RoomError {
    let text = if event.message.is_empty() { &event.code } else { &event.message };
    RoomError::Closed { why: super::super::error::excerpt(text.as_bytes()) }
}

#[cfg(test)]
mod tests;
