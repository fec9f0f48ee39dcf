//! Which picture a snapshot is of: cameras begin in the dark and find their exposure by and by.

use super::options::Warmup;
use crate::media::{MediaTime, VideoFrame};
use std::collections::VecDeque;

/// Pictures that are looked at: those of the first half have to be as bright as those of the second. One by one they differ with
/// what moves before the camera.
const WINDOW: usize = 8;
/// Of 255: so much may the mean brightness of the halves differ when it has settled.
const STEADY: f64 = 3.0;
/// Of 255: a mean brightness that is no picture. Black is 16.
const BLACK: f64 = 20.0;
/// A room may be dark, and light may flicker: then the picture is taken after this long, in seconds.
const PATIENCE: f64 = 3.0;

/// Looks at pictures until one is worth keeping.
pub(super) struct Exposure {
    warmup: Warmup,
    live: bool,
    seen: u32,
    recent: VecDeque<f64>,
    began: Option<MediaTime>,
}

/// What is thought of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Better ones will come.
    Wait,
    /// It is worth keeping.
    Take,
    /// It is kept since time is up; it is dark, or its brightness never settled.
    TakeAnyway,
}

impl Exposure {
    /// For pictures of a device (`live`) or of a file.
    pub(super) fn new(warmup: Warmup, live: bool) -> Self {
        Self { warmup, live, seen: 0, recent: VecDeque::with_capacity(WINDOW), began: None }
    }

    /// How many pictures were passed over.
    pub(super) fn passed_over(&self) -> u32 {
        self.seen.saturating_sub(1)
    }

    /// Judges the next picture.
    pub(super) fn judge(&mut self, frame: &VideoFrame) -> Judgement {
        self.seen += 1;
        match self.warmup {
            Warmup::Frames(count) if self.seen > count => return Judgement::Take,
            Warmup::Frames(_) => return Judgement::Wait,
            Warmup::Auto if !self.live => return Judgement::Take,
            Warmup::Auto => {}
        }
        let began = *self.began.get_or_insert(frame.time);
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(mean(frame.planes()[0]));
        if self.has_settled() {
            Judgement::Take
        } else if frame.time.minus(began).seconds() >= PATIENCE {
            Judgement::TakeAnyway
        } else {
            Judgement::Wait
        }
    }
}

impl Exposure {
    fn has_settled(&self) -> bool {
        let half = |from: usize| self.recent.iter().skip(from).take(WINDOW / 2).sum::<f64>() / (WINDOW / 2) as f64;
        let (before, now) = (half(0), half(WINDOW / 2));
        self.recent.len() == WINDOW && (before - now).abs() <= STEADY && now > BLACK
    }
}

/// Of some thousand pixels, evenly spread.
fn mean(luma: &[u8]) -> f64 {
    let step = (luma.len() / 10_007).max(1);
    let (sum, count) =
        luma.iter().step_by(step).fold((0_u64, 0_u64), |(sum, count), value| (sum + u64::from(*value), count + 1));
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::I420;

    fn frame(n: i64, brightness: u8) -> VideoFrame {
        let mut picture = I420::new(64, 48);
        picture.data_mut().fill(brightness);
        VideoFrame::new(MediaTime::from_micros(n * 33_333), picture)
    }

    /// The number of the picture that is taken, and how.
    fn taken(mut exposure: Exposure, brightness: impl Fn(i64) -> u8) -> (i64, Judgement) {
        (0..1000).map(|n| (n, exposure.judge(&frame(n, brightness(n))))).find(|(_, it)| *it != Judgement::Wait).unwrap()
    }

    #[test]
    fn a_camera_that_wakes_up_is_waited_for() {
        let waking = |n: i64| u8::try_from((16 + n * 8).min(120)).unwrap();
        let (number, judgement) = taken(Exposure::new(Warmup::Auto, true), waking);
        assert_eq!(judgement, Judgement::Take);
        assert!((14..30).contains(&number), "it has settled, and soon: {number}");
    }

    #[test]
    fn a_steady_camera_is_taken_soon_but_not_at_its_first_picture() {
        let (number, judgement) = taken(Exposure::new(Warmup::Auto, true), |_| 100);
        assert_eq!(judgement, Judgement::Take);
        assert!((3..8).contains(&number), "{number}");
    }

    #[test]
    fn what_moves_before_a_camera_holds_nothing_up() {
        let (number, judgement) = taken(Exposure::new(Warmup::Auto, true), |n| if n % 2 == 0 { 96 } else { 101 });
        assert_eq!(judgement, Judgement::Take);
        assert!((3..8).contains(&number), "{number}");
    }

    #[test]
    fn the_dark_is_taken_after_a_while() {
        let (number, judgement) = taken(Exposure::new(Warmup::Auto, true), |_| 16);
        assert_eq!(judgement, Judgement::TakeAnyway);
        assert!((85..95).contains(&number), "3 seconds: {number}");
    }

    #[test]
    fn a_count_is_a_count_and_a_file_needs_no_warming() {
        assert_eq!(taken(Exposure::new(Warmup::Frames(0), true), |_| 0), (0, Judgement::Take));
        assert_eq!(taken(Exposure::new(Warmup::Frames(7), true), |_| 0), (7, Judgement::Take));
        assert_eq!(taken(Exposure::new(Warmup::Auto, false), |_| 0), (0, Judgement::Take));
    }
}
