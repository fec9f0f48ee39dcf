//! The receiver's threads: one writes and hashes what comes, one syncs what is whole and gives it its name.
//!
//! Syncing is slow and gets cheaper by the dozen, so the second thread takes all parts that became whole while it was at the
//! last ones, and some more. Long files are also synced on their way, which spreads the work of the disk and bounds what a power cut
//! can take.

use super::error::{Code, TransferError};
use super::folder::{self, Beginnings, Existing, Part, Target};
use super::journal;
use super::manifest::{Entry, EntryKind};
use super::outcome::Tally;
use super::reader::hash_zeros;
use super::session;
use super::wire::{self, HASH, Kind, Record, Role};
use bytes::Bytes;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Files that may wait for their names, where as many may be open.
const UNNAMED: usize = 1024;
/// How long the first of them waits for others to be synced with: syncs are what many small files wait for.
const TOGETHER: Duration = Duration::from_millis(100);
/// Bytes of a long file between two syncs on the way.
const SYNC_EVERY: u64 = 16 << 20;
/// Bytes of content between two reports to the sender, as long as there is so much time between them too; and at most, which is
/// the least that a sender may run ahead.
const TELL_EVERY: u64 = 256 << 10;
const LEAST_PAUSE: Duration = Duration::from_millis(4);
const MOST_UNTOLD: u64 = 1 << 20;

/// What the threads tell.
pub(super) enum Written {
    /// Bytes of content that were taken, since the beginning.
    Taken(u64),
    /// Files that are safe.
    Done(Vec<u32>),
    /// It is over.
    Over(Result<(), TransferError>),
}

/// Where content goes.
pub(super) enum Place {
    /// Into files.
    Files(Vec<Target>),
    /// The one file of the manifest, into a stream.
    Stream(Box<dyn Write + Send>),
}

/// What the writing thread needs to know.
pub(super) struct Job {
    pub entries: Vec<Entry>,
    pub place: Place,
    pub root: Option<PathBuf>,
    pub existing: Existing,
    pub tally: Arc<Tally>,
}

/// Writes the messages that come until everything is done, or until none come any more. Blocks.
pub(super) fn run(job: Job, messages: mpsc::Receiver<Bytes>, told: mpsc::Sender<Written>) {
    let over = Writer::new(job, told.clone()).and_then(|writer| writer.run(messages));
    // Nobody is left to be told when this fails.
    let _ = told.blocking_send(Written::Over(over));
}

/// A file that is being received.
struct Current {
    file: u32,
    offset: u64,
    hasher: blake3::Hasher,
    sink: Sink,
    synced: u64,
}

enum Sink {
    Part(Part),
    /// It is there already, if its hash is right.
    Whole(PathBuf, blake3::Hash),
    Stream,
}

struct Writer {
    entries: Vec<Entry>,
    targets: Vec<Target>,
    stream: Option<Box<dyn Write + Send>>,
    existing: Existing,
    tally: Arc<Tally>,
    told: mpsc::Sender<Written>,
    current: Option<Current>,
    /// Files before this one are over.
    next: u32,
    sequence: u64,
    taken: u64,
    taken_told: u64,
    told_at: Instant,
    left: usize,
    whole: Vec<u32>,
    syncer: Option<SyncSender<(File, File, u64)>>,
    finisher: Option<SyncSender<Whole>>,
    threads: Vec<JoinHandle<Result<(), TransferError>>>,
    made: Vec<(PathBuf, usize)>,
}

/// A part that is verified.
struct Whole {
    file: u32,
    part: Part,
}

