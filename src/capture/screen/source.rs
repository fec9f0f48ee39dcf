//! Frames of a surface: paced, of constant size, and only where something changed.

use super::picture::{Converter, Pixels};
use super::{ScreenError, Surface};
use crate::error::Error;
use crate::media::{I420, MediaTime, Source, VideoFormat, VideoFrame};
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What became of a surface since it was looked at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It shows the same.
    Same,
    /// It shows something else.
    Changed,
    /// It is gone: closed, or its monitor taken away.
    Ended,
}

/// Whoever looks at the pixels while they are lent; what it says against them is an error of the display server.
pub(super) type Take<'a> = dyn FnMut(Pixels<'_>) -> Result<(), String> + 'a;

/// Pixels of a display server, brought up to date on demand.
pub(super) trait Grab: Send {
    /// Fetches what changed. Bounded in time even where the display server hangs.
    fn look(&mut self) -> Result<Look, ScreenError>;

    /// Lends the pixels as they were last fetched, with the cursor in them if it is to be seen.
    fn show(&mut self, to: &mut Take<'_>) -> Result<(), ScreenError>;
}

/// Counts of one capture, readable while it runs.
#[derive(Debug, Default)]
pub struct ScreenStats {
    captured: AtomicU64,
    repeated: AtomicU64,
    missed: AtomicU64,
}

impl ScreenStats {
    /// Frames that were taken because the surface had changed.
    pub fn captured(&self) -> u64 {
        self.captured.load(Ordering::Relaxed)
    }

    /// Frames that were given again because nothing had changed for a while.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Moments at which the surface should have been looked at, but capturing was late by a whole frame or more.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// A surface as a live source.
///
/// It is looked at once in a frame period, and a frame is given when it has changed. While nothing changes the last picture is
/// given again, without being captured or converted again: for three seconds after a change often, for the encoder to sharpen
/// it, then once a second, for whoever joins or seeks, and once at the end, which it marks.
pub struct ScreenSource {
    grab: Box<dyn Grab>,
    surface: Surface,
    converter: Converter,
    format: VideoFormat,
    origin: Instant,
    next: Option<u64>,
    last: Option<Shown>,
    ended: bool,
    stats: Arc<ScreenStats>,
}

struct Shown {
    picture: Arc<I420>,
    /// Its frame, in periods since the origin.
    n: u64,
    /// How often it was given again.
    repeats: u32,
}

/// How often a picture that stands is given again while an encoder may still sharpen it.
const SETTLING: u32 = 30;
const SETTLING_EVERY: Duration = Duration::from_millis(100);
const STANDING_EVERY: Duration = Duration::from_secs(1);

impl ScreenSource {
    pub(super) fn new(grab: Box<dyn Grab>, surface: Surface, format: VideoFormat, origin: Instant) -> Self {
        let converter = Converter::new(format.width, format.height);
        Self { grab, surface, converter, format, origin, next: None, last: None, ended: false, stats: Arc::default() }
    }

    /// The shape of its frames.
    pub fn format(&self) -> VideoFormat {
        self.format
    }

    /// What is captured, as it was when it was opened.
    pub fn surface(&self) -> &Surface {
        &self.surface
    }

    /// Its counts.
    pub fn stats(&self) -> Arc<ScreenStats> {
        Arc::clone(&self.stats)
    }

    /// The frame whose period is running.
    fn running(&self) -> u64 {
        let rate = self.format.frame_rate;
        let elapsed = self.origin.elapsed().as_nanos();
        let n = elapsed * u128::from(rate.numerator.get()) / (u128::from(rate.denominator.get()) * 1_000_000_000);
        u64::try_from(n).unwrap_or(u64::MAX)
    }

    fn time_of(&self, n: u64) -> MediaTime {
        self.format.frame_rate.time_of(n)
    }

    /// Waits for the next frame period; `None` when stopped.
    fn tick(&mut self, stop: &Stop) -> Option<u64> {
        let running = self.running();
        let n = self.next.map_or(running, |next| next.max(running));
        self.stats.missed.fetch_add(n - self.next.unwrap_or(n), Ordering::Relaxed);
        if stop.wait_until(self.origin + self.time_of(n).duration()) {
            return None;
        }
        self.next = Some(n + 1);
        Some(n)
    }

    fn again(&mut self, n: u64) -> Option<VideoFrame> {
        let time = self.time_of(n);
        let last = self.last.as_mut().filter(|last| n > last.n)?;
        last.n = n;
        last.repeats += 1;
        self.stats.repeated.fetch_add(1, Ordering::Relaxed);
        Some(VideoFrame { time, picture: Arc::clone(&last.picture) })
    }

    /// Whether the last picture has stood for long enough to be given again at frame `n`.
    fn stands(&self, n: u64) -> bool {
        let Some(last) = &self.last else { return false };
        let every = if last.repeats < SETTLING { SETTLING_EVERY } else { STANDING_EVERY };
        self.time_of(n).minus(self.time_of(last.n)).duration() >= every
    }

