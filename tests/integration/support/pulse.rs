//! A PulseAudio server of a test's own, with devices that are not there.

use super::{Scratch, dies_with_us, have};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The server. It ends with the thread that started it.
pub struct PulseAudio {
    child: Child,
    scratch: Scratch,
}

impl PulseAudio {
    /// What its microphone hears, in hertz.
    pub const HEARD: f64 = 660.0;

    /// A server with a speaker, a microphone that hears a tone, and whatever else `script` loads (default.pa's language).
    /// `None`, and the skip is said, where there is no PulseAudio.
    pub fn start(script: &str) -> Option<Self> {
        if !have("pulseaudio") {
            return None;
        }
        let scratch = Scratch::new();
        let socket = scratch.path("pulse").join("native");
        std::fs::create_dir(scratch.path("pulse")).unwrap();
        let whole = format!(
            "load-module module-native-protocol-unix auth-anonymous=1 socket={}\n\
             load-module module-null-sink sink_name=speaker rate=48000 sink_properties=device.description=Loudspeaker\n\
             load-module module-null-sink sink_name=cable rate=48000\n\
             load-module module-sine sink=cable frequency={}\n\
             load-module module-remap-source master=cable.monitor source_name=microphone\n\
             set-default-sink speaker\nset-default-source microphone\n{script}\n",
            socket.display(),
            Self::HEARD
        );
        std::fs::write(scratch.path("script.pa"), whole).unwrap();
        let mut command = dies_with_us("pulseaudio");
        command.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes", "-F"]);
        command.arg(scratch.path("script.pa")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { child: Self::surround(&mut command, &scratch).spawn().unwrap(), scratch };
        let begin = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(20), "PulseAudio does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(server)
    }

    /// The command, in a world with this server and no other.
    pub fn reach<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        Self::surround(command, &self.scratch)
    }

    fn surround<'a>(command: &'a mut Command, scratch: &Scratch) -> &'a mut Command {
        for name in
            ["PULSE_SERVER", "PULSE_COOKIE", "PULSE_CLIENTCONFIG", "PIPEWIRE_REMOTE", "DBUS_SESSION_BUS_ADDRESS"]
        {
            command.env_remove(name);
        }
        for name in ["DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(name);
        }
        command.env("XDG_RUNTIME_DIR", scratch.path("")).env("HOME", scratch.path(""))
    }

    /// Ends it, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for PulseAudio {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
