//! Tracks that are muted, stopped and fed from elsewhere while they run; mediacapture-main `enabled` and `stop`, webrtc-pc
//! `replaceTrack`. What follows a track notices nothing but other pictures or sound: nothing is negotiated anew.
//!
//! ```text
//! source, its replacement -> Switched (one of them, or black and silence) -> encoder, file
//!                               ^ TrackSwitch: mute, stop, replace
//! ```
//!
//! As a sender of webrtc-pc outlives its track, what has ended can be replaced as long as the operation goes on: [`Vacancy`].

use crate::error::{Error, ErrorKind};
use crate::media::{AudioFrame, FramePool, MediaKind, MediaTime, Source, VideoFrame};
use crate::pipeline::Timed;
use crate::progress::{Event, Progress};
use crate::stop::{Stop, StopReason};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the place of a source that has ended is kept for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Vacancy {
    /// Not at all: nobody could replace it.
    Closed,
    /// While other tracks live, on which the operation goes on.
    WithOthers,
    /// Until the operation ends.
    Open,
}

/// The tracks of one operation. Clones share it.
#[derive(Clone)]
pub(super) struct Company(Arc<(Vacancy, Mutex<Members>)>);

#[derive(Default)]
struct Members {
    live: usize,
    /// What wakes those that wait for another source.
    waiting: Vec<Stop>,
}

impl Company {
    pub(super) fn new(vacancy: Vacancy) -> Self {
        Self(Arc::new((vacancy, Mutex::default())))
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keeps(&self, members: &Members) -> bool {
        match self.0.0 {
            Vacancy::Closed => false,
            Vacancy::WithOthers => members.live > 0,
            Vacancy::Open => true,
        }
    }

    fn join(&self) {
        self.members().live += 1;
    }

    fn leave(&self) {
        let mut members = self.members();
        members.live -= 1;
        if !self.keeps(&members) {
            members.waiting.drain(..).for_each(|turn| turn.stop(StopReason::Done));
        }
    }

    /// Blocks until `turn` is stopped, or nothing is left to wait with; false when that is so from the beginning.
    fn wait(&self, turn: &Stop) -> bool {
        let mut members = self.members();
        let keeps = self.keeps(&members);
        if keeps {
            members.waiting.push(turn.clone());
            drop(members);
            while !turn.wait_for(Duration::from_secs(3600)) {}
        }
        keeps
    }
}

/// The hand on a running track. Clones share it.
pub(super) struct TrackSwitch<T>(Arc<Mutex<Wanted<T>>>);

struct Wanted<T> {
    next: Option<Box<dyn Source<T>>>,
    muted: bool,
    /// Its source has ended.
    over: bool,
    /// Why, if it failed and its place was kept.
    failure: Option<Error>,
    /// Nobody reads it any more.
    closed: bool,
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
        let turn = Stop::new();
        Self(Arc::new(Mutex::new(Wanted { next: None, muted: false, over: false, failure: None, closed: false, turn })))
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
        (wanted.over, wanted.next) = (true, None);
        wanted.turn.stop(StopReason::Done);
    }

    /// Whether it has ended, and is not about to be fed again.
    pub(super) fn is_over(&self) -> bool {
        let wanted = self.lock();
        wanted.over && wanted.next.is_none()
    }

    /// Feeds the track from `source` from now on; what fed it before is closed. Whether there is still a track to feed.
    pub(super) fn replace(&self, source: Box<dyn Source<T>>) -> bool {
        let mut wanted = self.lock();
        if !wanted.closed {
            wanted.next = Some(source);
            wanted.turn.stop(StopReason::Done);
        }
        !wanted.closed
    }

