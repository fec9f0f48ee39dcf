//! From encoded tracks to the output: one thread per track takes what its encoder gives and writes it, one at a time.
//!
//! With a pattern for names each slice of time gets a file of its own, which begins with a key frame and so plays alone.
//! What belongs before the cut goes into the old file, whichever track it comes by; that is completed once all are past it.

use super::lockstep::Lockstep;
use super::report::Chunk;
use crate::error::Error;
use crate::media::{AudioFrame, EncodedFrame, EncoderControl, MediaKind, MediaTime};
use crate::pipeline::Timed;
use crate::pipeline::queue::{Item, Receiver};
use crate::progress::{Event, Progress};
use crate::record::{ChunkPattern, Existing, Layout, Recorded, Recorder, Target};
use crate::stop::Stop;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a frame costs besides its bytes: its head, a cluster of its own, and a cue.
const FRAME_BYTES: u64 = 128;
/// A track that gives nothing does not keep an old file open for longer than this.
const WAIT_FOR_OTHERS: MediaTime = MediaTime::from_micros(1_000_000);

/// How the output is cut.
pub(super) struct Slicing {
    /// The length of a slice.
    pub timeslice: Option<Duration>,
    /// A file for each.
    pub pattern: Option<ChunkPattern>,
}

/// What the threads of a recording share.
pub(super) struct Writing {
    writer: Mutex<Writer>,
    lockstep: Option<Lockstep>,
    max_bytes: Option<u64>,
    full: AtomicBool,
    video_frames: AtomicU64,
    bytes: AtomicU64,
    micros: AtomicU64,
    progress: Arc<dyn Progress>,
}

/// How a recording is going.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    /// Its length so far.
    pub seconds: f64,
    /// Its size so far.
    pub bytes: u64,
    /// Pictures so far.
    pub video_frames: u64,
}

/// What a recording became.
#[derive(Default)]
pub(super) struct Written {
    /// The one file, or none if it failed.
    pub recording: Option<Recorded>,
    /// The files, where there are several.
    pub chunks: Vec<Chunk>,
}

/// Frames that can be recorded.
pub(super) trait Recordable: Item + Timed {
    fn kind(&self) -> MediaKind;
    fn bytes(&self) -> usize;
    fn write(&self, recorder: &mut Recorder, track: usize) -> Result<(), Error>;
}

impl Recordable for EncodedFrame {
    fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    fn bytes(&self) -> usize {
        self.data.len()
    }

    fn write(&self, recorder: &mut Recorder, track: usize) -> Result<(), Error> {
        recorder.write(track, self)
    }
}

impl Recordable for AudioFrame {
    fn kind(&self) -> MediaKind {
        MediaKind::Audio
    }

    fn bytes(&self) -> usize {
        self.samples.len() * 2
    }

    fn write(&self, recorder: &mut Recorder, _: usize) -> Result<(), Error> {
        recorder.write_samples(self)
    }
}

struct Part {
    recorder: Recorder,
    /// The time at which it begins.
    cut: MediaTime,
}

struct Writer {
    layout: Layout,
    existing: Existing,
    slicing: Slicing,
    has_video: bool,
    control: Arc<EncoderControl>,
    /// Away once it failed or is finished.
    current: Option<Part>,
    previous: Option<Part>,
    /// Of each track: how far it is; `None` at its end.
    reached: Vec<Option<MediaTime>>,
    begin: Option<MediaTime>,
    /// Slices that are over.
    slices: u32,
    asked_for_key: bool,
    /// Files that were begun.
    files: u64,
    chunks: Vec<Chunk>,
    chunk_bytes: u64,
    /// Where the running slice of the one file began.
    slice_offset: u64,
    slice_time: MediaTime,
}

