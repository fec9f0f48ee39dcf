//! One WebSocket, from its first frame to its close.

use super::hub::Seat;
use super::limits::{Bucket, Limits};
use super::outbox::{Item, Outbox};
use super::protocol::{CloseCode, Event as Said, Fault, Request};
use super::registry::Registry;
use super::server::Shared;
use crate::progress::Event;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// How long a client may take to take the close, and to answer it.
const CLOSING: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a connection ended.
enum End {
    /// We say why.
    Fault(Fault),
    /// We close, and nothing needs to be said.
    Close(CloseCode),
    /// It closed, or is gone.
    Lost,
}

/// A client that counts as long as this is there.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.rooms.counters().clients.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Connection {
    shared: Arc<Shared>,
    socket: Socket,
    outbox: Outbox,
    room: String,
    address: SocketAddr,
    seat: Option<Seat>,
    bucket: Bucket,
    heard: Instant,
}

/// Serves a client until it goes or is sent away.
pub(super) async fn run(shared: Arc<Shared>, socket: Socket, room: String, address: SocketAddr) {
    shared.rooms.counters().clients.fetch_add(1, Ordering::Relaxed);
    let _working = shared.working();
    let _counted = Counted(Arc::clone(&shared));
    let now = Instant::now();
    let limits = shared.rooms.limits();
    let (outbox, bucket) = (Outbox::new(limits.backlog()), Bucket::new(limits.max_rate, now));
    let mut connection = Connection { shared, socket, outbox, room, address, seat: None, bucket, heard: now };
    let end = connection.converse().await;
    connection.end(end).await;
}

impl Connection {
    fn rooms(&self) -> &Registry {
        &self.shared.rooms
    }

    async fn converse(&mut self) -> End {
        let began = Instant::now();
        let idle = self.rooms().limits().idle_timeout;
        let mut look = interval((idle / 3).min(Limits::HURRY));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.shared.stop.clone();
        loop {
            let outbox = self.outbox.clone();
            tokio::select! {
                item = outbox.next() => match item {
                    Item::Text(text) => if let Some(end) = self.send(&text, idle).await { return end },
                    Item::Close(code) => return End::Close(code),
                },
                received = self.socket.next() => {
                    self.heard = Instant::now();
                    match received.map_or(Err(End::Lost), |received| received.map_err(|error| fate(&error))) {
                        Ok(message) => if let Err(end) = self.take(&message).await { return end },
                        Err(end) => return end,
                    }
                }
                _ = look.tick() => {
                    let late = self.seat.is_none() && began.elapsed() >= Limits::HURRY;
                    if late || self.heard.elapsed() >= idle {
                        return End::Fault(Fault::new(CloseCode::Idle, "no sign of life"));
                    }
                    if self.socket.send(Message::Ping(Bytes::new())).await.is_err() {
                        return End::Lost;
                    }
                }
                () = stop.stopped() => return End::Close(CloseCode::GoingAway),
            }
        }
    }

    /// Sends a text unless the client is too slow for it.
    async fn send(&mut self, text: &str, patience: Duration) -> Option<End> {
        tokio::select! {
            sent = timeout(patience, self.socket.send(Message::text(text))) => match sent {
                Ok(Ok(())) => None,
                Ok(Err(_)) => Some(End::Lost),
                Err(_) => Some(End::Close(CloseCode::Slow)),
            },
            () = self.outbox.cut() => Some(End::Close(CloseCode::Slow)),
        }
    }

