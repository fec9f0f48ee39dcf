//! Signaling with a command: its standard input and output carry lines of JSON with full trickle, as in
//! `exec:ssh pi rtckit answer --trickle`.
//!
//! The command runs by the shell, in our process group, so that it may ask for a password on the terminal; its standard
//! error is ours. When signaling ends its input does, and it may finish what it does in its own time before it is asked and
//! then made to end. A command that fails is an error of ours, of the same class where its exit code is one of rtckit's.

use super::{Message, SdpFormat, Signaling, SignalingError, Stdio};
use crate::error::Error;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{ExitStatus, Stdio as ChildStdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// How long a command may go on once its input has ended: it may have a file to finish.
const FINISHING: Duration = Duration::from_secs(10);
/// How long it may take to heed SIGTERM.
const TERMINATING: Duration = Duration::from_secs(2);
/// How long its exit may take once its output has ended.
const EXITING: Duration = Duration::from_secs(2);

/// A running command, and signaling with it. Killed when dropped.
pub struct Exec {
    command: String,
    child: Child,
    /// `None` once it is closed.
    stdio: Option<Stdio>,
    /// How its output ended, until it is known how the command did.
    ended: Option<Result<Option<Message>, Error>>,
}

impl Exec {
    /// Starts `command` by the shell. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the shell cannot be started.
    pub fn start(command: &str) -> Result<Self, SignalingError> {
        let fail = |source| SignalingError::Start { command: command.to_owned(), source };
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(command)
            .stdin(ChildStdio::piped())
            .stdout(ChildStdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(fail)?;
        let (Some(output), Some(input)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(fail(std::io::Error::other("it has no pipes")));
        };
        let stdio = Stdio::new(Box::new(output), Box::new(input), SdpFormat::Json, true);
        Ok(Self { command: command.to_owned(), child, stdio: Some(stdio), ended: None })
    }

    /// Waits a moment for the end of a command that has closed its side; a bad one is the error.
    async fn exited(&mut self) -> Result<(), SignalingError> {
        match tokio::time::timeout(EXITING, self.child.wait()).await {
            Ok(Ok(status)) => self.judge(status),
            _ => Ok(()),
        }
    }

    fn judge(&self, status: ExitStatus) -> Result<(), SignalingError> {
        if status.success() { Ok(()) } else { Err(SignalingError::Command { command: self.command.clone(), status }) }
    }

    fn terminate(&self) {
        let Some(shell) = self.child.id() else { return };
        // The shell leaves behind what it is waiting for.
        for pid in children(shell).into_iter().chain([shell]) {
            // It may have ended by itself just now.
            let pid = Pid::from_raw(pid.cast_signed());
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        // Nothing that still runs is left behind.
        self.terminate();
    }
}

/// The children of a process, where the system tells.
fn children(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[async_trait::async_trait]
impl Signaling for Exec {
    async fn send(&mut self, message: &Message) -> Result<(), Error> {
        let Some(stdio) = &mut self.stdio else { return Err(SignalingError::Closed.into()) };
        if let Err(error) = stdio.send(message).await {
            tracing::debug!("'{}' does not listen: {error}", self.command);
            // Its exit code says why; when it is still there or content, its output tells what to make of it.
            self.exited().await?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        let Some(stdio) = &mut self.stdio else { return Ok(None) };
        if self.ended.is_none() {
            match stdio.receive().await {
                Ok(Some(message)) => return Ok(Some(message)),
                // Kept, since the wait below may be dropped.
                ended => self.ended = Some(ended),
            }
        }
        // A command that failed tells nothing or only the half of it; that it failed is what matters.
        self.exited().await?;
        self.ended.take().unwrap_or(Ok(None))
    }

    fn trickles(&self) -> bool {
        true
    }

    async fn close(&mut self) -> Result<(), Error> {
        let Some(stdio) = self.stdio.take() else { return Ok(()) };
        let rest = stdio.into_rest();
        drop(rest.writer);
        let mut reader = rest.reader;
        // It must be able to write until it ends.
        let drain = tokio::spawn(async move {
            let mut unread = [0; 4096];
            while matches!(reader.read(&mut unread).await, Ok(1..)) {}
        });
        let mut asked = false;
        let mut ended = tokio::time::timeout(FINISHING, self.child.wait()).await;
        if ended.is_err() {
            asked = true;
            self.terminate();
            ended = tokio::time::timeout(TERMINATING, self.child.wait()).await;
        }
        if ended.is_err() {
            // Fails only when it is gone.
            let _ = self.child.kill().await;
        }
        drain.abort();
        match ended {
            Ok(Ok(status)) if !asked => Ok(self.judge(status)?),
            _ => Ok(()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Waits until `done` gives something.
    async fn eventually<T>(done: impl Fn() -> Option<T>) -> T {
        let waiting = async {
            loop {
                match done() {
                    Some(done) => break done,
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it comes")
    }

    #[tokio::test]
    async fn what_a_command_has_started_ends_with_it() {
        let exec = Exec::start("sleep 1000; true").unwrap();
        let shell = exec.child.id().unwrap();
        let child = eventually(|| children(shell).first().copied()).await;
        drop(exec);
        // Whoever is to fetch what became of it may not do so.
        let status = || std::fs::read_to_string(format!("/proc/{child}/stat"));
        eventually(|| status().map_or(true, |status| status.contains(") Z ")).then_some(())).await;
    }
}
