//! The connections to Redis: one for scripts, one on which posts come in. Both are made again when either is lost.

use super::super::RoomsError;
use super::super::hub::Gone;
use super::super::limits::Limits;
use super::super::protocol::{CloseCode, Fault};
use super::RedisOptions;
use super::guests::{Guests, Standing};
use super::script::{Script, Scripts};
use super::timing::Timing;
use super::unavailable;
use super::wire::{Event, Post};
use crate::error::ErrorKind;
use crate::stop::Stop;
use crate::trust;
use futures_util::{StreamExt, stream};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, RedisError, RedisResult, TlsCertificates, Value, cmd,
    from_redis_value,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How long a server that stops waits for Redis.
const STOPPING: Duration = Duration::from_secs(1);
/// Between two calls while nothing may change yet, or one failed.
const SOON: Duration = Duration::from_millis(50);
/// Members that are restored at the same time.
const AT_ONCE: usize = 64;

pub(super) struct Link {
    client: Client,
    address: String,
    instance: String,
    scripts: Scripts,
    timing: Timing,
    resume: Duration,
    guests: Arc<Guests>,
    up: watch::Sender<Option<MultiplexedConnection>>,
    /// Something is wrong that our own connection does not show.
    trouble: Notify,
    /// What [`open`](Self::open) made, until it is kept.
    first: Mutex<Option<Session>>,
    stop: OnceLock<Stop>,
}

struct Session {
    connection: MultiplexedConnection,
    posts: PubSub,
}

/// What a script answers: a word, and what belongs to it.
pub(super) struct Answer(Vec<Value>);

impl Answer {
    pub fn status(&self) -> &str {
        match self.0.first() {
            Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).unwrap_or_default(),
            _ => "",
        }
    }

    pub fn text(&self, at: usize) -> String {
        self.get(at)
    }

    pub fn number(&self, at: usize) -> u64 {
        self.get(at)
    }

    pub fn texts(&self, at: usize) -> Vec<String> {
        self.get(at)
    }

    fn get<T: redis::FromRedisValue + Default>(&self, at: usize) -> T {
        self.0.get(at).cloned().and_then(|value| from_redis_value(value).ok()).unwrap_or_default()
    }
}

impl Link {
    pub async fn open(
        redis: &RedisOptions,
        instance: String,
        limits: &Limits,
        timing: Timing,
        guests: Arc<Guests>,
    ) -> Result<Self, RoomsError> {
        let client = client(redis)?;
        let address = client.get_connection_info().addr().to_string();
        let link = Self {
            client,
            address,
            instance,
            scripts: Scripts::new(limits, &timing),
            timing,
            resume: limits.resume,
            guests,
            up: watch::Sender::new(None),
            trouble: Notify::new(),
            first: Mutex::default(),
            stop: OnceLock::new(),
        };
        let session = link.connect().await.map_err(|error| RoomsError::Redis {
            address: link.address.clone(),
            // What it cannot parse is told in several lines.
            reason: error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
            kind: Some(kind(&error)),
        })?;
        *link.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        Ok(link)
    }

    /// For an instance that nobody keeps.
    #[cfg(test)]
    pub fn pretend_up(&self) {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        self.up.send_replace(first.as_ref().map(|session| session.connection.clone()));
    }

    pub fn is_up(&self) -> bool {
        self.up.borrow().is_some()
    }

    /// Runs a script as soon as Redis is there and lets it, if that is not too late.
    pub async fn call(&self, script: impl Fn(&Scripts) -> &Script, arguments: &[&str]) -> Result<Answer, Fault> {
        let arguments: Vec<&str> = std::iter::once(&*self.instance).chain(arguments.iter().copied()).collect();
        let command = script(&self.scripts).call(&arguments);
        let mut up = self.up.subscribe();
        let done = async {
            loop {
                let connection = up.wait_for(Option::is_some).await.ok().and_then(|up| up.clone());
                let Some(mut connection) = connection else { continue };
                match command.query_async(&mut connection).await.map(Answer) {
                    Ok(answer) => match answer.status() {
                        "wait" => {}
                        "lost" => self.trouble.notify_one(),
                        _ => return answer,
                    },
                    Err(error) => {
                        tracing::debug!("Redis at {}: {error}", self.address);
                        // It was started anew, or somebody made it forget.
                        if error.code() == Some("NOSCRIPT") {
                            self.trouble.notify_one();
                        }
                    }
                }
                sleep(SOON).await;
            }
        };
        let stopping = async {
            match self.stop.get() {
                Some(stop) => stop.stopped().await,
                None => std::future::pending().await,
            }
            sleep(STOPPING).await;
        };
        tokio::select! {
            answer = done => Ok(answer),
            () = sleep(self.timing.patience) => Err(unavailable("Redis does not answer")),
            () = stopping => Err(unavailable("it stops")),
        }
    }

