//! Each kind of device from the module that opens it.

use crate::capture::camera;
use crate::media::{DeviceInfo, DeviceKind, DeviceSalt};
use crate::sound::{self, Role};

/// What changes when a device comes or goes, read without opening any.
pub(super) fn fingerprint() -> Vec<String> {
    let nodes = |folder| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let nodes = nodes("/sys/class/video4linux").chain(nodes("/sys/class/sound"));
    let mut names: Vec<String> = nodes.map(|node| node.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// All devices of the kinds that are `wanted`, with their capabilities; of each kind the default first. Blocks while drivers
/// and servers are asked.
pub(super) fn devices(wanted: &dyn Fn(DeviceKind) -> bool, salt: &DeviceSalt) -> Vec<DeviceInfo> {
    let mut devices = Vec::new();
    // Microphones and speakers are found together.
    let mut sounding = None;
    for kind in DeviceKind::ALL.into_iter().filter(|kind| wanted(*kind)) {
        match kind {
            DeviceKind::VideoInput => {
                let cameras = camera::cameras();
                devices.extend(cameras.iter().enumerate().map(|(index, camera)| camera.info(salt, index == 0)));
            }
            DeviceKind::AudioInput | DeviceKind::AudioOutput => {
                let of_kind = |device: &sound::SoundDevice| match device.role {
                    Role::Microphone => kind == DeviceKind::AudioInput,
                    Role::Speaker => kind == DeviceKind::AudioOutput,
                    // What the speakers play is no device of its own, but the source `system`.
                    Role::Monitor => false,
                };
                let sounding = sounding.get_or_insert_with(sound::devices);
                devices.extend(sounding.iter().filter(|device| of_kind(device)).map(|device| device.info(salt)));
            }
            // A kind that no module lists has no devices.
            DeviceKind::Display => {}
        }
    }
    devices
}
