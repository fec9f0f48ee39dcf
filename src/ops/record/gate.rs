//! Which part of what the sources give is recorded, and at what time: pauses, the length that was asked for, and one
//! timeline for all tracks.
//!
//! A pause is a cut in time, the same one for every track: what lies in it is left out and what follows moves up by its
//! length, sound to the sample. So picture and sound stay as they were to each other. Sources that are read as fast as
//! they go are held instead, and lose nothing.

use super::standing::Standing;
use crate::error::Error;
use crate::media::{
    AudioFrame, AudioInput, EncodedFrame, MediaKind, MediaTime, SampleClock, Source, VideoFrame, VideoInput,
};
use crate::pipeline::{Clock, Paced, Timed};
use crate::stop::Stop;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const NANOS: NonZeroU32 = NonZeroU32::new(1_000_000_000).expect("not zero");
/// How often a held source looks whether it was stopped.
const PATIENCE: Duration = Duration::from_millis(50);

/// Shared by the tracks of one recording and whoever pauses it.
pub(super) struct Gate {
    /// The clock of the sources; without one they are read as fast as they go.
    clock: Option<Clock>,
    /// How much is to be recorded.
    length: Option<MediaTime>,
    /// The track whose first frame begins the recording.
    leader: MediaKind,
    state: Mutex<State>,
    resumed: Condvar,
    /// The loudest sample since it was last asked for, as the bits of a float; bits of floats that are not negative are
    /// ordered as they are.
    level: AtomicU32,
    hears: AtomicBool,
}

#[derive(Default)]
struct State {
    /// When the leader's first frame was captured.
    begin: Option<MediaTime>,
    /// From, to; the last may be open.
    cuts: Vec<(MediaTime, Option<MediaTime>)>,
    /// The end of the newest frame that was let through.
    passed: Option<MediaTime>,
    full: bool,
    held: Option<Instant>,
    held_before: Duration,
}

impl State {
    fn is_paused(&self) -> bool {
        self.held.is_some()
    }

    /// The time at which something of `time` is recorded; `None` within a pause.
    fn place(&self, time: MediaTime) -> Option<MediaTime> {
        // Pictures count in frames, which is too coarse for what is taken off.
        let mut placed = if self.cuts.is_empty() { time } else { time.rescale(NANOS) };
        for (from, to) in &self.cuts {
            match to {
                _ if time < *from => break,
                Some(to) if time >= *to => placed = placed.minus(to.minus(*from)),
                _ => return None,
            }
        }
        Some(placed)
    }
}

/// What becomes of a frame.
enum Verdict<T> {
    Take(T),
    Leave,
    /// It lies behind the length that was asked for, and so does all that follows.
    End,
}

