//! A microphone, or the monitor of a speaker, as a source: live, 10 ms at a time.

use super::SoundError;
use super::device::SoundDevice;
use super::ring::{Consumer, Producer, ring};
use super::stream::{Listener, Troubles, listen, opened};
use crate::error::Error;
use crate::media::{AudioFormat, AudioFrame, MediaTime, SampleClock, Source};
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The sound that a device hears.
///
/// Its times are those at which the samples were captured, as the audio system tells, on the timeline that begins at the origin it
/// was opened with. What nobody reads for a second is lost; so is what was captured before the first read.
pub struct Microphone {
    label: String,
    format: AudioFormat,
    samples: Consumer<f32>,
    /// The number of a sample and the microsecond of its capture, one after the other.
    stamps: Consumer<i64>,
    counts: Counts,
    troubles: Arc<Troubles>,
    clock: SampleClock,
    /// The last stamp that was passed.
    stamp: (i64, i64),
    arrived: Instant,
    begun: bool,
    _stream: cpal::Stream,
}

/// What a microphone has lost so far; readable while it runs.
#[derive(Clone, Default)]
pub struct Counts {
    lost: Arc<AtomicU64>,
    gaps: Arc<AtomicU64>,
}

impl Counts {
    /// Samples per channel that nobody read in time.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Holes in the stream.
    pub fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }
}

impl Microphone {
    /// Silence of the audio system itself, which is no silence in the room, after which the device counts as stalled.
    const STALLED_AFTER: Duration = Duration::from_secs(5);
    /// How old what is read first may be.
    const FRESH: MediaTime = MediaTime::from_micros(50_000);

    /// Opens a device; it is running on return. The timeline begins at `origin`. Blocks for as long as the audio system takes, at
    /// most a few seconds.
    ///
    /// # Errors
    /// When the device is in use, gone, not ours to use, or does not give the format.
    pub fn open(device: &SoundDevice, format: AudioFormat, origin: Instant) -> Result<Self, SoundError> {
        let device = device.clone();
        opened(&device.label.clone(), move || Self::begin(&device, format, origin))
    }

    fn begin(device: &SoundDevice, format: AudioFormat, origin: Instant) -> Result<Self, SoundError> {
        let (label, rate) = (device.label.clone(), format.sample_rate.get());
        let troubles = Arc::default();
        let counts = Counts::default();
        let mut ends = None;
        let listener = || {
            let (samples, heard) = ring(rate as usize * usize::from(format.channels));
            let (stamps, passed) = ring(1024);
            ends = Some((heard, passed));
            Ear { samples, stamps, channels: usize::from(format.channels), origin, lost: Arc::clone(&counts.lost) }
        };
        let stream = listen(&device.device, &label, rate, format.channels, &troubles, listener)?;
        let (samples, stamps) = ends.expect("a stream that opened was given its listener");
        Ok(Self {
            label,
            format,
            samples,
            stamps,
            counts,
            troubles,
            clock: SampleClock::new(format.sample_rate),
            stamp: (0, 0),
            arrived: Instant::now(),
            begun: false,
            _stream: stream,
        })
    }

    /// Rate and channels.
    pub fn format(&self) -> AudioFormat {
        self.format
    }

    /// What it loses.
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// When the next sample was captured.
    fn time(&mut self) -> MediaTime {
        let next = self.samples.position().cast_signed();
        while self.stamps.peek(1).is_some() && self.stamps.peek(0).is_some_and(|number| number <= next) {
            self.stamp = (self.stamps.pop().unwrap_or_default(), self.stamps.pop().unwrap_or_default());
        }
        let since = (next - self.stamp.0) / i64::from(self.format.channels);
        MediaTime::from_micros(self.stamp.1).plus(MediaTime::new(since, self.format.sample_rate))
    }

