//! A webcam that is a program: UVC 1.0 with isochronous streaming, spoken as USB/IP over a socket that the kernel's `vhci-hcd` is
//! given the other end of. So the real `uvcvideo` driver has a camera to drive, which shows colour bars as JPEG or YUY2.
//!
//! ```text
//! webcam PORT     plugs itself in at this port of the virtual hub (0 to 7), and out when it ends or is killed
//! ```
//!
//! Its standard input tells what goes wrong, a line each: `damage` spoils the data within the next picture, `cut` sends half of
//! it, `flag` says of it that it is bad, `stall` sends none any more and `resume` goes on.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Busnumber and device number, of which there is but one.
const DEVICE: u32 = 0x0001_0002;
const HIGH_SPEED: u32 = 3;
/// What one packet of the stream carries at most, its header included.
const PACKET: u16 = 1024;
/// Intervals between pictures, in units of 100 ns.
const INTERVALS: [u32; 2] = [333_333, 666_666];
const MJPEG: u8 = 1;
const YUY2: u8 = 2;
/// Format, its frame index, width, height. JPEGs of the smaller size have no Huffman tables, as those of many webcams.
const FRAMES: [(u8, u8, u16, u16); 3] = [(MJPEG, 1, 320, 240), (MJPEG, 2, 160, 120), (YUY2, 1, 160, 120)];
/// The colours of the bars, and what BT.601 makes of them.
const BARS: [([u8; 3], [u8; 3]); 8] = [
    ([255, 255, 255], [235, 128, 128]),
    ([255, 255, 0], [210, 16, 146]),
    ([0, 255, 255], [170, 166, 16]),
    ([0, 255, 0], [145, 54, 34]),
    ([255, 0, 255], [106, 202, 222]),
    ([255, 0, 0], [81, 90, 240]),
    ([0, 0, 255], [41, 240, 110]),
    ([0, 0, 0], [16, 128, 128]),
];

fn main() -> Result<(), Box<dyn Error>> {
    let port: u8 = std::env::args().nth(1).ok_or("usage: webcam PORT")?.parse()?;
    let (socket, of_the_kernel) = UnixStream::pair()?;
    let number = of_the_kernel.as_raw_fd();
    std::fs::write("/sys/devices/platform/vhci_hcd.0/attach", format!("{port} {number} {DEVICE} {HIGH_SPEED}"))?;
    drop(of_the_kernel);

    let (events, happened) = sync_channel(16);
    let (mut incoming, told) = (socket.try_clone()?, events.clone());
    std::thread::spawn(move || {
        while let Ok(message) = Message::read(&mut incoming) {
            let _ = events.send(Event::Usb(message));
        }
        let _ = events.send(Event::Unplugged);
    });
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let _ = told.send(Event::Told(line));
        }
    });
    Camera::new(socket)?.run(&happened)?;
    Ok(())
}

enum Event {
    Usb(Message),
    Told(String),
    Unplugged,
}

/// What the host asks, by USB/IP.
enum Message {
    Submit(Submit),
    Unlink { sequence: u32, victim: u32 },
}

/// A USB request.
struct Submit {
    sequence: u32,
    endpoint: u32,
    /// For an isochronous one the packets that it has room for.
    packets: Vec<Packet>,
    setup: [u8; 8],
    data: Vec<u8>,
}

struct Packet {
    offset: u32,
    length: u32,
}

impl Message {
    fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut header = [0; 48];
        from.read_exact(&mut header)?;
        let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (command, sequence, inward) = (word(0), word(4), word(12) == 1);
        if command == 2 {
            return Ok(Self::Unlink { sequence, victim: word(20) });
        }
        let mut data = vec![0; if inward { 0 } else { word(24) as usize }];
        from.read_exact(&mut data)?;
        let mut packets = Vec::new();
        // Minus one where there are none.
        for _ in 0..word(32).wrapping_add(1).saturating_sub(1) {
            let mut fields = [[0; 4]; 4];
            for field in &mut fields {
                from.read_exact(field)?;
            }
            packets.push(Packet { offset: u32::from_be_bytes(fields[0]), length: u32::from_be_bytes(fields[1]) });
        }
        let mut setup = [0; 8];
        setup.copy_from_slice(&header[40..]);
        Ok(Self::Submit(Submit { sequence, endpoint: word(16), packets, setup, data }))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Damage,
    Cut,
    Flag,
}

