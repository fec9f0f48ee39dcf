//! What becomes of each file, kept while a transfer runs and reported when it is over, however it ends.

use super::error::{Code, TransferError};
use super::manifest::{Entry, EntryKind, Manifest};
use super::name;
use crate::progress::{Event, Progress};
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What became of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// It was not its turn yet, or it is not whole.
    #[default]
    Incomplete,
    /// It is whole, verified and in its place at the receiver.
    Done,
    /// The receiver did not want it: it has a file of that name.
    Skipped,
    /// It failed.
    Failed,
}

/// One file of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileReport {
    /// Its name as it was sent.
    pub path: String,
    /// The file that was written, where that has another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its hash, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// From where it was sent, when its beginning was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<u64>,
    /// What became of it.
    pub state: FileState,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a transfer did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferReport {
    /// Every file, in the order in which they are sent.
    pub files: Vec<FileReport>,
    /// The sizes of the files that are done, together.
    pub bytes: u64,
    /// Bytes of content that were sent in this run.
    pub bytes_transferred: u64,
    /// Bytes that were there already, of all files together.
    pub resumed_from: u64,
    /// From the first file's beginning to the end.
    pub seconds: f64,
    /// Content sent per second.
    pub bytes_per_second: f64,
}

impl TransferReport {
    /// Both, one after the other.
    pub fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.bytes += other.bytes;
        self.bytes_transferred += other.bytes_transferred;
        self.resumed_from += other.resumed_from;
        self.seconds += other.seconds;
        self.bytes_per_second = if self.seconds > 0.0 { self.bytes_transferred as f64 / self.seconds } else { 0.0 };
    }
}

/// Keeps count.
pub struct Tally {
    progress: Arc<dyn Progress>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    files: Vec<FileReport>,
    failed: Vec<(String, Code)>,
    total: Option<u64>,
    moved: u64,
    resumed: u64,
    done: u64,
    done_bytes: u64,
    began: Option<Instant>,
    ended: Option<Instant>,
    told: Option<Instant>,
    /// The file at hand, and how much of it there is.
    current: usize,
    current_bytes: u64,
}

impl Tally {
    /// Nothing happened yet.
    pub fn new(progress: Arc<dyn Progress>) -> Self {
        Self { progress, state: Mutex::default() }
    }

    /// Whom to tell.
    pub fn progress(&self) -> &Arc<dyn Progress> {
        &self.progress
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be sent is known.
    pub fn expect(&self, manifest: &Manifest) {
        let total = manifest.is_sized().then(|| manifest.bytes());
        let mut state = self.lock();
        state.entries = manifest.entries().to_vec();
        state.files = manifest
            .entries()
            .iter()
            .map(|entry| FileReport { path: entry.path.clone(), size: entry.size, ..FileReport::default() })
            .collect();
        state.total = total;
        drop(state);
        self.progress.event(Event::Offer { files: manifest.files() as u64, bytes: total });
    }

    /// What the receiver does not want is known.
    pub(super) fn plan(&self, skip: &[bool]) {
        let mut state = self.lock();
        state.began = Some(Instant::now());
        let mut skipped = 0;
        for (file, skip) in state.files.iter_mut().zip(skip) {
            if *skip {
                file.state = FileState::Skipped;
                skipped += file.size.unwrap_or(0);
            }
        }
        state.total = state.total.map(|total| total.saturating_sub(skipped));
    }

    pub(super) fn began(&self, file: u32, offset: u64) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(report) = state.files.get_mut(file as usize) else { return };
        report.resumed_from = Some(offset).filter(|offset| *offset > 0);
        state.resumed += offset;
        (state.current, state.current_bytes) = (file as usize, offset);
    }

    /// Content went over the channel, or came.
    pub(super) fn moved(&self, bytes: u64) {
        let mut state = self.lock();
        state.moved += bytes;
        state.current_bytes += bytes;
        let due = state.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if due {
            self.tell(&mut state);
        }
    }

    fn tell(&self, state: &mut State) {
        state.told = Some(Instant::now());
        let file_size = state.files.get(state.current).and_then(|file| file.size);
        self.progress.event(Event::Progress {
            bytes: state.moved + state.resumed,
            total: state.total,
            files: state.done,
            path: state.files.get(state.current).map(|file| file.path.clone()).unwrap_or_default(),
            // A message may carry those of many small files.
            file_bytes: state.current_bytes.min(file_size.unwrap_or(u64::MAX)),
            file_size,
        });
    }

    /// A file's size and hash are known.
    pub(super) fn read(&self, file: u32, size: u64, hash: &blake3::Hash) {
        if let Some(report) = self.lock().files.get_mut(file as usize) {
            report.size = Some(size);
            report.blake3 = Some(hash.to_hex().to_string());
        }
    }

    pub(super) fn wrote_to(&self, file: u32, output: String) {
        if let Some(report) = self.lock().files.get_mut(file as usize) {
            report.output = Some(output);
        }
    }

    /// A file is safe at the receiver.
    pub(super) fn done(&self, file: u32) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(report) = state.files.get_mut(file as usize) else { return };
        if report.state != FileState::Incomplete {
            return;
        }
        report.state = FileState::Done;
        state.done += 1;
        state.done_bytes += report.size.unwrap_or(0);
        let (path, size) = (report.path.clone(), report.size.unwrap_or(0));
        let blake3 = report.blake3.clone().unwrap_or_default();
        self.progress.event(Event::File { path, size, blake3 });
    }

    pub(super) fn failed(&self, file: u32, error: &TransferError) {
        let code = error.code().unwrap_or(Code::Other);
        let mut state = self.lock();
        let Some(report) = state.files.get_mut(file as usize) else { return };
        report.state = FileState::Failed;
        report.error = Some(error.to_string());
        let shown = name::shown(&error.to_string());
        state.failed.push((shown.clone(), code));
        drop(state);
        self.progress.event(Event::Warning { message: shown });
    }

    /// The error of a transfer of which some files failed.
    pub(super) fn verdict(&self) -> Result<(), TransferError> {
        let state = self.lock();
        let files = state.entries.iter().filter(|entry| entry.kind == EntryKind::File).count();
        match state.failed.first() {
            None => Ok(()),
            Some((first, code)) => {
                Err(TransferError::Partial { failed: state.failed.len(), files, first: first.clone(), code: *code })
            }
        }
    }

    /// The clock stops.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended.get_or_insert_with(Instant::now);
        if state.began.is_some() {
            self.tell(&mut state);
        }
    }

    /// What was done so far.
    pub fn report(&self) -> TransferReport {
        let state = self.lock();
        let is_file = |(entry, report): (&Entry, &FileReport)| (entry.kind == EntryKind::File).then(|| report.clone());
        let until = state.ended.unwrap_or_else(Instant::now);
        let seconds = state.began.map_or(0.0, |began| until.saturating_duration_since(began).as_secs_f64());
        TransferReport {
            files: state.entries.iter().zip(&state.files).filter_map(is_file).collect(),
            bytes: state.done_bytes,
            bytes_transferred: state.moved,
            resumed_from: state.resumed,
            seconds,
            bytes_per_second: if seconds > 0.0 { state.moved as f64 / seconds } else { 0.0 },
        }
    }
}
