//! A running stream of the audio system, and what its callbacks leave behind.

use super::SoundError;
use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{BufferSize, InputCallbackInfo, OutputCallbackInfo, SampleFormat, StreamConfig};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// How long opening may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// What went wrong while a stream runs.
#[derive(Default)]
pub(super) struct Troubles {
    /// Times that we did not serve the audio system in time, or it us.
    xruns: AtomicU64,
    end: Mutex<Option<String>>,
}

impl Troubles {
    /// Called by the audio system, on a thread of its own choice.
    fn note(&self, error: &cpal::Error) {
        match error.kind() {
            cpal::ErrorKind::Xrun => {
                self.xruns.fetch_add(1, Ordering::Relaxed);
            }
            cpal::ErrorKind::RealtimeDenied | cpal::ErrorKind::DeviceChanged => {}
            _ => {
                let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
                end.get_or_insert_with(|| error.to_string());
            }
        }
    }

    /// Why the stream is over, if it is.
    pub(super) fn end(&self) -> Option<String> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often one side was not in time.
    pub(super) fn xruns(&self) -> u64 {
        self.xruns.load(Ordering::Relaxed)
    }
}

/// Takes what a microphone gives.
pub(super) trait Listener: Send + 'static {
    /// Interleaved samples, the first of which is so old. Must not lock, wait or allocate.
    fn hear(&mut self, samples: impl ExactSizeIterator<Item = f32>, age: Duration);
}

/// Gives what a speaker plays.
pub(super) trait Talker: Send + 'static {
    /// Fills interleaved samples, the first of which will be heard so much later. Must not lock, wait or allocate.
    fn speak(&mut self, samples: &mut [f32], delay: Duration);
}

/// Opens a stream on a thread that may hang where this one must not: PulseAudio's own start waits for the first sound, which a
/// server that hangs never gives.
pub(super) fn opened<T: Send + 'static>(
    label: &str,
    open: impl FnOnce() -> Result<T, SoundError> + Send + 'static,
) -> Result<T, SoundError> {
    let (sender, opened) = mpsc::sync_channel(1);
    let opening = std::thread::Builder::new().name("sound-open".to_owned()).spawn(move || {
        // Too late is too late: what was opened then is closed again.
        let _ = sender.send(open());
    });
    if let Err(error) = opening {
        return Err(SoundError::Open { label: label.to_owned(), message: error.to_string() });
    }
    let stalled = || SoundError::Stalled { label: label.to_owned(), seconds: PATIENCE.as_secs() };
    opened.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(stalled()))
}

/// Opens a stream by `open` in the formats and buffer sizes that may do, the best first, and starts it.
fn first_that_works(
    label: &str,
    rate: u32,
    channels: u16,
    formats: &[SampleFormat],
    mut open: impl FnMut(StreamConfig, SampleFormat) -> Result<cpal::Stream, cpal::Error>,
) -> Result<cpal::Stream, SoundError> {
    // ALSA's library says on standard error what we say in our own words.
    #[cfg(target_os = "linux")]
    let _complaints = alsa::Output::local_error_handler();
    let mut refusal = None;
    for format in formats {
        // PulseAudio's own buffer is 2 s. Some devices have sizes of their own and refuse any other.
        for buffer_size in [BufferSize::Fixed(rate / 100), BufferSize::Default] {
            let opened = open(StreamConfig { channels, sample_rate: rate, buffer_size }, *format);
            match opened.and_then(|stream| stream.play().map(|()| stream)) {
                Ok(stream) => return Ok(stream),
                Err(error) if error.kind() == cpal::ErrorKind::UnsupportedConfig => {
                    refusal.get_or_insert(error);
                }
                Err(error) => return Err(SoundError::of_opening(label, &error)),
            }
        }
    }
    let refusal = refusal.unwrap_or_else(|| cpal::Error::new(cpal::ErrorKind::UnsupportedConfig));
    Err(SoundError::of_opening(label, &refusal))
}

/// Starts to listen.
pub(super) fn listen<L: Listener>(
    device: &cpal::Device,
    label: &str,
    rate: u32,
    channels: u16,
    troubles: &Arc<Troubles>,
    mut listener: impl FnMut() -> L,
) -> Result<cpal::Stream, SoundError> {
    first_that_works(
        label,
        rate,
        channels,
        &[SampleFormat::F32, SampleFormat::I16, SampleFormat::I32],
        |config, format| {
            let troubles = Arc::clone(troubles);
            let failed = move |error: cpal::Error| troubles.note(&error);
            let mut listener = listener();
            let age = |info: &InputCallbackInfo| {
                let times = info.timestamp();
                times.callback.duration_since(times.capture)
            };
            match format {
                SampleFormat::F32 => {
                    let heard =
                        move |data: &[f32], info: &InputCallbackInfo| listener.hear(data.iter().copied(), age(info));
                    device.build_input_stream(config, heard, failed, Some(PATIENCE))
                }
                SampleFormat::I16 => {
                    let heard = move |data: &[i16], info: &InputCallbackInfo| {
                        listener.hear(data.iter().map(|sample| f32::from(*sample) / 32_768.0), age(info));
                    };
                    device.build_input_stream(config, heard, failed, Some(PATIENCE))
                }
                _ => {
                    let heard = move |data: &[i32], info: &InputCallbackInfo| {
                        listener.hear(data.iter().map(|sample| *sample as f32 / 2_147_483_648.0), age(info));
                    };
                    device.build_input_stream(config, heard, failed, Some(PATIENCE))
                }
            }
        },
    )
}

/// The most that one callback asks for; more is silence.
const MOST_ASKED: usize = 65_536;

/// Starts to talk.
pub(super) fn talk<T: Talker>(
    device: &cpal::Device,
    label: &str,
    rate: u32,
    channels: u16,
    troubles: &Arc<Troubles>,
    mut talker: impl FnMut() -> T,
) -> Result<cpal::Stream, SoundError> {
    first_that_works(label, rate, channels, &[SampleFormat::F32, SampleFormat::I16], |config, format| {
        let troubles = Arc::clone(troubles);
        let failed = move |error: cpal::Error| troubles.note(&error);
        let mut talker = talker();
        let delay = |info: &OutputCallbackInfo| {
            let times = info.timestamp();
            times.playback.duration_since(times.callback)
        };
        if format == SampleFormat::F32 {
            let asked = move |data: &mut [f32], info: &OutputCallbackInfo| talker.speak(data, delay(info));
            return device.build_output_stream(config, asked, failed, Some(PATIENCE));
        }
        let mut floats = vec![0.0; MOST_ASKED];
        let asked = move |data: &mut [i16], info: &OutputCallbackInfo| {
            let count = data.len().min(MOST_ASKED);
            talker.speak(&mut floats[..count], delay(info));
            #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
            data.iter_mut().zip(&floats[..count]).for_each(|(out, sample)| *out = (*sample * 32_767.0) as i16);
            data[count..].fill(0);
        };
        device.build_output_stream(config, asked, failed, Some(PATIENCE))
    })
}
