//! Tracks that are muted, stopped and fed from elsewhere while they run; mediacapture-main `enabled` and `stop`, webrtc-pc
//! `replaceTrack`. What follows a track notices nothing but other pictures or sound: nothing is negotiated anew.
//!
//! ```text
//! source, its replacement -> Switched (one of them, or black and silence) -> encoder, file
//!                               ^ TrackSwitch: mute, stop, replace
//! ```

use crate::error::Error;
use crate::media::{AudioFrame, FramePool, MediaKind, MediaTime, Source, VideoFrame};
use crate::pipeline::Timed;
use crate::progress::{Event, Progress};
use crate::stop::{Stop, StopReason};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The hand on a running track. Clones share it.
pub(super) struct TrackSwitch<T>(Arc<Mutex<Wanted<T>>>);

struct Wanted<T> {
    next: Option<Box<dyn Source<T>>>,
    muted: bool,
    over: bool,
    /// Wakes the source that is being read.
    turn: Stop,
}

impl<T> Clone for TrackSwitch<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> TrackSwitch<T> {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Wanted { next: None, muted: false, over: false, turn: Stop::new() })))
    }

    /// Whether the track gives black or silence instead of what its source gives.
    pub(super) fn mute(&self, muted: bool) {
        self.lock().muted = muted;
    }

    /// Whether it does.
    pub(super) fn is_muted(&self) -> bool {
        self.lock().muted
    }

    /// Ends the track.
    pub(super) fn stop(&self) {
        let mut wanted = self.lock();
        wanted.over = true;
        wanted.turn.stop(StopReason::Done);
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Feeds the track from `source` from now on; what fed it before is closed. Whether the track was still there.
    pub(super) fn replace(&self, source: Box<dyn Source<T>>) -> bool {
        let mut wanted = self.lock();
        if !wanted.over {
            wanted.next = Some(source);
            wanted.turn.stop(StopReason::Done);
        }
        !wanted.over
    }

    fn lock(&self) -> MutexGuard<'_, Wanted<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a track carries: something at a time, of which there is a blank.
pub(super) trait Blank: Timed {
    /// The same without content.
    fn blank(self, pool: &FramePool) -> Self;
}

impl Blank for VideoFrame {
    fn blank(self, pool: &FramePool) -> Self {
        let mut picture = pool.take(self.width(), self.height());
        let [y, u, v] = picture.planes_mut();
        y.fill(16);
        u.fill(128);
        v.fill(128);
        Self::new(self.time, picture)
    }
}

impl Blank for AudioFrame {
    fn blank(mut self, _pool: &FramePool) -> Self {
        self.samples.fill(0.0);
        self
    }
}

/// A source under a [`TrackSwitch`]. It tells when it ends by itself (`ended` of mediacapture-main).
pub(super) struct Switched<T> {
    current: Box<dyn Source<T>>,
    switch: TrackSwitch<T>,
    kind: MediaKind,
    progress: Arc<dyn Progress>,
    last: Option<MediaTime>,
    /// What all sources lost so far, and those before the current one.
    lost: Arc<AtomicU64>,
    lost_before: u64,
    pool: FramePool,
}

impl<T: Blank> Switched<T> {
    /// `source`, and the hand on it.
    pub(super) fn new(
        source: Box<dyn Source<T>>,
        kind: MediaKind,
        progress: Arc<dyn Progress>,
    ) -> (Self, TrackSwitch<T>) {
        let switch = TrackSwitch::new();
        let track = Self {
            current: source,
            switch: switch.clone(),
            kind,
            progress,
            last: None,
            lost: Arc::default(),
            lost_before: 0,
            pool: FramePool::new(),
        };
        (track, switch)
    }

    /// Takes up a replacement, and gives what wakes the source; `None` once the track is over.
    fn begin(&mut self, stop: &Stop) -> Option<Stop> {
        let mut wanted = self.switch.lock();
        if wanted.over {
            return None;
        }
        if let Some(next) = wanted.next.take() {
            self.current = next;
            self.lost_before = self.lost.load(Ordering::Relaxed);
        }
        wanted.turn = stop.part();
        Some(wanted.turn.clone())
    }

    /// Whether the source has ended by itself, and not because the track has another one or was stopped.
    fn is_end(&self) -> bool {
        let mut wanted = self.switch.lock();
        let end = wanted.next.is_none() && !wanted.over;
        wanted.over |= end;
        end
    }
}

impl<T: Blank> Source<T> for Switched<T> {
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error> {
        while let Some(turn) = self.begin(stop) {
            let given = self.current.next(&turn);
            if let Some(lost) = self.current.lost() {
                self.lost.store(self.lost_before + lost.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            match given {
                // Time does not go back, whatever a new source says of its first items.
                Ok(Some(item)) if self.last.is_none_or(|last| item.time() > last) => {
                    self.last = Some(item.time());
                    return Ok(Some(if self.switch.is_muted() { item.blank(&self.pool) } else { item }));
                }
                given if stop.is_stopped() => return given.map(|_| None),
                Ok(Some(_)) => {}
                end => {
                    if self.is_end() {
                        let message = end.as_ref().err().map(ToString::to_string);
                        self.progress.event(Event::Ended { kind: self.kind.to_string(), message });
                        return end;
                    }
                }
            }
        }
        Ok(None)
    }

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        Some(Arc::clone(&self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::media::{AudioFormat, I420};
    use crate::progress::Silent;
    use std::num::NonZeroU32;
    use std::time::Duration;

    /// Pictures of a shade, 100 ms apart, from a time on; then the end, an error, or nothing until it is stopped.
    struct Shade {
        shade: u8,
        millis: i64,
        left: u32,
        then: Then,
    }

    #[derive(Clone, Copy)]
    enum Then {
        End,
        Fail,
        Stall,
    }

    impl Source<VideoFrame> for Shade {
        fn next(&mut self, stop: &Stop) -> Result<Option<VideoFrame>, Error> {
            if self.left == 0 {
                return match self.then {
                    Then::End => Ok(None),
                    Then::Fail => Err(Error::new(ErrorKind::Device, "NotReadableError", "gone")),
                    Then::Stall => {
                        assert!(stop.wait_for(Duration::from_secs(60)), "nobody wakes it");
                        Ok(None)
                    }
                };
            }
            self.left -= 1;
            self.millis += 100;
            let mut picture = I420::new(16, 16);
            picture.data_mut().fill(self.shade);
            Ok(Some(VideoFrame::new(MediaTime::from_micros(self.millis * 1000), picture)))
        }

        fn lost(&self) -> Option<Arc<AtomicU64>> {
            Some(Arc::new(AtomicU64::new(u64::from(self.shade))))
        }
    }

    fn shade(shade: u8, left: u32, then: Then) -> Box<Shade> {
        Box::new(Shade { shade, millis: 0, left, then })
    }

    fn track(source: Box<Shade>) -> (Switched<VideoFrame>, TrackSwitch<VideoFrame>) {
        Switched::new(source, MediaKind::Video, Arc::new(Silent))
    }

    /// The shade and time of the next picture.
    fn next(source: &mut Switched<VideoFrame>) -> Option<(u8, i64)> {
        source.next(&Stop::new()).unwrap().map(|frame| (frame.picture.data()[0], frame.time.micros() / 1000))
    }

    #[test]
    fn a_replacement_takes_over_time_does_not_go_back_and_losses_add_up() {
        let (mut source, switch) = track(shade(1, 100, Then::End));
        assert_eq!((next(&mut source), next(&mut source)), (Some((1, 100)), Some((1, 200))));
        assert!(switch.replace(shade(2, 3, Then::End)));
        assert_eq!(next(&mut source), Some((2, 300)), "what lies before is passed over");
        assert_eq!(source.lost().unwrap().load(Ordering::Relaxed), 3);
        assert_eq!(next(&mut source), None, "it ends with its source");
        assert!(!switch.replace(shade(2, 3, Then::End)), "and is over then");
    }

    #[test]
    fn what_is_muted_is_black_and_what_is_stopped_is_over() {
        let (mut source, switch) = track(shade(77, 100, Then::End));
        switch.mute(true);
        assert_eq!(next(&mut source), Some((16, 100)));
        switch.mute(false);
        assert_eq!(next(&mut source), Some((77, 200)));
        switch.stop();
        assert_eq!((next(&mut source), switch.is_over()), (None, true));
    }

    #[test]
    fn a_source_that_gives_nothing_is_replaced_stopped_and_ended_at_once() {
        for what in ["replace", "stop", "end"] {
            let (mut source, switch) = track(shade(1, 0, Then::Stall));
            let stop = Stop::new();
            let reading = {
                let stop = stop.clone();
                std::thread::spawn(move || source.next(&stop).unwrap().map(|frame| frame.picture.data()[0]))
            };
            match what {
                "replace" => assert!(switch.replace(shade(2, 1, Then::End))),
                "stop" => switch.stop(),
                _ => stop.stop(StopReason::Done),
            }
            assert_eq!(reading.join().unwrap(), Some(2).filter(|_| what == "replace"), "{what}");
        }
    }

    #[test]
    fn a_source_that_fails_is_an_error_unless_it_was_replaced_before() {
        let (mut source, switch) = track(shade(1, 0, Then::Fail));
        assert!(source.next(&Stop::new()).is_err() && switch.is_over());
        let (mut source, switch) = track(shade(1, 0, Then::Fail));
        switch.replace(shade(3, 1, Then::End));
        assert_eq!(next(&mut source), Some((3, 100)));
    }

    #[test]
    fn muted_sound_is_silence_of_the_same_length() {
        let format = AudioFormat { sample_rate: NonZeroU32::new(8000).unwrap(), channels: 1 };
        let frame = AudioFrame { time: MediaTime::ZERO, format, samples: vec![0.5; 160] };
        let silent = frame.clone().blank(&FramePool::new());
        assert_eq!((silent.len(), silent.time), (160, frame.time));
        assert!(silent.samples.iter().all(|sample| *sample == 0.0));
    }
}
