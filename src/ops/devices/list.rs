//! Each kind of device from the module that opens it.

use crate::capture::camera;
use crate::capture::screen::{self, SurfaceKind};
use crate::media::{Capabilities, DeviceInfo, DeviceKind, DeviceSalt, Range};
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
            DeviceKind::Display => devices.extend(displays(salt)),
        }
    }
    devices
}

/// The monitors, the main one first; none where there is no display server.
fn displays(salt: &DeviceSalt) -> Vec<DeviceInfo> {
    let mut surfaces = screen::surfaces().unwrap_or_else(|error| {
        tracing::debug!("no displays: {error}");
        Vec::new()
    });
    surfaces.retain(|surface| surface.kind == SurfaceKind::Monitor);
    surfaces.sort_by_key(|surface| !surface.primary);
    let up_to = |most: f64| Some(Range { min: 1.0, max: most });
    let info = |surface: screen::Surface| DeviceInfo {
        // No page is told of displays, so there is nothing to hide; and it is what `screen:` and `--select` take.
        device_id: surface.id.clone(),
        group_id: salt.group_id(&surface.id),
        kind: DeviceKind::Display,
        label: surface.label,
        default: surface.primary,
        path: None,
        capabilities: Some(Capabilities {
            width: up_to(f64::from(surface.width)),
            height: up_to(f64::from(surface.height)),
            frame_rate: Some(Range { min: *screen::FRAME_RATES.start(), max: *screen::FRAME_RATES.end() }),
            ..Capabilities::default()
        }),
    };
    surfaces.into_iter().map(info).collect()
}
