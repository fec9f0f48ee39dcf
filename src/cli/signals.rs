//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once.

use super::{exit, terminal};
use rtckit::stop::{Stop, StopReason};
use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

/// Watches for signals until it is aborted. Must be called inside a runtime.
pub fn watch(stop: Stop) -> io::Result<JoinHandle<()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::spawn(async move {
        let mut asked = false;
        loop {
            let (reason, code) = tokio::select! {
                _ = interrupt.recv() => (StopReason::Interrupt, exit::INTERRUPT),
                _ = terminate.recv() => (StopReason::Terminate, exit::TERMINATE),
            };
            if asked {
                at_once(code);
            }
            asked = true;
            stop.stop(reason);
        }
    }))
}

#[expect(clippy::exit, reason = "the second signal must not wait for anything")]
fn at_once(code: u8) -> ! {
    terminal::restore();
    std::process::exit(i32::from(code))
}