    /// Receives posts and gives signs of life, over one connection after the other.
    pub async fn keep(&self, stop: Stop, gone: impl Fn(Gone)) {
        let _ = self.stop.set(stop);
        let mut next = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut away = false;
        loop {
            let session = match next.take() {
                Some(session) => Ok(session),
                None => self.connect().await,
            };
            let why = match session {
                Ok(session) => {
                    if away {
                        tracing::info!("Redis at {} is back", self.address);
                    }
                    let why = self.serve(session, &gone).await;
                    tracing::warn!("Redis at {} is away: {why}", self.address);
                    why
                }
                Err(error) => error.to_string(),
            };
            tracing::debug!("Redis at {}: {why}", self.address);
            away = true;
            sleep(self.timing.again).await;
        }
    }

    /// The last sign: our members are lost, and may be taken over at once.
    pub async fn close(&self) {
        let Some(mut connection) = self.up.borrow().clone() else { return };
        let mut last = cmd("ZADD");
        last.arg("rtckit:1:instances").arg(0).arg(&self.instance);
        let _ = timeout(STOPPING, last.query_async::<Value>(&mut connection)).await;
    }

    async fn connect(&self) -> RedisResult<Session> {
        let answer = self.timing.answer;
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(answer)).set_response_timeout(Some(answer));
        let late = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut posts = timeout(answer, self.client.get_async_pubsub()).await.map_err(late)??;
        timeout(answer, posts.subscribe(format!("rtckit:1:instance:{}", self.instance))).await.map_err(late)??;
        self.scripts.hello.eval(&[&self.instance]).query_async::<Value>(&mut connection).await?;
        for script in self.scripts.called() {
            script.load().query_async::<Value>(&mut connection).await?;
        }
        let restoring = self.guests.all().into_iter().map(|standing| self.restore(connection.clone(), standing));
        let mut restored = stream::iter(restoring).buffer_unordered(AT_ONCE);
        while let Some(done) = restored.next().await {
            done?;
        }
        drop(restored);
        let unsettled = self.guests.all().into_iter().filter(|standing| standing.unsettled);
        let settling = unsettled.map(|standing| self.settle(connection.clone(), standing));
        let mut settled = stream::iter(settling).buffer_unordered(AT_ONCE);
        while let Some(done) = settled.next().await {
            done?;
        }
        drop(settled);
        Ok(Session { connection, posts })
    }

    async fn restore(&self, mut connection: MultiplexedConnection, standing: Standing) -> RedisResult<()> {
        let lost = if standing.lost { "1" } else { "0" };
        let numbers =
            [standing.connection, standing.sent, standing.received, standing.told(), standing.heard.len() as u64];
        let [number, sent, received, op, count] = numbers.map(|number| number.to_string());
        let heard: Vec<(&str, String)> =
            standing.heard.iter().map(|(from, op)| (from.as_str(), op.to_string())).collect();
        let (id, room) = (&*standing.id, &*standing.room);
        let mut arguments: Vec<&str> = vec![&self.instance, room, id, &standing.token, &standing.info, &number, lost];
        arguments.extend([&*sent, &received, &op, &count]);
        arguments.extend(heard.iter().flat_map(|(from, op)| [*from, op]));
        arguments.extend(standing.peers.iter().flat_map(|(id, info)| [id.as_str(), info]));
        let answer = Answer(self.scripts.restore.call(&arguments).query_async(&mut connection).await?);
        match answer.status() {
            "ok" => {
                let missed: Vec<Event> = answer.texts(1).iter().filter_map(|entry| Event::parse(entry)).collect();
                self.guests.catch_up(id, &missed);
            }
            "anew" => {
                self.guests.standing(id, standing.connection, |standing| standing.unsettled = true);
            }
            "replaced" => self.guests.expel(id, Some(standing.connection), CloseCode::Replaced),
            _ => self.guests.expel(id, Some(standing.connection), CloseCode::Unavailable),
        }
        Ok(())
    }

    /// Tells a member what it was not told, and others what it said, as far as that was under way when Redis died.
    async fn settle(&self, mut connection: MultiplexedConnection, standing: Standing) -> RedisResult<()> {
        let number = standing.connection.to_string();
        let place: [&str; 4] = [&self.instance, &standing.room, &standing.id, &number];
        let known = standing.peers.keys().map(String::as_str);
        let mut steps = vec![self.scripts.settle.call(&place.into_iter().chain(known).collect::<Vec<_>>())];
        for sent in &standing.recent {
            let op = sent.op.to_string();
            steps.push(self.scripts.relay.call(&[&place[..], &[&*op, "", &sent.to, &sent.head]].concat()));
        }
        for step in steps {
            while Answer(step.query_async(&mut connection).await?).status() == "wait" {
                sleep(SOON).await;
            }
        }
        self.guests.standing(&standing.id, standing.connection, |standing| standing.unsettled = false);
        Ok(())
    }

    /// Uses a connection until it is lost, and says why it is.
    async fn serve(&self, session: Session, gone: &impl Fn(Gone)) -> String {
        let Session { connection, mut posts } = session;
        self.up.send_replace(Some(connection.clone()));
        let mut beating = std::pin::pin!(self.beat(connection, gone));
        let mut posts = std::pin::pin!(posts.on_message());
        let mut heard = tokio::time::Instant::now();
        let why = loop {
            tokio::select! {
                why = &mut beating => break why,
                () = self.trouble.notified() => break "it does not know what it should".to_owned(),
                () = tokio::time::sleep_until(heard + self.timing.silence) => break "it is silent".to_owned(),
                post = posts.next() => {
                    let Some(post) = post else { break "it closed the connection".to_owned() };
                    heard = tokio::time::Instant::now();
                    let text: String = post.get_payload().unwrap_or_default();
                    match Post::parse(&text) {
                        Some(Post::Event { id, event }) => if !self.guests.deliver(&id, &event) {
                            break "something did not come".to_owned();
                        },
                        Some(Post::Close { id, connection }) => {
                            self.guests.expel(&id, Some(connection), CloseCode::Replaced);
                        }
                        Some(Post::Beat) => {}
                        None => tracing::warn!("an instance of another version shares this Redis"),
                    }
                }
            }
        };
        self.up.send_replace(None);
        why
    }

    async fn beat(&self, mut connection: MultiplexedConnection, gone: &impl Fn(Gone)) -> String {
        let command = self.scripts.beat.call(&[&self.instance]);
        let mut tick = interval(self.timing.beat);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match command.query_async(&mut connection).await.map(Answer) {
                Ok(answer) if answer.status() == "ok" => {
                    for place in answer.texts(1) {
                        if let Some((room, id)) = place.split_once(' ') {
                            gone(Gone { room: room.into(), id: id.into() });
                        }
                    }
                }
                Ok(_) => return "it does not know this server".to_owned(),
                Err(error) => return error.to_string(),
            }
            self.guests.forget(Instant::now(), self.resume);
        }
    }
}

