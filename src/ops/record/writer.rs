//! From encoded tracks to the output: one thread per track takes what its encoder gives and writes it, one at a time.

use crate::error::Error;
use crate::media::{EncodedFrame, MediaTime};
use crate::pipeline::queue::Receiver;
use crate::record::{Recorded, WebmRecorder};
use crate::stop::Stop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the threads of a recording share.
pub(super) struct Writing {
    /// Away once it failed or is finished.
    recorder: Mutex<Option<WebmRecorder>>,
    lockstep: Option<Lockstep>,
    max_bytes: Option<u64>,
    full: AtomicBool,
    video_frames: AtomicU64,
    bytes: AtomicU64,
    /// Of the newest frame.
    micros: AtomicU64,
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

impl Writing {
    /// Writes `tracks` tracks; in step, if their sources would run as fast as they can.
    pub(super) fn new(recorder: WebmRecorder, tracks: usize, in_step: bool, max_bytes: Option<u64>) -> Self {
        Self {
            recorder: Mutex::new(Some(recorder)),
            lockstep: in_step.then(|| Lockstep::new(tracks)),
            max_bytes,
            full: AtomicBool::new(false),
            video_frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            micros: AtomicU64::new(0),
        }
    }

    /// Writes all that comes for one track. Ends with it, and when the recording is as large as it may be.
    pub(super) fn run(&self, track: usize, frames: &Receiver<EncodedFrame>, stop: &Stop) -> Result<(), Error> {
        let _turn = self.lockstep.as_ref().map(|lockstep| Turn { lockstep, track });
        while let Some(frame) = frames.recv() {
            if let Some(lockstep) = &self.lockstep {
                lockstep.wait(track, frame.time, stop);
            }
            if !self.write(track, &frame)? {
                break;
            }
        }
        Ok(())
    }

    /// False when it takes no more.
    fn write(&self, track: usize, frame: &EncodedFrame) -> Result<bool, Error> {
        let mut slot = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(recorder) = slot.as_mut().filter(|_| !self.is_full()) else { return Ok(false) };
        let needed = frame.data.len() as u64 + FRAME_BYTES;
        if self.max_bytes.is_some_and(|most| recorder.finished_bytes() + needed > most) {
            self.full.store(true, Ordering::Release);
            return Ok(false);
        }
        if let Err(error) = recorder.write(track, frame) {
            // Closed as it is: the other track must not report that it found a broken recorder, and hide what broke it.
            *slot = None;
            return Err(Error::from(error).at("record"));
        }
        self.bytes.store(recorder.output().position(), Ordering::Relaxed);
        self.micros.store(u64::try_from(frame.time.micros()).unwrap_or(0), Ordering::Relaxed);
        if frame.codec.kind() == crate::media::MediaKind::Video {
            self.video_frames.fetch_add(1, Ordering::Relaxed);
        }
        Ok(true)
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

    /// Completes the output with what was written; `None` when it had failed. Blocks.
    pub(super) fn finish(&self) -> Result<Option<Recorded>, Error> {
        let recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner).take();
        recorder.map(|recorder| recorder.finish().map_err(|error| Error::from(error).at("record"))).transpose()
    }
}

/// What a frame costs besides its bytes: its head, a cluster of its own, and a cue.
const FRAME_BYTES: u64 = 128;

/// Keeps tracks of files together that are read as fast as they go, so that neither has to wait in memory for the other.
struct Lockstep {
    lanes: Mutex<Vec<Lane>>,
    moved: Condvar,
}

#[derive(Clone, Copy)]
enum Lane {
    /// Nothing has come yet.
    Fresh,
    /// Its newest frame.
    At(MediaTime),
    /// It was waited for in vain: nobody waits for it again until it moves.
    Stalled,
    Over,
}

impl Lockstep {
    /// How far a track may be ahead.
    const AHEAD: MediaTime = MediaTime::from_micros(200_000);
    /// How long a track that does not move at all is waited for.
    const PATIENCE: Duration = Duration::from_secs(5);

    fn new(tracks: usize) -> Self {
        Self { lanes: Mutex::new(vec![Lane::Fresh; tracks]), moved: Condvar::new() }
    }

    /// Waits until `track` may write what is of `time`.
    fn wait(&self, track: usize, time: MediaTime, stop: &Stop) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes[track] = Lane::At(time);
        self.moved.notify_all();
        let limit = time.minus(Self::AHEAD);
        let began = Instant::now();
        while !stop.is_stopped() {
            let behind = |(number, lane): (usize, &Lane)| {
                number != track && matches!(lane, Lane::Fresh) || matches!(lane, Lane::At(at) if *at < limit)
            };
            if !lanes.iter().enumerate().any(behind) {
                return;
            }
            if began.elapsed() > Self::PATIENCE {
                for (number, lane) in lanes.iter_mut().enumerate() {
                    if behind((number, lane)) {
                        *lane = Lane::Stalled;
                    }
                }
                return;
            }
            let waited = self.moved.wait_timeout(lanes, Duration::from_millis(50));
            lanes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// While it lives, others wait for this track.
struct Turn<'a> {
    lockstep: &'a Lockstep,
    track: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.lockstep.lanes.lock().unwrap_or_else(PoisonError::into_inner)[self.track] = Lane::Over;
        self.lockstep.moved.notify_all();
    }
}
