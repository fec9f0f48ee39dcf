//! The sender's thread: reads files, hashes them and makes binary messages of them.
//!
//! Content is read straight into the message that carries it, and hashed there. Small files share a message, so that ten
//! thousand of them cost no more messages than their bytes do.

use super::error::{Code, TransferError};
use super::keeper::{Opened, Origin};
use super::manifest::{Entry, EntryKind};
use super::source::Source;
use super::wire::{self, HASH, HEADER, Have, Kind, SEQUENCE};
use bytes::BufMut;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Bytes that are read at once where nothing is sent.
const BLOCK: usize = 1 << 20;
/// Bytes of a file that are rather read again than kept: so many that few files are open for it.
const WORTH_READING_AGAIN: usize = 32 << 10;

/// Messages of files that are handed on together: each time that may wake the one who sends them.
const TOGETHER: usize = 4;

/// A message that the reader hands on.
pub(super) struct Produced {
    pub message: Vec<u8>,
    /// Where its content can be had again.
    pub origin: Option<Origin>,
    /// Bytes of content in it.
    pub content: u64,
    /// What became of the files in it.
    pub happened: Vec<Happened>,
}

/// What became of a file.
pub(super) enum Happened {
    /// It begins, with its id, and the offset from where it is sent.
    Began(u32, u64),
    /// It was read to its end: id, size, hash.
    Ended(u32, u64, blake3::Hash),
    /// It could not be read to its end.
    Failed(u32, TransferError),
}

/// What is to be read, and how.
pub(super) struct Plan {
    pub entries: Vec<Entry>,
    pub places: Vec<Source>,
    pub skip: Vec<bool>,
    pub have: HashMap<u32, Vec<Have>>,
    /// Bytes of content in one message.
    pub chunk: usize,
    /// Bytes of a message.
    pub most: usize,
}

/// The receiving end is gone: nobody wants more.
struct Gone;

/// Why a file ended early.
enum Ended {
    Gone,
    Failed(TransferError),
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<TransferError> for Ended {
    fn from(error: TransferError) -> Self {
        Self::Failed(error)
    }
}

/// Reads everything that is asked for, in order, until the end or until nobody takes it. Blocks.
pub(super) fn run(plan: Plan, sender: mpsc::Sender<Vec<Produced>>) {
    let Plan { entries, places, skip, have, chunk, most } = plan;
    let mut reader = Reader { messages: Messages::new(sender, most), chunk };
    for (id, (entry, place)) in entries.iter().zip(places).enumerate() {
        let Ok(id) = u32::try_from(id) else { return };
        if entry.kind == EntryKind::Folder || skip[id as usize] {
            continue;
        }
        let have = have.get(&id).map_or(&[][..], Vec::as_slice);
        let ended = match place {
            Source::Folder => continue,
            Source::File(path) => reader.file(id, entry, &path, have),
            Source::Stream(stream) => reader.stream(id, entry, stream),
        };
        match ended {
            Ok(()) => {}
            Err(Ended::Gone) => return,
            Err(Ended::Failed(error)) => {
                if reader.fail(id, error).is_err() {
                    return;
                }
            }
        }
    }
    // Nobody is left to be told when this fails.
    let _ = reader.messages.hand_on();
}

/// Binary messages in the making.
struct Messages {
    sender: mpsc::Sender<Vec<Produced>>,
    /// Those that are made.
    ready: Vec<Produced>,
    message: Vec<u8>,
    origin: Option<Origin>,
    content: u64,
    happened: Vec<Happened>,
    sequence: u64,
    most: usize,
}

impl Messages {
    fn new(sender: mpsc::Sender<Vec<Produced>>, most: usize) -> Self {
        Self {
            sender,
            ready: Vec::new(),
            message: Vec::new(),
            origin: None,
            content: 0,
            happened: Vec::new(),
            sequence: 0,
            most,
        }
    }

    fn flush(&mut self) -> Result<(), Gone> {
        if self.message.len() <= SEQUENCE {
            return Ok(());
        }
        let message = std::mem::take(&mut self.message);
        let origin = self.origin.take();
        let content = std::mem::take(&mut self.content);
        let happened = std::mem::take(&mut self.happened);
        self.ready.push(Produced { message, origin, content, happened });
        if self.ready.len() < TOGETHER { Ok(()) } else { self.send() }
    }

