//! Real cameras and a real sound card: `scripts/test-devices` runs `tests/guest/*.sh` with our binary in a virtual machine.

use super::support::{dies_with_us, have, in_repository, skip};
use std::path::Path;

/// The exit code by which the script says that this machine lacks what the guest is made of.
const LACKS: i32 = 3;

#[test]
fn real_cameras_and_sound_cards_of_a_guest_work() {
    if !["qemu-system-x86_64", "busybox", "cpio", "v4l2-ctl", "aplay", "jq", "mawk"].into_iter().all(have) {
        return;
    }
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest");
    // What an earlier run left must not be taken for this one's.
    let _ = std::fs::remove_dir_all(&out);
    let mut script = dies_with_us(in_repository("scripts/test-devices").to_str().unwrap());
    script.args(["--rtckit", env!("CARGO_BIN_EXE_rtckit"), "--out"]).arg(&out);
    // What cargo says to tests of their package it does not say to who builds: with it, the script's cargo would build ring, whose
    // build script asks for it, and all that depends on ring anew, and whoever builds next once more.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|about| name.to_string_lossy().starts_with(about)) {
            script.env_remove(name);
        }
    }
    let ended = script.output().unwrap();
    let (said, complaints) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    if ended.status.code() == Some(LACKS) {
        return skip(complaints.lines().last().unwrap_or_default());
    }
    let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("FAIL ")).collect();
    assert!(failed.is_empty() && ended.status.success(), "{failed:#?}\n{said}\n{complaints}");
}