    fn end(&mut self) -> Option<VideoFrame> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        self.again(self.running())
    }
}

impl Source<VideoFrame> for ScreenSource {
    fn next(&mut self, stop: &Stop) -> Result<Option<VideoFrame>, Error> {
        if self.ended {
            return Ok(None);
        }
        loop {
            let Some(n) = self.tick(stop) else { return Ok(self.end()) };
            match self.grab.look()? {
                Look::Ended => return Ok(self.end()),
                Look::Changed => {
                    let (converter, mut picture) = (&mut self.converter, None);
                    self.grab.show(&mut |pixels| {
                        picture = Some(Arc::new(converter.convert(pixels)?));
                        Ok(())
                    })?;
                    let Some(picture) = picture else { continue };
                    self.last = Some(Shown { picture: Arc::clone(&picture), n, repeats: 0 });
                    self.stats.captured.fetch_add(1, Ordering::Relaxed);
                    return Ok(Some(VideoFrame { time: self.time_of(n), picture }));
                }
                Look::Same if self.stands(n) => return Ok(self.again(n)),
                Look::Same => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::screen::SurfaceKind;
    use crate::capture::screen::picture::Order;
    use crate::media::FrameRate;
    use crate::stop::StopReason;
    use std::collections::VecDeque;

    /// Shows what a script says, a grey of its own for each change, and the same once the script is over.
    struct Scripted {
        script: VecDeque<Look>,
        grey: u8,
    }

    impl Grab for Scripted {
        fn look(&mut self) -> Result<Look, ScreenError> {
            let look = self.script.pop_front().unwrap_or(Look::Same);
            self.grey += u8::from(look == Look::Changed);
            Ok(look)
        }

        fn show(&mut self, to: &mut Take<'_>) -> Result<(), ScreenError> {
            let data = vec![self.grey; 16 * 16 * 4];
            let pixels = Pixels { data: &data, stride: 64, skip: 0, width: 16, height: 16, order: Order::Bgr };
            to(pixels).map_err(|detail| ScreenError::Lost { display: "script".to_owned(), detail })
        }
    }

    fn source(script: &[Look], fps: f64) -> ScreenSource {
        let grab = Scripted { script: script.iter().copied().collect(), grey: 0 };
        let format = VideoFormat { width: 16, height: 16, frame_rate: FrameRate::from_f64(fps).unwrap() };
        let surface = Surface {
            id: "script".to_owned(),
            kind: SurfaceKind::Monitor,
            label: String::new(),
            application: None,
            x: 0,
            y: 0,
            width: 16,
            height: 16,
            primary: true,
        };
        ScreenSource::new(Box::new(grab), surface, format, Instant::now())
    }

    #[test]
    fn every_change_is_a_frame_and_what_stands_is_repeated_without_a_copy() {
        let mut source = source(&[Look::Changed, Look::Changed, Look::Same, Look::Changed], 200.0);
        let stop = Stop::new();
        let again = SETTLING as usize + 1;
        let frames: Vec<_> = (0..3 + again).map(|_| source.next(&stop).unwrap().unwrap()).collect();
        let pictures: Vec<_> = frames.iter().map(|frame| Arc::as_ptr(&frame.picture)).collect();
        assert!(pictures[0] != pictures[1] && pictures[1] != pictures[2]);
        assert!(pictures[2..].iter().all(|picture| *picture == pictures[2]), "the last one stands");
        let gaps: Vec<_> = frames.windows(2).map(|pair| pair[1].time.minus(pair[0].time).seconds()).collect();
        assert!(gaps[2..1 + again].iter().all(|gap| *gap >= 0.1), "{gaps:?}");
        assert!(gaps[1 + again..].iter().all(|gap| *gap >= 1.0), "{gaps:?}");
        let stats = source.stats();
        assert_eq!((stats.captured(), stats.repeated()), (3, u64::from(SETTLING) + 1));
    }

    #[test]
    fn a_stop_and_the_end_of_the_surface_are_marked_by_the_last_picture_at_their_time() {
        let mut closed = source(&[Look::Changed, Look::Same, Look::Same, Look::Ended], 100.0);
        let stop = Stop::new();
        let first = closed.next(&stop).unwrap().unwrap();
        let last = closed.next(&stop).unwrap().unwrap();
        assert!(Arc::ptr_eq(&first.picture, &last.picture) && last.time.minus(first.time).seconds() >= 0.03);
        assert!(closed.next(&stop).unwrap().is_none());

        let mut stopped = source(&[Look::Changed], 100.0);
        let first = stopped.next(&stop).unwrap().unwrap();
        assert!(!stop.wait_for(Duration::from_millis(50)));
        stop.stop(StopReason::Done);
        let last = stopped.next(&stop).unwrap().unwrap();
        assert!(last.time.minus(first.time).seconds() >= 0.04);
        assert!(stopped.next(&stop).unwrap().is_none());
    }

    #[test]
    fn periods_that_pass_unlooked_at_are_counted() {
        let mut source = source(&[Look::Changed; 10], 200.0);
        let stop = Stop::new();
        source.next(&stop).unwrap();
        assert!(!stop.wait_for(Duration::from_millis(60)));
        source.next(&stop).unwrap();
        assert!(source.stats().missed() >= 10, "{:?}", source.stats());
    }
}
