//! What was sent and may have to be sent again: kept until the receiver has it.
//!
//! Of content that came from a file only the place is kept, from where it is read again.

use super::error::TransferError;
use super::manifest::Modified;
use bytes::{Buf, Bytes};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Bytes of messages that are kept at most; a receiver that lets more come together does not say what it has.
const MOST_KEPT: usize = 24 << 20;

/// Content on its way.
pub(super) struct Content {
    pub message: Bytes,
    /// Where it can be had again.
    pub origin: Option<Origin>,
    /// Bytes of files in it and in all before it.
    pub through: u64,
}

/// A file that is being sent.
#[derive(Debug)]
pub(super) struct Opened {
    pub file: File,
    /// What the peer knows it as.
    pub name: String,
    pub path: PathBuf,
    pub size: Option<u64>,
    pub modified: Option<Modified>,
}

impl Opened {
    /// Fails when it is not what it was when it was offered.
    pub(super) fn unchanged(&self) -> Result<(), TransferError> {
        let facts = self.file.metadata().map_err(TransferError::read(&self.path))?;
        let same = Some(facts.len()) == self.size && facts.modified().ok().map(Modified::from) == self.modified;
        if same { Ok(()) } else { Err(self.changed("changed")) }
    }

    pub(super) fn changed(&self, why: &'static str) -> TransferError {
        TransferError::Changed { path: self.name.clone(), why }
    }
}

/// Where the content of a message was read.
#[derive(Clone, Debug)]
pub struct Origin {
    pub(super) file: Arc<Opened>,
    pub(super) offset: u64,
    /// Where in the message it is.
    pub(super) place: Range<usize>,
}

impl Origin {
    fn append_to(&self, message: &mut Vec<u8>) -> Result<(), TransferError> {
        let Self { file, offset, place } = self;
        let begin = message.len();
        message.resize(begin + place.len(), 0);
        match read_at(&file.file, &mut message[begin..], *offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(file.changed("cut short")),
            read => read.map_err(TransferError::read(&file.path)),
        }?;
        file.unchanged()
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(not(unix))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What makes a message again.
#[derive(Clone)]
pub(super) struct Again {
    /// Without an origin the message, else what is before the content of the file in it.
    before: Bytes,
    origin: Option<Origin>,
    after: Bytes,
    /// Bytes of the message.
    length: usize,
    through: u64,
}

impl Content {
    /// What makes it again.
    pub(super) fn again(&self) -> Again {
        let Self { message, origin, through } = self;
        let (before, after) = match origin {
            Some(Origin { place: Range { start, end }, .. }) => {
                (Bytes::copy_from_slice(&message[..*start]), Bytes::copy_from_slice(&message[*end..]))
            }
            None => (message.clone(), Bytes::new()),
        };
        Again { before, origin: origin.clone(), after, length: message.len(), through: *through }
    }
}

impl Again {
    /// Has it again.
    ///
    /// # Errors
    /// When its file cannot be read any more, or is not what it was.
    pub(super) async fn content(self) -> Result<Content, TransferError> {
        let Self { before, origin, after, length, through } = self;
        let Some(from) = origin.clone() else { return Ok(Content { message: before, origin, through }) };
        let reading = tokio::task::spawn_blocking(move || {
            let mut message = Vec::with_capacity(length);
            message.extend_from_slice(&before);
            from.append_to(&mut message)?;
            message.extend_from_slice(&after);
            Ok(message.into())
        });
        let message = reading.await.map_err(|_| TransferError::Internal("reading again panicked"))??;
        Ok(Content { message, origin, through })
    }
}

/// What went by connections that may be lost, until the receiver has taken it.
#[derive(Default)]
pub(super) struct Keeper {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Default)]
struct State {
    /// By sequence number: the connection it went by, and what went.
    kept: BTreeMap<u64, (u32, Again)>,
    bytes: usize,
    /// To be sent again.
    again: VecDeque<Again>,
    /// Connections that were lost.
    gone: BTreeSet<u32>,
    /// More came together than is kept.
    incomplete: bool,
}

impl Keeper {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is to go by the connection `lane`; false when that was lost, and another is to take it.
    pub(super) fn keep(&self, lane: u32, again: Again) -> bool {
        let Some(sequence) = sequence(&again.before) else { return true };
        let mut state = self.state();
        if state.gone.contains(&lane) {
            state.again.push_back(again);
            self.more.notify_waiters();
            return false;
        }
        state.bytes += again.length;
        state.kept.insert(sequence, (lane, again));
        if state.bytes > MOST_KEPT {
            state.kept.clear();
            (state.bytes, state.incomplete) = (0, true);
        }
        true
    }

