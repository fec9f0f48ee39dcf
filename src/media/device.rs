//! Devices as a page would see them: mediacapture-main section 9 (`MediaDeviceInfo`, `InputDeviceInfo`).
//!
//! Where devices are found is the business of those who open them; here is what is said about them.

use super::{FacingMode, VideoMode};
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// What a device is for; mediacapture-main `MediaDeviceKind`, and displays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A camera.
    VideoInput,
    /// A microphone.
    AudioInput,
    /// A speaker.
    AudioOutput,
    /// A screen that can be captured. Ours: pages are not told of them.
    Display,
}

impl DeviceKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::VideoInput, Self::AudioInput, Self::AudioOutput, Self::Display];

    /// `videoinput`, `audioinput`, `audiooutput` or `display`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VideoInput => "videoinput",
            Self::AudioInput => "audioinput",
            Self::AudioOutput => "audiooutput",
            Self::Display => "display",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("'{text}' is none of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// One device.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceInfo {
    /// Stays the same for as long as the salt does, and tells nobody else anything.
    pub device_id: String,
    /// The same for all devices in one physical case.
    pub group_id: String,
    /// What it is for.
    pub kind: DeviceKind,
    /// What people call it.
    pub label: String,
    /// Whether it is used when none is named.
    pub default: bool,
    /// What the system calls it, e.g. `/dev/video0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it can do, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
}

impl DeviceInfo {
    /// The device that a user means by `id`: its deviceId, its path, its label, or a part of the label that no other has.
    ///
    /// # Errors
    /// When none or several answer to it.
    pub fn find<'a>(devices: &'a [Self], id: &str) -> Result<&'a Self, NoSuchDevice> {
        let exactly = |device: &&Self| device.device_id == id || device.path.as_deref() == Some(id);
        if let Some(device) = devices.iter().find(exactly) {
            return Ok(device);
        }
        let called: Vec<&Self> = devices.iter().filter(|device| device.label == id).collect();
        if let [device] = called[..] {
            return Ok(device);
        }
        let part = id.to_lowercase();
        let like: Vec<&Self> = devices.iter().filter(|device| device.label.to_lowercase().contains(&part)).collect();
        match like[..] {
            [device] => Ok(device),
            [] => Err(NoSuchDevice::Unknown),
            _ => Err(NoSuchDevice::Ambiguous(like.iter().map(|device| device.label.clone()).collect())),
        }
    }
}

/// Why a name names no device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSuchDevice {
    /// None answers to it.
    Unknown,
    /// The labels of those that answer to it.
    Ambiguous(Vec<String>),
}

/// The least and most of a number; mediacapture-main `ULongRange`, `DoubleRange`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range {
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Range {
    /// From the least to the most of `values`; `None` where there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        values.into_iter().fold(None, |range: Option<Self>, value| match range {
            None => Some(Self { min: value, max: value }),
            Some(Self { min, max }) => Some(Self { min: min.min(value), max: max.max(value) }),
        })
    }
}

/// What a device can do; mediacapture-main `MediaTrackCapabilities`. What its kind does not have is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<Range>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<Range>,
    /// Width by height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect_ratio: Option<Range>,
    /// Frames per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<Range>,
    /// Where it looks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facing_mode: Vec<FacingMode>,
    /// What can be done with its pictures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resize_mode: Vec<super::ResizeMode>,
    /// Samples per second and channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<Range>,
    /// Bits per sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_size: Option<Range>,
    /// Channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_count: Option<Range>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Range>,
    /// What can be chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub echo_cancellation: Vec<bool>,
    /// What can be chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub auto_gain_control: Vec<bool>,
    /// What can be chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub noise_suppression: Vec<bool>,
    /// The native modes of a camera.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<VideoMode>,
}

