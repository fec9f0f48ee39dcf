//! How much the path carries, by the loss in the peer's receiver reports alone: for peers that tell neither of every packet nor
//! what they can take.
//!
//! The loss-based controller of draft-ietf-rmcat-gcc-02 section 6: a queue is not seen before it runs over.

use super::estimator::{LEAST, START, expire, rate};
use std::collections::VecDeque;
use std::time::Instant;

/// Part of the packets whose loss means that too much is sent, and below which more may be.
const LOSSY: f64 = 0.10;
const CLEAN: f64 = 0.02;
/// By how much more is sent after each clean report.
const GROWTH: f64 = 1.08;
/// Seconds over which it is judged what is sent.
const WINDOW: f64 = 1.0;

#[derive(Debug)]
pub(super) struct LossBased {
    began: Instant,
    target: Option<f64>,
    sent: VecDeque<(f64, usize)>,
}

impl LossBased {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, target: None, sent: VecDeque::new() }
    }

    fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.began).as_secs_f64()
    }

    /// Notes a packet that leaves.
    pub(super) fn departed(&mut self, bytes: usize, now: Instant) {
        let now = self.seconds(now);
        self.sent.push_back((now, bytes));
        expire(&mut self.sent, now - WINDOW);
    }

    /// Bits per second that may be sent; `None` before the first report.
    pub(super) fn target(&self) -> Option<f64> {
        self.target
    }

    /// Takes a report: which part of the packets since the last one was lost.
    pub(super) fn report(&mut self, lost: f64) {
        let (before, sent) = (self.target.unwrap_or(START), rate(&self.sent));
        let target = if lost > LOSSY {
            before.min(sent.max(LEAST)) * (1.0 - 0.5 * lost)
        } else if lost < CLEAN {
            // What was not tried is not known to pass.
            before.max((before * GROWTH).min(1.5 * sent + LEAST))
        } else {
            before
        };
        self.target = Some(target.max(LEAST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A path whose queue holds 300 ms, for so many seconds with a report each; kilobits a second that came, by second.
    fn run(
        control: &mut LossBased,
        begin: Instant,
        seconds: std::ops::Range<u32>,
        carries: f64,
        most: f64,
    ) -> Vec<f64> {
        let (mut queued, mut courses) = (0.0, Vec::new());
        for second in seconds {
            let (mut sent, mut lost) = (0u32, 0u32);
            for step in 0..100 {
                let now = begin + Duration::from_millis(u64::from(second * 1000 + step * 10));
                let target = control.target().unwrap_or(START).min(most);
                queued = (queued - carries * 0.01_f64).max(0.0);
                let mut owed = target * 0.01;
                while owed > 0.0 {
                    owed -= 1000.0;
                    control.departed(125, now);
                    sent += 1;
                    if queued > carries * 0.3 { lost += 1 } else { queued += 1000.0 }
                }
            }
            control.report(f64::from(lost) / f64::from(sent));
            courses.push(f64::from(sent - lost));
        }
        courses
    }

    fn mean(course: &[f64]) -> f64 {
        course.iter().sum::<f64>() / course.len() as f64
    }

    #[test]
    fn a_narrow_path_is_used_and_a_wider_one_found() {
        let begin = Instant::now();
        let mut control = LossBased::new(begin);
        assert_eq!(control.target(), None, "nothing is limited before the peer has said anything");
        let narrow = run(&mut control, begin, 0..30, 500e3, 2e6);
        let used = mean(&narrow[5..]);
        assert!((400.0..=510.0).contains(&used), "{used} of 500 kbit/s: {narrow:?}");
        let wide = run(&mut control, begin, 30..60, 5e6, 1e6);
        assert!(mean(&wide[20..]) > 900.0, "{wide:?}");
        let narrow = run(&mut control, begin, 60..80, 300e3, 1e6);
        let used = mean(&narrow[5..]);
        assert!((230.0..=310.0).contains(&used), "{used} of 300 kbit/s: {narrow:?}");
    }

    #[test]
    fn a_little_loss_changes_nothing_and_much_never_ends_it_all() {
        let mut control = LossBased::new(Instant::now());
        control.report(0.05);
        assert_eq!(control.target(), Some(START));
        for _ in 0..100 {
            control.report(0.9);
        }
        assert_eq!(control.target(), Some(LEAST));
    }
}
