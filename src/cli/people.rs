//! What people see on stderr. A thread of its own writes it, so that a terminal that is held (Ctrl-S) or a pipe that is full holds
//! up neither media nor the connection.

use rtckit::progress::Event;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// As much may wait for a slow reader; what comes then is dropped, and how much is said.
const WAITING: usize = 4096;

/// What moves at the bottom of a terminal.
pub trait Moving: Send {
    /// Takes what matters to it.
    fn show(&mut self, event: &Event);
    /// Does something else on the terminal without getting in its way.
    fn aside(&mut self, other: &mut dyn FnMut());
    /// Takes it off the terminal.
    fn finish(&mut self);
}

enum Item {
    Text(String),
    Begin(Box<dyn Moving>),
    Event(Event),
    End,
    /// Everything before it is written.
    Flush(SyncSender<()>),
}

/// Of the one thread, where it could be started.
static QUEUE: OnceLock<Option<SyncSender<Item>>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

fn queue() -> Option<&'static SyncSender<Item>> {
    let start = || {
        let (queue, items) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("stderr".to_owned()).spawn(move || write(&items));
        thread.is_ok().then_some(queue)
    };
    QUEUE.get_or_init(start).as_ref()
}

fn hand_over(item: Item) {
    if let Some(Err(TrySendError::Full(Item::Text(_)))) = queue().map(|queue| queue.try_send(item)) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes a line, or several.
pub fn say(text: String) {
    if queue().is_some() {
        hand_over(Item::Text(text));
    } else {
        line(&text);
    }
}

/// Where logs are written to, by whole lines. Unlike what is said, nothing is left out.
pub struct Log;

impl Write for Log {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(lines);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        match queue().map(|queue| queue.send(Item::Text(text.to_owned()))) {
            Some(Ok(())) => {}
            None | Some(Err(_)) => line(text),
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to show what moves; events go to it from now on.
pub fn begin(moving: Box<dyn Moving>) {
    hand_over(Item::Begin(moving));
}

/// Shows an event where something moves.
pub fn show(event: &Event) {
    if matches!(event, Event::Progress { .. } | Event::Recording { .. } | Event::Capturing { .. }) {
        hand_over(Item::Event(event.clone()));
    }
}

/// Takes what moves off the terminal.
pub fn end() {
    if let Some(Some(queue)) = QUEUE.get() {
        // Fails when the thread is gone, which leaves nothing to take off.
        let _ = queue.send(Item::End);
    }
}

/// Returns once everything is written that was said before.
pub fn flush() {
    // Nobody has said anything where there is none yet.
    if let Some(Some(queue)) = QUEUE.get() {
        let (written, heard) = sync_channel(1);
        if queue.send(Item::Flush(written)).is_ok() {
            let _ = heard.recv();
        }
    }
}

fn write(items: &Receiver<Item>) {
    let mut moving: Option<Box<dyn Moving>> = None;
    while let Ok(item) = items.recv() {
        match item {
            Item::Text(text) => {
                let mut print = || line(&text);
                match &mut moving {
                    Some(moving) => moving.aside(&mut print),
                    None => print(),
                }
            }
            Item::Begin(begun) => moving = Some(begun),
            Item::Event(event) => moving.iter_mut().for_each(|moving| moving.show(&event)),
            Item::End => moving.take().into_iter().for_each(|mut moving| moving.finish()),
            Item::Flush(written) => {
                // Whoever waited may have given up.
                let _ = written.send(());
            }
        }
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            line(&format!("{dropped} lines are left out: they were read too slowly"));
        }
    }
}

fn line(text: &str) {
    // Nobody is left to be told when stderr fails.
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}