struct Camera {
    socket: UnixStream,
    pictures: [Vec<u8>; 3],
    /// The format that was agreed on: UVC's probe and commit control.
    agreed: [u8; 26],
    /// When the next picture is due; `None` while the host wants none.
    due: Option<Instant>,
    stalled: bool,
    fault: Option<Fault>,
    /// The bit that is another one in the next picture.
    toggle: u8,
    /// Packets that were not sent yet, and requests that wait for some.
    outgoing: VecDeque<Vec<u8>>,
    waiting: VecDeque<Submit>,
}

impl Camera {
    fn new(socket: UnixStream) -> Result<Self, Box<dyn Error>> {
        let pictures = [jpeg(320, 240)?, without_tables(&jpeg(160, 120)?), yuy2(160, 120)];
        let mut camera = Self {
            socket,
            pictures,
            agreed: [0; 26],
            due: None,
            stalled: false,
            fault: None,
            toggle: 0,
            outgoing: VecDeque::new(),
            waiting: VecDeque::new(),
        };
        camera.agree(&[0, 0, MJPEG, 1]);
        Ok(camera)
    }

    fn run(&mut self, events: &Receiver<Event>) -> io::Result<()> {
        loop {
            let patience =
                self.due.map_or(Duration::from_secs(3600), |due| due.saturating_duration_since(Instant::now()));
            match events.recv_timeout(patience) {
                Ok(Event::Usb(Message::Submit(submit))) if submit.endpoint == 0 => self.control(&submit)?,
                Ok(Event::Usb(Message::Submit(submit))) => self.waiting.push_back(submit),
                Ok(Event::Usb(Message::Unlink { sequence, victim })) => self.unlink(sequence, victim)?,
                Ok(Event::Told(line)) => match line.as_str() {
                    "damage" => self.fault = Some(Fault::Damage),
                    "cut" => self.fault = Some(Fault::Cut),
                    "flag" => self.fault = Some(Fault::Flag),
                    "stall" => self.stalled = true,
                    _ => self.stalled = false,
                },
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::Unplugged) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if let Some(due) = self.due.filter(|due| *due <= Instant::now()) {
                self.due = Some(due + Duration::from_nanos(u64::from(self.number(4)) * 100));
                // A picture for which the host has no room is never sent.
                if self.outgoing.is_empty() && !self.stalled {
                    self.show();
                }
            }
            while !self.outgoing.is_empty() && !self.waiting.is_empty() {
                self.send()?;
            }
        }
    }

