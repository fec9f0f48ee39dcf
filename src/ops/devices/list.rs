//! Each kind of device from the module that opens it.

use crate::capture::camera;
use crate::media::{DeviceInfo, DeviceKind, DeviceSalt};

/// All devices of the kinds that are `wanted`, with their capabilities; of each kind the default first. Blocks while drivers
/// and servers are asked.
pub(super) fn devices(wanted: &dyn Fn(DeviceKind) -> bool, salt: &DeviceSalt) -> Vec<DeviceInfo> {
    let mut devices = Vec::new();
    for kind in DeviceKind::ALL.into_iter().filter(|kind| wanted(*kind)) {
        match kind {
            DeviceKind::VideoInput => {
                let cameras = camera::cameras();
                devices.extend(cameras.iter().enumerate().map(|(index, camera)| camera.info(salt, index == 0)));
            }
            // A kind that no module lists has no devices.
            DeviceKind::AudioInput | DeviceKind::AudioOutput | DeviceKind::Display => {}
        }
    }
    devices
}
