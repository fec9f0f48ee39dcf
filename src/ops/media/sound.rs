//! Microphones, and what the speakers play, as inputs.

use crate::capture::{SourceSpec, Wanted};
use crate::error::{Error, ErrorKind};
use crate::filter::{FarEnd, VoiceProcessor, VoiceSettings};
use crate::media::{AudioConstraints, AudioFrame, AudioInput, AudioSettings, DeviceSalt, Source};
use crate::sound::{self, Microphone, Role};
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// The source, if it is a microphone or what the speakers play. `far_end` is what the other side of a conversation says: with one,
/// the voice in a microphone is processed where nobody wants it otherwise.
pub(super) fn open(
    spec: &SourceSpec,
    wanted: Wanted,
    constraints: &AudioConstraints,
    salt: &DeviceSalt,
    origin: Instant,
    far_end: Option<&FarEnd>,
) -> Option<Result<(AudioInput, AudioSettings), Error>> {
    let (role, id) = match spec {
        SourceSpec::Microphone(id) => (Role::Microphone, id.as_deref()),
        SourceSpec::System => (Role::Monitor, None),
        _ => return None,
    };
    if wanted.video {
        let message = format!("{spec} has no video");
        return Some(Err(Error::new(ErrorKind::InvalidInput, "NotFoundError", message).at("open")));
    }
    Some(open_device(role, id, constraints, salt, origin, far_end).map_err(|error| error.at("open")))
}

fn open_device(
    role: Role,
    id: Option<&str>,
    constraints: &AudioConstraints,
    salt: &DeviceSalt,
    origin: Instant,
    far_end: Option<&FarEnd>,
) -> Result<(AudioInput, AudioSettings), Error> {
    let chosen = sound::choose(role, id, constraints, far_end.is_some(), salt)?;
    let (format, settings) = (chosen.format(), chosen.settings);
    let microphone = Microphone::open(&chosen.device, format, origin)?;
    let voice = VoiceSettings {
        echo_cancellation: settings.echo_cancellation == Some(true),
        noise_suppression: settings.noise_suppression == Some(true),
        auto_gain_control: settings.auto_gain_control == Some(true),
    };
    let source: Box<dyn Source<AudioFrame>> = if voice.any() {
        let processor = VoiceProcessor::new(voice, format, far_end.cloned().unwrap_or_default());
        Box::new(Voice { microphone, processor })
    } else {
        Box::new(microphone)
    };
    Ok((AudioInput::Raw { format, live: true, source }, settings))
}

/// A microphone whose sound is processed.
struct Voice {
    microphone: Microphone,
    processor: VoiceProcessor,
}

impl Source<AudioFrame> for Voice {
    fn next(&mut self, stop: &Stop) -> Result<Option<AudioFrame>, Error> {
        let Some(frame) = self.microphone.next(stop)? else { return Ok(None) };
        Ok(Some(self.processor.process(frame)?))
    }

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        self.microphone.lost()
    }
}
