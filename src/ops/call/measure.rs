//! What `test` media shows at the other end: the barcode in its pictures tells when each was captured and which is
//! missing, flash and chirp tell how far sound and picture are apart.

use crate::media::barcode;
use crate::media::chirp::ChirpDetector;
use crate::media::{AudioFrame, MediaTime, VideoFrame};
use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A distribution of delays, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// The least.
    pub min: f64,
    /// Half of all were no more.
    pub median: f64,
    /// 95 % of all were no more.
    pub p95: f64,
    /// The most.
    pub max: f64,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// From the capture of a picture at the peer to the end of its decoding here. Both clocks must agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Pictures whose barcode was read.
    pub frames_measured: u64,
    /// Decoded pictures without a readable barcode.
    pub frames_unreadable: u64,
    /// Pictures that the peer captured and that never came, between the first and the last measured.
    pub frames_missing: u64,
    /// Times without a new picture for as long as webrtc-stats calls a freeze.
    pub freeze_count: u64,
    /// Those times together, in seconds.
    pub total_freezes_duration: f64,
    /// How much later the picture comes than the sound that belongs to it, in seconds: median over all seconds heard
    /// and seen; negative when the sound is late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub av_skew: Option<f64>,
}

#[derive(Default)]
struct State {
    delays: Vec<f32>,
    unreadable: u64,
    first_and_last: Option<(u32, u32)>,
    shown: Option<Instant>,
    intervals: (f64, u64),
    freezes: (u64, f64),
    was_flash: Option<bool>,
    flashes: Vec<MediaTime>,
    chirps: Vec<MediaTime>,
    detector: Option<ChirpDetector>,
}

/// Collects from both tracks.
pub(super) struct Measure {
    state: Mutex<State>,
}

impl Measure {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { detector: Some(ChirpDetector::new()), ..State::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A picture was decoded just now.
    pub(super) fn picture(&self, picture: &VideoFrame) {
        let now = Instant::now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let read = barcode::read(picture);
        let flash = barcode::flash(picture);
        let mut state = self.lock();
        state.note_interval(now);
        if flash && state.was_flash == Some(false) {
            state.flashes.push(picture.time);
        }
        state.was_flash = Some(flash);
        let Some(read) = read else {
            state.unreadable += 1;
            return;
        };
        let age = read.age_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX));
        #[expect(clippy::cast_possible_truncation, reason = "a delay does not need more than 24 bits")]
        state.delays.push((age as f64 / 1e6) as f32);
        let first = state.first_and_last.map_or(read.frame, |(first, _)| first);
        state.first_and_last = Some((first, read.frame));
    }

    /// Sound was decoded.
    pub(super) fn sound(&self, sound: &AudioFrame) {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(detector) = &mut state.detector {
            detector.push(sound, &mut |onset| state.chirps.push(onset));
        }
    }

    pub(super) fn result(&self) -> Measured {
        let mut state = self.lock();
        state.delays.sort_by(f32::total_cmp);
        let at = |part: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index below the length")]
            let index = ((state.delays.len() - 1) as f64 * part).round() as usize;
            f64::from(state.delays[index])
        };
        let latency =
            (!state.delays.is_empty()).then(|| Latency { min: at(0.0), median: at(0.5), p95: at(0.95), max: at(1.0) });
        let measured = state.delays.len() as u64;
        let expected = state.first_and_last.map_or(0, |(first, last)| u64::from(last.wrapping_sub(first)) + 1);
        Measured {
            latency,
            frames_measured: measured,
            frames_unreadable: state.unreadable,
            frames_missing: expected.saturating_sub(measured + state.unreadable),
            freeze_count: state.freezes.0,
            total_freezes_duration: state.freezes.1,
            av_skew: skew(&state.flashes, &state.chirps),
        }
    }
}

impl State {
    /// webrtc-stats `freezeCount`: a gap of three average ones, or of an average one and 150 ms, if that is more.
    fn note_interval(&mut self, now: Instant) {
        if let Some(last) = self.shown.replace(now) {
            let gap = (now - last).as_secs_f64();
            let (sum, count) = self.intervals;
            if count >= 10 {
                let average = sum / count as f64;
                if gap >= (3.0 * average).max(average + 0.15) {
                    self.freezes.0 += 1;
                    self.freezes.1 += gap;
                }
            }
            self.intervals = (sum + gap, count + 1);
        }
    }
}

/// The median distance of each flash to the chirp next to it.
pub(in crate::ops) fn skew(flashes: &[MediaTime], chirps: &[MediaTime]) -> Option<f64> {
    let mut distances: Vec<f64> = flashes
        .iter()
        .filter_map(|flash| {
            let distances = chirps.iter().map(|chirp| flash.seconds() - chirp.seconds());
            distances.min_by(|a, b| a.abs().total_cmp(&b.abs())).filter(|distance| distance.abs() < 0.5)
        })
        .collect();
    distances.sort_by(f64::total_cmp);
    distances.get(distances.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_the_median_over_pairs_that_belong_together() {
        let at = |millis: &[i64]| millis.iter().map(|ms| MediaTime::from_micros(ms * 1000)).collect::<Vec<_>>();
        let skew = skew(&at(&[1030, 2020, 3040, 9000]), &at(&[1000, 2000, 3000])).unwrap();
        assert!((skew - 0.03).abs() < 1e-6, "{skew}");
        assert_eq!(super::skew(&at(&[1000]), &[]), None);
    }
}
