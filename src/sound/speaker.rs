//! A speaker, with a buffer that is as small as the arrivals allow.

use super::SoundError;
use super::device::SoundDevice;
use super::ring::{Consumer, Producer, ring};
use super::stream::{Talker, Troubles, opened, talk};
use crate::media::{AudioFormat, AudioFrame, MediaTime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Plays frames as they come.
///
/// It begins once a little is buffered. When the buffer runs dry it waits for more, and keeps more from then on; after a while in
/// which nothing was missing it keeps less again. What comes much faster than it is played is left out.
pub struct Speaker {
    label: String,
    format: AudioFormat,
    samples: Producer<f32>,
    shared: Arc<Shared>,
    troubles: Arc<Troubles>,
    /// The underruns that the size of the buffer takes into account, and when it was last changed.
    suited: (u64, Instant),
    left_out: u64,
    _stream: cpal::Stream,
}

/// What the callback and the writer tell each other.
struct Shared {
    /// Samples, of all channels, that are to be buffered before anything is played.
    target: AtomicUsize,
    playing: AtomicBool,
    underruns: AtomicU64,
    /// Microseconds from a callback until what it was given is heard.
    delay: AtomicI64,
    heard: Playout,
}

/// The media time that is being heard, for pictures to keep to. Clones share it.
#[derive(Clone)]
pub struct Playout {
    origin: Instant,
    /// Media time less the time since the origin, in microseconds.
    offset: Arc<AtomicI64>,
}

impl Playout {
    const UNKNOWN: i64 = i64::MIN;

    /// Nothing is heard yet.
    pub fn new() -> Self {
        Self { origin: Instant::now(), offset: Arc::new(AtomicI64::new(Self::UNKNOWN)) }
    }

    /// When what belongs to `time` is heard; `None` while nothing is.
    pub fn instant_of(&self, time: MediaTime) -> Option<Instant> {
        let offset = self.offset.load(Ordering::Relaxed);
        if offset == Self::UNKNOWN {
            return None;
        }
        let micros = u64::try_from(time.micros().saturating_sub(offset)).unwrap_or(0);
        self.origin.checked_add(Duration::from_micros(micros))
    }

    /// What belongs to `time` will be heard after `delay`.
    fn set(&self, time: MediaTime, delay: MediaTime) {
        let due = MediaTime::from(self.origin.elapsed()).micros().saturating_add(delay.micros());
        let offset = time.micros().saturating_sub(due);
        let before = self.offset.load(Ordering::Relaxed);
        // Callbacks come in bursts: what is a little off is only that.
        let offset = if before != Self::UNKNOWN && before.abs_diff(offset) < 40_000 {
            before + (offset - before) / 16
        } else {
            offset
        };
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// Nothing is heard any more.
    fn clear(&self) {
        self.offset.store(Self::UNKNOWN, Ordering::Relaxed);
    }
}

impl Default for Playout {
    fn default() -> Self {
        Self::new()
    }
}

impl Speaker {
    /// The buffer at first, at least, and at most, in milliseconds.
    const FIRST: usize = 40;
    const LEAST: usize = 20;
    const MOST: usize = 200;
    const STEP: usize = 20;
    /// What may be buffered beyond the target before something is left out.
    const SLACK: usize = 80;
    /// How long nothing may have been missing before the buffer is made smaller.
    const CALM: Duration = Duration::from_secs(10);

    /// Opens a speaker for sound of this format; it is running on return. `heard` will tell what it plays. Blocks for as long as the
    /// audio system takes.
    ///
    /// # Errors
    /// When the device is in use, gone, not ours to use, or does not take the format.
    pub fn open(device: &SoundDevice, format: AudioFormat, heard: Playout) -> Result<Self, SoundError> {
        let device = device.clone();
        opened(&device.label.clone(), move || Self::begin(&device, format, heard))
    }

    fn begin(device: &SoundDevice, format: AudioFormat, heard: Playout) -> Result<Self, SoundError> {
        let shared = Arc::new(Shared {
            target: AtomicUsize::new(samples(format, Self::FIRST)),
            playing: AtomicBool::new(false),
            underruns: AtomicU64::new(0),
            delay: AtomicI64::new(0),
            heard,
        });
        let troubles = Arc::default();
        let mut end = None;
        let talker = || {
            let (producer, consumer) = ring(samples(format, 1000));
            end = Some(producer);
            Mouth { samples: consumer, shared: Arc::clone(&shared) }
        };
        let (rate, channels) = (format.sample_rate.get(), format.channels);
        let stream = talk(&device.device, &device.label, rate, channels, &troubles, talker)?;
        Ok(Self {
            label: device.label.clone(),
            format,
            samples: end.expect("a stream that opened was given its talker"),
            shared,
            troubles,
            suited: (0, Instant::now()),
            left_out: 0,
            _stream: stream,
        })
    }

    /// Plays a frame behind those before it. Does not wait.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn write(&mut self, frame: &AudioFrame) -> Result<(), SoundError> {
        if let Some(message) = self.troubles.end() {
            self.shared.heard.clear();
            return Err(SoundError::Gone { label: self.label.clone(), message });
        }
        self.suit();
        let target = self.shared.target.load(Ordering::Relaxed);
        if self.samples.len() > target + samples(self.format, Self::SLACK) || self.samples.room() < frame.samples.len()
        {
            self.left_out += frame.len() as u64;
            return Ok(());
        }
        self.samples.write(frame.samples.iter().copied());
        if self.shared.playing.load(Ordering::Relaxed) {
            let buffered = self.samples.len() / usize::from(self.format.channels.max(1));
            let buffered = MediaTime::new(i64::try_from(buffered).unwrap_or(0), self.format.sample_rate);
            let delay = MediaTime::from_micros(self.shared.delay.load(Ordering::Relaxed)).plus(buffered);
            self.shared.heard.set(frame.time.plus(frame.duration()), delay);
        }
        Ok(())
    }

    /// Makes the buffer as large as it must be.
    fn suit(&mut self) {
        let underruns = self.shared.underruns.load(Ordering::Relaxed);
        let target = self.shared.target.load(Ordering::Relaxed);
        let step = samples(self.format, Self::STEP);
        if underruns > self.suited.0 {
            self.suited = (underruns, Instant::now());
            self.shared.target.store((target + step).min(samples(self.format, Self::MOST)), Ordering::Relaxed);
        } else if self.suited.1.elapsed() > Self::CALM {
            self.suited.1 = Instant::now();
            let least = samples(self.format, Self::LEAST);
            self.shared.target.store(target.saturating_sub(step).max(least), Ordering::Relaxed);
        }
    }

    /// Waits until what is buffered is played; no longer than that takes.
    pub fn drain(self) {
        self.shared.target.store(0, Ordering::Relaxed);
        let frames = self.samples.len() / usize::from(self.format.channels.max(1));
        let left = MediaTime::new(i64::try_from(frames).unwrap_or(0), self.format.sample_rate).duration();
        let deadline = Instant::now() + left + Duration::from_millis(100);
        while self.samples.len() > 0 && Instant::now() < deadline && self.troubles.end().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let underruns = self.shared.underruns.load(Ordering::Relaxed);
        tracing::info!("{}: ran dry {underruns} times, {} samples left out", self.label, self.left_out);
    }
}

/// So many milliseconds, in samples of all channels.
fn samples(format: AudioFormat, millis: usize) -> usize {
    format.sample_rate.get() as usize * millis / 1000 * usize::from(format.channels)
}

/// The audio system's side of it.
struct Mouth {
    samples: Consumer<f32>,
    shared: Arc<Shared>,
}

impl Talker for Mouth {
    fn speak(&mut self, samples: &mut [f32], delay: Duration) {
        self.shared.delay.store(MediaTime::from(delay).micros(), Ordering::Relaxed);
        let buffered = self.samples.len();
        let playing = self.shared.playing.load(Ordering::Relaxed);
        let begins = buffered > 0 && buffered >= self.shared.target.load(Ordering::Relaxed);
        if !playing && !begins {
            samples.fill(0.0);
            return;
        }
        let count = self.samples.read(samples);
        samples[count..].fill(0.0);
        let dry = count < samples.len();
        if dry {
            self.shared.underruns.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.playing.store(!dry, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_plays_once_enough_is_there_and_waits_again_when_it_ran_dry() {
        let (mut producer, consumer) = ring::<f32>(100);
        let shared = Arc::new(Shared {
            target: AtomicUsize::new(10),
            playing: AtomicBool::new(false),
            underruns: AtomicU64::new(0),
            delay: AtomicI64::new(0),
            heard: Playout::new(),
        });
        let mut mouth = Mouth { samples: consumer, shared: Arc::clone(&shared) };
        let mut ask = |count: usize| {
            let mut samples = vec![9.0; count];
            mouth.speak(&mut samples, Duration::ZERO);
            samples
        };
        producer.write([1.0; 8]);
        assert_eq!(ask(4), [0.0; 4], "too little to begin");
        producer.write([1.0; 8]);
        assert_eq!(ask(6), [1.0; 6]);
        assert_eq!(ask(6), [1.0; 6], "below the target, but it has begun");
        assert_eq!(ask(6), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0], "dry");
        producer.write([1.0; 8]);
        assert_eq!(ask(4), [0.0; 4], "it fills up again");
        assert_eq!(shared.underruns.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn pictures_learn_when_their_sound_is_heard() {
        let heard = Playout::new();
        assert_eq!(heard.instant_of(MediaTime::ZERO), None);
        heard.set(MediaTime::from_micros(5_000_000), MediaTime::from_micros(100_000));
        let due = heard.instant_of(MediaTime::from_micros(5_000_000)).unwrap();
        let wait = due.saturating_duration_since(Instant::now());
        assert!(wait > Duration::from_millis(40) && wait <= Duration::from_millis(100), "{wait:?}");
        heard.clear();
        assert_eq!(heard.instant_of(MediaTime::ZERO), None);
    }
}
