//! A connection to a Wayland compositor: its outputs, and the frames that it copies for us.

use super::super::{ScreenError, Surface, SurfaceKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use wayland_client::backend::WaylandError;
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_output::{self, Transform, WlOutput};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_client::protocol::{wl_buffer::WlBuffer, wl_shm_pool::WlShmPool};
use wayland_client::{Connection, Dispatch, EventQueue, Proxy, QueueHandle, WEnum, delegate_noop};
use wayland_protocols_wlr::screencopy::v1::client::zwlr_screencopy_frame_v1::{self, Flags, ZwlrScreencopyFrameV1};
use wayland_protocols_wlr::screencopy::v1::client::zwlr_screencopy_manager_v1::ZwlrScreencopyManagerV1;

/// How long a compositor may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, and what the compositor has told.
pub(super) struct Client {
    connection: Connection,
    queue: EventQueue<Told>,
    pub(super) told: Told,
    pub(super) name: String,
}

/// What the compositor has told.
#[derive(Default)]
pub(super) struct Told {
    pub(super) outputs: Vec<Output>,
    pub(super) manager: Option<ZwlrScreencopyManagerV1>,
    pub(super) memory: Option<WlShm>,
    pub(super) frame: Frame,
    synced: bool,
}

/// One output of the compositor.
pub(super) struct Output {
    global: u32,
    pub(super) proxy: WlOutput,
    name: Option<String>,
    description: Option<String>,
    at: (i32, i32),
    mode: (u32, u32),
    pub(super) transform: Transform,
}

/// How far the frame is that was asked for last.
#[derive(Default)]
pub(super) struct Frame {
    /// The form that the compositor wants to copy it in.
    pub(super) shape: Option<Shape>,
    /// All forms were told.
    pub(super) shaped: bool,
    pub(super) inverted: bool,
    pub(super) outcome: Option<Outcome>,
}

/// The form of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) format: WEnum<Format>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) stride: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ready,
    Failed,
}

impl Client {
    /// Connects to the compositor that `WAYLAND_DISPLAY` names, and learns what it has.
    pub(super) fn open() -> Result<Self, ScreenError> {
        let display = std::env::var_os("WAYLAND_DISPLAY").filter(|name| !name.is_empty());
        let display = PathBuf::from(display.ok_or(ScreenError::NoDisplay)?);
        let name = display.display().to_string();
        let fail = |detail: String| ScreenError::Display { display: name.clone(), detail };
        let path = match std::env::var_os("XDG_RUNTIME_DIR") {
            _ if display.is_absolute() => display,
            Some(folder) => PathBuf::from(folder).join(display),
            None => return Err(fail("XDG_RUNTIME_DIR is not set".to_owned())),
        };
        let stream = UnixStream::connect(&path).map_err(|error| fail(format!("{}: {error}", path.display())))?;
        let connection = Connection::from_socket(stream).map_err(|error| fail(error.to_string()))?;
        let queue = connection.new_event_queue();
        connection.display().get_registry(&queue.handle(), ());
        let mut client = Self { connection, queue, told: Told::default(), name };
        // Once for what there is, once for what that says of itself.
        client.sync()?;
        client.sync()?;
        Ok(client)
    }

    pub(super) fn handle(&self) -> QueueHandle<Told> {
        self.queue.handle()
    }

    pub(super) fn lost(&self, detail: impl ToString) -> ScreenError {
        ScreenError::Lost { display: self.name.clone(), detail: detail.to_string() }
    }

    fn sync(&mut self) -> Result<(), ScreenError> {
        self.told.synced = false;
        self.connection.display().sync(&self.queue.handle(), ());
        self.wait(|told| told.synced)
    }

    /// Handles events until `done`.
    pub(super) fn wait(&mut self, done: impl Fn(&Told) -> bool) -> Result<(), ScreenError> {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.told) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.lost(format!("the compositor has not answered for {} s", PATIENCE.as_secs())));
            }
            self.pump(left)?;
        }
        Ok(())
    }

    /// Sends what is to be sent, and handles the events that are there or come within `patience`.
    pub(super) fn pump(&mut self, patience: Duration) -> Result<(), ScreenError> {
        match self.queue.flush() {
            Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            done => done.map_err(|error| self.lost(error))?,
        }
        if self.queue.dispatch_pending(&mut self.told).map_err(|error| self.lost(error))? > 0 {
            return Ok(());
        }
        if let Some(guard) = self.queue.prepare_read() {
            let timeout = Timespec::try_from(patience).map_err(|error| self.lost(error))?;
            let ready = poll(&mut [PollFd::new(&guard.connection_fd(), PollFlags::IN)], Some(&timeout));
            match ready {
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
                Err(error) => return Err(self.lost(error)),
                Ok(_) => {}
            }
            match guard.read() {
                Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                done => drop(done.map_err(|error| self.lost(error))?),
            }
        }
        self.queue.dispatch_pending(&mut self.told).map(drop).map_err(|error| self.lost(error))
    }
}