/// The class of what went wrong, as far as it can be told.
/// Reads the authorities, where a file of them is named.
fn client(redis: &RedisOptions) -> Result<Client, RoomsError> {
    let no_url = |error: RedisError| RoomsError::RedisUrl { reason: error.to_string() };
    let client = Client::open(redis.url.reveal()).map_err(no_url)?;
    let Some(path) = &redis.ca_file else { return Ok(client) };
    let unusable = |reason| RoomsError::Authorities { path: path.clone(), reason };
    let authorities = trust::read_authorities(path).map_err(unusable)?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(authorities) };
    if !matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(RoomsError::RedisUrl { reason: "authorities are for rediss://, which is over TLS".to_owned() });
    }
    let with_tls = Client::build_with_tls(client.get_connection_info().clone(), certificates);
    with_tls.map_err(|error| unusable(error.to_string()))
}

fn kind(error: &RedisError) -> ErrorKind {
    let text = error.to_string();
    match error.kind() {
        redis::ErrorKind::AuthenticationFailed => ErrorKind::Auth,
        _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => ErrorKind::Auth,
        redis::ErrorKind::Io if text.contains("lookup address") => ErrorKind::Dns,
        redis::ErrorKind::Io if text.contains("certificate") || text.contains("TLS") => ErrorKind::Dtls,
        redis::ErrorKind::Io => ErrorKind::Unreachable,
        _ => ErrorKind::Refused,
    }
}
