//! What the kernel says of the hardware behind a camera's node, by which it is told from others like it.

use std::fs;
use std::path::{Path, PathBuf};

/// Names of a camera that survive restarts.
pub(super) struct Names {
    /// Of the node among all cameras.
    pub(super) key: String,
    /// Of the physical device that it is part of.
    pub(super) physical: String,
}

/// The names of `/dev/video{index}`; `bus` is what its driver calls its place.
pub(super) fn names(index: u32, bus: &str) -> Names {
    let class = PathBuf::from(format!("/sys/class/video4linux/video{index}"));
    // Several nodes of one function are numbered.
    let node = word(&class, "index").unwrap_or_default();
    let hardware = fs::canonicalize(class.join("device")).unwrap_or_default();
    match hardware.ancestors().find(|folder| folder.join("idVendor").exists()) {
        Some(usb) => {
            let port = usb.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let model =
                format!("{}:{}", word(usb, "idVendor").unwrap_or_default(), word(usb, "idProduct").unwrap_or_default());
            // With a serial number it may be plugged in elsewhere; without, it is the one in this socket.
            let which = word(usb, "serial").filter(|serial| !serial.is_empty()).unwrap_or(port);
            let interface = word(&hardware, "bInterfaceNumber").unwrap_or_default();
            let physical = format!("usb:{model}:{which}");
            Names { key: format!("{physical}:{interface}:{node}"), physical }
        }
        None => Names { key: format!("{bus}#{node}"), physical: bus.to_owned() },
    }
}

fn word(folder: &Path, file: &str) -> Option<String> {
    Some(fs::read_to_string(folder.join(file)).ok()?.trim().to_owned())
}
