//! What Redis does in one step: Lua scripts, see the files beside this one.

use super::super::limits::Limits;
use super::timing::Timing;
use redis::{Cmd, cmd};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::time::Duration;

/// All scripts, with what holds for all of them written in.
#[derive(Debug)]
pub(super) struct Scripts {
    pub hello: Script,
    pub beat: Script,
    pub join: Script,
    pub relay: Script,
    pub leave: Script,
    pub restore: Script,
    pub settle: Script,
}

/// One script, and the name that Redis gives it.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    sha1: String,
}

impl Script {
    fn new(constants: &str, body: &str) -> Self {
        let text = format!("{constants}{}{body}", include_str!("prelude.lua"));
        let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let sha1 = sha1.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, sha1 }
    }

    /// Runs it where it was loaded. A Redis that was started anew does not know it, and nothing happens there before
    /// `hello` has seen to what it holds.
    pub fn call(&self, arguments: &[&str]) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.sha1).arg(0).arg(arguments);
        command
    }

    /// Runs it wherever.
    pub fn eval(&self, arguments: &[&str]) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(&self.text).arg(0).arg(arguments);
        command
    }

    pub fn load(&self) -> Cmd {
        let mut command = cmd("SCRIPT");
        command.arg("LOAD").arg(&self.text);
        command
    }
}

impl Scripts {
    pub fn new(limits: &Limits, timing: &Timing) -> Self {
        let ms = |time: Duration| time.as_millis();
        let constants = format!(
            "local MEMORY, KEEP, RESUME, HOLD, WINDOW, TTL, MAX_PEERS, MAX_ROOMS = {}, {}, {}, {}, {}, {}, {}, {}\n",
            limits.memory(),
            ms(limits.resume + 2 * timing.alive),
            ms(limits.resume),
            ms(limits.hold),
            ms(timing.window),
            ms(timing.alive),
            limits.max_peers,
            limits.max_rooms,
        );
        let script = |body: &str| Script::new(&constants, body);
        Self {
            hello: script(include_str!("hello.lua")),
            beat: script(include_str!("beat.lua")),
            join: script(include_str!("join.lua")),
            relay: script(include_str!("relay.lua")),
            leave: script(include_str!("leave.lua")),
            restore: script(include_str!("restore.lua")),
            settle: script(include_str!("settle.lua")),
        }
    }

    /// Those that are called by their names.
    pub fn called(&self) -> [&Script; 6] {
        [&self.beat, &self.join, &self.relay, &self.leave, &self.restore, &self.settle]
    }
}