impl Writing {
    /// Opens the output; a file for the first slice, where there are several.
    pub(super) fn create(
        layout: Layout,
        target: Option<Target>,
        existing: Existing,
        slicing: Slicing,
        facts: Facts,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, Error> {
        let Facts { tracks, has_video, in_step, max_bytes, control } = facts;
        let mut writer = Writer {
            layout,
            existing,
            slicing,
            has_video,
            control,
            current: None,
            previous: None,
            reached: vec![Some(MediaTime::ZERO); tracks],
            begin: None,
            slices: 0,
            asked_for_key: false,
            files: 0,
            chunks: Vec::new(),
            chunk_bytes: 0,
            slice_offset: 0,
            slice_time: MediaTime::ZERO,
        };
        let recorder = writer.open(target)?;
        writer.current = Some(Part { recorder, cut: MediaTime::ZERO });
        Ok(Self {
            writer: Mutex::new(writer),
            lockstep: in_step.then(|| Lockstep::new(tracks)),
            max_bytes,
            full: AtomicBool::new(false),
            video_frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            progress,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The output at hand, for people.
    pub(super) fn name(&self) -> String {
        let writer = self.lock();
        writer.current.as_ref().map_or_else(String::new, |part| part.recorder.output().name().display().to_string())
    }

    /// Writes all that comes for one track. Ends with it, and when the recording is as large as it may be.
    pub(super) fn run<T: Recordable>(&self, track: usize, frames: &Receiver<T>, stop: &Stop) -> Result<(), Error> {
        let turn = self.lockstep.as_ref().map(|lockstep| lockstep.join(track));
        while let Some(frame) = frames.recv() {
            if let Some(turn) = &turn {
                turn.wait(frame.time(), stop);
            }
            if !self.write(track, &frame)? {
                break;
            }
        }
        let over = {
            let mut writer = self.lock();
            writer.reached[track] = None;
            writer.take_finished()
        };
        self.complete(over)
    }

    /// False when it takes no more.
    fn write<T: Recordable>(&self, track: usize, frame: &T) -> Result<bool, Error> {
        let over = {
            let mut writer = self.lock();
            if self.is_full() || writer.current.is_none() {
                return Ok(false);
            }
            if self.max_bytes.is_some_and(|most| writer.bytes() + frame.bytes() as u64 + FRAME_BYTES > most) {
                self.full.store(true, Ordering::Release);
                return Ok(false);
            }
            let slice = writer.cut_before(frame)?;
            if let Some(slice) = slice {
                self.progress.event(slice);
            }
            writer.put(track, frame)?;
            self.bytes.store(writer.written_bytes(), Ordering::Relaxed);
            writer.take_finished()
        };
        self.micros.store(u64::try_from(frame.time().micros()).unwrap_or(0), Ordering::Relaxed);
        if frame.kind() == MediaKind::Video {
            self.video_frames.fetch_add(1, Ordering::Relaxed);
        }
        self.complete(over)?;
        Ok(true)
    }

    /// Completes a file that is over, without keeping the other track from writing.
    fn complete(&self, part: Option<Part>) -> Result<(), Error> {
        let Some(Part { recorder, cut }) = part else { return Ok(()) };
        let recorded = recorder.finish().map_err(|error| error.at("record"))?;
        let mut writer = self.lock();
        let start = cut.minus(writer.begin.unwrap_or(cut)).seconds().max(0.0);
        let chunk = Chunk {
            path: recorded.path.map(|path| path.display().to_string()).unwrap_or_default(),
            bytes: recorded.bytes,
            start,
            duration: recorded.duration,
        };
        writer.chunk_bytes += chunk.bytes;
        writer.chunks.push(chunk.clone());
        drop(writer);
        let Chunk { path, bytes, start, .. } = chunk;
        self.progress.event(Event::DataAvailable { path, timecode: start, offset: 0, bytes });
        Ok(())
    }

    /// Whether it is as large as it may be.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(super) fn status(&self) -> Status {
        Status {
            seconds: self.micros.load(Ordering::Relaxed) as f64 / 1e6,
            bytes: self.bytes.load(Ordering::Relaxed),
            video_frames: self.video_frames.load(Ordering::Relaxed),
        }
    }

    /// Hands what there is to the operating system, as `MediaRecorder.requestData` does.
    pub(super) fn request_data(&self) -> Result<(), Error> {
        let mut writer = self.lock();
        let time = MediaTime::from_micros(i64::try_from(self.micros.load(Ordering::Relaxed)).unwrap_or(0));
        let slice = if writer.slicing.pattern.is_none() { writer.end_slice(time)? } else { None };
        drop(writer);
        if let Some(slice) = slice {
            self.progress.event(slice);
        }
        Ok(())
    }

    /// Completes the output with what was written. Blocks.
    pub(super) fn finish(&self) -> Result<Written, Error> {
        let (previous, current, several) = {
            let mut writer = self.lock();
            (writer.previous.take(), writer.current.take(), writer.slicing.pattern.is_some())
        };
        let before = self.complete(previous);
        let mut written = Written::default();
        let result = match current {
            Some(current) if several => self.complete(Some(current)),
            Some(Part { recorder, .. }) => {
                let recorded = recorder.finish().map_err(|error| error.at("record"))?;
                let writer = self.lock();
                let path = recorded.path.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string());
                let timecode = writer.slice_time.minus(writer.begin.unwrap_or(MediaTime::ZERO)).seconds().max(0.0);
                let (offset, bytes) = (writer.slice_offset, recorded.bytes - writer.slice_offset);
                drop(writer);
                self.progress.event(Event::DataAvailable { path, timecode, offset, bytes });
                written.recording = Some(recorded);
                Ok(())
            }
            None => Ok(()),
        };
        written.chunks = std::mem::take(&mut self.lock().chunks);
        before.and(result)?;
        Ok(written)
    }
}

/// Says where that is which was recorded before an output failed.
fn with_what_is_left(error: Error, part: Option<PathBuf>) -> Error {
    match part.filter(|part| part.exists()) {
        Some(part) => {
            let part = part.display();
            error.with_hint(format!(
                "what was recorded is in {part}, and plays; 'rtckit record --repair {part}' completes it"
            ))
        }
        None => error,
    }
}

/// What [`Writing`] has to know of the rest.
pub(super) struct Facts {
    pub tracks: usize,
    pub has_video: bool,
    /// Whether the tracks would run apart.
    pub in_step: bool,
    pub max_bytes: Option<u64>,
    /// The encoder of the video, which is asked for key frames where files begin.
    pub control: Arc<EncoderControl>,
}

impl Writer {
    fn open(&mut self, target: Option<Target>) -> Result<Recorder, Error> {
        self.files += 1;
        let target = match (&self.slicing.pattern, target) {
            (Some(pattern), _) => Target::File(pattern.path(self.files)),
            (None, Some(target)) => target,
            (None, None) => Target::File("".into()),
        };
        let mut recorder = Recorder::create(&self.layout, target, self.existing)?;
        recorder.keep_durable();
        Ok(recorder)
    }

    /// What all files together have at most when they are finished.
    fn bytes(&self) -> u64 {
        let open = [&self.current, &self.previous].into_iter().flatten();
        self.chunk_bytes + open.map(|part| part.recorder.finished_bytes()).sum::<u64>()
    }

    /// What all files together have now.
    fn written_bytes(&self) -> u64 {
        let open = [&self.current, &self.previous].into_iter().flatten();
        self.chunk_bytes + open.map(|part| part.recorder.output().position()).sum::<u64>()
    }

    /// Begins the next slice if this frame does.
    fn cut_before<T: Recordable>(&mut self, frame: &T) -> Result<Option<Event>, Error> {
        let time = frame.time();
        let begin = *self.begin.get_or_insert(time);
        let Some(length) = self.slicing.timeslice else { return Ok(None) };
        let due = begin.plus(MediaTime::from(length * (self.slices + 1)));
        if time < due {
            return Ok(None);
        }
        if self.slicing.pattern.is_none() {
            self.count_slices(begin, time, length);
            return self.end_slice(time);
        }
        let begins = frame.is_key() && (frame.kind() == MediaKind::Video || !self.has_video);
        if begins && self.previous.is_none() {
            let recorder = self.open(None)?;
            self.previous = self.current.replace(Part { recorder, cut: time });
            self.count_slices(begin, time, length);
            self.asked_for_key = false;
        } else if frame.kind() == MediaKind::Video && !std::mem::replace(&mut self.asked_for_key, true) {
            // Not for sound, which may be ahead: the key frame that it asked for could still lie before the cut.
            self.control.request_key_frame();
        }
        Ok(None)
    }

    fn count_slices(&mut self, begin: MediaTime, time: MediaTime, length: Duration) {
        while time >= begin.plus(MediaTime::from(length * (self.slices + 1))) {
            self.slices += 1;
        }
    }

    /// Ends a slice of the one file.
    fn end_slice(&mut self, time: MediaTime) -> Result<Option<Event>, Error> {
        let Some(part) = &mut self.current else { return Ok(None) };
        if let Err(error) = part.recorder.end_slice() {
            self.current = None;
            return Err(error.at("record"));
        }
        let output = part.recorder.output();
        let (offset, end) = (self.slice_offset, output.position());
        if end == offset {
            return Ok(None);
        }
        let timecode = self.slice_time.minus(self.begin.unwrap_or(MediaTime::ZERO)).seconds().max(0.0);
        let path = output.name().display().to_string();
        (self.slice_offset, self.slice_time) = (end, time);
        Ok(Some(Event::DataAvailable { path, timecode, offset, bytes: end - offset }))
    }

    fn put<T: Recordable>(&mut self, track: usize, frame: &T) -> Result<(), Error> {
        let time = frame.time();
        let before = self.current.as_ref().is_some_and(|part| time < part.cut);
        let slot = if before && self.previous.is_some() { &mut self.previous } else { &mut self.current };
        let Some(part) = slot else { return Ok(()) };
        if let Err(error) = frame.write(&mut part.recorder, track) {
            let left = part.recorder.output().part().map(Path::to_owned);
            // Closed as it is: the other track must not report that it found a broken recorder, and hide what broke it.
            *slot = None;
            self.current = None;
            return Err(with_what_is_left(error, left).at("record"));
        }
        self.reached[track] = Some(time);
        Ok(())
    }

    /// The old file, once every track is past its end.
    fn take_finished(&mut self) -> Option<Part> {
        let cut = self.current.as_ref()?.cut;
        let newest = self.reached.iter().flatten().max().copied().unwrap_or(cut);
        let all_past = self.reached.iter().flatten().all(|reached| *reached >= cut);
        if all_past || newest > cut.plus(WAIT_FOR_OTHERS) { self.previous.take() } else { None }
    }
}