impl Output {
    /// As what can be captured. Its ID is its connector, where the compositor names it.
    pub(super) fn surface(&self, index: usize) -> Surface {
        let id = self.name.clone().unwrap_or_else(|| format!("output-{index}"));
        let (mut width, mut height) = self.mode;
        if super::upright::on_its_side(self.transform) {
            (width, height) = (height, width);
        }
        Surface {
            label: self.description.clone().unwrap_or_else(|| id.clone()),
            id,
            kind: SurfaceKind::Monitor,
            application: None,
            x: self.at.0,
            y: self.at.1,
            width,
            height,
            primary: index == 0,
        }
    }
}

impl Dispatch<WlRegistry, ()> for Told {
    fn event(
        told: &mut Self,
        registry: &WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        handle: &QueueHandle<Self>,
    ) {
        match event {
            wl_registry::Event::Global { name, interface, version } => {
                if interface == WlOutput::interface().name {
                    let proxy = registry.bind(name, version.min(4), handle, ());
                    told.outputs.push(Output {
                        global: name,
                        proxy,
                        name: None,
                        description: None,
                        at: (0, 0),
                        mode: (0, 0),
                        transform: Transform::Normal,
                    });
                } else if interface == WlShm::interface().name {
                    told.memory = Some(registry.bind(name, 1, handle, ()));
                } else if interface == ZwlrScreencopyManagerV1::interface().name {
                    told.manager = Some(registry.bind(name, version.min(3), handle, ()));
                }
            }
            wl_registry::Event::GlobalRemove { name } => told.outputs.retain(|output| output.global != name),
            _ => {}
        }
    }
}

impl Dispatch<WlOutput, ()> for Told {
    fn event(
        told: &mut Self,
        proxy: &WlOutput,
        event: wl_output::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some(output) = told.outputs.iter_mut().find(|output| output.proxy == *proxy) else { return };
        match event {
            wl_output::Event::Geometry { x, y, transform, .. } => {
                output.at = (x, y);
                output.transform = transform.into_result().unwrap_or(Transform::Normal);
            }
            wl_output::Event::Mode { flags, width, height, .. } => {
                let current = flags.into_result().is_ok_and(|flags| flags.contains(wl_output::Mode::Current));
                if let (true, Ok(width), Ok(height)) = (current, width.try_into(), height.try_into()) {
                    output.mode = (width, height);
                }
            }
            wl_output::Event::Name { name } => output.name = Some(name),
            wl_output::Event::Description { description } => output.description = Some(description),
            _ => {}
        }
    }
}

impl Dispatch<ZwlrScreencopyFrameV1, ()> for Told {
    fn event(
        told: &mut Self,
        proxy: &ZwlrScreencopyFrameV1,
        event: zwlr_screencopy_frame_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let frame = &mut told.frame;
        match event {
            zwlr_screencopy_frame_v1::Event::Buffer { format, width, height, stride } => {
                frame.shape = Some(Shape { format, width, height, stride });
                // Before version 3 nothing else follows.
                frame.shaped |= proxy.version() < 3;
            }
            zwlr_screencopy_frame_v1::Event::BufferDone => frame.shaped = true,
            zwlr_screencopy_frame_v1::Event::Flags { flags } => {
                frame.inverted = flags.into_result().is_ok_and(|flags| flags.contains(Flags::YInvert));
            }
            zwlr_screencopy_frame_v1::Event::Ready { .. } => frame.outcome = Some(Outcome::Ready),
            zwlr_screencopy_frame_v1::Event::Failed => frame.outcome = Some(Outcome::Failed),
            _ => {}
        }
    }
}

impl Dispatch<WlCallback, ()> for Told {
    fn event(
        told: &mut Self,
        _: &WlCallback,
        event: wl_callback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        told.synced |= matches!(event, wl_callback::Event::Done { .. });
    }
}

delegate_noop!(Told: ignore WlShm);
delegate_noop!(Told: ignore WlBuffer);
delegate_noop!(Told: WlShmPool);
delegate_noop!(Told: ZwlrScreencopyManagerV1);
