//! What is sent of what is captured: the limits that were asked for, and what else gives way when the bits are too few (W3C webrtc-pc `RTCRtpEncodingParameters`, mst-content-hint `RTCDegradationPreference`).

use crate::error::Error;
use crate::media::{DegradationPreference, FrameRate, H264Level, MediaTime, Scaler, VideoFormat, VideoFrame};

/// Limits on a video that is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SendLimits {
    /// Bits per second.
    pub max_bitrate: Option<u32>,
    /// Pictures per second.
    pub max_frame_rate: Option<f64>,
    /// The width and height of the source over what is sent, 1 or more.
    pub scale_resolution_down_by: f64,
    /// What gives way first where the bitrate is too low for both.
    pub degradation_preference: DegradationPreference,
    /// What the other side is ready to decode, where it says so.
    pub level: Option<H264Level>,
}

impl Default for SendLimits {
    fn default() -> Self {
        Self {
            max_bitrate: None,
            max_frame_rate: None,
            scale_resolution_down_by: 1.0,
            degradation_preference: DegradationPreference::default(),
            level: None,
        }
    }
}

impl SendLimits {
    /// Whether anything is limited, which what is encoded already does not heed.
    pub(in crate::ops) fn are_any(&self) -> bool {
        self.max_bitrate.is_some() || self.max_frame_rate.is_some() || self.scale_resolution_down_by > 1.0
    }

    /// The shape of what is sent of pictures of `format`, before anything gives way.
    pub(super) fn shape(&self, format: &VideoFormat) -> VideoFormat {
        let (width, height) = self.fitted((format.width, format.height), self.scale_resolution_down_by);
        let most = self.max_frame_rate.unwrap_or(f64::INFINITY).min(self.level_rate((width, height)));
        let limited = Some(most).filter(|most| *most < format.frame_rate.as_f64()).and_then(FrameRate::from_f64);
        VideoFormat { width, height, frame_rate: limited.unwrap_or(format.frame_rate) }
    }

    /// The shape of what is sent of pictures of `format` where the level makes it less than the user wants.
    pub(in crate::ops) fn reduced_by_level(&self, format: &VideoFormat) -> Option<(H264Level, VideoFormat)> {
        let shape = self.shape(format);
        let is_less = shape != Self { level: None, ..*self }.shape(format);
        self.level.filter(|_| is_less).map(|level| (level, shape))
    }

    /// Each edge divided by `by`, and by more where the level wants it.
    fn fitted(&self, size: (u32, u32), by: f64) -> (u32, u32) {
        let wanted = scaled(size, by);
        let Some(level) = self.level.filter(|level| !level.holds(wanted.0, wanted.1)) else { return wanted };
        // Sixths are the ratios of the usual sizes: 1920x1080 becomes 1280x720.
        let smaller = (7..6 * 1024).map(|sixths| scaled(size, by.max(1.0) * f64::from(sixths) / 6.0));
        smaller.into_iter().find(|(width, height)| level.holds(*width, *height)).unwrap_or(wanted)
    }

    /// Pictures of this size a second that the level takes.
    fn level_rate(&self, (width, height): (u32, u32)) -> f64 {
        self.level.map_or(f64::INFINITY, |level| level.max_frame_rate(width, height))
    }
}

/// Each edge divided by `by`, even, and no less than the smallest picture that every codec takes.
fn scaled((width, height): (u32, u32), by: f64) -> (u32, u32) {
    if by <= 1.0 {
        return (width, height);
    }
    let edge = |pixels: u32| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "smaller than what it was")]
        let edge = (f64::from(pixels) / by / 2.0).round() as u32 * 2;
        edge.max(16.min(pixels))
    };
    (edge(width), edge(height))
}

/// Steps down: by how much each edge and the frame rate are divided.
fn steps(preference: DegradationPreference) -> &'static [(f64, f64)] {
    match preference {
        DegradationPreference::MaintainFramerate => {
            &[(1.0, 1.0), (4.0 / 3.0, 1.0), (2.0, 1.0), (8.0 / 3.0, 1.0), (4.0, 1.0)]
        }
        DegradationPreference::MaintainResolution => &[(1.0, 1.0), (1.0, 1.5), (1.0, 2.0), (1.0, 3.0), (1.0, 6.0)],
        DegradationPreference::Balanced => {
            &[(1.0, 1.0), (4.0 / 3.0, 1.0), (4.0 / 3.0, 1.5), (2.0, 1.5), (2.0, 2.0), (8.0 / 3.0, 2.0), (4.0, 3.0)]
        }
    }
}

