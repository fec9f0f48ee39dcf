//! The permission to capture: a session of the portal, for as long as it is wanted and granted.

use super::super::cursor::CursorCapture;
use super::super::{ScreenError, ScreenOptions, SurfaceKind};
use super::{NAME, lost};
use ashpd::desktop::screencast::{CursorMode, Screencast, SelectSourcesOptions, SourceType};
use ashpd::desktop::{PersistMode, ResponseError};
use ashpd::zbus::Connection;
use ashpd::zbus::export::futures_core::Stream as _;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the portal may take to answer where nobody is asked.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long a person may take to answer.
const PERSON: Duration = Duration::from_secs(180);

/// What was granted.
pub(super) struct Granted {
    /// A PipeWire connection that may see nothing else.
    pub(super) remote: OwnedFd,
    /// The node on it.
    pub(super) node: u32,
    /// What the portal calls the surface.
    pub(super) id: Option<String>,
    /// Where it is on the desktop.
    pub(super) at: (i32, i32),
}

/// A permission. Dropping it gives it back.
pub(super) struct Permission {
    release: Option<oneshot::Sender<()>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Permission {
    /// Asks for a surface of this kind. Blocks until a person has answered, or at once where `options` have a token of an earlier
    /// permission.
    pub(super) fn ask(kind: SurfaceKind, options: &ScreenOptions) -> Result<(Self, Granted), ScreenError> {
        let (answer, answered) = sync_channel(1);
        let (release, released) = oneshot::channel();
        let over = Arc::new(AtomicBool::new(false));
        let (options, ended) = (options.clone(), Arc::clone(&over));
        let thread = std::thread::Builder::new().name("portal".to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(session(kind, &options, &answer, released)),
                Err(error) => drop(answer.send(Err(lost(error)))),
            }
            ended.store(true, Ordering::Release);
        });
        let permission = Self { release: Some(release), over, thread: Some(thread.map_err(lost)?) };
        let granted = answered.recv().unwrap_or_else(|_| Err(lost("nobody asked it")))?;
        Ok((permission, granted))
    }

    /// Whether it was taken back.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

impl Drop for Permission {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Asks, answers, and keeps the session until it is released or closed by the other side.
async fn session(
    kind: SurfaceKind,
    options: &ScreenOptions,
    answer: &SyncSender<Result<Granted, ScreenError>>,
    released: oneshot::Receiver<()>,
) {
    // Not the connection that ashpd keeps for a whole process: it lives in the runtime that made it.
    let connecting = async { Screencast::with_connection(Connection::session().await?).await };
    let proxy = match within(PATIENCE, connecting).await {
        Ok(proxy) => proxy,
        Err(error) => {
            let _ = answer.send(Err(error));
            return;
        }
    };
    let session = match within(PATIENCE, proxy.create_session(Default::default())).await {
        Ok(session) => session,
        Err(error) => {
            let _ = answer.send(Err(error));
            return;
        }
    };
    let granted = grant(&proxy, &session, kind, options).await;
    let failed = granted.is_err();
    let _ = answer.send(granted);
    if !failed && let Ok(closed) = session.receive_closed().await {
        let mut closed = std::pin::pin!(closed);
        let next = std::future::poll_fn(|context| closed.as_mut().poll_next(context));
        tokio::select! {
            _ = released => {}
            _ = next => return,
        }
    }
    // Where it is closed already there is nobody to tell.
    let _ = tokio::time::timeout(Duration::from_secs(1), session.close()).await;
}

async fn grant(
    proxy: &Screencast,
    session: &ashpd::desktop::Session<Screencast>,
    kind: SurfaceKind,
    options: &ScreenOptions,
) -> Result<Granted, ScreenError> {
    let not_supported = |detail: String| ScreenError::NotSupported { display: NAME.to_owned(), detail };
    let wanted = match kind {
        SurfaceKind::Monitor => SourceType::Monitor,
        SurfaceKind::Window => SourceType::Window,
    };
    if !within(PATIENCE, proxy.available_source_types()).await?.contains(wanted) {
        return Err(not_supported(format!("this desktop's portal offers no {kind}s")));
    }
    let cursor = match options.cursor {
        CursorCapture::Always => CursorMode::Embedded,
        CursorCapture::Never => CursorMode::Hidden,
        CursorCapture::Motion => {
            let detail = "the portal draws the cursor always or never, not only while it moves";
            return Err(not_supported(detail.to_owned()));
        }
    };
    // An old portal knows only its default, which is to hide it.
    let cursors = within(PATIENCE, proxy.available_cursor_modes()).await.unwrap_or_default();
    let token = options.restore_token.as_deref().map(read_token).transpose()?.flatten();
    let persist = if options.restore_token.is_some() { PersistMode::ExplicitlyRevoked } else { PersistMode::DoNot };
    let select = SelectSourcesOptions::default()
        .set_sources(ashpd::enumflags2::BitFlags::from(wanted))
        .set_multiple(false)
        .set_cursor_mode(Some(cursor).filter(|cursor| cursors.contains(*cursor)))
        .set_persist_mode(persist)
        .set_restore_token(token.as_deref());
    within(PATIENCE, async { proxy.select_sources(session, select).await?.response() }).await?;
    let start = async { proxy.start(session, None, Default::default()).await?.response() };
    let streams = within(PERSON, start).await?;
    if let (Some(path), Some(token)) = (&options.restore_token, streams.restore_token()) {
        write_token(path, token)?;
    }
    let stream = streams.streams().first().ok_or_else(|| lost("nothing was picked"))?;
    let remote = within(PATIENCE, proxy.open_pipe_wire_remote(session, Default::default())).await?;
    Ok(Granted {
        remote,
        node: stream.pipe_wire_node_id(),
        id: stream.id().map(str::to_owned),
        at: stream.position().unwrap_or_default(),
    })
}

/// What comes of a request to the portal in time.
async fn within<T>(
    patience: Duration,
    request: impl Future<Output = Result<T, ashpd::Error>>,
) -> Result<T, ScreenError> {
    match tokio::time::timeout(patience, request).await {
        Ok(done) => done.map_err(refusal),
        Err(_) => Err(lost(format!("no answer within {} s", patience.as_secs()))),
    }
}

fn refusal(error: ashpd::Error) -> ScreenError {
    let display = NAME.to_owned();
    match error {
        ashpd::Error::Response(ResponseError::Cancelled) => {
            ScreenError::Denied { display, detail: "whoever was asked said no".to_owned() }
        }
        ashpd::Error::PortalNotFound(_) => {
            ScreenError::NotSupported { display, detail: "this desktop has no ScreenCast portal".to_owned() }
        }
        error => ScreenError::Display { display, detail: error.to_string() },
    }
}

/// The token of the last permission, if there was one.
fn read_token(path: &Path) -> Result<Option<String>, ScreenError> {
    match std::fs::read_to_string(path) {
        Ok(token) => Ok(Some(token.trim().to_owned()).filter(|token| !token.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ScreenError::Token { path: path.to_owned(), detail: error.to_string() }),
    }
}

/// Keeps the token of this permission, which no other user may read. It replaces the last one, which is used up.
fn write_token(path: &Path, token: &str) -> Result<(), ScreenError> {
    let write = || {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(token.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|error| ScreenError::Token { path: path.to_owned(), detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_kept_for_its_user_alone_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert_eq!(read_token(&path).unwrap(), None);
        for token in ["first", "second"] {
            write_token(&path, token).unwrap();
            assert_eq!(read_token(&path).unwrap().as_deref(), Some(token));
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_token(&folder.path().join("no/such"), "x").is_err());
    }
}
