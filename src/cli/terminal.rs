//! The terminal on standard input. In canonical mode the kernel cuts a pasted line at 4096 bytes, which an offer exceeds.
//! While that mode is off, line editing and Ctrl-D are ours to do: there is no editing of a paste, and Ctrl-D is below.

use super::{people, value};
use rtckit::ops::call::TerminalScreen;
use rtckit::ops::transfer::Offer;
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};
use std::io::{self, IsTerminal, Write};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// What the terminal was like before us.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

fn before() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, lines of any length can be pasted; what is typed is still shown and Ctrl-C still works.
#[must_use = "the terminal is put back when this is dropped"]
pub struct LongLines(());

impl LongLines {
    /// Takes canonical mode off standard input; does nothing where that is no terminal.
    pub fn begin() -> Self {
        take_off(LocalModes::ICANON);
        Self(())
    }
}

/// Takes modes off the terminal on standard input, if it is one: bytes come as they are typed. False when it is none.
fn take_off(modes: LocalModes) -> bool {
    let stdin = io::stdin();
    let Ok(was) = tcgetattr(&stdin) else { return false };
    let mut now = was.clone();
    now.local_modes.remove(modes);
    now.special_codes[SpecialCodeIndex::VMIN] = 1;
    now.special_codes[SpecialCodeIndex::VTIME] = 0;
    let done = tcsetattr(&stdin, OptionalActions::Now, &now).is_ok();
    if done {
        *before() = Some(was);
    }
    done
}

/// While it lives, each key that is pressed can be read at once, and is not shown.
#[must_use = "the terminal is put back when this is dropped"]
pub struct Keys(());

impl Keys {
    /// Takes the keys of the terminal on standard input; `None` where there is no terminal, or it is not ours: a job in
    /// the background that touched it would be stopped.
    pub fn begin() -> Option<Self> {
        let ours = tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp());
        (ours && take_off(LocalModes::ICANON | LocalModes::ECHO)).then_some(Self(()))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        restore();
    }
}

impl Drop for LongLines {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back as it was; for an end that runs no destructors.
pub fn restore() {
    if let Some(was) = before().take() {
        // Nothing can be done for a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &was);
    }
}

/// The terminal that pictures can be shown in: standard output, or standard error where that is taken.
pub fn screen(stdout_is_taken: bool) -> Option<TerminalScreen> {
    let colored = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if !stdout_is_taken && io::stdout().is_terminal() {
        let size = || tcgetwinsize(io::stdout()).ok().map(|size| (size.ws_col, size.ws_row));
        return Some(TerminalScreen { out: Box::new(io::stdout()), size: Box::new(size), colored });
    }
    if io::stderr().is_terminal() {
        let size = || tcgetwinsize(io::stderr()).ok().map(|size| (size.ws_col, size.ws_row));
        return Some(TerminalScreen { out: Box::new(io::stderr()), size: Box::new(size), colored });
    }
    None
}

/// Asks on the terminal whether the files of an offer are welcome. Enter and whatever begins with a y is a yes.
pub fn ask_for_files(offer: &Offer) -> bool {
    let what = match offer.files {
        0 => "folders alone".to_owned(),
        1 => format!("'{}'", offer.first),
        count => format!("{count} files, first '{}'", offer.first),
    };
    let size = offer.bytes.map_or_else(|| "size unknown".to_owned(), value::bytes);
    // No answer, not even an empty line, is a no.
    ask(&format!("receive {what} ({size})? [Y/n] "))
        .is_ok_and(|answer| !answer.is_empty() && (answer.trim().is_empty() || answer.trim().starts_with('y')))
}

/// Asks on the terminal whether the other side shows the same check string. Only what begins with a y is a yes.
pub fn ask_for_check(words: &str) -> bool {
    ask(&format!("does the other side show '{words}' too? [y/N] ")).is_ok_and(|answer| answer.trim().starts_with('y'))
}

/// A question, and the line that comes in answer, in lower case; empty when there is none.
fn ask(question: &str) -> io::Result<String> {
    people::flush();
    let mut terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    write!(terminal, "{question}")?;
    let mut answer = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(terminal), &mut answer)?;
    Ok(answer.to_lowercase())
}

/// An input on which Ctrl-D ends the input while [`LongLines`] keeps the terminal from seeing to it.
pub struct Typed<R> {
    input: R,
    ended: bool,
}

impl<R> Typed<R> {
    /// Watches for Ctrl-D in `input`.
    pub fn new(input: R) -> Self {
        Self { input, ended: false }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Typed<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        const END_OF_TRANSMISSION: u8 = 4;
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        let start = buffer.filled().len();
        ready!(Pin::new(&mut self.input).poll_read(cx, buffer))?;
        let end = buffer.filled()[start..].iter().position(|&byte| byte == END_OF_TRANSMISSION);
        if let Some(end) = end.filter(|_| before().is_some()) {
            self.ended = true;
            buffer.set_filled(start + end);
        }
        Poll::Ready(Ok(()))
    }
}