impl Capabilities {
    /// Those of a source with these native modes, whose pictures we crop and scale.
    pub fn of_video(modes: Vec<VideoMode>, facing_mode: Option<FacingMode>) -> Self {
        // Scaling goes down to nothing, as it does in browsers.
        let down_from = |range: Option<Range>, min: f64| range.map(|range| Range { min: min.min(range.min), ..range });
        let (width, height) = (
            Range::of(modes.iter().map(|mode| f64::from(mode.width))),
            Range::of(modes.iter().map(|mode| f64::from(mode.height))),
        );
        Self {
            width: down_from(width, 1.0),
            height: down_from(height, 1.0),
            aspect_ratio: width.zip(height).map(|(width, height)| Range { min: 1.0 / height.max, max: width.max }),
            frame_rate: down_from(Range::of(modes.iter().map(|mode| mode.frame_rate.as_f64())), 1.0),
            facing_mode: facing_mode.into_iter().collect(),
            resize_mode: if modes.is_empty() { Vec::new() } else { super::ResizeMode::ALL.to_vec() },
            modes,
            ..Self::default()
        }
    }
}

/// What makes the IDs of one user's devices their own; mediacapture-main section 9.1 wants them of no use to anybody else.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceSalt([u8; Self::BYTES]);

impl DeviceSalt {
    /// How long it is.
    pub const BYTES: usize = 32;

    /// A salt from bytes that were once drawn at random and kept since.
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The deviceId of what the system knows by `key`, a name that survives restarts and says which of several is meant.
    pub fn device_id(&self, kind: DeviceKind, key: &str) -> String {
        self.hash(kind.as_str(), key)
    }

    /// The groupId of the physical device that the system knows by `key`.
    pub fn group_id(&self, key: &str) -> String {
        self.hash("group", key)
    }

    fn hash(&self, domain: &str, key: &str) -> String {
        let hash = blake3::keyed_hash(&self.0, format!("{domain}\0{key}").as_bytes());
        hash.to_hex()[..32].to_owned()
    }
}

impl fmt::Debug for DeviceSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceSalt")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(label: &str, path: &str) -> DeviceInfo {
        let salt = DeviceSalt::default();
        DeviceInfo {
            device_id: salt.device_id(DeviceKind::VideoInput, path),
            group_id: salt.group_id(path),
            kind: DeviceKind::VideoInput,
            label: label.to_owned(),
            default: false,
            path: Some(path.to_owned()),
            capabilities: None,
        }
    }

    #[test]
    fn a_device_answers_to_its_id_its_path_and_what_is_unique_in_its_label() {
        let devices = [
            device("HD Webcam", "/dev/video0"),
            device("HD Webcam Pro", "/dev/video2"),
            device("Grabber", "/dev/video4"),
        ];
        let find = |id: &str| DeviceInfo::find(&devices, id).map(|device| device.path.clone().unwrap());
        assert_eq!(find(&devices[1].device_id), Ok("/dev/video2".to_owned()));
        assert_eq!(find("/dev/video4"), Ok("/dev/video4".to_owned()));
        assert_eq!(find("HD Webcam"), Ok("/dev/video0".to_owned()));
        assert_eq!(find("pro"), Ok("/dev/video2".to_owned()));
        assert_eq!(find("/dev/video9"), Err(NoSuchDevice::Unknown));
        assert!(matches!(find("webcam"), Err(NoSuchDevice::Ambiguous(labels)) if labels.len() == 2));
    }

    #[test]
    fn ids_depend_on_salt_kind_and_device_and_on_nothing_else() {
        let (ours, theirs) = (DeviceSalt::new([1; 32]), DeviceSalt::new([2; 32]));
        let id = ours.device_id(DeviceKind::VideoInput, "a");
        assert_eq!(id, ours.device_id(DeviceKind::VideoInput, "a"));
        assert_eq!(id.len(), 32);
        for other in [
            ours.device_id(DeviceKind::VideoInput, "b"),
            ours.device_id(DeviceKind::AudioInput, "a"),
            theirs.device_id(DeviceKind::VideoInput, "a"),
            ours.group_id("a"),
        ] {
            assert_ne!(id, other);
        }
    }
}
