//! A PipeWire node that carries pictures: the newest is kept, in memory of our own.

use super::super::ScreenError;
use super::super::picture::Order;
use super::lost;
use pipewire as pw;
use pw::spa::param::ParamType;
use pw::spa::param::format::{FormatProperties, MediaSubtype, MediaType};
use pw::spa::param::video::{VideoFormat, VideoInfoRaw};
use pw::spa::pod::serialize::PodSerializer;
use pw::spa::pod::{Pod, Value, object, property};
use pw::spa::utils::{Direction, Fraction, Rectangle, SpaTypes};
use pw::stream::{StreamBox, StreamFlags, StreamState};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the first picture may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest edge of a picture, in pixels.
const MOST_EXTENT: u32 = 16_384;

/// A picture in four bytes a pixel.
pub(super) struct Picture {
    pub(super) bytes: Vec<u8>,
    pub(super) stride: usize,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) order: Order,
}

/// A running stream. Dropping it ends it.
pub(super) struct Stream {
    shared: Arc<Shared>,
    quit: pw::channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    newest: Option<Picture>,
    spare: Option<Vec<u8>>,
    over: Option<Result<(), String>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, how: Result<(), String>) {
        self.lock().over.get_or_insert(how);
        self.changed.notify_all();
    }
}

impl Stream {
    /// Connects to `node` on `remote`.
    pub(super) fn open(remote: OwnedFd, node: u32) -> Result<Self, ScreenError> {
        let shared = Arc::<Shared>::default();
        let (quit, quitting) = pw::channel::channel();
        let state = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("pipewire".to_owned()).spawn(move || {
            let done = run(remote, node, &state, quitting).map_err(|error| error.to_string());
            state.end(done);
        });
        Ok(Self { shared, quit, thread: Some(thread.map_err(lost)?) })
    }

