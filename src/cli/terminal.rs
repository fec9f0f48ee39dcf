//! The terminal on standard input. In canonical mode the kernel cuts a pasted line at 4096 bytes, which an offer exceeds.

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::io;
use std::sync::{Mutex, PoisonError};

/// What the terminal was like before us.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// While it lives, lines of any length can be pasted; what is typed is still shown and Ctrl-C still works.
#[must_use = "the terminal is put back when this is dropped"]
pub struct LongLines(());

impl LongLines {
    /// Takes canonical mode off standard input; does nothing where that is no terminal.
    pub fn begin() -> Self {
        let stdin = io::stdin();
        if let Ok(before) = tcgetattr(&stdin) {
            let mut now = before.clone();
            now.local_modes.remove(LocalModes::ICANON);
            now.special_codes[SpecialCodeIndex::VMIN] = 1;
            now.special_codes[SpecialCodeIndex::VTIME] = 0;
            if tcsetattr(&stdin, OptionalActions::Now, &now).is_ok() {
                *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
            }
        }
        Self(())
    }
}

impl Drop for LongLines {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back as it was; for an end that runs no destructors.
pub fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nothing can be done for a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}
