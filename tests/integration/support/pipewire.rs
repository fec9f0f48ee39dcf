//! PipeWire of a test's own: a session bus, the server and its session manager.

use super::{Scratch, await_that, dies_with_us, have};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A session without a display server. It ends with the thread that started it.
pub struct PipeWire {
    /// Its `XDG_RUNTIME_DIR`.
    pub runtime: Scratch,
    /// The address of its bus.
    pub bus: String,
    children: Vec<Child>,
}

impl PipeWire {
    /// What the microphone of [`SOUND`](Self::SOUND) hears, in hertz.
    pub const HEARD: f64 = 440.0;
    /// A speaker, and a microphone that hears a tone.
    pub const SOUND: &str = "\
        context.spa-libs = { audiotestsrc = audiotestsrc/libspa-audiotestsrc }\n\
        context.objects = [\n\
            { factory = adapter args = { factory.name = support.null-audio-sink node.name = speaker\n\
                node.description = Loudspeaker media.class = Audio/Sink audio.position = [ FL FR ] audio.rate = 48000 } }\n\
            { factory = adapter args = { factory.name = audiotestsrc node.name = microphone\n\
                node.description = Microphone media.class = Audio/Source } }\n\
        ]\n";

    /// A session with what `config` adds to PipeWire's own configuration. `None`, and the skip is said, where PipeWire is missing.
    pub fn start(config: &str) -> Option<Self> {
        if !["dbus-daemon", "pipewire", "wireplumber"].into_iter().all(have) {
            return None;
        }
        let runtime = Scratch::new();
        let folder = runtime.path("pipewire").join("pipewire.conf.d");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("test.conf"), config).unwrap();
        let mut session = Self { runtime, bus: String::new(), children: Vec::new() };
        let address = format!("--address=unix:path={}", session.runtime.path("bus").display());
        session.spawn("dbus-daemon", &["--session", "--nofork", "--print-address=1", &address]);
        let said = session.children[0].stdout.take().unwrap();
        BufReader::new(said).read_line(&mut session.bus).unwrap();
        session.bus = session.bus.trim().to_owned();
        session.spawn("pipewire", &[]);
        await_that("PipeWire", || session.runtime.path("pipewire-0").exists());
        session.spawn("wireplumber", &[]);
        Some(session)
    }

    fn spawn(&mut self, program: &str, args: &[&str]) {
        let mut command = dies_with_us(program);
        self.reach(command.args(args)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // What was started last ends first.
        self.children.insert(0, command.spawn().unwrap());
    }

    /// The command, in a world with this session and no other.
    pub fn reach<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for name in
            ["DISPLAY", "WAYLAND_DISPLAY", "PULSE_SERVER", "PULSE_COOKIE", "PULSE_CLIENTCONFIG", "PIPEWIRE_REMOTE"]
        {
            command.env_remove(name);
        }
        for name in ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "HOME"] {
            command.env(name, self.runtime.path(""));
        }
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.bus)
    }
}

impl Drop for PipeWire {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