/// Bits per pixel below which a step down is taken, and above which a step up is.
const TOO_FEW: f64 = 0.03;
const PLENTY: f64 = 0.05;
/// Times between steps: down at once, but each must take effect; up only when it seems to last.
const DOWN_AFTER: f64 = 1.5;
const UP_AFTER: f64 = 5.0;

/// Brings pictures to what is sent.
pub(super) struct Adaptation {
    limits: SendLimits,
    frame_rate: f64,
    step: usize,
    stepped: Option<MediaTime>,
    due: Option<f64>,
    scaler: Scaler,
}

impl Adaptation {
    pub(super) fn new(limits: SendLimits, format: &VideoFormat) -> Self {
        let frame_rate = limits.shape(format).frame_rate.as_f64();
        Self { limits, frame_rate, step: 0, stepped: None, due: None, scaler: Scaler::default() }
    }

    /// The picture as it is sent, with so many bits per second; `None` when it is left out.
    pub(super) fn adapt(&mut self, picture: VideoFrame, bitrate: u32) -> Result<Option<VideoFrame>, Error> {
        self.choose_step((picture.width(), picture.height()), bitrate, picture.time);
        let (smaller, slower) = steps(self.limits.degradation_preference)[self.step];
        let by = self.limits.scale_resolution_down_by * smaller;
        let (width, height) = self.limits.fitted((picture.width(), picture.height()), by);
        if !self.is_due(picture.time.seconds(), slower, self.limits.level_rate((width, height))) {
            return Ok(None);
        }
        Ok(Some(self.scaler.scale(&picture, width, height)?))
    }

    fn choose_step(&mut self, size: (u32, u32), bitrate: u32, now: MediaTime) {
        let steps = steps(self.limits.degradation_preference);
        let bits_per_pixel = |step: usize| {
            let (width, height) = self.limits.fitted(size, self.limits.scale_resolution_down_by * steps[step].0);
            f64::from(bitrate) / (f64::from(width) * f64::from(height) * self.frame_rate / steps[step].1)
        };
        let since = self.stepped.map_or(f64::INFINITY, |at| now.minus(at).seconds().abs());
        let next = if bits_per_pixel(self.step) < TOO_FEW && since >= DOWN_AFTER {
            (self.step + 1).min(steps.len() - 1)
        } else if since >= UP_AFTER {
            // A path that is back has room for more than the next step.
            (0..self.step).find(|step| bits_per_pixel(*step) > PLENTY).unwrap_or(self.step)
        } else {
            self.step
        };
        if next != self.step {
            tracing::debug!(bitrate, from = self.step, to = next, "another size or frame rate");
            (self.step, self.stepped) = (next, Some(now));
        }
    }

