//! One demuxer, read by one or two tracks from any threads.
//!
//! Whoever has nothing queued reads on, and queues what belongs to the other. A track that nobody has taken, or whose reader is
//! gone, is passed over. A reader whose neighbour is too far behind waits for it, so memory stays bounded and nothing is lost.

use super::matroska::{Matroska, Tracks};
use super::source::{NANOS, Pass};
use crate::capture::CaptureError;
use crate::media::{EncodedFrame, MediaKind, MediaTime};
use crate::stop::Stop;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much may wait for a slow reader.
const MOST_BYTES: usize = 32 * 1024 * 1024;
const MOST_FRAMES: usize = 8192;

pub(super) struct Shared {
    tracks: Tracks,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Away while somebody reads.
    file: Option<Matroska>,
    /// By [`MediaKind`].
    backlogs: [Backlog; 2],
    over: bool,
    failed: Option<CaptureError>,
    end: MediaTime,
}

#[derive(Default)]
struct Backlog {
    frames: VecDeque<EncodedFrame>,
    bytes: usize,
    taken: bool,
}

impl Backlog {
    fn push(&mut self, frame: EncodedFrame) {
        if self.taken {
            self.bytes += frame.data.len();
            self.frames.push_back(frame);
        }
    }

    fn pop(&mut self) -> Option<EncodedFrame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.data.len();
        Some(frame)
    }

    fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES || self.frames.len() >= MOST_FRAMES
    }
}

impl Shared {
    pub(super) fn new(file: Matroska) -> Arc<Self> {
        let tracks = file.tracks();
        let state = State {
            file: Some(file),
            backlogs: Default::default(),
            over: false,
            failed: None,
            end: MediaTime::new(0, NANOS),
        };
        Arc::new(Self { tracks, state: Mutex::new(state), changed: Condvar::new() })
    }

    pub(super) fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One track of a shared file.
pub(super) struct TrackPass {
    shared: Arc<Shared>,
    kind: MediaKind,
}

impl TrackPass {
    /// How often a waiting reader looks whether it was stopped.
    const PATIENCE: Duration = Duration::from_millis(50);

    /// Takes the track of this kind. All tracks that are wanted are to be taken before any is read.
    pub(super) fn new(shared: Arc<Shared>, kind: MediaKind) -> Self {
        shared.lock().backlogs[kind as usize].taken = true;
        Self { shared, kind }
    }
}

impl Pass<EncodedFrame> for TrackPass {
    fn read(&mut self, stop: &Stop) -> Result<Option<EncodedFrame>, CaptureError> {
        let mut state = self.shared.lock();
        while !stop.is_stopped() {
            if let Some(frame) = state.backlogs[self.kind as usize].pop() {
                self.shared.changed.notify_all();
                return Ok(Some(frame));
            }
            if state.over {
                return state.failed.clone().map_or(Ok(None), Err);
            }
            let waits = state.backlogs.iter().any(Backlog::is_full);
            if let Some(mut file) = state.file.take_if(|_| !waits) {
                // Without the lock: a pipe may keep us for long, and the neighbour may have frames queued.
                drop(state);
                let result = file.next();
                state = self.shared.lock();
                match result {
                    Ok(Some(frame)) => state.backlogs[frame.codec.kind() as usize].push(frame),
                    Ok(None) => state.over = true,
                    Err(error) => (state.failed, state.over) = (Some(error), true),
                }
                state.end = file.end();
                state.file = Some(file);
                self.shared.changed.notify_all();
            } else {
                let waited = self.shared.changed.wait_timeout(state, Self::PATIENCE);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        Ok(None)
    }

    fn end(&self) -> MediaTime {
        self.shared.lock().end
    }
}

impl Drop for TrackPass {
    fn drop(&mut self) {
        self.shared.lock().backlogs[self.kind as usize] = Backlog::default();
        self.shared.changed.notify_all();
    }
}
