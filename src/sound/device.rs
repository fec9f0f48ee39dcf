//! The microphones and speakers that are there.
//!
//! One audio system is asked, the first that answers: PulseAudio, which PipeWire speaks as well, then PipeWire, then ALSA, which
//! knows the cards themselves. What they make up where there is no card is left out.

use super::SoundError;
use crate::media::{Capabilities, DeviceInfo, DeviceKind, DeviceSalt, NoSuchDevice, Range};
use cpal::traits::{DeviceTrait, HostTrait};
use std::fmt;
use std::path::{Path, PathBuf};

/// What sound a device gives or takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What is in front of it: a microphone.
    Microphone,
    /// What a speaker plays, given back.
    Monitor,
    /// It plays.
    Speaker,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Microphone => "microphone",
            Self::Monitor => "speaker whose sound could be captured",
            Self::Speaker => "speaker",
        })
    }
}

/// A microphone, speaker or monitor that is there.
#[derive(Clone)]
pub struct SoundDevice {
    /// What it is for.
    pub role: Role,
    /// What people call it.
    pub label: String,
    /// What the audio system calls it.
    pub path: String,
    /// Whether it is used when none is named. A monitor is, where its speaker is.
    pub default: bool,
    /// What distinguishes the physical device that it is part of.
    pub physical: String,
    pub(super) device: cpal::Device,
    /// Channels that it has by itself.
    pub(super) channels: u16,
}

impl SoundDevice {
    /// What is said about it.
    pub fn info(&self, salt: &DeviceSalt) -> DeviceInfo {
        let kind = match self.role {
            Role::Microphone | Role::Monitor => DeviceKind::AudioInput,
            Role::Speaker => DeviceKind::AudioOutput,
        };
        let capabilities = (kind == DeviceKind::AudioInput).then(|| Capabilities {
            sample_rate: Some(Range { min: f64::from(LOWEST_RATE), max: f64::from(HIGHEST_RATE) }),
            sample_size: Some(Range { min: 16.0, max: 16.0 }),
            latency: Some(Range { min: 0.01, max: 0.01 }),
            echo_cancellation: vec![true, false],
            auto_gain_control: vec![true, false],
            noise_suppression: vec![true, false],
            channel_count: Some(Range { min: 1.0, max: f64::from(self.channels.max(2)) }),
            ..Capabilities::default()
        });
        DeviceInfo {
            device_id: salt.device_id(kind, &self.path),
            group_id: salt.group_id(&self.physical),
            kind,
            label: self.label.clone(),
            default: self.default,
            path: Some(self.path.clone()),
            capabilities,
        }
    }
}

/// The sample rates that audio systems convert between.
pub(super) const LOWEST_RATE: u32 = 8000;
pub(super) const HIGHEST_RATE: u32 = 192_000;

/// The devices that are there; of each role the default first. Blocks while the audio system is asked: at most a few seconds,
/// where a server hangs.
pub fn devices() -> Vec<SoundDevice> {
    // ALSA's library writes its complaints to standard error unless somebody else takes them; on this thread we do.
    #[cfg(target_os = "linux")]
    let complaints = alsa::Output::local_error_handler();
    let mut hosts = cpal::available_hosts();
    hosts.sort_by_key(|host| preference(&host.to_string()));
    let mut found = Vec::new();
    for id in hosts {
        match cpal::host_from_id(id) {
            Ok(host) => {
                found = of_host(&host);
                break;
            }
            Err(error) => tracing::debug!("{id}: {error}"),
        }
    }
    #[cfg(target_os = "linux")]
    if let Ok(complaints) = complaints {
        complaints.borrow().buffer_string(|text| {
            let text = String::from_utf8_lossy(text);
            text.lines().for_each(|line| tracing::debug!("ALSA: {line}"));
        });
    }
    found.sort_by_key(|device| !device.default);
    found
}

fn preference(host: &str) -> usize {
    ["pulseaudio", "pipewire"].iter().position(|name| host.eq_ignore_ascii_case(name)).unwrap_or(2)
}

/// The device of a role that a user means, or the default one.
///
/// # Errors
/// [`SoundError::NotFound`] and [`SoundError::Ambiguous`].
pub fn find(role: Role, id: Option<&str>, salt: &DeviceSalt) -> Result<SoundDevice, SoundError> {
    named(devices(), role, id, salt)
}

/// See [`find`].
pub(super) fn named(
    mut devices: Vec<SoundDevice>,
    role: Role,
    id: Option<&str>,
    salt: &DeviceSalt,
) -> Result<SoundDevice, SoundError> {
    let Some(id) = id else {
        let default = devices.into_iter().find(|device| device.role == role);
        return default.ok_or_else(|| SoundError::NotFound { what: role.to_string() });
    };
    let what = format!("{role} '{id}'");
    // A monitor can be asked for as a microphone by its whole name, as other programs allow.
    devices.retain(|device| device.role == role || (role == Role::Microphone && device.path == id));
    let infos: Vec<DeviceInfo> = devices.iter().map(|device| device.info(salt)).collect();
    match DeviceInfo::find(&infos, id) {
        Ok(info) => {
            let meant = devices.into_iter().find(|device| Some(&device.path) == info.path.as_ref());
            meant.ok_or(SoundError::NotFound { what })
        }
        Err(NoSuchDevice::Unknown) => Err(SoundError::NotFound { what }),
        Err(NoSuchDevice::Ambiguous(labels)) => Err(SoundError::Ambiguous { what, labels: labels.join(", ") }),
    }
}

