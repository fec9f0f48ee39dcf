//! Cameras. nokhwa lists them, on every platform; on Linux V4L2 says what they are and gives the pictures, since nokhwa
//! waits for ever for a camera that has stalled, counts no lost pictures and lists nodes that are no cameras.
//!
//! ```text
//! list     nokhwa -> nodes -> V4L2: is it a camera, what are its modes -> Camera
//! open     Cameras + constraints -> SelectSettings -> mode -> CameraSource -> CropAndScale if need be
//! run      V4L2 buffers -> I420 at the kernel's time -> pipeline
//! ```

mod clock;
mod convert;
mod node;
mod open;
mod pixels;
mod source;
mod sysfs;

pub use open::{OpenCamera, Selection, consider, open};
pub use pixels::PixelFormat;
pub use source::CameraSource;

use crate::media::{Capabilities, DeviceInfo, DeviceKind, DeviceSalt, FacingMode, VideoMode, VideoOffer};
use std::path::PathBuf;

/// A camera that is there.
#[derive(Clone, Debug)]
pub struct Camera {
    /// Its node, `/dev/video0`.
    pub path: PathBuf,
    /// What people call it.
    pub label: String,
    /// What distinguishes it from all others and stays the same, also when it is plugged in again.
    pub key: String,
    /// What distinguishes the physical device that it is part of.
    pub physical: String,
    /// Where it looks, if it tells.
    pub facing_mode: Option<FacingMode>,
    /// Its native modes that we can use, the cheapest first.
    pub modes: Vec<VideoMode>,
}

impl Camera {
    /// What is said about it. `is_default`: it is used when none is named.
    pub fn info(&self, salt: &DeviceSalt, is_default: bool) -> DeviceInfo {
        DeviceInfo {
            device_id: salt.device_id(DeviceKind::VideoInput, &self.key),
            group_id: salt.group_id(&self.physical),
            kind: DeviceKind::VideoInput,
            label: self.label.clone(),
            default: is_default,
            path: Some(self.path.display().to_string()),
            capabilities: Some(Capabilities::of_video(self.modes.clone(), self.facing_mode)),
        }
    }

    /// Its modes, for a selection among cameras.
    pub fn offer(&self, salt: &DeviceSalt) -> VideoOffer {
        VideoOffer {
            device_id: salt.device_id(DeviceKind::VideoInput, &self.key),
            group_id: salt.group_id(&self.physical),
            facing_mode: self.facing_mode,
            modes: self.modes.clone(),
        }
    }
}

/// The cameras that are there, in the order of their nodes; the first is the default. Nodes that give no pictures, or none
/// that we can use, are none. Blocks while drivers are asked, usually for milliseconds.
pub fn cameras() -> Vec<Camera> {
    let mut indices: Vec<u32> = match nokhwa::query(nokhwa::utils::ApiBackend::Auto) {
        Ok(nodes) => nodes.iter().filter_map(|node| node.index().as_index().ok()).collect(),
        Err(error) => {
            tracing::warn!("cameras cannot be listed: {error}");
            return Vec::new();
        }
    };
    // In the order of a directory, and with links twice.
    indices.sort_unstable();
    indices.dedup();
    #[cfg(target_os = "linux")]
    return indices.into_iter().filter_map(node::camera).collect();
    #[cfg(not(target_os = "linux"))]
    {
        if !indices.is_empty() {
            tracing::warn!("{} cameras are there, but rtckit reads cameras on Linux only", indices.len());
        }
        Vec::new()
    }
}
