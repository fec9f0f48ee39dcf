//! Which microphone, and how it is set: SelectSettings over the devices that are there; mediacapture-main section 5.3.

use super::SoundError;
use super::device::{HIGHEST_RATE, LOWEST_RATE, Role, SoundDevice, devices, named};
use crate::media::{
    self, AudioConstraints, AudioFormat, AudioSettings, BooleanConstraint, DeviceSalt, Overconstrained, Property,
    pick_whole,
};
use std::num::NonZeroU32;

/// A device and what it is to be set to.
#[derive(Clone)]
pub struct Chosen {
    /// The device.
    pub device: SoundDevice,
    /// Its settings, those of the processing behind it included.
    pub settings: AudioSettings,
}

impl Chosen {
    /// Rate and channels.
    pub fn format(&self) -> AudioFormat {
        AudioFormat {
            sample_rate: NonZeroU32::new(self.settings.sample_rate).expect("picked from a range above zero"),
            channels: self.settings.channel_count,
        }
    }
}

/// What constraints make of the devices of a role, or of the one that `id` names. `processed`: whether a voice is processed where
/// nobody says otherwise.
///
/// # Errors
/// When there is no such device, or none that meets the constraints.
pub fn choose(
    role: Role,
    id: Option<&str>,
    constraints: &AudioConstraints,
    processed: bool,
    salt: &DeviceSalt,
) -> Result<Chosen, SoundError> {
    let mut devices = devices();
    devices = match id {
        Some(_) => vec![named(devices, role, id, salt)?],
        None => devices.into_iter().filter(|device| device.role == role).collect(),
    };
    if devices.is_empty() {
        return Err(SoundError::NotFound { what: role.to_string() });
    }
    let processed = processed && role == Role::Microphone;
    let mut refusal = None;
    let mut best: Option<(f64, Chosen)> = None;
    // The default one comes first, and stays where others are no better.
    for device in devices {
        let shape = |set: &AudioConstraints| settings(&device, set, processed, salt);
        let settled = constraints.settled(|set| shape(set).is_ok());
        match shape(&settled) {
            Ok(settings) => {
                let distance = media::distance(&settings, constraints).unwrap_or(f64::INFINITY);
                if best.as_ref().is_none_or(|(least, _)| distance < *least) {
                    best = Some((distance, Chosen { device, settings }));
                }
            }
            Err(error) => {
                refusal.get_or_insert(SoundError::Overconstrained { label: device.label, error });
            }
        }
    }
    let nothing = || SoundError::NotFound { what: role.to_string() };
    best.map(|(_, chosen)| chosen).ok_or_else(|| refusal.unwrap_or_else(nothing))
}

fn settings(
    device: &SoundDevice,
    set: &AudioConstraints,
    processed: bool,
    salt: &DeviceSalt,
) -> Result<AudioSettings, Overconstrained> {
    let rates = f64::from(LOWEST_RATE)..=f64::from(HIGHEST_RATE);
    let channels = 1.0..=f64::from(device.channels.max(2));
    let own = f64::from(device.channels.clamp(1, 2));
    let channel_count = pick_whole(Property::ChannelCount, set.channel_count, own, channels)?;
    let choice = |constraint: &Option<BooleanConstraint>| {
        let wanted = constraint.unwrap_or_default();
        Some(wanted.exact.or(wanted.ideal).unwrap_or(processed))
    };
    let info = device.info(salt);
    let settings = AudioSettings {
        sample_rate: pick_whole(Property::SampleRate, set.sample_rate, 48_000.0, rates)?,
        sample_size: Some(16),
        channel_count: u16::try_from(channel_count).expect("picked from a range of 16 bits"),
        latency: Some(0.01),
        echo_cancellation: choice(&set.echo_cancellation),
        auto_gain_control: choice(&set.auto_gain_control),
        noise_suppression: choice(&set.noise_suppression),
        device_id: info.device_id,
        group_id: info.group_id,
    };
    media::check(&settings, set)?;
    Ok(settings)
}