    async fn take(&mut self, message: &Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text.as_str(),
            Message::Binary(_) => return Err(End::Fault(Fault::bad("it is binary"))),
            Message::Ping(_) | Message::Pong(_) => return self.count(),
            // The answer goes out when it is read on, which also finds the end.
            Message::Close(_) | Message::Frame(_) => return Ok(()),
        };
        self.count()?;
        match (Request::parse(text).map_err(End::Fault)?, &self.seat) {
            (Request::Join(join), None) => {
                let ice_servers = self.shared.ice_servers();
                let outcome = self.rooms().join(&self.room, join, &self.outbox, &ice_servers).await;
                let seated = outcome.map_err(End::Fault)?;
                if let Some(gone) = &seated.gone {
                    self.shared.gone(&gone.room, &gone.id, "lost");
                }
                if !seated.resumed {
                    self.rooms().counters().joined();
                }
                self.shared.progress.event(Event::Join {
                    room: self.room.clone(),
                    id: seated.seat.id.to_string(),
                    address: self.address.to_string(),
                    members: seated.members,
                    resumed: seated.resumed,
                });
                self.seat = Some(seated.seat);
            }
            (Request::Message(relay), Some(seat)) => {
                if !self.rooms().relay(seat, &relay).await.map_err(End::Fault)? {
                    let said = Said::Error { code: "no-such-peer", message: "nobody of this id is in the room" };
                    self.outbox.push(said.to_json().into());
                }
            }
            (Request::Leave, Some(seat)) => {
                self.rooms().leave(seat).await;
                let said = Said::Left { room: &seat.room, id: &seat.id };
                self.outbox.push(said.to_json().into());
                self.outbox.close(CloseCode::Normal);
                self.gone("leave");
            }
            (Request::Join(_), Some(_)) => return Err(End::Fault(Fault::bad("joined already"))),
            (Request::Message(_) | Request::Leave, None) => {
                return Err(End::Fault(Fault::bad("the first message is 'join'")));
            }
            (Request::Other, _) => {}
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), End> {
        match self.bucket.take(Instant::now()) {
            true => Ok(()),
            false => Err(End::Fault(Fault::new(CloseCode::Rate, "too many messages"))),
        }
    }

    /// Reports that the member is gone for good.
    fn gone(&mut self, reason: &'static str) {
        if let Some(seat) = self.seat.take() {
            self.shared.gone(&seat.room, &seat.id, reason);
        }
    }

    async fn end(mut self, end: End) {
        let code = match &end {
            End::Lost => None,
            End::Fault(fault) => Some(fault.code),
            End::Close(code) => Some(*code),
        };
        if let Some(seat) = self.seat.clone() {
            match code {
                // It may come back, here or at another server.
                None | Some(CloseCode::GoingAway | CloseCode::Idle | CloseCode::Unavailable) => {
                    self.rooms().lose(&seat).await;
                }
                // The member has another connection.
                Some(CloseCode::Replaced) => {}
                Some(code) => {
                    if self.rooms().leave(&seat).await {
                        self.gone(code.as_str());
                    }
                }
            }
        } else if let Some(code) = code.filter(|code| !matches!(code, CloseCode::Normal | CloseCode::GoingAway)) {
            self.shared.progress.event(Event::Refused {
                room: self.room.clone(),
                address: self.address.to_string(),
                reason: code.as_str().to_owned(),
            });
        }
        let Some(code) = code else { return };
        self.rooms().counters().closed(code);
        // Whoever does not take it in time is dropped.
        let _ = timeout(CLOSING, self.farewell(end, code)).await;
    }

    async fn farewell(&mut self, end: End, code: CloseCode) {
        if let End::Fault(fault) = end {
            let max_peers = self.rooms().limits().max_peers;
            let said = match fault.code {
                CloseCode::Full => Said::Full { room: &self.room, max_peers },
                code => Said::Error { code: code.as_str(), message: &fault.message },
            };
            if self.socket.send(Message::text(said.to_json())).await.is_err() {
                return;
            }
        }
        let frame = CloseFrame { code: code.number().into(), reason: code.as_str().into() };
        if self.socket.close(Some(frame)).await.is_ok() {
            // Until the other side closes too: what is unread when we do would make a reset of it, which overtakes our close.
            let (stream, mut scrap) = (self.socket.get_mut(), [0; 4096]);
            while stream.read(&mut scrap).await.is_ok_and(|read| read > 0) {}
        }
    }
}

/// What a failure to read means.
fn fate(error: &WsError) -> End {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
            let message = format!("a message has at most {max_size} bytes");
            End::Fault(Fault::new(CloseCode::TooLarge, message))
        }
        WsError::Utf8(_) => End::Fault(Fault::bad("it is no UTF-8")),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Lost,
        WsError::Protocol(broken) => End::Fault(Fault::bad(broken.to_string())),
        _ => End::Lost,
    }
}