    /// Waits for the first picture.
    pub(super) fn first(&self) -> Result<Picture, ScreenError> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        loop {
            if let Some(picture) = state.newest.take() {
                return Ok(picture);
            }
            if let Some(how) = &state.over {
                return Err(lost(how.as_ref().err().map_or("it ended before its first picture", String::as_str)));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(lost(format!("PipeWire gave no picture within {} s", PATIENCE.as_secs())));
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The newest picture, if there is one that was not taken yet.
    pub(super) fn take(&self) -> Option<Picture> {
        self.shared.lock().newest.take()
    }

    /// Takes memory back for pictures to come.
    pub(super) fn recycle(&self, picture: Picture) {
        self.shared.lock().spare = Some(picture.bytes);
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self) -> Result<bool, ScreenError> {
        match &self.shared.lock().over {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(why)) => Err(lost(why)),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.quit.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(remote: OwnedFd, node: u32, shared: &Arc<Shared>, quit: pw::channel::Receiver<()>) -> Result<(), pw::Error> {
    pw::init();
    let main_loop = pw::main_loop::MainLoopRc::new(None)?;
    let context = pw::context::ContextRc::new(&main_loop, None)?;
    let core = context.connect_fd_rc(remote, None)?;
    let quitting = main_loop.clone();
    let _quit = quit.attach(main_loop.loop_(), move |()| quitting.quit());

    let (state, failing) = (Arc::clone(shared), main_loop.clone());
    let _core = core
        .add_listener_local()
        .error(move |id, _, code, message| {
            tracing::debug!("PipeWire object {id}: {message} ({code})");
            // The core itself: the connection is gone.
            if id == pw::core::PW_ID_CORE {
                state.end(Err(message.to_owned()));
                failing.quit();
            }
        })
        .register();

    let properties = pw::properties::properties! {
        *pw::keys::MEDIA_TYPE => "Video",
        *pw::keys::MEDIA_CATEGORY => "Capture",
        *pw::keys::MEDIA_ROLE => "Screen",
    };
    let stream = StreamBox::new(&core, "rtckit", properties)?;
    let (state, ending, taking) = (Arc::clone(shared), main_loop.clone(), Arc::clone(shared));
    let _listener = stream
        .add_local_listener_with_user_data(VideoInfoRaw::new())
        .state_changed(move |_, _, old, new| match new {
            StreamState::Error(why) => {
                state.end(Err(why));
                ending.quit();
            }
            StreamState::Unconnected if old != StreamState::Unconnected => {
                state.end(Ok(()));
                ending.quit();
            }
            _ => {}
        })
        .param_changed(|stream, info, id, param| {
            let Some(param) = param.filter(|_| id == ParamType::Format.as_raw()) else { return };
            if info.parse(param).is_ok() {
                let wanted = buffers();
                if let Some(pod) = Pod::from_bytes(&wanted)
                    && let Err(error) = stream.update_params(&mut [pod])
                {
                    tracing::debug!("PipeWire refused the form of buffers: {error}");
                }
            }
        })
        .process(move |stream, info| {
            let mut newest = None;
            while let Some(buffer) = stream.dequeue_buffer() {
                newest = Some(buffer);
            }
            if let Some(mut buffer) = newest
                && let Some(data) = buffer.datas_mut().first_mut()
            {
                take(data, info, &taking);
            }
        })
        .register()?;

    let wanted = formats();
    let pod = Pod::from_bytes(&wanted).ok_or(pw::Error::CreationFailed)?;
    let flags = StreamFlags::AUTOCONNECT | StreamFlags::MAP_BUFFERS;
    stream.connect(Direction::Input, Some(node), flags, &mut [pod])?;
    main_loop.run();
    Ok(())
}

/// Copies a picture out of the buffer that holds it.
fn take(data: &mut pw::spa::buffer::Data, info: &VideoInfoRaw, shared: &Shared) {
    let (width, height) = (info.size().width, info.size().height);
    let order = match info.format() {
        VideoFormat::BGRx | VideoFormat::BGRA => Order::Bgr,
        VideoFormat::RGBx | VideoFormat::RGBA => Order::Rgb,
        _ => return,
    };
    let chunk = data.chunk();
    let (offset, size) = (chunk.offset() as usize, chunk.size() as usize);
    let stride = usize::try_from(chunk.stride()).ok().filter(|stride| *stride > 0).unwrap_or(width as usize * 4);
    // A buffer without content only says that the cursor moved.
    if size == 0 || chunk.flags().contains(pw::spa::buffer::ChunkFlags::CORRUPTED) {
        return;
    }
    let fits = stride.is_multiple_of(4) && stride >= width as usize * 4 && width.min(height) > 0;
    let Some(rows) =
        data.data().and_then(|bytes| bytes.get(offset..)).and_then(|bytes| bytes.get(..stride * height as usize))
    else {
        tracing::debug!("a buffer of PipeWire is not in memory, or too small for {width}x{height}");
        return;
    };
    if !fits {
        return;
    }
    let mut state = shared.lock();
    let old = state.newest.take().map(|picture| picture.bytes);
    let mut bytes = old.or_else(|| state.spare.take()).unwrap_or_default();
    bytes.clear();
    bytes.extend_from_slice(rows);
    state.newest = Some(Picture { bytes, stride, width, height, order });
    drop(state);
    shared.changed.notify_all();
}

fn serialized(object: pw::spa::pod::Object) -> Vec<u8> {
    let written = PodSerializer::serialize(std::io::Cursor::new(Vec::new()), &Value::Object(object));
    written.map(|(cursor, _)| cursor.into_inner()).unwrap_or_default()
}

/// The forms of pictures that we take: four bytes a pixel, any size, any rate.
fn formats() -> Vec<u8> {
    serialized(object!(
        SpaTypes::ObjectParamFormat,
        ParamType::EnumFormat,
        property!(FormatProperties::MediaType, Id, MediaType::Video),
        property!(FormatProperties::MediaSubtype, Id, MediaSubtype::Raw),
        property!(
            FormatProperties::VideoFormat,
            Choice,
            Enum,
            Id,
            VideoFormat::BGRx,
            VideoFormat::BGRx,
            VideoFormat::BGRA,
            VideoFormat::RGBx,
            VideoFormat::RGBA,
        ),
        property!(
            FormatProperties::VideoSize,
            Choice,
            Range,
            Rectangle,
            Rectangle { width: 1920, height: 1080 },
            Rectangle { width: 1, height: 1 },
            Rectangle { width: MOST_EXTENT, height: MOST_EXTENT }
        ),
        property!(
            FormatProperties::VideoFramerate,
            Choice,
            Range,
            Fraction,
            Fraction { num: 30, denom: 1 },
            Fraction { num: 0, denom: 1 },
            Fraction { num: 240, denom: 1 }
        ),
    ))
}

/// The memory that we can read: mapped, not that of a graphics card.
fn buffers() -> Vec<u8> {
    let types = [pw::spa::buffer::DataType::MemPtr, pw::spa::buffer::DataType::MemFd];
    let mask = types.iter().fold(0, |mask, kind| mask | 1 << kind.as_raw());
    serialized(pw::spa::pod::Object {
        type_: SpaTypes::ObjectParamBuffers.as_raw(),
        id: ParamType::Buffers.as_raw(),
        properties: vec![pw::spa::pod::Property::new(
            pw::spa::sys::SPA_PARAM_BUFFERS_dataType,
            Value::Choice(pw::spa::pod::ChoiceValue::Int(pw::spa::utils::Choice(
                pw::spa::utils::ChoiceFlags::empty(),
                pw::spa::utils::ChoiceEnum::Flags { default: mask, flags: vec![mask] },
            ))),
        )],
    })
}