impl Writer {
    fn new(job: Job, told: mpsc::Sender<Written>) -> Result<Self, TransferError> {
        let Job { entries, place, root, existing, tally } = job;
        let (targets, stream) = match place {
            Place::Files(targets) => (targets, None),
            Place::Stream(stream) => (Vec::new(), Some(stream)),
        };
        if let Some(root) = root {
            fs::create_dir(&root).map_err(TransferError::write(root))?;
        }
        let wanted =
            |index: usize| entries[index].kind == EntryKind::File && !matches!(targets.get(index), Some(Target::Skip));
        let left = (0..entries.len()).filter(|index| wanted(*index)).count();
        let mut writer = Self {
            entries,
            targets,
            stream,
            existing,
            tally,
            told,
            current: None,
            next: 0,
            sequence: 0,
            taken: 0,
            taken_told: 0,
            told_at: Instant::now(),
            left,
            whole: Vec::new(),
            syncer: None,
            finisher: None,
            threads: Vec::new(),
            made: Vec::new(),
        };
        writer.make_folders()?;
        writer.start_finisher()?;
        Ok(writer)
    }

    fn make_folders(&mut self) -> Result<(), TransferError> {
        for (index, target) in self.targets.iter().enumerate() {
            let Target::Folder(path) = target else { continue };
            match fs::create_dir_all(path) {
                Ok(()) => self.made.push((path.clone(), index)),
                Err(error) => return Err(TransferError::write(path)(error)),
            }
        }
        Ok(())
    }

    fn start_finisher(&mut self) -> Result<(), TransferError> {
        let most = most_unnamed();
        let (sender, parts) = sync_channel(most);
        let (existing, told, tally) = (self.existing, self.told.clone(), Arc::clone(&self.tally));
        let thread = std::thread::Builder::new().name("transfer-finish".to_owned());
        let thread = thread.spawn(move || finish(&parts, most, existing, &tally, &told));
        self.threads.push(thread.map_err(|_| TransferError::Internal("cannot start the finishing thread"))?);
        self.finisher = Some(sender);
        Ok(())
    }

    fn run(mut self, mut messages: mpsc::Receiver<Bytes>) -> Result<(), TransferError> {
        let mut written = Ok(());
        while self.left > 0 && written.is_ok() {
            let Some(message) = messages.blocking_recv() else { break };
            written = self.message(message);
        }
        // No more is taken: whoever still sends must not wait for us.
        drop(messages);
        let complete = self.left == 0;
        if let Some(Current { sink: Sink::Part(part), .. }) = self.current.take() {
            let spoilt = matches!(written, Err(TransferError::Hash { .. }));
            part.abandon(!spoilt);
        }
        let finished = self.finish_threads();
        written.and(finished)?;
        if !complete {
            return Err(TransferError::Closed);
        }
        if let Some(stream) = &mut self.stream {
            stream.flush().map_err(TransferError::write("-"))?;
        }
        self.tell_whole();
        // What is in a folder changes its time, so folders come last, the inner ones first.
        for (path, index) in self.made.iter().rev() {
            let time = self.entries[*index].modified.and_then(super::manifest::Modified::to_system);
            if let (Some(time), Ok(folder)) = (time, File::open(path)) {
                // The time of a folder is a nicety.
                let _ = folder.set_modified(time);
            }
        }
        let _ = self.told.blocking_send(Written::Taken(self.taken));
        Ok(())
    }