    /// The next frame, if it has arrived.
    fn take(&mut self) -> Option<AudioFrame> {
        let channels = usize::from(self.format.channels);
        let frame = (self.format.sample_rate.get() / 100) as usize * channels;
        if self.samples.len() < frame {
            return None;
        }
        if !std::mem::replace(&mut self.begun, true) {
            // Whatever came while nobody listened is old news.
            let fresh = Self::FRESH.rescale(self.format.sample_rate).ticks();
            let fresh = usize::try_from(fresh).unwrap_or(0) * channels;
            self.samples.skip(self.samples.len().saturating_sub(fresh.max(frame)) / channels * channels);
        }
        let time = self.time();
        if self.clock.breaks_at(time) {
            if self.clock.now().ticks() > 0 {
                self.counts.gaps.fetch_add(1, Ordering::Relaxed);
            }
            self.clock.start(time);
        }
        let mut samples = vec![0.0; frame];
        self.samples.read(&mut samples);
        let frame = AudioFrame { time: self.clock.now(), format: self.format, samples };
        self.clock.advance(frame.len());
        Some(frame)
    }
}

impl Source<AudioFrame> for Microphone {
    fn lost(&self) -> Option<Arc<AtomicU64>> {
        Some(Arc::clone(&self.counts.lost))
    }

    fn next(&mut self, stop: &Stop) -> Result<Option<AudioFrame>, Error> {
        if !self.begun {
            self.arrived = Instant::now();
        }
        loop {
            if let Some(frame) = self.take() {
                self.arrived = Instant::now();
                return Ok(Some(frame));
            }
            if let Some(message) = self.troubles.end() {
                return Err(SoundError::Gone { label: self.label.clone(), message }.into());
            }
            if self.arrived.elapsed() > Self::STALLED_AFTER {
                let seconds = Self::STALLED_AFTER.as_secs();
                return Err(SoundError::Stalled { label: self.label.clone(), seconds }.into());
            }
            // The callback may wake nobody, so this looks, four times in a frame.
            if stop.wait_until(Instant::now() + Duration::from_micros(2500)) {
                return Ok(None);
            }
        }
    }
}

impl Drop for Microphone {
    fn drop(&mut self) {
        let (lost, gaps, xruns) = (self.counts.lost(), self.counts.gaps(), self.troubles.xruns());
        if lost + gaps + xruns > 0 {
            tracing::info!("{}: {lost} samples lost, {gaps} gaps, {xruns} times served too late", self.label);
        }
    }
}

/// The audio system's side of it.
struct Ear {
    samples: Producer<f32>,
    stamps: Producer<i64>,
    channels: usize,
    origin: Instant,
    lost: Arc<AtomicU64>,
}

impl Listener for Ear {
    fn hear(&mut self, samples: impl ExactSizeIterator<Item = f32>, age: Duration) {
        let captured = MediaTime::from(self.origin.elapsed()).micros() - MediaTime::from(age).micros();
        let offered = samples.len();
        // Half a frame would turn left and right round.
        let room = self.samples.room() / self.channels * self.channels;
        let number = self.samples.position().cast_signed();
        if room > 0 && self.stamps.room() >= 2 {
            self.stamps.write([number, captured]);
        }
        let taken = self.samples.write(samples.take(room));
        let lost = (offered - taken) / self.channels;
        if lost > 0 {
            self.lost.fetch_add(lost as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ear(origin: Instant, capacity: usize) -> (Ear, Consumer<f32>, Consumer<i64>) {
        let ((samples, heard), (stamps, passed)) = (ring(capacity), ring(64));
        (Ear { samples, stamps, channels: 2, origin, lost: Arc::default() }, heard, passed)
    }

    #[test]
    fn what_is_heard_carries_the_time_of_its_capture_and_what_does_not_fit_is_counted_in_whole_frames() {
        let origin = Instant::now() - Duration::from_secs(1);
        let (mut ear, heard, mut passed) = ear(origin, 11);
        ear.hear([0.5; 8].into_iter(), Duration::from_millis(300));
        assert_eq!(passed.pop(), Some(0));
        let micros = passed.pop().unwrap();
        assert!((700_000..800_000).contains(&micros), "{micros}");
        ear.hear([0.25; 8].into_iter(), Duration::ZERO);
        assert_eq!((heard.len(), ear.lost.load(Ordering::Relaxed)), (10, 3));
        assert_eq!(passed.pop(), Some(8));
    }
}