impl Gate {
    /// A gate for sources that keep to `clock`, or are read as they go. Recording begins with the first frame of the
    /// `leader` and is over after `length`.
    pub(super) fn new(clock: Option<Clock>, leader: MediaKind, length: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            length: length.map(MediaTime::from),
            leader,
            state: Mutex::default(),
            resumed: Condvar::new(),
            level: AtomicU32::new(0),
            hears: AtomicBool::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loudest sample since the last call, 0 to 1; `None` where no samples pass.
    pub(super) fn take_level(&self) -> Option<f64> {
        let level = f32::from_bits(self.level.swap(0, Ordering::Relaxed));
        self.hears.load(Ordering::Relaxed).then(|| f64::from(level.min(1.0)))
    }

    fn hear(&self, frame: &AudioFrame) {
        let loudest = frame.samples.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
        self.level.fetch_max(loudest.to_bits(), Ordering::Relaxed);
        self.hears.store(true, Ordering::Relaxed);
    }

    /// Begins a pause; false when there is one already.
    pub(super) fn pause(&self) -> bool {
        self.pause_at(self.clock.map(|clock| clock.now()))
    }

    fn pause_at(&self, now: Option<MediaTime>) -> bool {
        let mut state = self.lock();
        if state.is_paused() {
            return false;
        }
        state.held = Some(Instant::now());
        if let Some(now) = now {
            // What was let through cannot be cut any more.
            let from = state.passed.map_or(now, |passed| now.max(passed));
            state.cuts.push((from, None));
        }
        true
    }

    /// Ends a pause; false when there is none.
    pub(super) fn resume(&self) -> bool {
        self.resume_at(self.clock.map(|clock| clock.now()))
    }

    fn resume_at(&self, now: Option<MediaTime>) -> bool {
        let mut state = self.lock();
        let Some(since) = state.held.take() else { return false };
        state.held_before += since.elapsed();
        if let (Some(now), Some((from, to))) = (now, state.cuts.last_mut()) {
            *to = Some(now.max(*from));
        }
        self.resumed.notify_all();
        true
    }

    pub(super) fn is_paused(&self) -> bool {
        self.lock().is_paused()
    }

    /// How long it was paused altogether.
    pub(super) fn paused_for(&self) -> Duration {
        let state = self.lock();
        state.held_before + state.held.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether a track has reached the length that was asked for.
    pub(super) fn is_full(&self) -> bool {
        self.lock().full
    }

    /// Where the recording ends, once a track has reached the length that was asked for.
    pub(super) fn end(&self) -> Option<MediaTime> {
        let state = self.lock();
        Some(state.begin.filter(|_| state.full)?.plus(self.length?))
    }

    /// When live media will have reached its length at the latest, by the clock, unless it is paused. `None` while that is
    /// not known.
    pub(super) fn due(&self) -> Option<Instant> {
        let state = self.lock();
        let (clock, length) = (self.clock?, self.length?);
        if state.is_paused() {
            return None;
        }
        Some(clock.instant_of(state.begin.unwrap_or(MediaTime::ZERO)) + length.duration() + state.held_before)
    }

    /// Where in the recording something of `kind` and `time` belongs.
    fn judge(&self, kind: MediaKind, time: MediaTime, end: MediaTime) -> Verdict<MediaTime> {
        let mut state = self.lock();
        let Some(placed) = state.place(time) else { return Verdict::Leave };
        if kind == self.leader {
            state.begin.get_or_insert(placed);
        }
        if let (Some(length), Some(begin)) = (self.length, state.begin)
            && placed.minus(begin) >= length
        {
            state.full = true;
            return Verdict::End;
        }
        state.passed = Some(state.passed.map_or(end, |passed| passed.max(end)));
        Verdict::Take(placed)
    }

    /// The parts of a run of samples that are recorded.
    fn judge_sound(&self, mut frame: AudioFrame) -> Verdict<AudioFrame> {
        let mut state = self.lock();
        let rate = frame.format.sample_rate;
        let start = frame.time.rescale(rate);
        let end = start.plus(frame.duration());
        // The sample of this frame that is due at `time`.
        let sample = |time: MediaTime| {
            let at = time.rescale(rate).minus(start).ticks();
            usize::try_from(at).unwrap_or(0).min(frame.len())
        };
        // Behind everything that was cut before this frame, and the cuts within it.
        let mut first = None;
        let mut kept = Vec::new();
        let mut at = 0;
        for (from, to) in &state.cuts {
            let (from, to) = (sample(*from), to.map_or(frame.len(), sample));
            if from > at {
                kept.push(at..from);
            }
            at = at.max(to);
        }
        if at < frame.len() {
            kept.push(at..frame.len());
        }
        if let Some(range) = kept.first() {
            let offset = i64::try_from(range.start).unwrap_or(0);
            // A sample whose cut ended between two ticks lies a rounding before it.
            let time = start.plus(MediaTime::new(offset, rate));
            let half = MediaTime::new(1, rate);
            first = state.place(time).or_else(|| state.place(time.plus(half)));
        }
        let Some(placed) = first else { return Verdict::Leave };
        if self.leader == MediaKind::Audio {
            state.begin.get_or_insert(placed);
        }
        let mut most = usize::MAX;
        if let (Some(length), Some(begin)) = (self.length, state.begin) {
            let left = length.minus(placed.minus(begin)).rescale(rate).ticks();
            most = usize::try_from(left).unwrap_or(0);
            if most == 0 {
                state.full = true;
                return Verdict::End;
            }
        }
        state.passed = Some(state.passed.map_or(end, |passed| passed.max(end)));
        drop(state);
        let channels = usize::from(frame.format.channels);
        if kept.len() != 1 || kept[0] != (0..frame.len()) {
            let samples =
                kept.into_iter().flat_map(|range| frame.samples[range.start * channels..range.end * channels].to_vec());
            frame.samples = samples.collect();
        }
        frame.samples.truncate(most.saturating_mul(channels));
        frame.time = placed;
        Verdict::Take(frame)
    }

    /// Waits while sources that are read as they go are held.
    fn hold(&self, stop: &Stop) {
        if self.clock.is_some() {
            return;
        }
        let mut state = self.lock();
        while state.is_paused() && !stop.is_stopped() {
            state = self.resumed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What passes a gate.
pub(super) trait Passing: Timed + Sized + Send + 'static {
    /// What a track has to remember between its frames.
    type Memory: Send;

    fn pass(self, gate: &Gate, memory: &mut Self::Memory) -> Judged<Self>;
}

/// See [`Verdict`]; nameless to the outside.
pub(super) struct Judged<T>(Verdict<T>);

impl Passing for VideoFrame {
    type Memory = ();

    fn pass(mut self, gate: &Gate, (): &mut ()) -> Judged<Self> {
        Judged(match gate.judge(MediaKind::Video, self.time, self.time) {
            Verdict::Take(time) => {
                self.time = time;
                Verdict::Take(self)
            }
            Verdict::Leave => Verdict::Leave,
            Verdict::End => Verdict::End,
        })
    }
}

impl Passing for AudioFrame {
    /// The times of a device have jitter, and a cut must not depend on it.
    type Memory = Option<SampleClock>;

    fn pass(mut self, gate: &Gate, clock: &mut Option<SampleClock>) -> Judged<Self> {
        let clock = clock.get_or_insert(SampleClock::new(self.format.sample_rate));
        if clock.breaks_at(self.time) {
            clock.start(self.time);
        }
        self.time = clock.now();
        clock.advance(self.len());
        gate.hear(&self);
        Judged(gate.judge_sound(self))
    }
}

impl Passing for EncodedFrame {
    /// Whether frames are left out until one that decoding can start from.
    type Memory = bool;

    fn pass(mut self, gate: &Gate, needs_key: &mut bool) -> Judged<Self> {
        Judged(match gate.judge(self.codec.kind(), self.time, self.time) {
            Verdict::Take(_) if *needs_key && !self.key => Verdict::Leave,
            Verdict::Take(time) => {
                self.time = time;
                *needs_key = false;
                Verdict::Take(self)
            }
            Verdict::Leave => {
                *needs_key = true;
                Verdict::Leave
            }
            Verdict::End => Verdict::End,
        })
    }
}

struct Gated<T: Passing> {
    source: Box<dyn Source<T>>,
    gate: Arc<Gate>,
    memory: T::Memory,
}

impl<T: Passing> Source<T> for Gated<T> {
    fn next(&mut self, stop: &Stop) -> Result<Option<T>, Error> {
        loop {
            self.gate.hold(stop);
            let Some(item) = self.source.next(stop)? else { return Ok(None) };
            match item.pass(&self.gate, &mut self.memory).0 {
                Verdict::Take(item) => return Ok(Some(item)),
                Verdict::Leave => {}
                Verdict::End => return Ok(None),
            }
        }
    }
}

impl Gate {
    fn put<T: Passing>(self: &Arc<Self>, source: Box<dyn Source<T>>, live: bool) -> Box<dyn Source<T>>
    where
        T::Memory: Default,
    {
        let source: Box<dyn Source<T>> = match self.clock {
            Some(clock) if !live => Box::new(Paced::new(source, clock)),
            _ => source,
        };
        Box::new(Gated { source, gate: Arc::clone(self), memory: T::Memory::default() })
    }

    /// The input at its pace and behind this gate.
    pub(super) fn video(self: &Arc<Self>, input: VideoInput) -> VideoInput {
        match input {
            VideoInput::Raw { format, live, source } => {
                let mut source = self.put(source, live);
                if live {
                    source = Box::new(Standing::new(source, Arc::clone(self), format.frame_rate.time_of(1)));
                }
                VideoInput::Raw { format, live: live || self.clock.is_some(), source }
            }
            VideoInput::Encoded { codec, size, source } => {
                VideoInput::Encoded { codec, size, source: self.put(source, false) }
            }
        }
    }

    /// The input at its pace and behind this gate.
    pub(super) fn audio(self: &Arc<Self>, input: AudioInput) -> AudioInput {
        match input {
            AudioInput::Raw { format, live, source } => {
                AudioInput::Raw { format, live: live || self.clock.is_some(), source: self.put(source, live) }
            }
            AudioInput::Encoded { codec, channels, source } => {
                AudioInput::Encoded { codec, channels, source: self.put(source, false) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{AudioFormat, FrameRate, I420};
    use std::collections::VecDeque;

    const RATE: NonZeroU32 = NonZeroU32::new(48_000).unwrap();

    fn ms(millis: i64) -> MediaTime {
        MediaTime::from_micros(millis * 1000)
    }

    fn taken<T>(judged: Judged<T>) -> Option<T> {
        match judged.0 {
            Verdict::Take(item) => Some(item),
            Verdict::Leave | Verdict::End => None,
        }
    }

    /// Gives pictures at these times, in milliseconds.
    struct At(VecDeque<i64>);

    impl Source<VideoFrame> for At {
        fn next(&mut self, _: &Stop) -> Result<Option<VideoFrame>, Error> {
            Ok(self.0.pop_front().map(|at| VideoFrame::new(ms(at), I420::new(16, 16))))
        }
    }

    #[test]
    fn a_picture_that_stands_is_recorded_until_the_length_that_was_asked_for() {
        let recorded = |times: &[i64]| {
            let gate = Gate::new(Some(Clock::start()), MediaKind::Video, Some(Duration::from_secs(2)));
            let format =
                crate::media::VideoFormat { width: 16, height: 16, frame_rate: FrameRate::new(10, 1).unwrap() };
            let source = Box::new(At(times.iter().copied().collect()));
            let VideoInput::Raw { mut source, .. } = gate.video(VideoInput::Raw { format, live: true, source }) else {
                panic!("it stays raw")
            };
            let frames = std::iter::from_fn(|| source.next(&Stop::new()).unwrap());
            frames.map(|frame| frame.time.micros() / 1000).collect::<Vec<_>>()
        };
        assert_eq!(recorded(&[500, 600, 1600, 2600]), [500, 600, 1600, 2400]);
        assert_eq!(recorded(&[500, 1500, 2380, 2600]), [500, 1500, 2380]);
        assert_eq!(recorded(&[500, 1500]), [500, 1500], "the source ended first");
    }

    /// 20 ms from `time` on whose samples count up, so that each says when it was captured.
    fn sound(time: MediaTime) -> AudioFrame {
        let first = time.rescale(RATE).ticks();
        let samples = (first..first + 960).map(|n| n as f32).collect();
        AudioFrame { time, format: AudioFormat { sample_rate: RATE, channels: 1 }, samples }
    }

    #[test]
    fn pauses_leave_no_hole_and_keep_sound_and_picture_together_to_the_sample() {
        let gate = Gate::new(Some(Clock::start()), MediaKind::Video, None);
        let rate = FrameRate::new(30, 1).unwrap();
        // From and to, at odd times; the captured time and the recorded time of whatever is kept must differ by these.
        let pauses = [(1_001, 1_507), (2_033, 2_034), (2_500, 4_000), (4_003, 4_017), (5_555, 6_666)];
        let removed = |captured: f64| -> f64 {
            pauses
                .iter()
                .filter(|(_, to)| captured >= *to as f64 / 1e3)
                .map(|(from, to)| (to - from) as f64 / 1e3)
                .sum()
        };
        let mut events: Vec<(i64, bool)> = pauses.iter().flat_map(|(from, to)| [(*from, true), (*to, false)]).collect();
        events.reverse();
        let (mut memory, mut due, mut last_picture) = (None, None::<MediaTime>, -1.0);
        for tick in 0..400 {
            let now = ms(tick * 20);
            // As it happens: what is captured comes after its time, so a pause is known before.
            while let Some((at, pause)) = events.pop_if(|(at, _)| *at < tick * 20 + 20) {
                let done = if pause { gate.pause_at(Some(ms(at))) } else { gate.resume_at(Some(ms(at))) };
                assert!(done);
            }
            if let Some(frame) = taken(sound(now).pass(&gate, &mut memory)) {
                let captured = f64::from(frame.samples[0]) / 48_000.0;
                assert!((captured - removed(captured) - frame.time.seconds()).abs() < 1e-4, "{captured}");
                if let Some(due) = due {
                    assert!((frame.time.minus(due).seconds()).abs() < 1e-4, "a hole at {captured}");
                }
                due = Some(frame.time.plus(frame.duration()));
            }
            for n in 0..400 {
                let time = rate.time_of(n);
                if time >= now && time < now.plus(ms(20)) {
                    let picture = VideoFrame::new(time, I420::new(16, 16));
                    let inside = pauses.iter().any(|(from, to)| time >= ms(*from) && time < ms(*to));
                    let kept = taken(picture.pass(&gate, &mut ()));
                    assert_eq!(kept.is_none(), inside);
                    if let Some(kept) = kept {
                        let placed = kept.time.seconds();
                        assert!((time.seconds() - removed(time.seconds()) - placed).abs() < 1e-5);
                        assert!(placed > last_picture, "times never stand still or go back");
                        last_picture = placed;
                    }
                }
            }
        }
        let all: i64 = pauses.iter().map(|(from, to)| to - from).sum();
        assert!((due.unwrap().seconds() - (8.0 - all as f64 / 1e3)).abs() < 1e-3);
    }

    #[test]
    fn the_end_is_exact_to_the_sample_and_counts_from_the_first_picture() {
        let gate = Gate::new(Some(Clock::start()), MediaKind::Video, Some(Duration::from_millis(1010)));
        let (mut memory, mut samples, mut pictures) = (None, 0, 0);
        for tick in 0..100 {
            // The camera is late by half a second.
            if tick >= 25 {
                let picture = VideoFrame::new(ms(tick * 20), I420::new(16, 16));
                pictures += usize::from(taken(picture.pass(&gate, &mut ())).is_some());
            }
            samples += taken(sound(ms(tick * 20)).pass(&gate, &mut memory)).map_or(0, |frame| frame.len());
        }
        assert_eq!((pictures, samples), (51, 48 * (500 + 1010)));
        assert!(gate.is_full());
    }

    #[test]
    fn what_was_let_through_is_not_cut_any_more() {
        let gate = Gate::new(Some(Clock::start()), MediaKind::Audio, None);
        let mut memory = None;
        taken(sound(ms(0)).pass(&gate, &mut memory)).unwrap();
        gate.pause_at(Some(ms(5)));
        assert!(taken(sound(ms(20)).pass(&gate, &mut memory)).is_none());
        gate.resume_at(Some(ms(40)));
        let next = taken(sound(ms(40)).pass(&gate, &mut memory)).unwrap();
        assert_eq!((next.time, next.len()), (ms(20), 960));
    }

    #[test]
    fn encoded_pictures_go_on_with_a_key_frame() {
        use crate::media::Codec;
        let gate = Gate::new(Some(Clock::start()), MediaKind::Video, None);
        let frame = |n: i64, key| EncodedFrame { codec: Codec::Vp8, time: ms(n * 10), key, data: vec![1].into() };
        let mut needs_key = false;
        let mut kept = Vec::new();
        for n in 0..10 {
            match n {
                2 => drop(gate.pause_at(Some(ms(20)))),
                5 => drop(gate.resume_at(Some(ms(50)))),
                _ => {}
            }
            kept.extend(
                taken(frame(n, n % 7 == 0).pass(&gate, &mut needs_key)).map(|frame| frame.time.micros() / 10_000),
            );
        }
        assert_eq!(kept, [0, 1, 4, 5, 6]);
    }

    #[test]
    fn a_held_source_waits_and_loses_nothing_and_a_stop_ends_the_wait() {
        struct Count(i64);
        impl Source<VideoFrame> for Count {
            fn next(&mut self, _: &Stop) -> Result<Option<VideoFrame>, Error> {
                self.0 += 1;
                Ok(Some(VideoFrame::new(ms(self.0), I420::new(16, 16))))
            }
        }
        let gate = Gate::new(None, MediaKind::Video, None);
        let mut source = gate.put(Box::new(Count(0)), false);
        let stop = Stop::new();
        assert_eq!(source.next(&stop).unwrap().unwrap().time, ms(1));
        gate.pause();
        let waiting = std::thread::spawn(move || {
            let next = source.next(&stop).unwrap().unwrap().time;
            (source, stop, next)
        });
        assert!(gate.resume());
        let (mut source, stop, next) = waiting.join().unwrap();
        assert_eq!(next, ms(2));
        gate.pause();
        stop.stop(crate::stop::StopReason::Done);
        assert!(source.next(&stop).unwrap().is_some(), "what follows sees the stop");
    }
}
