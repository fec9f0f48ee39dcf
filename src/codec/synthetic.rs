//! Moving pictures and sound for the conformance suite: deterministic, and cheap enough for debug builds.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Test arithmetic on small numbers.

use crate::media::{AudioFormat, AudioFrame, FrameRate, I420, MediaTime, VideoFrame};
use std::num::NonZeroU32;

/// xorshift64*: the same numbers on every machine.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }
}

/// Cuts moving windows out of a texture of rounded blobs and fine grain.
pub(super) struct Film {
    texture: Vec<u8>,
    random: Random,
    hard: bool,
}

impl Film {
    const SIDE: usize = 2048;

    /// `hard` adds a band that no motion vector can predict.
    pub(super) fn new(hard: bool) -> Self {
        let mut random = Random(7);
        let mut texture = Vec::with_capacity(Self::SIDE * Self::SIDE);
        for y in 0..Self::SIDE {
            let wave = (y as f32 * 0.07).sin() * 50.0;
            let ripple = (y % 64) as i32 - 32;
            for x in 0..Self::SIDE {
                let grain = (random.next() >> 59) as i32 / if hard { 1 } else { 4 };
                let ramp = (x % 128) as i32 - 64;
                texture.push((128 + wave as i32 + ramp * ripple / 40 + grain).clamp(16, 235) as u8);
            }
        }
        Self { texture, random, hard }
    }

    /// Frame `n` at 30 fps.
    pub(super) fn frame(&mut self, n: usize, width: u32, height: u32) -> VideoFrame {
        let mut picture = I420::new(width, height);
        let sizes = [(picture.width(), 1), (picture.chroma_width(), 2), (picture.chroma_width(), 2)];
        for (index, (plane, (stride, scale))) in picture.planes_mut().into_iter().zip(sizes).enumerate() {
            let stride = stride as usize;
            let rows = plane.len() / stride;
            for (y, row) in plane.chunks_exact_mut(stride).enumerate() {
                let wild = self.hard && y * 6 < rows;
                let shift = if wild { self.random.below(Self::SIDE) } else { n * 3 / scale };
                let line = (y + index * 300 + n / scale) % Self::SIDE;
                let start = line * Self::SIDE + shift % (Self::SIDE - stride);
                row.copy_from_slice(&self.texture[start..start + stride]);
            }
        }
        VideoFrame::new(time_of(n), picture)
    }
}

/// The time of frame `n` at 30 fps, far from zero and off any round number.
pub(super) fn time_of(n: usize) -> MediaTime {
    let start = MediaTime::from_micros(3_600_000_000_123);
    start.plus(FrameRate::new(30, 1).unwrap().time_of(n as u64))
}

/// Peak signal to noise ratio of the luma, in dB.
pub(super) fn psnr(a: &I420, b: &I420) -> f64 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let error = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
    let sum: u64 = a.planes()[0].iter().zip(b.planes()[0]).map(error).sum();
    10.0 * (255.0f64.powi(2) * a.planes()[0].len() as f64 / (sum.max(1) as f64)).log10()
}

/// `samples` per channel of a tone that goes on from sample `at`.
pub(super) fn tone(format: AudioFormat, hz: f32, at: usize, samples: usize, time: MediaTime) -> AudioFrame {
    let rate = format.sample_rate.get() as f64;
    let sample = |i: usize| ((i as f64 / rate * f64::from(hz)).fract() as f32 * std::f32::consts::TAU).sin() * 0.5;
    let samples = (at..at + samples).flat_map(|i| vec![sample(i); usize::from(format.channels)]).collect();
    AudioFrame { time, format, samples }
}

pub(super) fn audio_format(rate: u32, channels: u16) -> AudioFormat {
    AudioFormat { sample_rate: NonZeroU32::new(rate).unwrap(), channels }
}

/// How strongly `hz` sounds in every `channels`th sample: the amplitude of that frequency.
pub(super) fn amplitude(samples: &[f32], channels: usize, hz: f64) -> f64 {
    let (mut sin, mut cos, mut count) = (0.0f64, 0.0f64, 0);
    for (i, &sample) in samples.iter().step_by(channels).enumerate() {
        let angle = i as f64 / 48_000.0 * hz * std::f64::consts::TAU;
        sin += f64::from(sample) * angle.sin();
        cos += f64::from(sample) * angle.cos();
        count = i + 1;
    }
    sin.hypot(cos) * 2.0 / f64::from(count.max(1) as u32)
}

/// Processor time of this thread.
#[expect(unsafe_code, reason = "std has no clock of processor time")]
pub(super) fn cpu() -> std::time::Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    std::time::Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