    /// Finishes the message that is being made, and hands on all that are.
    fn hand_on(&mut self) -> Result<(), Gone> {
        self.flush()?;
        if self.ready.is_empty() { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Result<(), Gone> {
        self.sender.blocking_send(std::mem::take(&mut self.ready)).map_err(|_| Gone)
    }

    /// Makes room for a record with `length` bytes of payload in the message that is being made; one that it begins holds `most`.
    fn reserve(&mut self, length: usize, most: usize) -> Result<(), Gone> {
        if self.message.len() > SEQUENCE && self.message.len() + HEADER + length > self.most {
            self.flush()?;
        }
        if self.message.is_empty() {
            self.message.reserve_exact(most);
            self.message.put_u64(self.sequence);
            self.sequence += 1;
        }
        Ok(())
    }

    fn record(&mut self, kind: Kind, file: u32, offset: u64, payload: &[u8]) -> Result<(), Gone> {
        self.reserve(payload.len(), self.most)?;
        let length = u32::try_from(payload.len()).expect("a payload fits into a message");
        wire::put_header(&mut self.message, kind, file, offset, length);
        self.message.put_slice(payload);
        Ok(())
    }

    /// Has up to `length` bytes of content appended to the message by `read` and hashes them; one that it begins holds `most`.
    /// Gives what was read; 0 at the end.
    fn content(
        &mut self,
        read: impl FnOnce(&mut Vec<u8>, usize) -> io::Result<usize>,
        place: (u32, u64),
        (length, most): (usize, usize),
        hasher: &mut blake3::Hasher,
    ) -> Result<io::Result<usize>, Gone> {
        self.reserve(length, most)?;
        let header = self.message.len();
        wire::put_header(&mut self.message, Kind::Data, place.0, place.1, 0);
        let begin = self.message.len();
        let read = read(&mut self.message, length);
        let count = *read.as_ref().unwrap_or(&0);
        if count == 0 {
            self.message.truncate(header);
        } else {
            let length = u32::try_from(count).expect("a payload fits into a message");
            self.message[begin - 4..begin].copy_from_slice(&length.to_be_bytes());
            hasher.update(&self.message[begin..]);
            self.content += count as u64;
        }
        Ok(read)
    }
}

/// Appends up to `length` bytes as `read` gives them.
fn append<R: Read>(
    input: &mut R,
    read: fn(&mut R, &mut [u8]) -> io::Result<usize>,
    message: &mut Vec<u8>,
    length: usize,
) -> io::Result<usize> {
    let begin = message.len();
    message.resize(begin + length, 0);
    let read = read(input, &mut message[begin..]);
    message.truncate(begin + *read.as_ref().unwrap_or(&0));
    read
}

/// Appends up to `length` bytes of a file; where that is all the message has room for, without clearing it before.
fn append_file(file: &mut &File, message: &mut Vec<u8>, length: usize) -> io::Result<usize> {
    #[cfg(unix)]
    if message.capacity() - message.len() == length {
        let begin = message.len();
        while message.len() < message.capacity() {
            match rustix::io::read(*file, rustix::buffer::spare_capacity(message)) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) if message.len() > begin => break,
                Err(error) => return Err(error.into()),
            }
        }
        return Ok(message.len() - begin);
    }
    append(file, read_full, message, length)
}

/// Fills `buffer` as far as the input goes.
fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What was read before is told first; the error comes again.
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What the input has by now, however little it is.
fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

struct Reader {
    messages: Messages,
    chunk: usize,
}

impl Reader {
    fn fail(&mut self, id: u32, error: TransferError) -> Result<(), Gone> {
        let code = serde_json::to_value(error.code().unwrap_or(Code::Other)).unwrap_or_default();
        let mut text = format!("{}\n{error}", code.as_str().unwrap_or("other"));
        while text.len() > 1024 {
            text.pop();
        }
        self.messages.record(Kind::Fail, id, 0, text.as_bytes())?;
        self.messages.happened.push(Happened::Failed(id, error));
        Ok(())
    }

    fn end(&mut self, id: u32, size: u64, hasher: &blake3::Hasher) -> Result<(), Gone> {
        let hash = hasher.finalize();
        self.messages.record(Kind::End, id, size, hash.as_bytes())?;
        self.messages.happened.push(Happened::Ended(id, size, hash));
        Ok(())
    }

    fn stream(&mut self, id: u32, entry: &Entry, mut stream: Box<dyn Read + Send>) -> Result<(), Ended> {
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        self.messages.happened.push(Happened::Began(id, 0));
        loop {
            let read = |message: &mut Vec<u8>, length| append(&mut stream, read_some, message, length);
            let room = (self.chunk, self.messages.most);
            let read = self.messages.content(read, (id, offset), room, &mut hasher)?;
            match read.map_err(TransferError::read(&entry.path))? {
                0 => break,
                count => offset += count as u64,
            }
            // Whoever pipes something in may wait for it to arrive.
            self.messages.hand_on()?;
        }
        Ok(self.end(id, offset, &hasher)?)
    }