    /// A number of the agreed format.
    fn number(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.agreed[at], self.agreed[at + 1], self.agreed[at + 2], self.agreed[at + 3]])
    }

    /// Takes what can be had of the format, frame and interval that the host proposes.
    fn agree(&mut self, proposed: &[u8]) {
        let field = |at: usize| proposed.get(at).copied().unwrap_or_default();
        let wanted = FRAMES.iter().find(|frame| (frame.0, frame.1) == (field(2), field(3)));
        let (format, frame, width, height) = *wanted.unwrap_or(&FRAMES[0]);
        let interval = u32::from_le_bytes([field(4), field(5), field(6), field(7)]);
        let interval = if interval > INTERVALS[0] { INTERVALS[1] } else { INTERVALS[0] };
        self.agreed = [0; 26];
        (self.agreed[2], self.agreed[3]) = (format, frame);
        self.agreed[4..8].copy_from_slice(&interval.to_le_bytes());
        self.agreed[18..22].copy_from_slice(&most_bytes(width, height).to_le_bytes());
        self.agreed[22..].copy_from_slice(&u32::from(PACKET).to_le_bytes());
    }

    /// Cuts the next picture into packets, with UVC's payload headers.
    fn show(&mut self) {
        let at = FRAMES.iter().position(|frame| (frame.0, frame.1) == (self.agreed[2], self.agreed[3]));
        let mut picture = self.pictures[at.unwrap_or_default()].clone();
        let middle = picture.len() / 2;
        let fault = self.fault.take();
        match fault {
            Some(Fault::Cut) => picture.truncate(middle),
            // Bits that are no Huffman code.
            Some(Fault::Damage) => picture[middle..middle + 64].as_chunks_mut().0.fill([0xff, 0]),
            _ => {}
        }
        let flagged = if fault == Some(Fault::Flag) { 0x40 } else { 0 };
        let mut parts = picture.chunks(usize::from(PACKET) - 2).peekable();
        while let Some(part) = parts.next() {
            let ends = if parts.peek().is_none() { 2 } else { 0 };
            self.outgoing.push_back([&[2, 0x80 | self.toggle | ends | flagged], part].concat());
        }
        self.toggle ^= 1;
    }

    /// Answers the oldest request for packets.
    fn send(&mut self) -> io::Result<()> {
        let Some(submit) = self.waiting.pop_front() else { return Ok(()) };
        let mut data = Vec::new();
        let mut packets = Vec::new();
        for packet in &submit.packets {
            let part = self.outgoing.pop_front().unwrap_or_default();
            packets.push((packet, u32::try_from(part.len()).unwrap_or_default()));
            data.extend(part);
        }
        self.answer(&submit, 0, &data, &packets)
    }

    /// The request is done: USB/IP's reply, with what comes from the device.
    fn answer(&mut self, submit: &Submit, status: i32, data: &[u8], packets: &[(&Packet, u32)]) -> io::Result<()> {
        let (sequence, moved) = (submit.sequence, data.len().max(submit.data.len()));
        let length = u32::try_from(moved).unwrap_or_default();
        let count = u32::try_from(packets.len()).unwrap_or_default();
        let mut reply = Vec::new();
        let status = status.cast_unsigned();
        reply.extend([3, sequence, 0, 0, 0, status, length, 0, count, 0, 0, 0].map(u32::to_be_bytes).concat());
        reply.extend(data);
        for (packet, got) in packets {
            reply.extend([packet.offset, packet.length, *got, 0].map(u32::to_be_bytes).concat());
        }
        self.socket.write_all(&reply)
    }

    fn unlink(&mut self, sequence: u32, victim: u32) -> io::Result<()> {
        let before = self.waiting.len();
        self.waiting.retain(|submit| submit.sequence != victim);
        let reset = -104_i32;
        let status = if self.waiting.len() < before { reset.cast_unsigned() } else { 0 };
        self.socket.write_all(&[4, sequence, 0, 0, 0, status, 0, 0, 0, 0, 0, 0].map(u32::to_be_bytes).concat())
    }

    /// Requests on the control endpoint: chapter 9 of USB 2.0, and those of UVC to the streaming interface.
    fn control(&mut self, submit: &Submit) -> io::Result<()> {
        let [kind, request, value_low, value_high, .., length_low, length_high] = submit.setup;
        let reply = match (kind, request) {
            // GET_STATUS, GET_CONFIGURATION
            (0x80..=0x82, 0) => vec![0, 0],
            (0x80, 8) => vec![1],
            // GET_DESCRIPTOR
            (0x80, 6) => match descriptor(value_high, value_low) {
                Some(found) => found,
                None => return self.answer(submit, -32, &[], &[]),
            },
            // SET_INTERFACE: the host wants pictures at alternate setting 1.
            (1, 11) => {
                self.due = (value_low == 1).then(Instant::now);
                self.outgoing.clear();
                vec![]
            }
            // SET_CUR of the probe and the commit control
            (0x21, 1) => {
                self.agree(&submit.data);
                vec![]
            }
            // GET_LEN, GET_INFO; GET_CUR, GET_MIN, GET_MAX, GET_DEF
            (0xa1, 0x85) => vec![26, 0],
            (0xa1, 0x86) => vec![3],
            (0xa1, 0x81 | 0x82 | 0x83 | 0x87) if matches!(value_high, 1 | 2) => self.agreed.to_vec(),
            (kind, _) if kind < 0x80 => vec![],
            _ => return self.answer(submit, -32, &[], &[]),
        };
        let length = usize::from(u16::from_le_bytes([length_low, length_high]));
        self.answer(submit, 0, &reply[..reply.len().min(length)], &[])
    }
}

fn most_bytes(width: u16, height: u16) -> u32 {
    u32::from(width) * u32::from(height) * 2
}

fn descriptor(kind: u8, index: u8) -> Option<Vec<u8>> {
    let text = |text: &str| {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [&[u8::try_from(units.len() + 2).unwrap_or_default(), 3], &units[..]].concat()
    };
    Some(match (kind, index) {
        // Of several interfaces that belong together; ID 1209:0001 is there for tests.
        (1, 0) => vec![18, 1, 0, 2, 0xef, 2, 1, 64, 0x09, 0x12, 1, 0, 0, 1, 1, 2, 3, 1],
        (2, 0) => configuration(),
        (3, 0) => vec![4, 3, 9, 4],
        (3, 1) => text("rtckit"),
        (3, 2) => text("Test Webcam"),
        (3, 3) => text("0042"),
        _ => return None,
    })
}