    /// Whether a picture at `now` keeps to the frame rate and to the most that there may be, which it may miss by its jitter.
    fn is_due(&mut self, now: f64, slower: f64, most: f64) -> bool {
        let is_limited = slower > 1.0 || self.limits.max_frame_rate.is_some();
        let interval = if is_limited { slower / self.frame_rate } else { 0.0 }.max(1.0 / most);
        if interval == 0.0 {
            return true;
        }
        let due = self.due.filter(|due| (now - due).abs() < 10.0 * interval).unwrap_or(now);
        if now < due - interval * 0.25 {
            return false;
        }
        self.due = Some((due + interval).max(now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::I420;

    fn format(frame_rate: u32) -> VideoFormat {
        VideoFormat { width: 160, height: 120, frame_rate: FrameRate::new(frame_rate, 1).unwrap() }
    }

    /// Sizes and times, in milliseconds, of what is sent of `seconds` of pictures with a bitrate of its own each.
    fn sent(limits: SendLimits, bitrates: &[u32]) -> Vec<(i64, u32, u32)> {
        let mut adaptation = Adaptation::new(limits, &format(30));
        let pictures = bitrates.iter().enumerate().flat_map(|(second, bitrate)| {
            (0..30i64).map(move |n| (i64::try_from(second).unwrap() * 1_000_000 + n * 1_000_000 / 30, *bitrate))
        });
        pictures
            .filter_map(|(micros, bitrate)| {
                let picture = VideoFrame::new(MediaTime::from_micros(micros), I420::new(160, 120));
                let sent = adaptation.adapt(picture, bitrate).unwrap()?;
                Some((micros / 1000, sent.width(), sent.height()))
            })
            .collect()
    }

    #[test]
    fn limits_are_kept() {
        let all = sent(SendLimits::default(), &[60_000; 2]);
        assert!(all.len() == 60 && all.iter().all(|(_, width, height)| (*width, *height) == (160, 120)));
        for (most, expected) in [(10.0, 20), (15.0, 30), (20.0, 40), (24.0, 48), (60.0, 60)] {
            let limits = SendLimits { max_frame_rate: Some(most), ..SendLimits::default() };
            let count = sent(limits, &[60_000; 2]).len();
            assert!(count.abs_diff(expected) <= 1, "{count} pictures in 2 s for {most} a second");
        }
        let limits = SendLimits { scale_resolution_down_by: 3.0, ..SendLimits::default() };
        assert!(sent(limits, &[60_000]).iter().all(|(_, width, height)| (*width, *height) == (54, 40)));
        let shape = SendLimits { max_frame_rate: Some(12.5), ..limits }.shape(&format(30));
        assert_eq!((shape.width, shape.height, shape.frame_rate.as_f64()), (54, 40, 12.5));
    }

    #[test]
    fn what_the_other_side_can_decode_is_not_exceeded() {
        let level = |id| SendLimits { level: H264Level::of_profile_level_id(id), ..SendLimits::default() };
        let shape = |id, width, height, rate| {
            let VideoFormat { width, height, frame_rate } =
                level(id).shape(&VideoFormat { width, height, ..format(rate) });
            (width, height, frame_rate.as_f64())
        };
        assert_eq!(shape("42e01f", 1920, 1080, 60), (1280, 720, 30.0));
        assert_eq!(shape("42e01f", 1080, 1920, 30), (720, 1280, 30.0));
        assert_eq!(shape("42e01f", 640, 480, 60), (640, 480, 60.0));
        assert_eq!(shape("42e033", 3840, 2160, 30), (3840, 2160, 30.0));
        assert_eq!(shape("42e01f", 65_000, 16, 30).1, 16, "no edge is too long either");
        let (width, height, rate) = shape("42e00a", 640, 480, 30);
        assert!(width * height >= 100 * 80 && width.div_ceil(16) * height.div_ceil(16) <= 99 && rate <= 15.1 * 1.1);
        // 160x120 are 80 macroblocks, and 1485 a second: 18.5 pictures, whatever size and rate the source had at first.
        let count = sent(level("42e00a"), &[60_000; 4]).len();
        assert!((70..=75).contains(&count), "{count} pictures in 4 s");
        assert_eq!(sent(level("42e01f"), &[60_000; 2]).len(), 60);
    }

    #[test]
    fn with_too_few_bits_the_one_that_is_not_preferred_gives_way_and_comes_back() {
        let bitrates = [&[40_000; 2][..], &[6_000; 8], &[50_000; 35]].concat();
        for preference in DegradationPreference::ALL {
            let sent = sent(SendLimits { degradation_preference: preference, ..SendLimits::default() }, &bitrates);
            let second = |n: i64| sent.iter().filter(|(ms, ..)| ms / 1000 == n).copied().collect::<Vec<_>>();
            let (before, low, after) = (second(1), second(9), second(44));
            assert_eq!((before.len(), before[0].1), (30, 160), "{preference}");
            let (fewer, smaller) = (low.len() < 25, low[0].1 < 160);
            let expected = match preference {
                DegradationPreference::Balanced => (true, true),
                DegradationPreference::MaintainFramerate => (false, true),
                DegradationPreference::MaintainResolution => (true, false),
            };
            assert_eq!((fewer, smaller), expected, "{preference}: {} of {}", low.len(), low[0].1);
            let (count, width) = (after.len(), after[0].1);
            assert_eq!((count, width), (30, 160), "{preference}: enough again");
        }
    }
}