    fn file(&mut self, id: u32, entry: &Entry, path: &Path, have: &[Have]) -> Result<(), Ended> {
        let changed = |why| TransferError::Changed { path: entry.path.clone(), why };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(changed("removed").into()),
            Err(error) => return Err(TransferError::read(path)(error).into()),
        };
        let (name, path, modified) = (entry.path.clone(), path.to_owned(), entry.modified);
        let opened = Arc::new(Opened { file, name, path, size: entry.size, modified });
        let (mut file, path) = (&opened.file, &opened.path);
        opened.unchanged()?;
        let size = entry.size.unwrap_or(0);
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        if !have.is_empty() {
            (offset, hasher) = match beginning(&mut file, size, have).map_err(TransferError::read(path))? {
                Some(found) => found,
                None => return Err(changed("changed").into()),
            };
            self.messages.record(Kind::Start, id, offset, &[])?;
        }
        file.seek(SeekFrom::Start(offset)).map_err(TransferError::read(path))?;
        self.messages.happened.push(Happened::Began(id, offset));
        let mut data_end = if entry.allocated.is_some() { offset } else { size };
        while offset < size {
            if offset >= data_end {
                let hole;
                (hole, data_end) = next_data(file, offset, size).map_err(TransferError::read(path))?;
                if hole > 0 {
                    self.messages.record(Kind::Hole, id, offset, &hole.to_be_bytes())?;
                    hash_zeros(&mut hasher, hole);
                    offset += hole;
                    continue;
                }
            }
            let length = usize::try_from(data_end - offset).unwrap_or(usize::MAX).min(self.chunk);
            let mut most = self.messages.most;
            if length == self.chunk {
                // A full chunk goes alone, so that it is written at a whole block at the other end.
                self.messages.flush()?;
                if offset + (length as u64) < data_end {
                    most = SEQUENCE + HEADER + length;
                }
            }
            let read = |message: &mut Vec<u8>, length| append_file(&mut file, message, length);
            let read = self.messages.content(read, (id, offset), (length, most), &mut hasher)?;
            let count = match read.map_err(TransferError::read(path))? {
                0 => return Err(changed("cut short").into()),
                count => count,
            };
            if cfg!(unix) && count >= WORTH_READING_AGAIN {
                let end = self.messages.message.len();
                self.messages.origin = Some(Origin { file: Arc::clone(&opened), offset, place: end - count..end });
            }
            offset += count as u64;
        }
        opened.unchanged()?;
        Ok(self.end(id, size, &hasher)?)
    }
}

/// The longest of the beginnings that the receiver has which is one of ours, and its hash so far; offset 0 when none is.
/// `None` when the file ends before its size.
fn beginning(file: &mut &File, size: u64, have: &[Have]) -> io::Result<Option<(u64, blake3::Hasher)>> {
    let mut wanted: Vec<&Have> = have.iter().filter(|have| have.offset > 0 && have.offset <= size).collect();
    wanted.sort_by_key(|have| have.offset);
    let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
    let mut best = (0, blake3::Hasher::new());
    let mut block = vec![0; BLOCK];
    for have in wanted {
        while at < have.offset {
            let length = usize::try_from(have.offset - at).unwrap_or(BLOCK).min(BLOCK);
            let count = read_full(file, &mut block[..length])?;
            if count == 0 {
                return Ok(None);
            }
            hasher.update(&block[..count]);
            at += count as u64;
        }
        if blake3::Hash::from_hex(&have.blake3).is_ok_and(|hash| hash == hasher.finalize()) {
            best = (at, hasher.clone());
        }
    }
    Ok(Some(best))
}

/// The length of the hole at `offset`, and where the data behind it end. Leaves the file at the data.
#[cfg(unix)]
fn next_data(mut file: &File, offset: u64, size: u64) -> io::Result<(u64, u64)> {
    use rustix::fs::SeekFrom as Position;
    let data = match rustix::fs::seek(file, Position::Data(offset)) {
        Ok(data) => data.min(size),
        // Nothing but a hole until the end.
        Err(rustix::io::Errno::NXIO) => size,
        Err(rustix::io::Errno::INVAL) => offset,
        Err(error) => return Err(error.into()),
    };
    let end = match rustix::fs::seek(file, Position::Hole(data)) {
        Ok(end) if end > data => end.min(size),
        _ => size,
    };
    file.seek(SeekFrom::Start(data))?;
    Ok((data - offset, end))
}

#[cfg(not(unix))]
fn next_data(_file: &File, _offset: u64, size: u64) -> io::Result<(u64, u64)> {
    Ok((0, size))
}

/// Hashes a hole.
pub(super) fn hash_zeros(hasher: &mut blake3::Hasher, mut length: u64) {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while length > 0 {
        let part = usize::try_from(length).unwrap_or(usize::MAX).min(ZEROS.len());
        hasher.update(&ZEROS[..part]);
        length -= part as u64;
    }
}

/// How many bytes of content fit into a message of `most` bytes: whole blocks of a disk where there is room for one.
pub(super) fn chunk_for(most: usize) -> usize {
    const BEST: usize = 64 << 10;
    let room = most.saturating_sub(SEQUENCE + HEADER).max(1);
    match room {
        BEST.. => BEST,
        4096.. => room & !4095,
        _ => room,
    }
}

/// The least that a message must hold.
pub(super) const LEAST_MESSAGE: usize = SEQUENCE + HEADER + 1024 + HASH;