    /// The connection `lane` is of use again.
    pub(super) fn regain(&self, lane: u32) {
        self.state().gone.remove(&lane);
    }

    /// The receiver has taken so many bytes of files.
    pub(super) fn taken(&self, bytes: u64) {
        let mut state = self.state();
        // What ends a file comes behind its last byte, so only what follows shows that it was taken.
        while let Some(first) = state.kept.first_entry().filter(|first| first.get().1.through < bytes) {
            let (_, again) = first.remove();
            state.bytes -= again.length;
        }
    }

    /// Has everything sent again that went by the connection `lane`; false when it was not all kept.
    pub(super) fn lost(&self, lane: u32) -> bool {
        let mut state = self.state();
        let State { kept, bytes, again, gone, .. } = &mut *state;
        gone.insert(lane);
        kept.retain(|_, (by, content)| {
            if *by == lane {
                *bytes -= content.length;
                again.push_back(content.clone());
            }
            *by != lane
        });
        self.more.notify_waiters();
        !state.incomplete
    }

    /// What is to be sent again, as soon as there is something. Cancel-safe.
    pub(super) async fn again(&self) -> Again {
        loop {
            let more = self.more.notified();
            let again = self.state().again.pop_front();
            match again {
                Some(again) => return again,
                None => more.await,
            }
        }
    }
}

/// The number of a message of content.
pub(super) fn sequence(mut message: &[u8]) -> Option<u64> {
    message.try_get_u64().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(sequence: u64, through: u64) -> Content {
        Content { message: sequence.to_be_bytes().to_vec().into(), origin: None, through }
    }

    #[tokio::test]
    async fn what_a_lost_connection_carried_is_sent_again_unless_it_was_taken() {
        let keeper = Keeper::default();
        for number in 0..6 {
            assert!(keeper.keep(u32::try_from(number % 2).unwrap(), content(number, number * 10 + 10).again()));
        }
        // The third may end a file whose last byte is the thirtieth.
        keeper.taken(30);
        assert!(keeper.lost(0));
        assert!(keeper.lost(0), "there is no more of it, and all that was lost is known");
        for number in [2, 4] {
            let again = keeper.again().await.content().await.unwrap();
            assert_eq!((sequence(&again.message), again.through), (Some(number), number * 10 + 10));
        }
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(1), keeper.again());
        assert!(waiting.await.is_err(), "the other connection is still there");
        assert!(!keeper.keep(0, content(6, 70).again()), "what is about to go by the lost one goes by another");
        assert_eq!(sequence(&keeper.again().await.content().await.unwrap().message), Some(6));
        keeper.regain(0);
        assert!(keeper.keep(0, content(7, 80).again()));
    }

    #[test]
    fn a_receiver_that_never_says_what_it_has_costs_no_memory_for_ever() {
        let keeper = Keeper::default();
        for number in 0..40_u64 {
            let message = [&number.to_be_bytes()[..], &[0; 1 << 20]].concat();
            keeper.keep(1, Content { message: message.into(), origin: None, through: 0 }.again());
        }
        assert!(keeper.state().bytes <= MOST_KEPT);
        assert!(!keeper.lost(1));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn content_of_a_file_is_read_again_unless_the_file_is_another() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        let facts = std::fs::metadata(&path).unwrap();
        let modified = facts.modified().ok().map(Modified::from);
        let (file, name) = (File::open(&path).unwrap(), "file".to_owned());
        let opened = Opened { file, name, path: path.clone(), size: Some(10), modified };
        let origin = Origin { file: Arc::new(opened), offset: 3, place: 8..12 };
        let message = Bytes::from_static(b"\0\0\0\0\0\0\0\x013456end");
        let keeper = Keeper::default();
        keeper.keep(1, Content { message: message.clone(), origin: Some(origin), through: 4 }.again());
        // Whoever has it by its handle does not need its name.
        std::fs::rename(&path, scratch.path().join("other")).unwrap();
        keeper.lost(1);
        let again = keeper.again().await.content().await.unwrap();
        assert_eq!(again.message, message);
        keeper.keep(2, again.again());
        std::fs::write(scratch.path().join("other"), b"012").unwrap();
        keeper.lost(2);
        let changed = keeper.again().await.content().await;
        assert!(matches!(changed, Err(TransferError::Changed { .. })));
    }
}
