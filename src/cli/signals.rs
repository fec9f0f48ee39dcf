//! Ctrl-C, SIGTERM and a terminal that is gone (SIGHUP): the first asks for an orderly end, the second ends at once.
#![allow(unsafe_code)] // Only the system knows whether a signal is to be ignored.

use super::{exit, terminal};
use rtckit::stop::{Stop, StopReason};
use std::io;
use std::os::unix::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

/// Whether there are descriptors for a runtime and its signals, of which it makes sure itself by a panic.
pub fn descriptors() -> io::Result<()> {
    let pairs: Vec<_> = (0..4).map(|_| UnixStream::pair()).collect::<io::Result<_>>()?;
    drop(pairs);
    Ok(())
}

/// Watches for signals until it is aborted. Must be called inside a runtime.
pub fn watch(stop: Stop) -> io::Result<JoinHandle<()>> {
    // A file that may not grow any more (ulimit -f) is to be an error like a full disk.
    drop(signal(SignalKind::from_raw(libc::SIGXFSZ))?);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Whoever started us by nohup wants us to stay.
    let mut hangup = if is_ignored(libc::SIGHUP) { None } else { Some(signal(SignalKind::hangup())?) };
    Ok(tokio::spawn(async move {
        let mut asked = false;
        loop {
            let (reason, code) = tokio::select! {
                _ = interrupt.recv() => (StopReason::Interrupt, exit::INTERRUPT),
                _ = terminate.recv() => (StopReason::Terminate, exit::TERMINATE),
                Some(_) = async { hangup.as_mut()?.recv().await } => (StopReason::Terminate, exit::TERMINATE),
            };
            if asked {
                at_once(code);
            }
            asked = true;
            stop.stop(reason);
        }
    }))
}

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set where no new action is given, and the old one is written to where there is room for it.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroes are a valid action, and so is what the system wrote over them.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

#[expect(clippy::exit, reason = "the second signal must not wait for anything")]
fn at_once(code: u8) -> ! {
    terminal::restore();
    std::process::exit(i32::from(code))
}