    fn finish_threads(&mut self) -> Result<(), TransferError> {
        (self.finisher, self.syncer) = (None, None);
        let mut finished = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().unwrap_or(Err(TransferError::Internal("a writing thread panicked")));
            finished = finished.and(ended);
        }
        finished
    }

    fn message(&mut self, mut message: Bytes) -> Result<(), TransferError> {
        let sequence = wire::take_sequence(&mut message)?;
        if sequence != self.sequence {
            return Err(TransferError::protocol("a message is missing or came twice"));
        }
        self.sequence += 1;
        while let Some(record) = wire::take_record(&mut message)? {
            self.record(record)?;
        }
        let untold = self.taken - self.taken_told;
        if untold >= MOST_UNTOLD || untold >= TELL_EVERY && self.told_at.elapsed() >= LEAST_PAUSE {
            (self.taken_told, self.told_at) = (self.taken, Instant::now());
            // When nobody looks, the next one says it all.
            let _ = self.told.try_send(Written::Taken(self.taken));
        }
        if self.whole.len() >= 256 {
            self.tell_whole();
        }
        Ok(())
    }

    fn tell_whole(&mut self) {
        if !self.whole.is_empty() {
            let _ = self.told.blocking_send(Written::Done(std::mem::take(&mut self.whole)));
        }
    }

    fn record(&mut self, record: Record) -> Result<(), TransferError> {
        let Record { kind, file, offset, payload } = record;
        match kind {
            Kind::Start => self.begin(file, offset),
            Kind::Data => {
                let length = payload.len() as u64;
                self.at(file, offset, length)?;
                self.write(&payload)?;
                self.taken += length;
                self.tally.moved(length);
                self.sync_on_the_way()
            }
            Kind::Hole => {
                let length = payload.as_ref().try_into().map(u64::from_be_bytes);
                let length = length.map_err(|_| TransferError::protocol("a hole without a length"))?;
                self.at(file, offset, length)?;
                self.skip(length)
            }
            Kind::End => {
                let hash: [u8; HASH] =
                    payload.as_ref().try_into().map_err(|_| TransferError::protocol("an end without a hash"))?;
                self.at(file, offset, 0)?;
                self.end(offset, &hash.into())
            }
            Kind::Fail => self.fail(file, &payload),
        }
    }

    /// Files come one after the other in the order of the manifest.
    fn check_turn(&self, file: u32) -> Result<(), TransferError> {
        if self.entries.get(file as usize).is_none_or(|entry| entry.kind != EntryKind::File) {
            return Err(TransferError::protocol("content of a file that is not in the list"));
        }
        if file < self.next || matches!(self.targets.get(file as usize), Some(Target::Skip)) {
            return Err(TransferError::protocol("content of a file that is over or was not asked for"));
        }
        Ok(())
    }

    /// Begins a file at `offset`.
    fn begin(&mut self, file: u32, offset: u64) -> Result<(), TransferError> {
        self.check_turn(file)?;
        let entry = &self.entries[file as usize];
        if self.current.is_some() {
            return Err(TransferError::protocol("a file begins before the last one is over"));
        }
        let wrong = || TransferError::protocol("a file goes on from where it was not asked to");
        let fresh = || (blake3::Hasher::new(), 0);
        let ((hasher, synced), sink) = match self.targets.get_mut(file as usize) {
            None => ((fresh()), Sink::Stream),
            Some(Target::File(path, beginnings)) => match std::mem::take(beginnings) {
                Beginnings::Whole(hash) if Some(offset) == entry.size => (fresh(), Sink::Whole(path.clone(), hash)),
                Beginnings::Whole(_) if offset == 0 && self.existing == Existing::Refuse => {
                    return Err(TransferError::Exists { path: path.clone() });
                }
                Beginnings::Part(parts) if offset > 0 => {
                    let found = parts.into_iter().find(|(at, _)| *at == offset);
                    let (_, hasher) = found.ok_or_else(wrong)?;
                    ((hasher, offset), Sink::Part(Part::open(path, entry, offset, self.existing)?))
                }
                _ if offset == 0 => (fresh(), Sink::Part(open_fresh(path, entry, self.existing)?)),
                _ => return Err(wrong()),
            },
            Some(_) => return Err(wrong()),
        };
        if offset > 0 && matches!(sink, Sink::Stream) {
            return Err(wrong());
        }
        self.tally.began(file, offset);
        self.current = Some(Current { file, offset, hasher, sink, synced });
        self.next = file;
        Ok(())
    }

    /// Sees to it that what comes belongs at the end of the current file, which begins here if it has not yet.
    fn at(&mut self, file: u32, offset: u64, length: u64) -> Result<(), TransferError> {
        if self.current.is_none() {
            self.begin(file, 0)?;
        }
        let current = self.current.as_ref().ok_or(TransferError::Internal("no file was begun"))?;
        let end = offset.checked_add(length);
        let size = self.entries[file.min(current.file) as usize].size;
        if current.file != file || current.offset != offset || end.is_none() {
            return Err(TransferError::protocol("content comes out of its order"));
        }
        if size.is_some() && end > size {
            return Err(TransferError::protocol("a file is longer than it was said to be"));
        }
        Ok(())
    }

    fn current(&mut self) -> Result<&mut Current, TransferError> {
        self.current.as_mut().ok_or(TransferError::Internal("no file was begun"))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let stream = self.stream.as_mut();
        let current = self.current.as_mut().ok_or(TransferError::Internal("no file was begun"))?;
        current.hasher.update(bytes);
        current.offset += bytes.len() as u64;
        match (&current.sink, stream) {
            (Sink::Part(part), _) => (&part.file).write_all(bytes).map_err(TransferError::write(part.name())),
            (Sink::Stream, Some(stream)) => {
                stream.write_all(bytes).and_then(|()| stream.flush()).map_err(TransferError::write("-"))
            }
            _ => Err(TransferError::protocol("content of a file that is whole")),
        }
    }

    fn skip(&mut self, length: u64) -> Result<(), TransferError> {
        if matches!(self.current()?.sink, Sink::Stream) {
            const BLOCK: [u8; 16 << 10] = [0; 16 << 10];
            let mut left = length;
            while left > 0 {
                let part = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK.len());
                self.write(&BLOCK[..part])?;
                left -= part as u64;
            }
            return Ok(());
        }
        let current = self.current()?;
        let Sink::Part(part) = &current.sink else {
            return Err(TransferError::protocol("content of a file that is whole"));
        };
        hash_zeros(&mut current.hasher, length);
        current.offset += length;
        let grow = || -> io::Result<()> {
            part.file.set_len(current.offset)?;
            (&part.file).seek(SeekFrom::Start(current.offset)).map(drop)
        };
        grow().map_err(TransferError::write(part.name()))
    }

    /// Has a long file synced by now and then, if the last time is over.
    fn sync_on_the_way(&mut self) -> Result<(), TransferError> {
        let current = self.current.as_mut().ok_or(TransferError::Internal("no file was begun"))?;
        let Sink::Part(part) = &current.sink else { return Ok(()) };
        let Some(journal) = part.journal().filter(|_| current.offset >= current.synced + SYNC_EVERY) else {
            return Ok(());
        };
        let (Ok(file), Ok(journal)) = (part.file.try_clone(), journal.try_clone()) else { return Ok(()) };
        current.synced = current.offset;
        let offset = current.offset;
        if self.syncer.is_none() {
            let (sender, jobs) = sync_channel::<(File, File, u64)>(1);
            let thread = std::thread::Builder::new().name("transfer-sync".to_owned());
            let thread = thread.spawn(move || {
                for (file, mut journal, offset) in jobs {
                    // What fails here fails again when the file is finished.
                    if file.sync_data().is_ok() {
                        let _ = journal::synced(&mut journal, offset);
                    }
                }
                Ok(())
            });
            self.threads.push(thread.map_err(|_| TransferError::Internal("cannot start the syncing thread"))?);
            self.syncer = Some(sender);
        }
        if let Some(syncer) = &self.syncer {
            // A disk that is still at the last sync needs no other.
            let _ = syncer.try_send((file, journal, offset));
        }
        Ok(())
    }

    fn end(&mut self, size: u64, expected: &blake3::Hash) -> Result<(), TransferError> {
        let current = self.current()?;
        let (file, hash) = (current.file, current.hasher.finalize());
        let entry = &self.entries[file as usize];
        if entry.size.is_some_and(|said| said != size) {
            return Err(TransferError::protocol("a file is shorter than it was said to be"));
        }
        let hash = match self.current.as_ref().map(|current| &current.sink) {
            Some(Sink::Whole(_, there)) => *there,
            _ => hash,
        };
        if hash != *expected {
            return Err(TransferError::Hash { path: super::name::shown(&entry.path) });
        }
        self.tally.read(file, size, &hash);
        self.next = file + 1;
        self.left -= 1;
        match self.current.take().map(|current| current.sink) {
            Some(Sink::Part(part)) => {
                part.dress(entry)?;
                let finisher = self.finisher.as_ref().ok_or(TransferError::Internal("no finishing thread"))?;
                // A finisher that is gone has failed, and says why when it is joined.
                finisher.send(Whole { file, part }).map_err(|_| TransferError::Closed).or_else(|error| {
                    self.finish_threads()?;
                    Err(error)
                })
            }
            Some(Sink::Whole(path, _)) => {
                folder::tidy(&path, entry);
                self.tally.wrote_to(file, path.display().to_string());
                self.whole.push(file);
                self.tally.done(file);
                Ok(())
            }
            _ => {
                self.tally.wrote_to(file, "-".to_owned());
                self.whole.push(file);
                self.tally.done(file);
                Ok(())
            }
        }
    }

    fn fail(&mut self, file: u32, payload: &[u8]) -> Result<(), TransferError> {
        self.check_turn(file)?;
        let text = String::from_utf8_lossy(payload);
        let (code, message) = text.split_once('\n').unwrap_or((&text, ""));
        let code: Code = serde_json::from_value(code.into()).unwrap_or(Code::Other);
        let error = session::of_file(Role::Receiver, code, message);
        match self.current.take() {
            Some(current) if current.file != file => {
                return Err(TransferError::protocol("a file fails out of its order"));
            }
            Some(Current { sink: Sink::Part(part), .. }) => part.abandon(code != Code::Changed),
            Some(Current { sink: Sink::Stream, .. }) => return Err(error),
            _ => {}
        }
        self.tally.failed(file, &error);
        self.next = file + 1;
        self.left -= 1;
        Ok(())
    }
}