fn configuration() -> Vec<u8> {
    let terminals = [
        // The sensor is terminal 1 and has no controls; what it sees leaves by terminal 2.
        &[18, 0x24, 2, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0][..],
        &[9, 0x24, 3, 2, 1, 1, 0, 1, 0],
    ]
    .concat();
    let [low, high] = length_of(terminals.len() + 13);
    let control = [&[13, 0x24, 1, 0, 1, low, high, 0x80, 0x8d, 0x5b, 0, 1, 1], &terminals[..]].concat();

    let mut formats = vec![11, 0x24, 6, MJPEG, 2, 0, 1, 0, 0, 0, 0];
    formats.extend(frames(MJPEG, 7));
    formats.extend([27, 0x24, 4, YUY2, 1]);
    formats.extend(*b"YUY2\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71");
    formats.extend([16, 1, 0, 0, 0, 0]);
    formats.extend(frames(YUY2, 5));
    let [low, high] = length_of(formats.len() + 15);
    let streaming = [&[15, 0x24, 1, 2, low, high, 0x81, 0, 2, 0, 0, 0, 1, 0, 0], &formats[..]].concat();

    let [packet_low, packet_high] = PACKET.to_le_bytes();
    let interfaces = [
        &[8, 11, 0, 2, 14, 3, 0, 2][..],
        &[9, 4, 0, 0, 0, 14, 1, 0, 2],
        &control,
        // No bandwidth at setting 0, an isochronous endpoint at setting 1.
        &[9, 4, 1, 0, 0, 14, 2, 0, 0],
        &streaming,
        &[9, 4, 1, 1, 1, 14, 2, 0, 0],
        &[7, 5, 0x81, 5, packet_low, packet_high, 1],
    ]
    .concat();
    let [low, high] = length_of(interfaces.len() + 9);
    [&[9, 2, low, high, 2, 1, 0, 0x80, 250], &interfaces[..]].concat()
}

fn length_of(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or_default().to_le_bytes()
}

/// The frame descriptors of a format.
fn frames(of: u8, kind: u8) -> Vec<u8> {
    let mut all = Vec::new();
    for (_, index, width, height) in FRAMES.into_iter().filter(|frame| frame.0 == of) {
        let bytes = most_bytes(width, height);
        let bits =
            |interval: u32| u32::try_from(u64::from(bytes) * 80_000_000 / u64::from(interval)).unwrap_or(u32::MAX);
        all.extend([34, 0x24, kind, index, 0]);
        all.extend([width, height].map(u16::to_le_bytes).concat());
        all.extend([bits(INTERVALS[1]), bits(INTERVALS[0]), bytes, INTERVALS[0]].map(u32::to_le_bytes).concat());
        all.push(2);
        all.extend(INTERVALS.map(u32::to_le_bytes).concat());
    }
    all
}

/// The bars, with chroma at half width, as webcams have it.
fn jpeg(width: u16, height: u16) -> Result<Vec<u8>, Box<dyn Error>> {
    let bar = usize::from(width) / BARS.len();
    let line: Vec<u8> = BARS.iter().flat_map(|(rgb, _)| rgb.repeat(bar)).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    encoder.set_sampling_factor(SamplingFactor::F_2_1);
    encoder.encode(&line.repeat(usize::from(height)), width, height, ColorType::Rgb)?;
    // Cameras send whole words.
    bytes.extend([0; 3]);
    Ok(bytes)
}

/// A JPEG without the segments that define its Huffman tables.
fn without_tables(jpeg: &[u8]) -> Vec<u8> {
    let mut kept = jpeg[..2].to_vec();
    let mut rest = &jpeg[2..];
    while rest[1] != 0xda {
        let (segment, behind) = rest.split_at(2 + usize::from(u16::from_be_bytes([rest[2], rest[3]])));
        if segment[1] != 0xc4 {
            kept.extend(segment);
        }
        rest = behind;
    }
    kept.extend(rest);
    kept
}

fn yuy2(width: u16, height: u16) -> Vec<u8> {
    let pairs = usize::from(width) / BARS.len() / 2;
    let line: Vec<u8> = BARS.iter().flat_map(|(_, [y, u, v])| [*y, *u, *y, *v].repeat(pairs)).collect();
    line.repeat(usize::from(height))
}
