//! Our binary as a child process, read line by line, with a time-out on everything.

use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take that should be quick.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running `rtckit`. Killed when dropped.
pub struct Rtckit {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<Vec<u8>>,
    stderr: Option<JoinHandle<String>>,
    read: Vec<u8>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Exit {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What stdout still held.
    pub stdout: Vec<u8>,
    /// All of stderr.
    pub stderr: String,
    /// From the call of `wait` to the end.
    pub took: Duration,
}

impl Rtckit {
    /// The command, before it is run.
    pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtckit"));
        command.args(args).env_remove("RUST_LOG").env("NO_COLOR", "1");
        // A configuration file of whoever runs the tests must not change them.
        command.env("XDG_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"));
        command.env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"));
        command
    }

    /// Starts it with pipes on all three streams.
    pub fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::spawn(Self::command(args).stdin(Stdio::piped()))
    }

    /// Starts it reading stdin from wherever `command` says.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = pump(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self { stdin: child.stdin.take(), child, stdout, stderr: Some(stderr), read: Vec::new() }
    }

    /// Writes to its stdin. It may have ended meanwhile; what it said then matters more than the broken pipe.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }

    /// Writes one line of JSON.
    pub fn write_json(&mut self, value: &Value) {
        self.write(format!("{value}\n").as_bytes());
    }

    /// Gives it the end of its input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The next line of its stdout without the newline; `None` when none came within `patience`.
    pub fn try_line(&mut self, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).take(end).collect();
                return Some(String::from_utf8(line).expect("stdout lines are UTF-8"));
            }
            match self.stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.read.extend(chunk),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// The next line of its stdout.
    pub fn line(&mut self) -> String {
        self.try_line(PATIENCE).unwrap_or_else(|| self.fail("no line on stdout"))
    }

    /// The next line of its stdout, as JSON.
    pub fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("stdout is not JSON ({error}): {line}"))
    }

    /// The next `count` bytes of its stdout, or what came of them within `patience`.
    pub fn bytes(&mut self, count: usize, patience: Duration) -> Vec<u8> {
        let deadline = Instant::now() + patience;
        while self.read.len() < count {
            match self.stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.read.extend(chunk),
                Err(_) => break,
            }
        }
        let count = count.min(self.read.len());
        self.read.drain(..count).collect()
    }

    /// Sends Ctrl-C, if it still runs.
    pub fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// Sends SIGTERM, if it still runs.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Sends SIGUSR1, if it still runs.
    pub fn toggle(&self) {
        self.signal(rustix::process::Signal::USR1);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        // Until it is waited for, its pid stays its own.
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end; the test fails when that takes longer than `patience`. Its stdin stays open meanwhile.
    pub fn wait(&mut self, patience: Duration) -> Exit {
        let begin = Instant::now();
        let mut stdout = std::mem::take(&mut self.read);
        loop {
            match self.stdout.recv_timeout(patience.saturating_sub(begin.elapsed())) {
                Ok(chunk) => stdout.extend(chunk),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("still running after {patience:?}")),
            }
        }
        // Its stdout is closed; the exit follows, and there is nothing to wait on with a deadline but the pid.
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            if begin.elapsed() > patience {
                self.fail(&format!("closed stdout but still runs after {patience:?}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = begin.elapsed();
        Exit { code, stdout, stderr: self.stderr(), took }
    }

    /// Waits for the end of a run that must have succeeded.
    pub fn succeed(&mut self, patience: Duration) -> Exit {
        let exit = self.wait(patience);
        assert_eq!(exit.code, Some(0), "{exit:?}");
        exit
    }

    fn stderr(&mut self) -> String {
        self.stderr.take().map(|reader| reader.join().unwrap()).unwrap_or_default()
    }

    fn fail(&mut self, what: &str) -> ! {
        let _ = self.child.kill();
        let status = self.child.wait();
        panic!("rtckit: {what}; then: {status:?}; stderr:\n{}", self.stderr());
    }
}

impl Drop for Rtckit {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Exit {
    /// The error as a person sees it: exactly one line that begins with `error: `.
    pub fn error_line(&self) -> &str {
        let lines: Vec<_> = self.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(lines.len(), 1, "one error line: {self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        lines[0]
    }
}

fn pump(mut stdout: ChildStdout) -> Receiver<Vec<u8>> {
    // Deep enough that a test which reads late does not stall the program.
    let (sender, receiver) = sync_channel(4096);
    std::thread::spawn(move || {
        let mut chunk = vec![0; 65_536];
        while let Ok(count @ 1..) = stdout.read(&mut chunk) {
            if sender.send(chunk[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

fn collect(stderr: ChildStderr) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        while let Ok(1..) = reader.read_until(b'\n', &mut line) {
            text.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
        text
    })
}