/// Opens a part at its beginning, in a folder that may not be there yet.
fn open_fresh(path: &std::path::Path, entry: &Entry, existing: Existing) -> Result<Part, TransferError> {
    match Part::open(path, entry, 0, existing) {
        Err(TransferError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(TransferError::write(folder))?;
            }
            Part::open(path, entry, 0, existing)
        }
        opened => opened,
    }
}

/// How many files may wait: as many are in a queue, and as many are being synced, and others shall be opened as well.
fn most_unnamed() -> usize {
    #[cfg(unix)]
    if let Some(files) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        return usize::try_from(files / 4).unwrap_or(UNNAMED).clamp(1, UNNAMED);
    }
    UNNAMED
}

/// Syncs parts and gives them their names, as many at once as there are.
fn finish(
    parts: &Receiver<Whole>,
    most: usize,
    existing: Existing,
    tally: &Tally,
    told: &mpsc::Sender<Written>,
) -> Result<(), TransferError> {
    while let Ok(first) = parts.recv() {
        let mut batch = vec![first];
        let until = Instant::now() + TOGETHER;
        // When there will be no more, it waits no longer.
        while batch.len() < most
            && let Ok(next) = parts.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            batch.push(next);
        }
        folder::sync(&batch.iter().map(|whole| &whole.part).collect::<Vec<_>>())?;
        let mut named = HashMap::new();
        for Whole { file, part } in batch {
            named.insert(file, part.publish(existing)?);
        }
        folder::sync_folders(named.values());
        let mut files: Vec<u32> = named.keys().copied().collect();
        files.sort_unstable();
        for file in &files {
            tally.wrote_to(*file, named[file].display().to_string());
            tally.done(*file);
        }
        // The engine is gone when it failed; the files are safe all the same.
        let _ = told.blocking_send(Written::Done(files));
    }
    Ok(())
}
