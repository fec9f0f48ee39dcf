//! What the tests share: running our binary, foreign readers, directories, the policy on skipping.

mod coturn;
mod ffprobe;
mod pipewire;
mod process;
mod pulse;
mod sshd;
mod sway;
mod terminal;
mod turn;
mod x11;

pub use coturn::Coturn;
pub use ffprobe::{MediaFile, packets};
pub use pipewire::PipeWire;
pub use process::{Exit, PATIENCE, Rtckit};
pub use pulse::PulseAudio;
pub use sshd::Sshd;
pub use sway::Sway;
pub use terminal::Terminal;
pub use turn::{calls_share_the_machine, one_call_at_a_time};
pub use x11::{Client, Xvfb};

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Says that the running test cannot do its work here. With `CI` set everything is installed, so there it fails.
pub fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "skipped in CI, where nothing may be missing: {why}");
    // Straight to the stream: `eprintln!` would be captured and the skip of a passing test never seen.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Whether `program` can be run; says so when not.
pub fn have(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if !found {
        skip(&format!("{program} is not installed (scripts/setup test)"));
    }
    found
}

/// What `scripts/setup` puts into this repository, if it did; says so when not.
pub fn have_file(path: &str) -> Option<PathBuf> {
    let file = in_repository(path);
    if !file.is_file() {
        skip(&format!("{path} is not there (scripts/setup test)"));
        return None;
    }
    Some(file)
}

/// A directory that is gone after the test.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// A file of this repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program that has the network, and is in the user namespace, of this process.
pub fn in_network_of(process: u32, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--preserve-credentials", "-U", "-n", "-t", &process.to_string(), program]);
    command
}

/// A command that the kernel kills when the thread that started it ends, whatever ends it.
pub fn dies_with_us(program: &str) -> Command {
    if cfg!(target_os = "linux") {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]);
        command
    } else {
        Command::new(program)
    }
}

/// FNV-1a, 32 bits: tells whether bytes arrived unchanged. `browser/peer.js` has the same.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Bytes without a pattern that a lost, doubled or swapped chunk would leave in place.
pub fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    })
    .take(len)
    .collect()
}

/// Carries the offer and the answer across.
pub fn introduce(caller: &mut Rtckit, callee: &mut Rtckit) {
    let offer = caller.json();
    assert_eq!(offer["type"], "offer");
    callee.write_json(&offer);
    let answer = callee.json();
    assert_eq!(answer["type"], "answer");
    caller.write_json(&answer);
}

/// Waits until something is so that can only be looked at; fails when it takes too long.
pub fn await_that(what: &str, so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the files in a directory hold this many bytes: media is flowing.
pub fn await_growth(scratch: &Scratch, bytes: u64) {
    let begin = Instant::now();
    loop {
        let sizes = scratch.names().into_iter().filter_map(|name| scratch.path(&name).metadata().ok());
        let sum: u64 = sizes.map(|facts| facts.len()).sum();
        if sum >= bytes {
            return;
        }
        assert!(begin.elapsed() < process::PATIENCE, "nothing is being recorded: {sum} bytes in {:?}", scratch.names());
        std::thread::sleep(Duration::from_millis(10));
    }
}