fn of_host(host: &cpal::Host) -> Vec<SoundDevice> {
    let name = |device: cpal::Device| device.id().map(|id| id.id().to_owned()).ok();
    let default_input = host.default_input_device().and_then(name);
    let default_output = host.default_output_device().and_then(name);
    let listed = match host.devices() {
        Ok(devices) => devices,
        Err(error) => {
            tracing::warn!("sound devices cannot be listed: {error}");
            return Vec::new();
        }
    };
    let (is_pipewire, is_alsa) = match preference(&host.id().to_string()) {
        0 => (false, false),
        1 => (true, false),
        _ => (false, true),
    };
    let mut found = Vec::new();
    for device in listed {
        let (Ok(id), Ok(description)) = (device.id(), device.description()) else { continue };
        let path = id.id().to_owned();
        // PipeWire lists what other programs play and record as well; only devices are made by a factory.
        if is_pipewire && description.driver().is_none() {
            continue;
        }
        let Some((directions, physical)) = (if is_alsa { of_card(&path) } else { of_server(&path, &description) })
        else {
            continue;
        };
        for role in directions {
            let default = match role {
                Role::Microphone => default_input.as_ref() == Some(&path),
                Role::Speaker => default_output.as_ref() == Some(&path),
                Role::Monitor => {
                    let speaker = path.strip_suffix(MONITOR).unwrap_or(&path);
                    default_output.as_deref() == Some(speaker)
                }
            };
            let config = match role {
                Role::Speaker => device.default_output_config(),
                // Asking a card would open it, which fails while it is in use.
                _ if is_alsa => Err(cpal::Error::new(cpal::ErrorKind::Other)),
                _ => device.default_input_config(),
            };
            found.push(SoundDevice {
                role,
                label: description.name().to_owned(),
                path: path.clone(),
                default,
                physical: physical.clone(),
                device: device.clone(),
                channels: config.map_or(2, |config| config.channels()),
            });
        }
    }
    // To ALSA and PipeWire the default is a device of its own, which stands for one of the others: the first, as far as they tell.
    for role in [Role::Microphone, Role::Speaker, Role::Monitor] {
        if !found.iter().any(|device| device.role == role && device.default)
            && let Some(first) = found.iter_mut().find(|device| device.role == role)
        {
            first.default = true;
        }
    }
    found
}

/// What PulseAudio calls the monitor of a sink.
const MONITOR: &str = ".monitor";

/// The roles of a server's device, and what its physical device is called.
fn of_server(path: &str, description: &cpal::DeviceDescription) -> Option<(Vec<Role>, String)> {
    // What servers make up where there is no card, and what stands for whichever is the default.
    let made_up = [
        "auto_null",
        "input_default",
        "output_default",
        "default_input",
        "default_output",
        "sink_default",
        "source_default",
    ];
    if made_up.contains(&path.trim_end_matches(MONITOR)) {
        return None;
    }
    let roles = match description.direction() {
        cpal::DeviceDirection::Input if path.ends_with(MONITOR) => vec![Role::Monitor],
        cpal::DeviceDirection::Input => vec![Role::Microphone],
        cpal::DeviceDirection::Output => vec![Role::Speaker],
        // PipeWire's sinks give back what they play.
        cpal::DeviceDirection::Duplex => vec![Role::Speaker, Role::Monitor],
        _ => return None,
    };
    // alsa_input.usb-Maker_Model_Serial-02.analog-stereo: the part in the middle is the card.
    let card = path.strip_prefix("alsa_input.").or_else(|| path.strip_prefix("alsa_output."));
    let physical = card.and_then(|card| card.rsplit_once('.')).map_or(path, |(card, _)| card);
    Some((roles, physical.trim_end_matches(MONITOR).to_owned()))
}

/// The roles of one of ALSA's devices, if it is a card and not one of the many names for it.
fn of_card(path: &str) -> Option<(Vec<Role>, String)> {
    let (card, device) = path.strip_prefix("plughw:CARD=")?.split_once(",DEV=")?;
    // Cards are listed by number too.
    if card.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let place = Path::new("/proc/asound").join(card);
    let mut roles = Vec::new();
    for (direction, role) in [('c', Role::Microphone), ('p', Role::Speaker)] {
        if place.join(format!("pcm{device}{direction}")).exists() {
            roles.push(role);
        }
    }
    let number = std::fs::canonicalize(&place).unwrap_or_default();
    let number = number.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Some((roles, physical(&PathBuf::from("/sys/class/sound").join(number).join("device"), card)))
}

/// What distinguishes the hardware behind a card: in USB by what is plugged in, as for cameras.
fn physical(hardware: &Path, card: &str) -> String {
    let word = |folder: &Path, file: &str| {
        std::fs::read_to_string(folder.join(file)).map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    let Ok(hardware) = std::fs::canonicalize(hardware) else { return card.to_owned() };
    match hardware.ancestors().find(|folder| folder.join("idVendor").exists()) {
        Some(usb) => {
            let port = usb.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let serial = Some(word(usb, "serial")).filter(|serial| !serial.is_empty());
            format!("usb:{}:{}:{}", word(usb, "idVendor"), word(usb, "idProduct"), serial.unwrap_or(port))
        }
        None => hardware.display().to_string(),
    }
}
