//! A Wayland compositor without a monitor or a graphics card.

use super::{Scratch, await_that, dies_with_us};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

/// sway, which refuses to run as root: where the tests do, it runs as nobody.
pub struct Sway {
    child: Child,
    runtime: Scratch,
    socket: String,
}

const NOBODY: u32 = 65_534;

impl Sway {
    /// Starts one with an output of this size, e.g. `640x480`, all of it of one colour, e.g. `#ff0000`.
    pub fn start(size: &str, colour: &str) -> Self {
        let runtime = Scratch::new();
        let config = runtime.path("config");
        let text = format!("xwayland disable\noutput * resolution {size} bg {colour} solid_color\n");
        std::fs::write(&config, text).unwrap();
        let folder = runtime.path("");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = if rustix::process::getuid().is_root() {
            std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
            let mut command = Command::new("setpriv");
            let nobody = NOBODY.to_string();
            command.args([
                "--reuid",
                &nobody,
                "--regid",
                &nobody,
                "--clear-groups",
                "--pdeathsig",
                "KILL",
                "--",
                "sway",
            ]);
            command
        } else {
            dies_with_us("sway")
        };
        let child = command
            .arg("-c")
            .arg(&config)
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("DISPLAY")
            .envs([("WLR_BACKENDS", "headless"), ("WLR_RENDERER", "pixman"), ("WLR_LIBINPUT_NO_DEVICES", "1")])
            .env("XDG_RUNTIME_DIR", &folder)
            .env("HOME", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut sway = Self { child, runtime, socket: String::new() };
        await_that("sway", || sway.name("wayland-").is_some() && sway.name("sway-ipc.").is_some());
        sway.socket = sway.name("wayland-").unwrap();
        await_that("the first output", || sway.say(&["-t", "get_outputs"]).contains("HEADLESS-1"));
        sway
    }

    /// `command` in this session alone.
    pub fn on<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("XDG_RUNTIME_DIR", self.runtime.path("")).env("WAYLAND_DISPLAY", &self.socket).env_remove("DISPLAY")
    }

    /// Has `swaymsg` say this, and gives the answer.
    pub fn say(&self, message: &[&str]) -> String {
        let Some(socket) = self.name("sway-ipc.") else { return String::new() };
        let socket = self.runtime.path(&socket);
        let output = Command::new("swaymsg").arg("-s").arg(socket).args(message).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn name(&self, start: &str) -> Option<String> {
        self.runtime.names().into_iter().find(|name| name.starts_with(start) && !name.ends_with(".lock"))
    }
}

impl Drop for Sway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
