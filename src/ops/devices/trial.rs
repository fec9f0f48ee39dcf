//! Whether devices work: each is opened for a second.
//!
//! ```text
//! camera, display, microphone -> what comes in a second -> Trial
//! a quiet tone -> speaker -> whether it is played -> Trial
//! ```

use super::{Options, Outcome};
use crate::capture::camera;
use crate::capture::screen::{self, ScreenOptions, SurfaceKind};
use crate::error::{Error, ErrorKind};
use crate::media::{
    AudioFormat, AudioFrame, DeviceInfo, DeviceKind, DeviceSalt, MediaTime, Source, VideoConstraints, VideoFrame,
};
use crate::sound::{self, Microphone, Playout, Role, Speaker};
use crate::stop::Stop;
use serde::Serialize;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How long a device is looked at or listened to.
const LENGTH: Duration = Duration::from_secs(1);
/// Until then a speaker must have played something.
const PATIENCE: Duration = Duration::from_secs(5);
const FORMAT: AudioFormat = AudioFormat { sample_rate: NonZeroU32::new(48_000).expect("not zero"), channels: 1 };

/// What became of the attempt to use a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// Which device.
    pub device_id: String,
    /// What it is.
    pub kind: DeviceKind,
    /// What people call it.
    pub label: String,
    /// Whether it works.
    pub ok: bool,
    /// From asking for it to its first picture or sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Pictures that came in the second after the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames_per_second: Option<u32>,
    /// The loudest that a microphone heard, in dBFS; absent when it heard nothing at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<f64>,
    /// Why it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// Why a device does not work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// Of DOMException.
    pub name: &'static str,
    /// One line for people.
    pub message: String,
}

/// Lists the devices and tries each that is listed, one after the other, until `stop`. That one does not work is an error.
/// Speakers sound.
pub async fn test(options: Options, stop: Stop) -> Outcome {
    let salt = options.salt;
    let Outcome { mut report, mut error } = super::run(options).await;
    let devices = report.devices.clone();
    let all = tokio::task::spawn_blocking(move || {
        let live = devices.iter().take_while(|_| !stop.is_stopped());
        live.map(|device| try_out(device, &salt, &stop)).collect::<Vec<_>>()
    });
    match all.await {
        Ok(trials) => {
            let broken = trials.iter().filter(|trial| !trial.ok).count();
            if broken > 0 && error.is_none() {
                let message = format!("{broken} of {} devices do not work", trials.len());
                error = Some(Error::new(ErrorKind::Device, "NotReadableError", message).at("devices"));
            }
            report.tests = Some(trials);
        }
        Err(failed) => error = Some(Error::new(ErrorKind::Internal, "OperationError", failed.to_string())),
    }
    Outcome { report, error }
}

/// What was found out of a device that works.
#[derive(Default)]
struct Found {
    seconds: f64,
    frames: Option<u32>,
    peak: Option<f64>,
}

fn try_out(device: &DeviceInfo, salt: &DeviceSalt, stop: &Stop) -> Trial {
    let id = Some(device.device_id.as_str());
    let found = match device.kind {
        DeviceKind::VideoInput => {
            look(stop, |origin| Ok(camera::open(id, salt, &VideoConstraints::default(), origin)?.source))
        }
        DeviceKind::Display => look(stop, |origin| {
            let (options, constraints) = (ScreenOptions::default(), VideoConstraints::default());
            Ok(Box::new(screen::open(SurfaceKind::Monitor, id, &options, &constraints, origin)?))
        }),
        DeviceKind::AudioInput => listen(id, salt, stop),
        DeviceKind::AudioOutput => play(id, salt, stop),
    };
    let (seconds, frames_per_second, peak, error) = match found {
        Ok(Found { seconds, frames, peak }) => (Some(seconds), frames, peak, None),
        Err(error) => (None, None, None, Some(Failure { name: error.name(), message: error.to_string() })),
    };
    let DeviceInfo { device_id, kind, label, .. } = device.clone();
    Trial { device_id, kind, label, ok: error.is_none(), seconds, frames_per_second, peak, error }
}

/// The pictures of a second.
fn look(stop: &Stop, open: impl FnOnce(Instant) -> Result<Box<dyn Source<VideoFrame>>, Error>) -> Result<Found, Error> {
    let began = Instant::now();
    let mut source = open(began)?;
    let first = source.next(stop)?.ok_or_else(nothing)?.time;
    let mut found = Found { seconds: began.elapsed().as_secs_f64(), frames: Some(0), peak: None };
    while let Some(frame) = source.next(stop)? {
        if frame.time.minus(first).seconds() > LENGTH.as_secs_f64() {
            break;
        }
        found.frames = found.frames.map(|count| count + 1);
    }
    Ok(found)
}

/// The loudness of a second.
fn listen(id: Option<&str>, salt: &DeviceSalt, stop: &Stop) -> Result<Found, Error> {
    let began = Instant::now();
    let device = sound::find(Role::Microphone, id, salt)?;
    let mut microphone = Microphone::open(&device, FORMAT, began)?;
    let first = microphone.next(stop)?.ok_or_else(nothing)?;
    let mut found = Found { seconds: began.elapsed().as_secs_f64(), ..Found::default() };
    let loudest = |frame: &AudioFrame| frame.samples.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
    let mut peak = loudest(&first);
    while let Some(frame) = microphone.next(stop)? {
        if frame.time.minus(first.time).seconds() > LENGTH.as_secs_f64() {
            break;
        }
        peak = peak.max(loudest(&frame));
    }
    found.peak = (peak > 0.0).then(|| 20.0 * f64::from(peak).log10());
    Ok(found)
}

/// Half a second of a quiet tone, and whether it is heard.
fn play(id: Option<&str>, salt: &DeviceSalt, stop: &Stop) -> Result<Found, Error> {
    /// -26 dBFS.
    const LOUDNESS: f32 = 0.05;
    const TURNS_PER_SAMPLE: f32 = 440.0 / 48_000.0 * std::f32::consts::TAU;
    let began = Instant::now();
    let heard = Playout::new();
    let device = sound::find(Role::Speaker, id, salt)?;
    let mut speaker = Speaker::open(&device, FORMAT, heard.clone())?;
    let mut at = 0_u16;
    let mut first = None;
    loop {
        // Ten milliseconds at a time, as they would come from a peer.
        let samples = (at..at + 480).map(|at| LOUDNESS * (f32::from(at) * TURNS_PER_SAMPLE).sin()).collect();
        let time = MediaTime::from(began.elapsed());
        speaker.write(&AudioFrame { time, format: FORMAT, samples })?;
        // The period of the tone fits into this many samples.
        at = (at + 480) % 4800;
        if first.is_none() && heard.instant_of(time).is_some() {
            first = Some(began.elapsed());
        }
        match first {
            Some(first) if began.elapsed() > first + LENGTH / 2 => {
                return Ok(Found { seconds: first.as_secs_f64(), ..Found::default() });
            }
            None if began.elapsed() > PATIENCE => {
                let message = format!("{}: it plays nothing", device.label);
                return Err(Error::new(ErrorKind::Device, "NotReadableError", message));
            }
            _ if stop.wait_for(Duration::from_millis(10)) => return Err(nothing()),
            _ => {}
        }
    }
}

fn nothing() -> Error {
    Error::new(ErrorKind::Device, "AbortError", "it was stopped before it gave anything")
}