    /// Why its source failed, if it did and nothing took its place.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.lock().failure.take()
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
    company: Company,
    /// Whether it is one of those that live.
    lives: bool,
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
        company: Company,
    ) -> (Self, TrackSwitch<T>) {
        let switch = TrackSwitch::new();
        company.join();
        let track = Self {
            current: source,
            switch: switch.clone(),
            kind,
            progress,
            company,
            lives: true,
            last: None,
            lost: Arc::default(),
            lost_before: 0,
            pool: FramePool::new(),
        };
        (track, switch)
    }

    /// Takes up a replacement, and gives what wakes the source; `None` while the track has ended.
    fn begin(&mut self, stop: &Stop) -> Option<Stop> {
        let mut wanted = self.switch.lock();
        if let Some(next) = wanted.next.take() {
            self.current = next;
            self.lost_before = self.lost.load(Ordering::Relaxed);
            (wanted.over, wanted.failure) = (false, None);
        }
        match (self.lives, wanted.over) {
            (true, true) => self.company.leave(),
            (false, false) => self.company.join(),
            _ => {}
        }
        self.lives = !wanted.over;
        wanted.turn = stop.part();
        self.lives.then(|| wanted.turn.clone())
    }

    /// Whether the source has ended by itself, and not because the track has another one or was stopped.
    fn is_end(&self) -> bool {
        let mut wanted = self.switch.lock();
        let end = wanted.next.is_none() && !wanted.over;
        wanted.over |= end;
        end
    }

    /// Waits for a replacement of what has ended; false when none can come.
    fn is_replaced(&self, stop: &Stop) -> bool {
        let turn = self.switch.lock().turn.clone();
        let waited = !stop.is_stopped() && self.company.wait(&turn);
        let mut wanted = self.switch.lock();
        wanted.closed = !waited && wanted.next.is_none();
        !wanted.closed
    }
}

impl<T> Drop for Switched<T> {
    fn drop(&mut self) {
        self.switch.lock().closed = true;
        if self.lives {
            self.company.leave();
        }
    }
}

impl<T: Blank> Source<T> for Switched<T> {
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error> {
        loop {
            let Some(turn) = self.begin(stop) else {
                if self.is_replaced(stop) {
                    continue;
                }
                return self.switch.take_failure().map_or(Ok(None), Err);
            };
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
                        let mut wanted = self.switch.lock();
                        match end {
                            // What is damaged is no device that could be another.
                            Err(error) if error.kind() != ErrorKind::Device => return Err(error),
                            end => wanted.failure = end.err(),
                        }
                    }
                }
            }
        }
    }

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        Some(Arc::clone(&self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{AudioFormat, I420};
    use crate::progress::Silent;
    use std::num::NonZeroU32;

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
        of(source, &Company::new(Vacancy::Closed))
    }

    fn of(source: Box<Shade>, company: &Company) -> (Switched<VideoFrame>, TrackSwitch<VideoFrame>) {
        Switched::new(source, MediaKind::Video, Arc::new(Silent), company.clone())
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

    /// Reads a track to its end, on a thread: the shades of its pictures, each once, and whether it failed.
    fn read(mut source: Switched<VideoFrame>, stop: &Stop) -> std::thread::JoinHandle<(Vec<u8>, bool)> {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut shades = Vec::new();
            loop {
                match source.next(&stop) {
                    Ok(Some(frame)) => shades.push(frame.picture.data()[0]),
                    end => {
                        shades.dedup();
                        return (shades, end.is_err());
                    }
                }
            }
        })
    }

    /// Waits until the source of a track has ended.
    fn await_end(switch: &TrackSwitch<VideoFrame>) {
        while !switch.is_over() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_place_of_what_has_ended_is_kept_while_the_operation_goes_on() {
        let (company, stop) = (Company::new(Vacancy::Open), Stop::new());
        let (source, switch) = of(shade(1, 1, Then::Fail), &company);
        let reading = read(source, &stop);
        await_end(&switch);
        // By itself, by a command, and at last for good.
        assert!(switch.replace(shade(2, 100, Then::Stall)) && !switch.is_over());
        switch.stop();
        await_end(&switch);
        assert!(switch.replace(shade(3, 200, Then::End)));
        await_end(&switch);
        stop.stop(StopReason::Done);
        let (shades, failed) = reading.join().unwrap();
        assert!(shades.starts_with(&[1]) && shades.ends_with(&[3]), "{shades:?}");
        assert!(!failed, "what was replaced is no failure any more");
        assert!(!switch.replace(shade(4, 1, Then::End)), "nobody reads it");
    }

    #[test]
    fn what_has_ended_waits_only_as_long_as_others_live() {
        let (company, stop) = (Company::new(Vacancy::WithOthers), Stop::new());
        let (first, one) = of(shade(1, 1, Then::Fail), &company);
        let (mut second, two) = of(shade(2, 1, Then::Stall), &company);
        assert_eq!(next(&mut second), Some((2, 100)));
        let reading = [read(first, &stop), read(second, &stop)];
        await_end(&one);
        assert!(one.replace(shade(3, 200, Then::Fail)), "its place is kept");
        await_end(&one);
        two.stop();
        let [(shades, failed), other] = reading.map(|thread| thread.join().unwrap());
        assert_eq!((shades, failed, other), (vec![1, 3], true, (vec![], false)));
        assert!(!one.replace(shade(1, 1, Then::End)) && !two.replace(shade(1, 1, Then::End)));
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
