//! A PipeWire stream of pictures of one colour, as a compositor gives them.

use pipewire as pw;
use pw::spa::param::ParamType;
use pw::spa::param::format::{FormatProperties, MediaSubtype, MediaType};
use pw::spa::param::video::VideoFormat;
use pw::spa::pod::serialize::PodSerializer;
use pw::spa::pod::{Object, Pod, Property, Value, object, property};
use pw::spa::utils::{Direction, Fraction, Rectangle, SpaTypes};
use pw::stream::{StreamFlags, StreamRc, StreamState};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running stream; it ends with the value.
pub struct Feed {
    node: u32,
    quit: pw::channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Pictures of `size` whose pixels are all `bgrx`, 25 a second, for whoever connects.
    pub fn start(pipewire: &Path, size: (u32, u32), bgrx: [u8; 4]) -> Self {
        let remote = OwnedFd::from(UnixStream::connect(pipewire).unwrap());
        let (quit, quitting) = pw::channel::channel();
        let (ready, node) = sync_channel(1);
        let thread = std::thread::spawn(move || run(remote, size, bgrx, &ready, quitting));
        let node = node.recv_timeout(crate::support::PATIENCE).expect("the stream gets its number");
        Self { node, quit, thread: Some(thread) }
    }

    /// The number of its node.
    pub fn node(&self) -> u32 {
        self.node
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.quit.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    remote: OwnedFd,
    (width, height): (u32, u32),
    bgrx: [u8; 4],
    ready: &SyncSender<u32>,
    quit: pw::channel::Receiver<()>,
) {
    pw::init();
    let main_loop = pw::main_loop::MainLoopRc::new(None).unwrap();
    let context = pw::context::ContextRc::new(&main_loop, None).unwrap();
    let core = context.connect_fd_rc(remote, None).unwrap();
    let quitting = main_loop.clone();
    let _quit = quit.attach(main_loop.loop_(), move |()| quitting.quit());
    let properties = pw::properties::properties! {
        *pw::keys::MEDIA_CLASS => "Video/Source",
        *pw::keys::NODE_NAME => "rtckit-test-screen",
    };
    let stream = StreamRc::new(core, "rtckit-test-screen", properties).unwrap();
    let told = ready.clone();
    let _listener = stream
        .add_local_listener::<()>()
        .state_changed(move |stream, (), _, new| {
            if new == StreamState::Paused {
                let _ = told.try_send(stream.node_id());
            }
        })
        .param_changed(move |stream, (), id, param| {
            if param.is_some() && id == ParamType::Format.as_raw() {
                let wanted = buffers(width, height);
                stream.update_params(&mut [Pod::from_bytes(&wanted).unwrap()]).unwrap();
            }
        })
        .process(move |stream, ()| {
            let Some(mut buffer) = stream.dequeue_buffer() else { return };
            let data = &mut buffer.datas_mut()[0];
            if let Some(bytes) = data.data() {
                bytes.chunks_exact_mut(4).for_each(|pixel| pixel.copy_from_slice(&bgrx));
            }
            let chunk = data.chunk_mut();
            *chunk.offset_mut() = 0;
            *chunk.stride_mut() = (width * 4).try_into().unwrap();
            *chunk.size_mut() = width * height * 4;
        })
        .register()
        .unwrap();
    let wanted = format(width, height);
    let flags = StreamFlags::DRIVER | StreamFlags::MAP_BUFFERS;
    stream.connect(Direction::Output, None, flags, &mut [Pod::from_bytes(&wanted).unwrap()]).unwrap();
    let driven = stream.clone();
    let timer = main_loop.loop_().add_timer(move |_| {
        if driven.state() == StreamState::Streaming {
            let _ = driven.trigger_process();
        }
    });
    let period = Some(Duration::from_millis(40));
    timer.update_timer(period, period).into_result().unwrap();
    main_loop.run();
}

fn serialized(object: Object) -> Vec<u8> {
    let written = PodSerializer::serialize(std::io::Cursor::new(Vec::new()), &Value::Object(object));
    written.unwrap().0.into_inner()
}

fn format(width: u32, height: u32) -> Vec<u8> {
    serialized(object!(
        SpaTypes::ObjectParamFormat,
        ParamType::EnumFormat,
        property!(FormatProperties::MediaType, Id, MediaType::Video),
        property!(FormatProperties::MediaSubtype, Id, MediaSubtype::Raw),
        property!(FormatProperties::VideoFormat, Id, VideoFormat::BGRx),
        property!(FormatProperties::VideoSize, Rectangle, Rectangle { width, height }),
        property!(FormatProperties::VideoFramerate, Fraction, Fraction { num: 25, denom: 1 }),
    ))
}

fn buffers(width: u32, height: u32) -> Vec<u8> {
    use pw::spa::sys;
    let number = |key, value: u32| Property::new(key, Value::Int(value.try_into().unwrap()));
    serialized(Object {
        type_: SpaTypes::ObjectParamBuffers.as_raw(),
        id: ParamType::Buffers.as_raw(),
        properties: vec![
            number(sys::SPA_PARAM_BUFFERS_buffers, 4),
            number(sys::SPA_PARAM_BUFFERS_blocks, 1),
            number(sys::SPA_PARAM_BUFFERS_size, width * height * 4),
            number(sys::SPA_PARAM_BUFFERS_stride, width * 4),
            number(sys::SPA_PARAM_BUFFERS_dataType, 1 << pw::spa::buffer::DataType::MemFd.as_raw()),
        ],
    })
}
