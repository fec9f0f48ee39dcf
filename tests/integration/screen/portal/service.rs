//! `org.freedesktop.portal.ScreenCast`, without a dialog.

use ashpd::zbus::message::Header;
use ashpd::zbus::zvariant::{Fd, ObjectPath, OwnedObjectPath, OwnedValue, Value};
use ashpd::zbus::{self, Connection};
use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const DESKTOP: &str = "/org/freedesktop/portal/desktop";

/// What the person says.
#[derive(Clone, Copy)]
pub enum Answer {
    Yes,
    No,
}

/// What was asked for last.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub types: Option<u32>,
    pub cursor_mode: Option<u32>,
    pub persist_mode: Option<u32>,
    pub restore_token: Option<String>,
    pub closed: bool,
    tokens: u32,
}

/// A running service; it ends with the value.
pub struct Service {
    seen: Arc<Mutex<Seen>>,
    _runtime: tokio::runtime::Runtime,
    _connection: Connection,
}

impl Service {
    pub fn start(bus: &str, pipewire: &Path, node: u32, answer: Answer) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let portal = Portal { pipewire: pipewire.to_owned(), node, answer, seen: Arc::clone(&seen) };
        let connection = runtime.block_on(async {
            let builder = zbus::connection::Builder::address(bus).unwrap();
            let builder = builder.serve_at(DESKTOP, portal).unwrap();
            builder.name("org.freedesktop.portal.Desktop").unwrap().build().await.unwrap()
        });
        Self { seen, _runtime: runtime, _connection: connection }
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

struct Portal {
    pipewire: PathBuf,
    node: u32,
    answer: Answer,
    seen: Arc<Mutex<Seen>>,
}

type Options = HashMap<String, OwnedValue>;

fn text(options: &Options, name: &str) -> Option<String> {
    options.get(name).map(|value| value.downcast_ref::<String>().unwrap())
}

fn number(options: &Options, name: &str) -> Option<u32> {
    options.get(name).map(|value| value.downcast_ref::<u32>().unwrap())
}

/// The object of a request or session, by the rules of the portal: whoever asks knows it beforehand.
fn object(kind: &str, header: &Header<'_>, token: &str) -> OwnedObjectPath {
    let sender = header.sender().unwrap().trim_start_matches(':').replace('.', "_");
    ObjectPath::try_from(format!("{DESKTOP}/{kind}/{sender}/{token}")).unwrap().into()
}

/// Answers a request by its signal, and gives its object.
async fn respond(
    connection: &Connection,
    header: &Header<'_>,
    options: &Options,
    code: u32,
    results: HashMap<&str, Value<'_>>,
) -> OwnedObjectPath {
    let request = object("request", header, &text(options, "handle_token").unwrap());
    let to = header.sender().cloned();
    connection.emit_signal(to, &request, "org.freedesktop.portal.Request", "Response", &(code, results)).await.unwrap();
    request
}

#[zbus::interface(name = "org.freedesktop.portal.ScreenCast", crate = "ashpd::zbus")]
impl Portal {
    async fn create_session(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> OwnedObjectPath {
        let session = object("session", &header, &text(&options, "session_handle_token").unwrap());
        self.seen.lock().unwrap().closed = false;
        let closing = Session { seen: Arc::clone(&self.seen) };
        connection.object_server().at(&session, closing).await.unwrap();
        let results = HashMap::from([("session_handle", Value::from(session.as_str()))]);
        respond(connection, &header, &options, 0, results).await
    }

    async fn select_sources(
        &self,
        _session: OwnedObjectPath,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> OwnedObjectPath {
        {
            let mut seen = self.seen.lock().unwrap();
            seen.types = number(&options, "types");
            seen.cursor_mode = number(&options, "cursor_mode");
            seen.persist_mode = number(&options, "persist_mode");
            seen.restore_token = text(&options, "restore_token");
        }
        respond(connection, &header, &options, 0, HashMap::new()).await
    }

    async fn start(
        &self,
        _session: OwnedObjectPath,
        _window: String,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> OwnedObjectPath {
        if matches!(self.answer, Answer::No) {
            return respond(connection, &header, &options, 1, HashMap::new()).await;
        }
        let token = {
            let mut seen = self.seen.lock().unwrap();
            seen.tokens += 1;
            format!("token-{}", seen.tokens)
        };
        let size = HashMap::from([("size", Value::from((320_i32, 240_i32)))]);
        let streams = vec![(self.node, size)];
        let results = HashMap::from([("streams", Value::from(streams)), ("restore_token", Value::from(token))]);
        respond(connection, &header, &options, 0, results).await
    }

    fn open_pipe_wire_remote(&self, _session: OwnedObjectPath, _options: Options) -> Fd<'static> {
        Fd::from(std::os::fd::OwnedFd::from(UnixStream::connect(&self.pipewire).unwrap()))
    }

    #[zbus(property, name = "version")]
    fn version(&self) -> u32 {
        4
    }

    #[zbus(property)]
    fn available_source_types(&self) -> u32 {
        3
    }

    #[zbus(property)]
    fn available_cursor_modes(&self) -> u32 {
        3
    }
}

struct Session {
    seen: Arc<Mutex<Seen>>,
}

#[zbus::interface(name = "org.freedesktop.portal.Session", crate = "ashpd::zbus")]
impl Session {
    fn close(&self) {
        self.seen.lock().unwrap().closed = true;
    }
}
