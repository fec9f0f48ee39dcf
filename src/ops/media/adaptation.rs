//! What is sent of what is captured: the limits that were asked for, and what else gives way when the bits are too few (W3C webrtc-pc `RTCRtpEncodingParameters`, mst-content-hint `RTCDegradationPreference`).

use crate::error::Error;
use crate::media::{DegradationPreference, FrameRate, MediaTime, Scaler, VideoFormat, VideoFrame};

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
}

impl Default for SendLimits {
    fn default() -> Self {
        Self {
            max_bitrate: None,
            max_frame_rate: None,
            scale_resolution_down_by: 1.0,
            degradation_preference: DegradationPreference::default(),
        }
    }
}

impl SendLimits {
    /// The shape of what is sent of pictures of `format`, before anything gives way.
    pub(super) fn shape(&self, format: &VideoFormat) -> VideoFormat {
        let (width, height) = scaled((format.width, format.height), self.scale_resolution_down_by);
        let most = self.max_frame_rate.unwrap_or(f64::INFINITY);
        let limited = Some(most).filter(|most| *most < format.frame_rate.as_f64()).and_then(FrameRate::from_f64);
        VideoFormat { width, height, frame_rate: limited.unwrap_or(format.frame_rate) }
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
        if !self.is_due(picture.time.seconds(), slower) {
            return Ok(None);
        }
        let by = self.limits.scale_resolution_down_by * smaller;
        let (width, height) = scaled((picture.width(), picture.height()), by);
        Ok(Some(self.scaler.scale(&picture, width, height)?))
    }

    fn choose_step(&mut self, size: (u32, u32), bitrate: u32, now: MediaTime) {
        let steps = steps(self.limits.degradation_preference);
        let bits_per_pixel = |step: usize| {
            let (width, height) = scaled(size, self.limits.scale_resolution_down_by * steps[step].0);
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

    /// Whether a picture at `now` keeps to the frame rate, which it may miss by its jitter.
    fn is_due(&mut self, now: f64, slower: f64) -> bool {
        if slower <= 1.0 && self.limits.max_frame_rate.is_none() {
            return true;
        }
        let interval = slower / self.frame_rate;
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
